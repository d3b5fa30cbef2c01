/** Elements of a weight file as JavaScript numbers. Every platform with WebGPU is little-endian, like the file. */

import type { SafetensorsType } from "./file-tensors.js";

/** The element types that weights may have; all but F64 fit f32 exactly. */
export type FloatType = "F64" | "F32" | "F16" | "BF16";

export type Floats = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

export const floatTypes: readonly FloatType[] = ["F64", "F32", "F16", "BF16"];

export function isFloatType(dtype: SafetensorsType): dtype is FloatType {
  return (floatTypes as readonly SafetensorsType[]).includes(dtype);
}

/**
 * Decodes exactly: F64 stays f64, the others become f32. The result of F32 and F64 may be a view of `bytes`.
 *
 * @param memory gives memory for f32 values when there is none to view
 */
export function decodeFloats(dtype: FloatType, bytes: Uint8Array<ArrayBuffer>, memory: (size: number) => ArrayBuffer = (size) => new ArrayBuffer(size)): Floats {
  switch (dtype) {
    case "F64": {
      const { buffer, byteOffset, byteLength } = aligned(bytes, 8);
      return new Float64Array(buffer, byteOffset, byteLength / 8);
    }
    case "F32": {
      const { buffer, byteOffset, byteLength } = aligned(bytes, 4);
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    }
    case "F16":
      return decodeHalves(halfWords(bytes), memory);
    case "BF16":
      return decodeBfloats(halfWords(bytes), memory);
    default:
      return dtype satisfies never;
  }
}

/** Position of the first NaN or infinity, or -1. A model with such weights answers with nonsense. */
export function firstNotFinite(values: Floats): number {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value - value !== 0) return i;
  }
  return -1;
}

/** `[3, 17]`: the index of a row-major position, for messages. */
export function indexAt(position: number, shape: readonly number[]): string {
  const index: number[] = [];
  for (let axis = shape.length - 1, rest = position; axis >= 0; axis--) {
    const extent = shape[axis] ?? 1;
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return `[${index.join(", ")}]`;
}

/** Typed arrays need an offset that is a multiple of their element; a file promises none. */
function aligned(bytes: Uint8Array<ArrayBuffer>, element: number): Uint8Array<ArrayBuffer> {
  // Not slice(), by which Node's Buffer gives the same memory.
  return bytes.byteOffset % element === 0 ? bytes : new Uint8Array(bytes);
}

function halfWords(bytes: Uint8Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = aligned(bytes, 2);
  return new Uint16Array(buffer, byteOffset, byteLength / 2);
}

/** bfloat16 is the upper half of f32. */
function decodeBfloats(words: Uint16Array, memory: (size: number) => ArrayBuffer): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(memory(words.length * 4), 0, words.length);
  for (let i = 0; i < words.length; i++) bits[i] = words[i]! << 16;
  return new Float32Array(bits.buffer, 0, bits.length);
}

let halfValues: Float32Array | undefined;

function decodeHalves(words: Uint16Array, memory: (size: number) => ArrayBuffer): Float32Array<ArrayBuffer> {
  const table = (halfValues ??= Float32Array.from({ length: 65536 }, (_, word) => halfValue(word)));
  const values = new Float32Array(memory(words.length * 4), 0, words.length);
  for (let i = 0; i < words.length; i++) values[i] = table[words[i]!]!;
  return values;
}

/** IEEE 754 binary16: 1 bit of sign, 5 of exponent with bias 15, 10 of fraction. */
function halfValue(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
