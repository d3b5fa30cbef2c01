import type { ViTSpec } from "./types.js";

/** What decides which outputs a model has. */
export interface Blocks {
  readonly depth: number;
  readonly block: NonNullable<ViTSpec["block"]>;
}

/** Every name that `outputs` may hold for a model of these blocks, in the order in which a run produces them. */
export function optionalOutputs(blocks: Blocks): string[] {
  return ["embed", ...range(blocks.depth).flatMap((i) => [...mapsOf(i, blocks), `blocks.${i}`]), "norm", "tokens", "features", "logits_cls", "logits_dist", "embedding"];
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);

/** The attention maps of a block: one, or of parallel things two. */
const mapsOf = (i: number, { block }: Blocks): readonly string[] => (block === "parallelThings" ? [0, 1].map((j) => `blocks.${i}.attns.${j}.attn`) : [`blocks.${i}.attn`]);

/**
 * Requested outputs with `blocks.*` and `blocks.*.attn` written out, and `blocks.3.attn` where a block has two attentions. In the order of the
 * computation: a package lists them so, whatever the spec's order.
 */
export function expandOutputs(requested: readonly string[], blocks: Blocks): string[] {
  const all = range(blocks.depth);
  const written = (name: string): readonly string[] => {
    if (name === "blocks.*") return all.map((i) => `blocks.${i}`);
    if (name === "blocks.*.attn") return all.flatMap((i) => mapsOf(i, blocks));
    const one = /^blocks\.(\d+)\.attn$/.exec(name);
    return one && blocks.block === "parallelThings" && Number(one[1]) < blocks.depth ? mapsOf(Number(one[1]), blocks) : [name];
  };
  const wanted = new Set([...new Set(requested)].flatMap(written));
  const order = new Map(optionalOutputs(blocks).map((name, i) => [name, i]));
  return [...wanted].sort((a, b) => (order.get(a) ?? -1) - (order.get(b) ?? -1));
}

/** Whether an output is the attention map of a block. */
export const isMap = (name: string): boolean => /^blocks\.\d+\.(attns\.[01]\.)?attn$/.test(name);
