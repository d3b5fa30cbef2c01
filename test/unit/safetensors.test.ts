import fc from "fast-check";
import { readFile } from "node:fs/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { decodeFloats } from "../../runtime/decode.js";
import { WeightsError } from "../../runtime/errors.js";
import { type SafetensorsFile } from "../../runtime/file-tensors.js";
import { readHeader } from "../../runtime/safetensors.js";
import { fromBytes, type WeightsSource } from "../../runtime/source.js";
import { count, f32, f64, makeFile, rawFile, refusal, words } from "./weight-files.js";

const test = suite("safetensors");

const parse = (file: Uint8Array<ArrayBuffer>): Promise<SafetensorsFile> => readHeader(fromBytes(file, "model.safetensors"));

async function problemsOf(file: Uint8Array<ArrayBuffer>): Promise<readonly string[]> {
  const error = await refusal(parse(file));
  return error.problems.map(({ message }) => message);
}

/** The problems of a file whose header is written out as is. */
const headerProblems = (header: unknown, dataBytes: number): Promise<readonly string[]> =>
  problemsOf(rawFile(typeof header === "string" ? header : JSON.stringify(header), new Uint8Array(dataBytes)));

test("reads names, types, shapes and places", async () => {
  const file = makeFile({ a: f32([2, 3], count(6)), empty: f32([0, 7], []), scalar: f64([], [3]), h: words("BF16", [3], [1, 2, 3]) }, 5);
  const { tensors, dataOffset, metadata } = await parse(file);
  assert.is(dataOffset, file.length - 24 - 8 - 6);
  assert.is(metadata.size, 0);
  assert.equal([...tensors], [
    ["a", { dtype: "F32", shape: [2, 3], offset: dataOffset, bytes: 24 }],
    ["empty", { dtype: "F32", shape: [0, 7], offset: dataOffset + 24, bytes: 0 }],
    ["scalar", { dtype: "F64", shape: [], offset: dataOffset + 24, bytes: 8 }],
    ["h", { dtype: "BF16", shape: [3], offset: dataOffset + 32, bytes: 6 }],
  ]);
});

test("reads the fixtures that safetensors itself wrote", async () => {
  const { tensors, metadata } = await parse(new Uint8Array(await readFile(new URL("../fixtures/notes/base/weights.safetensors", import.meta.url))));
  assert.equal(tensors.get("blocks.0.attn.qkv.weight")?.shape, [108, 36]);
  assert.equal([...metadata], [["format", "pt"]]);
});

test("takes names that mean something to JavaScript for what they are: names", async () => {
  const names = ["__proto__", "constructor", "hasOwnProperty", "toString"];
  const { tensors } = await parse(makeFile(new Map(names.map((name, i) => [name, f32([1], [i])]))));
  assert.equal([...tensors.keys()], names);
  assert.is(({} as Record<string, unknown>)["dtype"], undefined, "Object.prototype was changed");
  assert.match((await headerProblems('{"a":{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}', 4))[0]!, /unknown dtype nothing/);
  assert.match((await headerProblems('{"a":{"dtype":"toString","shape":[1],"data_offsets":[0,4]}}', 4))[0]!, /unknown dtype "toString"/);
});

test("refuses a file whose header cannot be there", async () => {
  assert.match((await problemsOf(new Uint8Array(0)))[0]!, /has 0 bytes, the shortest has 8/);
  assert.match((await problemsOf(new Uint8Array(7)))[0]!, /has 7 bytes/);
  assert.match((await problemsOf(new Uint8Array(64)))[0]!, /no JSON header follows/);
  assert.match((await problemsOf(rawFile("{}", new Uint8Array(0), 3)))[0]!, /claims 3 bytes, 2 follow the 8 that say so/);
  assert.match((await problemsOf(rawFile("{}", new Uint8Array(0), Number.MAX_SAFE_INTEGER)))[0]!, /allows 100000000/);
});

