import type { ECElementEvent, EChartsOption, EChartsType } from "echarts";
import type { Column } from "../../row.js";
import { columnOf, isWide } from "./axes.js";
import { parseFilter } from "./filter.js";
import { cellOf, cellText, titleOf, unpackFrame, type Packed } from "./frame.js";
import { mostLines, parallelChart, passing, type Interval } from "./parallel-chart.js";
import { readingOf, type Wanted } from "./points.js";
import { rowOf, scatterChart } from "./scatter-chart.js";
import { drawTable, element } from "./table.js";
import { themeOf } from "./theme.js";
import { tokensChart } from "./tokens-chart.js";

/** What the page is told besides its rows: what plots and table show at first. */
export interface PageData extends Packed {
  readonly table: readonly string[];
  readonly parallel: readonly string[];
}

interface Library {
  init(holder: HTMLElement, theme: null, options: object): EChartsType;
}

/** The page's data: JSON, or JSON that was deflated because it would not fit otherwise. */
export async function readData(): Promise<PageData> {
  const { textContent, dataset } = document.getElementById("data")!;
  if (dataset["deflated"] === undefined) return JSON.parse(textContent) as PageData;
  const bytes = Uint8Array.from(atob(textContent), (letter) => letter.charCodeAt(0));
  return (await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).json()) as PageData;
}

