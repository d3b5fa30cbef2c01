import { deflateRawSync } from "node:zlib";
import type { Cell, Column, Row } from "../row.js";
import { codeLetters, type Packed, type PackedColumn } from "./client/frame.js";

/** Columns of which a row of `rows` knows something. Others say nothing, so a page leaves them out. */
export function knownColumns(rows: readonly Row[], columns: readonly Column[]): readonly Column[] {
  return columns.filter(({ name }) => rows.some((row) => (row[name] ?? null) !== null));
}

/**
 * Rows by columns, for a page: numbers with six significant digits, counts in full. A column of few values is written as codes: one letter
 * a row for up to 64 values, two for up to 4096, wherever that is shorter.
 */
export function packRows(rows: readonly Row[], columns: readonly Column[]): Packed {
  return { count: rows.length, columns: columns.map((column) => packColumn(rows, column)) };
}

function packColumn(rows: readonly Row[], { digits, better, ...column }: Column): PackedColumn {
  const cells = rows.map((row) => short(row[column.name] ?? null));
  const described = { ...column, digits: digits ?? null, better: better ?? null };
  const words = [...new Set(cells)];
  if (words.length > 4096) return { ...described, cells };
  const width = words.length <= 64 ? 1 : 2;
  const letters = codeLetters();
  const code = new Map(words.map((word, i) => [word, width === 1 ? letters[i]! : letters[i >> 6]! + letters[i & 63]!]));
  const coded = { words, codes: cells.map((cell) => code.get(cell)!).join("") };
  return words.length * 2 < cells.length || JSON.stringify(coded).length < JSON.stringify({ cells }).length ? { ...described, ...coded } : { ...described, cells };
}

function short(cell: Cell): Cell {
  if (typeof cell !== "number") return cell;
  if (!Number.isFinite(cell)) return null;
  return Number.isInteger(cell) ? cell : Number(cell.toPrecision(6));
}

/** JSON for a `<script>`, of rows of which there are very many. A browser inflates it by itself. */
export function deflated(json: string): string {
  return deflateRawSync(json, { level: 9 }).toString("base64");
}

/** JSON that can stand in a `<script>`: nothing in it ends the element or opens a comment. */
export function scriptJson(json: string): string {
  return json.replaceAll("<", "\\u003c").replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}
