import type { EChartsOption } from "echarts";
import { axisOf, columnOf, groupName, isWide, legendOf } from "./axes.js";
import { cellOf, titleOf, type Frame } from "./frame.js";
import { frontsOf, pointsOf, type Point, type Reading, type Wanted } from "./points.js";
import { coloringOf, type Coloring, type Theme } from "./theme.js";

/** What a scatter plot shows. */
export interface Choice {
  readonly x: string;
  readonly y: string;
  /** A column, or an empty text for one colour. */
  readonly color: string;
  /** Which ends the front is of; `null` for no front. */
  readonly front: { readonly x: Wanted; readonly y: Wanted } | null;
  /** Whether rows that were not measured stand where they are predicted. */
  readonly predictions: boolean;
  /** Powers of ten on an axis; `null` leaves it to the values. */
  readonly logX: boolean | null;
  readonly logY: boolean | null;
}

export interface Chart {
  readonly option: EChartsOption;
  readonly points: readonly Point[];
  readonly front: readonly Point[];
}

/** A scatter plot with its Pareto front: circles for what was measured or counted, diamonds with bars for predictions and their bands. */
export function scatterChart(frame: Frame, rows: readonly number[], choice: Choice, theme: Theme, picked: number | null): Chart {
  const points = pointsOf(frame, rows, choice.x, choice.y, choice.predictions);
  const fronts = choice.front === null ? [] : frontsOf(frame, points, choice.front.x, choice.front.y);
  const front = fronts.flat();
  const onFront = new Set(front.map(({ row }) => row));
  const coloring = coloringOf(frame, choice.color, points.map(({ row }) => row), theme);
  const ends = (side: "x" | "y"): number[] => points.flatMap((point) => [point[side].low, point[side].high]);
  const log = (side: "x" | "y", wanted: boolean | null): boolean => (wanted ?? isWide(points.map((point) => point[side].value))) && ends(side).every((end) => end > 0);
  const color = (row: number): unknown => (coloring.kind === "range" ? cellOf(frame, choice.color, row) : null);
  const item = ({ row, x, y }: Point): readonly unknown[] => [x.value, y.value, x.low, x.high, y.low, y.high, color(row), row];
  const isPredicted = ({ x, y }: Point): boolean => x.predicted || y.predicted;
  const dense = points.length > 2000;
  const size = dense ? 6 : 9;
  const groups = groupsOf(frame, points, choice.color, coloring, theme);
  const series = groups.flatMap(({ name, color, points: own }) => [false, true].flatMap((predicted) => {
    const shape = { type: "scatter" as const, name, cursor: "pointer", progressive: 0, encode: { x: 0, y: 1 }, symbol: predicted ? "diamond" : "circle" };
    const alike = own.filter((point) => isPredicted(point) === predicted);
    const [others, best] = [alike.filter(({ row }) => !onFront.has(row) && row !== picked), alike.filter(({ row }) => onFront.has(row) || row === picked)];
    // Points of the front lie above the others, whatever their colour.
    return [
      ...(others.length > 0 ? [{ ...shape, z: 3, symbolSize: size + (predicted ? 2 : 0), itemStyle: { ...colored(coloring, color), opacity: dense ? 0.6 : 0.8, borderColor: theme.card, borderWidth: dense ? 0 : 0.5 }, data: others.map(item) }] : []),
      ...(best.length > 0 ? [{ ...shape, z: 4, symbolSize: predicted ? 15 : 13, itemStyle: { ...colored(coloring, color), opacity: 1, borderColor: theme.ink, borderWidth: 1.5 }, data: best.map((point) => (point.row === picked ? { value: item(point), symbolSize: 19, itemStyle: { borderWidth: 3 } } : item(point))) }] : []),
    ];
  }));
  const banded = points.filter(({ x, y }) => x.high > x.low || y.high > y.low);
  const option = {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: theme.font },
    grid: { left: 70, right: 20, top: 40, bottom: 46, outerBoundsMode: "none" },
    xAxis: axisOf(readingTitle(frame, choice.x, points.map(({ x }) => x)), ends("x"), log("x", choice.logX), theme, "x"),
    yAxis: axisOf(readingTitle(frame, choice.y, points.map(({ y }) => y)), ends("y"), log("y", choice.logY), theme, "y"),
    ...legendOf(frame, choice.color, coloring, theme, series.map((_, i) => i), 6),
    series: [
      ...series,
      // Hundreds of bars hide the points, and hovering says the same.
      ...(banded.length > 0 && banded.length <= 300 ? [bandSeries(banded, theme)] : []),
      ...fronts.filter(({ length }) => length > 1).map((front) => ({ type: "line" as const, name: "Pareto front", silent: true, z: 2, symbol: "none", lineStyle: { color: theme.soft, width: 1.5, type: "dashed" as const }, tooltip: { show: false }, data: front.map(({ x, y }) => [x.value, y.value]) })),
    ],
  };
  return { option: option as EChartsOption, points, front };
}

