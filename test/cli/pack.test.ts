import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as assert from "uvu/assert";
import { writeSafetensors } from "../../compiler/checkpoint/safetensors.js";
import { packShape, type PackReport } from "../../compiler/cli/json-pack.js";
import { cutBuffers } from "../../compiler/cli/pack-shards.js";
import { compile } from "../../compiler/compile.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { importPackage } from "../../compiler/cli/run-package.js";
import { referenceOf } from "../../compiler/cli/reference.js";
import { findSoftwareAdapter, fromPath } from "../../runtime/node.js";
import { recipeHash, type PackedManifest, type Reference } from "../../runtime/packed.js";
import type { WeightRecipe } from "../../runtime/plan.js";
import { fromBytes, loadWeights } from "../../runtime/weights.js";
import { noteFixture, readTensors } from "../tools/fixtures.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";
import { folderWith, small, snapshot, vitc } from "./vitc.js";

/** Packages look for webgpu and for the software adapter from here, as they would in a project that has installed them. */
const cwd = fileURLToPath(new URL("../..", import.meta.url));
const root = folderWith({});
const newFolder = (): string => mkdtempSync(join(root, "pack-"));

async function packageOf(spec: ViTSpec): Promise<string> {
  const { files } = await compile(spec, { typecheck: false });
  const folder = newFolder();
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

/** Weights of `small`, made by its own command. */
const initialized = folderWith({ "small.json": JSON.stringify(small) });
const made = await vitc(["init-weights", "small.json", "--out", "small.safetensors"], { cwd: initialized });
assert.is(made.code, 0, made.stderr);
const weights = join(initialized, "small.safetensors");

const test = suite("vitc pack");

/** Expects exit code 1, nothing on stdout, and a sentence on stderr. */
async function refused(args: readonly string[], ...sentences: readonly (string | RegExp)[]): Promise<void> {
  const { code, stdout, stderr } = await vitc(args, { cwd });
  assert.is(code, 1, stderr);
  assert.is(stdout, "");
  for (const sentence of sentences) assert.match(stderr, sentence);
  assert.not.match(stderr, /\n\s+at /);
}

async function packed(args: readonly string[]): Promise<PackReport> {
  const { code, stdout, stderr } = await vitc(["pack", ...args, "--json"], { cwd });
  assert.is(code, 0, stderr);
  return packShape.parse(JSON.parse(stdout));
}

const recipeIn = async (folder: string, file = "weights.js"): Promise<WeightRecipe> => ((await import(pathToFileURL(join(folder, file)).href)) as { recipe: WeightRecipe }).recipe;

test("writes the very bytes that loading would upload, and a manifest that names them", async () => {
  const folder = await packageOf({ ...small, dtype: ["f32", "f16"] });
  const report = await packed([folder, "--weights", weights, "--shard-bytes", "20003"]);
  const manifest = JSON.parse(readFileSync(join(folder, "packed", "weights.json"), "utf8")) as PackedManifest;
  assert.equal([manifest.format, manifest.version, manifest.name, manifest.variants], ["vitc packed weights", 1, "small", report.variants]);
  assert.equal(report.variants.map(({ dtype }) => dtype), ["f32", "f16"]);
  for (const { dtype, recipe: hash, shards } of report.variants) {
    const recipe = await recipeIn(folder, dtype === "f32" ? "weights.js" : "weights-f16.js");
    assert.is(hash, await recipeHash(recipe));
    const ends = recipe.tensors.map(({ shape, offset, dtype: stored }) => offset + shape.reduce((product, n) => product * n, stored === "f16" ? 2 : 4));
    const wanted = new Uint8Array(Math.max(...ends));
    await loadWeights(recipe, fromBytes(new Uint8Array(readFileSync(weights))), { upload: (_, offset, data) => wanted.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset) });
    assert.ok(shards.length > 3 && shards.every(({ bytes, buffer }) => bytes <= 20_000 && buffer === 0));
    assert.equal(Buffer.concat(shards.map(({ file }) => readFileSync(join(folder, "packed", file)))).compare(wanted), 0, dtype);
    assert.ok(shards.every(({ file, sha256 }) => file.endsWith(`-${sha256.slice(0, 12)}.bin`)));
  }
  assert.equal(readdirSync(join(folder, "packed")).toSorted(), ["weights.json", ...report.variants.flatMap(({ shards }) => shards.map(({ file }) => file))].toSorted());
  assert.is(report.bytes, readdirSync(join(folder, "packed")).filter((name) => name.endsWith(".bin")).reduce((sum, name) => sum + statSync(join(folder, "packed", name)).size, 0));
});

