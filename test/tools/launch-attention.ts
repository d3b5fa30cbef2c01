/** Cases for attentions that are launched as they are: with queries of a weight, relative places, or two maps. */
import type { GraphBuilder, Value } from "../../compiler/ir/graph.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import { differentialCandidates } from "../../compiler/kernels/attention/differential.js";
import { attentionCandidates } from "../../compiler/kernels/attention/families.js";
import { mapCandidates } from "../../compiler/kernels/attention/map.js";
import { relativeRows, type Relative } from "../../compiler/kernels/attention/relative.js";
import type { DType } from "../../runtime/plan.js";
import { contraction, eps } from "./kernel-cases.js";
import { given, launchCase, type LaunchCase } from "./launches.js";
import { evaluate, randomTensor, sum } from "./tensors.js";

interface Sizes {
  readonly batch?: number;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
  readonly scale?: number;
  /** Of q, k and v. */
  readonly magnitude?: number;
}

/** One query of one head: the vectors that are compared and mixed. */
interface Row {
  readonly query: Float64Array;
  readonly keys: readonly Float64Array[];
  readonly values: readonly Float64Array[];
  readonly scale: number;
  /** Added to the scores. */
  readonly bias?: (key: number) => number;
}

/**
 * How far each number of a row of a map times the values may be off. A score is a contraction over the head and a sum with its bias, a result one
 * over the tokens. Where a score may be off by d, its weight may be off by a factor exp(d), and so may the sum that divides it.
 */
function mixBounds({ query, keys, values, scale, bias = () => 0 }: Row): { readonly exact: Float64Array; readonly bound: Float64Array } {
  const products = keys.map((key) => sum(query.length, (c) => Math.abs(query[c]! * key[c]!)) * scale);
  const scores = keys.map((key, i) => scale * sum(query.length, (c) => query[c]! * key[c]!) + bias(i));
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = sum(keys.length, (i) => weights[i]!);
  const off = contraction(query.length) * Math.max(...products) + 2 * eps * Math.max(...keys.map((_, i) => Math.abs(bias(i)) + Math.abs(scores[i]!)));
  const factor = Math.expm1(2 * off) + contraction(keys.length);
  const mixed = (of: (x: number) => number): Float64Array => Float64Array.from(values[0]!, (_, c) => sum(keys.length, (i) => (weights[i]! / total) * of(values[i]![c]!)));
  return { exact: mixed((x) => x), bound: mixed(Math.abs).map((value) => factor * value) };
}

/** Runs over images, heads and queries; `fill` gives the bounds of a head's result. */
function boundsOf({ batch = 1, heads, headDim }: Sizes, queries: number, fill: (image: number, head: number, query: number) => Float64Array): (index: number) => number {
  const width = heads * headDim;
  const bounds = new Float64Array(batch * queries * width);
  for (let image = 0; image < batch; image++) for (let head = 0; head < heads; head++) for (let query = 0; query < queries; query++) bounds.set(fill(image, head, query), (image * queries + query) * width + head * headDim);
  return (i) => bounds[i]!;
}

/** A vector of `width` numbers of token `token` of packed rows. */
const vectorOf = ({ shape: [, tokens, packed], data }: Tensor, image: number, token: number, at: number, width: number): Float64Array => {
  const first = (image * tokens! + token) * packed! + at;
  return data.subarray(first, first + width);
};

export interface AttentionLaunch extends Sizes {
  /** Queries apart: so many an image, or a weight of so many for all images. Default: all of a packed projection. */
  readonly queries?: number;
  readonly shared?: boolean;
  readonly relative?: Relative;
}

