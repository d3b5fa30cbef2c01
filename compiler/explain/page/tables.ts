import type { LimitReport, PassReport, ProfileReport, Report, TensorReport } from "../report.js";
import { anyBlock, groupEvents, rowsOf, type EventGroup } from "../stages.js";
import { bytes, count, flops, percent, plural, short } from "../format.js";
import { markup, type Markup } from "./markup.js";

/** Each pass: why it is there, what it did, where it declined. */
export function passList(passes: readonly PassReport[]): Markup {
  return markup`<ol class="passes">${passes.map(passItem)}</ol>`;
}

function passItem({ name, why, nodesBefore, nodesAfter, fired, declined, events }: PassReport): Markup {
  const idle = events.length === 0 && nodesBefore === nodesAfter;
  const result = idle ? "nothing to do here" : [fired > 0 && `fired ${times(fired)}`, declined > 0 && `declined ${times(declined)}`].filter(Boolean).join(", ") || "rewrote the graph";
  const change = nodesBefore === nodesAfter ? plural(nodesAfter, "node") : `${count(nodesBefore)} to ${count(nodesAfter)} nodes`;
  return markup`<li class="${idle ? "pass idle" : "pass"}"><header><h3>${name}</h3><p><span class="result">${result}</span>${!idle && ` · ${change}`}</p></header><p>${why}</p>
${events.length > 0 && markup`<ul>${groupEvents(events).map(eventItem)}</ul>`}</li>`;
}

const times = (n: number): string => (n === 1 ? "once" : `${count(n)} times`);

function eventItem({ node, fired, reason, count: repeats }: EventGroup): Markup {
  return markup`<li class="${fired ? "fired" : "declined"}"><span class="mark">${fired ? "fired" : "declined"}</span> <code>${node}</code>${repeats > 1 && markup` <span class="times">× ${count(repeats)}</span>`} <span>${reason}</span></li>`;
}

/** Where FLOPs and bytes go, by kind of dispatch; its buttons filter the table of dispatches. */
export function shares({ byKind, flops: allFlops, bytes: allBytes }: ProfileReport): Markup {
  const kinds = [...byKind].sort((a, b) => b.flops - a.flops);
  const bar = (label: string, share: (kind: (typeof kinds)[number]) => number) =>
    markup`<div class="share"><span>${label}</span><div class="stack" role="img" aria-label="${label}: ${kinds.map((kind) => `${kind.kind} ${percent(share(kind))}`).join(", ")}">${kinds.map((kind) => markup`<i class="k-${kind.kind}" style="width:${(share(kind) * 100).toFixed(3)}%" title="${kind.kind}: ${percent(share(kind))}"></i>`)}</div></div>`;
  return markup`<div class="shares">${bar("FLOPs", (kind) => kind.flops / allFlops)}${bar("Bytes", (kind) => kind.bytes / allBytes)}</div>
<div class="legend" role="group" aria-label="Show kinds of dispatches">${kinds.map(({ kind, dispatches, flops }) => markup`<button type="button" class="k-${kind}" data-kind="${kind}" aria-pressed="true"><i></i>${kind} <span>${count(dispatches)} · ${percent(flops / allFlops)}</span></button>`)}</div>`;
}

/** All dispatches, equal blocks in one row. */
export function dispatchTable(report: Report): Markup {
  const profile = report.profiles[0]!;
  const rows = rowsOf(profile);
  const ways = new Map(report.routines.map(({ id, choices }) => [id, choices.length]));
  const most = { flops: Math.max(...rows.map((row) => row.flops)), bytes: Math.max(...rows.map((row) => row.bytes)) };
  return markup`<label class="search">Filter <input type="search" id="filter" placeholder="attn, norm, gemm …" autocomplete="off"></label>
<div class="scroll" tabindex="0" role="region" aria-label="Table of dispatches"><table class="dispatches"><caption>Batch ${profile.batch}. A row stands for the equal blocks that it names; costs are the sums over them.</caption>
<thead><tr><th scope="col">Dispatch</th><th scope="col" class="wide">Routine</th><th scope="col" class="wide">Ways</th><th scope="col">FLOPs</th><th scope="col">Bytes</th><th scope="col" class="number">FLOP/byte</th></tr></thead>
<tbody>${rows.map(({ dispatch: { index, kind, routine, intensity }, label, repeats, flops, bytes: moved }) => markup`<tr class="k-${kind}" data-dispatch="${index}" data-kind="${kind}"><th scope="row"><i></i>${label}${repeats > 1 && markup` <span class="times">× ${count(repeats)}</span>`}</th><td class="wide"><a href="#routine-${routine}">${routine}</a></td><td class="wide number">${ways.get(routine)!}</td>${barCell(flops, most.flops, short(flops))}${barCell(moved, most.bytes, bytes(moved))}<td class="number">${intensity.toPrecision(intensity >= 10 ? 3 : 2)}</td></tr>`)}</tbody>
<tfoot><tr><th scope="row">${plural(profile.dispatches.length, "dispatch")}</th><td class="wide">${plural(new Set(rows.map(({ dispatch }) => dispatch.routine)).size, "routine")}</td><td class="wide"></td><td class="measure"><span>${short(profile.flops)}</span></td><td class="measure"><span>${bytes(profile.bytes)}</span></td><td class="number">${(profile.flops / profile.bytes).toFixed(0)}</td></tr></tfoot></table></div>`;
}

