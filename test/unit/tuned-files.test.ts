import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as assert from "uvu/assert";
import { addToCache, addToFile, cacheFault, expectTables, readTuning } from "../../compiler/cli/tuning-file.js";
import { tuned, tunedFile } from "../../runtime/node-tuned.js";
import { suite } from "../tools/suite.js";

const test = suite("tables of measured choices on disk");

const before = process.env["XDG_CACHE_HOME"];
let folder = "";

test.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), "vitc-tuned-"));
  process.env["XDG_CACHE_HOME"] = folder;
});
test.after.each(() => {
  if (before === undefined) delete process.env["XDG_CACHE_HOME"];
  else process.env["XDG_CACHE_HOME"] = before;
  rmSync(folder, { recursive: true, force: true });
});

const { signal } = new AbortController();
const [mine, other] = [{ adapter: "mine", choices: { b: "quad", a: "staged" } }, { adapter: "other", choices: { a: "register" } }];

async function message(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => "", (error: unknown) => (error instanceof Error ? error.message : String(error)));
}

test("a plan that was never tuned has no table, and a file that holds something else is named", async () => {
  assert.equal(await tuned("abc"), []);
  mkdirSync(dirname(tunedFile("abc")), { recursive: true });
  for (const text of ["", "{}", "[1]", '[{ "adapter": "a", "choices": { "x": 1 } }]', '[{ "adapter": 1, "choices": {} }]']) {
    writeFileSync(tunedFile("abc"), text);
    assert.match(await message(tuned("abc")), /abc\.json holds no measured choices; delete it, or write it again with vitc tune/, text);
  }
});

test("a fingerprint is never a path", () => {
  assert.is(dirname(tunedFile("../../etc/passwd")), join(folder, "vitc", "tuned"));
});

test("the cache has one table an adapter: what was measured before and not now stays, as do others, and garbage goes", async () => {
  const file = await addToCache("abc", mine, { signal });
  assert.is(file, tunedFile("abc"));
  await addToCache("abc", other, { signal });
  await addToCache("abc", { adapter: "mine", choices: { a: "quad" } }, { signal });
  assert.equal(await tuned("abc"), [other, { adapter: "mine", choices: { a: "quad", b: "quad" } }]);
  assert.equal(await tuned("def"), [], "of another plan");
  writeFileSync(file, "garbage");
  await addToCache("abc", mine, { signal });
  assert.equal(await tuned("abc"), [mine]);
  assert.equal(readdirSync(dirname(file)), ["abc.json"], "no half file is left");
});

test("a file to compile gathers the choices of several plans, and is the same whatever their order", async () => {
  const file = join(folder, "tuning.json");
  await addToFile(file, mine, { signal });
  await addToFile(file, other, { signal });
  await addToFile(file, { adapter: "mine", choices: { c: "tiled", a: "quad" } }, { signal });
  assert.equal(await readTuning("tuning.json", folder), [other, { adapter: "mine", choices: { a: "quad", b: "quad", c: "tiled" } }]);
  assert.ok(readFileSync(file, "utf8").indexOf('"a": "quad"') < readFileSync(file, "utf8").indexOf('"b": "quad"'));
});

test("a cache that cannot be written is told of at once, and looking leaves nothing behind", async () => {
  assert.equal([await cacheFault("abc"), readdirSync(folder)], [undefined, []]);
  const file = await addToCache("abc", mine, { signal });
  assert.equal([await cacheFault("abc"), readdirSync(dirname(file))], [undefined, ["abc.json"]]);
  writeFileSync(join(folder, "file"), "");
  // Below /proc Node's own recursive mkdir never comes back.
  for (const refusing of [join(folder, "file"), ...(process.platform === "linux" ? ["/proc/vitc-cache"] : [])]) {
    process.env["XDG_CACHE_HOME"] = refusing;
    assert.match((await cacheFault("abc")) ?? "", /ENOTDIR|EEXIST|ENOENT/, refusing);
    assert.match(await message(addToCache("abc", mine, { signal })), /vitc.tuned cannot be made \(E/, refusing);
  }
});

test("an interrupt leaves the file as it was", async () => {
  const file = await addToCache("abc", mine, { signal });
  const text = readFileSync(file, "utf8");
  assert.is(await message(addToCache("abc", other, { signal: AbortSignal.abort(new Error("Ctrl-C")) })), "Ctrl-C");
  assert.equal([readFileSync(file, "utf8"), readdirSync(dirname(file))], [text, ["abc.json"]]);
});

test("what is no table is not read and not replaced", async () => {
  writeFileSync(join(folder, "spec.json"), '{ "name": "my" }');
  assert.match(await message(readTuning("spec.json", folder)), /^--tuning spec\.json is not what vitc tune writes; make it again with: npx vitc tune PACKAGE --out spec\.json$/);
  assert.match(await message(readTuning("none.json", folder)), /^--tuning none\.json cannot be read .*; make one with/);
  assert.match(await message(expectTables(join(folder, "spec.json"), folder)), /^--out spec\.json: a file that vitc tune did not write is there already/);
  assert.is(await message(expectTables(join(folder, "none.json"), folder)), "");
  mkdirSync(join(folder, "folder.json"));
  assert.match(await message(expectTables(join(folder, "folder.json"), folder)), /^--out folder\.json: what is there cannot be read/);
});

test.run();