export function attentionLaunch(options: AttentionLaunch, dtype: DType = "f32"): LaunchCase {
  const { batch = 1, tokens, heads, headDim, scale = headDim ** -0.5, magnitude = 1, queries = tokens, shared = false, relative } = options;
  const width = heads * headDim;
  const packed = options.queries === undefined;
  const qkv = given("qkv", randomTensor([batch, tokens, 3 * width], "qkv", magnitude), dtype);
  const kv = given("kv", randomTensor([batch, tokens, 2 * width], "kv", magnitude), dtype);
  const q = given("q", randomTensor([shared ? 1 : batch, queries, width], "q", magnitude), shared ? "f32" : dtype);
  const table = relative && given("relative", randomTensor([relativeRows(relative), heads], "relative", 3));
  const places = relative && { grid: [relative.rows, relative.columns], prefix: relative.prefix } as const;
  const params = { batch, tokens, queries, packed, heads, headDim, scale, ...(shared && { sharedQuery: true }), ...(relative && { relative }), dtypes: { in: dtype, out: dtype } };
  return launchCase({
    launch: attentionCandidates(params).candidates(),
    given: [...(packed ? [qkv] : [q, kv]), ...(table ? [table] : [])],
    dtype,
    define(b, of) {
      const split = (value: Value, part: number, parts: number): Value => b.node("splitHeads", { heads, part, parts }, [value], "split");
      const keys = of(packed ? "qkv" : "kv");
      const parts = packed ? 3 : 2;
      let all = packed ? keys : shared ? b.node("expand", { batch }, [of("q")], "expand") : of("q");
      // With biases of all tokens, queries that nobody asks for make up the others.
      if (places && queries < tokens) all = b.node("concat", { axis: 1 }, [all, b.node("sliceTokens", { start: queries, end: tokens }, [b.node("sliceLast", { start: 0, end: width }, [keys], "rest")], "rest")], "all");
      const scaled = b.node("scale", { factor: scale }, [split(all, 0, packed ? 3 : 1)], "scale");
      let scores = b.node("matmul", { transposeB: true }, [scaled, split(keys, parts - 2, parts)], "scores");
      if (places) scores = b.node("add", {}, [scores, b.node("relativeBias", places, [of("relative")], "bias")], "add");
      const merged = b.node("mergeHeads", {}, [b.node("matmul", { transposeB: false }, [b.node("softmax", {}, [scores], "softmax"), split(keys, parts - 1, parts)], "mix")], "merge");
      return b.node("sliceTokens", { start: 0, end: queries }, [merged], "queries");
    },
    bound() {
      const bias = places && table && evaluate("relativeBias", places, [table]).data;
      const [keys, first] = packed ? [qkv, width] : [kv, 0];
      return boundsOf(options, queries, (image, head, query) => {
        const all = (at: number): Float64Array[] => Array.from({ length: tokens }, (_, token) => vectorOf(keys, image, token, at + head * headDim, headDim));
        return mixBounds({
          query: packed ? vectorOf(qkv, image, query, head * headDim, headDim) : vectorOf(q, shared ? 0 : image, query, head * headDim, headDim),
          keys: all(first),
          values: all(first + width),
          scale,
          ...(bias && { bias: (key) => bias[(head * tokens + query) * tokens + key]! }),
        }).bound;
      });
    },
  });
}

export interface DifferentialCase extends Sizes {
  readonly lambda: number;
  readonly eps?: number;
  readonly factor?: number;
}

/**
 * The difference of two maps' results may be off by what both are; of the norm behind it, the mean of squares by their mean product with what
 * they are off by, which is at most the product of the roots of both means.
 */
export function differential(options: DifferentialCase, dtype: DType = "f32"): LaunchCase {
  const { batch = 1, tokens, heads, headDim, scale = (headDim / 2) ** -0.5, magnitude = 1, lambda, eps: added = 1e-5, factor = 1 } = options;
  const width = heads * headDim;
  const half = headDim / 2;
  const qkv = given("qkv", randomTensor([batch, tokens, 3 * width], "qkv", magnitude), dtype);
  const norm = given("norm", randomTensor([headDim], "norm"));
  return launchCase({
    launch: differentialCandidates({ batch, tokens, heads, headDim, scale, eps: added, factor, dtypes: { in: dtype, out: dtype } }).candidates(),
    given: [qkv, given("lambda", { shape: [1], data: Float64Array.of(lambda) }), norm],
    dtype,
    define: (b, of) => differenceOf(b, of, { heads, scale, eps: added, factor }),
    bound: (exact) => {
      const before = boundsOf(options, tokens, (image, head, query) => {
        const [one, two] = [0, 1].map((map) =>
          mixBounds({
            query: vectorOf(qkv, image, query, head * headDim + map * half, half),
            keys: Array.from({ length: tokens }, (_, token) => vectorOf(qkv, image, token, width + head * headDim + map * half, half)),
            values: Array.from({ length: tokens }, (_, token) => vectorOf(qkv, image, token, 2 * width + head * headDim, headDim)),
            scale,
          }),
        ) as [ReturnType<typeof mixBounds>, ReturnType<typeof mixBounds>];
        const result = one.exact.map((value, c) => value - lambda * two.exact[c]!);
        const off = one.bound.map((value, c) => value + Math.abs(lambda) * two.bound[c]! + 4 * eps * (Math.abs(one.exact[c]!) + Math.abs(lambda * two.exact[c]!)));
        const rootMean = (of: Float64Array): number => Math.sqrt(sum(headDim, (c) => of[c]! ** 2 / headDim));
        const inverse = 1 / Math.sqrt(rootMean(result) ** 2 + added);
        return result.map((value, c) => factor * Math.abs(norm.data[c]!) * inverse * (off[c]! + Math.abs(value) * inverse * rootMean(off)));
      });
      return (i) => before(i) + contraction(headDim) * Math.abs(exact.data[i]!);
    },
  });
}

