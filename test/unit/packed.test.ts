import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as assert from "uvu/assert";
import type { Variant } from "../../runtime/definition.js";
import { packedFormat, recipeHash, type PackedManifest, type Shard } from "../../runtime/packed.js";
import type { DType, PackedTensor, WeightRecipe } from "../../runtime/plan.js";
import { openVariantWeights } from "../../runtime/variant-weights.js";
import { fromBytes, type WeightsInput, type WeightsSource } from "../../runtime/weights.js";
import { suite } from "../tools/suite.js";
import { count, f32, makeFile } from "./weight-files.js";

const test = suite("packed weights");

const tensor = (name: string, length: number, place: Partial<PackedTensor> = {}): PackedTensor => ({ name, buffer: 0, offset: 0, dtype: "f32", shape: [length], sources: [{ names: [name], shape: [length] }], steps: [], ...place });

/** Two buffers: `a` and `b` in the first, 256 bytes apart, and `c` in the second. */
const recipe: WeightRecipe = { tensors: [tensor("a", 3), tensor("b", 2, { offset: 256 }), tensor("c", 4, { buffer: 1 })] };
const buffers = [264, 16];

function variantOf(dtype: DType = "f32", own: WeightRecipe = recipe, weightBuffers: readonly number[] = buffers): Variant {
  // Of a plan, weights need no more.
  return { plan: { name: "tiny", dtype, weightBuffers }, recipe: own, kernels: {} } as unknown as Variant;
}

type Files = Map<string, Uint8Array<ArrayBuffer>>;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const bytesOf = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value));

/** What `vitc pack` would write: shards of at most `most` bytes, whose byte i of buffer b is i + 100 b. */
async function packed(dtypes: readonly DType[] = ["f32"], most = 100, change: (manifest: PackedManifest) => unknown = (manifest) => manifest): Promise<Files> {
  const files: Files = new Map();
  const shardsOf = (dtype: DType): Shard[] =>
    buffers.flatMap((size, buffer) =>
      Array.from({ length: Math.ceil(size / most) }, (_, i) => {
        const offset = i * most;
        const bytes = Uint8Array.from({ length: Math.min(most, size - offset) }, (_byte, at) => offset + at + 100 * buffer);
        const file = `${dtype}-${buffer}-${i}.bin`;
        files.set(file, bytes);
        return { file, buffer, offset, bytes: bytes.length, sha256: sha256(bytes) };
      }),
    );
  const hash = await recipeHash(recipe);
  const manifest: PackedManifest = { format: packedFormat, version: 1, vitc: "0.1.0", name: "tiny", variants: dtypes.map((dtype) => ({ dtype, fingerprint: "f", recipe: hash, shards: shardsOf(dtype) })) };
  files.set("weights.json", bytesOf(change(manifest)));
  return files;
}

/** A file of a folder, as a source that knows its neighbours. */
function sourceIn(files: Files, name = "weights.json"): WeightsSource & { beside: NonNullable<WeightsSource["beside"]> } {
  const bytes = files.get(name);
  if (bytes === undefined) throw new Error(`there is no ${name}`);
  return { ...fromBytes(bytes, name), beside: async (file) => sourceIn(files, file) };
}

/** Loads into buffers of zeros. */
async function load(input: WeightsInput, variants: readonly [Variant, ...Variant[]] = [variantOf()], signal?: AbortSignal): Promise<{ buffers: number[][]; notice: string | undefined; dtype: DType; progress: [number, number][] }> {
  const weights = await openVariantWeights(variants, input, { signal });
  try {
    const [variant] = weights.variants;
    const upload = await weights.open(variant);
    const into = buffers.map((size) => new Uint8Array(size));
    const progress: [number, number][] = [];
    await upload({
      upload: (buffer, offset, data) => into[buffer]!.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset),
      onProgress: ({ loaded, total }) => progress.push([loaded, total]),
      signal,
    });
    return { buffers: into.map((bytes) => [...bytes]), notice: weights.notice, dtype: variant.plan.dtype, progress };
  } finally {
    weights.close();
  }
}

