import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { OutputFolderError, readProvenance, writePackage } from "../../compiler/emit/write.js";
import { suite } from "../tools/suite.js";
import { folderWith, snapshot } from "./vitc.js";

const test = suite("writePackage");

/** A package with a manifest that claims the files, as emission writes it. */
function packageOf(files: Readonly<Record<string, string>>): Map<string, string> {
  const all = { ...files, "package.json": JSON.stringify({ vitc: { version: "1", spec: "s.ts", sharedRuntime: false, files: [...Object.keys(files), "package.json"] } }) };
  return new Map(Object.entries(all));
}

const first = packageOf({ "index.js": "one", "kernels/a.js": "a", "kernels/b.js": "b" });
const second = packageOf({ "index.js": "two", "kernels/a.js": "a" });
const texts = (folder: string) => [...snapshot(folder)].map(([path, { text }]) => [path, text]);

const refused = async (work: Promise<unknown>, sentence: RegExp): Promise<void> => {
  const error = await work.then(() => undefined, (cause: unknown) => cause);
  assert.instance(error, OutputFolderError);
  assert.match((error as Error).message, sentence);
};

test("replaces a package: new text, old files gone, what did not change not touched, the user's files kept", async () => {
  const parent = folderWith({});
  const out = join(parent, "deep/down/package");
  assert.equal((await writePackage(first, out)).changed, ["index.js", "kernels/a.js", "kernels/b.js", "package.json"]);
  mkdirSync(join(out, "weights"));
  writeFileSync(join(out, "weights/model.safetensors"), "mine");
  symlinkSync("weights/model.safetensors", join(out, "latest"));
  chmodSync(out, 0o750);
  utimesSync(join(out, "kernels/a.js"), 1e9, 1e9);

  assert.equal(await writePackage(second, out), { changed: ["index.js", "package.json"], removed: ["kernels/b.js"], kept: ["latest", "weights/model.safetensors"] });
  assert.equal([...snapshot(out).keys()], ["index.js", "kernels/a.js", "package.json", "weights/model.safetensors"]);
  assert.is(readFileSync(join(out, "latest"), "utf8"), "mine");
  assert.is(statSync(join(out, "kernels/a.js")).mtimeMs, 1e12);
  assert.is(statSync(out).mode & 0o777, 0o750);
  assert.equal(readdirSync(join(parent, "deep/down")), ["package"]);
});

test("follows a link to a package, and refuses a link to nothing", async () => {
  const parent = folderWith({});
  await writePackage(first, join(parent, "real"));
  symlinkSync("real", join(parent, "link"));
  await writePackage(second, join(parent, "link"));
  assert.is(readFileSync(join(parent, "real/index.js"), "utf8"), "two");
  assert.equal(readdirSync(parent).sort(), ["link", "real"]);
  symlinkSync("nowhere", join(parent, "broken"));
  await refused(writePackage(first, join(parent, "broken")), /is a link to something that is not there/);
});

test("stopped at any file, it leaves the old package and nothing else", async () => {
  const parent = folderWith({});
  const out = join(parent, "package");
  await writePackage(first, out);
  const before = texts(parent);
  let stops = 0;
  for (let at = 1; at <= 3; at++) {
    const controller = new AbortController();
    let reads = 0;
    // The text of each changed file is asked for once, when it is written.
    const files = new (class extends Map<string, string> {
      override get(path: string): string | undefined {
        if (++reads === at) controller.abort(new Error("stopped"));
        return super.get(path);
      }
    })(packageOf({ "index.js": "three", "kernels/a.js": "new", "kernels/c.js": "c" }));
    await writePackage(files, out, controller.signal).catch((error: unknown) => {
      assert.is((error as Error).message, "stopped");
      stops++;
    });
    assert.equal(texts(parent), before);
  }
  assert.is(stops, 3);
  const fresh = join(parent, "a/b");
  await writePackage(first, fresh, AbortSignal.abort(new Error("stopped"))).catch(() => stops++);
  assert.equal([stops, existsSync(join(parent, "a"))], [4, false]);
});

test("puts back the package that a kill between the two renames left aside, and clears old leftovers of dead processes", async () => {
  const parent = folderWith({ ".package.vitc-999999999-0123456789ab/index.js": "half", ".package.vitc-999999999-ffffffffffff/index.js": "recent", ".package.vitc-notes": "mine" });
  const out = join(parent, "package");
  await writePackage(first, out);
  writeFileSync(join(out, "mine.txt"), "mine");
  renameSync(out, join(parent, ".package.vitc-999999999-aaaaaaaaaaaa.old"));
  const running = `.package.vitc-${process.pid}-0123456789ab`;
  mkdirSync(join(parent, running));
  for (const name of [".package.vitc-999999999-0123456789ab", running]) utimesSync(join(parent, name), 1e9, 1e9);

  const { kept } = await writePackage(second, out);
  assert.equal(kept, ["mine.txt"]);
  assert.equal(readdirSync(parent).sort(), [".package.vitc-999999999-ffffffffffff", running, ".package.vitc-notes", "package"].sort());
});

test("refuses what is somebody's, and leaves it as it is", async () => {
  const parent = folderWith({ "notes/a.txt": "a", "file": "text", "npm/package.json": "{}", "broken/package.json": "{" });
  const before = texts(parent);
  await refused(writePackage(first, join(parent, "notes")), /holds files that vitc did not write \(a\.txt\)/);
  await refused(writePackage(first, join(parent, "npm")), /holds files that vitc did not write/);
  await refused(writePackage(first, join(parent, "broken")), /holds files that vitc did not write/);
  await refused(writePackage(first, join(parent, "file")), /is a file, and a package is a folder/);
  await refused(writePackage(first, join(parent, "file/below")), /cannot write .*: a part of its path is a file/);
  assert.equal(texts(parent), before);

  const out = join(parent, "empty");
  mkdirSync(out);
  await writePackage(second, out);
  writeFileSync(join(out, "kernels/b.js"), "mine");
  await refused(writePackage(first, out), /has something of yours at kernels\/b\.js/);
  mkdirSync(join(out, "plan.js"));
  writeFileSync(join(out, "plan.js/notes.txt"), "mine");
  await refused(writePackage(packageOf({ "plan.js": "plan" }), out), /has something of yours at plan\.js/);
  assert.is(readFileSync(join(out, "kernels/b.js"), "utf8"), "mine");
});

test("reads what a package says of itself, however it was damaged", async () => {
  const folder = folderWith({ "ours/package.json": `{ "vitc": { "files": [1, "a", null], "spec": 3 } }`, "other/package.json": `{ "vitc": true }`, "list/package.json": "[]" });
  assert.equal(await readProvenance(join(folder, "ours")), { version: "", spec: "", sharedRuntime: false, files: ["a"] });
  for (const name of ["other", "list", "absent"]) assert.is(await readProvenance(join(folder, name)), undefined);
});

test.run();
