import type { Value } from "../graph.js";
import { conv2d, mapToTokens, tokensToMap } from "./conv.js";
import { linear } from "./linear.js";
import { demand, elements, last, sameShape, type Fused, type Shape } from "./op.js";
import { add, expand, type ActivationKind } from "./pointwise.js";
import { layerNorm, reduce, rmsNorm } from "./rows.js";
import { concat, padTokens, sliceTokens, token } from "./tokens.js";

/** Where the rows of a matrix product come from. */
export type GemmSource =
  /** The rows of x [..., in]. */
  | { readonly kind: "rows" }
  /** Windows of an image x [batch, channels, height, width]: a convolution. */
  | ({ readonly kind: "image" } & Windows)
  /** Windows of a map stored as tokens x [batch, height * width, channels]: a convolution. */
  | ({ readonly kind: "map"; readonly height: number; readonly width: number } & Windows);

interface Windows {
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  /** Rows of zeros in front of each image's windows, where a table puts the prefix tokens. Default: none. */
  readonly prefix?: number;
}

export interface GemmAttrs {
  readonly source: GemmSource;
  readonly bias: boolean;
  readonly activation: ActivationKind | "none";
  readonly residual: boolean;
  /**
   * Rows are divided by sqrt(variance + eps) over the last axis first. Their mean stays: where the weight's sum over `in` is zero for every
   * output (`foldNormScale` makes it so) it drops out of the product, which is then that of normalised rows. Sources of rows only.
   */
  readonly norm?: { readonly eps: number };
  /** A table [1, tokens, out] is added to every image's rows, last. Not together with a residual. */
  readonly table?: true;
}

/** The output of a convolution source, as tokens [batch, positions, out]; of rows, [..., out]. */
function gemmShape(x: Shape, w: Shape, source: GemmSource): Shape {
  if (source.kind === "rows") return linear.infer([x, w], {});
  const map = source.kind === "image" ? x : tokensToMap.infer([x], source);
  return padTokens.infer([mapToTokens.infer([conv2d.infer([map, w], source)], {})], { start: source.prefix ?? 0 });
}

/**
 * A matrix product or convolution with what goes before and after it: activation(norm(x) W + bias) + residual or table.
 * Inputs: x, weight, bias if any, residual or table if any.
 */
export const gemm: Fused<GemmAttrs> = {
  infer(inputs, { source, bias, activation, residual, norm, table }) {
    const [x, w] = inputs;
    const addend = residual || table === true;
    demand(inputs.length === 2 + Number(bias) + Number(addend) && !(residual && table), () => `gemm: ${inputs.length} inputs for bias ${bias}, residual ${residual}, table ${table}`);
    demand(!norm || source.kind === "rows", () => `gemm: a norm of ${source.kind} windows`);
    demand(source.kind === "rows" || !source.prefix || (table === true && !bias && activation === "none"), () => "gemm: prefix rows without a table, or with something else behind the product");
    const shape = gemmShape(x!, w!, source);
    demand(!bias || (inputs[2]!.length === 1 && inputs[2]![0] === w![0]), () => `gemm: bias ${inputs[2]} for weight ${w}`);
    const added = inputs[inputs.length - 1]!;
    demand(!addend || sameShape(added, table ? [1, ...shape.slice(1)] : shape), () => `gemm: ${table ? "table" : "residual"} ${added} for output ${shape}`);
    return shape;
  },
  flops: ([x, w], { activation, residual, bias, norm, table }, output) =>
    elements(output) * (2 * (elements(w!) / w![0]!) + Number(bias) + Number(residual || table === true) + Number(norm !== undefined) + (activation === "none" ? 0 : activation === "relu" ? 1 : 10)) + (norm ? 5 * elements(x!) : 0),
  expand(b, inputs, { source, bias, activation, residual, norm, table }, name) {
    const [x, w] = inputs as [Value, Value];
    const operands = bias ? [w, inputs[2]!] : [w];
    let y: Value;
    if (source.kind === "rows") y = b.node("linear", {}, [norm ? b.node("unitVariance", norm, [x], name) : x, ...operands], name);
    else {
      const map = source.kind === "image" ? x : b.node("tokensToMap", { height: source.height, width: source.width }, [x], name);
      y = b.node("mapToTokens", {}, [b.node("conv2d", { stride: source.stride, padding: source.padding }, [map, ...operands], name)], name);
      if (source.prefix) y = b.node("padTokens", { start: source.prefix }, [y], name);
    }
    if (activation !== "none") y = b.node("activation", { kind: activation }, [y], name);
    const added = inputs[inputs.length - 1]!;
    if (table) return b.node("add", {}, [y, added], name);
    return residual ? b.node("add", {}, [added, y], name) : y;
  },
};

