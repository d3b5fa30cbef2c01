import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { writeSafetensors } from "../../compiler/checkpoint/safetensors.js";
import { runShape } from "../../compiler/cli/json-run.js";
import { compile } from "../../compiler/compile.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { findSoftwareAdapter } from "../../runtime/node.js";
import { fixturePath, noteFixture, readTensors, reference, worstError, type Fixture } from "../tools/fixtures.js";
import { skipAll, suite } from "../tools/suite.js";
import { folderWith, small, snapshot, vitc } from "./vitc.js";

/** Packages look for webgpu and for the software adapter from here, as they would in a project that has installed them. */
const cwd = fileURLToPath(new URL("../..", import.meta.url));

const root = folderWith({});
const newFolder = (): string => mkdtempSync(join(root, "run-"));

/** Compiles a spec to a new folder, with weights in it if they are given. */
async function packageOf(spec: ViTSpec, weights?: string): Promise<string> {
  const { files } = await compile(spec, { typecheck: false });
  const folder = newFolder();
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  if (weights !== undefined) copyFileSync(weights, join(folder, "model.safetensors"));
  return folder;
}

const refusals = suite("vitc run, refusals");

/** Expects exit code 1, nothing on stdout, and a sentence on stderr. */
async function refused(args: readonly string[], ...sentences: readonly (string | RegExp)[]): Promise<void> {
  const { code, stdout, stderr } = await vitc(["run", ...args], { cwd });
  assert.is(code, 1, stderr);
  assert.is(stdout, "");
  for (const sentence of sentences) assert.match(stderr, sentence);
  assert.not.match(stderr, /\n\s+at /);
}

refusals("what is no package is refused with the command that makes one", async () => {
  const folder = folderWith({ "empty/readme.txt": "", "foreign/package.json": '{ "name": "foreign" }', "my.ts": "" });
  await Promise.all([
    refused([join(folder, "none"), "--input", "a.png"], /there is no folder .*none; .*npx vitc compile SPEC --out/),
    refused([join(folder, "empty"), "--input", "a.png"], /it has no package\.json.*npx vitc compile SPEC/),
    refused([join(folder, "foreign"), "--input", "a.png"], /its package\.json does not name vitc/),
    refused([join(folder, "my.ts"), "--input", "a.png"], /my\.ts is a file, and run takes the package/),
  ]);
});

refusals("a package without its files or weights is refused by name", async () => {
  const whole = await packageOf(small);
  const image = fixturePath("vit-cifar10/photos/cat-00.png");
  const broken = folderWith({ "package.json": readFileSync(join(whole, "package.json"), "utf8"), "index.js": "" });
  const two = await packageOf(small);
  for (const name of ["a.safetensors", "b.safetensors"]) writeFileSync(join(two, name), "");
  await Promise.all([
    refused([broken, "--input", image], "is incomplete: images.js, kernels/", "compile it again: npx vitc compile"),
    refused([whole, "--input", image], "holds no weights", "vitc init-weights"),
    refused([two, "--input", image], "several weight files (a.safetensors, b.safetensors)"),
  ]);
});

refusals("inputs that do not fit are refused before the model is loaded", async () => {
  const folder = await packageOf(small);
  const photo = fixturePath("vit-cifar10/photos/cat-00.png");
  const tensor = (name: string, shape: readonly number[]) => writeSafetensors([{ name, shape, data: new Float32Array(shape.reduce((n, size) => n * size, 1)) }]);
  const [text, wide, other] = ["text.png", "wide.safetensors", "other.safetensors"].map((name) => join(newFolder(), name)) as [string, string, string];
  writeFileSync(text, "not an image");
  writeFileSync(wide, tensor("input", [2, 3, 32, 33]));
  writeFileSync(other, tensor("x", [1]));
  await Promise.all([
    refused([folder, "--input", photo, join(folder, "none.png")], "there is no file", "none.png"),
    refused([folder, "--input", text], "text.png is not an image"),
    refused([folder, "--input", wide], '"input" is [2, 3, 32, 33]', "takes [n, 3, 32, 32]"),
    refused([folder, "--input", other], 'holds no tensor "input"', "it holds x"),
  ]);
  await Promise.all([
    refused([folder, "--input", photo, wide], "image files, or one safetensors file alone"),
    refused([folder, "--input", photo, "--output", join(folder, "none/out.safetensors")], "there is no folder"),
    refused([folder, "--input", photo, "--top", "0"], "at least 1"),
    refused([folder, "--input", photo, "--dtype", "f16"], /--dtype f16: .* was compiled for f32; compile it for this one too with: npx vitc compile SPEC --dtype f32,f16 --out/),
    refused([folder], "--input"),
  ]);
});

