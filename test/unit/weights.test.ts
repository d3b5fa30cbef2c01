import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFile } from "node:fs/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { checkTensors } from "../../runtime/check.js";
import type { PackedTensor, WeightRecipe, WeightStep } from "../../runtime/plan.js";
import type { Packed } from "../../runtime/recipe.js";
import { fromBytes, loadWeights, readHeader, toSource, type LoadOptions, type WeightsInput, type WeightsProgress, type WeightsSource } from "../../runtime/weights.js";
import { count, f32, f64, makeFile, refusal, rejection, words, type MadeTensor } from "./weight-files.js";

const test = suite("weights");

/** A tensor that is read as it is, or from the given names. */
function plain(name: string, shape: readonly number[], names: readonly string[] = [name], steps: readonly WeightStep[] = [], packed = shape): PackedTensor {
  return { name, buffer: 0, offset: 0, dtype: "f32", shape: packed, sources: [{ names, shape }], steps };
}

/** Tensors one after the other in buffer 0, each at a multiple of 256 bytes. */
function recipeOf(...tensors: PackedTensor[]): WeightRecipe {
  return { tensors: tensors.map((tensor, i) => ({ ...tensor, offset: i * 256 })) };
}

interface Loaded {
  readonly uploads: ReadonlyMap<string, number[]>;
  readonly order: readonly string[];
  readonly bytes: number;
  readonly ignored: readonly string[];
}

/** Loads and keeps what was uploaded, by the recipe's names. */
async function load(recipe: WeightRecipe, input: WeightsInput, options: Partial<LoadOptions> = {}): Promise<Loaded> {
  const uploads = new Map<string, number[]>();
  const { bytes, ignored } = await loadWeights(recipe, input, {
    upload: (buffer, offset, data) => void uploads.set(recipe.tensors.find((tensor) => tensor.buffer === buffer && tensor.offset === offset)!.name, [...data]),
    ...options,
  });
  return { uploads, order: [...uploads.keys()], bytes, ignored };
}

const small: Readonly<Record<string, MadeTensor>> = { a: f32([2, 3], count(6)), b: f32([3], [7, 8, 9]), c: f32([2], [1, 2]) };
const smallRecipe = recipeOf(plain("a", [2, 3]), plain("b", [3]), plain("c", [2]));

async function problems(recipe: WeightRecipe, tensors: Readonly<Record<string, MadeTensor>>, allowExtra?: boolean): Promise<string[]> {
  const file = await readHeader(fromBytes(makeFile(tensors)));
  return checkTensors(recipe, file, { allowExtra }).map(({ kind, tensor, message }) => `${kind} ${tensor}: ${message}`);
}

test("a file that fits has no problems", async () => {
  assert.equal(await problems(smallRecipe, small), []);
});

test("reports missing, misshapen, mistyped and extra tensors together", async () => {
  const recipe = recipeOf(plain("head.weight", [10, 4], ["head.weight", "fc.weight"]), plain("norm", [4]), plain("kind", [4]), plain("good", [1]), plain("token", [1, 1, 4]));
  const file = { "haed.weight": f32([10, 4], count(40)), norm: f32([1, 4], count(4)), kind: { dtype: "I32", shape: [5], bytes: new Uint8Array(20) }, good: f32([1], [1]), unrelated: f32([2], [1, 2]) };
  const expected = [
    'missing head.weight: "head.weight" (or "fc.weight") [10, 4] is missing; the nearest unused name in the file is "haed.weight" [10, 4]',
    'missing token: "token" [1, 1, 4] is missing',
    'shape norm: "norm" has shape [1, 4], the model needs [4]',
    'dtype kind: "kind" has dtype I32; weights are F64, F32, F16, BF16',
    'shape kind: "kind" has shape [5], the model needs [4]',
  ];
  const extra = ["haed.weight", "unrelated"];
  const found = await problems(recipe, file);
  assert.equal(found.slice(0, 5), expected);
  assert.is(found.length, 7);
  for (const [i, name] of extra.entries()) assert.ok(found[5 + i]!.startsWith(`extra ${name}: "${name}" `) && found[5 + i]!.includes("allowExtra"), found[5 + i]);
  assert.equal(await problems(recipe, file, true), expected);

  const uploads: number[] = [];
  const error = await refusal(loadWeights(recipe, makeFile(file), { upload: (buffer) => void uploads.push(buffer) }));
  assert.is(error.problems.length, 7);
  assert.equal(uploads, [], "nothing is uploaded from a file that does not fit");
});