/** Points by the value of a column that has a colour for each, or all in one group. */
export function groupsOf(frame: Frame, points: readonly Point[], name: string, coloring: Coloring, theme: Theme): readonly { readonly name: string; readonly color: string; readonly points: readonly Point[] }[] {
  if (coloring.kind !== "values") return [{ name: "variants", color: theme.palette[0]!, points }];
  const column = columnOf(frame, name);
  const known = coloring.values.map((value, i) => ({ name: groupName(column, value), color: coloring.colors[i]!, points: points.filter(({ row }) => cellOf(frame, name, row) === value) }));
  const unknown = points.filter(({ row }) => cellOf(frame, name, row) === null);
  return unknown.length === 0 ? known : [...known, { name: `${column.title} unknown`, color: theme.soft, points: unknown }];
}

/** The colour of a group, unless a scale of numbers gives each point its own. */
export function colored(coloring: Coloring, color: string): { readonly color?: string } {
  return coloring.kind === "range" ? {} : { color };
}

/** The row of a point of `scatterChart` or `tokensChart`, or of a line of `parallelChart`. */
export function rowOf(data: unknown): number | undefined {
  const { value = data, row } = (data ?? {}) as { readonly value?: unknown; readonly row?: number };
  return row ?? (Array.isArray(value) ? (value as readonly number[])[7] : undefined);
}

/** The title of an axis, which says where predictions stand in for measurements. */
export function readingTitle(frame: Frame, name: string, readings: readonly Reading[]): string {
  const column = columnOf(frame, name);
  const some = name === "p50_ms" && readings.some(({ predicted }) => predicted);
  if (!some) return titleOf(column);
  return titleOf({ ...column, title: readings.every(({ predicted }) => predicted) ? "predicted" : `${column.title}, or predicted` });
}

/** Bars from the low to the high end of what points may be. */
export function bandSeries(points: readonly Point[], theme: Theme): object {
  const renderItem = (_: unknown, api: { value: (dimension: number) => number; coord: (at: readonly number[]) => readonly [number, number] }): object => {
    const [x, y, xLow, xHigh, yLow, yHigh] = [0, 1, 2, 3, 4, 5].map((dimension) => api.value(dimension)) as [number, number, number, number, number, number];
    const bar = (from: readonly [number, number], to: readonly [number, number]): object => ({ type: "line", shape: { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }, style: { stroke: theme.soft, lineWidth: 1, opacity: 0.55 } });
    return { type: "group", children: [...(yHigh > yLow ? [bar(api.coord([x, yLow]), api.coord([x, yHigh]))] : []), ...(xHigh > xLow ? [bar(api.coord([xLow, y]), api.coord([xHigh, y]))] : [])] };
  };
  return { type: "custom", name: "band", silent: true, clip: true, z: 1, tooltip: { show: false }, encode: { x: [0, 2, 3], y: [1, 4, 5] }, renderItem, data: points.map(({ x, y }) => [x.value, y.value, x.low, x.high, y.low, y.high]) };
}
