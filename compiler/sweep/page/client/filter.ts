import type { Frame } from "./frame.js";
import { cellOf } from "./frame.js";

/** What is typed into the filter: a test of rows, or the sentence that says what is wrong with it. */
export type Filter = { readonly test: (row: number) => boolean } | { readonly problem: string };

/**
 * Comparisons (`p50_ms < 16`, `patch = 16`, `dtype != f16`) and words that the name holds, all of which must be true; `&&` between them may
 * be left out. A row without the number that is asked for does not pass.
 */
export function parseFilter(frame: Frame, text: string): Filter {
  const tests: ((row: number) => boolean)[] = [];
  const names = frame.columns.map(({ name }) => name);
  const pattern = /([\w.]+)\s*(<=|>=|==|!=|<|>|=)\s*("[^"]*"|'[^']*'|[^\s&<>=!]+)|(&&)|([^\s&]+)|(&)/g;
  for (const [part, name, sign, quoted, , word, stray] of text.matchAll(pattern)) {
    if (stray !== undefined) return { problem: "write && between conditions, or nothing" };
    if (name !== undefined && sign !== undefined && quoted !== undefined) {
      if (!names.includes(name)) {
        const near = names.filter((other) => other.includes(name) || name.includes(other)).slice(0, 3);
        return { problem: `there is no column ${name}${near.length > 0 ? `; there is ${near.join(", ")}` : ""}` };
      }
      tests.push(comparisonOf(frame, name, sign, quoted.replace(/^(["'])(.*)\1$/, "$2")));
    } else if (word !== undefined) {
      if (/[<>=!]/.test(word)) return { problem: `${part} is not a comparison: write p50_ms < 16, patch = 16, dtype != f16` };
      const wanted = word.toLowerCase();
      tests.push((row) => String(cellOf(frame, "name", row)).toLowerCase().includes(wanted));
    }
  }
  return { test: (row) => tests.every((test) => test(row)) };
}

export function comparisonOf(frame: Frame, name: string, sign: string, text: string): (row: number) => boolean {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  return (row) => {
    const cell = cellOf(frame, name, row);
    if (cell === null) return false;
    const compared = typeof cell === "number" ? cell - number : String(cell) === text ? 0 : String(cell) < text ? -1 : 1;
    if (Number.isNaN(compared)) return sign === "!=";
    switch (sign) {
      case "<": return compared < 0;
      case "<=": return compared <= 0;
      case ">": return compared > 0;
      case ">=": return compared >= 0;
      case "!=": return compared !== 0;
      default: return compared === 0;
    }
  };
}
