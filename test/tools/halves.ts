import { halfWord } from "../../runtime/half.js";

/** The number that an f16 word means (IEEE 754 binary16). */
export function fromHalf(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const [exponent, mantissa] = [(word >> 10) & 31, word & 1023];
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}

export const fromHalves = (words: Uint16Array): Float32Array<ArrayBuffer> => Float32Array.from(words, fromHalf);

/** The f16 that is nearest. */
export const roundToHalf = (value: number): number => fromHalf(halfWord(value));
