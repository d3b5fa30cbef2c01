/**
 * Kernels with inputs for them, and how far each element of a result may be from the op's `evaluate` in f64. A contraction of length K may
 * be off by 4 eps (K + 8) sum |a| |b|, element by element, eps = 2^-24 being half the spacing of f32 at 1: twice what a sum in any order
 * may lose, and a little for what follows it. In f16 what is stored so is rounded beforehand, and a result that is stored so once more.
 */
import { GraphBuilder, type Graph, type Value } from "../../compiler/ir/graph.js";
import type { InterpretOptions } from "../../compiler/ir/interpret.js";
import type { GemmAttrs, GemmSource } from "../../compiler/ir/ops/fused.js";
import { elements, last, type Shape, type Tensor } from "../../compiler/ir/ops/op.js";
import type { ActivationKind } from "../../compiler/ir/ops/pointwise.js";
import { assignStorage, type Storage } from "../../compiler/plan/precision.js";
import type { DType } from "../../runtime/plan.js";
import { roundToHalf } from "./halves.js";
import { evaluate, randomTensor, sum, tensor } from "./tensors.js";

export const eps = 2 ** -24;
export const contraction = (length: number): number => 4 * eps * (length + 8);
/** Half the spacing of f16 at 1, and its smallest normal number: adapters may make zeros of smaller ones. */
const [halfEps, halfLeast] = [2 ** -11, 2 ** -14];

/** One kernel, its inputs, and how far each element of its result may be off. */
export interface Case {
  readonly graph: Graph;
  readonly values: InterpretOptions;
  readonly dtype: DType;
  readonly storage: Storage;
  /** From the f64 result and the name of the candidate. */
  readonly bound: (exact: Tensor, choice: string) => (index: number) => number;
}

type Bound = (exact: Tensor, choice: string) => (index: number) => number;

/** Makes a graph with output `y`. Inputs and parameters are drawn by `make` from their names and shapes. */
function caseOf(build: (b: GraphBuilder) => Value, make: (name: string, shape: Shape) => Tensor, bound: (tensors: (name: string) => Tensor) => Bound, dtype: DType = "f32"): Case {
  const builder = new GraphBuilder("kernel");
  builder.output("y", build(builder));
  const whole = builder.build();
  // What only told a shape is left out.
  const graph = { ...whole, nodes: whole.nodes.filter((node) => node.name !== "shape") };
  const storage = assignStorage(graph, dtype, { ends: true });
  const tensors = new Map(
    [...graph.inputs, ...graph.parameters].map(({ name, value }) => {
      const { shape, data } = make(name, value.shape);
      const half = storage(value) === "f16" || (dtype === "f16" && name === "w");
      return [name, { shape, data: half ? data.map(roundToHalf) : data }] as const;
    }),
  );
  const parameters = (name: string): Tensor => tensors.get(name)!;
  const rounded = storage(graph.outputs[0]!.value) === "f16";
  const inner = bound(parameters);
  return {
    ...{ graph, dtype, storage },
    values: { inputs: Object.fromEntries(graph.inputs.map(({ name }) => [name, parameters(name)])), parameters },
    bound(exact, choice) {
      const allowed = inner(exact, choice);
      return rounded ? (i) => allowed(i) * (1 + halfEps) + halfEps * Math.abs(exact.data[i]!) + halfLeast : allowed;
    },
  };
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
  /** Rows are divided by sqrt(variance + eps). */
  readonly norm?: { readonly eps: number };
  readonly table?: true;
  readonly magnitude?: number;
  /** Added to every value of x. */
  readonly offset?: number;
}

/** No activation is steeper than this, and none of the kernels' is off by more than 3e-7 and a few roundings. */
const steepest = 1.13;
export const activationError = (value: number): number => 3e-7 + 4 * eps * Math.abs(value);

