/** Cases for kernels that are launched as they are; `kernel-cases.ts` has those that a graph is lowered to, and says what the bounds mean. */
import { last, type Shape } from "../../compiler/ir/ops/op.js";
import type { ActivationName } from "../../compiler/kernels/activation.js";
import { prepareHeads, type PrepareHeadsParams } from "../../compiler/kernels/attention/prepare.js";
import { gated, multiply } from "../../compiler/kernels/pointwise.js";
import { l2Normalize, pool, rmsNorm, type PoolParams } from "../../compiler/kernels/rows.js";
import type { InOut } from "../../compiler/kernels/storage.js";
import type { Value } from "../../compiler/ir/graph.js";
import type { DType } from "../../runtime/plan.js";
import { activationError, contraction, eps } from "./kernel-cases.js";
import { given, launchCase, type LaunchCase } from "./launches.js";
import { randomTensor, sum } from "./tensors.js";

const same = (dtype: DType): InOut => ({ in: dtype, out: dtype });
const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

export interface RmsCase {
  readonly x: Shape;
  readonly eps: number;
  readonly magnitude?: number;
  readonly offset?: number;
  /** Of x [batch, tokens, width]: one token alone. */
  readonly index?: number;
}

/** The mean of squares is a contraction over the row. */
export function rms({ x: shape, eps: added, magnitude = 1, offset = 0, index }: RmsCase, dtypes: InOut = same("f32")): LaunchCase {
  const width = last(shape);
  const drawn = randomTensor(shape, "x", magnitude);
  const x = given("x", { shape, data: drawn.data.map((value) => value + offset) }, dtypes.in);
  const tokens = shape[1]!;
  const rows = x.data.length / width / (index === undefined ? 1 : tokens);
  return launchCase({
    launch: rmsNorm({ rows, width, eps: added, step: index === undefined ? 1 : tokens, start: index ?? 0, dtypes }),
    given: [x, given("scale", randomTensor([width], "scale"))],
    dtype: dtypes.out,
    define: (b, of) => b.node("rmsNorm", { eps: added }, [index === undefined ? of("x") : b.node("token", { index }, [of("x")], "token"), of("scale")], "norm"),
    bound: (exact) => (i) => contraction(width) * Math.abs(exact.data[i]!),
  });
}

/** Rows divided by their lengths: the sum of squares is a contraction over the row. */
export function unit(x: Shape, magnitude = 1): LaunchCase {
  const width = last(x);
  const rows = given("x", randomTensor(x, "x", magnitude));
  return launchCase({
    launch: l2Normalize({ rows: rows.data.length / width, width }),
    given: [rows],
    define: (b, of) => b.node("l2Normalize", {}, [of("x")], "unit"),
    bound: (exact) => (i) => contraction(width) * Math.abs(exact.data[i]!),
  });
}

export interface GatedCase {
  readonly rows: number;
  readonly hidden: number;
  readonly activation: ActivationName;
  readonly gateFirst: boolean;
  readonly magnitude?: number;
}

/** An activation, and a product with what may make its error larger. */
export function gate({ rows, hidden, activation, gateFirst, magnitude = 3 }: GatedCase, dtypes: InOut = same("f32")): LaunchCase {
  const x = given("x", randomTensor([1, rows, 2 * hidden], "x", magnitude), dtypes.in);
  return launchCase({
    launch: gated({ rows, hidden, activation, gateFirst, dtypes }),
    given: [x],
    dtype: dtypes.out,
    define(b, of) {
      const half = (second: boolean): Value => b.node("sliceLast", second ? { start: hidden, end: 2 * hidden } : { start: 0, end: hidden }, [of("x")], "half");
      const gates = half(!gateFirst);
      return b.node("multiply", {}, [activation === "none" ? gates : b.node("activation", { kind: activation }, [gates], "act"), half(gateFirst)], "gated");
    },
    bound: (exact) => (i) => {
      const value = Math.abs(x.data[Math.floor(i / hidden) * 2 * hidden + (i % hidden) + (gateFirst ? hidden : 0)]!);
      return value * (activation === "none" ? 0 : activationError(exact.data[i]! / value)) + 2 * eps * Math.abs(exact.data[i]!);
    },
  });
}

/** One rounding. */
export function product(shape: Shape, { a, b, out }: { readonly a: DType; readonly b: DType; readonly out: DType } = { a: "f32", b: "f32", out: "f32" }): LaunchCase {
  const operands = [given("a", randomTensor(shape, "a"), a), given("b", randomTensor(shape, "b"), b)];
  return launchCase({
    launch: multiply({ count: operands[0]!.data.length, dtypes: { a, b, out } }),
    given: operands,
    dtype: out,
    define: (graph, of) => graph.node("multiply", {}, [of("a"), of("b")], "product"),
    bound: (exact) => (i) => 2 * eps * Math.abs(exact.data[i]!),
  });
}

