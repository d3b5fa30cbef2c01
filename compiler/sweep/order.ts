/** Sorting rows and marking those that no other beats. */
import { nearest, SpecError } from "../spec/errors.js";
import type { Column, Row } from "./row.js";

/** A column to sort by. */
export interface SortKey {
  readonly column: string;
  readonly descending: boolean;
}

/** Reads `p50_ms,-params_m`: a minus is for descending. @throws SpecError for a name that is no column, with the nearest. */
export function parseSort(text: string, columns: readonly Column[]): readonly SortKey[] {
  return text.split(",").map((part) => {
    const descending = part.trim().startsWith("-");
    return { column: columnNamed("--sort", part.trim().slice(descending ? 1 : 0), columns).name, descending };
  });
}

/** Reads `params_m,p50_ms`: two columns or more of which one end is wanted. @throws SpecError */
export function parsePareto(text: string, columns: readonly Column[]): readonly Column[] {
  const found = text.split(",").map((name) => columnNamed("--pareto", name.trim(), columns));
  const aimless = found.find(({ better }) => better === undefined);
  if (aimless) throw new SpecError([{ field: "--pareto", message: `neither more nor less of ${aimless.name} is better; columns with a better end are ${columns.filter(({ better }) => better !== undefined).map(({ name }) => name).join(", ")}` }]);
  if (found.length < 2) throw new SpecError([{ field: "--pareto", message: `takes two columns or more, as --pareto params_m,p50_ms; by ${found[0]!.name} alone rows are sorted: --sort ${found[0]!.name}` }]);
  return found;
}

function columnNamed(option: string, name: string, columns: readonly Column[]): Column {
  const found = columns.find((column) => column.name === name);
  if (found) return found;
  const names = columns.map((column) => column.name);
  const near = nearest(name, names);
  throw new SpecError([{ field: option, message: `${name === "" ? "an empty name" : name} is no column${near === undefined ? `; columns are ${names.join(", ")}` : `; did you mean ${near}?`}` }]);
}

/** What is not known comes last, in either direction. Rows that are equal keep their order. */
export function sortRows(rows: readonly Row[], keys: readonly SortKey[]): readonly Row[] {
  return rows.toSorted((a, b) => {
    for (const { column, descending } of keys) {
      const [left, right] = [a[column] ?? null, b[column] ?? null];
      if (left === right) continue;
      if (left === null) return 1;
      if (right === null) return -1;
      const order = typeof left === "number" && typeof right === "number" ? left - right : String(left) < String(right) ? -1 : 1;
      return descending ? -order : order;
    }
    return 0;
  });
}

/**
 * Marks the rows that no other row of their adapter is at least as good as in every column, and better in one. A row in which one of them is
 * not known has no mark.
 */
export function markPareto(rows: readonly Row[], columns: readonly Column[]): readonly Row[] {
  const factor = columns.map(({ better }) => (better === "more" ? -1 : 1));
  const candidates = rows.flatMap((row, at) => {
    const values = columns.map(({ name }, i) => (typeof row[name] === "number" ? row[name] * factor[i]! : NaN));
    return values.some(Number.isNaN) ? [] : [{ row, at, values }];
  });
  // In the order of the first column only those before can beat a row; and it is enough to look at those that nothing beats.
  const front: (typeof candidates)[number][] = [];
  const marks = new Map<number, boolean>();
  for (const one of candidates.toSorted((a, b) => compareLists(a.values, b.values))) {
    const beaten = front.some(({ row, values }) => row.adapter === one.row.adapter && values.every((value, i) => value <= one.values[i]!) && values.some((value, i) => value < one.values[i]!));
    if (!beaten) front.push(one);
    marks.set(one.at, !beaten);
  }
  return rows.map((row, i) => ({ ...row, pareto: marks.get(i) ?? null }));
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}