test("never asks for a header beyond the limit, however large the file says it is", async () => {
  const start = rawFile("{}", new Uint8Array(502), 200_000_000);
  const asked: number[] = [];
  const source: WeightsSource = { name: "huge", size: 2 ** 40, read: async (_, length) => (asked.push(length), start.slice(0, length)) };
  assert.match(String(await refusal(readHeader(source))), /claims 200000000 bytes, the format allows 100000000/);
  assert.equal(asked, [512]);
});

test("refuses a header that is no JSON object of text", async () => {
  assert.match((await headerProblems("{nonsense}", 0))[0]!, /not valid JSON/);
  assert.match((await problemsOf(rawFile(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))))[0]!, /not UTF-8/);
  assert.match((await headerProblems(`{"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}`, 0))[0]!, /expected \{dtype, shape, data_offsets\}/);
  assert.match((await headerProblems({ __metadata__: { epoch: 3 } }, 0))[0]!, /__metadata__ "epoch": expected a text, got 3/);
  assert.match((await headerProblems({ __metadata__: [] }, 0))[0]!, /expected a text, got \[\]/);
});

test("refuses entries that make no sense, all of them at once", async () => {
  const good = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  const problems = await headerProblems(
    {
      number: 7,
      nothing: null,
      dtype: { ...good, dtype: "F31" },
      negative: { ...good, shape: [-2] },
      fraction: { ...good, shape: [0.5] },
      huge: { ...good, shape: [2 ** 53] },
      product: { ...good, shape: [2 ** 30, 2 ** 30] },
      flat: { ...good, shape: 2 },
      reversed: { ...good, data_offsets: [8, 0] },
      one: { ...good, data_offsets: [8] },
      three: { ...good, data_offsets: [0, 4, 8] },
      text: { ...good, data_offsets: ["0", "8"] },
      length: { ...good, shape: [3] },
      nibbles: { dtype: "F4", shape: [3], data_offsets: [0, 1] },
    },
    8,
  );
  const expected = [
    /^"number": expected .* got 7/, /^"nothing": expected .* got null/, /^"dtype": unknown dtype "F31"; known are F64, F32/,
    /^"negative": shape \[-2\] is not/, /^"fraction": shape \[0.5\] is not/, /^"huge": shape \[9007199254740992\] is not/,
    /^"product": shape .* more than 2\^53/, /^"flat": shape 2 is not/, /^"reversed": data_offsets \[8, 0\] end before/,
    /^"one": data_offsets/, /^"three": data_offsets/, /^"text": data_offsets/,
    /^"length": shape \[3\] of F32 takes 12 bytes, data_offsets \[0, 8\] hold 8/, /^"nibbles": shape \[3\] of F4 takes 1.5 bytes/,
  ]; // prettier-ignore
  assert.is(problems.length, expected.length);
  for (const [i, pattern] of expected.entries()) assert.match(problems[i]!, pattern);
});

test("refuses overlaps, holes and bytes that no tensor owns", async () => {
  const at = (begin: number, end: number): object => ({ dtype: "U8", shape: [end - begin], data_offsets: [begin, end] });
  assert.equal(await headerProblems({ b: at(6, 12), a: at(0, 8) }, 12), ['"b" overlaps "a" by 2 bytes']);
  assert.equal(await headerProblems({ inner: at(2, 4), outer: at(0, 8), next: at(8, 9) }, 9), ['"inner" overlaps "outer" by 6 bytes']);
  assert.equal(await headerProblems({ a: at(0, 4), b: at(6, 8) }, 8), ['2 bytes between "a" and "b" belong to no tensor']);
  assert.equal(await headerProblems({ a: at(1, 4) }, 4), ['1 bytes between the header and "a" belong to no tensor']);
  assert.equal(await headerProblems({ a: at(0, 4) }, 7), ['3 bytes after "a" belong to no tensor']);
  assert.equal(await headerProblems({}, 7), ["7 bytes after the header belong to no tensor"]);
});

