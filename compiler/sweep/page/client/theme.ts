import type { Cell } from "../../row.js";
import type { Frame } from "./frame.js";
import { cellOf, compareCells, valuesOf } from "./frame.js";

/** Colours of a chart. */
export interface Theme {
  readonly ink: string;
  readonly soft: string;
  readonly line: string;
  readonly card: string;
  /** For texts: told apart by people with any colour vision, and 3 : 1 against the ground. */
  readonly palette: readonly string[];
  /** For numbers, from low to high. */
  readonly ramp: readonly string[];
  readonly font: string;
}

/** How rows are coloured: each value of a column with its colour, a range of numbers, or all alike. */
export type Coloring = { readonly kind: "values"; readonly values: readonly Cell[]; readonly colors: readonly string[] } | { readonly kind: "range"; readonly low: number; readonly high: number; readonly colors: readonly string[] } | { readonly kind: "none" };

export function themeOf(dark: boolean): Theme {
  return dark
    ? { ink: "#e9e6e0", soft: "#a5a19a", line: "#33363b", card: "#1c1e21", palette: ["#6ea3ff", "#f28b5b", "#45c0b2", "#b596f5", "#9ccc56", "#dfb23f", "#ef8fb8", "#97a6ba"], ramp: ["#6f8dff", "#b388f5", "#f07fb0", "#f5905c", "#ecc04f"], font: "system-ui,-apple-system,'Segoe UI',Roboto,sans-serif" }
    : { ink: "#1d1c1a", soft: "#5f5b54", line: "#e3dfd6", card: "#ffffff", palette: ["#2f6fd6", "#c4501b", "#0b8378", "#7b4fc9", "#4d7c0f", "#a16207", "#b83280", "#64748b"], ramp: ["#24308f", "#7a2aa8", "#c2307e", "#d1572f", "#b8860b"], font: "system-ui,-apple-system,'Segoe UI',Roboto,sans-serif" };
}

/** `count` colours of the ramp, evenly spaced. */
export function shadesOf(ramp: readonly string[], count: number): readonly string[] {
  const channels = ramp.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  return Array.from({ length: count }, (_, i) => {
    const at = count === 1 ? 0 : (i / (count - 1)) * (ramp.length - 1);
    const [from, part] = [Math.min(Math.floor(at), ramp.length - 2), at - Math.min(Math.floor(at), ramp.length - 2)];
    return `#${channels[from]!.map((low, channel) => Math.round(low + (channels[from + 1]![channel]! - low) * part).toString(16).padStart(2, "0")).join("")}`;
  });
}

/** The colours of `rows` by a column. Up to eight values have a colour each, whose order shows if they are numbers. */
export function coloringOf(frame: Frame, name: string, rows: readonly number[], theme: Theme): Coloring {
  const values = name === "" ? [] : valuesOf(frame, name, rows);
  if (values.length === 0) return { kind: "none" };
  const numbers = values.filter((value) => typeof value === "number");
  if (values.length <= theme.palette.length) return { kind: "values", values, colors: numbers.length === values.length ? shadesOf(theme.ramp, values.length) : theme.palette.slice(0, values.length) };
  return numbers.length === values.length ? { kind: "range", low: numbers[0]!, high: numbers.at(-1)!, colors: shadesOf(theme.ramp, 33) } : { kind: "none" };
}

export function colorAt(frame: Frame, name: string, row: number, coloring: Coloring, theme: Theme): string {
  const cell = cellOf(frame, name, row);
  if (coloring.kind === "none") return theme.palette[0]!;
  if (cell === null) return theme.soft;
  if (coloring.kind === "values") return coloring.colors[coloring.values.findIndex((value) => compareCells(value, cell) === 0)] ?? theme.soft;
  const part = typeof cell === "number" && coloring.high > coloring.low ? (cell - coloring.low) / (coloring.high - coloring.low) : 0;
  return coloring.colors[Math.round(Math.min(1, Math.max(0, part)) * (coloring.colors.length - 1))]!;
}
