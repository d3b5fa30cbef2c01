/** The dispatches of a run along time: expected by the compiler's cost model until they are timed. */
import type { ProfiledDispatch, RunProfile } from "vitc/runtime";
import { find, h, svg } from "./dom.js";
import { duration, percent, short } from "./numbers.js";

type Kind = "matmul" | "attention" | "convolution" | "norm" | "embed" | "pool" | "other";

/** By what a routine's name begins with. */
export function kindOf(routine: string): Kind {
  if (/^gemm.*_(image|map)_/.test(routine)) return "convolution";
  const kinds: readonly (readonly [RegExp, Kind])[] = [[/^gemm/, "matmul"], [/^attention/, "attention"], [/^(layer_norm|normalize|row_scales|rms)/, "norm"], [/^embed/, "embed"], [/^(pool|token)/, "pool"]];
  return kinds.find(([pattern]) => pattern.test(routine))?.[1] ?? "other";
}

interface Bar extends ProfiledDispatch {
  readonly kind: Kind;
  readonly begin: number;
  readonly microseconds: number;
}

const width = 1000;
const height = 44;

/** Puts a profile into the page. */
export class Timeline {
  private readonly holder = find("timeline", HTMLElement);
  private readonly lead = find("timeline-lead", HTMLParagraphElement);

  clear(text: string): void {
    this.lead.textContent = text;
    this.holder.replaceChildren();
  }

  /** Returns in a sentence what is shown. */
  show(profile: RunProfile): string {
    const bars = barsOf(profile);
    const total = bars.reduce((sum, { microseconds }) => sum + microseconds, 0);
    this.lead.textContent = leadOf(profile, total);
    const detail = h("p", { class: "detail" });
    const strip = this.strip(bars, total, (bar) => (detail.textContent = describe(bar, total, profile)));
    this.holder.replaceChildren(legend(bars, total), strip, h("p", { class: "scale" }, h("span", {}, "0"), h("span", {}, duration(total / 1000))), detail, table(bars, total, profile));
    return this.lead.textContent;
  }

  private strip(bars: readonly Bar[], total: number, onPick: (bar: Bar) => void): Element {
    const x = (microseconds: number): number => (total > 0 ? (microseconds / total) * width : 0);
    const rects = bars.map(({ begin, microseconds, kind }) => svg("rect", { class: `k-${kind}`, x: x(begin), y: 0, width: Math.max(x(microseconds), 0.5), height }));
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...rects);
    const blocks = blocksOf(bars).map(({ name, begin, end }) => {
      const block = h("span", {}, name);
      block.style.setProperty("--begin", String(begin / Math.max(total, 1e-9)));
      block.style.setProperty("--share", String((end - begin) / Math.max(total, 1e-9)));
      return block;
    });
    const strip = h("div", { class: "strip", role: "slider", tabindex: 0, "aria-label": "Dispatches in the order of a run", "aria-valuemin": 1, "aria-valuemax": bars.length }, h("div", { class: "blocks", "aria-hidden": "true" }, ...blocks), drawing);
    let picked = 0;
    const pick = (index: number): void => {
      rects[picked]!.classList.remove("lit");
      picked = Math.min(bars.length - 1, Math.max(0, index));
      rects[picked]!.classList.add("lit");
      const bar = bars[picked]!;
      strip.setAttribute("aria-valuenow", String(picked + 1));
      strip.setAttribute("aria-valuetext", `${bar.label}, ${duration(bar.microseconds / 1000)}`);
      onPick(bar);
    };
    const at = ({ clientX }: PointerEvent): void => {
      const box = strip.getBoundingClientRect();
      const time = ((clientX - box.left) / box.width) * total;
      pick(bars.findLastIndex(({ begin }) => begin <= time));
    };
    strip.addEventListener("pointermove", at);
    strip.addEventListener("pointerdown", at);
    strip.addEventListener("keydown", (event) => {
      const next = ({ ArrowLeft: picked - 1, ArrowRight: picked + 1, ArrowDown: picked - 1, ArrowUp: picked + 1, Home: 0, End: bars.length - 1 } as Readonly<Record<string, number>>)[event.key];
      if (next === undefined) return;
      event.preventDefault();
      pick(next);
    });
    const longest = bars.reduce((best, { microseconds }, i) => (microseconds > bars[best]!.microseconds ? i : best), 0);
    pick(longest);
    return strip;
  }
}

