/** A robust fit of positive factors to measured times, and how well it does on what it has not seen. It knows no plan and no adapter. */
import { generator, median, quantile } from "./statistics.js";

/** One measured time, and what its parts were expected to take. */
export interface Observation {
  /** Milliseconds of each part, not negative. */
  readonly parts: readonly number[];
  readonly ms: number;
}

/** How far factors are from their prior, in natural logarithms: one in three is farther than by e^0.5. */
const priorSpread = 0.5;
/** Times are not known better than this: smaller residuals are not taken for more certain. */
const leastSpread = 0.03;
const mostSteps = 100;
const folds = 10;
/** Times that differ by less have no order worth predicting. */
const clearRatio = 1.1;

/** What is expected to take less than a millionth of a microsecond is no observation, and its logarithm no number to compute with. */
const leastMilliseconds = 1e-9;

/**
 * Factors theta > 0 for which sum_k theta_k parts_k is near the times: least squares of log(expected / ms) with Cauchy's weights, which make
 * nothing of outliers, and of log(theta / prior), likewise, for a probe may be an outlier as well; by Gauss-Newton over log(theta). Without observations these are the prior; parts that no
 * observation has stay there. Observations that are no numbers, or not above 0, or that the prior expects to take no time, are left out.
 *
 * @param prior above 0, one a part
 */
export function fitFactors(observations: readonly Observation[], prior: readonly number[]): readonly number[] {
  const usable = observations.filter(({ parts, ms }) => ms > 0 && Number.isFinite(ms) && parts.every((part) => part >= 0 && Number.isFinite(part)) && expectedOf(parts, prior) > leastMilliseconds);
  if (usable.length === 0) return prior;
  const own = prior.map(Math.log);
  // Everything may be off by one factor, as on a machine that is busy: what the prior says is where factors are to each other.
  const shifted = (logarithms: readonly number[]): readonly number[] => {
    const shift = median(usable.map((one) => residual(one, logarithms)));
    return logarithms.map((value) => value - shift);
  };
  const start = shifted(own);
  // Weights that let go of outliers also let a search stay where it began, so it begins a second time where no factor is special.
  const found = [start, shifted(own.map(() => 0))].map((from) => search(usable, from, start));
  const [first, second] = found.map((at) => cost(usable, at, start)) as [number, number];
  return (first <= second ? found[0]! : found[1]!).map(Math.exp);
}

function search(observations: readonly Observation[], from: readonly number[], start: readonly number[]): readonly number[] {
  let at = from;
  for (let step = 0; step < mostSteps; step++) {
    const residuals = observations.map((one) => residual(one, at));
    const moved = improve(observations, residuals, { at, start, spread: spreadOf(residuals) });
    const farthest = Math.max(...moved.map((value, i) => Math.abs(value - at[i]!)));
    at = moved;
    if (farthest < 1e-9) break;
  }
  return at;
}

/** What Cauchy's weights minimise, for times known to a tenth. */
function cost(observations: readonly Observation[], at: readonly number[], start: readonly number[]): number {
  const lost = (distance: number, spread: number): number => Math.log1p((distance / spread) ** 2);
  return observations.reduce((sum, one) => sum + lost(residual(one, at), 0.1), 0) + at.reduce((sum, value, i) => sum + lost(value - start[i]!, priorSpread), 0);
}

interface State {
  /** Logarithms of the factors, and of where the prior has them. */
  readonly at: readonly number[];
  readonly start: readonly number[];
  readonly spread: number;
}

/** One step of Gauss-Newton: the normal equations of weighted residuals, whose derivatives are the parts' shares, and of the prior. */
function improve(observations: readonly Observation[], residuals: readonly number[], { at, start, spread }: State): readonly number[] {
  const n = at.length;
  const trust = at.map((value, i) => 1 / (priorSpread ** 2 + (value - start[i]!) ** 2));
  const matrix = at.map((_, i) => at.map((__, j) => (i === j ? trust[i]! : 0)));
  const right = at.map((value, i) => (start[i]! - value) * trust[i]!);
  observations.forEach(({ parts }, k) => {
    const r = residuals[k]!;
    const weight = 1 / (spread ** 2 + r ** 2);
    const total = expectedOf(parts, at.map(Math.exp));
    const shares = parts.map((part, i) => (Math.exp(at[i]!) * part) / total);
    for (let i = 0; i < n; i++) {
      right[i]! -= weight * shares[i]! * r;
      for (let j = 0; j < n; j++) matrix[i]![j]! += weight * shares[i]! * shares[j]!;
    }
  });
  // A factor of e a step at most, for far from the solution the linear model is worth little.
  return solve(matrix, right).map((change, i) => at[i]! + Math.min(1, Math.max(-1, change)));
}

