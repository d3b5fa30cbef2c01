import type { DispatchReport, ProfileReport, Report, StageReport } from "../report.js";
import { by, bytes, count, flops, percent, plural } from "../format.js";
import { markup, type Markup } from "./markup.js";

/** Width of a lane beside the rows, in which an edge runs past dispatches that it does not concern. */
const lane = 20;

/** The graph, dispatch by dispatch, with the nodes that each computes; equal blocks are drawn once. */
export function graph(report: Report): Markup {
  const profile = report.profiles[0]!;
  return markup`<div class="stages">${profile.stages.map((stage) => stageOf(stage, profile))}</div>`;
}

function stageOf(stage: StageReport, profile: ProfileReport): Markup {
  const { first, count: size, repeats, name, block } = stage;
  const rows = profile.dispatches.slice(first, first + size);
  const cost = profile.dispatches.slice(first, first + size * repeats).reduce((sum, dispatch) => sum + dispatch.flops, 0);
  const range = block === null ? "" : repeats > 1 ? `blocks.${block} to blocks.${block + repeats - 1}, all alike · ` : `blocks.${block} · `;
  const title = name === "blocks" ? markup`Block${repeats > 1 && markup` <span class="times">× ${count(repeats)}</span>`}` : name === "embedding" ? "Embedding" : "Head";
  const edges = skips(rows, first);
  const lanes = edges.reduce((most, edge) => Math.max(most, edge.lane + 1), 0);
  return markup`<section class="stage${name === "blocks" && " block"}${repeats > 1 && " repeated"}"><header><h3>${title}</h3><p>${range}${plural(size, "dispatch")}${repeats > 1 && " each"} · ${percent(cost / profile.flops)} of the FLOPs</p></header>
<ol class="rows" style="--lanes:${lanes * lane}px"><li class="row entry">${gutter(edges, -1)}<p>${entryOf(rows, profile)}</p></li>
${rows.map((dispatch, i) => row(dispatch, i, edges, stage))}</ol></section>`;
}

/** What comes in from above. */
function entryOf(rows: readonly DispatchReport[], { dispatches }: ProfileReport): string {
  const source = rows.flatMap(({ reads }) => reads).find((index) => index < rows[0]!.index);
  if (source === undefined || source < 0) return "input image";
  return `${by(dispatches[source]!.shape, "×")} ${dispatches[source]!.shape.length > 1 ? "tokens × width" : "values"}`;
}

function row(dispatch: DispatchReport, i: number, edges: readonly Skip[], { repeats, first }: StageReport): Markup {
  const { index, kind, label, covers, shape, reads, inPlace, outputs } = dispatch;
  const name = label.replace(/^blocks\.\d+\./, "");
  const spine = reads.some((read) => (i === 0 ? read < first : read === index - 1));
  return markup`<li class="row k-${kind}${spine && " spine"}" data-dispatch="${index}">${gutter(edges, i)}<div class="node"><p class="name"><b>${name}</b><span class="kind">${kind}</span><span class="shape">${by(shape, "×")}</span></p>
<p class="chips">${covers.map(({ name, op }) => markup`<code title="${name}">${op}</code>`)}${inPlace && markup`<span class="badge">updated in place</span>`}${outputs.map((output) => markup`<span class="badge out">output ${output}${repeats > 1 && ", and so on"}</span>`)}</p>
<p class="cost">${flops(dispatch.flops)} · ${bytes(dispatch.bytes)}</p></div></li>`;
}

/** An edge that runs past other dispatches: from row `from` (-1: above the stage) to row `to`, both counted in the stage. */
interface Skip {
  readonly from: number;
  readonly to: number;
  readonly lane: number;
  readonly adds: boolean;
}

function skips(rows: readonly DispatchReport[], first: number): readonly Skip[] {
  const edges = rows.flatMap(({ reads, inPlace, covers }, to) => {
    const adds = inPlace || covers.some(({ op }) => op === "add");
    return reads.map((read) => ({ from: Math.max(-1, read - first), to, adds })).filter(({ from }) => from < to - 1);
  });
  const free: number[] = [];
  return edges
    .sort((a, b) => a.from - b.from || a.to - b.to)
    .map((edge) => {
      // A lane is free again where an edge ends: the residual stream stays in one.
      const open = free.findIndex((until) => until <= edge.from);
      const lane = open < 0 ? free.length : open;
      free[lane] = edge.to;
      return { ...edge, lane };
    });
}

function gutter(edges: readonly Skip[], i: number): Markup {
  const pieces = edges.flatMap(({ from, to, lane: at, adds }) => {
    const style = `--at:${at * lane}px`;
    if (i === from) return [markup`<i class="starts" style="${style}"></i>`];
    if (i > from && i < to) return [markup`<i class="passes" style="${style}"></i>`];
    if (i === to) return [markup`<i class="ends" style="${style}"></i>`, ...(adds ? [markup`<i class="adds" style="${style}">+</i>`] : [])];
    return [];
  });
  return markup`<span class="gutter" aria-hidden="true">${pieces}</span>`;
}