test("many problems of one kind do not hide those of another", async () => {
  const recipe = recipeOf(...count(30).map((i) => plain(`blocks.${i}.weight`, [1])), plain("head.weight", [2, 3]));
  const { message, problems: all } = await refusal(loadWeights(recipe, makeFile({ "head.weight": f32([3, 2], count(6)), other: f32([1], [1]) }), { upload: () => undefined }));
  assert.is(all.length, 32);
  assert.match(message, /"head\.weight" has shape \[3, 2\], the model needs \[2, 3\][\s\S]*"other"[\s\S]*and 10 more, 32 in all$/);
});

test("a source of several packed tensors is one tensor of the file", async () => {
  const parts = ["q", "k", "v"].map((name, i) => plain(name, [6, 2], ["qkv"], [{ op: "slice", of: 0, axis: 0, start: 2 * i, end: 2 * i + 2 }], [2, 2]));
  assert.is((await problems(recipeOf(...parts), {})).length, 1);
  const { uploads } = await load(recipeOf(...parts), makeFile({ qkv: f32([6, 2], count(12)) }));
  assert.equal([...uploads], [["q", [0, 1, 2, 3]], ["k", [4, 5, 6, 7]], ["v", [8, 9, 10, 11]]]);
});

test("the first alternative that the file holds is read; another one is extra", async () => {
  const recipe = recipeOf(plain("norm", [1], ["norm.weight", "norm.scale", "ln.g"]));
  assert.equal((await load(recipe, makeFile({ "ln.g": f32([1], [5]) }))).uploads.get("norm"), [5]);
  const both = { "ln.g": f32([1], [5]), "norm.scale": f32([1], [6]) };
  assert.match((await problems(recipe, both)).join(), /^extra ln\.g/);
  const loaded = await load(recipe, makeFile(both), { allowExtra: true });
  assert.equal([loaded.uploads.get("norm"), loaded.ignored], [[6], ["ln.g"]]);
});

test("tensors with names of JavaScript's own are missing unless the file has them", async () => {
  const recipe = recipeOf(plain("constructor", [1]), plain("__proto__", [1]));
  assert.is((await problems(recipe, {})).length, 2);
  const { uploads } = await load(recipe, makeFile(new Map([["__proto__", f32([1], [3])], ["constructor", f32([1], [4])]])));
  assert.equal([...uploads], [["__proto__", [3]], ["constructor", [4]]]);
});

test("a checkpoint of another model is refused quickly", async () => {
  const recipe = recipeOf(...count(300).map((i) => plain(`blocks.${i}.attention.qkv.projection.weight`, [1])));
  const file = Object.fromEntries(count(5000).map((i) => [`encoder.layer.${i}.attention.output.dense.weight`, f32([1], [0])]));
  const started = performance.now();
  const error = await refusal(loadWeights(recipe, makeFile(file), { upload: () => undefined }));
  assert.is(error.problems.length, 5300);
  assert.ok(error.message.length < 10_000);
  assert.ok(performance.now() - started < 5000, `${performance.now() - started} ms`);
});

test("loads every type into f32", async () => {
  const values = [0, 1, -2, 0.5, 2 ** -14];
  const tensors = {
    double: f64([5], [...values.slice(0, 4), Math.PI]),
    single: f32([5], values),
    half: words("F16", [5], [0, 0x3c00, 0xc000, 0x3800, 0x0400]),
    brain: words("BF16", [5], [0, 0x3f80, 0xc000, 0x3f00, 0x3880]),
  };
  const { uploads } = await load(recipeOf(...Object.keys(tensors).map((name) => plain(name, [5]))), makeFile(tensors, 3));
  assert.equal([...uploads], [["double", [...values.slice(0, 4), Math.fround(Math.PI)]], ["single", values], ["half", values], ["brain", values]]);
});

test("refuses values that are not finite, naming tensor and index", async () => {
  const cases: readonly [MadeTensor, string][] = [
    [f32([2, 3], [0, 0, 0, 0, NaN, 0]), '"b" holds NaN at [1, 1]'],
    [f32([2, 3], [0, 0, Infinity, 0, NaN, 0]), '"b" holds Infinity at [0, 2]'],
    [f64([2, 3], [-Infinity, 0, 0, 0, 0, 0]), '"b" holds -Infinity at [0, 0]'],
    [words("F16", [2, 3], [0, 0, 0, 0x7e00, 0, 0]), '"b" holds NaN at [1, 0]'],
    [words("BF16", [2, 3], [0, 0, 0, 0, 0, 0x7f80]), '"b" holds Infinity at [1, 2]'],
  ];
  for (const [tensor, message] of cases) {
    const error = await refusal(load(recipeOf(plain("renamed", [2, 3], ["b"])), makeFile({ b: tensor })));
    assert.ok(error.message.includes(message), error.message);
    assert.equal(error.problems.map(({ kind, tensor }) => [kind, tensor]), [["value", "b"]]);
  }
});

