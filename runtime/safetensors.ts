/**
 * The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes, everything little-endian. Files come from
 * anywhere, so nothing in them is believed before it is checked.
 *
 * @see https://github.com/huggingface/safetensors#format
 */

import { WeightsError, type WeightProblem } from "./errors.js";
import { isObject, quote, readExactly, reasonOf, unreadable, type WeightsSource } from "./source.js";

/** Bits of an element, by the name that safetensors gives the type. Types below a byte are packed without gaps. */
const elementBits = {
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
    const { recognizeFile } = await import("./impostors.js");
    throw unreadable(source.name, recognizeFile(start) ?? describeStart(source.size, length, braceFollows));
  }
  const header = parseHeader(await readExactly(source, 8, length, signal), source.name);
  return checkHeader(header, source, 8 + length);
}

/** What tells kinds of files apart. */
export const readStart = (source: WeightsSource, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> => readExactly(source, 0, Math.min(source.size, 512), signal);

function describeStart(size: number, length: number, braceFollows: boolean): string {
  if (size < 8) return `not a safetensors file: it has ${size} bytes, the shortest has 8`;
  if (!braceFollows) return "not a safetensors file: no JSON header follows the first 8 bytes";
  if (length > maximumHeaderBytes) return `the header claims ${length} bytes, the format allows ${maximumHeaderBytes}`;
  return `the header claims ${length} bytes, ${size - 8} follow the 8 that say so: the file is damaged or its download was cut short`;
}

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

function checkHeader(header: ReadonlyMap<string, unknown>, source: WeightsSource, dataOffset: number): SafetensorsFile {
  const problems: WeightProblem[] = [];
  const tensors = new Map<string, FileTensor>();
  const metadata = new Map<string, string>();
  for (const [name, entry] of header) {
    if (name === "__metadata__") {
      for (const [key, value] of isObject(entry) ? Object.entries(entry) : [["", entry] as const]) {
        if (typeof value === "string") metadata.set(key, value);
        else problems.push({ kind: "format", message: `__metadata__ ${quote(key)}: expected a text, got ${show(value)}` });
      }
      continue;
    }
    const tensor = readEntry(entry);
    if (typeof tensor === "string") problems.push({ kind: "format", tensor: name, message: `${quote(name)}: ${tensor}` });
    else tensors.set(name, { ...tensor, offset: dataOffset + tensor.offset });
  }
  // With entries missing, every neighbour of theirs would be reported as a hole.
  if (problems.length === 0) problems.push(...checkLayout(tensors, dataOffset, source.size));
  if (problems.length > 0) throw new WeightsError(problems, source.name);
  return { name: source.name, tensors, metadata, dataOffset };
}

/** A tensor with its offset counted from the end of the header, or what is wrong with its entry. */
function readEntry(entry: unknown): FileTensor | string {
  if (!isObject(entry)) return `expected {dtype, shape, data_offsets}, got ${show(entry)}`;
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isType(dtype)) return `unknown dtype ${show(dtype)}; known are ${Object.keys(elementBits).join(", ")}`;
  if (!isCounts(shape)) return `shape ${show(shape)} is not a list of whole numbers from 0 to 2^53 - 1`;
  if (!isCounts(offsets)) return `data_offsets ${show(offsets)} is not two whole numbers`;
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2) return `data_offsets ${show(offsets)} is not two whole numbers`;
  if (begin > end) return `data_offsets ${show(offsets)} end before they begin`;
  const count = elementCount(shape);
  if (count > Number.MAX_SAFE_INTEGER) return `shape ${show(shape)} has more than 2^53 elements`;
  const bytes = (count * elementBits[dtype]) / 8;
  if (bytes !== end - begin) return `shape ${show(shape)} of ${dtype} takes ${bytes} bytes, data_offsets ${show(offsets)} hold ${end - begin}`;
  return { dtype, shape, offset: begin, bytes };
}

/** Overlaps, holes and bytes that no tensor owns, in file order; a truncated file is one problem, whatever the number of tensors it cost. */
function checkLayout(tensors: ReadonlyMap<string, FileTensor>, dataOffset: number, size: number): WeightProblem[] {
  const problems: WeightProblem[] = [];
  const ordered = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  let reached = dataOffset;
  let previous = "the header";
  for (const [name, { offset, bytes }] of ordered) {
    if (offset < reached) problems.push({ kind: "format", tensor: name, message: `${quote(name)} overlaps ${previous} by ${reached - offset} bytes` });
    if (offset > reached) problems.push({ kind: "format", tensor: name, message: `${offset - reached} bytes between ${previous} and ${quote(name)} belong to no tensor` });
    if (offset + bytes < reached) continue;
    reached = offset + bytes;
    previous = quote(name);
  }
  const cut = ordered.filter(([, { offset, bytes }]) => offset + bytes > size).length;
  if (cut > 0) {
    const message = `the header promises ${reached} bytes, the file has ${size} (${cut} of ${ordered.length} tensors are cut off): its download was cut short or it is damaged`;
    problems.unshift({ kind: "format", message });
  } else if (reached < size) {
    problems.push({ kind: "format", message: `${size - reached} bytes after ${previous} belong to no tensor` });
  }
  return problems;
}

/** Elements of a shape. Past 2^53 the count is inexact but still past 2^53; a zero anywhere makes it 0. */
export function elementCount(shape: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((count, extent) => count * extent, 1);
}


function isType(value: unknown): value is SafetensorsType {
  return typeof value === "string" && Object.hasOwn(elementBits, value);
}

/** `safe` matters: JSON rounds 2^53 + 1 to 2^53, so numbers from there on may not be what the file says. */
function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

/** A value from the header for a message: a line, without descending into what may be nested without end. */
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return quote(value);
  if (!Array.isArray(value)) return isObject(value) ? "an object" : JSON.stringify(value);
  const items = value.slice(0, 16).map((item: unknown) => (Array.isArray(item) ? "[…]" : show(item)));
  return value.length > 16 ? `[${items.join(", ")}, … ${value.length} in all]` : `[${items.join(", ")}]`;
}