export function gemm({ x, w, source = { kind: "rows" }, bias = true, activation, residual, norm, table, magnitude = 1, offset = 0 }: GemmCase, dtype: DType = "f32"): Case {
  const attrs: GemmAttrs = { source, bias, activation: activation ?? "none", residual: residual !== undefined, ...(norm && { norm }), ...(table && { table }) };
  const plainSource: GemmSource = source.kind === "rows" ? source : { ...source, prefix: 0 };
  const product: GemmAttrs = { source: plainSource, bias, activation: "none", residual: false };
  const prefix = source.kind === "rows" ? 0 : (source.prefix ?? 0);
  const build = (b: GraphBuilder): Value => {
    const inputs = [b.input("x", x), b.parameter("w", w), ...(bias ? [b.parameter("bias", [w[0]!])] : [])];
    if (!residual && !table) return b.node("gemm", attrs, inputs, "gemm");
    const shape = b.node("gemm", product, inputs, "shape").shape;
    if (table) return b.node("gemm", attrs, [...inputs, b.parameter("table", [1, shape[1]! + prefix, shape[2]!])], "gemm");
    const stream = b.input("stream", shape);
    // A model's input is never overwritten, so the stream that is updated in place is first computed.
    return b.node("gemm", attrs, [...inputs, residual === "read" ? stream : b.node("addScale", { factor: 1 }, [stream, b.input("zero", shape)], "stream")], "gemm");
  };
  const make = (name: string, shape: Shape): Tensor => {
    if (name === "zero") return tensor(shape, new Float64Array(elements(shape)));
    const drawn = randomTensor(shape, name, name === "x" || name === "stream" ? magnitude : 1);
    // A norm leaves the mean of its rows to weights whose sum is zero.
    const { data } = norm && name === "w" ? centred(drawn) : drawn;
    return { shape, data: name === "x" ? data.map((value) => Math.fround(value + offset)) : data };
  };
  const inner = elements(w) / w[0]!;
  const bound = (tensors: (name: string) => Tensor): Bound => {
    // Sums of absolute products, of what goes into the product: normalised rows, where there is a norm.
    const left = absolute(norm ? scaledRows(tensors("x"), norm.eps) : tensors("x"));
    const products = evaluate("gemm", { ...product, bias: false }, [left, absolute(tensors("w"))]).data;
    const weights = evaluate("gemm", { ...product, bias: false }, [{ ...left, data: left.data.map(() => 1) }, absolute(tensors("w"))]).data;
    const leaks = norm ? rowMeans(scaledRows(tensors("x"), norm.eps)) : [];
    const sums = rowMeans(tensors("w")).map((mean) => mean * inner);
    const biases = bias ? absolute(tensors("bias")).data : undefined;
    const added = residual ? absolute(tensors("stream")).data : table ? absolute(tensors("table")).data : undefined;
    const slope = activation ? steepest : 1;
    return (exact, choice) => {
      const cols = w[0]!;
      const tokens = table ? last(exact.shape.slice(0, -1)) : 0;
      // Matrix units take A in f16; what is stored so is exact.
      const matrix = choice.includes("matrix");
      const rounds = matrix && (norm !== undefined || source.kind !== "rows");
      return (i) => {
        const row = Math.floor(i / cols);
        // Prefix rows have no product.
        const at = prefix === 0 ? i : row % tokens < prefix ? undefined : i - (Math.floor(row / tokens) + 1) * prefix * cols;
        const product = at === undefined ? 0 : products[at]!;
        const rounding = rounds && at !== undefined ? halfEps * product + halfLeast * weights[at]! : 0;
        // They take the mean off, so what rounding left of the weights' sums is not multiplied with it.
        const leak = matrix && norm ? Math.abs(leaks[row]! * sums[i % cols]!) : 0;
        const addend = added ? added[table ? i % (tokens * cols) : i]! : 0;
        return slope * (contraction(inner) * (product * (norm ? 2 : 1) + (biases?.[i % cols] ?? 0)) + rounding + leak) + contraction(0) * addend + (activation ? activationError(exact.data[i]!) : 0);
      };
    };
  };
  return caseOf(build, make, bound, dtype);
}

const rowMeans = ({ data, shape }: Tensor): number[] => Array.from({ length: shape[0] === undefined ? 0 : data.length / rowLength(shape) }, (_, row) => sum(rowLength(shape), (c) => data[row * rowLength(shape) + c]! / rowLength(shape)));

/** Of a matrix [.., in], or of a window [out, ...]. */
const rowLength = (shape: Shape): number => (shape.length === 4 ? elements(shape.slice(1)) : last(shape));

/** Rows minus their mean. */
function centred({ shape, data }: Tensor): Tensor {
  const means = rowMeans({ shape, data });
  return { shape, data: data.map((value, i) => Math.fround(value - means[Math.floor(i / rowLength(shape))]!)) };
}

/** Rows times 1 / sqrt(variance + eps). */
function scaledRows({ shape, data }: Tensor, added: number): Tensor {
  const width = last(shape);
  const scales = Array.from({ length: data.length / width }, (_, row) => {
    const values = data.subarray(row * width, (row + 1) * width);
    const mean = sum(width, (c) => values[c]! / width);
    return 1 / Math.sqrt(sum(width, (c) => (values[c]! - mean) ** 2 / width) + added);
  });
  return { shape, data: data.map((value, i) => value * scales[Math.floor(i / width)]!) };
}

// ------------------------------------------------------------------------------------------------------ attention