test("runs the steps on the way and uploads where the recipe says", async () => {
  const calls: unknown[] = [];
  const matrix = { ...plain("m", [2, 3], ["m"], [{ op: "transpose", of: 0, axes: [1, 0] }, { op: "scale", of: 1, factor: 0.5 }], [3, 2]), buffer: 2, offset: 512 };
  const table: PackedTensor = { name: "pos", buffer: 1, offset: 256, dtype: "f32", shape: [1, 2, 2], sources: [], steps: [{ op: "sincos1d", length: 1, dim: 2, prefix: 1, temperature: 10000 }] };
  await loadWeights({ tensors: [table, matrix] }, makeFile({ m: f32([2, 3], count(6)) }), { upload: (...call) => void calls.push(call) });
  assert.equal(calls, [[2, 512, Float32Array.of(0, 1.5, 0.5, 2, 1, 2.5)], [1, 256, Float32Array.of(0, 0, 0, 1)]]);
});

test("accepts bytes, views, shared memory, blobs, files, data URLs and sources alike", async () => {
  const bytes = makeFile(small, 1);
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  const source: WeightsSource = { name: "mine", size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
  const inputs = [bytes, bytes.buffer, shifted.subarray(3), Buffer.from(bytes), shared, new Blob([bytes]), new File([bytes], "w.safetensors"), `data:;base64,${Buffer.from(bytes).toString("base64")}`, source];
  for (const input of inputs) {
    assert.equal([...(await load(smallRecipe, input)).uploads.values()], [count(6), [7, 8, 9], [1, 2]]);
  }
  assert.is((await toSource(new File([bytes], "w.safetensors"))).name, "w.safetensors");
});

test("refuses everything else by saying what to pass", async () => {
  assert.match((await refusal(toSource("weights/model.safetensors"))).message, /is not a URL\. Paths work in Node: pass fromPath\("weights\/model\.safetensors"\)/);
  assert.match((await refusal(toSource("C:\\model.safetensors"))).message, /Paths work in Node/);
  for (const value of [undefined, null, 7, {}, [], new Float32Array(2), { name: "x", size: -1, read: () => undefined }, Symbol("s"), Object.create(null)]) {
    assert.match((await refusal(toSource(value as unknown as WeightsInput))).message, /expected bytes .* a Blob, a URL or a source/);
  }
});

test("holds a source to its contract", async () => {
  const bytes = makeFile(small);
  const reads: readonly [RegExp, unknown][] = [
    [/asked for .* bytes at byte 0, got 3 bytes/, async () => new Uint8Array(3)],
    [/got undefined/, async () => undefined],
    [/got an object of type ArrayBuffer/, async (_: number, length: number) => new ArrayBuffer(length)],
    [/could not be read \(disk on fire\)/, async () => Promise.reject(new Error("disk on fire"))],
    [/could not be read \(disk on fire\)/, () => { throw new Error("disk on fire"); }],
  ]; // prettier-ignore
  for (const [message, read] of reads) {
    assert.match((await refusal(load(smallRecipe, { name: "mine", size: bytes.length, read } as WeightsSource))).message, message);
  }
});

test("counts the file's bytes as progress, up to the total", async () => {
  const reported: WeightsProgress[] = [];
  const bytes = makeFile(small);
  const loaded = await load(smallRecipe, bytes, { onProgress: (progress) => reported.push(progress) });
  assert.is(loaded.bytes, bytes.length);
  assert.ok(reported.length >= 2);
  assert.ok(reported.every(({ stage, total }, i) => stage === "weights" && total === bytes.length && (i === 0 || reported[i - 1]!.loaded < reported[i]!.loaded)));
  assert.is(reported.at(-1)!.loaded, bytes.length);
});

test("reads neighbours together, large tensors in pieces, nothing twice, and holds a bounded part", async () => {
  // 40 tensors of 5 MiB and 40 biases between them; the bytes are made when they are read.
  const large = 5 * 2 ** 20;
  const names = count(40).flatMap((i) => [`${i}.bias`, `${i}.weight`]);
  const lengthOf = (name: string): number => (name.endsWith("bias") ? 4096 : large);
  let end = 0;
  const header = Object.fromEntries(names.map((name) => [name, { dtype: "F32", shape: [lengthOf(name) / 4], data_offsets: [end, (end += lengthOf(name))] }]));
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = new Uint8Array(8 + text.length);
  new DataView(start.buffer).setBigUint64(0, BigInt(text.length), true);
  start.set(text, 8);

  const reads: [number, number][] = [];
  let underWay = 0;
  let most = 0;
  let uploaded = 0;
  let ahead = 0;
  const source: WeightsSource = {
    name: "generated",
    size: start.length + end,
    read: async (offset, length) => {
      if (offset < start.length) return start.slice(offset, offset + length);
      reads.push([offset, length]);
      most = Math.max(most, ++underWay);
      ahead = Math.max(ahead, reads.reduce((sum, [, bytes]) => sum + bytes, 0) - uploaded);
      await new Promise((wake) => setTimeout(wake, 1));
      underWay--;
      return new Uint8Array(length);
    },
  };
  const recipe = { tensors: names.toReversed().map((name, buffer) => ({ ...plain(name, [lengthOf(name) / 4]), buffer })) };
  const order: string[] = [];
  let written = 0;
  const upload = async (buffer: number, offset: number, data: Packed): Promise<void> => {
    // A slow start gives the reads time to run ahead as far as they may.
    if (order.length === 0) await new Promise((wake) => setTimeout(wake, 100));
    uploaded += data.byteLength;
    const { name } = recipe.tensors[buffer]!;
    if (offset === 0) order.push(name);
    // Strips come one after another, and leave nothing out.
    assert.is(offset, offset === 0 ? 0 : written);
    written = offset + data.byteLength;
  };
  await loadWeights(recipe, source, { upload });
  assert.is(uploaded, end);
  assert.equal(order, names, "in the order of the file");
  assert.is(reads.reduce((sum, [, length]) => sum + length, 0), end);
  assert.ok(most > 1 && most <= 6, `${most} reads at once`);
  assert.ok(ahead > 12 * 2 ** 20 && ahead <= 20 * 2 ** 20, `${ahead} bytes held`);

  // In one piece on demand.
  const sizes: number[] = [];
  await loadWeights(recipe, source, { whole: true, upload: (_buffer, _offset, data) => void sizes.push(data.byteLength) });
  assert.equal(sizes, names.map(lengthOf));

  reads.length = 0;
  const biases = recipeOf(...names.filter((name) => name.endsWith("bias")).map((name) => plain(name, [1024])));
  await load(biases, source, { allowExtra: true });
  assert.equal([reads.length, reads[0]![1]], [40, 4096], "skips what it does not need");
});

test("a read that fails ends the load, whoever waits for what, and nothing more is read", async () => {
  // 30 pieces of one tensor behind a small one.
  const large = 30 * 4 * 2 ** 20;
  const header = new TextEncoder().encode(JSON.stringify({ a: { dtype: "F32", shape: [1 << 20], data_offsets: [0, 2 ** 22] }, b: { dtype: "F32", shape: [large / 4], data_offsets: [2 ** 22, 2 ** 22 + large] } }).padEnd(1024));
  const start = new Uint8Array(8 + header.length);
  new DataView(start.buffer).setBigUint64(0, BigInt(header.length), true);
  start.set(header, 8);
  for (const failing of [3, 10]) {
    let reads = 0;
    const source: WeightsSource = {
      name: "cut",
      size: start.length + 2 ** 22 + large,
      read: async (offset, length) => {
        if (offset < start.length) return start.slice(offset, offset + length);
        const mine = ++reads;
        await new Promise((wake) => setTimeout(wake, 5));
        if (mine === failing) throw new Error("cable pulled");
        return new Uint8Array(length);
      },
    };
    const recipe = recipeOf(plain("a", [1 << 20]), plain("b", [large / 4]));
    // The third fails while the first tensor is still being uploaded.
    const upload = (): Promise<void> => new Promise((wake) => setTimeout(wake, failing === 3 ? 30 : 0));
    const { message } = await refusal(loadWeights(recipe, source, { upload }));
    assert.ok(message.includes("cable pulled"), message);
    const then = reads;
    await new Promise((wake) => setTimeout(wake, 50));
    assert.is(reads, then);
    assert.ok(reads < failing + 6, `${reads} reads`);
  }
});

test("hundreds of small tensors take one read", async () => {
  const names = count(400).map((i) => `t${String(i).padStart(3, "0")}`);
  const bytes = makeFile(Object.fromEntries(names.map((name, i) => [name, f32([2], [i, -i])])));
  const inner = fromBytes(bytes);
  const reads: number[] = [];
  const source: WeightsSource = { ...inner, read: (offset, length) => (reads.push(length), inner.read(offset, length)) };
  const { uploads } = await load(recipeOf(...names.map((name) => plain(name, [2]))), source);
  assert.ok(names.every((name, i) => uploads.get(name)![0] === i));
  assert.equal(reads.slice(2), [3200]);
});

test("reads along small tensors that it does not need, and skips large ones", async () => {
  const filler = (bytes: number): MadeTensor => ({ dtype: "U8", shape: [bytes], bytes: new Uint8Array(bytes) });
  const inner = fromBytes(makeFile({ a: f32([1], [1]), x: filler(1000), b: f32([1], [2]), y: filler(1_000_000), c: f32([1], [3]) }));
  const reads: number[] = [];
  const source: WeightsSource = { ...inner, read: (offset, length) => (reads.push(length), inner.read(offset, length)) };
  const { uploads } = await load(recipeOf(...["a", "b", "c"].map((name) => plain(name, [1]))), source, { allowExtra: true });
  assert.equal([...uploads.values()], [[1], [2], [3]]);
  assert.equal(reads.slice(2), [1008, 4]);
});

test("packs the tensors of a real file as they are in it", async () => {
  const bytes = new Uint8Array(await readFile(new URL("../fixtures/notes/hybrid/weights.safetensors", import.meta.url)));
  const { tensors } = await readHeader(fromBytes(bytes));
  const { uploads } = await load(recipeOf(...[...tensors].map(([name, { shape }]) => plain(name, shape))), bytes);
  assert.is(uploads.size, tensors.size);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (const [name, { offset, bytes: length }] of tensors) {
    assert.equal(uploads.get(name), count(length / 4).map((i) => view.getFloat32(offset + 4 * i, true)));
  }
});

test("an abort rejects with its reason, whatever the source does", async () => {
  const reason = new Error("the user left");
  assert.is(await rejection(load(smallRecipe, makeFile(small), { signal: AbortSignal.abort(reason) })), reason);
  const deaf: WeightsSource = { name: "deaf", size: 1000, read: () => new Promise(() => undefined) };
  const abort = new AbortController();
  setTimeout(() => abort.abort(reason), 10);
  assert.is(await rejection(load(smallRecipe, deaf, { signal: abort.signal })), reason);
  const during = new AbortController();
  let uploads = 0;
  const upload = (): void => void (++uploads === 1 && during.abort(reason));
  assert.is(await rejection(loadWeights(smallRecipe, makeFile(small), { signal: during.signal, upload })), reason);
  assert.is(uploads, 1);
});

test("a failed upload fails the load and stops the reads", async () => {
  const failure = new Error("device lost");
  const inner = fromBytes(makeFile(small));
  let seen: AbortSignal | undefined;
  const source: WeightsSource = { ...inner, read: (offset, length, signal) => ((seen = signal), inner.read(offset, length)) };
  assert.is(await rejection(loadWeights(smallRecipe, source, { upload: () => Promise.reject(failure) })), failure);
  assert.ok(seen?.aborted);
});

test("loads from a server with and without ranges, and drops the download of a wrong file", async () => {
  const bytes = makeFile({ ...small, rest: f32([50_000], new Float32Array(50_000)) });
  const recipe: WeightRecipe = recipeOf(...smallRecipe.tensors, plain("rest", [50_000]));
  let serveRanges = true;
  let dropped = (): void => undefined;
  const server = createServer((request, response) => {
    response.on("close", () => response.writableFinished || dropped());
    const [, begin, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (request.url === "/endless") {
      response.writeHead(200, { "Content-Length": 1_000_000 }).write("<!DOCTYPE html>".padEnd(600));
    } else if (serveRanges && begin !== undefined) {
      const part = bytes.subarray(Number(begin), Number(last) + 1);
      response.writeHead(206, { "Content-Range": `bytes ${begin}-${Number(begin) + part.length - 1}/${bytes.length}` }).end(part);
    } else {
      response.writeHead(200, { "Content-Length": bytes.length }).end(bytes);
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const site = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    for (serveRanges of [true, false]) {
      const { uploads, bytes: read } = await load(recipe, new URL(`${site}/model.safetensors`));
      assert.equal([uploads.get("a"), uploads.get("c"), uploads.get("rest")!.length, read], [count(6), [1, 2], 50_000, bytes.length]);
    }
    const closed = new Promise<void>((resolve) => (dropped = resolve));
    assert.match((await refusal(load(recipe, `${site}/endless`))).message, /web page/);
    await closed;
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

test.run();
