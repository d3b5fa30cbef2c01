import { buildGraph } from "../ir/build.js";
import type { Graph } from "../ir/graph.js";
import { passes, runPasses } from "../passes/index.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import type { DispatchReport, EventReport, StageReport } from "./report.js";

/** Where the graph can be looked at: as built, after each pass, and at the end. */
export const graphStages: readonly string[] = ["build", ...passes.map((pass) => pass.name), "lowered"];

/** The graph of a spec at a stage of `graphStages`, for the first batch size. */
export function graphAt(spec: ResolvedSpec, stage: string): Graph {
  const built = buildGraph(spec, { batch: spec.batch[0]! });
  if (stage === "build") return built;
  const last = passes.findIndex((pass) => pass.name === stage);
  return runPasses(built, last < 0 ? passes : passes.slice(0, last + 1)).graph;
}

/** The encoder block in a name like `blocks.3.mlp.fc1`; null outside of blocks. */
export function blockOf(name: string): number | null {
  const match = /^blocks\.(\d+)(?:\.|$)/.exec(name);
  return match ? Number(match[1]) : null;
}

/** A name or sentence with the numbers of its blocks taken out, so that equal blocks say equal things. */
export const anyBlock = (text: string): string => text.replaceAll(/\bblocks\.\d+/g, "blocks.*");

/**
 * Cuts the dispatches into embedding, encoder blocks and head. Neighbouring blocks with the same routines in the same order, reading each
 * other in the same way, are one stage.
 */
export function stagesOf(dispatches: readonly DispatchReport[]): readonly StageReport[] {
  const stages: (StageReport & { readonly signature: string })[] = [];
  for (let first = 0; first < dispatches.length; ) {
    const { block } = dispatches[first]!;
    let end = first;
    while (end < dispatches.length && dispatches[end]!.block === block) end++;
    const count = end - first;
    const signature = block === null ? "" : JSON.stringify(dispatches.slice(first, end).map((dispatch) => signatureOf(dispatch, first)));
    const before = stages[stages.length - 1];
    if (before && before.signature === signature && block !== null) stages[stages.length - 1] = { ...before, repeats: before.repeats + 1 };
    else stages.push({ name: block !== null ? "blocks" : first === 0 ? "embedding" : "head", first, count, repeats: 1, block, signature });
    first = end;
  }
  return stages.map(({ signature: _, ...stage }) => stage);
}

function signatureOf({ label, routine, covers, reads, inPlace, outputs }: DispatchReport, first: number): unknown {
  // Where a block begins to read, the distance depends on what stands before the first block: only reads inside of the block count.
  return [anyBlock(label), routine, covers.map(({ name, op }) => [anyBlock(name), op]), reads.map((i) => (i < first ? "before" : i - first)), inPlace, outputs.map(anyBlock)];
}

/** Events that say the same of several blocks, as one. */
export interface EventGroup extends EventReport {
  readonly count: number;
}

/** A rate or factor in a sentence. */
const decimal = /\d*\.\d+/;

/** Puts together what a pass says about equal blocks: `blocks.*.mlp.act`, 12 times. A number that rises from block to block becomes a range. */
export function groupEvents(events: readonly EventReport[]): readonly EventGroup[] {
  const groups = new Map<string, EventReport[]>();
  for (const event of events) {
    const key = JSON.stringify([event.fired, anyBlock(event.node), anyBlock(event.reason).replace(decimal, "")]);
    const group = groups.get(key);
    if (group) group.push(event);
    else groups.set(key, [event]);
  }
  return [...groups.values()].map((group) => {
    const { node, fired, reason } = group[0]!;
    if (group.length === 1) return { node, fired, reason, count: 1 };
    const [from, to] = [reason, group[group.length - 1]!.reason].map((text) => decimal.exec(anyBlock(text))?.[0]);
    const range = from === to ? reason : reason.replace(decimal, `${Number(Number(from).toPrecision(3))} to ${Number(Number(to).toPrecision(3))}`);
    return { node: anyBlock(node), fired, reason: anyBlock(range), count: group.length };
  });
}

/** A dispatch that stands for its likes in equal blocks. */
export interface Row {
  /** The first of them. */
  readonly dispatch: DispatchReport;
  /** Its label, with `blocks.*` where it stands for several. */
  readonly label: string;
  readonly repeats: number;
  /** Sums over all of them. */
  readonly flops: number;
  readonly bytes: number;
}

/** The dispatches of a profile with equal blocks put together, so that a table is as long at depth 24 as at depth 2. */
export function rowsOf({ dispatches, stages }: { readonly dispatches: readonly DispatchReport[]; readonly stages: readonly StageReport[] }): readonly Row[] {
  return stages.flatMap(({ first, count, repeats }) =>
    dispatches.slice(first, first + count).map((dispatch): Row => {
      const all = Array.from({ length: repeats }, (_, i) => dispatches[dispatch.index + i * count]!);
      const sum = (field: "flops" | "bytes") => all.reduce((total, other) => total + other[field], 0);
      return { dispatch, label: repeats > 1 ? anyBlock(dispatch.label) : dispatch.label, repeats, flops: sum("flops"), bytes: sum("bytes") };
    }),
  );
}

/** The dispatch that stands for dispatch `index` in `rowsOf`. */
export function representative(index: number, stages: readonly StageReport[]): number {
  const stage = stages.find(({ first, count, repeats }) => index >= first && index < first + count * repeats);
  return stage ? stage.first + ((index - stage.first) % stage.count) : index;
}
