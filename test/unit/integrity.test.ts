/** Weights against a hash of their file: what is read, how often, and what is refused. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as assert from "uvu/assert";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { WeightsError } from "../../runtime/errors.js";
import { parseIntegrity, verified } from "../../runtime/integrity.js";
import { Sha256 } from "../../runtime/sha256-stream.js";
import { fromBytes, type WeightsSource } from "../../runtime/source.js";
import { openVariantWeights } from "../../runtime/variant-weights.js";
import type { Variant } from "../../runtime/definition.js";
import { rejection } from "../tools/loaded.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { rawFile } from "./weight-files.js";

const test = suite("integrity of weights");

const hexOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const sriOf = (bytes: Uint8Array): string => `sha256-${createHash("sha256").update(bytes).digest("base64")}`;
const random = (length: number, seed = 1): Uint8Array<ArrayBuffer> => Uint8Array.from({ length }, (_, i) => Math.imul(i + seed, 0x9e3779b1) >>> 24);
type Range = readonly [offset: number, length: number];
const never = new AbortController().signal;

/** A source that counts what is read of it. */
function counted(bytes: Uint8Array<ArrayBuffer>): WeightsSource & { readonly ranges: [number, number][] } {
  const ranges: [number, number][] = [];
  const source = fromBytes(bytes);
  return { ...source, ranges, read: (offset, length, signal) => (ranges.push([offset, length]), source.read(offset, length, signal)) };
}

test("the hash equals Node's, of every length and however it is cut", () => {
  for (let length = 0; length < 300; length++) {
    const bytes = random(length, length);
    for (const part of [1, 7, 63, 64, 65, 300]) {
      const hash = new Sha256();
      for (let at = 0; at < length; at += part) hash.update(bytes.subarray(at, at + part));
      assert.is(Buffer.from(hash.digest()).toString("hex"), hexOf(bytes), `${length} bytes in parts of ${part}`);
    }
  }
  const large = random(3_000_001);
  const hash = new Sha256();
  hash.update(large);
  assert.is(Buffer.from(hash.digest()).toString("hex"), hexOf(large));
});

test("both notations of a hash are read, and nothing else", () => {
  const bytes = random(10);
  assert.is(parseIntegrity(hexOf(bytes).toUpperCase()).hex, hexOf(bytes));
  assert.is(parseIntegrity(` ${sriOf(bytes)} `).hex, hexOf(bytes));
  for (const wrong of ["", "sha256-", sriOf(bytes).replace("256", "384"), hexOf(bytes).slice(1), `${sriOf(bytes)} ${sriOf(bytes)}`, 5, null, { sha256: "" }]) assert.throws(() => parseIntegrity(wrong), /integrity is .*it is the SHA-256 of the weight file/);
});

test("every byte is read once, in whatever order ranges are asked for, and what nobody asks for is read in the end", async () => {
  const bytes = random(10_000);
  for (const order of [[[0, 4000], [4000, 6000]], [[6000, 4000], [0, 3000], [3000, 3000]], [[100, 50], [9000, 1000], [5000, 10]], []] as const) {
    const source = counted(bytes);
    const checked = verified(source, parseIntegrity(sriOf(bytes)));
    await Promise.all(order.map(async ([offset, length]) => assert.equal(await checked.source.read(offset, length), bytes.slice(offset, offset + length))));
    await checked.finish(never);
    assert.is(source.ranges.reduce((sum, [, length]) => sum + length, 0), bytes.length);
  }
});

test("ranges that overlap or come twice are held to what they were", async () => {
  const bytes = random(10_000);
  const checked = verified(fromBytes(bytes), parseIntegrity(hexOf(bytes)));
  for (const [offset, length] of [[0, 100], [50, 1000], [50, 1000], [5000, 100], [4900, 5100], [0, 10_000], [0, 8]] as const) assert.equal(await checked.source.read(offset, length), bytes.slice(offset, offset + length));
  await checked.finish(never);

  const pairs: readonly (readonly [first: Range, second: Range])[] = [[[0, 1000], [0, 1000]], [[0, 1000], [500, 1000]], [[0, 1000], [10, 20]], [[2000, 1000], [1500, 2000]]];
  for (const [first, second] of pairs) {
    const changing = { ...fromBytes(bytes) };
    let forgotten = 0;
    const other = verified({ ...changing, forget: async () => void forgotten++, read: (offset, length) => changing.read(offset, length) }, parseIntegrity(hexOf(bytes)));
    await other.source.read(...first);
    const changed = bytes.slice();
    // A byte of the range that was read before.
    const at = Math.max(first[0], second[0]) + 3;
    changed[at] = changed[at]! ^ 1;
    changing.read = fromBytes(changed).read;
    assert.match((await rejection(other.source.read(...second))).message, /the file changed while it was read/);
    assert.is(forgotten, 1);
  }
});

