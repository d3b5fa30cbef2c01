/** Models of timm and transformers on the command line: list, import, compile by name and by config.json, other image sizes. */
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { jsonShapes } from "../../compiler/cli/json.js";
import { loadSpec } from "../../compiler/cli/load-spec.js";
import { fixturePath } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";
import { folderWith, vitc } from "./vitc.js";

const test = suite("families on the command line");

test("list has all of timm's plain ViTs, filtered on request, and transformers' kinds", async () => {
  const cwd = folderWith({});
  const all = jsonShapes.list.parse(JSON.parse((await vitc(["list", "--json"], { cwd })).stdout));
  assert.is(all.timm.length, 240);
  assert.equal(all.timm.find(({ name }) => name === "vit_base_patch16_224")?.params, 86_567_656);
  assert.equal(all.timm.find(({ name }) => name === "vit_base_patch16_224_miil")?.tags, [{ tag: "in21k", classes: 11221 }, { tag: "in21k_ft_in1k", classes: 1000 }]);
  assert.ok(all.transformers.includes("dinov3_vit"));
  const weights = await vitc(["list", "--tags", "--filter", "vit_tiny_patch16_224."], { cwd });
  assert.equal(weights.stdout.trimEnd().split("\n").map((line) => line.split(/ +/)), [["timm", "classes", "image", "crop"], ["vit_tiny_patch16_224.augreg_in21k_ft_in1k", "1000", "224", "center", "0.9"], ["vit_tiny_patch16_224.augreg_in21k", "21843", "224", "center", "0.9"]]);
  const some = await vitc(["list", "timm", "--filter", "REG4_dinov2"], { cwd });
  assert.is(some.code, 0, some.stderr);
  assert.is(some.stdout.trimEnd().split("\n").length, 5);
  assert.ok(some.stdout.split("\n").every((line) => line.length <= 80));
  const none = await vitc(["list", "--filter", "resnet"], { cwd });
  assert.equal([none.code, none.stdout], [1, ""]);
});

test("import prints a spec that means the model it is from", async () => {
  const cwd = folderWith({});
  const { code, stdout, stderr } = await vitc(["import", "timm:vit_small_patch14_reg4_dinov2"], { cwd });
  assert.is(code, 0, stderr);
  const written = folderWith({ "my.ts": stdout });
  const [mine, named] = [await loadSpec("my.ts", written), await loadSpec("timm:vit_small_patch14_reg4_dinov2", cwd)];
  assert.equal(mine.spec, named.spec);
  assert.is(named.file, undefined);
  const [tagged, hub] = [await loadSpec("timm:vit_tiny_patch16_224.augreg_in21k", cwd), await loadSpec("hf-hub:timm/vit_tiny_patch16_224.augreg_in21k", cwd)];
  assert.equal(tagged.spec, hub.spec);
  assert.is((tagged.spec as { classes: number }).classes, 21843);
});

test("a model is compiled by name, for another image size too, and check finds it fresh", async () => {
  const cwd = folderWith({});
  const made = await vitc(["compile", "timm:test_vit", "--image", "64x96", "--out", "p", "--no-typecheck", "--shared-runtime"], { cwd });
  assert.is(made.code, 0, made.stderr);
  const { vitc: provenance } = JSON.parse(readFileSync(join(cwd, "p/package.json"), "utf8")) as { vitc: { spec: string; image: number[] } };
  assert.equal([provenance.spec, provenance.image], ["timm:test_vit", [64, 96]]);
  assert.match(readFileSync(join(cwd, "p/plan.js"), "utf8"), /\[3, 64, 96\]/);
  assert.match(readFileSync(join(cwd, "p/weights.js"), "utf8"), /"resampleTable"/);
  const checked = await vitc(["check", "p"], { cwd });
  assert.equal([checked.code, checked.stdout], [0, "p: fresh\n"]);
});

test("a folder as transformers saves it is compiled, and runs from its own file", async () => {
  const cwd = folderWith({});
  cpSync(fixturePath("hf/dinov2"), join(cwd, "dinov2"), { recursive: true });
  const made = await vitc(["compile", "dinov2", "--out", "p", "--no-typecheck", "--shared-runtime"], { cwd });
  assert.is(made.code, 0, made.stderr);
  const again = await vitc(["compile", "dinov2/config.json", "--out", "p", "--no-typecheck", "--shared-runtime"], { cwd });
  assert.match(again.stdout, "nothing changed");
});

test("what is not known, or no ViT, is refused with the nearest name or the reason", async () => {
  const cwd = folderWith({ "swin/config.json": '{"model_type": "swin"}', "empty/readme.md": "" });
  for (const [reference, message] of [
    ["timm:vit_tiny_patch16_24", /did you mean "vit_tiny_patch16_224"\?/],
    ["hf:google/vit-base-patch16-224", /name the folder, or the file/],
    ["hf-hub:timm/vit_tiny_patch16_24.augreg_in21k", /did you mean "vit_tiny_patch16_224"\?/],
    ["timm/vit_tiny_patch16_224.augreg_in21k", /timm's model of this name is timm:vit_tiny_patch16_224\.augreg_in21k/],
    ["timm:vit_tiny_patch16_224.augreg_21k", /did you mean "augreg_in21k"\? Known are augreg_in21k_ft_in1k, augreg_in21k;/],
    ["swin", /"swin" is a hierarchy of windows/],
    ["empty", /empty is a folder without a config\.json/],
  ] as const) {
    const { code, stdout, stderr } = await vitc(["compile", reference], { cwd });
    assert.equal([code, stdout], [1, ""], reference);
    assert.match(stderr, message);
  }
});

test("patches of another size are compiled for, and check knows them", async () => {
  const cwd = folderWith({});
  const made = await vitc(["compile", "timm:test_vit", "--image", "120x96", "--patch", "24x12", "--out", "p", "--no-typecheck", "--shared-runtime"], { cwd });
  assert.is(made.code, 0, made.stderr);
  const { vitc: provenance } = JSON.parse(readFileSync(join(cwd, "p/package.json"), "utf8")) as { vitc: { image: number[]; patch: number[] } };
  assert.equal([provenance.image, provenance.patch], [[120, 96], [24, 12]]);
  assert.match(readFileSync(join(cwd, "p/weights.js"), "utf8"), /"resamplePatch"/);
  assert.match(readFileSync(join(cwd, "p/README.md"), "utf8"), /--image 120x96 --patch 24x12/);
  const checked = await vitc(["check", "p"], { cwd });
  assert.equal([checked.code, checked.stdout], [0, "p: fresh\n"]);
  for (const [patch, message] of [["24px", /Write pixels: one number, or height x width/], ["0", /patch: 0 is too small/], ["24", /image: height 160 of the image is not a multiple of patch 24; use 144 or 168/]] as const) {
    const { code, stdout, stderr } = await vitc(["compile", "timm:test_vit", "--patch", patch], { cwd });
    assert.equal([code, stdout], [1, ""], patch);
    assert.match(stderr, message);
  }
});

test("import names the rules by which other sizes are made", async () => {
  const cwd = folderWith({});
  const beit = await vitc(["import", "timm:beit_base_patch16_224", "--image", "336x448"], { cwd });
  assert.match(beit.stdout, /image: \[336, 448\]/);
  assert.match(beit.stdout, /relativeResample: \{ grid: 14 \}/);
  const flexivit = await vitc(["import", "timm:flexivit_small"], { cwd });
  assert.match(flexivit.stdout, /patchResample: \{ filter: "bilinear", antialias: false \}/);
});

test.run();
