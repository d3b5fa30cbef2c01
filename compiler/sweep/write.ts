/** Rows as text. JSON and the page are made of rows and columns as they are. */
import type { Cell, Column, Row } from "./row.js";

/** A cell as a table shows it: with the digits of its column, or three significant ones where those would leave fewer than two; empty where it is not known. */
export function cellText({ digits }: Pick<Column, "digits">, value: Cell): string {
  if (value === null || value === false) return "";
  if (value === true) return "*";
  if (typeof value !== "number" || digits === undefined) return String(value);
  return value !== 0 && digits > 0 && Math.abs(value) < 10 ** (1 - digits) ? value.toPrecision(3) : value.toFixed(digits);
}

/** `116 (95.0 to 142)`: a prediction with its band, in three digits, for it knows no more. */
function bandText({ predicted_ms: ms, predicted_low_ms: low, predicted_high_ms: high }: Row): string {
  const text = (value: number): string => (value >= 99.95 ? value.toFixed(0) : value === 0 ? "0" : value.toPrecision(3));
  return ms === null ? "" : low === null || high === null ? text(ms) : `${text(ms)} (${text(low)} to ${text(high)})`;
}

/** The title of a column with its unit: `p50, ms`. */
export const titleText = ({ title, unit }: Column): string => (unit === "" || unit.startsWith("1") || unit === "share" ? title : `${title}, ${unit}`);

/** Titles, then the cells of each row, as text. A prediction stands with its band, unless that has columns of its own. */
export function textRows(rows: readonly Row[], columns: readonly Column[]): readonly (readonly string[])[] {
  const banded = !columns.some(({ name }) => name === "predicted_low_ms" || name === "predicted_high_ms");
  return [columns.map(titleText), ...rows.map((row) => columns.map((column) => (banded && column.name === "predicted_ms" ? bandText(row) : cellText(column, row[column.name] ?? null))))];
}

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
