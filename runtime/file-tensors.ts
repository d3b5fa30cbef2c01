/** The tensors of a weight file, in the words of safetensors: element types, and where each tensor lies. */

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
