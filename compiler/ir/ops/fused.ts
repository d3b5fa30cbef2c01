import type { Value } from "../graph.js";
import { conv2d, mapToTokens, tokensToMap } from "./conv.js";
import { linear } from "./linear.js";
import { demand, elements, f32Bytes, last, sameShape, type Fused, type Shape } from "./op.js";
import { add, expand, type ActivationKind } from "./pointwise.js";
import { layerNorm, reduce } from "./rows.js";
import { concat, sliceTokens, token } from "./tokens.js";

/** Where the rows of a matrix product come from. */
export type GemmSource =
  /** The rows of x [..., in]. */
  | { readonly kind: "rows" }
  /** Windows of an image x [batch, channels, height, width]: a convolution. */
  | { readonly kind: "image"; readonly stride: readonly [number, number]; readonly padding: readonly [number, number] }
  /** Windows of a map stored as tokens x [batch, height * width, channels]: a convolution. */
  | { readonly kind: "map"; readonly height: number; readonly width: number; readonly stride: readonly [number, number]; readonly padding: readonly [number, number] };

export interface GemmAttrs {
  readonly source: GemmSource;
  readonly bias: boolean;
  readonly activation: ActivationKind | "none";
  readonly residual: boolean;
}

/** The output of a convolution source, as tokens [batch, positions, out]; of rows, [..., out]. */
function gemmShape(x: Shape, w: Shape, source: GemmSource): Shape {
  if (source.kind === "rows") return linear.infer([x, w], {});
  const map = source.kind === "image" ? x : tokensToMap.infer([x], source);
  return mapToTokens.infer([conv2d.infer([map, w], source)], {});
}

/** A matrix product or convolution with what follows it: activation(x W + bias) + residual. Inputs: x, weight, bias if any, residual if any. */
export const gemm: Fused<GemmAttrs> = {
  infer(inputs, { source, bias, residual }) {
    const [x, w] = inputs;
    demand(inputs.length === 2 + Number(bias) + Number(residual), () => `gemm: ${inputs.length} inputs for bias ${bias}, residual ${residual}`);
    const shape = gemmShape(x!, w!, source);
    demand(!bias || (inputs[2]!.length === 1 && inputs[2]![0] === w![0]), () => `gemm: bias ${inputs[2]} for weight ${w}`);
    demand(!residual || sameShape(inputs[inputs.length - 1]!, shape), () => `gemm: residual ${inputs[inputs.length - 1]} for output ${shape}`);
    return shape;
  },
  flops: ([, w], { activation, residual, bias }, output) =>
    elements(output) * (2 * (elements(w!) / w![0]!) + Number(bias) + Number(residual) + (activation === "none" ? 0 : activation === "relu" ? 1 : 10)),
  expand(b, inputs, { source, bias, activation, residual }, name) {
    const [x, w] = inputs as [Value, Value];
    const operands = bias ? [w, inputs[2]!] : [w];
    let y: Value;
    if (source.kind === "rows") y = b.node("linear", {}, [x, ...operands], name);
    else {
      const map = source.kind === "image" ? x : b.node("tokensToMap", { height: source.height, width: source.width }, [x], name);
      y = b.node("mapToTokens", {}, [b.node("conv2d", { stride: source.stride, padding: source.padding }, [map, ...operands], name)], name);
    }
    if (activation !== "none") y = b.node("activation", { kind: activation }, [y], name);
    return residual ? b.node("add", {}, [inputs[inputs.length - 1]!, y], name) : y;
  },
};

