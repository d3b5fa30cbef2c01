import type { Node, NodeOf, Value } from "../ir/graph.js";
import type { PrepareAttrs } from "../ir/ops/fused-parts.js";
import { rewrite, type Pass, type Rewriter } from "./pass.js";

/**
 * split, prepare, scale, q kᵀ, bias, softmax, weighted sum, merge -> one attention on the packed projection, and beside it an attentionMap where
 * the weights are an output of the model.
 */
export const fuseAttention: Pass = {
  name: "fuse-attention",
  why: "Scores of all tokens with all tokens never reach memory, and q, k, v are read in place from the packed projection.",
  run: (graph, log) =>
    rewrite(graph, (node, rewriter) => {
      if (node.op !== "mergeHeads") return undefined;
      const name = node.name.replace(/\.merge$/, "");
      const fused = differential(node, name, rewriter) ?? plain(node, name, rewriter);
      log(fused ? name : node.name, fused !== undefined, fused ? `scores, softmax and weighted sum in one kernel${fused.map ? ", and the map, which is returned, in another" : ""}` : "not the pattern softmax(scale q kᵀ) v on one packed projection, or something inside is read elsewhere");
      return fused?.value;
    }),
};

type Merge = NodeOf<"mergeHeads">;

interface Fusion {
  readonly value: Value;
  /** Whether the weights are an output, which then has a kernel of its own. */
  readonly map: boolean;
}

function plain(node: Merge, name: string, rewriter: Rewriter): Fusion | undefined {
  const { producer, emit } = rewriter;
  const mix = only(node.inputs[0], "matmul", rewriter);
  const softmax = onlyReader(mix?.inputs[0], "softmax", rewriter);
  const biased = only(softmax?.inputs[0], "add", rewriter);
  const bias = producer(biased?.inputs[1], "relativeBias");
  const scored = scores(biased && bias ? biased.inputs[0] : softmax?.inputs[0], rewriter);
  if (!mix || mix.attrs.transposeB || !softmax || !scored) return undefined;
  const v = producer(mix.inputs[1], "splitHeads");
  const inside = [...scored.nodes, ...(biased && bias ? [biased] : []), softmax, mix, node];
  const { q, k, scale } = scored;
  const heads = q.split.attrs.heads;
  if (!v || k.split.attrs.heads !== heads || v.attrs.heads !== heads) return undefined;
  const map = rewriter.isOutput(softmax.output);
  const shared = sharedQuery(scored, v, rewriter);
  if (shared && !bias && !map) return { value: emit("attention", { heads, scale, shared: true }, [shared, v.inputs[0]!], name, [...inside, v]), map };
  const packed = packedInput(scored, v);
  if (!packed) return undefined;
  const ready = prepared(packed, scored, `${name}.prepare`, rewriter);
  if (!ready) return undefined;
  const attrs = { heads, scale, ...(bias && { relative: { grid: bias.attrs.grid, prefix: bias.attrs.prefix } }) };
  const inputs = [ready, ...(bias ? [bias.inputs[0]!] : [])];
  const splits = [q.split, k.split];
  if (map) rewriter.replaceOutput(softmax.output, emit("attentionMap", attrs, inputs, `${name}.map`, [...scored.nodes, ...(biased && bias ? [biased] : []), softmax, ...splits]));
  return { value: emit("attention", attrs, inputs, name, [...inside, ...splits, v]), map };
}

function differential(node: Merge, name: string, rewriter: Rewriter): Fusion | undefined {
  const { producer, isWeight, emit } = rewriter;
  const factor = only(node.inputs[0], "scale", rewriter);
  const norm = only(factor?.inputs[0], "rmsNorm", rewriter);
  const mix = only(norm?.inputs[0], "matmul", rewriter);
  const difference = onlyReader(mix?.inputs[0], "headDifference", rewriter);
  const softmax = only(difference?.inputs[0], "softmax", rewriter);
  const scored = scores(softmax?.inputs[0], rewriter);
  const v = producer(mix?.inputs[1], "splitHeads");
  if (!factor || !norm || !mix || mix.attrs.transposeB || !difference || !softmax || !scored || !v) return undefined;
  const { q, k, scale } = scored;
  const heads = v.attrs.heads;
  const packed = packedInput(scored, v);
  if (!packed || q.split.attrs.heads !== 2 * heads || k.split.attrs.heads !== 2 * heads || ![difference.inputs[1]!, norm.inputs[1]!].every(isWeight)) return undefined;
  const ready = prepared(packed, scored, `${name}.prepare`, rewriter);
  if (!ready) return undefined;
  // The factor is another in each block: in the norm's scale, blocks still share a kernel.
  const width = norm.inputs[1]!;
  const scaled = emit("scaleRows", { start: 0, end: width.shape[0]!, factor: factor.attrs.factor }, [width], `${norm.name}.weight`);
  const map = rewriter.isOutput(difference.output);
  const weights = [...scored.nodes, softmax, difference, q.split, k.split];
  if (map) rewriter.replaceOutput(difference.output, emit("attentionMap", { heads, scale, differential: true }, [ready, difference.inputs[1]!], `${name}.map`, weights));
  return { value: emit("differentialAttention", { heads, scale, eps: norm.attrs.eps }, [ready, difference.inputs[1]!, scaled], name, [...weights, mix, norm, factor, v, node]), map };
}

