import { median, medianRatio, type Interval } from "./statistics.js";

/**
 * `slower`: by more than what is allowed, beyond the noise. `faster`: by as much. `unclear`: the medians differ by more than is allowed and the
 * samples do not carry it. `same`: anything else.
 */
export type VerdictKind = "slower" | "faster" | "unclear" | "same";

export interface Verdict {
  readonly kind: VerdictKind;
  /** median(after) / median(before). */
  readonly ratio: number;
  /** Of that ratio, 95 %. */
  readonly interval: Interval;
  /** One sentence. */
  readonly reason: string;
}

export interface Comparison {
  /** Samples in one unit, in the order in which they were taken. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** The share of `before` by which `after` may be slower: 0.1 for 10 %. */
  readonly allowed: number;
  /** How many times slower the machine itself was at `after`, by its probes: 1 when that is not known. */
  readonly machine: number;
}

/** With fewer samples a bootstrap knows too few values to say anything. */
export const fewestSamples = 5;

/**
 * Whether times have become worse. Noise is not called a change: `slower` and `faster` need the whole 95 % interval of the ratio beyond what is
 * allowed, and `slower` needs it also after taking off what the machine lost.
 */
export function compareTimes({ before, after, allowed, machine }: Comparison): Verdict {
  const ratio = median(after) / median(before);
  const interval = medianRatio(before, after);
  const [most, least] = [1 + allowed, 1 / (1 + allowed)];
  const say = (kind: VerdictKind, reason: string): Verdict => ({ kind, ratio, interval, reason });
  const range = `${percentChange(ratio)} (95 % interval ${percentChange(interval.low)} to ${percentChange(interval.high)})`;
  if (ratio <= most && ratio >= least) return say("same", `${range}, within ${shown(allowed)}`);
  const fewest = Math.min(before.length, after.length);
  if (fewest < fewestSamples) return say("unclear", `${range}, from ${fewest} runs: take at least ${fewestSamples}, better 20 (--runs 20)`);
  if (ratio < least) return interval.high < least ? say("faster", range) : say("unclear", `${range}: within the noise; take more runs (--seconds)`);
  if (interval.low <= most) return say("unclear", `${range}: within the noise; take more runs (--seconds)`);
  const slowed = Math.max(1, machine);
  if (interval.low / slowed <= most) return say("unclear", `${range}, and the machine itself was ${slowed.toFixed(2)} times slower by its probes: measure both again, with nothing else running`);
  return say("slower", `${range}, more than the ${shown(allowed)} allowed`);
}

const shown = (share: number): string => `${Number((share * 100).toFixed(2))} %`;

const percentChange = (ratio: number): string => `${ratio >= 1 ? "+" : "-"}${(Math.abs(ratio - 1) * 100).toFixed(1)} %`;
