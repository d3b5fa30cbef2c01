/** Rounding to f16 (IEEE 754 binary16), to the nearest, ties to even. */

type HalfArray = new (buffer: ArrayBuffer, offset: number, length: number) => { set(values: ArrayLike<number>): void };

/**
 * Values as f16 words. What is too large becomes an infinity: see `firstBeyondHalf`.
 *
 * @param words where they are put
 */
export function toHalves(values: Float32Array | Float64Array, words: Uint16Array<ArrayBuffer> = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  // Newer engines round by themselves, several times as fast.
  const { Float16Array } = globalThis as { Float16Array?: HalfArray };
  if (Float16Array) {
    new Float16Array(words.buffer, words.byteOffset, words.length).set(values);
    return words;
  }
  for (let i = 0; i < words.length; i++) words[i] = halfWord(values[i]!);
  return words;
}

/**
 * Values [rows, cols] as f16 words, where what a value loses is added to the one below it: each is off by no more than one unit of its own
 * rounding, and the sum of a column by no more than that of its last. Rounded one by one, sums would be off by the square root of the rows.
 *
 * @param words where they are put
 * @param lost what the rows above have lost, by column; in the end what these have
 */
export function toHalvesBalanced(values: Float32Array | Float64Array, cols: number, words: Uint16Array<ArrayBuffer> = new Uint16Array(values.length), lost: Float64Array = new Float64Array(cols)): Uint16Array<ArrayBuffer> {
  for (let i = 0, column = 0; i < words.length; i++, column = column + 1 === cols ? 0 : column + 1) {
    const wanted = values[i]! + lost[column]!;
    const word = halfWord(wanted);
    words[i] = word;
    // What is too large to be rounded is refused by whoever looks for it, and padding stays zero.
    lost[column] = (word & 0x7c00) === 0x7c00 ? 0 : wanted - halfValue(word);
  }
  return words;
}

/** The number that a finite f16 word means; NaN for others. */
export function halfValue(word: number): number {
  const size = word & 0x7fff;
  const value = size < 1024 ? size * 2 ** -24 : (1024 + (size & 1023)) * powers[size >> 10]!;
  return word & 0x8000 ? -value : value;
}

/** Of the exponents of normal numbers: the unit of the mantissa. */
const powers = Float64Array.from({ length: 31 }, (_, exponent) => 2 ** (exponent - 25));

/** The position of the first value that f16 cannot hold, or -1. */
export function firstBeyondHalf(words: Uint16Array): number {
  for (let i = 0; i < words.length; i++) if ((words[i]! & 0x7c00) === 0x7c00) return i;
  return -1;
}

/**
 * Rounds an f64 once. (Through f32 it would be rounded twice, which differs where the first rounding makes a tie.)
 * A normal f16 is a multiple of 2^(exponent - 10), and a subnormal one of 2^-24.
 */
export function halfWord(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -25) return sign;
  const exponent = size < 2 ** -14 ? -14 : exponentOf(size);
  const units = roundEven(size * 2 ** (10 - exponent));
  // A mantissa that was rounded up to 2048 carries into the exponent by itself.
  return sign | (units < 1024 ? units : (exponent + 14) * 1024 + units);
}

const view = new DataView(new ArrayBuffer(8));

/** floor(log2(size)) of a normal f64. */
function exponentOf(size: number): number {
  view.setFloat64(0, size);
  return ((view.getUint16(0) >> 4) & 0x7ff) - 1023;
}

function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
