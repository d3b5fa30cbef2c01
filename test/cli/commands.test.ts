import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { loadSpec } from "../../compiler/cli/load-spec.js";
import { jsonShapes } from "../../compiler/cli/json.js";
import { compile } from "../../compiler/compile.js";
import { writePackage } from "../../compiler/emit/write.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { DType, Plan, Tuned } from "../../runtime/plan.js";
import { targets } from "../../compiler/target/targets.js";
import { readTensors } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";
import { folderWith, small, snapshot, specText, vitc } from "./vitc.js";

const test = suite("commands");

/** A package as `vitc compile` would write it, without another process. */
async function compileHere(cwd: string, spec: object, source: string, out: string, options: { batch?: number[]; sharedRuntime?: boolean } = {}): Promise<void> {
  const { files } = await compile(spec, { ...options, typecheck: false, source });
  await writePackage(files, join(cwd, out));
}

test("init writes a spec that compiles and a package.json, and never overwrites", async () => {
  const cwd = folderWith({ "mine/my.ts": "mine" });
  const fresh = await vitc(["init", "models"], { cwd });
  assert.is(fresh.code, 0, fresh.stderr);
  assert.is(fresh.stdout, "wrote models/my.ts\nwrote models/package.json\n");
  assert.match(fresh.stderr, /cd models\n {2}npm install\n {2}npx vitc compile my\.ts/);
  assert.is(resolve((await loadSpec("models/my.ts", cwd)).spec).name, "my-vit");
  const manifest = JSON.parse(readFileSync(join(cwd, "models/package.json"), "utf8")) as { type: string; scripts: object };
  assert.equal([manifest.type, manifest.scripts], ["module", { compile: "vitc compile my.ts" }]);

  const before = snapshot(join(cwd, "models"));
  const again = await vitc(["init", "models", "--json"], { cwd });
  assert.equal(jsonShapes.init.parse(JSON.parse(again.stdout)), { folder: join(cwd, "models"), written: [], kept: ["my.ts", "package.json"] });
  assert.equal(snapshot(join(cwd, "models")), before);
  const beside = await vitc(["init", "mine"], { cwd });
  assert.is(beside.stdout, "wrote mine/package.json\nkept mine/my.ts, which was there already\n");
  assert.is(readFileSync(join(cwd, "mine/my.ts"), "utf8"), "mine");

  const file = await vitc(["init", "mine/my.ts"], { cwd });
  assert.equal([file.code, file.stderr], [1, "error: mine/my.ts is a file; name a folder\n"]);
  const deep = await vitc(["init", "absent/deep"], { cwd });
  assert.equal([deep.code, deep.stdout], [0, "wrote absent/deep/my.ts\nwrote absent/deep/package.json\n"], deep.stderr);
  const below = await vitc(["init", "mine/my.ts/a/b"], { cwd });
  assert.equal([below.code, below.stderr], [1, "error: cannot make the folder mine/my.ts/a/b: a part of its path is a file\n"]);
});

test("check tells fresh, stale and broken packages apart, and how to regenerate them", async () => {
  const cwd = folderWith({ "my.ts": specText(), "two.json": JSON.stringify({ ...small, name: "two" }) });
  const nothing = await vitc(["check"], { cwd });
  assert.is(nothing.code, 1);
  assert.match(nothing.stderr, /^error: there is no folder generated in /);

  await compileHere(cwd, small, "../../my.ts", "generated/small", { batch: [1, 2] });
  await compileHere(cwd, { ...small, name: "two" }, "../../two.json", "generated/two", { sharedRuntime: true });
  writeFileSync(join(cwd, "generated/small/model.safetensors"), "the user's");
  const fresh = await vitc(["check"], { cwd });
  assert.equal([fresh.code, fresh.stdout], [0, "generated/small: fresh\ngenerated/two: fresh\n"]);

  writeFileSync(join(cwd, "generated/small/plan.js"), `${readFileSync(join(cwd, "generated/small/plan.js"), "utf8")} `);
  rmSync(join(cwd, "generated/small/index.d.ts"));
  writeFileSync(join(cwd, "two.json"), JSON.stringify({ ...small, name: "two", dim: 48, heads: 5 }));
  const stale = await vitc(["check", "--json"], { cwd });
  assert.is(stale.code, 1);
  const report = jsonShapes.check.parse(JSON.parse(stale.stdout));
  assert.is(report.stale, true);
  assert.equal(report.packages, [
    { folder: "generated/small", spec: "my.ts", status: "stale", changed: ["plan.js"], missing: ["index.d.ts"], extra: [], command: "npx vitc compile my.ts --out generated/small --batch 1,2" },
    { folder: "generated/two", spec: "two.json", status: "broken", changed: [], missing: [], extra: [], problem: "heads: 5 does not divide dim 48; use 4 or 6 heads, or set headDim", command: "npx vitc compile two.json --out generated/two --shared-runtime" },
  ]);
  const stranger = await vitc(["check", "."], { cwd });
  assert.equal([stranger.code, stranger.stderr], [1, `error: . is not a package of vitc: it has no package.json with a "vitc" entry\n`]);
});