export interface AttentionAttrs {
  readonly heads: number;
  readonly scale: number;
  /** The queries [1, queries, heads * headDim] are the same for every image. */
  readonly shared?: true;
  /** The last input is a table of `relativeBias`, which is added to the scaled scores. Packed projections only. */
  readonly relative?: { readonly grid: readonly [rows: number, columns: number]; readonly prefix: number };
}

/**
 * Multi-head self-attention: softmax(scale q kᵀ) v, heads side by side. One input: a packed projection [batch, tokens, 3 * heads * headDim].
 * Two: the queries [batch, queries, heads * headDim], or one an image [batch, heads * headDim], and keys and values packed
 * [batch, tokens, 2 * heads * headDim]. The output has the shape of the queries, for each image.
 */
export const attention: Fused<AttentionAttrs> = {
  infer(inputs, { heads, shared, relative }) {
    const [first, kv] = relative ? inputs.slice(0, -1) : inputs;
    const width = kv ? last(kv) / 2 : last(first!) / 3;
    const paired = kv ? kv.length === 3 && (shared ? first![0] === 1 && first!.length === 3 : kv[0] === first![0]) && last(first!) === width && (first!.length === 2 || first!.length === 3) : first?.length === 3;
    demand(paired && width % heads === 0 && inputs.length <= 2 && !(kv && relative) && !(shared && !kv), () => `attention: ${inputs.join(" and ")} with ${heads} heads`);
    return [...(shared ? [kv![0]!, ...first!.slice(1, -1)] : first!.slice(0, -1)), width];
  },
  // For each query and key 2 headDim for the score and 2 for the weighted sum, the scale, and 5 for the softmax, over all heads.
  flops: ([first, second], { heads, relative }, output) => (elements(output) / last(output)) * ((relative ? undefined : second) ?? first!)[1]! * (4 * last(output) + (relative ? 7 : 6) * heads),
  expand(b, inputs, { heads, scale, shared, relative }, name) {
    const [given, kv] = (relative ? inputs.slice(0, -1) : inputs) as [Value, Value?];
    const single = given.shape.length === 2;
    const first = single ? b.node("asTokens", {}, [given], name) : shared ? b.node("expand", { batch: kv!.shape[0]! }, [given], name) : given;
    const head = (value: Value, part: number, parts: number) => b.node("splitHeads", { heads, part, ...(parts !== 3 && { parts }) }, [value], name);
    const [q, k, v] = kv ? [head(first, 0, 1), head(kv, 0, 2), head(kv, 1, 2)] : ([0, 1, 2].map((part) => head(first, part, 3)) as [Value, Value, Value]);
    let scores = b.node("matmul", { transposeB: true }, [scale === 1 ? q : b.node("scale", { factor: scale }, [q], name), k], name);
    if (relative) scores = b.node("add", {}, [scores, b.node("relativeBias", relative, [inputs[1]!], name)], name);
    const merged = b.node("mergeHeads", {}, [b.node("matmul", { transposeB: false }, [b.node("softmax", {}, [scores], name), v], name)], name);
    return single ? b.node("token", { index: 0 }, [merged], name) : merged;
  },
};

export interface EmbedAttrs {
  /** Prefix tokens, in as many inputs as there are kinds of them. */
  readonly prefix: number;
  /** Whether the last input is a position table, and which tokens it covers. */
  readonly position: "all" | "patches" | "none";
}

