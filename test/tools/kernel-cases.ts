/**
 * Kernels with inputs for them, and how far each element of a result may be from the op's `evaluate` in f64. A contraction of length K may
 * be off by 4 eps (K + 8) sum |a| |b|, element by element, eps = 2^-24 being half the spacing of f32 at 1: twice what a sum in any order
 * may lose, and a little for what follows it.
 */
import { GraphBuilder, type Graph, type Value } from "../../compiler/ir/graph.js";
import type { InterpretOptions } from "../../compiler/ir/interpret.js";
import type { GemmAttrs, GemmSource } from "../../compiler/ir/ops/fused.js";
import { elements, last, type Shape, type Tensor } from "../../compiler/ir/ops/op.js";
import type { ActivationKind } from "../../compiler/ir/ops/pointwise.js";
import { evaluate, randomTensor, sum, tensor } from "./tensors.js";

const eps = 2 ** -24;
const contraction = (length: number): number => 4 * eps * (length + 8);

/** One kernel, its inputs, and how far each element of its result may be off. */
export interface Case {
  readonly graph: Graph;
  readonly values: InterpretOptions;
  /** From the f64 result. */
  readonly bound: (exact: Tensor) => (index: number) => number;
}

/** Makes a graph with output `y`. Inputs and parameters are drawn by `make` from their names and shapes. */
function caseOf(build: (b: GraphBuilder) => Value, make: (name: string, shape: Shape) => Tensor, bound: (tensors: (name: string) => Tensor) => Case["bound"]): Case {
  const builder = new GraphBuilder("kernel");
  builder.output("y", build(builder));
  const graph = builder.build();
  const tensors = new Map([...graph.inputs, ...graph.parameters].map(({ name, value }) => [name, make(name, value.shape)]));
  const parameters = (name: string): Tensor => tensors.get(name)!;
  return { graph, values: { inputs: Object.fromEntries(graph.inputs.map(({ name }) => [name, parameters(name)])), parameters }, bound: bound(parameters) };
}

const unit = (name: string, shape: Shape): Tensor => randomTensor(shape, name);
const absolute = ({ shape, data }: Tensor): Tensor => ({ shape, data: data.map(Math.abs) });

// ------------------------------------------------------------------------------------------------------ gemm

export interface GemmCase {
  readonly x: Shape;
  readonly w: Shape;
  readonly source?: GemmSource;
  readonly bias?: boolean;
  readonly activation?: ActivationKind;
  /** `read`: a binding of its own. `in-place`: the output's memory holds it. */
  readonly residual?: "read" | "in-place";
  readonly magnitude?: number;
}

/** No activation is steeper than this, and none of the kernels' is off by more than 3e-7 and a few roundings. */
const steepest = 1.13;
export const activationError = (value: number): number => 3e-7 + 4 * eps * Math.abs(value);

export function gemm({ x, w, source = { kind: "rows" }, bias = true, activation, residual, magnitude = 1 }: GemmCase): Case {
  const attrs: GemmAttrs = { source, bias, activation: activation ?? "none", residual: residual !== undefined };
  const build = (b: GraphBuilder): Value => {
    const inputs = [b.input("x", x), b.parameter("w", w), ...(bias ? [b.parameter("bias", [w[0]!])] : [])];
    if (!residual) return b.node("gemm", attrs, inputs, "gemm");
    const shape = b.node("gemm", { ...attrs, residual: false }, inputs, "shape").shape;
    const stream = b.input("stream", shape);
    // A model's input is never overwritten, so the stream that is updated in place is first computed.
    return b.node("gemm", attrs, [...inputs, residual === "read" ? stream : b.node("addScale", { factor: 1 }, [stream, b.input("zero", shape)], "stream")], "gemm");
  };
  const make = (name: string, shape: Shape): Tensor => (name === "zero" ? tensor(shape, new Float64Array(elements(shape))) : randomTensor(shape, name, name === "x" || name === "stream" ? magnitude : 1));
  const built = caseOf(build, make, (tensors) => (exact) => {
    const operands = [tensors("x"), tensors("w"), ...(bias ? [tensors("bias")] : [])].map(absolute);
    const magnitudes = evaluate("gemm", { ...attrs, activation: "none", residual: false }, operands).data;
    const added = residual ? absolute(tensors("stream")).data : undefined;
    const inner = elements(w) / w[0]!;
    return (i) => contraction(inner) * (magnitudes[i]! * (activation ? steepest : 1) + (added?.[i] ?? 0)) + (activation ? activationError(exact.data[i]!) : 0);
  });
  // The node that only told the shape is left out.
  return { ...built, graph: { ...built.graph, nodes: built.graph.nodes.filter((node) => node.name !== "shape") } };
}

// ------------------------------------------------------------------------------------------------------ attention

export interface AttentionCase {
  readonly batch?: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  /** Of q, k and v. */
  readonly magnitude?: number;
  readonly scale?: number;
}

/**
 * A score is a contraction over the head, a result one over the tokens. Where a score may be off by d, its weight may be off by a factor
 * exp(d), and so may the sum that divides it.
 */