test("check compiles a package again with its dtypes and its table of measured choices", async () => {
  const { plan } = makePlan(resolve(small));
  const routine = plan.routines.find(({ choices }) => choices.length > 1)!;
  const table = [{ adapter: "a|b|c|d", choices: { [routine.id]: routine.choices[1]!.name, another_model: "quad" } }];
  const cwd = folderWith({ "my.ts": specText(), "tuning.json": JSON.stringify(table) });
  const compiled = await vitc(["compile", "my.ts", "--out", "package", "--dtype", "f32,f16", "--tuning", "tuning.json", "--no-typecheck", "--json"], { cwd });
  assert.is(compiled.code, 0, compiled.stderr);
  const { variants } = jsonShapes.compile.parse(JSON.parse(compiled.stdout));
  assert.equal(variants.map(({ dtype, tuned }) => [dtype, tuned]), [["f32", [{ adapter: "a|b|c|d", routines: 1 }]], ["f16", []]]);
  const { tuned } = ((await import(join(cwd, "package/plan.js"))) as { plan: Plan }).plan;
  assert.equal(tuned, [{ adapter: "a|b|c|d", choices: { [routine.id]: routine.choices[1]!.name } }]);
  assert.is((await vitc(["check", "package"], { cwd })).stdout, "package: fresh\n");

  writeFileSync(join(cwd, "tuning.json"), JSON.stringify([{ ...table[0], choices: { [routine.id]: routine.choices[0]!.name } }]));
  const stale = jsonShapes.check.parse(JSON.parse((await vitc(["check", "package", "--json"], { cwd })).stdout));
  assert.equal(stale.packages.map(({ status, command }) => [status, command]), [["stale", "npx vitc compile my.ts --out package --dtype f32,f16 --tuning tuning.json"]]);
  rmSync(join(cwd, "tuning.json"));
  const broken = await vitc(["check", "package"], { cwd });
  assert.match(broken.stdout, /^package: broken\n {2}--tuning tuning\.json cannot be read .*vitc tune PACKAGE --out tuning\.json/);
});

test("check lists the files that a changed spec no longer gives", async () => {
  const cwd = folderWith({ "my.json": JSON.stringify({ ...small, dim: 64 }) });
  await compileHere(cwd, small, "../my.json", "package");
  const { code, stdout } = await vitc(["check", "package"], { cwd });
  assert.is(code, 1);
  assert.match(stdout, /^package: stale\n {2}\d+ files changed: .*\n {2}\d+ files missing: .*kernels.*\n {2}\d+ files no longer made: .*kernels.*\n {2}regenerate with: npx vitc compile my\.json --out package\n$/);
});