refusals("an image file is a photograph: a drawing is refused, whatever its name", async () => {
  const folder = await packageOf(small);
  const drawing = join(newFolder(), "drawing.png");
  writeFileSync(drawing, '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"><rect width="32" height="32" fill="red"/></svg>');
  await refused([folder, "--input", drawing], "drawing.png is SVG; an image file must be JPEG, PNG, WebP, GIF, TIFF or AVIF");
});

refusals("--output never replaces what the run reads, and nothing else unless it is told to", async () => {
  const folder = await packageOf(small);
  const weights = join(folder, "model.safetensors");
  const photo = join(folder, "cat.png");
  const other = join(folder, "logits.safetensors");
  const link = join(folder, "link.safetensors");
  writeFileSync(weights, "weights");
  copyFileSync(fixturePath("vit-cifar10/photos/cat-00.png"), photo);
  writeFileSync(other, "results of yesterday");
  symlinkSync(weights, link);
  const before = snapshot(folder);
  const run = [folder, "--input", photo];
  await Promise.all([
    refused([...run, "--output", other], "logits.safetensors is there already: name another file, or replace it with --force"),
    refused([...run, "--output", weights], "model.safetensors is the weight file, which the run reads"),
    refused([...run, "--output", weights, "--force"], "model.safetensors is the weight file"),
  ]);
  await Promise.all([
    refused([...run, "--output", link, "--force"], "link.safetensors is the weight file"),
    refused([...run, "--weights", pathToFileURL(weights).href, "--output", weights, "--force"], "model.safetensors is the weight file"),
    refused([...run, "--output", photo, "--force"], "cat.png is an input, which the run reads"),
  ]);
  assert.equal(snapshot(folder), before);
});

refusals("a package's load names the adapters that it takes", async () => {
  const { spec, weightsPath: weights } = noteFixture("gray");
  const folder = await packageOf(spec);
  const code = `import(${JSON.stringify(pathToFileURL(join(folder, "index.js")).href)}).then(({ load }) => load({ weights: ${JSON.stringify(weights)}, adapter: "bogus" })).catch((error) => console.log(error.message))`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", code], { cwd });
  assert.is(stdout, 'adapter is "bogus"; allowed are "auto", "gpu" and "software"\n');
});

refusals.run();