export function attention({ batch = 1, tokens, heads, headDim, magnitude = 1, scale = headDim ** -0.5 }: AttentionCase): Case {
  const width = heads * headDim;
  return caseOf(
    (b) => b.node("attention", { heads, scale }, [b.input("qkv", [batch, tokens, 3 * width])], "attention"),
    (name, shape) => randomTensor(shape, name, magnitude),
    (tensors) => () => {
      const { data } = tensors("qkv");
      const row = (image: number, token: number, part: number, head: number): Float64Array => {
        const at = ((image * tokens + token) * 3 + part) * width + head * headDim;
        return data.subarray(at, at + headDim);
      };
      const bounds = new Float64Array(batch * tokens * width);
      for (let image = 0; image < batch; image++)
        for (let head = 0; head < heads; head++)
          for (let query = 0; query < tokens; query++) {
            const q = row(image, query, 0, head);
            const keys = Array.from({ length: tokens }, (_, key) => row(image, key, 1, head));
            const scores = keys.map((k) => scale * sum(headDim, (c) => q[c]! * k[c]!));
            const largest = Math.max(...scores);
            const weights = scores.map((score) => Math.exp(score - largest));
            const total = sum(tokens, (key) => weights[key]!);
            const off = contraction(headDim) * scale * Math.max(...keys.map((k) => sum(headDim, (c) => Math.abs(q[c]! * k[c]!))));
            const factor = Math.expm1(2 * off) + contraction(tokens);
            for (let c = 0; c < headDim; c++) bounds[(image * tokens + query) * width + head * headDim + c] = factor * sum(tokens, (key) => (weights[key]! / total) * Math.abs(row(image, key, 2, head)[c]!));
          }
      return (i) => bounds[i]!;
    },
  );
}

// ------------------------------------------------------------------------------------------------------ the rest

export interface NormCase {
  readonly x: Shape;
  readonly eps: number;
  readonly magnitude?: number;
  /** Added to every value. */
  readonly offset?: number;
  /** One token alone. */
  readonly index?: number;
}

/** The mean is a contraction over the row, and so is the variance, of what is left without it. */
export function norm({ x, eps: added, magnitude = 1, offset = 0, index }: NormCase): Case {
  const width = last(x);
  return caseOf(
    (b) => {
      const inputs = [b.input("x", x), b.parameter("scale", [width]), b.parameter("bias", [width])];
      return index === undefined ? b.node("layerNorm", { eps: added }, inputs, "norm") : b.node("tokenNorm", { eps: added, index }, inputs, "norm");
    },
    (name, shape) => {
      const { data } = randomTensor(shape, name, name === "x" ? magnitude : 1);
      return { shape, data: name === "x" ? data.map((value) => Math.fround(value + offset)) : data };
    },
    (tensors) => (exact) => {
      const [scale, bias] = [tensors("scale").data, tensors("bias").data];
      const tokens = x.length === 3 ? x[1]! : 1;
      return (i) => {
        const row = index === undefined ? Math.floor(i / width) : Math.floor(i / width) * tokens + index;
        const values = tensors("x").data.subarray(row * width, (row + 1) * width);
        const mean = sum(width, (c) => values[c]! / width);
        const rstd = 1 / Math.sqrt(sum(width, (c) => (values[c]! - mean) ** 2 / width) + added);
        const largest = Math.max(...values.map(Math.abs));
        return contraction(width) * (largest * rstd * Math.abs(scale[i % width]!) + Math.abs(exact.data[i]!) + Math.abs(bias[i % width]!));
      };
    },
  );
}


export function poolOf(x: Shape, kind: "avg" | "max", start: number, offset = 0): Case {
  const [, tokens, width] = x as [number, number, number];
  return caseOf(
    (b) => b.node("poolTokens", { kind, start }, [b.input("x", x)], "pool"),
    (name, shape) => ({ shape, data: randomTensor(shape, name).data.map((value) => Math.fround(value + offset)) }),
    (tensors) => () => {
      if (kind === "max") return () => 0;
      const { data } = tensors("x");
      return (i) => contraction(tokens) * sum(tokens, (t) => Math.abs(data[(Math.floor(i / width) * tokens + t) * width + (i % width)]!) / (tokens - start));
    },
  );
}

export function embed(prefix: number, position: "all" | "patches" | "none", width: number): Case {
  const patches = 5;
  const build = (b: GraphBuilder): Value => {
    const tokens = Array.from({ length: prefix }, (_, i) => b.parameter(`token${i}`, [1, 1, width]));
    const table = position === "none" ? [] : [b.parameter("position", [1, position === "all" ? patches + prefix : patches, width])];
    return b.node("embed", { prefix, position }, [b.input("x", [2, patches, width]), ...tokens, ...table], "embed");
  };
  // One sum of two numbers below 1.
  return caseOf(build, unit, () => () => () => (position === "none" ? 0 : 2 * eps));
}

export function addScale(shape: Shape, factor: number): Case {
  return caseOf((b) => b.node("addScale", { factor }, [b.input("x", shape), b.input("z", shape)], "sum"), unit, () => () => () => 4 * eps * factor);
}

/** One token of each image, moved as it is. */
export const tokenOf = (x: Shape, index: number): Case => caseOf((b) => b.node("token", { index }, [b.input("x", x)], "token"), unit, () => () => () => 0);
