import { bytes, count, percent, plural, short } from "../explain/format.js";
import { markup, Markup } from "../explain/page/markup.js";
import { script } from "../explain/page/script.js";
import { style } from "../explain/page/style.js";
import type { ProfiledDispatch, ProfileResult } from "./profile.js";
import { roofline } from "./roofline.js";

/** The page may use what is in it and nothing else: a browser refuses every request that slips in. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/** What this page has beyond the explain page: the roofline, and a strip of time. */
const ownStyle = `
.k-other{--k:#8a6d3b}
.roofline{display:block;width:100%;height:auto;max-height:460px;background:var(--card);border:1px solid var(--line);border-radius:12px}
.roofline text{fill:var(--soft);font:12px var(--sans)}
.roofline .grid{stroke:var(--faint)}
.roofline .roof{fill:none;stroke:var(--ink);stroke-width:2}
.roofline .peak{fill:var(--ink)}
.roofline circle{fill:var(--k);fill-opacity:.55;stroke:var(--k)}
.roofline circle.lit{fill-opacity:1;stroke:var(--ink)}
.strip{display:flex;height:44px;border-radius:8px;overflow:hidden;background:var(--faint);margin-bottom:6px}
.strip i{background:var(--k);flex:0 0 auto;box-shadow:inset 1px 0 var(--ground)}
.strip i.lit{filter:brightness(1.35)}
main>section>p.scale{display:flex;justify-content:space-between;max-width:none;font-size:.8rem}
.bound{white-space:nowrap}
.notices{list-style:none;margin:20px 0 0;padding:0;font-size:.9rem;color:var(--bad);max-width:78ch;display:grid;gap:4px}
.numbers{grid-template-columns:repeat(auto-fit,minmax(170px,1fr))}
`;

export interface ProfilePage {
  readonly name: string;
  readonly fingerprint: string;
  readonly adapter: string;
  readonly version: string;
  readonly notices: readonly string[];
  readonly result: ProfileResult;
}

/** A profile as one self-contained page: no network, no other file, readable without scripts. */
export function profilePage({ name, fingerprint, adapter, version, notices, result }: ProfilePage): string {
  const sections = [
    { id: "kinds", title: "Where the time goes", lead: "Each kind's share of the time, beside its share of the arithmetic and of the bytes: a kind whose time is out of proportion is where to look.", body: markup`${shares(result)}${kindTable(result)}` },
    { id: "timeline", title: "One run", lead: `The replay of median length, to scale; ${plural(result.dispatches.length, "dispatch")} from left to right.`, body: strip(result) },
    { id: "roofline", title: "The roofline", lead: "A dot is a dispatch: how much it computes for each byte that it must move, and how fast it was. The line is what this adapter reached with kernels that do nothing else. Both axes are logarithmic.", body: roofline(result) },
    { id: "dispatches", title: "Dispatches", lead: "A dispatch is bound by the highest of three floors: its arithmetic or its bytes at the measured peaks, or what empty launches take. Reach is that floor over its time: 100 % is as fast as the adapter allows.", body: dispatchTable(result) },
  ];
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<link rel="icon" href="data:,">
<title>${name}, profiled</title>
<style>${new Markup(style + ownStyle)}</style>
</head>
<body>
<a class="skip" href="#kinds">To the content</a>
<header class="top">
<h1>${name}</h1>
<p class="lead">${plural(result.dispatches.length, "dispatch")} at batch ${result.batch} on ${adapter}, each timed ${count(result.replays)} times ${result.clock === "timestamps" ? "by the GPU's clock" : "by the wall clock, submitted alone"}.</p>
${numbers(result)}
${notices.length > 0 && markup`<ul class="notices">${notices.map((notice) => markup`<li>${notice}</li>`)}</ul>`}
</header>
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => markup`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${sections.map(({ id, title, lead, body }) => markup`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2><p>${lead}</p>${body}</section>
`)}</main>
<footer>vitc ${version}, plan <code>${fingerprint}</code></footer>
<script>${new Markup(script)}</script>
</body>
</html>
`.text;
}

function numbers({ dispatches, microseconds, wholeRun, peaks, emptyMicroseconds }: ProfileResult): Markup {
  const flops = sum(dispatches, ({ flops }) => flops);
  const moved = sum(dispatches, ({ bytes }) => bytes);
  const rate = (amount: number): number => (microseconds > 0 ? (amount * 1e6) / microseconds : 0);
  const facts: readonly (readonly [string, string, string])[] = [
    ["All dispatches", duration(microseconds), "sum of the medians"],
    ["A whole run", duration(wholeRun.p50 * 1000), "median, upload to readback"],
    ["Arithmetic", `${short(rate(flops))}FLOP/s`, `${percent(rate(flops) / peaks.compute.rate)} of ${short(peaks.compute.rate)}FLOP/s`],
    ["Memory", `${short(rate(moved))}B/s`, `${percent(rate(moved) / peaks.memory.rate)} of ${short(peaks.memory.rate)}B/s`],
    ["Reach", percent(microseconds > 0 ? sum(dispatches, ({ reach, microseconds: time }) => reach * time) / microseconds : 0), "of what the adapter allows"],
    ["An empty launch", duration(emptyMicroseconds), "by the same clock"],
  ];
  return markup`<dl class="numbers">${facts.map(([name, value, note]) => markup`<div><dt>${name}</dt><dd>${value} <small>${note}</small></dd></div>`)}</dl>`;
}

