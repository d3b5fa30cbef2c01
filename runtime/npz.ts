/** NumPy's .npz archives, which Google's Vision Transformers are in: a zip file of .npy files, each an array with a header. */

import type { FileTensor, SafetensorsFile, SafetensorsType } from "./safetensors.js";
import { quote, readExactly, unreadable, type WeightsSource } from "./source.js";

/** The zip format's marks, as little-endian numbers. */
const marks = { local: 0x04034b50, entry: 0x02014b50, end: 0x06054b50 } as const;
/** The end record is this long, behind it a comment of at most 65535 bytes. */
const endBytes = 22;
const endRoom = endBytes + 65535;
/** A local header and a name; behind them an array's own header, which is padded to 64 bytes. */
const headerRoom = 1024;
/** Headers that are read at a time. */
const mostAtOnce = 16;

const types: Readonly<Record<string, SafetensorsType>> = { "<f4": "F32", "<f8": "F64", "<f2": "F16", "<i4": "I32", "<i8": "I64", "|b1": "BOOL", "|u1": "U8", "|i1": "I8" };

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly bytes: number;
  /** Of its local header. */
  readonly offset: number;
}

/**
 * The arrays of an .npz archive as if it were one file of tensors, or undefined for a zip archive of something else. Arrays that were
 * compressed, or are stored by columns, are refused: NumPy's `savez` makes neither.
 *
 * @throws WeightsError for an archive that is damaged or cannot be read by ranges; the signal's reason when it is aborted
 */
export async function readNpz(source: WeightsSource, signal?: AbortSignal): Promise<SafetensorsFile | undefined> {
  const entries = (await directory(source, signal)).filter(({ name }) => name.endsWith(".npy"));
  if (entries.length === 0) return undefined;
  const found: (readonly [string, FileTensor])[] = [];
  for (let first = 0; first < entries.length; first += mostAtOnce) {
    found.push(...(await Promise.all(entries.slice(first, first + mostAtOnce).map(async (entry) => [entry.name.slice(0, -4), await arrayOf(source, entry, signal)] as const))));
  }
  return { name: source.name, tensors: new Map(found), metadata: new Map(), dataOffset: 0 };
}

/** The list of files at the end of a zip archive. */
async function directory(source: WeightsSource, signal: AbortSignal | undefined): Promise<Entry[]> {
  const damaged = (what: string) => unreadable(source.name, `this zip archive is damaged or was cut short: ${what}; download it again`);
  const room = Math.min(source.size, endRoom);
  const tail = viewOf(await readExactly(source, source.size - room, room, signal));
  let end = room - endBytes;
  while (end >= 0 && tail.getUint32(end, true) !== marks.end) end--;
  if (end < 0) throw damaged("its list of files is missing");
  const [count, bytes, offset] = [tail.getUint16(end + 10, true), tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
  if (offset === 0xffffffff || count === 0xffff) throw unreadable(source.name, "this archive is of the 64-bit kind, for files above 4 GiB, which is not read here: convert it to safetensors");
  if (offset + bytes > source.size) throw damaged("its list of files lies beyond its end");
  const list = viewOf(await readExactly(source, offset, bytes, signal));
  const entries: Entry[] = [];
  for (let at = 0; entries.length < count; ) {
    if (at + 46 > bytes || list.getUint32(at, true) !== marks.entry) throw damaged(`its list of files ends after ${entries.length} of ${count}`);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => list.getUint16(at + field, true)) as [number, number, number];
    if (at + 46 + nameBytes > bytes) throw damaged("a name in its list of files is cut");
    const name = new TextDecoder().decode(new Uint8Array(list.buffer, list.byteOffset + at + 46, nameBytes));
    entries.push({ name, method: list.getUint16(at + 10, true), bytes: list.getUint32(at + 24, true), offset: list.getUint32(at + 42, true) });
    at += 46 + nameBytes + extraBytes + commentBytes;
  }
  return entries;
}

/** Where an array's numbers lie, and what they are. */
async function arrayOf(source: WeightsSource, { name, method, bytes, offset }: Entry, signal: AbortSignal | undefined): Promise<FileTensor> {
  const fail = (what: string) => unreadable(source.name, `${quote(name)} ${what}`);
  if (method !== 0) throw fail("is compressed, and weights are read by ranges: save them with numpy.savez, or convert them to safetensors");
  if (offset >= source.size) throw fail("lies beyond the end of the archive: it was cut short");
  const start = await readExactly(source, offset, Math.min(headerRoom, source.size - offset), signal);
  const view = viewOf(start);
  if (start.length < 30 || view.getUint32(0, true) !== marks.local) throw fail("is not where the archive's list has it: the archive is damaged");
  const data = 30 + view.getUint16(26, true) + view.getUint16(28, true);
  const isArray = start.length >= data + 12 && start[data] === 0x93 && String.fromCharCode(...start.subarray(data + 1, data + 6)) === "NUMPY";
  if (!isArray) throw fail("is no array of NumPy");
  const wide = start[data + 6]! > 1;
  const length = wide ? view.getUint32(data + 8, true) : view.getUint16(data + 8, true);
  const first = data + (wide ? 12 : 10);
  if (first + length > start.length) throw fail("has a header that is longer than any of a plain array");
  const header = new TextDecoder().decode(start.subarray(first, first + length));
  const type = /'descr': *'([^']*)'/.exec(header)?.[1] ?? "";
  const shape = /'shape': *\(([\d, ]*)\)/.exec(header)?.[1]?.split(",").map((part) => part.trim()).filter((part) => part !== "").map(Number);
  const dtype = Object.hasOwn(types, type) ? types[type] : undefined;
  if (dtype === undefined || shape === undefined) throw fail(`holds ${type === "" ? "no plain numbers" : `numbers of type ${quote(type)}`}; weights are f2, f4 or f8`);
  if (/'fortran_order': *True/.test(header) && shape.length > 1) throw fail("is stored by columns; save it as numpy.ascontiguousarray");
  const own = first + length - data;
  const expected = shape.reduce((product, size) => product * size, 1) * Number(/\d+$/.exec(type)![0]);
  if (expected !== bytes - own || offset + data + bytes > source.size) throw fail(`has ${bytes - own} bytes of numbers, and its shape [${shape.join(", ")}] takes ${expected}: the archive is damaged`);
  return { dtype, shape, offset: offset + first + length, bytes: expected };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
