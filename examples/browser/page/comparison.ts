/** What a comparison came to, as tables. */
import type { LoadedModel } from "../messages.js";
import { h } from "./dom.js";
import { duration, megabytes, percent, quantile } from "./numbers.js";

/** One of the two packages. */
export interface Side {
  /** A or B. */
  readonly title: string;
  readonly loaded: LoadedModel;
}

/** Milliseconds of each run of A and of B, in the order of their rounds. */
export type Latency = readonly [readonly number[], readonly number[]];

export interface Comparison {
  readonly sides: readonly [Side, Side];
  readonly latency: Latency;
  readonly photographs: readonly File[];
  /** Of all classes, by photograph; empty for a model without classes. */
  readonly probabilities: readonly [readonly Float32Array[], readonly Float32Array[]];
}

/** Two packages' probabilities for one photograph. */
export interface Agreement {
  readonly same: boolean;
  /** The largest difference of a class's probability. */
  readonly difference: number;
  readonly best: readonly [number, number];
}

/** @param a, b probabilities of the same classes */
export function agreementOf(a: Float32Array, b: Float32Array): Agreement {
  const best = [bestOf(a), bestOf(b)] as const;
  return { same: best[0] === best[1], difference: a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0), best };
}

const bestOf = (values: Float32Array): number => values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);

export async function showComparison(holder: HTMLElement, comparison: Comparison): Promise<void> {
  holder.replaceChildren(latencyCard(comparison), await agreementCard(comparison));
}

function latencyCard({ sides, latency }: Comparison): HTMLElement {
  const medians = latency.map((times) => quantile(times, 0.5));
  const [a = 0, b = 0] = medians;
  const faster = a <= b ? 0 : 1;
  const ratio = Math.max(a, b) / Math.min(a, b);
  const verdict = ratio < 1.02 ? "Both take the same, within 2 %." : `${sides[faster].title} is ${ratio.toFixed(2)} times as fast.`;
  const slowest = Math.max(a, b);
  const row = (side: 0 | 1): HTMLElement => {
    const { title, loaded } = sides[side];
    const bar = h("i", { "aria-hidden": "true" });
    bar.style.setProperty("--share", String(medians[side]! / slowest));
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, `${title}: ${loaded.name}, ${loaded.dtype}`),
      h("td", { class: "measure" }, bar, h("data", { value: medians[side] }, duration(medians[side]!))),
      h("td", { class: "number" }, `${duration(quantile(latency[side], 0.25))} to ${duration(quantile(latency[side], 0.75))}`),
      h("td", { class: "number" }, duration(loaded.milliseconds)),
      h("td", { class: "number" }, megabytes(loaded.gpuBytes)),
    );
  };
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Latency"),
    h("p", { class: "verdict" }, verdict),
    h("p", { class: "note" }, `The median of ${latency[0].length} runs each, in turns, on ${sides[0].loaded.adapterName}: one image, from values in memory to outputs in memory.`),
    tableOf(["Package", "Median", "Middle half", "Load", "GPU memory"], [row(0), row(1)], "Table of latencies"),
  );
}

async function agreementCard({ sides, photographs, probabilities: [a, b] }: Comparison): Promise<HTMLElement> {
  const card = h("section", { class: "card" }, h("h2", {}, "Agreement"));
  const [{ loaded: first }, { loaded: second }] = sides;
  if (first.classes === 0 || second.classes === 0 || first.classes !== second.classes) {
    const why = first.classes === 0 || second.classes === 0 ? "One of them has no classes" : `A has ${first.classes} classes and B ${second.classes}`;
    card.append(h("p", { class: "verdict" }, `${why}: there is nothing to compare.`));
    return card;
  }
  const agreements = photographs.map((_, i) => agreementOf(a[i]!, b[i]!));
  const same = agreements.filter((each) => each.same).length;
  const most = Math.max(...agreements.map(({ difference }) => difference));
  const rows = await Promise.all(
    agreements.map(async ({ same: agrees, difference, best }, i) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, await thumbnail(photographs[i]!), photographs[i]!.name),
        h("td", {}, `${nameOf(first, best[0])} ${percent(a[i]![best[0]]!)}`),
        h("td", {}, `${nameOf(second, best[1])} ${percent(b[i]![best[1]]!)}`),
        h("td", {}, agrees ? "the same" : h("strong", {}, "another")),
        h("td", { class: "number" }, difference.toExponential(1)),
      ),
    ),
  );
  card.append(
    h("p", { class: "verdict" }, `The same best class for ${same} of ${photographs.length} photographs; probabilities differ by at most ${most.toExponential(1)}.`),
    tableOf(["Photograph", "A", "B", "Best class", "Largest difference"], rows, "Table of photographs"),
  );
  return card;
}

const nameOf = ({ labels }: LoadedModel, index: number): string => labels[index] ?? `class ${index}`;

function tableOf(head: readonly string[], rows: readonly HTMLElement[], label: string): HTMLElement {
  const numbers = new Set(["Middle half", "Load", "GPU memory", "Largest difference"]);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, h("table", {}, h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col", class: numbers.has(name) ? "number" : undefined }, name)))), h("tbody", {}, ...rows)));
}

/** On a canvas: an address for a file in memory (blob:) is one that a strict policy of the page refuses. */
async function thumbnail(file: File): Promise<HTMLElement> {
  const canvas = h("canvas", { width: 64, height: 64, class: "thumbnail", "aria-hidden": "true" });
  const bitmap = await createImageBitmap(file).catch(() => undefined);
  if (bitmap === undefined) return canvas;
  const side = Math.min(bitmap.width, bitmap.height);
  canvas.getContext("2d")!.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, 64, 64);
  bitmap.close();
  return canvas;
}
