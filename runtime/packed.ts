/**
 * Weights as `vitc pack` leaves them: a manifest, and beside it the bytes of the weight buffers as they are, cut into shards. Loading them is
 * reading, checking and uploading; nothing is computed.
 */

import { abi, type Variant } from "./definition.js";
import type { DType, WeightRecipe } from "./plan.js";
import { sha256 } from "./sha256.js";
import { isObject, quote, readExactly, reasonOf, unreadable, type WeightsSource } from "./source.js";
import type { UploadOptions, VariantWeights } from "./variant-weights.js";
import type { Variants } from "./variants.js";

/** A run of bytes of a weight buffer, which is a file of its own. */
export interface Shard {
  /** Its name, beside the manifest. */
  readonly file: string;
  readonly buffer: number;
  /** Of its first byte in the buffer; like `bytes` a multiple of 4. */
  readonly offset: number;
  readonly bytes: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

/** The weights of a model in one dtype. */
export interface PackedVariant {
  readonly dtype: DType;
  /** Of the plan, for people: the recipe alone decides what the bytes are. */
  readonly fingerprint: string;
  /** See `recipeHash`. */
  readonly recipe: string;
  /** By buffer, then by offset; together they are all bytes of all buffers. */
  readonly shards: readonly Shard[];
}

export interface PackedManifest {
  readonly format: typeof packedFormat;
  readonly version: typeof packedVersion;
  /** The vitc that packed. */
  readonly vitc: string;
  /** The model's name. */
  readonly name: string;
  readonly variants: readonly PackedVariant[];
  /** Absent where it would have taken too long. */
  readonly reference?: Reference;
}

/**
 * What a run with these weights gives in f64, or nearly: `vitc pack` leaves it for self-tests. The input is made from the seed: values in [-1, 1) as
 * they are after preprocessing.
 */
export interface Reference {
  readonly seed: string;
  /** See `Plan`: other models may have the same recipe, and compute something else. Earlier vitcs left it out. */
  readonly model?: string;
  /** The output that is looked at. */
  readonly output: string;
  /** Elements of it for one image, and their values. */
  readonly at: readonly number[];
  readonly expected: readonly number[];
  /** Root mean square of the whole output. */
  readonly scale: number;
  /** What computed it: `f64`, the interpreter; or `f32 on` an adapter. */
  readonly by: string;
}

export const packedFormat = "vitc packed weights";
export const packedVersion = 1;

/** Room for a hundred thousand shards. */
const largestManifestBytes = 16 * 2 ** 20;
/** Shards that are read ahead of need: bytes (one may be larger, and is then alone), and reads at once. */
const ahead = { bytes: 64 * 2 ** 20, reads: 6 } as const;
const again = "pack the weights of this package: npx vitc pack PACKAGE --weights FILE";

/** What a recipe makes of a weight file, as a hash: the same file and the same hash are the same bytes, whatever the kernels that read them. */
export const recipeHash = ({ tensors }: WeightRecipe): Promise<string> => sha256(new TextEncoder().encode(JSON.stringify([abi, tensors])));

/**
 * Packed weights behind a source of JSON, or undefined when that is something else.
 * @throws WeightsError when the manifest is damaged, of another version, or of other dtypes than are wanted; the signal's reason when it is aborted
 */
export async function openPacked(source: WeightsSource, wanted: Variants, signal: AbortSignal): Promise<Omit<VariantWeights, "close"> | undefined> {
  const manifest = await readManifest(source, signal);
  return manifest && packedWeights(manifest, source, wanted, signal);
}

/** The manifest in a source of JSON, or undefined when that is something else. */
async function readManifest(source: WeightsSource, signal: AbortSignal): Promise<PackedManifest | undefined> {
  if (source.size > largestManifestBytes) return undefined;
  const text = new TextDecoder().decode(await readExactly(source, 0, source.size, signal));
  if (!text.includes(packedFormat)) return undefined;
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch (cause) {
    throw unreadable(source.name, `this list of packed weights is damaged (${reasonOf(cause)}); copy it again, or ${again}`, cause);
  }
  if (!isObject(manifest) || manifest["format"] !== packedFormat) return undefined;
  if (manifest["version"] !== packedVersion) throw unreadable(source.name, `it has version ${quote(String(manifest["version"]))} of the format of packed weights, and this runtime reads version ${packedVersion}; ${again}`);
  if (!isManifest(manifest)) throw unreadable(source.name, `this list of packed weights is damaged or was edited; copy it again, or ${again}`);
  return manifest;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isManifest(value: Record<string, unknown>): value is Record<string, unknown> & PackedManifest {
  const { name, vitc, variants, reference } = value;
  return (reference === undefined || isReference(reference)) && typeof name === "string" && typeof vitc === "string" && Array.isArray(variants) && variants.length > 0 && variants.every((variant: unknown) => isObject(variant) && typeof variant["dtype"] === "string" && typeof variant["recipe"] === "string" && Array.isArray(variant["shards"]) && variant["shards"].every(isShard));
}

const isReference = (value: unknown): boolean => isObject(value) && ["seed", "output", "by", ...("model" in value ? ["model"] : [])].every((field) => typeof value[field] === "string") && Number.isFinite(value["scale"]) && Array.isArray(value["at"]) && value["at"].length > 0 && value["at"].every(isCount) && Array.isArray(value["expected"]) && value["expected"].length === value["at"].length && value["expected"].every(Number.isFinite);

/** A shard's name is a name alone: a manifest is no way to other folders and hosts. */
const isShard = (shard: unknown): boolean => isObject(shard) && isCount(shard["buffer"]) && isCount(shard["offset"]) && isCount(shard["bytes"]) && typeof shard["file"] === "string" && /^\w[\w.-]*$/.test(shard["file"]) && typeof shard["sha256"] === "string";

function packedWeights(manifest: PackedManifest, source: WeightsSource, wanted: Variants, signal: AbortSignal): Omit<VariantWeights, "close"> {
  const { name, vitc } = manifest;
  const variantFor = ({ plan }: Variant): PackedVariant | undefined => manifest.variants.find(({ dtype }) => dtype === plan.dtype);
  const [first, ...rest] = wanted.filter((variant) => variantFor(variant) !== undefined);
  const has = manifest.variants.map(({ dtype }) => dtype).join(" and ");
  const asked = wanted.map(({ plan }) => plan.dtype).join(" or ");
  if (first === undefined) throw unreadable(source.name, `it holds weights packed as ${has}, and ${asked} is asked for; ${again} --dtype ${asked.replace(" or ", ",")}`);
  return {
    variants: [first, ...rest],
    notice: first === wanted[0] ? undefined : `${source.name} holds weights packed as ${has} alone; ${wanted[0].plan.dtype} is not used`,
    reference: manifest.reference,
    async open(variant) {
      const { plan, recipe } = variant;
      const packed = variantFor(variant);
      if (packed?.recipe !== (await recipeHash(recipe))) {
        throw unreadable(source.name, `it holds weights of ${quote(name)}, packed by vitc ${vitc} for ${name === plan.name ? "another compile of it, which laid them out otherwise" : `another model than ${plan.name}`}; ${again}`);
      }
      const ends = plan.weightBuffers.map(() => 0);
      for (const { buffer, offset, bytes } of packed.shards) ends[buffer] = ends[buffer] === offset && bytes % 4 === 0 ? offset + bytes : NaN;
      if (ends.length !== plan.weightBuffers.length || ends.some((end, buffer) => end !== plan.weightBuffers[buffer])) throw unreadable(source.name, `its shards are not the weight buffers of ${plan.name}, one after another: it is damaged or was edited; ${again}`);
      const beside = source.beside?.bind(source);
      if (beside === undefined) throw unreadable(source.name, "the shards of packed weights lie beside this file, and bytes or a Blob do not tell where that is: pass its URL, in Node its path, or a source {name, size, read, beside}");
      return async (options) => {
        await uploadShards(packed.shards, (shard) => readShard(shard, beside, signal), { ...options, signal });
        return { ignored: [] };
      };
    },
  };
}

async function uploadShards(shards: readonly Shard[], read: (shard: Shard) => Promise<Uint8Array<ArrayBuffer>>, { onProgress, signal, upload }: UploadOptions): Promise<void> {
  const total = shards.reduce((sum, { bytes }) => sum + bytes, 0);
  const underWay: Promise<Uint8Array<ArrayBuffer>>[] = [];
  let [started, held, loaded] = [0, 0, 0];
  onProgress?.({ stage: "weights", loaded, total });
  for (const { buffer, offset, bytes } of shards) {
    for (let next = shards[started]; next !== undefined && underWay.length < ahead.reads && (held === 0 || held + next.bytes <= ahead.bytes); next = shards[++started]) {
      held += next.bytes;
      const reading = read(next);
      // Whoever needs the bytes sees the failure; until then nobody has to.
      reading.catch(() => undefined);
      underWay.push(reading);
    }
    const data = await underWay.shift()!;
    signal?.throwIfAborted();
    await upload(buffer, offset, data);
    held -= bytes;
    loaded += bytes;
    onProgress?.({ stage: "weights", loaded, total });
  }
}

async function readShard({ file, bytes, sha256: expected }: Shard, beside: NonNullable<WeightsSource["beside"]>, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  signal.throwIfAborted();
  const source = await beside(file, bytes, signal);
  if (source.size !== bytes) throw unreadable(source.name, `this shard of packed weights has ${source.size} bytes, and its manifest says ${bytes}: it was cut short or replaced; copy it again, or ${again}`);
  // What is wrong may be what a cache kept of it.
  for (let tries = source.forget ? 2 : 1; ; tries--) {
    const data = await readExactly(source, 0, bytes, signal);
    const found = await sha256(data);
    if (found === expected) return data;
    await source.forget?.();
    if (tries === 1) throw unreadable(source.name, `this shard of packed weights is damaged: its SHA-256 is ${found.slice(0, 16)}…, and its manifest says ${quote(expected.slice(0, 16))}…; copy it again, or ${again}`);
  }
}
