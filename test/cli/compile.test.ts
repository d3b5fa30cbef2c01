import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { jsonShapes } from "../../compiler/cli/json.js";
import { suite } from "../tools/suite.js";
import { folderWith, small, snapshot, specText, vitc } from "./vitc.js";

const test = suite("vitc compile");

const times = (folder: string): [string, number][] => [...snapshot(folder)].map(([path, { modified }]) => [path, modified]);
const texts = (folder: string): [string, string][] => [...snapshot(folder)].map(([path, { text }]) => [path, text]);

test("writes a package, says so on stdout alone, and changes nothing the second time", async () => {
  const cwd = folderWith({ "my.ts": specText() });
  const first = await vitc(["compile", "my.ts", "--batch", "1,4"], { cwd });
  assert.is(first.code, 0, first.stderr);
  assert.match(first.stdout, /^generated\/small: \d+ files, \d+ written\ndtype +batch +dispatches +kernels +work +weights +arenas\nf32 +1 .*\nf32 +4 .*\n$/);
  assert.match(first.stderr, /^Compiling small, with a type check/);
  const manifest = JSON.parse(readFileSync(join(cwd, "generated/small/package.json"), "utf8")) as { vitc: { spec: string; files: string[] } };
  assert.is(manifest.vitc.spec, "../../my.ts");
  assert.equal([...snapshot(join(cwd, "generated/small")).keys()], manifest.vitc.files.toSorted());
  assert.ok(manifest.vitc.files.includes("index.d.ts"));

  const before = times(cwd);
  writeFileSync(join(cwd, "generated/small/model.safetensors"), "weights");
  const second = await vitc(["compile", "my.ts", "--batch", "1,4", "--no-typecheck", "--json"], { cwd });
  assert.is(second.code, 0, second.stderr);
  const report = jsonShapes.compile.parse(JSON.parse(second.stdout));
  assert.equal([report.changed, report.removed, report.kept], [[], [], ["model.safetensors"]]);
  assert.equal(report.profiles.map(({ batch }) => batch), [1, 4]);
  assert.equal(times(cwd).filter(([path]) => !path.endsWith(".safetensors")), before);

  // Another plan: the old kernels go, the user's weights stay.
  const third = await vitc(["compile", "my.ts", "--no-typecheck", "--json"], { cwd });
  const { removed, kept } = jsonShapes.compile.parse(JSON.parse(third.stdout));
  assert.ok(removed.length > 0 && removed.every((path) => path.includes("kernels/")), removed.join());
  assert.equal(kept, ["model.safetensors"]);
  assert.is(readFileSync(join(cwd, "generated/small/model.safetensors"), "utf8"), "weights");
});

test("leaves a folder that holds somebody's files alone, and a file, and the folder it runs in", async () => {
  const cwd = folderWith({ "spec.json": JSON.stringify(small), "mine/notes.txt": "mine", "file": "text", "npm/package.json": `{ "name": "mine" }` });
  const before = snapshot(cwd);
  for (const [out, sentence] of [
    ["mine", /error: \S*mine holds files that vitc did not write \(notes\.txt\), and no package\.json of vitc: choose another folder with --out/],
    ["npm", /holds files that vitc did not write \(package\.json\)/],
    ["file", /file is a file, and a package is a folder/],
    ["file/below", /is a file/],
    [".", /is the folder you are in/],
  ] as const) {
    const { code, stdout, stderr } = await vitc(["compile", "spec.json", "--no-typecheck", "--out", out], { cwd });
    assert.equal([out, code, stdout], [out, 1, ""]);
    assert.match(stderr, sentence);
  }
  assert.equal(snapshot(cwd), before);
});

test("refuses specs that mean nothing, with the field and the fix, and writes nothing", async () => {
  const cwd = folderWith({
    "heads.ts": specText({ ...small, heads: 3 }),
    "typo.json": JSON.stringify({ ...small, dpeth: 2, depth: undefined }),
    "never.ts": "await new Promise(() => {});\nexport default {};\n",
  });
  for (const [args, sentence] of [
    [["heads.ts"], /^error: heads: 3 does not divide dim 32; use 2 or 4 heads, or set headDim\n$/],
    [["typo.json"], /dpeth: is not a field; did you mean `depth`\?/],
    [["never.ts"], /^error: never\.ts never finishes loading/],
    [["absent.ts"], /^error: there is no file absent\.ts/],
    [["heads.ts", "--batch", "1,x"], /'--batch <sizes>' argument '1,x' is invalid\. Write whole numbers with commas/],
    [["typo.json", "--wach"], /unknown option '--wach'\n\(Did you mean --watch\?\)/],
  ] as const) {
    const { code, stdout, stderr } = await vitc(["compile", ...args], { cwd });
    assert.equal([args, code, stdout], [args, 1, ""]);
    assert.match(stderr, sentence);
  }
  assert.equal([...snapshot(cwd).keys()], ["heads.ts", "never.ts", "typo.json"]);
});

