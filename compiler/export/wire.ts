/**
 * Protobuf's wire format (https://protobuf.dev/programming-guides/encoding), as far as ONNX needs it. Messages are lists of chunks, some of
 * which are only reserved: a file larger than memory is laid out before its tensors are read.
 */

/** Room for the bytes of a tensor that are written later. */
export interface Reserved {
  readonly tensor: string;
  readonly length: number;
}

/** A piece of a message; its `length` is in bytes. */
export type Chunk = Uint8Array | Reserved;

/** A field, or a message's fields one after the other. */
export type Chunks = readonly Chunk[];

/** What follows a field's tag. */
const wireType = { varint: 0, lengthDelimited: 2, fixed32: 5 } as const;

const text = new TextEncoder();

/** Bytes of chunks together. */
export const byteLength = (chunks: Chunks): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);

/** Fields of a message in order. */
export const fields = (...parts: readonly Chunks[]): Chunks => parts.flat();

/** A whole number from 0 to 2^53 - 1 as int32, int64 or an enum. */
export const integerField = (field: number, value: number): Chunks => [Uint8Array.from([...varint(tag(field, "varint")), ...varint(value)])];

/** A float, rounded to f32. */
export function floatField(field: number, value: number): Chunks {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return [Uint8Array.from([...varint(tag(field, "fixed32")), ...bytes])];
}

export const stringField = (field: number, value: string): Chunks => messageField(field, [text.encode(value)]);

/** An embedded message, or bytes. */
export const messageField = (field: number, content: Chunks): Chunks => [
  Uint8Array.from([...varint(tag(field, "lengthDelimited")), ...varint(byteLength(content))]),
  ...content,
];

const tag = (field: number, type: keyof typeof wireType): number => field * 8 + wireType[type];

/** Seven bits a byte, the lowest first; the eighth says that more follow. By division: shifts would end at 32 bits. */
function varint(value: number): number[] {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not a whole number from 0 to 2^53 - 1`);
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return bytes;
}
