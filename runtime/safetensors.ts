/**
 * The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes, everything little-endian. Files come from
 * anywhere, so nothing in them is believed before it is checked.
 *
 * @see https://github.com/huggingface/safetensors#format
 */

import { elementBits, elementCount, isCounts, isType, type FileTensor, type SafetensorsFile } from "./file-tensors.js";
import { isObject, readExactly, reasonOf, unreadable, type WeightsSource } from "./source.js";

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
