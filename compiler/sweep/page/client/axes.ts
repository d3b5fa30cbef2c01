import type { Column } from "../../row.js";
import type { Frame } from "./frame.js";
import { cellText } from "./frame.js";
import type { Coloring, Theme } from "./theme.js";

export function columnOf(frame: Frame, name: string): Column {
  return frame.columns.find((column) => column.name === name) ?? { name, title: name, unit: "", digits: undefined, better: undefined, kind: "static", about: "" };
}

/** Whether an axis is better read in powers of ten: all above zero, and far apart. */
export function isWide(values: readonly number[]): boolean {
  const [low, high] = extentOf(values);
  return low > 0 && high / low > 30;
}

export function extentOf(values: readonly number[]): readonly [low: number, high: number] {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)] as const, [Infinity, -Infinity] as const);
}

/** `640k`, `2.5M`: what fits under a tick. */
export function tickText(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${Number((value / 1e9).toPrecision(3))}G`;
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

/** An axis of a plot. A logarithmic one is cut at the values, not at powers of ten, which may lie far off. */
export function axisOf(title: string, values: readonly number[], log: boolean, theme: Theme, side: "x" | "y"): object {
  const [low, high] = extentOf(values);
  const margin = (high / low) ** 0.04;
  return {
    type: log ? "log" : "value",
    // A linear axis begins at zero unless that would squeeze the values into its upper half.
    scale: !log && (low > (high - low) || low < 0),
    ...(log && Number.isFinite(margin) ? { min: Number((low / margin).toPrecision(3)), max: Number((high * margin).toPrecision(3)) } : {}),
    name: title,
    nameLocation: "middle",
    nameGap: side === "x" ? 28 : 48,
    nameTextStyle: { color: theme.ink, fontSize: 13, fontFamily: theme.font },
    axisLabel: { color: theme.soft, fontFamily: theme.font, formatter: tickText, hideOverlap: true, ...(log ? { showMinLabel: false, showMaxLabel: false } : {}) },
    axisLine: { show: true, lineStyle: { color: theme.soft } },
    axisTick: { show: true, lineStyle: { color: theme.soft } },
    minorTick: { show: log, splitNumber: 9 },
    splitLine: { show: true, lineStyle: { color: theme.line } },
  };
}

/** What colours mean: a legend of values, or a scale of numbers. */
export function legendOf(frame: Frame, color: string, coloring: Coloring, theme: Theme, series: readonly number[], dimension: number): object {
  const column = columnOf(frame, color);
  const text = { color: theme.ink, fontFamily: theme.font };
  if (coloring.kind === "values") {
    // No heading is part of a legend, so the first entry carries the column's name as a title.
    return { legend: { type: "scroll", top: 0, left: 8, right: 8, itemWidth: 14, textStyle: text, pageTextStyle: text, pageIconColor: theme.ink, pageIconInactiveColor: theme.line, inactiveColor: theme.soft, data: coloring.values.map((value) => groupName(column, value)), icon: "circle" } };
  }
  if (coloring.kind === "none") return {};
  return { visualMap: { type: "continuous", seriesIndex: series, dimension, min: coloring.low, max: coloring.high, orient: "horizontal", top: 0, left: "center", itemWidth: 12, itemHeight: 140, calculable: false, text: [cellText(column, coloring.high), `${column.title}  ${cellText(column, coloring.low)}`], inRange: { color: coloring.colors }, textStyle: text, padding: 0 } };
}

/** `depth 12`. */
export function groupName(column: Pick<Column, "title" | "digits">, value: string | number | boolean | null): string {
  return `${column.title} ${cellText(column, value)}`;
}
