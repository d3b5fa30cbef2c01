/**
 * What charts and the table are drawn from: rows by columns, packed into a page and unpacked in it. All functions of this folder are written
 * into the page by their own text (`script.ts`), so each may use its parameters, the browser, and other functions of the folder, and nothing else.
 */
import type { Cell, Column } from "../../row.js";

export interface Frame {
  readonly columns: readonly Column[];
  readonly count: number;
  /** By column name, a cell a row. */
  readonly cells: ReadonlyMap<string, readonly Cell[]>;
}

/** A column with its cells: one by one, or as codes of `codes.length / count` letters each, which count in `words`. */
export interface PackedColumn extends Omit<Column, "digits" | "better"> {
  readonly digits: number | null;
  readonly better: "less" | "more" | null;
  readonly cells?: readonly Cell[];
  readonly words?: readonly Cell[];
  readonly codes?: string;
}

export interface Packed {
  readonly count: number;
  readonly columns: readonly PackedColumn[];
}

/** The 64 digits of codes. */
export function codeLetters(): string {
  return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}

export function unpackFrame({ count, columns }: Packed): Frame {
  const value = new Map([...codeLetters()].map((letter, i) => [letter, i]));
  const cells = new Map<string, readonly Cell[]>();
  for (const { name, cells: own, words, codes } of columns) {
    if (own !== undefined) cells.set(name, own);
    else if (words !== undefined && codes !== undefined) {
      const width = codes.length / count;
      cells.set(name, Array.from({ length: count }, (_, row) => words[[...codes.slice(row * width, (row + 1) * width)].reduce((code, letter) => code * 64 + value.get(letter)!, 0)]!));
    }
  }
  const described = columns.map(({ digits, better, name, title, unit, kind, about }): Column => ({ name, title, unit, kind, about, digits: digits ?? undefined, better: better ?? undefined }));
  return { count, columns: described, cells };
}

export function cellOf(frame: Frame, name: string, row: number): Cell {
  return frame.cells.get(name)?.[row] ?? null;
}

/** A cell as a person reads it; an empty text for what is not known. */
export function cellText(column: Pick<Column, "digits">, cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "boolean") return cell ? "yes" : "no";
  if (typeof cell === "string") return cell;
  if (column.digits === undefined) return Number.isInteger(cell) ? String(cell) : String(Number(cell.toPrecision(4)));
  // What would round to nothing keeps two digits.
  if (cell !== 0 && Math.abs(cell) < 0.5 * 10 ** -column.digits) return cell.toPrecision(2);
  return cell.toLocaleString("en-US", { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits });
}

/** `p50 (ms)`. A unit that is a sentence of its own is left to the column's description. */
export function titleOf({ title, unit }: Pick<Column, "title" | "unit">): string {
  return unit === "" || unit.length > 6 ? title : `${title} (${unit})`;
}

/** Numbers by size, texts by letters, numbers before texts. */
export function compareCells(a: Cell, b: Cell): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === typeof b) return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
  return typeof a === "number" ? -1 : typeof b === "number" ? 1 : String(a) < String(b) ? -1 : 1;
}

/**
 * `rows` in an order of which every beginning is a fair sample: by multiples of the golden ratio, which keep no step with the periods of a
 * grid. Every n-th row of a grid may be all of one image size.
 */
export function scattered(rows: readonly number[]): readonly number[] {
  const place = (index: number): number => Math.imul(index, 2654435761) >>> 0;
  return rows.map((row, index) => [place(index), row] as const).sort(([a], [b]) => a - b).map(([, row]) => row);
}

/** All values that a column has in `rows`, in order, without `null`. */
export function valuesOf(frame: Frame, name: string, rows: readonly number[]): readonly Cell[] {
  const all = frame.cells.get(name) ?? [];
  return [...new Set(rows.map((row) => all[row] ?? null))].filter((cell) => cell !== null).sort(compareCells);
}