function barsOf({ dispatches }: RunProfile): readonly Bar[] {
  let begin = 0;
  return dispatches.map((dispatch): Bar => {
    const microseconds = dispatch.measured ?? dispatch.expected;
    const bar = { ...dispatch, kind: kindOf(dispatch.routine), begin, microseconds };
    begin += microseconds;
    return bar;
  });
}

/** Blocks of the model, from their first dispatch to their last. */
function blocksOf(bars: readonly Bar[]): readonly { readonly name: string; readonly begin: number; readonly end: number }[] {
  const blocks = new Map<string, { name: string; begin: number; end: number }>();
  for (const { label, begin, microseconds } of bars) {
    const block = /^blocks\.(\d+)/.exec(label)?.[1];
    if (block !== undefined) blocks.set(block, { name: `block ${Number(block) + 1}`, begin: blocks.get(block)?.begin ?? begin, end: begin + microseconds });
  }
  return [...blocks.values()];
}

function leadOf({ clock, runs, dispatches }: RunProfile, total: number): string {
  const all = `${dispatches.length} dispatches, ${duration(total / 1000)} in all`;
  switch (clock) {
    case "timestamps":
      return `${all}: by the GPU's own clock, the mean of ${runs} runs. Browsers round that clock, so short dispatches are known less well than long ones.`;
    case "wall":
      return `${all}: by the page's clock, each dispatch submitted alone, the mean of ${runs} runs, because this GPU or browser gives no timestamps. Each takes longer here than within a run, by what a submit costs.`;
    case "none":
      return `${all}: what the compiler's cost model expects on this kind of adapter. Nothing has been timed yet.`;
    default:
      return clock satisfies never;
  }
}

function describe({ label, kind, choice, by, flops, bytes, microseconds, expected, measured }: Bar, total: number, { clock }: RunProfile): string {
  const why = by === "tuned" ? "measured to be the fastest" : by === "cost" ? "chosen by the cost model" : "the only way here";
  const beside = measured === undefined ? "" : `, ${duration(expected / 1000)} expected`;
  const rate = clock === "none" || microseconds === 0 ? "" : `, ${short((flops * 1e6) / microseconds)}FLOP/s`;
  return `${label} (${kind}): ${duration(microseconds / 1000)}, ${percent(total > 0 ? microseconds / total : 0)}${beside}; ${short(flops)}FLOP, ${short(bytes)}B${rate}; ${choice}, ${why}.`;
}

function legend(bars: readonly Bar[], total: number): HTMLElement {
  const sums = new Map<Kind, number>();
  for (const { kind, microseconds } of bars) sums.set(kind, (sums.get(kind) ?? 0) + microseconds);
  const rows = [...sums].sort((a, b) => b[1] - a[1]);
  return h("ul", { class: "legend", "aria-label": "Time by kind" }, ...rows.map(([kind, sum]) => h("li", { class: `k-${kind}` }, h("i", { "aria-hidden": "true" }), `${kind} `, h("span", {}, percent(total > 0 ? sum / total : 0)))));
}

function table(bars: readonly Bar[], total: number, { clock }: RunProfile): HTMLElement {
  const times = clock === "none" ? ["Expected"] : ["Time", "Expected"];
  const head = h("tr", {}, ...["Dispatch", ...times, "Share", "FLOP", "Way"].map((name, i) => h("th", { scope: "col", class: i > 0 && i < times.length + 3 ? "number" : undefined }, name)));
  const row = ({ label, kind, microseconds, expected, measured, flops, choice }: Bar): HTMLElement =>
    h(
      "tr",
      { class: `k-${kind}` },
      h("th", { scope: "row" }, h("i", { "aria-hidden": "true" }), label),
      measured !== undefined && h("td", { class: "number" }, duration(measured / 1000)),
      h("td", { class: "number" }, duration(expected / 1000)),
      h("td", { class: "number" }, percent(total > 0 ? microseconds / total : 0)),
      h("td", { class: "number" }, short(flops)),
      h("td", {}, choice),
    );
  const scroll = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of dispatches" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...bars.map(row))));
  return h("details", {}, h("summary", {}, "All dispatches as a table"), scroll);
}