test("reports a truncated file once", async () => {
  const file = makeFile({ a: f32([4], count(4)), b: f32([4], count(4)), c: f32([4], count(4)) });
  const problems = await problemsOf(file.slice(0, -20));
  assert.is(problems.length, 1);
  assert.match(problems[0]!, new RegExp(`promises ${file.length} bytes, the file has ${file.length - 20} \\(2 of 3 tensors are cut off\\)`));
});

test("lists the first problems and counts the others", async () => {
  const header = Object.fromEntries(count(57).map((i) => [`t${i}`, i]));
  const error = await refusal(parse(rawFile(JSON.stringify(header))));
  assert.is(error.problems.length, 57);
  assert.is(error.message.split("\n").length, 22);
  assert.match(error.message, /"t19".*\n.*and 37 more, 57 in all$/s);
  assert.ok(error.stack!.length < 10_000);
});

test("keeps the message readable when names and shapes are not", async () => {
  const problems = await headerProblems({ [`${"x".repeat(5000)}\n`]: { dtype: "F32", shape: Array(5000).fill(-1), data_offsets: [0, 0] } }, 0);
  assert.ok(problems[0]!.length < 500 && !problems[0]!.includes("\n"), problems[0]);
});

test("says what a wrong file is and what to do", async () => {
  const zip = (member: string): string => `PK\x03\x04${"\0".repeat(26)}${member}`;
  const cases: readonly [string, RegExp][] = [
    [zip("archive/data.pkl"), /torch\.save.*save_file/], [zip("cls.npy"), /\.npz.*save_file/], ["\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", /pickle.*save_file/],
    ["<!DOCTYPE html>\n<html>", /web page.*resolve/], ["\n <html lang=en>", /web page/], ["version https://git-lfs.github.com/spec/v1\noid sha256:", /git lfs pull/],
    ["GGUF\x03\0\0\0\0\0\0\0", /GGUF/], ["\x93NUMPY\x01\0", /\.npy/], ["\x89HDF\r\n\x1a\n", /HDF5/], ["\x1f\x8b\x08\0\0\0\0\0", /gzip/],
    ['{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', /JSON.*index/], ["Entry not found", /error message/],
  ]; // prettier-ignore
  for (const [start, advice] of cases) {
    const problems = await problemsOf(Uint8Array.from(start, (letter) => letter.charCodeAt(0)));
    assert.is(problems.length, 1);
    assert.match(problems[0]!, advice);
  }
});