/** Queries or keys, from their place in a projection to what the scores read. */
interface Operand {
  readonly split: NodeOf<"splitHeads">;
  readonly norm?: NodeOf<"layerNorm"> | NodeOf<"rmsNorm">;
  readonly rotate?: NodeOf<"rotate">;
}

interface Scores {
  readonly q: Operand;
  readonly k: Operand;
  readonly scale: number;
  readonly nodes: readonly Node[];
}

/** scale(q) kᵀ. */
function scores(value: Value | undefined, rewriter: Rewriter): Scores | undefined {
  const product = only(value, "matmul", rewriter);
  const scale = rewriter.producer(product?.inputs[0], "scale");
  const [q, k] = [operand(scale?.inputs[0], rewriter), operand(product?.inputs[1], rewriter)];
  if (!product?.attrs.transposeB || !scale || !q || !k) return undefined;
  return { q, k, scale: scale.attrs.factor, nodes: [scale, product] };
}

function operand(value: Value | undefined, rewriter: Rewriter): Operand | undefined {
  const rotate = only(value, "rotate", rewriter);
  const inner = rotate ? rotate.inputs[0] : value;
  const norm = only(inner, "layerNorm", rewriter) ?? only(inner, "rmsNorm", rewriter);
  const split = rewriter.producer(norm ? norm.inputs[0] : inner, "splitHeads");
  return split && { split, ...(norm && { norm }), ...(rotate && { rotate }) };
}

/** The packed projection that queries, keys and values are parts of. */
function packedInput({ q, k }: Scores, v: NodeOf<"splitHeads">): Value | undefined {
  const packed = q.split.inputs[0]!;
  return [q.split, k.split, v].every((split, i) => split.attrs.part === i && (split.attrs.parts ?? 3) === 3 && split.inputs[0] === packed) ? packed : undefined;
}

/** One query for all images, a weight, where keys and values are parts of a projection of their own. */
function sharedQuery({ q, k }: Scores, v: NodeOf<"splitHeads">, { producer, isWeight }: Rewriter): Value | undefined {
  const query = producer(q.split.inputs[0], "expand")?.inputs[0];
  const pair = [k.split, v].every((split, i) => split.attrs.part === i && split.attrs.parts === 2 && split.inputs[0] === v.inputs[0]);
  return query && isWeight(query) && q.split.attrs.parts === 1 && pair && !q.norm && !q.rotate && !k.norm && !k.rotate ? query : undefined;
}

/** The projection with queries and keys normed and rotated, if they are; undefined if they are so in different ways. */
function prepared(packed: Value, { q, k }: Scores, name: string, { isWeight, uses, isOutput, emit }: Rewriter): Value | undefined {
  if (!q.norm && !q.rotate && !k.norm && !k.rotate) return packed;
  const alike = q.norm?.op === k.norm?.op && q.norm?.attrs.eps === k.norm?.attrs.eps && q.rotate?.attrs.pairs === k.rotate?.attrs.pairs && q.rotate?.attrs.prefix === k.rotate?.attrs.prefix;
  const affine = [...(q.norm?.inputs.slice(1) ?? []), ...(k.norm?.inputs.slice(1) ?? [])];
  const tables = [q.rotate, k.rotate].flatMap((rotate) => (rotate ? [rotate.inputs[1]!] : []));
  // It happens where the projection lies, so nobody else may want that as it was.
  if (!alike || !affine.every(isWeight) || !tables.every(isWeight) || q.rotate?.inputs[1] !== k.rotate?.inputs[1] || uses(packed) !== 3 || isOutput(packed)) return undefined;
  const attrs: PrepareAttrs = {
    heads: q.split.attrs.heads,
    ...(q.norm && { norm: { kind: q.norm.op === "layerNorm" ? "layer" : "rms", eps: q.norm.attrs.eps } }),
    ...(q.rotate && { rotary: { pairs: q.rotate.attrs.pairs, prefix: q.rotate.attrs.prefix } }),
  };
  const nodes = [q.norm, k.norm, q.rotate, k.rotate].filter((node) => node !== undefined);
  return emit("prepareHeads", attrs, [packed, ...affine, ...tables.slice(0, 1)], name, nodes);
}

/** The producer of a value that one node reads; it may be an output beside that. */
function onlyReader<Name extends Node["op"]>(value: Value | undefined, op: Name, { producer, readers }: Rewriter): NodeOf<Name> | undefined {
  const node = producer(value, op);
  return node && readers(node.output).length === 1 ? node : undefined;
}

/** The producer of a value that nothing else reads. */
function only<Name extends Node["op"]>(value: Value | undefined, op: Name, { producer, uses }: Rewriter): NodeOf<Name> | undefined {
  const node = producer(value, op);
  return node && uses(node.output) === 1 ? node : undefined;
}