const found = await findSoftwareAdapter();
if ("reason" in found) skipAll("vitc run", found.reason);
else {
  const test = suite("vitc run");
  const software = ["--adapter", "software"];

  /** Runs a fixture's input through its package and gives the file that --output wrote. */
  const outputsOf = async (fixture: Fixture, weights: string): Promise<ReturnType<typeof readTensors>> => {
    const folder = await packageOf(fixture.spec);
    const output = join(folder, "out.safetensors");
    const { code, stderr } = await vitc(["run", folder, "--input", fixture.ioPath, "--weights", weights, "--output", output, ...software], { cwd });
    assert.is(code, 0, stderr);
    assert.match(stderr, "software adapter");
    return readTensors(output);
  };

  // Two heads, no head, one channel, a stem: where the names and shapes of outputs differ. The device suites run all ten.
  for (const name of ["distilled", "features", "gray", "hybrid"]) {
    test(`--output holds PyTorch's logits and taps for ${name}`, async () => {
      const fixture = noteFixture(name);
      const outputs = await outputsOf(fixture, fixture.weightsPath);
      const expected = [...fixture.io.keys()].filter((key) => key !== "input");
      assert.equal([...outputs.keys()].toSorted(), expected.toSorted());
      for (const [key, tensor] of outputs) {
        const wanted = reference(fixture, key.replace(/^tap\./, ""));
        assert.equal(tensor.shape, wanted.shape, key);
        assert.ok(worstError(tensor.data, wanted.data) <= 1e-4, `${key}: ${worstError(tensor.data, wanted.data)}`);
      }
    });
  }

  test("the comparison sees a bias that is off by 0.001", async () => {
    const fixture = noteFixture("gray");
    const tensors = [...readTensors(fixture.weightsPath)].map(([name, { shape, data }]) => ({ name, shape, data: Float32Array.from(data, (value) => (name === "head.bias" ? value + 0.001 : value)) }));
    const weights = join(newFolder(), "weights.safetensors");
    writeFileSync(weights, writeSafetensors(tensors));
    const outputs = await outputsOf(fixture, weights);
    assert.ok(worstError(outputs.get("logits")!.data, reference(fixture, "logits").data) > 1e-4);
  });

  const photos = JSON.parse(readFileSync(fixturePath("vit-cifar10/photos.json"), "utf8")) as { file: string; predicted: string; probability: number }[];

  test("photographs get PyTorch's classes and probabilities, in the order given", async () => {
    const { default: spec } = (await import("../../specs/vit-cifar10.js")) as { default: ViTSpec };
    // Eleven on a batch of four: three runs, the last one padded.
    const folder = await packageOf({ ...spec, batch: 4 }, fixturePath("vit-cifar10/model.safetensors"));
    const chosen = photos.filter((_, i) => i % 9 === 3).slice(0, 11);
    const files = chosen.map(({ file }) => fixturePath(`vit-cifar10/${file}`));
    const json = await vitc(["run", folder, "--input", ...files, "--top", "3", "--json", ...software], { cwd });
    assert.is(json.code, 0, json.stderr);
    const report = runShape.parse(JSON.parse(json.stdout));
    assert.equal([report.name, report.adapter.software, report.weights], ["vit-cifar10", true, join(folder, "model.safetensors")]);
    assert.match(report.notices.join(), "software adapter");
    assert.equal(report.results.map(({ input }) => input), files);
    assert.equal(report.results.map(({ top }) => top![0]!.label), chosen.map(({ predicted }) => predicted));
    report.results.forEach(({ top }, i) => {
      assert.ok(Math.abs(top![0]!.probability - chosen[i]!.probability) < 1e-3, `${files[i]}: ${top![0]!.probability} and ${chosen[i]!.probability}`);
      assert.is(top!.length, 3);
      assert.ok(top![0]!.probability >= top![1]!.probability && top![1]!.probability >= top![2]!.probability);
      assert.is(spec.labels![top![1]!.class], top![1]!.label);
    });

    const text = await vitc(["run", folder, "--input", files[0]!, "--top", "20", ...software], { cwd });
    assert.is(text.code, 0, text.stderr);
    const [heading, ...rows] = text.stdout.trimEnd().split("\n");
    assert.is(heading, files[0]);
    assert.is(rows.length, 10, "as many as there are classes");
    assert.match(rows[0]!, new RegExp(`^  ${chosen[0]!.predicted} +${(chosen[0]!.probability * 100).toFixed(1)} %$`));
    assert.match(text.stderr, /vit-cifar10 in f32 on .*\(software\): 1 image in .*of loading; kernels by cost \d+/);
    assert.equal([report.dtype, report.robust, report.decided.tuned], ["f32", false, 0]);
    const checked = await vitc(["run", folder, "--input", files[0]!, "--robust", "--dtype", "f32", "--json", ...software], { cwd });
    const { robust, results } = runShape.parse(JSON.parse(checked.stdout));
    assert.equal([robust, results[0]!.top![0]!.label], [true, chosen[0]!.predicted], checked.stderr);
  });

  test("--skip-broken runs the images that can be read, and the output has their rows alone", async () => {
    const { default: spec } = (await import("../../specs/vit-cifar10.js")) as { default: ViTSpec };
    const folder = await packageOf({ ...spec, batch: 2 }, fixturePath("vit-cifar10/model.safetensors"));
    const broken = join(folder, "broken.png");
    writeFileSync(broken, "no image");
    const [a, b, c] = photos.slice(0, 3).map(({ file }) => fixturePath(`vit-cifar10/${file}`)) as [string, string, string];
    const refused = await vitc(["run", folder, "--input", a, broken, b, c, ...software], { cwd });
    assert.is(refused.code, 1);
    assert.match(refused.stderr, /broken\.png is not an image/);
    const output = join(folder, "out.safetensors");
    const { code, stdout, stderr } = await vitc(["run", folder, "--input", a, broken, b, join(folder, "nothing.png"), c, "--skip-broken", "--output", output, "--json", ...software], { cwd });
    assert.is(code, 0, stderr);
    const report = runShape.parse(JSON.parse(stdout));
    assert.equal(report.results.map(({ input, top }) => [input, top![0]!.label]), [a, b, c].map((file, i) => [file, photos[i]!.predicted]));
    assert.equal(report.skipped.map(({ input }) => input), [broken, join(folder, "nothing.png")]);
    assert.match(stderr, /left out: .*broken\.png is not an image/);
    const logits = readTensors(output).get("logits")!;
    assert.equal(logits.shape, [3, 10]);
    assert.ok(worstError(logits.data, [...readTensors(fixturePath("vit-cifar10/io.safetensors")).get("logits")!.data].slice(0, 30)) < 1e-4);
  });

  test("weights that do not fit are refused with all that is wrong, and extra tensors unless they are allowed", async () => {
    const fixture = noteFixture("gray");
    const folder = await packageOf({ ...fixture.spec, labels: undefined, outputs: undefined });
    const [cut, extra] = ["cut.safetensors", "extra.safetensors"].map((name) => join(folder, name)) as [string, string];
    copyFileSync(fixture.weightsPath, cut);
    truncateSync(cut, 5000);
    const tensors = [...readTensors(fixture.weightsPath)].map(([name, { shape, data }]) => ({ name, shape, data: Float32Array.from(data) }));
    writeFileSync(extra, writeSafetensors([...tensors, { name: "teacher.weight", shape: [1], data: new Float32Array(1) }]));
    const input = ["--input", fixture.ioPath, ...software];
    await refused([folder, ...input, "--weights", cut], "cut.safetensors");
    await refused([folder, ...input, "--weights", noteFixture("hybrid").weightsPath], /\d+ problems/, "patch_embed.proj.weight");
    await refused([folder, ...input, "--weights", extra], "teacher.weight", "--allow-extra");
    const short = join(folder, "short.safetensors");
    const bytes = readFileSync(fixture.weightsPath).subarray(0, 5000);
    bytes.writeBigUInt64LE(5000n);
    writeFileSync(short, bytes);
    await refused([folder, ...input, "--weights", short], "the header claims 5000 bytes, 4992 follow the 8 that say so");
    const output = join(folder, "out.safetensors");
    writeFileSync(output, "of yesterday");
    const replaced = await vitc(["run", folder, ...input, "--weights", fixture.weightsPath, "--output", output, "--force"], { cwd });
    assert.is(replaced.code, 0, replaced.stderr);
    assert.ok(readTensors(output).has("logits"));
    const allowed = await vitc(["run", folder, ...input, "--weights", extra, "--allow-extra"], { cwd });
    assert.is(allowed.code, 0, allowed.stderr);
    assert.match(allowed.stderr, /ignored 1 tensor.*teacher\.weight/);
    assert.match(allowed.stdout, /io\.safetensors\[0\]\n {2}\d+ +\d+\.\d %/);
  });

  test.run();
}