test("a header whose length spells another format's magic is still a header", async () => {
  // 640 is 0x80 0x02: the start of a pickle.
  assert.is((await parse(rawFile(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`.padEnd(640)))).tensors.size, 1);
});

test("any damage to a file gives a WeightsError or a file that keeps its promises", async () => {
  const original = makeFile({ a: f32([2, 3], count(6)), b: words("F16", [5], count(5)), ["__proto__"]: f32([1], [1]), c: f64([0], []) }, 3);
  const edit = fc.record({
    kind: fc.constantFrom("set", "delete", "insert", "cut"),
    // Most damage goes to the length and the header: the data is not looked at.
    at: fc.nat({ max: original.length - 1 }),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 4 }),
      fc.constantFrom("0", "9", "-", "1e9", "e308", "[", "]", "{", "}", ",", ":", '"', "null", "\\u0000").map((text) => new TextEncoder().encode(text)),
    ),
  });
  let parsed = 0;
  const damage = fc.asyncProperty(fc.array(edit, { maxLength: 4 }), fc.boolean(), async (edits, fixLength) => {
    let file = [...original];
    for (const { kind, at, bytes } of edits) {
      if (kind === "cut") file = file.slice(0, at);
      else file.splice(at, kind === "insert" ? 0 : bytes.length, ...(kind === "delete" ? [] : bytes));
    }
    const damaged = Uint8Array.from(file);
    // Half of the files get a length that fits again, so that the damage reaches the header's checks.
    if (fixLength && damaged.length > 8) {
      const end = damaged.lastIndexOf(0x7d);
      new DataView(damaged.buffer).setBigUint64(0, BigInt(Math.max(end - 7, 0)), true);
    }
    const result = await parse(damaged).catch((error: unknown) => error);
    if (result instanceof WeightsError) return assert.ok(result.problems.length > 0);
    const { tensors, dataOffset } = result as SafetensorsFile;
    assert.instance(tensors, Map, String(result));
    parsed++;
    const total = [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, dataOffset);
    assert.is(total, damaged.length);
    for (const { offset, bytes } of tensors.values()) assert.ok(offset >= dataOffset && offset + bytes <= damaged.length);
  });
  await fc.assert(damage, { numRuns: 600, seed: 1, examples: [[[], false]] });
  assert.ok(parsed > 10, `only ${parsed} files parsed: the property says little about valid ones`);
});

test("any JSON as a header gives a WeightsError or a file", async () => {
  const entry = fc.record({ dtype: fc.oneof(fc.constantFrom("F32", "U8", "F4"), fc.jsonValue()), shape: fc.jsonValue(), data_offsets: fc.jsonValue() });
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), fc.oneof(entry, fc.jsonValue())), async (header) => {
      const result = await parse(rawFile(JSON.stringify(header))).catch((error: unknown) => error);
      assert.ok(result instanceof WeightsError || (result as SafetensorsFile).tensors instanceof Map, String(result));
    }),
    { numRuns: 300, seed: 2 },
  );
});

test("decodes every half exactly", () => {
  const bits = Uint16Array.from(count(65536));
  const half = decodeFloats("F16", new Uint8Array(bits.buffer));
  const known: readonly [number, number][] = [
    [0x0000, 0], [0x0001, 2 ** -24], [0x03ff, 1023 * 2 ** -24], [0x0400, 2 ** -14], [0x3555, 0.333251953125], [0x3c00, 1],
    [0x3c01, 1 + 2 ** -10], [0x7bff, 65504], [0x7c00, Infinity], [0x8001, -(2 ** -24)], [0xc000, -2], [0xfc00, -Infinity],
  ]; // prettier-ignore
  for (const [word, value] of known) assert.is(half[word], value, `0x${word.toString(16)}`);
  assert.ok(Object.is(half[0x8000], -0));
  for (const word of [0x7c01, 0x7fff, 0xfe00]) assert.ok(Number.isNaN(half[word]));
  // Positive halves ascend with their bits, so no value of the table is out of place.
  for (let word = 1; word <= 0x7c00; word++) assert.ok(half[word]! > half[word - 1]!);
});

test("decodes every bfloat16 exactly", () => {
  const bits = Uint16Array.from(count(65536));
  const values = decodeFloats("BF16", new Uint8Array(bits.buffer));
  const view = new DataView(new ArrayBuffer(4));
  for (const word of bits) {
    view.setUint32(0, word * 65536);
    assert.ok(Object.is(values[word], view.getFloat32(0)) || (Number.isNaN(values[word]) && Number.isNaN(view.getFloat32(0))), `0x${word.toString(16)}`);
  }
  assert.is(values[0x3f80], 1);
  assert.is(values[0x0001], 2 ** -133);
});

test("decodes f32 and f64 at any alignment", () => {
  for (const shift of count(8)) {
    const memory = new Uint8Array(8 + 32);
    memory.set(new Uint8Array(Float32Array.of(1.5, -(2 ** -149), 3.4e38, 7).buffer), shift);
    assert.equal([...decodeFloats("F32", memory.subarray(shift, shift + 16))], [...Float32Array.of(1.5, -(2 ** -149), 3.4e38, 7)]);
    memory.set(new Uint8Array(Float64Array.of(Math.PI, 1e300, 5e-324).buffer), shift);
    assert.equal([...decodeFloats("F64", memory.subarray(shift, shift + 24))], [Math.PI, 1e300, 5e-324]);
  }
});

test.run();