const barCell = (value: number, most: number, text: string): Markup => markup`<td class="measure"><i style="width:calc((100% - 14px) * ${(value / most).toFixed(4)})"></i><span>${text}</span></td>`;

/** Costs for each compiled batch size. */
export function batchTable({ profiles, targets }: Report): Markup {
  const activations = ({ arenas }: ProfileReport) => arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="Table of batch sizes"><table><caption>Compiled batch sizes</caption><thead><tr><th scope="col" class="number">Batch</th><th scope="col" class="number">Dispatches</th><th scope="col" class="number">Work</th><th scope="col" class="number">Moved</th><th scope="col" class="number">FLOP/byte</th><th scope="col" class="number">Activations</th>${targets.map((target) => markup`<th scope="col" class="number">Expected on ${target}</th>`)}</tr></thead>
<tbody>${profiles.map((profile) => markup`<tr><th scope="row" class="number">${profile.batch}</th><td class="number">${profile.dispatches.length}</td><td class="number">${flops(profile.flops)}</td><td class="number">${bytes(profile.bytes)}</td><td class="number">${(profile.flops / profile.bytes).toFixed(0)}</td><td class="number">${bytes(activations(profile))}</td>${targets.map((target) => markup`<td class="number">${expectedText(profile.expected[target]!)}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** Microseconds that a cost model expects. */
const expectedText = (microseconds: number): string => (microseconds >= 1000 ? `${(microseconds / 1000).toPrecision(3)} ms` : `${microseconds.toPrecision(3)} µs`);

/** Every kernel with its text. */
export function kernelList({ kernels }: Report): Markup {
  return markup`${kernels.map(({ id, kind, takenOn, workgroupSize, bindings, code }) => markup`<details class="kernel k-${kind}" id="kernel-${id}"><summary><i></i><code>${id}</code><span>${takenOn.length > 0 ? takenOn.join(", ") : "to be tried by vitc tune"} · ${workgroupSize.join(" × ")} invocations</span></summary>
<p>${bindings.map(({ name, access }, i) => markup`<span class="binding"><b>${i}</b> <code>${name}</code> ${access === "read" ? "read" : "read and written"}</span> `)}<button type="button" class="copy">Copy</button></p><pre tabindex="0"><code>${code}</code></pre></details>`)}`;
}

/** Packed weights, equal blocks in one row. */
export function weightTable(report: Report): Markup {
  const groups = new Map<string, TensorReport[]>();
  for (const tensor of report.weights.tensors) {
    const key = JSON.stringify([anyBlock(tensor.name), tensor.shape, tensor.sources.map(anyBlock), tensor.steps]);
    groups.set(key, [...(groups.get(key) ?? []), tensor]);
  }
  return markup`<details><summary>${plural(report.weights.tensors.length, "packed tensor")}</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of weights"><table><caption>What is made of the weight file, and how</caption><thead><tr><th scope="col">Tensor</th><th scope="col">Packed shape</th><th scope="col">Steps</th><th scope="col" class="number">Bytes</th></tr></thead>
<tbody>${[...groups.values()].map((group) => {
    const { name, shape, steps, sources, bytes: size } = group[0]!;
    const several = group.length > 1;
    return markup`<tr><th scope="row" title="${sources.join(", ")}">${several ? anyBlock(name) : name}${several && markup` <span class="times">× ${count(group.length)}</span>`}</th><td>${shape.join(" × ")}</td><td>${steps.join(", ") || "as it is"}</td><td class="number">${bytes(size * group.length)}</td></tr>`;
  })}</tbody></table></div></details>`;
}

/** What the plan needs of a device. */
export function limitTable(limits: readonly LimitReport[]): Markup {
  const show = (unit: LimitReport["unit"], n: number) => (unit === "bytes" ? bytes(n) : count(n));
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="Table of device limits"><table><caption>Device limits</caption><thead><tr><th scope="col">Limit</th><th scope="col" class="number">Needed</th><th scope="col" class="number">Every device has</th><th scope="col">Most by</th></tr></thead>
<tbody>${limits.map(({ name, unit, needed, guaranteed, by }) => markup`<tr${needed > guaranteed && markup` class="beyond"`}><th scope="row">${name}</th><td class="number">${show(unit, needed)}</td><td class="number">${show(unit, guaranteed)}</td><td>${by}${needed > guaranteed && " (asked for when the device is opened)"}</td></tr>`)}</tbody></table></div>`;
}
