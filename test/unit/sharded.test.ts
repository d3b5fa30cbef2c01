/** Weights in several files that an index lists, as transformers writes them: read like one file, and what is wrong with them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { fromPath } from "../../runtime/node.js";
import type { WeightRecipe } from "../../runtime/plan.js";
import { fromBytes, loadWeights } from "../../runtime/weights.js";
import { suite } from "../tools/suite.js";
import { f32, makeFile, refusal, type MadeTensor } from "./weight-files.js";

const test = suite("sharded weights");

const tensors: Readonly<Record<string, MadeTensor>> = { a: f32([2], [1, 2]), b: f32([3], [3, 4, 5]), c: f32([1], [6]) };
const recipe: WeightRecipe = { tensors: Object.entries({ a: [2], b: [3], c: [1] }).map(([name, shape], i) => ({ name, buffer: 0, offset: 256 * i, dtype: "f32", shape, sources: [{ names: [name], shape }], steps: [] })) };
const map = { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors", c: "model-00001-of-00002.safetensors" };
const index = JSON.stringify({ metadata: { total_size: 24 }, weight_map: map });

const folder = mkdtempSync(join(tmpdir(), "vitc-sharded-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Writes files and returns the path of the first. */
function written(files: Readonly<Record<string, string | Uint8Array>>): string {
  for (const [name, data] of Object.entries(files)) writeFileSync(join(folder, name), data);
  return join(folder, Object.keys(files)[0]!);
}

const shards = { "model-00001-of-00002.safetensors": makeFile({ a: tensors["a"]!, c: tensors["c"]! }), "model-00002-of-00002.safetensors": makeFile({ b: tensors["b"]! }) };

async function load(path: string): Promise<Record<string, number[]>> {
  const uploads: Record<string, number[]> = {};
  await loadWeights(recipe, await fromPath(path), { upload: (_, offset, data) => void (uploads[recipe.tensors[offset / 256]!.name] = [...data]) });
  return uploads;
}

test("tensors come from their files, as if those were one", async () => {
  assert.equal(await load(written({ "model.safetensors.index.json": index, ...shards })), { a: [1, 2], c: [6], b: [3, 4, 5] });
});

test("a tensor that is read across the end of a file comes whole", async () => {
  const { openFile } = await import("../../runtime/weight-file.js");
  const { source } = await openFile(await fromPath(written({ "model.safetensors.index.json": index, ...shards })), new AbortController().signal);
  const first = shards["model-00001-of-00002.safetensors"];
  assert.equal([...(await source.read(first.length - 4, 8))], [...first.subarray(-4), ...shards["model-00002-of-00002.safetensors"].subarray(0, 4)]);
});

for (const [title, files, message] of [
  ["a file that is not there", { "i1.json": index.replaceAll("00002.s", "00003.s") }, /model-0000[12]-of-00003\.safetensors/],
  ["a file that lacks a tensor", { "i2.json": JSON.stringify({ weight_map: { ...map, d: map.a } }) }, /has no "d", which the index lists/],
  ["a file with a tensor that the index does not list", { "i3.json": JSON.stringify({ weight_map: { a: map.a, b: map.b } }) }, /holds "c", which the index does not list/],
  ["a file outside of the folder", { "i4.json": JSON.stringify({ weight_map: { a: "../a.safetensors" } }) }, /not the name of a safetensors file beside the index/],
  ["a file on another machine", { "i5.json": JSON.stringify({ weight_map: { a: "https://x/a.safetensors" } }) }, /not the name of a safetensors file/],
  ["an index of nothing", { "i6.json": JSON.stringify({ weight_map: {} }) }, /weight_map is empty/],
  ["other JSON", { "i7.json": JSON.stringify({ architectures: ["ViTModel"] }) }, /lists no weight files/],
  ["an index that was cut short", { "i8.json": index.slice(0, -5) }, /is not JSON/],
] as const) {
  test(`${title} is refused by name`, async () => {
    const { message: said } = await refusal(load(written({ ...files, ...shards })));
    assert.match(said, message);
  });
}

test("an index as bytes is refused with what to pass instead", async () => {
  const { message } = await refusal(loadWeights(recipe, fromBytes(new TextEncoder().encode(index)), { upload: () => {} }));
  assert.match(message, "pass its URL, in Node its path");
});

test("of a file whose header is damaged nothing is kept, and the others stay", async () => {
  const forgotten: string[] = [];
  const source = { ...fromBytes(new TextEncoder().encode(index)), beside: async (name: string) => ({ ...fromBytes(name === map.b ? shards[map.b as keyof typeof shards].with(9, 0) : shards[map.a as keyof typeof shards], name), forget: async () => void forgotten.push(name) }) };
  assert.match((await refusal(loadWeights(recipe, source, { upload: () => {} }))).message, /the header is not valid JSON/);
  assert.equal(forgotten, [map.b]);
});

test.run();