function shares({ kinds, dispatches }: ProfileResult): Markup {
  const all = { flops: sum(dispatches, ({ flops }) => flops), bytes: sum(dispatches, ({ bytes }) => bytes) };
  const bar = (label: string, share: (kind: (typeof kinds)[number]) => number): Markup =>
    markup`<div class="share"><span>${label}</span><div class="stack" role="img" aria-label="${label}: ${kinds.map((kind) => `${kind.kind} ${percent(share(kind))}`).join(", ")}">${kinds.map((kind) => markup`<i class="k-${kind.kind}" style="width:${(share(kind) * 100).toFixed(3)}%" title="${kind.kind}: ${percent(share(kind))}"></i>`)}</div></div>`;
  return markup`<div class="shares">${bar("Time", ({ share }) => share)}${bar("FLOPs", ({ flops }) => flops / Math.max(1, all.flops))}${bar("Bytes", ({ bytes: moved }) => moved / Math.max(1, all.bytes))}</div>`;
}

function kindTable({ kinds }: ProfileResult): Markup {
  const rate = (amount: number, microseconds: number): number => (microseconds > 0 ? (amount * 1e6) / microseconds : 0);
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="Table of kinds"><table class="dispatches"><caption>Totals by kind, slowest first</caption><thead><tr><th scope="col">Kind</th><th scope="col" class="number">Dispatches</th><th scope="col" class="number">Time</th><th scope="col" class="number">Share</th><th scope="col" class="number">FLOP/s</th><th scope="col" class="number">B/s</th></tr></thead>
<tbody>${kinds.map(({ kind, dispatches, microseconds, share, flops, bytes: moved }) => markup`<tr class="k-${kind}"><th scope="row"><i></i>${kind}</th><td class="number">${dispatches}</td><td class="number">${duration(microseconds)}</td><td class="number">${percent(share)}</td><td class="number">${short(rate(flops, microseconds))}</td><td class="number">${short(rate(moved, microseconds))}</td></tr>`)}</tbody></table></div>`;
}

function strip({ dispatches, timeline }: ProfileResult): Markup {
  const length = timeline.reduce((total, { begin, end }) => total + end - begin, 0);
  return markup`<div class="strip" role="img" aria-label="Dispatches by time">${dispatches.map(({ label, kind, index }) => {
    const { begin, end } = timeline[index]!;
    return markup`<i class="k-${kind}" data-dispatch="${index}" style="width:${((100 * (end - begin)) / Math.max(length, 1e-9)).toFixed(3)}%" title="${label}: ${duration(end - begin)}"></i>`;
  })}</div><p class="scale"><span>0</span><span>${duration(length)}, without the gaps between dispatches</span></p>`;
}

function dispatchTable({ dispatches, kinds, microseconds }: ProfileResult): Markup {
  const most = Math.max(...dispatches.map((dispatch) => dispatch.microseconds), 1e-9);
  const row = ({ index, label, kind, choice, launches, microseconds: time, share, flops, bytes: moved, flopRate, byteRate, bound, reach }: ProfiledDispatch): Markup =>
    markup`<tr class="k-${kind}" data-dispatch="${index}" data-kind="${kind}"><th scope="row" title="${launches.map(({ kernel }) => kernel).join(", ")}"><i></i>${label}</th><td class="measure"><i style="width:calc((100% - 14px) * ${(time / most).toFixed(4)})"></i><span>${duration(time)}</span></td><td class="number">${percent(share)}</td><td>${choice}${launches.length > 1 && ` (${launches.length} launches)`}</td><td class="number wide">${short(flops)}</td><td class="number wide">${bytes(moved)}</td><td class="number">${short(flopRate)}</td><td class="number">${short(byteRate)}</td><td class="bound">${bound}</td><td class="number">${percent(reach)}</td></tr>`;
  return markup`<div class="legend" role="group" aria-label="Show kinds of dispatches">${kinds.map(({ kind, dispatches: number, share }) => markup`<button type="button" class="k-${kind}" data-kind="${kind}" aria-pressed="true"><i></i>${kind} <span>${count(number)} · ${percent(share)}</span></button>`)}</div>
<label class="search">Filter <input type="search" id="filter" placeholder="attn, fc1, memory …" autocomplete="off"></label>
<div class="scroll" tabindex="0" role="region" aria-label="Table of dispatches"><table class="dispatches"><caption>In the order in which they run</caption>
<thead><tr><th scope="col">Dispatch</th><th scope="col">Time</th><th scope="col" class="number">Share</th><th scope="col">Choice</th><th scope="col" class="number wide">FLOPs</th><th scope="col" class="number wide">Bytes</th><th scope="col" class="number">FLOP/s</th><th scope="col" class="number">B/s</th><th scope="col">Bound by</th><th scope="col" class="number">Reach</th></tr></thead>
<tbody>${dispatches.map(row)}</tbody>
<tfoot><tr><th scope="row">${plural(dispatches.length, "dispatch")}</th><td class="measure"><span>${duration(microseconds)}</span></td><td class="number"></td><td></td><td class="number wide">${short(sum(dispatches, ({ flops }) => flops))}</td><td class="number wide">${bytes(sum(dispatches, ({ bytes: moved }) => moved))}</td><td></td><td></td><td></td><td></td></tr></tfoot></table></div>`;
}

const sum = <T>(items: readonly T[], value: (item: T) => number): number => items.reduce((total, item) => total + value(item), 0);

/** A time in microseconds as a person reads it: three digits and a unit. */
function duration(microseconds: number): string {
  const [value, unit] = microseconds >= 1e6 ? [microseconds / 1e6, "s"] : microseconds >= 1000 ? [microseconds / 1000, "ms"] : [microseconds, "µs"];
  return `${value >= 99.95 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}