export interface AttentionCase {
  readonly batch?: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  /** Queries apart from keys and values: so many an image, or one without an axis of its own. Default: all of a packed projection. */
  readonly queries?: number | "one";
  /** Of q, k and v. */
  readonly magnitude?: number;
  readonly scale?: number;
}

/**
 * A score is a contraction over the head, a result one over the tokens. Where a score may be off by d, its weight may be off by a factor
 * exp(d), and so may the sum that divides it.
 */
export function attention({ batch = 1, tokens, heads, headDim, queries, magnitude = 1, scale = headDim ** -0.5 }: AttentionCase, dtype: DType = "f32"): Case {
  const width = heads * headDim;
  const count = queries === undefined ? tokens : queries === "one" ? 1 : queries;
  return caseOf(
    (b) => {
      if (queries === undefined) return b.node("attention", { heads, scale }, [b.input("qkv", [batch, tokens, 3 * width])], "attention");
      return b.node("attention", { heads, scale }, [b.input("q", queries === "one" ? [batch, width] : [batch, queries, width]), b.input("kv", [batch, tokens, 2 * width])], "attention");
    },
    (name, shape) => randomTensor(shape, name, magnitude),
    (tensors) => () => {
      const vector = (name: string, parts: number, count: number) => (image: number, token: number, part: number, head: number): Float64Array => {
        const at = ((image * count + token) * parts + part) * width + head * headDim;
        return tensors(name).data.subarray(at, at + headDim);
      };
      const [query, key] = queries === undefined ? [vector("qkv", 3, tokens), vector("qkv", 3, tokens)] : [vector("q", 1, count), vector("kv", 2, tokens)];
      const first = queries === undefined ? 1 : 0;
      const bounds = new Float64Array(batch * count * width);
      for (let image = 0; image < batch; image++)
        for (let head = 0; head < heads; head++)
          for (let at = 0; at < count; at++) {
            const q = query(image, at, 0, head);
            const keys = Array.from({ length: tokens }, (_, token) => key(image, token, first, head));
            const scores = keys.map((k) => scale * sum(headDim, (c) => q[c]! * k[c]!));
            const largest = Math.max(...scores);
            const weights = scores.map((score) => Math.exp(score - largest));
            const total = sum(tokens, (token) => weights[token]!);
            const off = contraction(headDim) * scale * Math.max(...keys.map((k) => sum(headDim, (c) => Math.abs(q[c]! * k[c]!))));
            const factor = Math.expm1(2 * off) + contraction(tokens);
            for (let c = 0; c < headDim; c++) bounds[(image * count + at) * width + head * headDim + c] = factor * sum(tokens, (token) => (weights[token]! / total) * Math.abs(key(image, token, first + 1, head)[c]!));
          }
      return (i) => bounds[i]!;
    },
    dtype,
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
      return index === undefined ? b.node("layerNorm", { eps: added }, inputs, "norm") : b.node("tokenNorm", { kind: "layer", eps: added, index }, inputs, "norm");
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

/** @param parts prefix tokens of each kind */
export function embed(parts: readonly number[], position: "all" | "patches" | "none", width: number): Case {
  const patches = 5;
  const prefix = parts.reduce((total, tokens) => total + tokens, 0);
  const build = (b: GraphBuilder): Value => {
    const tokens = parts.map((count, i) => b.parameter(`token${i}`, [1, count, width]));
    const table = position === "none" ? [] : [b.parameter("position", [1, position === "all" ? patches + prefix : patches, width])];
    return b.node("embed", { prefix, position }, [b.input("x", [2, patches, width]), ...tokens, ...table], "embed");
  };
  // One sum of two numbers below 1.
  return caseOf(build, unit, () => () => () => (position === "none" ? 0 : 2 * eps));
}

export function addScale(shape: Shape, factor: number): Case {
  return caseOf((b) => b.node("addScale", { factor }, [b.input("x", shape), b.input("z", shape)], "sum"), unit, () => () => () => 4 * eps * factor);
}

/** One token of each image, moved as it is, or several. */
export const tokenOf = (x: Shape, index: number): Case => caseOf((b) => b.node("token", { index }, [b.input("x", x)], "token"), unit, () => () => () => 0);

export const tokensOf = (x: Shape, start: number, end: number): Case => caseOf((b) => b.node("sliceTokens", { start, end }, [b.input("x", x)], "tokens"), unit, () => () => () => 0);

/** One subtraction, and one product with a rounded factor. */
export const normalize = (x: Shape, mean: readonly number[], std: readonly number[]): Case =>
  caseOf((b) => b.node("normalizeChannels", { mean, std }, [b.input("x", x)], "normalize"), unit, () => (exact) => (i) => 8 * eps * (Math.abs(exact.data[i]!) + 2 / Math.min(...std)));
