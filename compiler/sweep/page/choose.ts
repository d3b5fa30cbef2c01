import { nearest, SpecError } from "../../spec/errors.js";
import type { Column, Row } from "../row.js";
import { type Frame } from "./client/frame.js";
import { frontsOf, pointsOf, type Wanted } from "./client/points.js";

/** What the page shows at first, and what a reader may choose from. */
export interface PageChoice {
  readonly x: string;
  readonly y: string;
  /** Which ends of the two the front is of. */
  readonly want: { readonly x: Wanted; readonly y: Wanted };
  readonly color: string;
  readonly cost: string;
  /** Columns for the two axes of the plot, for colours, and for the cost by tokens. */
  readonly numeric: readonly Column[];
  readonly colors: readonly Column[];
  readonly costs: readonly Column[];
  /** Columns of the table and axes of the parallel coordinates, by name. */
  readonly table: readonly string[];
  readonly parallel: readonly string[];
}

/** Whether there are numbers to draw: what could not be planned or measured may still have been counted. */
export const isDrawn = ({ failed, gmacs }: Row): boolean => failed === null || gmacs !== null;

/** Rows by columns, for charts. */
export function frameOf(rows: readonly Row[], columns: readonly Column[]): Frame {
  return { columns, count: rows.length, cells: new Map(columns.map(({ name }) => [name, rows.map((row) => row[name] ?? null)])) };
}

/**
 * What a page of these rows shows at first, as far as `asked` leaves it open.
 * @param columns those of which a row knows something
 * @throws SpecError when `asked` names a column that is none of these, or one without numbers for an axis
 */
export function chosen(rows: readonly Row[], columns: readonly Column[], asked: { readonly x?: string; readonly y?: string; readonly color?: string }): PageChoice {
  const values = new Map(columns.map(({ name }) => [name, new Set(rows.map((row) => row[name] ?? null).filter((cell) => cell !== null))]));
  const numeric = columns.filter(({ name }) => rows.some((row) => typeof row[name] === "number"));
  const isNumeric = (column: Column): boolean => numeric.includes(column);
  const varies = ({ name }: Column): boolean => (values.get(name)?.size ?? 0) > 1;
  const has = (name: string): boolean => columns.some((column) => column.name === name);
  // Where nothing was measured, the column of p50 is still there to be chosen: predictions stand in for it.
  const time = has("p50_ms") ? "p50_ms" : "predicted_ms";
  const few = columns.filter((column) => varies(column) && (isNumeric(column) || values.get(column.name)!.size <= 8));
  const pick = (field: "x" | "y", ...wanted: readonly string[]): string => {
    const own = asked[field];
    if (own !== undefined) return checked(field, own, numeric, columns);
    return wanted.find((name) => numeric.some((column) => column.name === name)) ?? numeric[0]?.name ?? "name";
  };
  const [x, y] = has("metric") ? [pick("x", time, "gmacs"), pick("y", "metric")] : [pick("x", "params_m", "gmacs", "tokens"), pick("y", time, "gmacs", "activation_mb")];
  const axes = few.filter(({ kind }) => kind === "axis");
  const color = asked.color === undefined ? (axes.find(({ name }) => values.get(name)!.size <= 8)?.name ?? axes[0]?.name ?? "") : asked.color === "" ? "" : checked("color", asked.color, few, columns);
  const costs = numeric.filter(({ name }) => ["p50_ms", "predicted_ms", "first_ms", "gmacs", "activation_mb", "moved_mb", "params_m"].includes(name));
  const inTable = new Set(["name", "tokens", "params_m", "weights_mb", "gmacs", "attention_share", "activation_mb", "predicted_ms", "p50_ms", "images_per_s", "metric", "adapter"]);
  const inParallel = ["tokens", "params_m", "gmacs", "attention_share", "activation_mb", time, "metric"];
  return {
    x,
    y,
    // Where nothing says how good a variant is, its size stands in for that: the page opens on what a time can buy.
    want: { x: !has("metric") && asked.x === undefined && x === "params_m" ? "more" : better(columns, x), y: better(columns, y) },
    color,
    cost: [time, "gmacs"].find(has) ?? costs[0]?.name ?? y,
    numeric,
    colors: few.filter(({ kind }) => kind !== "name" && kind !== "failed"),
    costs: costs.length > 0 ? costs : numeric,
    table: columns.filter((column) => column.name === "name" || (varies(column) && (column.kind === "axis" || inTable.has(column.name)))).map(({ name }) => name),
    parallel: [...axes.map(({ name }) => name).slice(0, 7), ...inParallel.filter((name) => !axes.some((axis) => axis.name === name) && columns.some((column) => column.name === name && varies(column)))].slice(0, 12),
  };
}

/** @throws SpecError that names the field, what it is, and what is there instead */
export function checked(field: string, name: string, allowed: readonly Column[], columns: readonly Column[]): string {
  if (allowed.some((column) => column.name === name)) return name;
  const known = columns.some((column) => column.name === name);
  const names = allowed.map((column) => column.name);
  const near = nearest(name, names);
  const others = near !== undefined && !known ? `did you mean ${near}?` : names.length > 0 ? `there is ${names.join(", ")}` : "there is no column that can";
  throw new SpecError([{ field, message: `${known ? `${name} cannot be drawn there` : `no row has a value in a column ${name}`}; ${others}` }]);
}

/** The end of a column that is wanted: the lower one where it has none. */
export const better = (columns: readonly Column[], name: string): Wanted => columns.find((column) => column.name === name)?.better ?? "less";

/** Indices of the rows on the Pareto front of the plot as it opens. */
export function frontRows(rows: readonly Row[], columns: readonly Column[], { x, y, want }: PageChoice): readonly number[] {
  const needed = new Set([x, y, "adapter", "p50_ms", "predicted_ms", "predicted_low_ms", "predicted_high_ms"]);
  const frame = frameOf(rows, columns.filter(({ name }) => needed.has(name)));
  return frontsOf(frame, pointsOf(frame, rows.map((_, i) => i), x, y, true), want.x, want.y).flat().map(({ row }) => row);
}