async function refusal(input: WeightsInput, variants?: Parameters<typeof load>[1]): Promise<string> {
  try {
    await load(input, variants);
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  return "nothing";
}

const expected = buffers.map((size, buffer) => Array.from({ length: size }, (_, i) => (i + 100 * buffer) % 256));

test("shards become the buffers, byte for byte, whatever their size, and progress counts them", async () => {
  for (const most of [4, 100, 264, 1000]) {
    const { buffers: loaded, notice, progress } = await load(sourceIn(await packed(["f32"], most)));
    assert.equal([loaded, notice], [expected, undefined]);
    assert.equal([progress[0], progress.at(-1)], [[0, 280], [280, 280]]);
    assert.equal(progress.map(([done]) => done), progress.map(([done]) => done).toSorted((a, b) => a - b));
  }
});

test("any other weight file is loaded as ever", async () => {
  const tensors = { a: f32([3], [1, 2, 3]), b: f32([2], [4, 5]), c: f32([4], count(4)) };
  const headerBytes = new DataView(makeFile(tensors).buffer).getUint32(0, true);
  // The second begins with a brace: the first byte of its header's length.
  for (const file of [makeFile(tensors), makeFile(tensors, (0x7b - headerBytes + 512) % 256)]) {
    const { buffers: loaded } = await load(file);
    assert.equal([...new Float32Array(Uint8Array.from(loaded[0]!).buffer, 256, 2)], [4, 5]);
  }
  assert.is(makeFile(tensors, (0x7b - headerBytes + 512) % 256)[0], 0x7b);
  for (const [text, sentence] of [['{"weight_map": {}}', /weight_map is empty/], ["{}", /not a safetensors file/], [`{"note": "${packedFormat}", "x": 1}`, /lists no weight files/]] as const) {
    assert.match(await refusal(new TextEncoder().encode(text)), sentence);
  }
});

test("the hash is of the recipe's tensors alone: their places, types, sources and steps", async () => {
  const hash = await recipeHash(recipe);
  assert.match(hash, /^[0-9a-f]{64}$/);
  assert.is(await recipeHash({ ...structuredClone(recipe), namings: [] }), hash);
  const [first, ...others] = recipe.tensors as [PackedTensor, ...PackedTensor[]];
  const changes: readonly Partial<PackedTensor>[] = [{ offset: 512 }, { buffer: 1 }, { dtype: "f16" }, { shape: [3, 1] }, { steps: [{ op: "scale", of: 0, factor: 2 }] }, { sources: [{ names: ["z"], shape: [3] }] }];
  for (const change of changes) assert.is.not(await recipeHash({ tensors: [{ ...first, ...change }, ...others] }), hash, JSON.stringify(change));
});

test("of a package's dtypes those that are packed are taken, which is said; those that are not are refused with the command", async () => {
  const [f16, f32Variant] = [variantOf("f16"), variantOf("f32")];
  const both = await load(sourceIn(await packed(["f32", "f16"])), [f16, f32Variant]);
  assert.equal([both.dtype, both.notice], ["f16", undefined]);
  const one = await load(sourceIn(await packed(["f32"])), [f16, f32Variant]);
  assert.equal([one.dtype, one.notice], ["f32", "weights.json holds weights packed as f32 alone; f16 is not used"]);
  assert.is(await refusal(sourceIn(await packed(["f32"])), [f16]), "WeightsError: weights.json: it holds weights packed as f32, and f16 is asked for; pack the weights of this package: npx vitc pack PACKAGE --weights FILE --dtype f16");
});

test("weights of another package or another compile are refused with the command that packs again", async () => {
  const other: WeightRecipe = { tensors: recipe.tensors.map((each) => ({ ...each, sources: each.sources.map(({ names }) => ({ names, shape: [1, each.shape[0]!] })) })) };
  assert.match(await refusal(sourceIn(await packed()), [variantOf("f32", other)]), /WeightsError: weights\.json: it holds weights of "tiny", packed by vitc 0\.1\.0 for another compile of it, which laid them out otherwise; pack the weights of this package: npx vitc pack PACKAGE --weights FILE$/);
  const named = sourceIn(await packed(["f32"], 100, (manifest) => ({ ...manifest, name: "huge" })));
  assert.match(await refusal(named, [variantOf("f32", other)]), /it holds weights of "huge", packed by vitc 0\.1\.0 for another model than tiny/);
  // What a model is called changes no byte.
  assert.equal((await load(named)).buffers, expected);
  const later = sourceIn(await packed(["f32"], 100, (manifest) => ({ ...manifest, version: 2 })));
  assert.match(await refusal(later), /it has version "2" of the format of packed weights, and this runtime reads version 1; .*npx vitc pack/);
});

test("a manifest that is damaged or was edited is refused, and never leads out of its folder", async () => {
  const whole = await packed();
  const text = whole.get("weights.json")!;
  assert.match(await refusal(sourceIn(new Map([["weights.json", text.slice(0, text.length - 40)]]))), /this list of packed weights is damaged \(.*JSON.*\); copy it again/);
  const edited = async (change: (shard: Shard, i: number) => object): Promise<string> =>
    refusal(sourceIn(await packed(["f32"], 100, (manifest) => ({ ...manifest, variants: manifest.variants.map((variant) => ({ ...variant, shards: variant.shards.map((shard, i) => ({ ...shard, ...change(shard, i) })) })) }))));
  for (const file of ["../f32-0-0.bin", "/etc/passwd", "https://example.com/x", "a/b", "..", "", 3, null]) assert.match(await edited(() => ({ file })), /is damaged or was edited/, JSON.stringify(file));
  for (const change of [{ offset: -4 }, { bytes: 1.5 }, { buffer: "0" }, { sha256: 1 }]) assert.match(await edited(() => change), /this list of packed weights is damaged or was edited/);
  for (const change of [{ offset: 4 }, { buffer: 1 }, { buffer: 7 }, { bytes: 96 }, { bytes: 102 }]) assert.match(await edited((_, i) => (i === 0 ? change : {})), /its shards are not the weight buffers of tiny, one after another/, JSON.stringify(change));
  const short = await packed(["f32"], 100, (manifest) => ({ ...manifest, variants: manifest.variants.map((variant) => ({ ...variant, shards: variant.shards.slice(0, -1) })) }));
  assert.match(await refusal(sourceIn(short)), /its shards are not the weight buffers/);
  assert.match(await refusal(sourceIn(await packed(["f32"], 100, (manifest) => ({ ...manifest, variants: [] })))), /damaged or was edited/);
  const withReference = async (at: readonly number[]): Promise<string> => refusal(sourceIn(await packed(["f32"], 100, (manifest) => ({ ...manifest, reference: { seed: "s", model: "m", output: "logits", at, expected: at, scale: 1, by: "f64" } }))));
  assert.equal(await withReference([0]), "nothing");
  assert.match(await withReference([]), /damaged or was edited/, "of nothing everything would be right");
});

test("a shard that is damaged, cut short, too long or missing is named", async () => {
  for (const [change, sentence] of [
    [(bytes: Uint8Array<ArrayBuffer>) => bytes.with(50, bytes[50]! ^ 1), /^WeightsError: f32-0-1\.bin: this shard of packed weights is damaged: its SHA-256 is [0-9a-f]{16}…, and its manifest says "[0-9a-f]{16}"…; copy it again, or pack/],
    [(bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, 96), /^WeightsError: f32-0-1\.bin: this shard of packed weights has 96 bytes, and its manifest says 100: it was cut short or replaced/],
    [(bytes: Uint8Array<ArrayBuffer>) => new Uint8Array([...bytes, 0]), /f32-0-1\.bin: .* has 101 bytes/],
    [() => undefined, /there is no f32-0-1\.bin/],
  ] as const) {
    const files = await packed();
    const changed = change(files.get("f32-0-1.bin")!);
    if (changed === undefined) files.delete("f32-0-1.bin");
    else files.set("f32-0-1.bin", changed);
    assert.match(await refusal(sourceIn(files)), sentence);
  }
});

test("a shard whose kept bytes are wrong is read once more, and then refused", async () => {
  for (const [wrongReads, outcome] of [[1, "nothing"], [2, "is damaged"]] as const) {
    const files = await packed();
    const calls: string[] = [];
    const manifest = sourceIn(files);
    const beside = async (file: string): Promise<WeightsSource> => {
      const source = sourceIn(files, file);
      if (file !== "f32-0-1.bin") return { ...source, forget: () => Promise.reject(new Error("nothing is wrong with this one")) };
      let reads = 0;
      const read = async (offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
        calls.push("read");
        const bytes = await source.read(offset, length);
        return reads++ < wrongReads ? bytes.with(50, 0) : bytes;
      };
      return { ...source, read, forget: async () => void calls.push("forget") };
    };
    assert.match(await refusal({ ...manifest, beside }), new RegExp(outcome));
    assert.equal(calls, ["read", "forget", "read", ...(wrongReads === 2 ? ["forget"] : [])]);
  }
});

test("a manifest by itself does not tell where its shards are, and says what does", async () => {
  const bytes = (await packed()).get("weights.json")!;
  for (const input of [bytes, new Blob([bytes])]) assert.match(await refusal(input), /the shards of packed weights lie beside this file, .*pass its URL, in Node its path, or a source \{name, size, read, beside\}/);
  // A source of the user's may be an object of a class.
  class Folder implements WeightsSource {
    readonly name = "weights.json";
    readonly size: number;
    constructor(private readonly files: Files) {
      this.size = files.get(this.name)!.length;
    }
    read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
      return sourceIn(this.files).read(offset, length);
    }
    async beside(file: string): Promise<WeightsSource> {
      return sourceIn(this.files, file);
    }
  }
  assert.equal((await load(new Folder(await packed()))).buffers, expected);
});