/** Brings the page to life. Called once, when all of it has been read. */
export function startPage(library: Library, data: PageData): void {
  const byId = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
  const frame = unpackFrame(data);
  const all = Array.from({ length: frame.count }, (_, row) => row);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [x, y, color, wantX, wantY] = ["x", "y", "color", "want-x", "want-y"].map((id) => byId<HTMLSelectElement>(id)) as [HTMLSelectElement, HTMLSelectElement, HTMLSelectElement, HTMLSelectElement, HTMLSelectElement];
  const [logX, logY, predictions] = ["log-x", "log-y", "predictions"].map((id) => byId<HTMLInputElement>(id)) as [HTMLInputElement, HTMLInputElement, HTMLInputElement];
  const cost = byId<HTMLSelectElement>("cost");
  const filter = byId<HTMLInputElement>("filter");
  const table = byId<HTMLTableElement>("rows");

  let filtered: readonly number[] = all;
  let brushed: ReadonlySet<number> | null = null;
  let visible: readonly number[] = all;
  let picked: number | null = null;
  let front: ReadonlySet<number> = new Set();
  let sort: { readonly name: string; readonly down: boolean } | null = null;
  let most = 100;
  const isNarrow = (): boolean => byId("parallel").clientWidth < 640;
  let narrow = isNarrow();
  let coordinates = data.parallel;
  const shown = new Set(data.table);

  const chartOf = (id: string): EChartsType => {
    const holder = byId(id);
    const chart = library.init(holder, null, { renderer: "canvas" });
    new ResizeObserver(() => {
      chart.resize();
      // Only a page that turns narrow or wide has its axes laid out anew: that takes back what was marked on them.
      if (id === "parallel" && narrow !== isNarrow()) drawAll();
    }).observe(holder);
    chart.on("click", (event: ECElementEvent) => {
      const row = rowOf(event.data);
      if (row !== undefined) pick(row === picked ? null : row);
    });
    return chart;
  };
  const facts = (row: number): HTMLElement => {
    const wanted = frame.columns.filter(({ name, kind }) => name !== "name" && (kind === "axis" || ["tokens", "params_m", "weights_mb", "gmacs", "attention_share", "activation_mb", "metric"].includes(name)) && cellOf(frame, name, row) !== null);
    const time = readingOf(frame, "p50_ms", row, true);
    const lines = wanted.map((column) => [titleOf(column), cellText(column, cellOf(frame, column.name, row))] as const);
    const digits = columnOf(frame, time?.predicted === true ? "predicted_ms" : "p50_ms");
    const band = time === null ? [] : time.predicted ? [["predicted (ms)", `${cellText(digits, time.value)}, ${cellText(digits, time.low)} to ${cellText(digits, time.high)}`] as const] : [["p50 (ms)", cellText(digits, time.value)] as const];
    return element("div", { class: "tip" }, element("b", {}, String(cellOf(frame, "name", row))), element("dl", {}, ...[...lines, ...band].flatMap(([title, text]) => [element("dt", {}, title), element("dd", {}, text)])));
  };
  const tooltip = (): EChartsOption => {
    const { card, ink, line } = themeOf(dark.matches);
    return { tooltip: { trigger: "item", confine: true, transitionDuration: 0, backgroundColor: card, borderColor: line, textStyle: { color: ink, fontSize: 13 }, formatter: (event: unknown) => {
      const row = rowOf((event as { readonly data?: unknown }).data);
      return row === undefined ? "" : facts(row);
    } } };
  };

  const scatter = chartOf("scatter");
  const tokens = chartOf("tokens");
  const parallel = chartOf("parallel");
  const drawScatter = (): void => {
    const choice = { x: x.value, y: y.value, color: color.value, front: { x: wantX.value as Wanted, y: wantY.value as Wanted }, predictions: predictions.checked, logX: logX.checked, logY: logY.checked };
    const chart = scatterChart(frame, visible, choice, themeOf(dark.matches), picked);
    front = new Set(chart.front.map(({ row }) => row));
    scatter.setOption({ ...chart.option, ...tooltip() }, true);
    byId("scatter-note").textContent = `${chart.points.length} of ${frame.count} variants, ${front.size} on the front: no other has ${wantX.value} ${columnOf(frame, x.value).title} and ${wantY.value} ${columnOf(frame, y.value).title}.`;
  };
  const drawTokens = (): void => {
    tokens.setOption({ ...tokensChart(frame, visible, { y: cost.value, color: color.value, predictions: predictions.checked }, themeOf(dark.matches)).option, ...tooltip() }, true);
  };
  const drawParallel = (): void => {
    narrow = isNarrow();
    coordinates = narrow ? data.parallel.slice(0, 8) : data.parallel;
    parallel.setOption({ ...parallelChart(frame, filtered, coordinates, color.value, themeOf(dark.matches), narrow), ...tooltip() }, true);
    brushed = null;
  };
  const drawRows = (): void => {
    const columns = frame.columns.filter(({ name }) => shown.has(name));
    drawTable(table, frame, visible, { columns, sort, picked, most }, front);
    byId("count").textContent = `${visible.length} of ${frame.count} variants${visible.length > most ? `, the first ${most} shown` : ""}`;
    byId("more").hidden = visible.length <= most;
  };
  const drawPicked = (): void => {
    const holder = byId("picked");
    holder.hidden = picked === null;
    if (picked === null) return holder.replaceChildren();
    const row = picked;
    const known = frame.columns.filter(({ name }) => name !== "name" && cellOf(frame, name, row) !== null);
    const close = element("button", { type: "button", id: "unpick" }, "Close");
    close.addEventListener("click", () => pick(null));
    holder.replaceChildren(element("header", {}, element("h3", {}, String(cellOf(frame, "name", row))), close), element("dl", {}, ...known.map((column: Column) => element("div", {}, element("dt", { title: column.about }, titleOf(column)), element("dd", {}, cellText(column, cellOf(frame, column.name, row)))))));
  };
  const pick = (row: number | null): void => {
    picked = row;
    drawScatter();
    drawPicked();
    drawRows();
  };
  const narrowTo = (): void => {
    const kept = brushed;
    visible = kept === null ? filtered : filtered.filter((row) => kept.has(row));
    byId("brushed").hidden = kept === null;
    const sampled = filtered.length > mostLines() ? `${mostLines()} lines are drawn of ${filtered.length}. ` : "";
    byId("brush-note").textContent = sampled + (kept === null ? "" : `${visible.length} of ${filtered.length} variants pass through what you marked.`);
    drawScatter();
    drawTokens();
    drawRows();
  };
  const drawAll = (): void => {
    drawParallel();
    narrowTo();
    drawPicked();
  };
  const applyFilter = (): void => {
    const parsed = parseFilter(frame, filter.value);
    const problem = "problem" in parsed ? parsed.problem : "";
    byId("filter-problem").textContent = problem;
    filter.setAttribute("aria-invalid", String(problem !== ""));
    if ("problem" in parsed) return;
    filtered = all.filter(parsed.test);
    most = 100;
    drawAll();
  };
  const chooseScale = (axis: HTMLSelectElement, log: HTMLInputElement): void => {
    log.checked = isWide(all.flatMap((row) => readingOf(frame, axis.value, row, true)?.value ?? []));
  };

  parallel.on("axisareaselected", () => {
    // Of what ECharts knows of its axes there is no other way to the marked ranges: the event names one axis alone.
    const model = (parallel as unknown as { getModel(): { getComponent(kind: string, index: number): { readonly activeIntervals: readonly Interval[] } } }).getModel();
    brushed = passing(frame, filtered, coordinates, coordinates.map((_, i) => model.getComponent("parallelAxis", i).activeIntervals));
    narrowTo();
  });
  byId("brushed").addEventListener("click", () => {
    drawParallel();
    narrowTo();
  });
  for (const [axis, log, want] of [[x, logX, wantX], [y, logY, wantY]] as const) axis.addEventListener("change", () => {
    chooseScale(axis, log);
    want.value = columnOf(frame, axis.value).better ?? "less";
  });
  for (const control of [x, y, wantX, wantY, logX, logY]) control.addEventListener("change", () => {
    drawScatter();
    drawRows();
  });
  for (const control of [color, predictions]) control.addEventListener("change", drawAll);
  cost.addEventListener("change", drawTokens);
  dark.addEventListener("change", drawAll);
  let typing: ReturnType<typeof setTimeout> | undefined;
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    // Thousands of points take a while to draw, which would hold up typing.
    typing = setTimeout(applyFilter, frame.count > 1000 ? 200 : 0);
  });
  byId("more").addEventListener("click", () => {
    most += 400;
    drawRows();
  });
  table.addEventListener("click", (event) => {
    const { sort: name, row } = (event.target as HTMLElement).closest<HTMLElement>("button")?.dataset ?? {};
    if (row !== undefined) return pick(Number(row) === picked ? null : Number(row));
    if (name === undefined) return;
    // The wanted end comes first; the second time the other one, the third the order of the sweep.
    const first = columnOf(frame, name).better === "more";
    sort = sort?.name !== name ? { name, down: first } : sort.down === first ? { name, down: !first } : null;
    drawRows();
  });
  byId("columns").addEventListener("change", (event) => {
    const box = event.target as HTMLInputElement;
    if (box.checked) shown.add(box.value);
    else shown.delete(box.value);
    drawRows();
  });
  chooseScale(x, logX);
  chooseScale(y, logY);
  drawAll();
  document.documentElement.dataset["ready"] = "";
}
