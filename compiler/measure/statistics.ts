/** What samples of a time say, and how sure it is. */

/** Of samples in one unit. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly p50: number;
  readonly p95: number;
  readonly mean: number;
}

/**
 * The value below which a share `q` of the samples lies, linear between neighbours (the definition of numpy.quantile).
 * @throws RangeError for no samples, and for a share that is not within 0 to 1.
 */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) throw new RangeError("no samples have no quantile");
  if (!(q >= 0 && q <= 1)) throw new RangeError(`a quantile is from 0 to 1, not ${q}`);
  return sortedQuantile(Float64Array.from(samples).sort(), q);
}

function sortedQuantile(sorted: Float64Array, q: number): number {
  const at = q * (sorted.length - 1);
  const below = Math.floor(at);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  // Written so that equal neighbours give exactly their value.
  return low + (high - low) * (at - below);
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** @throws RangeError for no samples. */
export function summarize(samples: readonly number[]): Summary {
  const sorted = Float64Array.from(samples).sort();
  return { count: samples.length, min: quantile(samples, 0), p50: quantile(samples, 0.5), p95: quantile(samples, 0.95), mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length };
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const resamples = 1000;

/**
 * The 95 % interval of median(after) / median(before), by a circular block bootstrap: runs that follow each other share what else the machine
 * did meanwhile, so they are drawn in blocks of n^(1/3) and not one by one, which would take a drift for many independent observations.
 * (Politis and Romano, 1992.) The same samples always give the same interval.
 * @throws RangeError if either has no samples.
 */
export function medianRatio(before: readonly number[], after: readonly number[]): Interval {
  if (before.length === 0 || after.length === 0) throw new RangeError("a ratio needs samples on both sides");
  const random = generator(before.length * 7919 + after.length);
  const ratios = Float64Array.from({ length: resamples }, () => resampledMedian(after, random) / resampledMedian(before, random)).sort();
  return { low: sortedQuantile(ratios, 0.025), high: sortedQuantile(ratios, 0.975) };
}

function resampledMedian(samples: readonly number[], random: () => number): number {
  const n = samples.length;
  const block = Math.max(1, Math.round(Math.cbrt(n)));
  const drawn = new Float64Array(n);
  for (let i = 0; i < n; i += block) {
    const start = Math.floor(random() * n);
    for (let j = i; j < Math.min(n, i + block); j++) drawn[j] = samples[(start + j - i) % n]!;
  }
  return sortedQuantile(drawn.sort(), 0.5);
}

/** Uniform in [0, 1): mulberry32 by Tommy Ettinger. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