test("init-weights writes every parameter, the same bytes for the same seed, and replaces nothing unasked", async () => {
  const cwd = folderWith({ "stem.json": JSON.stringify({ ...small, patch: 2, stem: [{ channels: 8, kernel: 3, stride: 4 }] }) });
  const hash = (file: string): string => createHash("sha256").update(readFileSync(join(cwd, file))).digest("hex");
  const run = (...args: string[]) => vitc(["init-weights", "stem.json", ...args], { cwd });
  const first = await run("--out", "a.safetensors", "--seed", "7", "--scheme", "jax", "--json");
  assert.is(first.code, 0, first.stderr);
  const report = jsonShapes["init-weights"].parse(JSON.parse(first.stdout));
  const parameters = buildGraph(resolve(JSON.parse(readFileSync(join(cwd, "stem.json"), "utf8"))), { batch: 1 }).parameters;
  const tensors = readTensors(join(cwd, "a.safetensors"));
  assert.equal([...tensors].map(([name, { shape }]) => [name, shape]), parameters.map(({ name, value }) => [name, value.shape]));
  assert.ok(tensors.has("patch_embed.backbone.1.running_var"));
  assert.equal([report.tensors, report.seed, report.scheme, report.bytes], [parameters.length, 7, "jax", readFileSync(join(cwd, "a.safetensors")).length]);

  const again = await run("--out", "a.safetensors");
  assert.is(again.code, 1);
  assert.match(again.stderr, /^error: a\.safetensors is there already, and may hold trained weights: .*--force/);
  const before = hash("a.safetensors");
  assert.is((await run("--out", "a.safetensors", "--seed", "7", "--scheme", "jax", "--force")).code, 0);
  assert.is(hash("a.safetensors"), before);
  assert.is((await run("--out", "b.safetensors", "--seed", "8", "--scheme", "jax")).code, 0);
  assert.is.not(hash("b.safetensors"), before);

  for (const [args, sentence] of [
    [[], /required option '-o, --out <file>' not specified/],
    [["--out", "c", "--seed", "1.5"], /It must be a whole number from 0 to 9007199254740991/],
    [["--out", "c", "--scheme", "jx"], /Allowed choices are notes, timm, jax/],
    [["--out", "absent/c"], /^error: cannot write .*absent\/c: its folder does not exist/],
    [["--out", "."], /^error: \. is a folder; name a file, for example \.\/model\.safetensors/],
  ] as const) {
    const { code, stdout, stderr } = await run(...args);
    assert.equal([args, code, stdout], [args, 1, ""]);
    assert.match(stderr, sentence);
  }
  assert.not.ok(existsSync(join(cwd, "c")));
});

test("Ctrl-C in the middle of init-weights leaves no file, and the exit code 130", async () => {
  const cwd = folderWith({ "large.json": JSON.stringify({ ...small, dim: 1024, depth: 24, heads: 16 }) });
  const { code, stdout, stderr } = await vitc(["init-weights", "large.json", "--out", "large.safetensors"], { cwd, onStderr: (_, kill) => kill("SIGINT") });
  assert.equal([code, stdout], [130, ""]);
  // It showed itself after a second, which is when it was stopped.
  assert.match(stderr, /^Writing large\.safetensors( \d+% \S+)?\n$/);
  assert.equal([...snapshot(cwd).keys()], ["large.json"]);
});

/** Where webgpu is installed. */
const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");