/** As `ir/build-attention.ts` says it. */
function differenceOf(b: GraphBuilder, of: (name: string) => Value, { heads, scale, eps, factor }: { readonly heads: number; readonly scale: number; readonly eps: number; readonly factor: number }): Value {
  const [q, k] = [0, 1].map((part) => b.node("splitHeads", { heads: 2 * heads, part }, [of("qkv")], "split")) as [Value, Value];
  const scores = b.node("matmul", { transposeB: true }, [b.node("scale", { factor: scale }, [q], "scale"), k], "scores");
  const map = b.node("headDifference", {}, [b.node("softmax", {}, [scores], "softmax"), of("lambda")], "difference");
  const mixed = b.node("matmul", { transposeB: false }, [map, b.node("splitHeads", { heads, part: 2 }, [of("qkv")], "v")], "mix");
  const normed = b.node("rmsNorm", { eps }, [mixed, of("norm")], "norm");
  return b.node("mergeHeads", {}, [b.node("scale", { factor }, [normed], "factor")], "merge");
}

export interface MapCase extends Sizes {
  readonly relative?: Relative;
  /** How much of a second map is subtracted. */
  readonly lambda?: number;
}

/** Weights may be off by the factor that results of `mixBounds` may: they are results of values that are ones, one for each key. */
export function map(options: MapCase, dtype: DType = "f32"): LaunchCase {
  const { batch = 1, tokens, heads, headDim, scale = headDim ** -0.5, magnitude = 1, relative, lambda } = options;
  const width = heads * headDim;
  const pairs = lambda === undefined ? 1 : 2;
  const wide = headDim / pairs;
  const qkv = given("qkv", randomTensor([batch, tokens, 3 * width], "qkv", magnitude), dtype);
  const table = relative && given("relative", randomTensor([relativeRows(relative), heads], "relative", 3));
  const places = relative && { grid: [relative.rows, relative.columns], prefix: relative.prefix } as const;
  const biases = places && table && evaluate("relativeBias", places, [table]).data;
  return launchCase({
    launch: mapCandidates({ batch, tokens, heads, headDim, scale, dtype, ...(relative && { relative }), ...(lambda !== undefined && { differential: true }) }).candidates(),
    given: [qkv, ...(table ? [table] : []), ...(lambda === undefined ? [] : [given("lambda", { shape: [1], data: Float64Array.of(lambda) })])],
    define(b, of) {
      const [q, k] = [0, 1].map((part) => b.node("splitHeads", { heads: pairs * heads, part }, [of("qkv")], "split")) as [Value, Value];
      let scores = b.node("matmul", { transposeB: true }, [b.node("scale", { factor: scale }, [q], "scale"), k], "scores");
      if (places) scores = b.node("add", {}, [scores, b.node("relativeBias", places, [of("relative")], "bias")], "add");
      const weights = b.node("softmax", {}, [scores], "softmax");
      return lambda === undefined ? weights : b.node("headDifference", {}, [weights, of("lambda")], "difference");
    },
    bound() {
      const bounds = new Float64Array(batch * heads * tokens * tokens);
      const ones = Array.from({ length: tokens }, (_, key) => Float64Array.from({ length: tokens }, (_, i) => Number(i === key)));
      for (let row = 0; row * tokens < bounds.length; row++) {
        const [query, head, image] = [row % tokens, Math.floor(row / tokens) % heads, Math.floor(row / tokens / heads)];
        const of = (half: number): ReturnType<typeof mixBounds> =>
          mixBounds({
            query: vectorOf(qkv, image, query, head * headDim + half * wide, wide),
            keys: Array.from({ length: tokens }, (_, token) => vectorOf(qkv, image, token, width + head * headDim + half * wide, wide)),
            values: ones,
            scale,
            ...(biases && { bias: (key) => biases[(head * tokens + query) * tokens + key]! }),
          });
        const [one, two] = [of(0), lambda === undefined ? undefined : of(1)];
        // Weights that are as good as nothing may become nothing.
        one.bound.forEach((value, key) => (bounds[row * tokens + key] = value + (two ? Math.abs(lambda!) * two.bound[key]! + 4 * eps * (one.exact[key]! + Math.abs(lambda!) * two.exact[key]!) : 0) + 2 ** -126));
      }
      return (i) => bounds[i]!;
    },
  });
}