/** The kinds that the model builder makes of several nodes. */
export function pooled(x: Shape, kind: PoolParams["kind"], start: number, offset = 0): LaunchCase {
  const [batch, tokens, width] = x as [number, number, number];
  const { data } = randomTensor(x, "x");
  const operand = given("x", { shape: x, data: data.map((value) => value + offset) });
  return launchCase({
    launch: pool({ batch, tokens, width, kind, start }),
    given: [operand],
    define(b, of) {
      const reduced = (by: "avg" | "max"): Value => b.node("reduce", { kind: by }, [b.node("sliceTokens", { start, end: tokens }, [of("x")], "patches")], by);
      if (kind === "avgmax") return b.node("scale", { factor: 0.5 }, [b.node("add", {}, [reduced("avg"), reduced("max")], "add")], "mean");
      return kind === "tokenavg" ? b.node("concat", { axis: 1 }, [b.node("token", { index: 0 }, [of("x")], "token"), reduced("avg")], "pool") : reduced(kind);
    },
    bound: () => (i) => {
      const out = kind === "tokenavg" ? 2 * width : width;
      const [image, column] = [Math.floor(i / out), i % out];
      if (kind === "max" || (kind === "tokenavg" && column < width)) return 0;
      return contraction(tokens) * sum(tokens, (t) => Math.abs(operand.data[(image * tokens + t) * width + (column % width)]!) / (tokens - start));
    },
  });
}

export type PrepareCase = Omit<PrepareHeadsParams, "dtype" | "batch" | "prefix"> & { readonly batch?: number; readonly prefix?: number; readonly magnitude?: number; readonly offset?: number };

/** A vector's norm is as those of rows; a turn adds two products of it with numbers of up to 1. Values are what they were. */
export function prepared({ batch = 1, tokens, heads, headDim, prefix = 0, norm, rotary, magnitude = 1, offset = 0 }: PrepareCase, dtype: DType = "f32"): LaunchCase {
  const width = heads * headDim;
  const drawn = randomTensor([batch, tokens, 3 * width], "qkv", magnitude);
  const qkv = given("qkv", { ...drawn, data: drawn.data.map((value) => value + offset) }, dtype);
  const weights = norm ? ["q_scale", "q_shift", "k_scale", "k_shift"].filter((name) => norm.kind === "layer" || name.endsWith("scale")).map((name) => given(name, randomTensor([headDim], name))) : [];
  const tables = rotary ? [given("table", randomTensor([2, rotary.own ? heads : 1, tokens - prefix, headDim], "table"))] : [];
  return launchCase({
    launch: prepareHeads({ batch, tokens, heads, headDim, prefix, dtype, ...(norm && { norm }), ...(rotary && { rotary }) }),
    given: [...weights, ...tables],
    dtype,
    inPlace: qkv,
    define(b, of) {
      const parts = [0, 1, 2].map((part) => {
        let x = b.node("splitHeads", { heads, part }, [of("qkv")], "split");
        const letter = "qkv"[part]!;
        if (part < 2 && norm) x = norm.kind === "layer" ? b.node("layerNorm", { eps: norm.eps }, [x, of(`${letter}_scale`), of(`${letter}_shift`)], "norm") : b.node("rmsNorm", { eps: norm.eps }, [x, of(`${letter}_scale`)], "norm");
        if (part < 2 && rotary) x = b.node("rotate", { pairs: rotary.pairs, prefix }, [x, of("table")], "rotate");
        return b.node("mergeHeads", {}, [x], "merge");
      });
      return b.node("concat", { axis: 2 }, parts, "qkv");
    },
    bound: () => {
      const bounds = new Float64Array(qkv.data.length);
      for (let at = 0; at < qkv.data.length; at += headDim) {
        if (at % (3 * width) < 2 * width) bounds.fill(vectorBound(qkv.data.subarray(at, at + headDim), norm, rotary !== undefined), at, at + headDim);
      }
      return (i) => bounds[i]!;
    },
  });
}

/** Of every number of a query or key: weights are up to 1. */
function vectorBound(vector: Float64Array, norm: PrepareHeadsParams["norm"], turned: boolean): number {
  const width = vector.length;
  const mean = norm?.kind === "layer" ? sum(width, (c) => vector[c]! / width) : 0;
  const factor = norm ? 1 / Math.sqrt(sum(width, (c) => (vector[c]! - mean) ** 2 / width) + norm.eps) : 1;
  const value = (largest(vector) + Math.abs(mean)) * factor + (norm?.kind === "layer" ? 1 : 0);
  return (norm ? contraction(width) * value : 0) * (turned ? 2 : 1) + (turned ? 8 * eps * value : 0);
}

