/**
 * The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes, everything little-endian. Files come from
 * anywhere, so nothing in them is believed before it is checked.
 *
 * @see https://github.com/huggingface/safetensors#format
 */

import { isObject, readExactly, reasonOf, unreadable, type WeightsSource } from "./source.js";

/** Bits of an element, by the name that safetensors gives the type. Types below a byte are packed without gaps. */
export const elementBits = {
  F64: 64, F32: 32, F16: 16, BF16: 16,
  I64: 64, I32: 32, I16: 16, I8: 8,
  U64: 64, U32: 32, U16: 16, U8: 8,
  BOOL: 8, C64: 64,
  F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F6_E2M3: 6, F6_E3M2: 6, F4: 4,
} as const; // prettier-ignore

/** An element type that a safetensors file can hold. */
export type SafetensorsType = keyof typeof elementBits;

/** Where a tensor lies in the file. */
export interface FileTensor {
  readonly dtype: SafetensorsType;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** The checked header of a weight file. */
export interface SafetensorsFile {
  /** The source's name, for messages. */
  readonly name: string;
  /** A Map, so that a tensor may be called `__proto__`. In the order of the header. */
  readonly tensors: ReadonlyMap<string, FileTensor>;
  /** What the writer noted under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The first byte after the header. */
  readonly dataOffset: number;
}

/** The format's own limit. */
const maximumHeaderBytes = 100_000_000;

/**
 * Reads and checks the header of a safetensors file. On return every tensor's bytes lie inside the file, have the length of its shape
 * and dtype, and the tensors cover the file without overlaps or holes.
 *
 * @param start the file's first bytes, as `readStart` has them, if they were read already
 * @throws WeightsError listing everything that is wrong, or naming the format that the file seems to have instead
 */
export async function readHeader(source: WeightsSource, signal?: AbortSignal, start?: Uint8Array): Promise<SafetensorsFile> {
  start ??= await readStart(source, signal);
  const length = start.length < 8 ? 0 : Number(new DataView(start.buffer, start.byteOffset).getBigUint64(0, true));
  const braceFollows = start[8] === 0x7b;
  if (!braceFollows || length > source.size - 8 || length > maximumHeaderBytes) {
    const { describeStart } = await import("./header-problems.js");
    throw unreadable(source.name, describeStart(start, source.size, length, maximumHeaderBytes));
  }
  const header = parseHeader(await readExactly(source, 8, length, signal), source.name);
  return plainFile(header, source, 8 + length) ?? (await import("./header-problems.js")).checkHeader(header, source, 8 + length);
}

/** What tells kinds of files apart. */
export const readStart = (source: WeightsSource, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> => readExactly(source, 0, Math.min(source.size, 512), signal);

/** The header's entries. JSON.parse makes `__proto__` an own property like any other, and entries become a Map before anyone looks one up. */
function parseHeader(bytes: Uint8Array, name: string): ReadonlyMap<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    const reason = cause instanceof TypeError ? "it is not UTF-8" : reasonOf(cause);
    throw unreadable(name, `the header is not valid JSON: ${reason}`, cause);
  }
  if (!isObject(header)) throw unreadable(name, "the header is not a JSON object");
  return new Map(Object.entries(header));
}

/** The tensors and the notes of a header in which nothing is wrong, as almost all are; undefined for any other. */
function plainFile(header: ReadonlyMap<string, unknown>, { name: source, size }: WeightsSource, dataOffset: number): SafetensorsFile | undefined {
  const tensors = new Map<string, FileTensor>();
  const notes = header.get("__metadata__") ?? {};
  if (!isObject(notes) || !Object.values(notes).every((note) => typeof note === "string")) return undefined;
  for (const [name, entry] of header) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
    if (!isType(dtype) || !isCounts(shape) || !isCounts(offsets) || offsets.length !== 2) return undefined;
    const bytes = (elementCount(shape) * elementBits[dtype]) / 8;
    if (bytes !== offsets[1]! - offsets[0]!) return undefined;
    tensors.set(name, { dtype, shape, offset: dataOffset + offsets[0]!, bytes });
  }
  let reached = dataOffset;
  for (const { offset, bytes } of [...tensors.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (offset !== reached) return undefined;
    reached += bytes;
  }
  return reached === size ? { name: source, tensors, metadata: new Map(Object.entries(notes) as [string, string][]), dataOffset } : undefined;
}

/** Elements of a shape. Past 2^53 the count is inexact but still past 2^53; a zero anywhere makes it 0. */
export function elementCount(shape: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((count, extent) => count * extent, 1);
}

/** Whether it is the name of an element type. */
export function isType(value: unknown): value is SafetensorsType {
  return typeof value === "string" && Object.hasOwn(elementBits, value);
}

/** `safe` matters: JSON rounds 2^53 + 1 to 2^53, so numbers from there on may not be what the file says. */
export function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