/** Multi-head self-attention on a packed projection [batch, tokens, 3 * heads * headDim] -> [batch, tokens, heads * headDim]. */
export const attention: Fused<{ readonly heads: number; readonly scale: number }> = {
  infer([qkv], { heads }) {
    demand(qkv?.length === 3 && qkv[2]! % (3 * heads) === 0, () => `attention: ${qkv} with ${heads} heads`);
    return [qkv[0]!, qkv[1]!, qkv[2]! / 3];
  },
  // Scores and weighted sum 2 x 2 n² w, the scale n², the softmax 5 n², over all heads.
  flops: ([qkv], { heads }) => qkv![0]! * qkv![1]! ** 2 * (4 * (last(qkv!) / 3) + 6 * heads),
  expand(b, [qkv], { heads, scale }, name) {
    const [q, k, v] = ([0, 1, 2] as const).map((part) => b.node("splitHeads", { heads, part }, [qkv!], name)) as [Value, Value, Value];
    const scores = b.node("matmul", { transposeB: true }, [b.node("scale", { factor: scale }, [q], name), k], name);
    return b.node("mergeHeads", {}, [b.node("matmul", { transposeB: false }, [b.node("softmax", {}, [scores], name), v], name)], name);
  },
};

export interface EmbedAttrs {
  /** How many prefix tokens follow the patches in the inputs. */
  readonly prefix: number;
  /** Whether the last input is a position table, and which tokens it covers. */
  readonly position: "all" | "patches" | "none";
}

/** Prefix tokens [1, 1, dim] in front of the patches [batch, patches, dim], plus positions. Inputs: patches, prefix tokens, positions if any. */
export const embed: Fused<EmbedAttrs> = {
  infer(inputs, { prefix, position }) {
    demand(inputs.length === 1 + prefix + Number(position !== "none"), () => `embed: ${inputs.length} inputs`);
    const patches = inputs[0]!;
    const table = inputs[inputs.length - 1]!;
    const tokens = inputs.slice(1, 1 + prefix).map((shape) => {
      demand(shape[1] === 1, () => `embed: prefix token ${shape}`);
      return expand.infer([shape], { batch: patches[0]! });
    });
    const all = concat.infer([...tokens, position === "patches" ? add.infer([patches, table], {}) : patches], { axis: 1 });
    return position === "all" ? add.infer([all, table], {}) : all;
  },
  flops: (_inputs, { position }, output) => (position === "none" ? 0 : elements(output)),
  expand(b, inputs, { prefix, position }, name) {
    const batch = inputs[0]!.shape[0]!;
    const positions = inputs[inputs.length - 1]!;
    const x = position === "patches" ? b.node("add", {}, [inputs[0]!, positions], name) : inputs[0]!;
    const tokens = inputs.slice(1, 1 + prefix).map((token) => b.node("expand", { batch }, [token], name));
    const all = b.node("concat", { axis: 1 }, [...tokens, x], name);
    return position === "all" ? b.node("add", {}, [all, positions], name) : all;
  },
};

/** The layer norm of one token of x [batch, tokens, width] -> [batch, width]. Inputs: x, scale, bias. */
export const tokenNorm: Fused<{ readonly index: number; readonly eps: number }> = {
  infer: ([x, scale, bias], { index, eps }) => layerNorm.infer([token.infer([x!], { index }), scale!, bias!], { eps }),
  flops: (_inputs, _attrs, output) => 8 * elements(output),
  // The other tokens are not read.
  bytes: ([, scale, bias], _attrs, output) => 2 * f32Bytes(output) + f32Bytes(scale!) + f32Bytes(bias!),
  expand: (b, [x, scale, bias], { index, eps }, name) => b.node("layerNorm", { eps }, [b.node("token", { index }, [x!], name), scale!, bias!], name),
};

/** The mean or maximum over the tokens of x [batch, tokens, width] from `start` on -> [batch, width]. */
export const poolTokens: Fused<{ readonly kind: "avg" | "max"; readonly start: number }> = {
  infer: ([x], { kind, start }) => reduce.infer([sliceTokens.infer([x!], { start, end: x![1]! })], { kind }),
  flops: ([x], { start }) => x![0]! * (x![1]! - start) * x![2]!,
  bytes: ([x], { start }, output) => f32Bytes([x![0]!, x![1]! - start, x![2]!]) + f32Bytes(output),
  expand: (b, [x], { kind, start }, name) => b.node("reduce", { kind }, [b.node("sliceTokens", { start, end: x!.shape[1]! }, [x!], name)], name),
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