test("what is packed again replaces what was there, with --force alone, and takes old shards away but nobody's file", async () => {
  const folder = await packageOf(small);
  const out = join(folder, "public", "small");
  const text = await vitc(["pack", folder, "--weights", weights, "--out", out], { cwd });
  assert.equal([text.code, text.stderr], [0, ""]);
  assert.match(text.stdout, /public\/small\/weights\.json: small in f32, 1 shard, 0\.\d+ MiB; keep them together\n$/);
  writeFileSync(join(out, "mine.bin"), "mine");
  const before = snapshot(out);
  await refused(["pack", folder, "--weights", weights, "--out", out], /weights\.json is there already: name another folder with --out, or replace it with --force/);
  assert.equal(snapshot(out), before);
  const old = [...before.keys()].filter((name) => name.startsWith("f32"));
  const again = await packed([folder, "--weights", weights, "--out", out, "--shard-bytes", "30000", "--force"]);
  assert.equal(again.removed, old);
  assert.equal(readdirSync(out).toSorted(), ["mine.bin", "weights.json", ...again.variants[0]!.shards.map(({ file }) => file)].toSorted());
  // A manifest may name anything; what is taken away are shards.
  writeFileSync(join(out, "weights.json"), JSON.stringify({ format: "vitc packed weights", variants: [{ shards: [{ file: "mine.bin" }, { file: "../../plan.js" }] }] }));
  assert.equal((await packed([folder, "--weights", weights, "--out", out, "--force"])).removed, []);
  assert.ok(existsSync(join(out, "mine.bin")) && existsSync(join(folder, "plan.js")));
});

test("a mistake is refused before anything is written, and leaves what was there", async () => {
  const folder = await packageOf(small);
  const other = folderWith({ "text.safetensors": "no weights", "file": "" });
  const extra = join(other, "extra.safetensors");
  const tensors = [...readTensors(weights)].map(([name, { shape, data }]) => ({ name, shape, data: Float32Array.from(data) }));
  writeFileSync(extra, writeSafetensors([...tensors, { name: "teacher", shape: [1], data: new Float32Array(1) }]));
  const damaged = join(other, "damaged.safetensors");
  writeFileSync(damaged, writeSafetensors(tensors.map((tensor) => (tensor.name === "head.bias" ? { ...tensor, data: tensor.data.map(() => NaN) } : tensor))));
  const before = snapshot(folder);
  await Promise.all([
    refused(["pack", folder, "--weights", join(other, "text.safetensors")], /not a safetensors file/),
    refused(["pack", folder, "--weights", extra], /"teacher" \[1\] is not used by the model; .*--allow-extra/),
    // Its values are looked at when much is written already.
    refused(["pack", folder, "--weights", damaged, "--out", join(other, "made", "deep")], /"head\.bias" holds NaN/),
    refused(["pack", folder], /holds no weights: name a file or URL with --weights/),
    refused(["pack", other, "--weights", weights], /is not a package of vitc/),
  ]);
  await Promise.all([
    refused(["pack", folder, "--weights", weights, "--out", join(other, "file")], /file is a file: name a folder/),
    refused(["pack", folder, "--weights", weights, "--dtype", "f16"], /--dtype f16: .* was compiled for f32; compile it for this one too/),
    refused(["pack", folder, "--weights", weights, "--shard-bytes", "100"], /It must be from 4096 to 1073741824/),
    refused(["pack", folder, "--weights", join(folder, "none.safetensors")], /none\.safetensors/),
  ]);
  assert.equal(snapshot(folder), before);
  assert.not.ok(existsSync(join(other, "made")));
  const allowed = await vitc(["pack", folder, "--weights", extra, "--allow-extra", "--out", join(other, "out")], { cwd });
  assert.is(allowed.code, 0, allowed.stderr);
  assert.match(allowed.stderr, /1 tensor of the weight file is not used: teacher/);
  await refused(["pack", folder, "--weights", join(other, "out", "weights.json")], /lists no weight files/);
});