test("doctor tells what a run would use, and fails when nothing can run", async () => {
  const cwd = root;
  const { code, stdout } = await vitc(["doctor", "--json"], { cwd });
  const report = jsonShapes.doctor.parse(JSON.parse(stdout));
  assert.is(code, report.usable ? 0 : 1);
  assert.equal([report.usable, report.webgpu.installed, report.webgpu.folder, report.folder], [report.auto !== null, true, join(root, "node_modules/webgpu"), root]);
  if (report.gpu !== null) assert.equal(report.auto, report.gpu);
  if (report.auto !== null) {
    const { key, target, features } = report.auto.abilities;
    assert.equal(features.map(({ name }) => name), ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix", "timestamp-query"]);
    assert.ok(features.every(({ means }) => means !== "") && targets.some(({ name }) => name === target) && key.split("|").length >= 4);
    const { stdout: text } = await vitc(["doctor"], { cwd });
    for (const { name, there, means } of features) assert.match(text, new RegExp(`^  ${name.replace("chromium-experimental-", "")} +${there ? "yes[^:]*" : "no"}: ${there && name.includes("matrix") ? "products" : means}`, "m"));
  }

  // A machine without any driver, as far as this can be played.
  if (report.gpu !== null || process.platform !== "linux") return;
  const bare = await vitc(["doctor"], { cwd, env: { VITC_SWIFTSHADER: "/absent" } });
  if (report.softwareSource === null || report.auto?.name !== report.software?.name) return;
  assert.is(bare.code, 1);
  assert.match(bare.stdout, /^a run uses +nothing: no model can run here$/m);
  assert.match(bare.stdout, /VITC_SWIFTSHADER names \/absent/);
  assert.match(bare.stdout, /\n {2}-> Install /);
});

test("doctor answers for the current folder or a package's, which do not see what is installed with vitc", async () => {
  const cwd = folderWith({ "mine/readme.txt": "" });
  await compileHere(cwd, small, "../my.ts", "mine/package");
  await compileHere(cwd, small, "../my.ts", "mine/shared", { sharedRuntime: true });
  const ask = async (folder: string, ...args: string[]) => {
    const { code, stdout } = await vitc(["doctor", ...args, "--json"], { cwd: folder });
    return { code, report: jsonShapes.doctor.parse(JSON.parse(stdout)) };
  };
  for (const { code, report } of [await ask(cwd), await ask(cwd, "mine/package")]) {
    assert.equal([code, report.usable, report.webgpu, report.auto], [1, false, { installed: false }, null]);
    const [problem] = report.problems;
    assert.equal([problem!.fix, problem!.blocking], ["npm install webgpu", true]);
    assert.ok(problem!.what.includes(report.folder) && problem!.what.includes(join(root, "node_modules/webgpu")), problem!.what);
  }
  // Found beside the package, although it is not where the command runs.
  mkdirSync(join(cwd, "mine/node_modules"));
  symlinkSync(join(root, "node_modules/webgpu"), join(cwd, "mine/node_modules/webgpu"));
  const beside = await ask(cwd, "mine/package");
  assert.equal([beside.report.webgpu.installed, beside.report.folder], [true, join(cwd, "mine/package")]);
  assert.is((await ask(cwd)).report.webgpu.installed, false);
  assert.is((await ask(join(cwd, "mine"))).report.webgpu.installed, true);

  const shared = await vitc(["doctor", "mine/shared"], { cwd });
  assert.equal([shared.code, shared.stdout], [1, ""]);
  assert.match(shared.stderr, /^error: mine\/shared was compiled with --shared-runtime and finds no vitc/);
  const none = await vitc(["doctor", "mine"], { cwd });
  assert.equal([none.code, none.stdout], [1, ""]);
  assert.match(none.stderr, /^error: mine is not a package of vitc/);
});

test("a package that was just compiled equals its spec", async () => {
  const cwd = folderWith({ "my.ts": specText() });
  await compileHere(cwd, small, "../my.ts", "package");
  for (const sides of [["package", "my.ts"], ["my.ts", "package"]]) {
    const { code, stdout } = await vitc(["diff", ...sides], { cwd });
    assert.is(code, 0);
    assert.match(stdout, /^small and small have the same plan, [0-9a-f]{16}\n$/);
  }
});

test("diff says what differs beside two equal plans: dtypes, the plans of other dtypes, measured choices", async () => {
  const cwd = folderWith({});
  const routine = "any";
  const table = (adapter: string, way: string) => ({ adapter, choices: { [routine]: way } });
  const make = async (name: string, tuned: readonly Tuned[], dtype: readonly DType[]): Promise<void> => {
    for (const [path, text] of (await compile({ ...small, dtype }, { typecheck: false, tuned })).files) {
      mkdirSync(dirname(join(cwd, name, path)), { recursive: true });
      writeFileSync(join(cwd, name, path), text);
    }
  };
  await Promise.all([make("plain", [], ["f32"]), make("both", [table("x", "quad"), table("y", "quad")], ["f32", "f16"]), make("retuned", [table("y", "tiled"), table("z", "quad")], ["f32", "f16"])]);
  const [dtypes, tables, other] = await Promise.all([vitc(["diff", "plain", "both"], { cwd }), vitc(["diff", "both", "retuned"], { cwd }), vitc(["diff", "both", "retuned", "--json"], { cwd })]);
  assert.match(dtypes.stdout, /^small and small have the same plan, \w+, in f32, and differ in\ndtypes: A f32; B f32, f16\nonly B carries measured choices for x, y\n$/);
  assert.match(tables.stdout, /differ in\nonly A carries measured choices for x\nonly B carries measured choices for z\nother measured choices for y\n$/);
  const { same, samePlan } = jsonShapes.diff.parse(JSON.parse(other.stdout));
  assert.equal([same, samePlan], [false, true]);
  // The plan of the second dtype says its fingerprint itself.
  const file = join(cwd, "both", "plan-f16.js");
  writeFileSync(file, readFileSync(file, "utf8").replace(/(fingerprint"?: ")[0-9a-f]{16}/, "$10123456789abcdef"));
  assert.match((await vitc(["diff", "retuned", "both"], { cwd })).stdout, /differ in\nthe plan in f16: compare it with --dtype f16\n/);
  assert.not.match((await vitc(["diff", "retuned", "both", "--dtype", "f32"], { cwd })).stdout, /dtypes|the plan in f16/);
});

test("diff shows what a change of the spec does to a package", async () => {
  const cwd = folderWith({ "my.ts": specText({ ...small, depth: 4, classes: 0 }), "wide.json": JSON.stringify({ ...small, dim: 64, batch: 3 }) });
  await compileHere(cwd, small, "../my.ts", "package");
  const text = await vitc(["diff", "package", "my.ts"], { cwd });
  assert.is(text.code, 0, text.stderr);
  // Two blocks of 5 and 7 dispatches, and four of 5, 5, 5 and 7: the last goes on with the class token alone.
  assert.match(text.stdout, /^batch 1: dispatches +14 +24 +x 1\.71$/m);
  assert.match(text.stdout, /^ {2}expected on large-gpu +[\d.]+ us +[\d.]+ us +x 1\.\d\d$/m);
  assert.match(text.stdout, /^\+ blocks\.\{1-2\}\.attn\.qkv\n {4}gemm_/m);
  assert.match(text.stdout, /^~ blocks\.1\.mlp\.fc1\n {4}gemm_m1_\S+\n {4}-> gemm_m17_\S+$/m);
  assert.match(text.stdout, /^- head\n {4}gemm_/m);

  const json = await vitc(["diff", "package", "my.ts", "--json"], { cwd });
  const { same, profiles } = jsonShapes.diff.parse(JSON.parse(json.stdout));
  assert.equal([same, profiles[0]!.removed.map(({ label }) => label), profiles[0]!.added.length], [false, ["blocks.1.token", "blocks.1.attn.kv", "blocks.1.attn.q", "head"], 14]);
  for (const { a, b } of Object.values(profiles[0]!.expected)) assert.ok(b > a && a > 0);
  for (const { choices, taken } of profiles[0]!.added) assert.ok(Object.values(taken).every((name) => choices.includes(name)));

  const alone = await vitc(["diff", "package", "wide.json", "--json"], { cwd });
  const { batches, profiles: none } = jsonShapes.diff.parse(JSON.parse(alone.stdout));
  assert.equal([batches, none], [{ onlyA: [1], onlyB: [3] }, []]);
  const sized = await vitc(["diff", "wide.json", "wide.json", "--batch", "2"], { cwd });
  assert.match(sized.stdout, /^small and small have the same plan, [0-9a-f]{16}\n$/);

  const half = await vitc(["diff", "my.ts", "my.ts", "--dtype", "f16"], { cwd });
  assert.match(half.stdout, /^small and small have the same plan/);
  const lacking = await vitc(["diff", "package", "my.ts", "--dtype", "f16"], { cwd });
  assert.equal([lacking.code, lacking.stderr], [1, "error: --dtype f16: package was compiled for f32\n"]);

  const folder = await vitc(["diff", ".", "my.ts"], { cwd });
  assert.is(folder.code, 1);
  assert.match(folder.stderr, /^error: \. is a folder and not a package of vitc/);
  // A package says its fingerprint itself: an edited kernel is still seen.
  const kernel = readFileSync(join(cwd, "package/kernels/index.js"), "utf8").match(/from "\.\/(gemm[^"]*\.js)"/)![1]!;
  writeFileSync(join(cwd, "package/kernels", kernel), readFileSync(join(cwd, "package/kernels", kernel), "utf8").replace("fn main", "// edited\nfn main"));
  writeFileSync(join(cwd, "my.ts"), specText());
  const edited = await vitc(["diff", "package", "my.ts"], { cwd });
  assert.match(edited.stdout, new RegExp(`kernels with another text: ${kernel.slice(0, -3)}\\n`));
});

test.run();