test("--dtype compiles for several, in their order, and --tuning takes only what vitc tune writes", async () => {
  const cwd = folderWith({ "my.ts": specText(), "other.json": "{}" });
  const { code, stdout, stderr } = await vitc(["compile", "my.ts", "--dtype", "f16,f32", "--no-typecheck", "--json"], { cwd });
  assert.is(code, 0, stderr);
  const { variants, fingerprint } = jsonShapes.compile.parse(JSON.parse(stdout));
  assert.equal([variants.map(({ dtype }) => dtype), variants[0]!.fingerprint], [["f16", "f32"], fingerprint]);
  assert.ok(variants[0]!.weightBytes < variants[1]!.weightBytes);
  const manifest = JSON.parse(readFileSync(join(cwd, "generated/small/package.json"), "utf8")) as { vitc: { dtype: string[]; files: string[] } };
  assert.equal([manifest.vitc.dtype, manifest.vitc.files.includes("plan-f32.js")], [["f16", "f32"], true]);
  for (const [args, sentence] of [
    [["--dtype", "f8"], /Write f32, f16, or both with a comma between them/],
    [["--dtype", "f32,f32"], /Write f32, f16, or both/],
    [["--tuning", "absent.json"], /^error: --tuning absent\.json cannot be read .*; make one with: npx vitc tune PACKAGE --out absent\.json\n$/],
    [["--tuning", "other.json"], /^error: --tuning other\.json is not what vitc tune writes/],
  ] as const) {
    const refused = await vitc(["compile", "my.ts", ...args], { cwd });
    assert.equal([refused.code, refused.stdout], [1, ""]);
    assert.match(refused.stderr, sentence);
  }
  writeFileSync(join(cwd, "stale.json"), JSON.stringify([{ adapter: "a", choices: { gone: "quad" } }]));
  const stale = await vitc(["compile", "my.ts", "--tuning", "stale.json", "--no-typecheck"], { cwd });
  assert.is(stale.code, 0);
  assert.match(stale.stderr, /--tuning stale\.json measures no routine of this model: nothing of it is used/);
});

test("Ctrl-C ends a spec that never returns, and in the middle of a compile leaves the old package as it was", async () => {
  const cwd = folderWith({ "my.ts": specText(), "endless.ts": `process.stderr.write("endless");\nfor (;;);\n` });
  const endless = await vitc(["compile", "endless.ts"], { cwd, onStderr: (text, kill) => text.includes("endless") && kill("SIGINT") });
  assert.ok(endless.signal === "SIGINT" || endless.code === 130, JSON.stringify(endless));

  assert.is((await vitc(["compile", "my.ts", "--no-typecheck"], { cwd })).code, 0);
  writeFileSync(join(cwd, "my.ts"), specText({ ...small, depth: 3 }));
  const before = texts(cwd);
  const stopped = await vitc(["compile", "my.ts"], { cwd, onStderr: (text, kill) => text.includes("Compiling") && kill("SIGINT") });
  assert.ok(stopped.signal === "SIGINT" || stopped.code === 130, JSON.stringify(stopped));
  assert.is(stopped.stdout, "");
  assert.equal(texts(cwd), before);
});

test("--watch compiles again on a change of the spec or of what it imports, survives a mistake, and ends with Ctrl-C", async () => {
  const cwd = folderWith({ "my.ts": `import { depth } from "./depth.js";\nexport default { ...${JSON.stringify(small)}, depth };\n`, "depth.ts": "export const depth = 2;\n" });
  const steps = [() => writeFileSync(join(cwd, "depth.ts"), "export const depth = 0;\n"), () => writeFileSync(join(cwd, "depth.ts"), "export const depth = 3;\n")];
  let watching = 0;
  const result = await vitc(["compile", "my.ts", "--no-typecheck", "--watch"], {
    cwd,
    onStderr: (text, kill) => {
      const times = text.split("Watching 2 files").length - 1;
      if (times === watching) return;
      watching = times;
      const step = steps.shift();
      if (step) step();
      else kill("SIGINT");
    },
  });
  assert.equal([result.code, watching], [0, 3], result.stderr);
  assert.match(result.stderr, /error: depth: 0 is too small/);
  assert.is(result.stdout.split("generated/small:").length - 1, 2);
  assert.is((JSON.parse(readFileSync(join(cwd, "generated/small/spec.json"), "utf8")) as { depth: number }).depth, 3);
});

test.run();
