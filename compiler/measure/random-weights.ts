import { quote, unreadable, type WeightsSource } from "../../runtime/source.js";
import type { WeightRecipe } from "../../runtime/plan.js";

/** Where a tensor lies in the file, and how its values are drawn: `centre` + `spread` * a hash in [-1, 1). */
interface Region {
  /** Byte offset in the file, a multiple of 4. */
  readonly start: number;
  readonly end: number;
  readonly key: number;
  readonly centre: number;
  readonly spread: number;
}

export interface RandomWeights {
  readonly source: WeightsSource;
  /** How long making values has taken so far, in milliseconds: no part of what loading costs. */
  milliseconds(): number;
}

/**
 * A weight file of hashed values for a recipe, which never exists as a whole: ranges are made when they are read. The same seed gives the
 * same bytes. Values are small enough that no model overflows, none is denormal, and variances and scales are positive: a model runs on
 * them as fast as on trained ones, and its outputs mean nothing.
 */
export function randomWeights(recipe: WeightRecipe, seed: number): RandomWeights {
  const tensors = new Map(recipe.tensors.flatMap(({ sources }) => sources).map(({ names, shape }) => [names[0] ?? "", shape]));
  const entries: Record<string, { dtype: string; shape: readonly number[]; data_offsets: readonly [number, number] }> = {};
  const sizes: number[] = [];
  let bytes = 0;
  for (const [name, shape] of tensors) {
    const size = shape.reduce((product, n) => product * n, 4);
    entries[name] = { dtype: "F32", shape, data_offsets: [bytes, bytes + size] };
    sizes.push(size);
    bytes += size;
  }
  const header = headerBytes(entries);
  const regions: Region[] = [];
  let start = header.length;
  [...tensors].forEach(([name, shape], i) => {
    regions.push({ start, end: start + sizes[i]!, key: mix(seed ^ Math.imul(i + 1, 0x9e3779b1)), ...distribution(name, shape) });
    start += sizes[i]!;
  });

  let spent = 0;
  const size = header.length + bytes;
  const name = `random weights (seed ${seed})`;
  const read = (offset: number, length: number): Uint8Array<ArrayBuffer> => {
    if (offset < 0 || length < 0 || offset + length > size) throw unreadable(name, `bytes ${offset} to ${offset + length} were asked for, ${quote(name)} has ${size}`);
    const began = performance.now();
    const made = new Uint8Array(length);
    made.set(header.subarray(Math.min(offset, header.length), Math.min(offset + length, header.length)));
    for (const region of regions) if (region.start < offset + length && region.end > offset) fill(region, made, offset);
    spent += performance.now() - began;
    return made;
  };
  return { source: { name, size, read: async (offset, length) => read(offset, length) }, milliseconds: () => spent };
}

/** The header of a safetensors file: its length in 8 bytes, then JSON, padded so that the data is aligned to 8 bytes. */
function headerBytes(entries: object): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(entries));
  const padded = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, 8);
  return header;
}

/** Names are not trusted beyond this: vectors that are not biases or means may be scales or variances, so they are positive. */
function distribution(name: string, shape: readonly number[]): { readonly centre: number; readonly spread: number } {
  if (shape.length > 1) return { centre: 0, spread: 1 / Math.sqrt(shape.slice(1).reduce((product, n) => product * n, 1)) };
  return /bias|mean|token/.test(name) ? { centre: 0, spread: 0.02 } : { centre: 1, spread: 0.5 };
}

/** Writes the part of a region that lies in `made`, whose first byte is at `offset` of the file. */
function fill({ start, end, key, centre, spread }: Region, made: Uint8Array, offset: number): void {
  const first = Math.max(start, offset) - start;
  const last = Math.min(end, offset + made.length) - start;
  const values = new Float32Array(Math.ceil(last / 4) - Math.floor(first / 4));
  const base = Math.floor(first / 4);
  for (let i = 0; i < values.length; i++) values[i] = centre + (spread * mix(key + base + i)) / 2 ** 31;
  const bytes = new Uint8Array(values.buffer, first - base * 4, last - first);
  made.set(bytes, start + first - offset);
}

/** A hash of a 32-bit key, from -2^31 to 2^31 - 1: lowbias32 (https://nullprogram.com/blog/2018/07/31/). */
function mix(key: number): number {
  let x = key | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

/** Values in [-1, 1) for a model's input, the same for the same count and seed. */
export function randomInput(count: number, seed = 0): Float32Array<ArrayBuffer> {
  const key = mix(seed);
  return Float32Array.from({ length: count }, (_, i) => mix(key + i + 1) / 2 ** 31);
}
