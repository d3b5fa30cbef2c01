import type { GraphBuilder, Value } from "../graph.js";
import { sliceLast } from "./tokens.js";
import type { AttentionAttrs } from "./fused.js";
import { demand, elements, last, type Fused } from "./op.js";
import type { ActivationKind } from "./pointwise.js";
import type { RotaryPairs } from "./attention-parts.js";

/** Of x [..., 2 width] one half is activated and multiplied with the other: [..., width]. The gate is the first half, or the last. */
export const gated: Fused<{ readonly activation: ActivationKind; readonly gateFirst: boolean }> = {
  infer([x]) {
    demand(x !== undefined && last(x) % 2 === 0, () => `gated: ${x}`);
    return sliceLast.infer([x], { start: 0, end: last(x) / 2 });
  },
  flops: (_inputs, _attrs, output) => 11 * elements(output),
  expand(b, [x], { activation, gateFirst }, name) {
    const width = last(x!.shape) / 2;
    const halves = [0, 1].map((half) => b.node("sliceLast", { start: half * width, end: (half + 1) * width }, [x!], name)) as [Value, Value];
    const [gate, value] = gateFirst ? halves : ([halves[1], halves[0]] as const);
    return b.node("multiply", {}, [b.node("activation", { kind: activation }, [gate], name), value], name);
  },
};

export interface PrepareAttrs {
  /** Heads of queries, and of keys. */
  readonly heads: number;
  /** Norms over the width of a head. Inputs behind the projection: scale, and shift of a layer norm, for queries, then for keys. */
  readonly norm?: { readonly kind: "layer" | "rms"; readonly eps: number };
  /** Rotary positions behind them, by a table that is the last input. */
  readonly rotary?: { readonly pairs: RotaryPairs; readonly prefix: number };
}

/** Queries and keys of a packed projection [batch, tokens, 3 width] made ready for attention: normed and rotated, in their places. */
export const prepareHeads: Fused<PrepareAttrs> = {
  infer(inputs, { heads, norm, rotary }) {
    const [qkv] = inputs;
    const count = 1 + (norm ? (norm.kind === "layer" ? 4 : 2) : 0) + Number(rotary !== undefined);
    demand(qkv?.length === 3 && last(qkv) % (3 * heads) === 0 && inputs.length === count, () => `prepareHeads: ${inputs.join(" and ")} for ${heads} heads`);
    return qkv;
  },
  flops: ([qkv], { norm, rotary }) => ((norm ? 8 : 0) + (rotary ? 3 : 0)) * ((elements(qkv!) * 2) / 3),
  expand(b, inputs, { heads, norm, rotary }, name) {
    const qkv = inputs[0]!;
    const width = last(qkv.shape) / 3;
    const each = norm?.kind === "layer" ? 2 : 1;
    const prepared = [0, 1].map((part) => {
      let x = b.node("splitHeads", { heads, part }, [qkv], name);
      const affine = norm ? inputs.slice(1 + part * each, 1 + (part + 1) * each) : [];
      if (norm) x = b.node(norm.kind === "layer" ? "layerNorm" : "rmsNorm", { eps: norm.eps }, [x, ...affine], name);
      if (rotary) x = b.node("rotate", rotary, [x, inputs[inputs.length - 1]!], name);
      return b.node("mergeHeads", {}, [x], name);
    });
    return b.node("concat", { axis: 2 }, [...prepared, b.node("sliceLast", { start: 2 * width, end: 3 * width }, [qkv], name)], name);
  },
};

export interface DifferentialAttrs {
  /** Heads of values; of queries and keys there are twice as many. */
  readonly heads: number;
  readonly scale: number;
  /** Of the norm of each head. */
  readonly eps: number;
}

/**
 * Differential attention: of a packed projection [batch, tokens, 3 width], how much of the second map is subtracted [1], and the scale of the
 * norm of each head [headDim], to [batch, tokens, width].
 */
export const differentialAttention: Fused<DifferentialAttrs> = {
  infer([qkv, lambda, scale], { heads }) {
    demand(qkv?.length === 3 && last(qkv) % (6 * heads) === 0 && lambda?.length === 1 && scale?.length === 1 && scale[0] === last(qkv) / 3 / heads, () => `differentialAttention: ${qkv}, ${lambda}, ${scale} for ${heads} heads`);
    return [...qkv.slice(0, -1), last(qkv) / 3];
  },
  // Scores of two maps with half as wide heads, the softmax of both, and their difference times values of the whole width.
  flops: ([qkv], { heads }, output) => (elements(output) / last(output)) * qkv![1]! * (4 * last(output) + 14 * heads),
  expand(b: GraphBuilder, [qkv, lambda, scale], attrs, name) {
    const { heads, eps } = attrs;
    const [q, k] = [0, 1].map((part) => b.node("splitHeads", { heads: 2 * heads, part }, [qkv!], name)) as [Value, Value];
    const scores = b.node("matmul", { transposeB: true }, [b.node("scale", { factor: attrs.scale }, [q], name), k], name);
    const weights = b.node("headDifference", {}, [b.node("softmax", {}, [scores], name), lambda!], name);
    const mixed = b.node("matmul", { transposeB: false }, [weights, b.node("splitHeads", { heads, part: 2 }, [qkv!], name)], name);
    return b.node("mergeHeads", {}, [b.node("rmsNorm", { eps }, [mixed, scale!], name)], name);
  },
};

export interface MapAttrs {
  /** Heads of values: those of the map. Of queries and keys there are twice as many where it is a difference. */
  readonly heads: number;
  readonly scale: number;
  /** The last input is a table of `relativeBias`, which is added to the scaled scores. Not of a difference. */
  readonly relative?: AttentionAttrs["relative"];
  /** The difference of two maps, the second times the last input [1]. */
  readonly differential?: true;
}

/**
 * By what an attention weighs values: softmax(scale q kᵀ) of a packed projection [batch, tokens, 3 width], to [batch, heads, queries, keys]. An
 * attention keeps it to itself, so where a map is wanted it is computed once more.
 */
export const attentionMap: Fused<MapAttrs> = {
  infer(inputs, { heads, relative, differential }) {
    const [qkv] = inputs;
    const pairs = differential ? 2 * heads : heads;
    demand(qkv?.length === 3 && last(qkv) % (3 * pairs) === 0 && !(relative && differential) && inputs.length === 1 + Number(relative !== undefined || differential === true), () => `attentionMap: ${inputs.join(" and ")} with ${heads} heads`);
    return [qkv[0]!, heads, qkv[1]!, qkv[1]!];
  },
  // For each query and key 2 headDim for the score, the scale, a bias, and 5 for the softmax; of a difference both have half as wide heads.
  flops: ([qkv], { heads, relative, differential }, output) => elements(output) * ((2 * last(qkv!)) / 3 / heads + (differential ? 14 : relative ? 7 : 6)),
  // Values are not read.
  touched: ([qkv, ...others]) => [(elements(qkv!) * 2) / 3, ...others.map(elements)],
  expand(b, [qkv, other], { heads, scale, relative, differential }, name) {
    const [q, k] = [0, 1].map((part) => b.node("splitHeads", { heads: differential ? 2 * heads : heads, part }, [qkv!], name)) as [Value, Value];
    let scores = b.node("matmul", { transposeB: true }, [scale === 1 ? q : b.node("scale", { factor: scale }, [q], name), k], name);
    if (relative) scores = b.node("add", {}, [scores, b.node("relativeBias", relative, [other!], name)], name);
    const map = b.node("softmax", {}, [scores], name);
    return differential ? b.node("headDifference", {}, [map, other!], name) : map;
  },
};