const expectedOf = (parts: readonly number[], factors: readonly number[]): number => parts.reduce((sum, part, i) => sum + part * factors[i]!, 0);

/** log(expected / ms). */
const residual = ({ parts, ms }: Observation, logarithms: readonly number[]): number => Math.log(expectedOf(parts, logarithms.map(Math.exp)) / ms);

/** The solution of a symmetric positive definite system, by Cholesky. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): readonly number[] {
  const n = right.length;
  const lower = matrix.map((row) => [...row]);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = lower[i]![j]!;
      for (let k = 0; k < j; k++) sum -= lower[i]![k]! * lower[j]![k]!;
      lower[i]![j] = i === j ? Math.sqrt(sum) : sum / lower[j]![j]!;
    }
  }
  const solution = [...right];
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) solution[i]! -= lower[i]![k]! * solution[k]!;
    solution[i]! /= lower[i]![i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) solution[i]! -= lower[k]![i]! * solution[k]!;
    solution[i]! /= lower[i]![i]!;
  }
  return solution;
}

/** The deviation of residuals from 0 that outliers do not raise: of a normal distribution, its standard deviation. */
export const spreadOf = (residuals: readonly number[]): number => Math.max(leastSpread, 1.4826 * median(residuals.map(Math.abs)));

/** How predictions were off. */
export interface Accuracy {
  readonly count: number;
  /** Of |predicted / measured - 1|. */
  readonly medianError: number;
  readonly p90Error: number;
  /** Pairs whose measured times differ by more than 10 %, and the share of them that were predicted in the right order; 1 where there are none. */
  readonly pairs: number;
  readonly ordered: number;
}

export interface HeldOut extends Accuracy {
  /** log(predicted / measured), in the order of the observations. */
  readonly errors: readonly number[];
}

/** @throws RangeError for no predictions */
export function accuracyOf(predicted: readonly number[], measured: readonly number[]): Accuracy {
  const errors = predicted.map((value, i) => Math.abs(value / measured[i]! - 1));
  let [pairs, right] = [0, 0];
  for (let i = 0; i < measured.length; i++) {
    for (let j = 0; j < i; j++) {
      const ratio = measured[i]! / measured[j]!;
      if (ratio <= clearRatio && ratio >= 1 / clearRatio) continue;
      pairs++;
      if ((predicted[i]! - predicted[j]!) * (measured[i]! - measured[j]!) > 0) right++;
    }
  }
  return { count: measured.length, medianError: median(errors), p90Error: quantile(errors, 0.9), pairs, ordered: pairs === 0 ? 1 : right / pairs };
}

/**
 * Each observation predicted by a fit to others: to all others where there are few, else to nine tenths of them. The same observations
 * always fall into the same folds.
 * @throws RangeError for fewer than two observations
 */
export function heldOut(observations: readonly Observation[], prior: readonly number[]): HeldOut {
  if (observations.length < 2) throw new RangeError("nothing is left to fit to when one of fewer than two observations is held out");
  const count = Math.min(folds, observations.length);
  const random = generator(observations.length);
  const order = observations.map((_, i) => [random(), i] as const).sort((a, b) => a[0] - b[0]);
  const foldOf = new Map(order.map(([, i], rank) => [i, rank % count]));
  const predicted = new Array<number>(observations.length);
  for (let fold = 0; fold < count; fold++) {
    const factors = fitFactors(observations.filter((_, i) => foldOf.get(i) !== fold), prior);
    observations.forEach(({ parts }, i) => {
      if (foldOf.get(i) === fold) predicted[i] = expectedOf(parts, factors);
    });
  }
  const measured = observations.map(({ ms }) => ms);
  return { ...accuracyOf(predicted, measured), errors: predicted.map((value, i) => Math.log(value / measured[i]!)) };
}
