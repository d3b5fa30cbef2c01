import { createHash } from "node:crypto";
import { count, plural } from "../../explain/format.js";
import { markup, Markup, type Piece } from "../../explain/page/markup.js";
import { style } from "../../explain/page/style.js";
import { SpecError } from "../../spec/errors.js";
import { version } from "../../version.js";
import type { Cell, Column, Row } from "../row.js";
import { cellText, scattered, titleOf } from "./client/frame.js";
import { chosen, frontRows, isDrawn, type PageChoice } from "./choose.js";
import { libraryText } from "./library.js";
import { deflated, knownColumns, packRows, scriptJson } from "./pack.js";
import { script } from "./script.js";
import { ownStyle } from "./style.js";

export interface SweepPageOptions {
  /** The sweep's name, over the page. */
  readonly title: string;
  /** Columns of the plot; without them, time or work against what the sweep is after. A reader of the page can choose others. */
  readonly x?: string;
  readonly y?: string;
  /** Column of the colours, or an empty text for one colour. */
  readonly color?: string;
  /** What a reader should know before the numbers: drift, a software adapter, an unfinished sweep. */
  readonly notices?: readonly string[];
  /** Most bytes of the page; rows beyond are left out, and the page says so. 2,000,000 without it. */
  readonly mostBytes?: number;
}

/**
 * The rows of a sweep as one self-contained page: a plot with its Pareto front, costs by tokens, parallel coordinates, a table, and what
 * failed. No network and no other file; works from a disk. The same rows and options give the same bytes.
 *
 * If not all rows fit, those on the front stay, then measured ones, then a sample of the rest.
 * @param columns of `rows`, as `columnsOf` gives them for the sweep's axes
 * @throws SpecError when `x`, `y` or `color` is no column that a row knows, or `mostBytes` is less than a page of one row takes
 */
export async function sweepPage(rows: readonly Row[], columns: readonly Column[], options: SweepPageOptions): Promise<string> {
  const good = rows.filter(isDrawn);
  const known = knownColumns(good, columns);
  const choice = chosen(good, known, options);
  const most = options.mostBytes ?? 2_000_000;
  const failed = rows.filter(({ failed }) => failed !== null);
  const front = frontRows(good, known, choice);
  const packed = (kept: readonly Row[]): string => JSON.stringify({ ...packRows(kept, known), table: choice.table, parallel: choice.parallel });
  const write = (kept: readonly Row[], data: Markup): string => pageOf({ all: rows, good, kept, failed, known, front, choice, options, data });
  const all = packed(good);
  const whole = write(good, plainData(all));
  if (size(whole) <= most) return whole;
  const smaller = write(good, deflatedData(all));
  if (size(smaller) <= most) return smaller;

  const first = write(good.slice(0, 1), deflatedData(packed(good.slice(0, 1))));
  const bare = size(first);
  if (bare > most) throw new SpecError([{ field: "mostBytes", message: `${count(most)} bytes have no room for rows; a page of one takes ${count(bare)}` }]);
  const ranked = ranking(good, front);
  // What a row takes is known when it is packed with the others: the number is guessed from all of them, and lowered until it fits.
  for (let kept = Math.floor((good.length * (most - bare)) / (size(smaller) - bare)); kept > 1; kept = Math.floor(kept * 0.96)) {
    const sample = ranked.slice(0, kept).toSorted((a, b) => a - b).map((index) => good[index]!);
    const page = write(sample, deflatedData(packed(sample)));
    if (size(page) <= most) return page;
  }
  return first;
}

const plainData = (json: string): Markup => markup`<script type="application/json" id="data">${new Markup(scriptJson(json))}</script>`;
const deflatedData = (json: string): Markup => markup`<script type="text/plain" id="data" data-deflated>${deflated(json)}</script>`;

const size = (page: string): number => Buffer.byteLength(page);

/** Rows by how much they are missed: the front, what was measured, and a fair sample of the rest. */
function ranking(rows: readonly Row[], best: readonly number[]): readonly number[] {
  const front = new Set(best);
  const indices = rows.map((_, i) => i);
  const measured = indices.filter((i) => !front.has(i) && rows[i]!.p50_ms !== null);
  const rest = indices.filter((i) => !front.has(i) && rows[i]!.p50_ms === null);
  return [...front, ...scattered(measured), ...scattered(rest)];
}

interface PageParts {
  readonly all: readonly Row[];
  readonly good: readonly Row[];
  readonly kept: readonly Row[];
  readonly failed: readonly Row[];
  readonly known: readonly Column[];
  /** Of `good`: indices of those on the front of the plot as the page opens. */
  readonly front: readonly number[];
  readonly choice: PageChoice;
  readonly options: SweepPageOptions;
  readonly data: Markup;
}

interface Section {
  readonly id: string;
  readonly title: string;
  readonly lead: Piece;
  readonly body: Piece;
}

