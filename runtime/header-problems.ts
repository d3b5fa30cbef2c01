/** What is wrong with a header of safetensors, apart from reading one, so that a page downloads it with the first file that is damaged. */

import { WeightsError, type WeightProblem } from "./errors.js";
import { recognizeFile } from "./impostors.js";
import { elementBits, elementCount, isCounts, isType, type FileTensor, type SafetensorsFile } from "./file-tensors.js";
import { isObject, quote, type WeightsSource } from "./source.js";

/** Why a file is none of safetensors, by its first bytes; `length` is what they claim of the header, `most` what the format allows. */
export function describeStart(start: Uint8Array, size: number, length: number, most: number): string {
  const recognized = recognizeFile(start);
  if (recognized !== undefined) return recognized;
  if (size < 8) return `not a safetensors file: it has ${size} bytes, the shortest has 8`;
  if (start[8] !== 0x7b) return "not a safetensors file: no JSON header follows the first 8 bytes";
  if (length > most) return `the header claims ${length} bytes, the format allows ${most}`;
  return `the header claims ${length} bytes, ${size - 8} follow the 8 that say so: the file is damaged or its download was cut short`;
}

/**
 * The tensors and the notes of a header, checked one by one.
 * @throws WeightsError listing everything that is wrong
 */
export function checkHeader(header: ReadonlyMap<string, unknown>, source: WeightsSource, dataOffset: number): SafetensorsFile {
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

/** A value from the header for a message: a line, without descending into what may be nested without end. */
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return quote(value);
  if (!Array.isArray(value)) return isObject(value) ? "an object" : JSON.stringify(value);
  const items = value.slice(0, 16).map((item: unknown) => (Array.isArray(item) ? "[…]" : show(item)));
  return value.length > 16 ? `[${items.join(", ")}, … ${value.length} in all]` : `[${items.join(", ")}]`;
}
