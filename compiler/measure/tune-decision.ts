/** Whether a way to do a routine is worth a switch. */
import { median, medianRatio, type Interval } from "./statistics.js";

/** How a way did against the untuned one. */
export interface TunedAlternative {
  readonly name: string;
  /** `wrong`: its outputs differ. `slower`: not faster. `unmeasured`: it was not tried. */
  readonly verdict: "switched" | "slower" | "too little" | "unclear" | "wrong" | "unmeasured";
  /** Its time over that of the untuned way: medians, or where a few samples settled it the least of each. Of the routine, or of the run where routines are not timed. */
  readonly ratio: number | null;
  /** Of that ratio, 95 %. Null where a few samples settled it. */
  readonly interval: Interval | null;
  /** One sentence. */
  readonly reason: string;
}

/** A switch must save this share of the routine's own time. */
export const leastGain = 0.05;

export interface DecideOptions {
  /** Microseconds of the untuned way and of the other, in the order in which they were taken. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** What the routine itself takes, in the same unit: samples may be of whole runs. */
  readonly own: number;
}

/** What is saved, as a share of the routine's own time. */
export const gainOf = ({ before, after, own }: DecideOptions): number => (median(before) - median(after)) / Math.max(own, 1e-9);

/** Whether samples carry a switch: it must save at least `leastGain` of the routine's own time, and more than noise could make up. */
export function decide({ before, after, own }: DecideOptions): Omit<TunedAlternative, "name"> {
  const ratio = median(after) / median(before);
  const interval = medianRatio(before, after);
  const gain = gainOf({ before, after, own });
  const range = `${changeOf(ratio)} (95 % interval ${changeOf(interval.low)} to ${changeOf(interval.high)})`;
  const say = (verdict: TunedAlternative["verdict"], reason: string): Omit<TunedAlternative, "name"> => ({ verdict, ratio, interval, reason });
  if (gain <= 0) return say("slower", `${range}, not faster`);
  if (interval.high >= 1) return say("unclear", `${range}, within the noise`);
  if (gain < leastGain) return say("too little", `${range}, less than the ${percentOf(leastGain)} that a switch must save`);
  return say("switched", range);
}

/** `5 %`. */
export const percentOf = (share: number): string => `${Number((share * 100).toPrecision(2))} %`;

/** `-21.3 %` for a ratio of 0.787. */
export const changeOf = (ratio: number): string => `${ratio >= 1 ? "+" : "-"}${(Math.abs(ratio - 1) * 100).toFixed(1)} %`;
