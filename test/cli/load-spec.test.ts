import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { loadSpec } from "../../compiler/cli/load-spec.js";
import { suite } from "../tools/suite.js";
import { folderWith, small, specText } from "./vitc.js";

const test = suite("load-spec");

const folder = folderWith({
  "default.ts": specText(),
  "tiny.ts": `import { defineViT, type ViTSpec } from "vitc";\nexport const labels = ["cat"];\nexport const tiny: ViTSpec = defineViT(${JSON.stringify(small)});\n`,
  "two.ts": `export const tiny = { name: "tiny" };\nexport const small = { name: "small" };\n`,
  "none.ts": "export const answer = 42;\n",
  "imports.ts": `import { dim } from "./sizes.js";\nimport data from "./data.json" with { type: "json" };\nexport default { ...data, dim };\n`,
  "sizes.ts": "export const dim: number = 32;\n",
  "data.json": `{ "name": "data" }`,
  "plain.mjs": specText(),
  "common.cjs": `const { defineViT } = require("vitc");\nmodule.exports = defineViT(${JSON.stringify(small)});\n`,
  "spec.json": JSON.stringify(small),
  "bom.json": `\uFEFF${JSON.stringify(small)}`,
  "heads.ts": specText({ ...small, heads: 3 }),
  "throws.ts": `const name: string = "boom";\n\nthrow new TypeError(name);\n`,
  "syntax.ts": "export default {\n  name: 'a' image: 3\n};\n",
  "importless.ts": `import { x } from "./absent.js";\nexport default x;\n`,
  "never.ts": "await new Promise(() => {});\nexport default {};\n",
  "syntax.json": `{ "name": "a", }`,
  "config.json": `{ "model_type": "vit", "hidden_size": 192 }`,
  "timm.json": `{ "architecture": "vit_tiny_patch16_224" }`,
  "notes.txt": "hello",
  "a#b.json": `{ "name": "hash" }`,
  "deep/spec.ts": specText(),
});

const messageOf = async (reference: string): Promise<string> => {
  try {
    await loadSpec(reference, folder);
  } catch (error) {
    assert.instance(error, Error);
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
  throw new Error(`${reference} was loaded`);
};

test("loads the default export of TypeScript and JavaScript that lie outside of any node_modules, and JSON", async () => {
  for (const file of ["default.ts", "plain.mjs", "common.cjs", "spec.json", "bom.json"]) {
    assert.equal(await loadSpec(file, folder), { spec: small, file: join(folder, file), exportName: "default", notes: [] });
  }
});

test("takes the export after #, or the only spec among the exports", async () => {
  assert.equal((await loadSpec("two.ts#small", folder)).spec, { name: "small" });
  assert.equal(await loadSpec("tiny.ts", folder), { spec: small, file: join(folder, "tiny.ts"), exportName: "tiny", notes: [] });
  assert.equal((await loadSpec("a#b.json", folder)).spec, { name: "hash" });
});

test("tells which files it read, and reads each anew the next time", async () => {
  const loaded = new Set<string>();
  assert.equal((await loadSpec("imports.ts", folder, loaded)).spec, { name: "data", dim: 32 });
  assert.equal([...loaded].sort(), ["data.json", "imports.ts", "sizes.ts"].map((file) => join(folder, file)));
  writeFileSync(join(folder, "sizes.ts"), "export const dim = 48;\n");
  writeFileSync(join(folder, "data.json"), `{ "name": "other" }`);
  assert.equal((await loadSpec("imports.ts", folder)).spec, { name: "other", dim: 48 });
  for (const file of ["plain.mjs", "common.cjs"]) {
    writeFileSync(join(folder, file), file.endsWith(".cjs") ? `module.exports = { name: "new" };` : `export default { name: "new" };`);
    assert.equal((await loadSpec(file, folder)).spec, { name: "new" });
  }
});

test("passes on what defineViT says in the file", async () => {
  assert.is(await messageOf("heads.ts"), "SpecError: heads: 3 does not divide dim 32; use 2 or 4 heads, or set headDim");
});

test("tells what a file throws, and where", async () => {
  assert.is(await messageOf("throws.ts"), "UserError: throws.ts cannot be loaded: TypeError: boom (throws.ts:3:7)");
  assert.is(await messageOf("syntax.ts"), `UserError: syntax.ts cannot be loaded: Unexpected token, expected ",", syntax.ts:2:12`);
  assert.is(await messageOf("importless.ts"), "UserError: importless.ts cannot be loaded: Cannot find module './absent.js' (imported by importless.ts)");
  assert.match(await messageOf("syntax.json"), /^UserError: syntax\.json is not JSON: \S/);
});

test("names the export that was meant, or those that there are", async () => {
  assert.is(await messageOf("two.ts#smal"), `UserError: two.ts has no export "smal"; did you mean #small?`);
  assert.is(await messageOf("two.ts#enormous"), `UserError: two.ts has no export "enormous"; it has small, tiny`);
  assert.is(await messageOf("two.ts"), "UserError: two.ts has several exports and no default one: name one, for example two.ts#small or two.ts#tiny");
  assert.match(await messageOf("none.ts"), /exports no spec; write `export default defineViT/);
  assert.match(await messageOf("two.ts#"), /the name of an export belongs after #/);
  assert.match(await messageOf("two.ts#__proto__"), /has no export "__proto__"/);
  assert.match(await messageOf("spec.json#tiny"), /a JSON file has no exports; leave out #tiny/);
});

test("names the file that was meant", async () => {
  assert.is(await messageOf("defualt.ts"), "UserError: there is no file defualt.ts; did you mean default.ts?");
  assert.is(await messageOf("deep/spec"), "UserError: there is no file deep/spec; did you mean deep/spec.ts?");
  assert.is(await messageOf("dep/spec.ts"), "UserError: there is no file dep/spec.ts: its folder does not exist");
  assert.is(await messageOf("deep"), "UserError: deep is a folder without a config.json; name the spec's file in it");
  assert.match(await messageOf("notes.txt"), /is not a spec: its name ends in "\.txt"/);
});

test("takes models of other libraries by name, by config.json and by its folder, and refuses what is none of theirs", async () => {
  const named = await loadSpec("timm:vit_tiny_patch16_224", folder);
  assert.equal([named.file, named.exportName, (named.spec as { dim: number }).dim], [undefined, "timm:vit_tiny_patch16_224", 192]);
  for (const file of ["config.json", "timm.json"]) assert.is(((await loadSpec(file, folder)).spec as { dim: number }).dim, 192, file);
  assert.is((await loadSpec(".", folder)).file, join(folder, "config.json"));
  assert.match(await messageOf("keras:vit"), /keras is not a library whose models are known by name/);
});

test("does not wait for what is no regular file", async () => {
  symlinkSync("/dev/zero", join(folder, "zero.json"));
  assert.is(await messageOf("zero.json"), "UserError: zero.json is not a regular file");
});

test.run();