/** Prefix tokens [1, tokens, dim] in front of the patches [batch, patches, dim], plus positions. Inputs: patches, prefix tokens, positions if any. */
export const embed: Fused<EmbedAttrs> = {
  infer(inputs, { prefix, position }) {
    const patches = inputs[0]!;
    const table = inputs[inputs.length - 1]!;
    const tokens = inputs.slice(1, position === "none" ? undefined : -1).map((shape) => expand.infer([shape], { batch: patches[0]! }));
    demand(inputs.length >= 1 + Number(position !== "none") && tokens.reduce((sum, shape) => sum + shape[1]!, 0) === prefix, () => `embed: ${inputs.join(" and ")} for ${prefix} prefix tokens, positions of ${position}`);
    const all = concat.infer([...tokens, position === "patches" ? add.infer([patches, table], {}) : patches], { axis: 1 });
    return position === "all" ? add.infer([all, table], {}) : all;
  },
  flops: (_inputs, { position }, output) => (position === "none" ? 0 : elements(output)),
  expand(b, inputs, { position }, name) {
    const batch = inputs[0]!.shape[0]!;
    const positions = inputs[inputs.length - 1]!;
    const x = position === "patches" ? b.node("add", {}, [inputs[0]!, positions], name) : inputs[0]!;
    const tokens = inputs.slice(1, position === "none" ? undefined : -1).map((token) => b.node("expand", { batch }, [token], name));
    const all = b.node("concat", { axis: 1 }, [...tokens, x], name);
    return position === "all" ? b.node("add", {}, [all, positions], name) : all;
  },
};

/** The norm of one token of x [batch, tokens, width] -> [batch, width]. Inputs: x, scale, and the shift of a layer norm. */
export const tokenNorm: Fused<{ readonly kind: "layer" | "rms"; readonly index: number; readonly eps: number }> = {
  infer([x, ...affine], { kind, index, eps }) {
    const one = token.infer([x!], { index });
    return kind === "layer" ? layerNorm.infer([one, ...affine], { eps }) : rmsNorm.infer([one, ...affine], { eps });
  },
  flops: (_inputs, { kind }, output) => (kind === "layer" ? 8 : 4) * elements(output),
  // The other tokens are not read.
  touched: ([, ...affine], _attrs, output) => [elements(output), ...affine.map(elements)],
  expand: (b, [x, ...affine], { kind, index, eps }, name) => b.node(kind === "layer" ? "layerNorm" : "rmsNorm", { eps }, [b.node("token", { index }, [x!], name), ...affine], name),
};

/**
 * The mean or maximum over the tokens of x [batch, tokens, width] from `start` on -> [batch, width]; `avgmax` is the mean of both, `tokenavg`
 * token 0 and the mean side by side [batch, 2 width].
 */
export const poolTokens: Fused<{ readonly kind: "avg" | "max" | "avgmax" | "tokenavg"; readonly start: number }> = {
  infer([x], { kind, start }) {
    const [batch, width] = reduce.infer([sliceTokens.infer([x!], { start, end: x![1]! })], { kind: "avg" }) as [number, number];
    return [batch, kind === "tokenavg" ? 2 * width : width];
  },
  flops: ([x], { kind, start }) => (kind === "avgmax" ? 2 : 1) * x![0]! * (x![1]! - start) * x![2]!,
  touched: ([x], { kind, start }) => [x![0]! * (x![1]! - start + Number(kind === "tokenavg" && start > 0)) * x![2]!],
  expand(b, [x], { kind, start }, name) {
    const patches = b.node("sliceTokens", { start, end: x!.shape[1]! }, [x!], name);
    const reduced = (kind: "avg" | "max"): Value => b.node("reduce", { kind }, [patches], name);
    if (kind === "avgmax") return b.node("scale", { factor: 0.5 }, [b.node("add", {}, [reduced("avg"), reduced("max")], name)], name);
    return kind === "tokenavg" ? b.node("concat", { axis: 1 }, [b.node("token", { index: 0 }, [x!], name), reduced("avg")], name) : reduced(kind);
  },
};

/** (a + b) * factor, for tensors of one shape. */
export const addScale: Fused<{ readonly factor: number }> = {
  infer([a, b]) {
    demand(sameShape(a!, b!), () => `addScale: ${a} and ${b}`);
    return a!;
  },
  flops: ([a]) => 2 * elements(a!),
  expand: (b, inputs, { factor }, name) => b.node("scale", { factor }, [b.node("add", {}, inputs, name)], name),
};
