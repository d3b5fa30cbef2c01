import type { Profile } from "./plan.js";

/** What a dispatch costs besides its arithmetic, in the FLOPs that a mid-range GPU does meanwhile (about 5 microseconds at 2 TFLOP/s). */
const dispatchFlops = 1e7;

/**
 * Which profiles to run, in order, for `count` images: those that cost least together and hold at least as many. The last may be padded.
 * Costs are the plan's FLOPs plus a constant a dispatch.
 */
export function chooseProfiles(profiles: readonly Profile[], count: number): readonly Profile[] {
  const largest = profiles.reduce((a, b) => (b.batch > a.batch ? b : a));
  const chosen: Profile[] = [];
  // Far from the end the largest batch is never worse: it amortises the dispatches over the most images.
  let rest = count;
  while (rest > 2 * largest.batch) {
    chosen.push(largest);
    rest -= largest.batch;
  }
  const cost = (profile: Profile): number => profile.flops + dispatchFlops * profile.dispatches.length;
  const best: { cost: number; profile?: Profile }[] = [{ cost: 0 }];
  for (let n = 1; n <= rest; n++) {
    const options = profiles.map((profile) => ({ cost: cost(profile) + best[Math.max(0, n - profile.batch)]!.cost, profile }));
    best.push(options.reduce((a, b) => (b.cost < a.cost ? b : a)));
  }
  while (rest > 0) {
    const { profile } = best[rest]!;
    chosen.push(profile!);
    rest -= profile!.batch;
  }
  return chosen.sort((a, b) => b.batch - a.batch);
}