test("a dtype that cannot hold the weights is left out with a word, and refused where it was asked for", async () => {
  const folder = await packageOf({ ...small, dtype: ["f16", "f32"] });
  const large = join(newFolder(), "large.safetensors");
  const tensors = [...readTensors(weights)].map(([name, { shape, data }]) => ({ name, shape, data: Float32Array.from(data, (value) => (name === "blocks.0.attn.proj.weight" ? value + 1e6 : value)) }));
  writeFileSync(large, writeSafetensors(tensors));
  const report = await packed([folder, "--weights", large]);
  assert.equal(report.variants.map(({ dtype }) => dtype), ["f32"]);
  assert.match(report.notices.join(), /^f16 is not packed: .*too large.*f32 can hold it/);
  assert.equal(readdirSync(join(folder, "packed")).toSorted(), [report.variants[0]!.shards[0]!.file, "weights.json"]);
  const before = snapshot(folder);
  await refused(["pack", folder, "--weights", large, "--dtype", "f16", "--force"], /too large/);
  assert.equal(snapshot(folder), before);
});

test("Ctrl-C in the middle leaves nothing behind", async () => {
  const folder = await packageOf(small);
  const bytes = readFileSync(weights);
  // Sends what is asked for first, which is the header and some tensors, and then no more.
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (first === "0") response.writeHead(206, { "Content-Range": `bytes 0-${last}/${bytes.length}` }).end(bytes.subarray(0, Number(last) + 1));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    const before = snapshot(folder);
    let during: readonly string[] = [];
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/w.safetensors`;
    const { code, stdout, stderr } = await vitc(["pack", folder, "--weights", url, "--out", join(folder, "a", "b")], {
      cwd,
      onStderr: (_, kill) => {
        during = existsSync(join(folder, "a", "b")) ? readdirSync(join(folder, "a", "b")) : [];
        kill("SIGINT");
      },
    });
    assert.equal([code, stdout], [130, ""], stderr);
    assert.match(stderr, /^Packing w\.safetensors/);
    assert.ok(during.length > 0 && during.every((name) => /^\.[0-9a-f]+\.tmp$/.test(name)), during.join());
    assert.equal(snapshot(folder), before);
    assert.not.ok(existsSync(join(folder, "a")));
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

test("buffers are cut into shards of whole numbers", () => {
  assert.equal(cutBuffers([10, 8, 0], 7), [{ buffer: 0, offset: 0, bytes: 4 }, { buffer: 0, offset: 4, bytes: 4 }, { buffer: 0, offset: 8, bytes: 2 }, { buffer: 1, offset: 0, bytes: 4 }, { buffer: 1, offset: 4, bytes: 4 }]);
});

test.run();

const found = await findSoftwareAdapter();
if ("reason" in found) skipAll("vitc pack, loading", found.reason);
else {
  const loading = suite("vitc pack, loading");
  const fixture = noteFixture("gray");
  const folder = await packageOf(fixture.spec);
  const manifest = join(folder, "packed", "weights.json");
  const { variants } = await packed([folder, "--weights", fixture.weightsPath, "--shard-bytes", "4096"]);
  const [shard] = variants[0]!.shards.slice(-2);
  const software = ["--adapter", "software"];
  const run = (weightFile: string, ...args: readonly string[]) => vitc(["run", folder, "--input", fixture.ioPath, "--weights", weightFile, ...args, ...software], { cwd });

  loading("logits and taps are those of the original, bit for bit: by path, by file URL and by http", async () => {
    assert.ok(variants[0]!.shards.length > 2);
    await using server = await serve({ "/": join(folder, "packed") });
    const files: Buffer[] = [];
    for (const weightFile of [fixture.weightsPath, manifest, pathToFileURL(manifest).href, `${server.url}/weights.json`]) {
      const output = join(newFolder(), "out.safetensors");
      const { code, stderr } = await run(weightFile, "--output", output);
      assert.is(code, 0, stderr);
      files.push(readFileSync(output));
    }
    for (const file of files.slice(1)) assert.is(file.compare(files[0]!), 0);
    // The comparison sees a bit: a shard that was packed from other weights is another file.
    const tensors = [...readTensors(fixture.weightsPath)].map(([name, { shape, data }]) => ({ name, shape, data: Float32Array.from(data, (value) => (name === "head.bias" ? value + 1e-3 : value)) }));
    const other = newFolder();
    writeFileSync(join(other, "other.safetensors"), writeSafetensors(tensors));
    await packed([folder, "--weights", join(other, "other.safetensors"), "--out", other]);
    const { code } = await run(join(other, "weights.json"), "--output", join(other, "out.safetensors"));
    assert.is(code, 0);
    assert.is.not(readFileSync(join(other, "out.safetensors")).compare(files[0]!), 0);
  });

  /** A copy of what was packed, changed. */
  const copyOf = (change: (path: string) => void): string => {
    const copy = newFolder();
    for (const name of readdirSync(join(folder, "packed"))) copyFileSync(join(folder, "packed", name), join(copy, name));
    change(join(copy, shard!.file));
    return join(copy, "weights.json");
  };

  loading("a shard that is damaged, cut short or missing is named, and nothing is run", async () => {
    const flip = (path: string): void => {
      const bytes = readFileSync(path);
      bytes[7]! ^= 0x10;
      writeFileSync(path, bytes);
    };
    const args = (weightFile: string) => ["run", folder, "--input", fixture.ioPath, "--weights", weightFile, ...software];
    await refused(args(copyOf(flip)), new RegExp(`${shard!.file}: this shard of packed weights is damaged: its SHA-256 is .*; copy it again, or pack .*npx vitc pack PACKAGE`));
    await refused(args(copyOf((path) => truncateSync(path, 1000))), new RegExp(`${shard!.file}: this shard of packed weights has 1000 bytes, and its manifest says ${shard!.bytes}`));
    await refused(args(copyOf((path) => rmSync(path))), new RegExp(`${shard!.file}: no such file`));
  });

  loading("another package refuses it with the command that packs again; kernels may change, layouts may not", async () => {
    const other = await packageOf({ ...fixture.spec, depth: 1, outputs: undefined });
    await refused(["run", other, "--input", fixture.ioPath, "--weights", manifest, ...software], /weights\.json: it holds weights of ".*", packed by vitc .* for another compile of it, .*npx vitc pack PACKAGE --weights FILE/);
    // Another batch size is another plan with other kernels, and the same weights.
    const batched = await packageOf({ ...fixture.spec, batch: [1, 4] });
    const { code, stderr } = await vitc(["run", batched, "--input", fixture.ioPath, "--weights", manifest, ...software], { cwd });
    assert.is(code, 0, stderr);
  });

  loading("a package of two dtypes takes the one that is packed, and says so", async () => {
    const two = await packageOf({ ...fixture.spec, dtype: ["f16", "f32"] });
    await packed([two, "--weights", fixture.weightsPath, "--dtype", "f32"]);
    const weightFile = join(two, "packed", "weights.json");
    const { code, stderr } = await vitc(["run", two, "--input", fixture.ioPath, "--weights", weightFile, ...software], { cwd });
    assert.is(code, 0, stderr);
    assert.match(stderr, /weights\.json holds weights packed as f32 alone; f16 is not used\n/);
    assert.match(stderr, / in f32 on /);
    await refused(["run", two, "--input", fixture.ioPath, "--weights", weightFile, "--dtype", "f16", ...software], /it holds weights packed as f32, and f16 is asked for; .*npx vitc pack PACKAGE --weights FILE --dtype f16/);
  });

  loading("a page's way works in a program too: load of a URL object, with progress in bytes of the shards", async () => {
    const program = `
      const { load } = await import(${JSON.stringify(pathToFileURL(join(folder, "index.js")).href)});
      const seen = [];
      const model = await load({ weights: new URL(${JSON.stringify(pathToFileURL(manifest).href)}), adapter: "software", onNotice() {}, onProgress: ({ stage, loaded, total }) => stage === "weights" && seen.push([loaded, total]) });
      console.log(JSON.stringify([seen.at(-1), model.ignored]));
      model.dispose();
      const error = await load({ weights: new Blob([JSON.stringify(${JSON.stringify(JSON.parse(readFileSync(manifest, "utf8")))})]), adapter: "software", onNotice() {} }).catch((error) => error);
      console.log(error.name, error.code, error.problems.length);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { cwd, encoding: "utf8", timeout: 60_000 });
    const bytes = variants[0]!.shards.reduce((sum, each) => sum + each.bytes, 0);
    assert.is(stdout, `[[${bytes},${bytes}],[]]\nWeightsError weights 1\n`, stderr);
  });

  loading("what a whole run gives comes with the weights, from f64 or from an adapter, and self-tests compare it", async () => {
    const written = JSON.parse(readFileSync(manifest, "utf8")) as PackedManifest;
    const { reference } = written;
    assert.equal([reference?.output, reference?.by], ["logits", "f64"]);
    const [imported, source] = [await importPackage(folder, cwd), await fromPath(fixture.weightsPath)];
    const computed = (await referenceOf(imported, fixture.weightsPath, source, { allowExtra: false, signal: new AbortController().signal, interpreted: 0 })) as Reference;
    assert.match(computed.by, /^f32 on .+/);
    computed.expected.forEach((value, i) => assert.ok(Math.abs(value - reference!.expected[i]!) < 1e-4 * (1 + Math.abs(value))));
    assert.equal(computed.at, reference!.at);

    const changed = (change: (content: PackedManifest) => object): string => {
      const file = join(folder, "packed", `changed-${Math.random().toString(36).slice(2)}.json`);
      writeFileSync(file, JSON.stringify(change(written)));
      return file;
    };
    const without = changed(({ reference: _, ...rest }) => rest);
    const wrong = changed((content) => ({ ...content, reference: { ...reference!, expected: reference!.expected.map((value, i) => (i === 3 ? value + 0.1 * reference!.scale : value)) } }));
    const damaged = changed((content) => ({ ...content, reference: { ...reference!, expected: [1] } }));
    const program = `
      const { load, SelfTestError } = await import(${JSON.stringify(pathToFileURL(join(folder, "index.js")).href)});
      const say = (...values) => console.log(JSON.stringify(values));
      const [right, without, wrong, damaged] = ${JSON.stringify([manifest, without, wrong, damaged])};
      const options = { adapter: "software", onNotice() {} };
      for (const [weights, selfTest] of [[right, true], [right, false], [without, true]]) {
        const model = await load({ ...options, weights, selfTest });
        const { passed, output } = await model.selfTest();
        say(passed, output ?? null);
        model.dispose();
      }
      const error = await load({ ...options, weights: wrong, selfTest: true }).catch((error) => error);
      say(error instanceof SelfTestError, error.code, error.report.failures.length, error.report.output.wrong.element, error.message);
      const model = await load({ ...options, weights: wrong });
      say((await model.selfTest()).passed);
      model.dispose();
      say((await load({ ...options, weights: damaged }).catch((error) => error)).message);
      const { createHash } = await import("node:crypto");
      const { readFileSync } = await import("node:fs");
      const integrity = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");
      (await load({ ...options, weights: right, integrity: integrity(right) })).dispose();
      say((await load({ ...options, weights: right, integrity: integrity(wrong) }).catch((error) => error)).problems[0].kind);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { cwd, encoding: "utf8", timeout: 120_000 });
    const said = stdout.trim().split("\n").map((line) => JSON.parse(line) as unknown[]);
    assert.equal(said.slice(0, 3), [[true, { name: "logits" }], [true, { name: "logits" }], [true, null]], stderr);
    assert.equal(said[3]!.slice(0, 4), [true, "self-test", 0, reference!.at[3]]);
    assert.match(String(said[3]![4]), /every kernel that was tested is right, and a whole run gives \S+ where \S+ is right \(logits, element \d+, run 1\)/);
    assert.equal(said[4], [false]);
    assert.match(String(said[5]![0]), /this list of packed weights is damaged or was edited/);
    assert.equal(said.slice(6), [["integrity"]]);
  });

  loading("what a run gives of another model with the same weights and recipe is not compared, and it is said why", async () => {
    const spec = JSON.parse(readFileSync(join(folder, "spec.json"), "utf8")) as ViTSpec & { readonly norm: { readonly kind: "layer"; readonly eps: number } };
    const model = async (text: string): Promise<string> => ((await import(pathToFileURL(join(text, "plan.js")).href)) as { readonly plan: { readonly model: string } }).plan.model;
    const renamed = await packageOf({ ...spec, name: "renamed", batch: [2], dropout: { path: 0.1 }, preprocess: { ...spec.preprocess, interpolation: "box" } });
    const other = await packageOf({ ...spec, norm: { ...spec.norm, eps: 0.5 } });
    assert.is(await model(renamed), await model(folder));
    assert.is.not(await model(other), await model(folder));
    const program = `
      const notices = [];
      const { load } = await import(${JSON.stringify(pathToFileURL(join(other, "index.js")).href)});
      const model = await load({ weights: ${JSON.stringify(manifest)}, selfTest: true, adapter: "software", onNotice: (text) => notices.push(text) });
      const { passed, output, untested } = await model.selfTest();
      console.log(JSON.stringify({ passed, output: output ?? null, untested, notices: notices.filter((text) => /not tested/.test(text)) }));
      model.dispose();`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { cwd, encoding: "utf8", timeout: 120_000 });
    const why = "whole runs (the packed weights tell those of another model, or were edited or packed by an earlier vitc: pack them for this package)";
    assert.equal(JSON.parse(stdout || "null"), { passed: true, output: null, untested: [why], notices: [`not tested: ${why}`] }, stderr);
  });

  loading("a reference is left out where it was asked to, and then said to be none", async () => {
    const report = await packed([folder, "--weights", fixture.weightsPath, "--out", newFolder(), "--no-reference"]);
    assert.is(report.reference, null);
  });

  loading.run();
}