test("shards are read ahead, six at once and 64 MiB at most", async () => {
  const mebibyte = 2 ** 20;
  for (const [size, shards, atOnce] of [[mebibyte, 20, 6], [20 * mebibyte, 7, 3], [65 * mebibyte, 3, 1]] as const) {
    const zeros = new Uint8Array(size);
    const hash = sha256(zeros);
    const own: WeightRecipe = { tensors: [tensor("a", (size * shards) / 4)] };
    const manifest: PackedManifest = { format: packedFormat, version: 1, vitc: "0.1.0", name: "tiny", variants: [{ dtype: "f32", fingerprint: "f", recipe: await recipeHash(own), shards: Array.from({ length: shards }, (_, i) => ({ file: `s${i}.bin`, buffer: 0, offset: i * size, bytes: size, sha256: hash })) }] };
    let [held, most] = [0, 0];
    const beside = async (name: string): Promise<WeightsSource> => {
      most = Math.max(most, ++held);
      return fromBytes(zeros, name);
    };
    const weights = await openVariantWeights([variantOf("f32", own, [size * shards])], { ...fromBytes(bytesOf(manifest), "weights.json"), beside }, {});
    const upload = await weights.open(weights.variants[0]);
    let uploaded = 0;
    await upload({
      upload: async () => {
        await new Promise((turn) => setTimeout(turn));
        held--;
        uploaded++;
      },
    });
    assert.equal([uploaded, most], [shards, atOnce], `${size} bytes`);
  }
});

