import type { EChartsOption } from "echarts";
import { axisOf, columnOf, isWide, legendOf } from "./axes.js";
import { cellOf, titleOf, type Frame } from "./frame.js";
import { pointsOf, type Point } from "./points.js";
import { colored, groupsOf, readingTitle, type Chart } from "./scatter-chart.js";
import { coloringOf, type Theme } from "./theme.js";

/** A cost by tokens, and below it the share that attention's two products have in the work. A line joins the least of each number of tokens. */
export function tokensChart(frame: Frame, rows: readonly number[], choice: { readonly y: string; readonly color: string; readonly predictions: boolean }, theme: Theme): Chart {
  const above = pointsOf(frame, rows, "tokens", choice.y, choice.predictions);
  const below = pointsOf(frame, rows, "tokens", "attention_share", false);
  const coloring = coloringOf(frame, choice.color, [...above, ...below].map(({ row }) => row), theme);
  const dense = above.length > 2000;
  const item = ({ row, x, y }: Point): readonly unknown[] => [x.value, y.value, x.low, x.high, y.low, y.high, coloring.kind === "range" ? cellOf(frame, choice.color, row) : null, row];
  const panel = (points: readonly Point[], axis: 0 | 1): object[] =>
    groupsOf(frame, points, choice.color, coloring, theme).flatMap(({ name, color, points: own }) => {
      const shared = { name, xAxisIndex: axis, yAxisIndex: axis };
      const dots = [false, true].flatMap((predicted) => {
        const alike = own.filter(({ y }) => y.predicted === predicted);
        return alike.length === 0 ? [] : [{ ...shared, type: "scatter", z: 3, progressive: 0, cursor: "pointer", symbol: predicted ? "diamond" : "circle", symbolSize: (dense ? 5 : 7) + (predicted ? 2 : 0), itemStyle: { ...colored(coloring, color), opacity: dense ? 0.6 : 0.85 }, encode: { x: 0, y: 1 }, data: alike.map(item) }];
      });
      return [...dots, { ...shared, type: "line", z: 2, silent: true, symbol: "none", lineStyle: { color: coloring.kind === "range" ? theme.soft : color, width: 1.5, opacity: 0.7 }, tooltip: { show: false }, data: leastByX(own) }];
    });
  const tokens = [...above, ...below].map(({ x }) => x.value);
  // The share's axis ends where its values do, and at 100 % once they are beyond half of it.
  const end = [0.1, 0.25, 0.5].find((most) => below.every(({ y }) => y.value <= most)) ?? 1;
  const [costs, shares] = [above.map(({ y }) => y.value), below.map(({ y }) => y.value)];
  const across = (title: string, gridIndex: number): object => ({ ...axisOf(title, tokens, isWide(tokens), theme, "x"), gridIndex });
  const series = [...panel(above, 0), ...panel(below, 1)];
  const option = {
    animation: false,
    backgroundColor: "transparent",
    textStyle: { fontFamily: theme.font },
    grid: [{ left: 70, right: 20, top: 40, height: "42%", outerBoundsMode: "none" }, { left: 70, right: 20, bottom: 46, height: "31%", outerBoundsMode: "none" }],
    xAxis: [across("", 0), across(titleOf(columnOf(frame, "tokens")), 1)],
    yAxis: [
      { ...axisOf(readingTitle(frame, choice.y, above.map(({ y }) => y)), costs, isWide(costs), theme, "y"), gridIndex: 0 },
      { ...axisOf("attention's share", shares, false, theme, "y"), gridIndex: 1, min: 0, max: end, interval: end / (end === 1 ? 4 : 5), scale: false, axisLabel: { color: theme.soft, fontFamily: theme.font, formatter: (share: number): string => `${Number((share * 100).toFixed(1))} %` } },
    ],
    ...legendOf(frame, choice.color, coloring, theme, series.flatMap((one, i) => ("type" in one && one.type === "scatter" ? [i] : [])), 6),
    series,
  };
  return { option: option as unknown as EChartsOption, points: above, front: [] };
}

export function leastByX(points: readonly Point[]): readonly (readonly [number, number])[] {
  const least = new Map<number, number>();
  for (const { x, y } of points) least.set(x.value, Math.min(y.value, least.get(x.value) ?? Infinity));
  return [...least].sort(([a], [b]) => a - b);
}
