/**
 * Random numbers that are the same on every machine and engine. Nothing here calls Math.log, sin or cos, whose last bit the
 * language leaves to the engine: only + - * / and sqrt, which IEEE 754 rounds in one way.
 */
import { createHash } from "node:crypto";

export type RandomState = readonly [number, number, number, number];

/** The state of the stream that belongs to a seed and a name: 128 bits of their SHA-256, so that streams do not overlap. */
export function randomState(seed: number, name: string): RandomState {
  const digest = createHash("sha256").update(`${seed}\n${name}`).digest();
  return [digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8), digest.readUInt32LE(12)];
}

/** xoshiro128** 1.1 by Blackman and Vigna (https://prng.di.unimi.it/xoshiro128starstar.c), and the distributions drawn from it. */
export class RandomStream {
  private a: number;
  private b: number;
  private c: number;
  private d: number;
  /** Normals come in pairs. */
  private spare: number | undefined;

  /** @param state four 32-bit words, not all zero. */
  constructor(state: RandomState) {
    [this.a, this.b, this.c, this.d] = [state[0] | 0, state[1] | 0, state[2] | 0, state[3] | 0];
    if ((this.a | this.b | this.c | this.d) === 0) throw new RangeError("a random state of four zeros yields only zeros");
  }

  /** 0 to 2^32 - 1. */
  uint32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.b, 5), 7), 9) >>> 0;
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = rotateLeft(this.d, 11);
    return result;
  }

  /** Uniform in [0, 1), with 53 random bits. */
  uniform(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Normal with mean 0 and standard deviation 1, by Marsaglia's polar method. */
  normal(): number {
    const spare = this.spare;
    if (spare !== undefined) {
      this.spare = undefined;
      return spare;
    }
    for (;;) {
      const x = 2 * this.uniform() - 1;
      const y = 2 * this.uniform() - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * naturalLog(square)) / square);
      this.spare = y * factor;
      return x * factor;
    }
  }

  /** Normal, drawn again until it lies within `cut` standard deviations. */
  truncatedNormal(cut: number): number {
    for (;;) {
      const z = this.normal();
      if (Math.abs(z) <= cut) return z;
    }
  }
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

/** artanh r = r (1 + r^2 / 3 + r^4 / 5 + ...): with |r| < 0.1716 the first term left out, r^22 / 23, is below 1e-18. */
const artanhSeries: readonly number[] = [1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11, 1 / 13, 1 / 15, 1 / 17, 1 / 19, 1 / 21];

/** ln x for 0 < x < 1, to a few units in the last place: ln(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1)). */
function naturalLog(x: number): number {
  let mantissa = x;
  let exponent = 0;
  for (; mantissa < Math.SQRT1_2; mantissa *= 2) exponent--;
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let series = 0;
  for (let i = artanhSeries.length - 1; i >= 0; i--) series = series * square + artanhSeries[i]!;
  return exponent * Math.LN2 + 2 * ratio * series;
}
