import type { EChartsOption } from "echarts";
import type { Cell } from "../../row.js";
import { columnOf, extentOf, isWide, tickText } from "./axes.js";
import { cellOf, cellText, scattered, titleOf, valuesOf, type Frame } from "./frame.js";
import { readingOf } from "./points.js";
import { colorAt, coloringOf, type Theme } from "./theme.js";

/** A range that was marked on an axis: of its values, or of the places of its values where it has few. */
export type Interval = readonly [low: number, high: number];

/** Lines that are drawn at most: more are a surface, and slow. */
export function mostLines(): number {
  return 1000;
}

/** The values of an axis that has its ticks at these, one of texts or of few numbers; `null` for an axis of numbers. */
export function ticksOf(frame: Frame, rows: readonly number[], name: string): readonly Cell[] | null {
  const values = valuesOf(frame, name, rows);
  return values.some((value) => typeof value !== "number") || (columnOf(frame, name).kind === "axis" && values.length <= 8) ? values : null;
}

/** The rows that pass through a marked range of each axis that has any; `null` where nothing is marked. */
export function passing(frame: Frame, rows: readonly number[], names: readonly string[], marked: readonly (readonly Interval[])[]): ReadonlySet<number> | null {
  if (marked.every((intervals) => intervals.length === 0)) return null;
  const tests = names.flatMap((name, i) => {
    const intervals = marked[i] ?? [];
    if (intervals.length === 0) return [];
    const ticks = ticksOf(frame, rows, name);
    const at = (row: number): number => (ticks === null ? (readingOf(frame, name, row, true)?.value ?? NaN) : ticks.indexOf(cellOf(frame, name, row)));
    return [(row: number): boolean => intervals.some(([low, high]) => at(row) >= low && at(row) <= high)];
  });
  return new Set(rows.filter((row) => tests.every((test) => test(row))));
}

/** Parallel coordinates: an axis a column, a line a row, or a sample of very many rows. On a narrow screen axes lie below each other. */
export function parallelChart(frame: Frame, rows: readonly number[], names: readonly string[], color: string, theme: Theme, narrow: boolean): EChartsOption {
  const coloring = coloringOf(frame, color, rows, theme);
  const cellAt = (name: string, row: number): number | string => {
    const cell = readingOf(frame, name, row, true)?.value ?? cellOf(frame, name, row);
    return cell === null ? "-" : typeof cell === "number" && !few.has(name) ? cell : cellText({ digits: undefined }, cell);
  };
  const few = new Map(names.flatMap((name) => {
    const ticks = ticksOf(frame, rows, name);
    return ticks === null ? [] : [[name, ticks] as const];
  }));
  const drawn = rows.length <= mostLines() ? rows : scattered(rows).slice(0, mostLines());
  const axes = names.map((name, dim) => {
    const column = columnOf(frame, name);
    const numbers = rows.flatMap((row) => readingOf(frame, name, row, true)?.value ?? []);
    const shared = { dim, z: 10, name: titleOf(column), nameTextStyle: { color: theme.ink, fontFamily: theme.font }, axisLine: { lineStyle: { color: theme.soft } }, axisTick: { lineStyle: { color: theme.soft } }, areaSelectStyle: { width: 22, color: theme.palette[0], opacity: 0.35, borderColor: theme.palette[0] } };
    // Lines run over the labels, so these have a rim of the ground's colour.
    const label = { color: theme.ink, fontFamily: theme.font, textBorderColor: theme.card, textBorderWidth: 3 };
    const values = few.get(name);
    if (values !== undefined) return { ...shared, type: "category", boundaryGap: values.length === 1, data: values.map((cell) => cellText({ digits: undefined }, cell)), axisLabel: { ...label, interval: 0 } };
    const [low, high] = extentOf(numbers);
    const log = isWide(numbers);
    return { ...shared, type: log ? "log" : "value", ...(low === high ? {} : { min: low, max: high }), axisLabel: { ...label, formatter: tickText, hideOverlap: true }, minorTick: { show: false } };
  });
  const faint = drawn.length > 300;
  const option = {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: theme.font },
    parallel: narrow ? { layout: "vertical", left: 86, right: 24, top: 20, bottom: 30, parallelAxisDefault: { nameLocation: "start", nameGap: 8 } } : { left: 50, right: 70, top: 44, bottom: 26, parallelAxisDefault: { nameLocation: "end", nameGap: 14 } },
    parallelAxis: axes.map((axis) => ({ ...axis, nameTextStyle: { ...axis.nameTextStyle, ...(narrow ? { width: 78, overflow: "break", align: "right" } : { width: 110, overflow: "break" }) } })),
    series: [{ type: "parallel", smooth: false, inactiveOpacity: 0.04, activeOpacity: faint ? 0.5 : 0.8, progressive: 0, lineStyle: { width: faint ? 1 : 1.6, opacity: faint ? 0.3 : 0.7 }, data: drawn.map((row) => ({ value: names.map((name) => cellAt(name, row)), row, lineStyle: { color: colorAt(frame, color, row, coloring, theme) } })) }],
  };
  return option as unknown as EChartsOption;
}
