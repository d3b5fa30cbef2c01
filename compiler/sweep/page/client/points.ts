import type { Cell } from "../../row.js";
import type { Frame } from "./frame.js";
import { cellOf } from "./frame.js";

/** A number of a row, and the band in which it lies: of no width where it was measured or counted. */
export interface Reading {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly predicted: boolean;
}

/** A row as a point of a plot. */
export interface Point {
  readonly row: number;
  readonly x: Reading;
  readonly y: Reading;
}

export type Wanted = "less" | "more";

/** What a row says in a column. With `predictions`, a row without a measured p50 says what is predicted for it. */
export function readingOf(frame: Frame, name: string, row: number, predictions: boolean): Reading | null {
  const number = (column: string): number | null => {
    const cell = cellOf(frame, column, row);
    return typeof cell === "number" && Number.isFinite(cell) ? cell : null;
  };
  const value = number(name);
  if (value !== null) {
    if (name !== "predicted_ms") return { value, low: value, high: value, predicted: false };
    return { value, low: number("predicted_low_ms") ?? value, high: number("predicted_high_ms") ?? value, predicted: true };
  }
  return name === "p50_ms" && predictions ? readingOf(frame, "predicted_ms", row, true) : null;
}

/** The rows that have both numbers. */
export function pointsOf(frame: Frame, rows: readonly number[], x: string, y: string, predictions: boolean): readonly Point[] {
  return rows.flatMap((row) => {
    const [across, up] = [readingOf(frame, x, row, predictions), readingOf(frame, y, row, predictions)];
    return across === null || up === null ? [] : [{ row, x: across, y: up }];
  });
}

/** A front for each adapter, as times on different ones are no rivals; rows without one are then by themselves. */
export function frontsOf(frame: Frame, points: readonly Point[], x: Wanted, y: Wanted): readonly (readonly Point[])[] {
  const adapters = new Map<Cell, Point[]>();
  for (const point of points) {
    const adapter = cellOf(frame, "adapter", point.row);
    const known = adapters.get(adapter);
    if (known === undefined) adapters.set(adapter, [point]);
    else known.push(point);
  }
  const several = [...adapters.keys()].filter((adapter) => adapter !== null).length > 1;
  return (several ? [...adapters.values()] : [points]).map((own) => frontOf(own, x, y));
}

/**
 * The Pareto front, from the best x on: points that no other point equals or beats in both with one of them better. Of equal points all stay.
 */
export function frontOf(points: readonly Point[], x: Wanted, y: Wanted): readonly Point[] {
  const [across, up] = [x === "less" ? 1 : -1, y === "less" ? 1 : -1];
  const sorted = [...points].sort((a, b) => across * (a.x.value - b.x.value) || up * (a.y.value - b.y.value) || a.row - b.row);
  const front: Point[] = [];
  for (const point of sorted) {
    const last = front.at(-1);
    const equal = last !== undefined && last.x.value === point.x.value && last.y.value === point.y.value;
    if (last === undefined || equal || up * (point.y.value - last.y.value) < 0) front.push(point);
  }
  return front;
}
