/** Which variant to measure next. */
import type { Row } from "./row.js";

/** How much further away a variant counts that nothing is expected to beat. */
const frontFactor = 2;
/** How much a step along an axis counts beside a doubling of a cost. */
const axisWeight = 0.5;

/**
 * Chooses the variant that is farthest from those measured so far, in the space of logarithms of costs (operations, bytes, dispatches, tokens)
 * and places on the axes; one that is expected to lie on the Pareto front of parameters and time counts as twice as far. So a short budget
 * covers all of the sweep, thinly, and its promising edge twice as densely.
 */
export class Picker {
  private readonly points: readonly Float64Array[];
  private readonly distances: Float64Array;
  private readonly waiting: Set<number>;
  private front: ReadonlySet<number> = new Set();

  /** @param rows with static columns; `axes` are their names */
  constructor(rows: readonly Row[], axes: readonly string[]) {
    const places = axes.map((axis) => {
      const values = [...new Set(rows.map((row) => row[axis] ?? null))];
      return new Map(values.map((value, i) => [value, values.length === 1 ? 0 : i / (values.length - 1)]));
    });
    this.points = rows.map((row) => Float64Array.from([...[row.gflops, row.moved_mb, row.dispatches, row.tokens].map((cost) => Math.log2(Math.max(cost ?? 0, 1e-9))), ...axes.map((axis, i) => axisWeight * places[i]!.get(row[axis] ?? null)!)]));
    this.distances = new Float64Array(rows.length).fill(Infinity);
    this.waiting = new Set(rows.keys());
  }

  get left(): number {
    return this.waiting.size;
  }

  /** The rows that are expected to lie on the front; they change with every better prediction. */
  expectFront(rows: Iterable<number>): void {
    this.front = new Set(rows);
  }

  /** The next to measure, out of those that `fits` allows; undefined when there is none. It is no longer waiting. */
  take(fits: (at: number) => boolean): number | undefined {
    let [best, most] = [-1, -1];
    for (const at of this.waiting) {
      const score = this.distances[at]! * (this.front.has(at) ? frontFactor : 1);
      if (score > most && fits(at)) [best, most] = [at, score];
    }
    if (best < 0) return undefined;
    this.waiting.delete(best);
    // One under way is as good as measured: the next one should lie elsewhere.
    this.near(best);
    return best;
  }

  /** A row was measured before, or is to be measured by whoever says so. */
  drop(at: number): void {
    if (this.waiting.delete(at)) this.near(at);
  }

  /** A row that has to be measured again. */
  putBack(at: number): void {
    this.waiting.add(at);
  }

  private near(at: number): void {
    const point = this.points[at]!;
    for (const other of this.waiting) {
      const there = this.points[other]!;
      let squares = 0;
      for (let i = 0; i < point.length; i++) squares += (point[i]! - there[i]!) ** 2;
      this.distances[other] = Math.min(this.distances[other]!, Math.sqrt(squares));
    }
  }
}