test("another file is refused with both hashes, in the notation that was given, wherever the change lies", async () => {
  const bytes = random(5000);
  for (const at of [0, 2500, 4999]) {
    const changed = bytes.slice();
    changed[at] = changed[at]! ^ 128;
    for (const notation of [hexOf, sriOf]) {
      const checked = verified(fromBytes(changed), parseIntegrity(notation(bytes)));
      await checked.source.read(0, 1000);
      const error = await rejection(checked.finish(never));
      assert.instance(error, WeightsError);
      assert.is((error as WeightsError).problems[0]!.kind, "integrity");
      assert.ok(error.message.includes(`its SHA-256 is ${notation(changed)}, and ${notation(bytes)} is expected`), error.message);
    }
  }
});

test("what is held stays within bounds when a long stretch is skipped", async () => {
  const mib = 2 ** 20;
  const bytes = random(mib);
  // A hundred times the same: a file that needs no memory.
  const source: WeightsSource = {
    name: "large",
    size: 100 * mib,
    async read(_, length) {
      const all = new Uint8Array(length);
      for (let at = 0; at < length; at += mib) all.set(bytes, at);
      return all;
    },
  };
  const hash = createHash("sha256");
  for (let i = 0; i < 100; i++) hash.update(bytes);
  const read: number[] = [];
  const checked = verified({ ...source, read: (offset, length, signal) => (read.push(offset / mib), source.read(offset, length, signal)) }, parseIntegrity(hash.digest("hex")));
  for (let at = 40; at < 100; at++) await checked.source.read(at * mib, mib);
  // After 32 of the 60 the stretch before them is read, once, and nothing is held any more.
  assert.is(read.indexOf(0), 33);
  assert.is(read.length, 60 + 10);
  await checked.finish(never);
  assert.is(read.length, 60 + 10);
});

test("loading: a right hash loads the same, a wrong one is refused after one download, and a list of files has to be packed", async () => {
  const { plan, kernels, recipe } = makePlan(resolve(smallSpec()));
  const variant: Variant = { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe };
  const { source } = randomWeights(recipe, 1);
  const file = await source.read(0, source.size);
  let sent = 0;
  const server = createServer((request, response) => {
    const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")!;
    const part = file.subarray(Number(begin), Math.min(Number(end) + 1, file.length));
    sent += part.length;
    response.writeHead(206, { "Content-Range": `bytes ${begin}-${Number(begin) + part.length - 1}/${file.length}`, "Content-Length": part.length, ETag: '"a"' }).end(part);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;
  const load = async (weights: string | WeightsSource | Uint8Array, integrity: string | undefined): Promise<string> => {
    const opened = await openVariantWeights([variant], weights as string, { integrity });
    try {
      const hash = createHash("sha256");
      await (await opened.open(variant))({ upload: (buffer, offset, data) => void hash.update(`${buffer} ${offset}`).update(data) });
      return hash.digest("hex");
    } finally {
      opened.close();
    }
  };
  try {
    const plain = await load(url, undefined);
    const once = sent;
    assert.is(await load(url, sriOf(file)), plain);
    assert.is(sent, 2 * once, "a hash takes no second download");
    assert.is(await load(file, hexOf(file)), plain);
    const error = await rejection(load(url, hexOf(random(3))));
    assert.instance(error, WeightsError);
    assert.match(error.message, new RegExp(`its SHA-256 is ${hexOf(file)}, and ${hexOf(random(3))} is expected`));
    // A file of another shape is another file first of all; the file itself says what does not fit.
    const shape = randomWeights(makePlan(resolve({ ...smallSpec(), classes: 9 })).recipe, 1).source;
    const other = await shape.read(0, shape.size);
    assert.match((await rejection(load(other, sriOf(file)))).message, /its SHA-256 is .* is expected/);
    assert.match((await rejection(load(other, sriOf(other)))).message, /^weights \(bytes\): .*head/s);
    // A large one is not downloaded to be told from it; and what is said is what does not fit, also when the rest cannot be had.
    for (const size of [other.length, 20 * 2 ** 20]) {
      let [most, forgotten] = [0, 0];
      const header = 8 + Number(new DataView(other.buffer).getBigUint64(0, true));
      const padded = rawFile(new TextDecoder().decode(other.subarray(8, header)).replace("{", `{"z":{"dtype":"U8","shape":[${size - other.length}],"data_offsets":[${other.length - header},${size - header}]},`), new Uint8Array(size - header));
      const broken: WeightsSource = { ...fromBytes(padded, "far"), forget: async () => void forgotten++, read: async (offset, length) => (offset + length > 2 * header + 512 ? ((most = offset), Promise.reject(new Error("cut off"))) : padded.slice(offset, offset + length)) };
      const said = await rejection(load(broken, sriOf(other)));
      assert.match(said.message, /^far \(its hash was not checked, which takes the whole file\): .*head/s);
      assert.equal([most > 0, forgotten], [size === other.length, 1]);
    }
    assert.match((await rejection(load(url, "md5-abc"))).message, /integrity is "md5-abc"/);

    const list = new TextEncoder().encode(JSON.stringify({ weight_map: { a: "one.safetensors" } }));
    assert.match((await rejection(load(list, hexOf(list)))).message, /a hash of the list says nothing of them: pack them/);
    assert.match((await rejection(load(list, hexOf(file)))).message, /its SHA-256 is/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test.run();