function pageOf(parts: PageParts): string {
  const { options, kept, known, good } = parts;
  const sections = sectionsOf(parts);
  const scripts = kept.length > 0 ? [libraryText(), script()] : [];
  // Scripts are allowed by their hashes: nothing else can run, whatever a name holds. Styles are set by ECharts on its own elements.
  const hashes = scripts.map((text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`).join(" ");
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src ${hashes || "'none'"}; img-src data:; base-uri 'none'; form-action 'none'`;
  const left = good.length - kept.length;
  const notices = [...(options.notices ?? []), ...(left > 0 ? [`${count(kept.length)} of ${plural(good.length, "variant")} are in this page, which is as large as it may be: those on the front, ${good.some(({ p50_ms }) => p50_ms !== null) ? "what was measured, " : ""}and a sample of the rest. The other formats hold all.`] : [])];
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<link rel="icon" href="data:,">
<title>${options.title}, a sweep</title>
<style>${new Markup(style + ownStyle)}</style>
</head>
<body>
<a class="skip" href="#table">To the table</a>
<header class="top">
<h1>${options.title}</h1>
<p class="lead">${lead(parts)}</p>
${numbers(parts)}
${notices.length > 0 && markup`<ul class="notices">${notices.map((notice) => markup`<li>${notice}</li>`)}</ul>`}
${same(kept, known)}
<noscript><p>The plots and the table of this page are drawn by its script, which this browser does not run.</p></noscript>
<p id="broken" class="notices" role="alert" hidden></p>
</header>
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => markup`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${sections.map(({ id, title, lead, body }) => markup`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2><p>${lead}</p>${body}</section>
`)}</main>
<footer>vitc ${version}${kept.length > 0 && ". Plots by Apache ECharts, Apache License 2.0."}</footer>
${parts.data}
${scripts.map((text) => markup`<script>${new Markup(text)}</script>
`)}</body>
</html>
`.text;
}

function lead({ all, good, failed }: PageParts): string {
  const measured = good.filter(({ p50_ms }) => p50_ms !== null);
  const adapters = [...new Set(measured.flatMap(({ adapter }) => adapter ?? []))];
  const where = adapters.length === 0 ? "" : ` on ${adapters.slice(0, 3).join(", ")}${adapters.length > 3 ? ` and ${adapters.length - 3} more` : ""}`;
  const times = measured.length > 0 ? `${count(measured.length)} measured${where}` : good.some(({ predicted_ms }) => predicted_ms !== null) ? "none measured: times are predicted" : "none run: these numbers follow from their specs";
  return `${plural(all.length, "Vision Transformer")}, ${times}.${failed.length > 0 ? ` ${count(failed.length)} failed.` : ""}`;
}

function numbers({ all, good, failed, front, known }: PageParts): Markup {
  const measured = good.filter(({ p50_ms }) => p50_ms !== null);
  const range = (name: string): string => {
    const column = known.find((column) => column.name === name);
    const values = good.flatMap((row) => (typeof row[name] === "number" ? [row[name]] : []));
    if (column === undefined || values.length === 0) return "";
    const [low, high] = values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)] as const, [Infinity, -Infinity] as const);
    return low === high ? cellText(column, low) : `${cellText(column, low)} – ${cellText(column, high)}`;
  };
  const time = measured.length > 0 ? "p50_ms" : "predicted_ms";
  const facts = [
    ["Variants", count(all.length), failed.length > 0 ? `${count(failed.length)} failed` : "none failed"],
    ["Measured", measured.length > 0 ? count(measured.length) : "", measured.length < good.length ? "the others are predicted or counted" : "all of them"],
    ["On the front", count(front.length), "of the plot below, at first"],
    ["Parameters", range("params_m"), "millions"],
    ["GMACs", range("gmacs"), "1e9 multiply-adds an image"],
    [time === "p50_ms" ? "p50" : "Predicted", range(time), "milliseconds a run"],
  ] as const;
  return markup`<dl class="numbers">${facts.filter(([, value]) => value !== "").map(([name, value, note]) => markup`<div><dt>${name}</dt><dd>${value} <small>${note}</small></dd></div>`)}</dl>`;
}

/** Columns in which all rows that know a value agree, said once. */
function same(rows: readonly Row[], known: readonly Column[]): Piece {
  if (rows.length < 2) return false;
  const valueOf = ({ name }: Column): Cell => rows.find((row) => (row[name] ?? null) !== null)?.[name] ?? null;
  const agreed = known.filter((column) => (column.kind === "key" || column.kind === "axis") && rows.every((row) => [null, valueOf(column)].includes(row[column.name] ?? null)));
  return agreed.length > 0 && markup`<dl class="same" aria-label="The same for all variants">${agreed.map((column) => markup`<div><dt title="${column.about}">${titleOf(column)}</dt><dd>${cellText(column, valueOf(column))}</dd></div>`)}</dl>`;
}