test("an abort ends loading with its reason, and what is under way when loading ends is stopped", async () => {
  const files = await packed(["f32"], 4);
  const controller = new AbortController();
  const signals: AbortSignal[] = [];
  const source = { ...sourceIn(files), beside: (file: string, _: number, signal?: AbortSignal): Promise<WeightsSource> => {
    signals.push(signal!);
    return file === "f32-0-2.bin" ? new Promise((_done, fail) => signal!.addEventListener("abort", () => fail(signal!.reason as Error))) : Promise.resolve(sourceIn(files, file));
  } };
  const loading = load(source, [variantOf()], controller.signal);
  setTimeout(() => controller.abort(new Error("enough")), 20);
  assert.is(await loading.catch((error: unknown) => (error instanceof Error ? error.message : "")), "enough");

  files.set("f32-0-0.bin", new Uint8Array(4));
  signals.length = 0;
  assert.match(await refusal(source), /f32-0-0\.bin: this shard .* is damaged/);
  assert.ok(signals.length > 1 && signals.every(({ aborted }) => aborted));
});

test("behind a URL shards are fetched from the same folder, each with one request, with ranges or without", async () => {
  const files = await packed(["f32"], 100);
  for (const ranges of [true, false]) {
    const requests: string[] = [];
    const server = createServer((request, response) => {
      const name = request.url!.replace("/models/", "");
      requests.push(name);
      const bytes = files.get(name);
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
      if (bytes === undefined) response.writeHead(404).end();
      else if (!ranges || first === undefined) response.writeHead(200, { "Content-Length": bytes.length }).end(bytes);
      else response.writeHead(206, { "Content-Range": `bytes ${first}-${Math.min(Number(last), bytes.length - 1)}/${bytes.length}` }).end(bytes.subarray(Number(first), Number(last) + 1));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/weights.json`;
      assert.equal((await load(url)).buffers, expected);
      assert.equal(requests.toSorted(), [...files.keys()].toSorted());
      const bytes = files.get("f32-0-1.bin")!;
      files.delete("f32-0-1.bin");
      assert.match(await refusal(new URL(url)), /models\/f32-0-1\.bin: the server answered 404/);
      files.set("f32-0-1.bin", bytes.slice(0, 40));
      assert.match(await refusal(url), /models\/f32-0-1\.bin: this shard of packed weights has 40 bytes/);
      files.set("f32-0-1.bin", bytes);
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }
});

test.run();
