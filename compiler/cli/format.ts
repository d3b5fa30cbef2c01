/** Numbers and tables as a terminal shows them. */

/** Bytes in MiB with three digits: `21.8 MiB`. */
export const mebibytes = (bytes: number): string => `${digits(bytes / 2 ** 20)} MiB`;

/** Floating point operations in units of 1e9: `2.53 GFLOPs`. */
export const gigaflops = (flops: number): string => `${digits(flops / 1e9)} GFLOPs`;

const digits = (value: number): string => (value >= 1000 ? Math.round(value).toLocaleString("en-US") : value === 0 ? "0" : value.toPrecision(3));

/** `1 file`, `2 files`. */
export const plural = (count: number, noun: string): string => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

/** The first few of a list, and how many more there are: `a, b and 3 more`. */
export function some(names: readonly string[], most = 5): string {
  return names.length <= most ? names.join(", ") : `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
}

/** What is left of a last column that is cut: enough to tell one sentence from another. */
const shortest = 24;

/**
 * Rows as columns two spaces apart; a column whose cells all look like numbers (`12.3 ms`, `2.5e-7`, `116 (95.0 to 142)`) is set to the right. Headings
 * are the first row.
 * @param width columns of the terminal: texts of the last column are cut to what is left of them, and to no less than 24
 */
export function table(rows: readonly (readonly string[])[], width = Infinity): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => row[c]?.length ?? 0)));
  const numeric = Array.from({ length: columns }, (_, c) => rows.slice(1).every((row) => /^[-+]?[\d.,]*(e[-+]?\d+)?( \w+)?( \([\d.,]+ to [\d.,]+\))?$/.test(row[c] ?? "")));
  const room = Math.max(shortest, width - widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 0));
  const cut = (cell: string, c: number): string => (c < columns - 1 || numeric[c] || cell.length <= room ? cell : `${cell.slice(0, room - 3).trimEnd()}...`);
  return rows
    .map((row) => row.map((cell, c) => (numeric[c] ? cell.padStart(widths[c]!) : cut(cell, c).padEnd(c < columns - 1 ? widths[c]! : 0))).join("  ").trimEnd())
    .join("\n");
}
