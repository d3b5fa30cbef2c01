/** Rows as text. JSON and the page are made of rows and columns as they are. */
import type { Cell, Column, Row } from "./row.js";

/** A cell as a table shows it: with the digits of its column; empty where it is not known. */
export function cellText({ digits }: Column, value: Cell): string {
  if (value === null || value === false) return "";
  if (value === true) return "*";
  return typeof value === "number" && digits !== undefined ? value.toFixed(digits) : String(value);
}

/** The title of a column with its unit: `p50, ms`. */
export const titleText = ({ title, unit }: Column): string => (unit === "" || unit.startsWith("1") || unit === "share" ? title : `${title}, ${unit}`);

/** Titles, then the cells of each row, as text. */
export const textRows = (rows: readonly Row[], columns: readonly Column[]): readonly (readonly string[])[] => [columns.map(titleText), ...rows.map((row) => columns.map((column) => cellText(column, row[column.name] ?? null)))];

/** A table in Markdown; columns of numbers are set to the right. */
export function markdown(rows: readonly Row[], columns: readonly Column[]): string {
  const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replaceAll(/\s*\n\s*/g, " ");
  const [titles, ...cells] = textRows(rows, columns) as [readonly string[], ...(readonly string[])[]];
  const numeric = columns.map(({ name }) => rows.some((row) => typeof row[name] === "number"));
  return [titles.map(escaped), numeric.map((right) => (right ? "---:" : "---")), ...cells.map((row) => row.map(escaped))].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** RFC 4180, with names of columns in the first line and numbers in full. What is not known is empty. */
export function csv(rows: readonly Row[], columns: readonly Column[]): string {
  const quoted = (value: Cell): string => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns.map(({ name }) => name), ...rows.map((row) => columns.map(({ name }) => row[name] ?? null))].map((row) => row.map(quoted).join(",")).join("\n");
}
