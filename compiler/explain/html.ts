import { bytes, count, flops, plural, short } from "./format.js";
import { glance } from "./page/glance.js";
import { graph } from "./page/graph.js";
import { markup, Markup, type Piece } from "./page/markup.js";
import { timeline } from "./page/memory.js";
import { script } from "./page/script.js";
import { style } from "./page/style.js";
import { batchTable, dispatchTable, kernelList, limitTable, passList, shares, weightTable } from "./page/tables.js";
import { routineList } from "./page/routines.js";
import type { Report } from "./report.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import { toSpec } from "../spec/written.js";

/** The page may use what is in it and nothing else: a browser refuses every request that slips in. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

interface Section {
  readonly id: string;
  readonly title: string;
  readonly lead: Piece;
  readonly body: Piece;
}

/** A report as one self-contained page: no network, no other file, readable without scripts. */
export function html(report: Report): string {
  const sections = sectionsOf(report);
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<link rel="icon" href="data:,">
<title>${report.name}, explained</title>
<style>${new Markup(style)}</style>
</head>
<body>
<a class="skip" href="#model">To the content</a>
<header class="top">
<h1>${report.name}</h1>
<p class="lead">${lead(report)}</p>
${numbers(report)}
</header>
<nav aria-label="Sections"><ul>${sections.map(({ id, title }) => markup`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${sections.map(({ id, title, lead, body }) => markup`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2><p>${lead}</p>${body}</section>
`)}</main>
<footer>vitc ${report.vitc}, plan <code>${report.fingerprint}</code></footer>
<script>${new Markup(script)}</script>
</body>
</html>
`;
  return page.text;
}

function lead({ spec, profiles, graph }: Report): string {
  const { dispatches } = profiles[0]!;
  return `A Vision Transformer of ${plural(spec.depth, "block")} and width ${count(spec.dim)}. Its ${plural(graph.built.nodes, "operation")} run as ${plural(dispatches.length, "dispatch")} on the GPU.`;
}

function numbers({ parameters, profiles, graph, weights }: Report): Markup {
  const profile = profiles[0]!;
  const activations = profile.arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  const images = profile.batch === 1 ? "an image" : `${profile.batch} images`;
  const facts: readonly (readonly [string, string, string])[] = [
    ["Parameters", short(parameters), `${bytes(weights.bytes)} on the GPU`],
    ["Work", flops(profile.flops), `for ${images}`],
    ["Dispatches", count(profile.dispatches.length), `of ${plural(new Set(profile.dispatches.map(({ routine }) => routine)).size, "routine")}`],
    ["Memory moved", bytes(profile.bytes), `${bytes(graph.built.bytes)} unfused`],
    ["Activations", bytes(activations), `in ${plural(profile.arenas.length, "arena")}`],
    ["Intensity", `${(profile.flops / profile.bytes).toFixed(0)} FLOP/B`, "work for a byte moved"],
  ];
  return markup`<dl class="numbers">${facts.map(([name, value, note]) => markup`<div><dt>${name}</dt><dd>${value} <small>${note}</small></dd></div>`)}</dl>`;
}

function specText(spec: ResolvedSpec): Markup {
  return markup`<details class="spec"><summary>The spec, with every default spelled out</summary><pre tabindex="0"><code>${JSON.stringify(toSpec(spec), null, 2)}</code></pre></details>`;
}

function sectionsOf(report: Report): readonly Section[] {
  const { spec, passes, profiles, graph: graphs, kernels } = report;
  const fused = passes.reduce((sum, pass) => sum + pass.fired, 0);
  const declined = passes.reduce((sum, pass) => sum + pass.declined, 0);
  return [
    { id: "model", title: "The model", lead: "What happens to an image on its way through.", body: [glance(spec), specText(spec)] },
    {
      id: "graph",
      title: "The graph",
      lead: "A box is a dispatch; in it are the operations that it computes. Lines at the side run past dispatches: the residual stream, mostly, and + is where a branch is added to it.",
      body: graph(report),
    },
    {
      id: "passes",
      title: "Passes",
      lead: `${plural(graphs.built.nodes, "node")} became ${count(graphs.lowered.nodes)}, in this order. Rewrites fired ${count(fused)} times${declined > 0 ? ` and were declined ${count(declined)} times` : "; none was declined"}.`,
      body: passList(passes),
    },
    {
      id: "dispatches",
      title: "Dispatches",
      lead: "What each costs: floating point operations (a multiply-add counts two), and the bytes that must move at least once between memory and the kernel.",
      body: [shares(profiles[0]!), dispatchTable(report), ...(profiles.length > 1 ? [batchTable(report)] : [])],
    },
    {
      id: "memory",
      title: "Memory",
      lead: "Activations share a few buffers. Time runs to the right, a column a dispatch; a rectangle is a value, as long as it is needed and as high as it is large. One with a + took over the bytes of the value that it updates.",
      body: [timeline(profiles[0]!), weightTable(report), limitTable(report.limits)],
    },
    {
      id: "routines",
      title: "Routines",
      lead: "What dispatches do, and the ways to do it. The numbers are microseconds that a cost model expects on each kind of adapter, which are good for a ranking alone; the way that an adapter of the kind takes is marked. vitc tune measures instead.",
      body: routineList(report),
    },
    { id: "kernels", title: "Kernels", lead: `${plural(kernels.length, "WGSL program")}, whatever the depth: equal blocks share theirs. A run uses those of the ways that its adapter takes.`, body: kernelList(report) },
  ];
}