function sectionsOf({ kept, failed, known, choice }: PageParts): readonly Section[] {
  const option = (column: Column, selected: string): Markup => markup`<option value="${column.name}"${column.name === selected && markup` selected`}>${titleOf(column)}</option>`;
  const select = (id: string, label: string, columns: readonly Column[], selected: string, first?: string): Markup => markup`<label>${label} <select id="${id}">${first !== undefined && markup`<option value="">${first}</option>`}${columns.map((column) => option(column, selected))}</select></label>`;
  const want = (id: string, of: string, wanted: string): Markup => markup`<select id="${id}" aria-label="Wanted of ${of}">${["less", "more"].map((end) => markup`<option value="${end}"${end === wanted && markup` selected`}>${end} is better</option>`)}</select>`;
  const { numeric, colors, costs } = choice;
  const failures: Section = { id: "failed", title: "Failed", lead: `${plural(failed.length, "variant")}, by reason. What could be counted of them is in the plots and the table.`, body: failureList(failed) };
  if (kept.length === 0) return [{ id: "table", title: "Variants", lead: failed.length > 0 ? "No variant has numbers." : "The sweep has no rows yet.", body: false }, ...(failed.length > 0 ? [failures] : [])];
  return [
    {
      id: "plot",
      title: "Pick by two numbers",
      lead: "A point is a variant: hover for its numbers, click to keep them below. The dashed line joins the Pareto front, the variants that no other beats in both.",
      body: markup`<div class="controls">${select("x", "Across", numeric, choice.x)}${want("want-x", "the one across", choice.want.x)}<label><input type="checkbox" id="log-x"> powers of ten</label></div>
<div class="controls">${select("y", "Up", numeric, choice.y)}${want("want-y", "the one up", choice.want.y)}<label><input type="checkbox" id="log-y"> powers of ten</label></div>
<div class="controls">${select("color", "Colour", colors, choice.color, "one for all")}<label><input type="checkbox" id="predictions" checked> predictions where nothing was measured</label><span class="marks"><span><svg viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="4.5"/></svg>measured or counted</span><span><svg viewBox="0 0 12 12" aria-hidden="true"><path d="M6 0 12 6 6 12 0 6z"/></svg>predicted, the bar is its band</span></span></div>
<div id="scatter" class="chart" role="img" aria-label="Scatter plot of the variants; the table has the same numbers"></div><p class="note" id="scatter-note" role="status"></p><div class="picked-card" id="picked" hidden></div>`,
    },
    {
      id: "by-tokens",
      title: "What tokens cost",
      lead: "Linear layers grow with the tokens, attention with their square. Below the cost, the share of attention's two products (QK^T and PV) in the multiply-adds: beyond one half the square prevails, and an image of twice the side, or a patch of half, makes four times the tokens and up to sixteen times the work. Lines join the least at each number of tokens.",
      body: markup`<div class="controls">${select("cost", "Cost", costs, choice.cost)}</div><div id="tokens" class="chart" role="img" aria-label="A cost by tokens, and the share of attention by tokens"></div>`,
    },
    {
      id: "coordinates",
      title: "All numbers side by side",
      lead: "A line is a variant. Drag along an axis to mark a range: plots and table keep what passes through all ranges. Conditions in the filter of the table do the same from the keyboard.",
      body: markup`<div id="parallel" class="chart" role="img" aria-label="Parallel coordinates of the variants; the table has the same numbers"></div><div class="controls note"><span id="brush-note" role="status"></span><button type="button" id="brushed" hidden>Show all again</button></div>`,
    },
    {
      id: "table",
      title: "Variants",
      lead: "Click a heading to sort, a name to see all that is known of it. A dot before the name: on the front of the plot.",
      body: markup`<label class="search">Filter <input type="search" id="filter" placeholder="p50_ms &lt; 16 &amp;&amp; params_m &lt; 25" autocomplete="off" spellcheck="false" aria-describedby="filter-problem"></label><p id="filter-problem" role="alert"></p>
<details><summary>Columns</summary><div id="columns">${known.filter(({ name }) => name !== "name").map((column) => markup`<label title="${column.about}"><input type="checkbox" value="${column.name}"${choice.table.includes(column.name) && markup` checked`}> <span>${titleOf(column)}</span> <code>${column.name}</code></label>`)}</div></details>
<p class="note" id="count" role="status"></p><div class="scroll" tabindex="0" role="region" aria-label="Table of variants"><table id="rows"><thead></thead><tbody></tbody></table></div><button type="button" id="more" hidden>Show more</button>`,
    },
    ...(failed.length > 0 ? [failures] : []),
  ];
}

/** Names that are listed of a reason at most. */
const mostNames = 40;

function failureList(failed: readonly Row[]): Markup {
  const reasons = new Map<string, string[]>();
  for (const { name, failed: reason } of failed) reasons.set(reason ?? "", [...(reasons.get(reason ?? "") ?? []), name]);
  return markup`<ul class="failures">${[...reasons].slice(0, mostNames).map(([reason, names]) => markup`<li><p>${reason}</p><p class="names">${names.slice(0, mostNames).join(", ")}${names.length > mostNames && ` and ${count(names.length - mostNames)} more`}</p></li>`)}${reasons.size > mostNames && markup`<li>${plural(reasons.size - mostNames, "more reason")}: the other formats list them.</li>`}</ul>`;
}
