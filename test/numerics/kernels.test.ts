/** Each kernel on the software adapter against the op's `evaluate` in f64. Changed kernels show that the comparison can fail. */
import * as assert from "uvu/assert";
import { interpret } from "../../compiler/ir/interpret.js";
import type { GemmSource } from "../../compiler/ir/ops/fused.js";
import type { ActivationKind } from "../../compiler/ir/ops/pointwise.js";
import { requestDevice } from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { activationError, addScale, attention, embed, gemm, norm, poolOf, tokenOf, type AttentionCase, type Case, type GemmCase, type NormCase } from "../tools/kernel-cases.js";
import { runGraph, type Mutation } from "../tools/run-kernel.js";
import { skipAll, suite } from "../tools/suite.js";
import { evaluate, randomTensor, sum, tensor } from "../tools/tensors.js";

const image = (stride: readonly [number, number], padding: readonly [number, number]): GemmSource => ({ kind: "image", stride, padding });
const map = (height: number, width: number, stride: readonly [number, number], padding: readonly [number, number]): GemmSource => ({ kind: "map", height, width, stride, padding });

const gemms: Readonly<Record<string, GemmCase>> = {
  "197 tokens": { x: [1, 197, 64], w: [48, 64] },
  "197 tokens of up to 1000": { x: [1, 197, 64], w: [48, 64], magnitude: 1000 },
  "a long sum": { x: [5, 768], w: [16, 768] },
  "sizes that 4 does not divide": { x: [1, 17, 30], w: [30, 30] },
  "one number": { x: [1, 1], w: [1, 1] },
  "17 rows, 7 columns, no bias": { x: [17, 15], w: [7, 15], bias: false },
  "9 rows, 12 columns, no bias": { x: [9, 20], w: [12, 20], bias: false },
  "two images": { x: [2, 13, 8], w: [20, 8] },
  "a residual of its own": { x: [1, 13, 20], w: [20, 20], residual: "read" },
  "a residual of its own, 7 wide": { x: [1, 13, 20], w: [7, 20], residual: "read", magnitude: 1000 },
  "a residual in place": { x: [1, 17, 32], w: [32, 32], residual: "in-place", magnitude: 1000 },
  "a residual in place, 10 wide, no bias": { x: [1, 17, 18], w: [10, 18], residual: "in-place", bias: false },
  "a residual behind an activation": { x: [1, 13, 20], w: [20, 20], activation: "gelu", residual: "in-place" },
  "an activation without bias": { x: [13, 20], w: [7, 20], activation: "relu", bias: false },
  "an activation of up to 1000": { x: [13, 20], w: [20, 20], activation: "gelu", magnitude: 1000 },
  "patches read as vec4": { x: [2, 3, 16, 16], w: [24, 3, 4, 4], source: image([4, 4], [0, 0]) },
  "windows that overlap, read as vec4": { x: [1, 2, 9, 16], w: [8, 2, 3, 8], source: image([2, 4], [0, 0]) },
  "patches in a width that 4 does not divide": { x: [1, 3, 8, 10], w: [8, 3, 4, 4], source: image([4, 4], [0, 0]) },
  "rectangular patches with a remainder": { x: [2, 1, 11, 17], w: [10, 1, 3, 5], source: image([3, 5], [0, 0]) },
  "a padded convolution of an image": { x: [2, 3, 9, 7], w: [6, 3, 3, 3], source: image([2, 2], [1, 1]), activation: "relu" },
  "an even kernel with more padding than it needs": { x: [1, 2, 6, 5], w: [5, 2, 4, 4], source: image([1, 1], [2, 2]), bias: false },
  "unequal strides and padding": { x: [1, 2, 7, 6], w: [4, 2, 2, 3], source: image([3, 1], [0, 2]) },
  "a padded convolution of a map": { x: [2, 30, 8], w: [12, 8, 3, 3], source: map(6, 5, [2, 1], [1, 1]), activation: "relu" },
  "a padded convolution of a map of 6 channels": { x: [2, 20, 6], w: [7, 6, 3, 3], source: map(5, 4, [1, 2], [1, 1]) },
  "patches of a map": { x: [2, 24, 8], w: [16, 8, 2, 2], source: map(6, 4, [2, 2], [0, 0]) },
  "patches of a map of 5 channels, with a remainder": { x: [1, 35, 5], w: [6, 5, 2, 3], source: map(5, 7, [2, 3], [0, 0]) },
};

const attentions: Readonly<Record<string, AttentionCase>> = {
  "197 tokens": { tokens: 197, heads: 2, headDim: 16 },
  "two images of 17 tokens, heads of 15": { batch: 2, tokens: 17, heads: 3, headDim: 15 },
  "13 tokens, one head of 30": { tokens: 13, heads: 1, headDim: 30 },
  "one token": { tokens: 1, heads: 2, headDim: 8 },
  "two tokens, heads of 1": { tokens: 2, heads: 3, headDim: 1 },
  "16 tokens, heads of 64": { tokens: 16, heads: 1, headDim: 64 },
  "7 tokens, a head of 132, which is not unrolled": { tokens: 7, heads: 1, headDim: 132 },
  "7 tokens, a head of 131, which is not unrolled": { tokens: 7, heads: 2, headDim: 131 },
  "scores up to 50": { tokens: 17, heads: 2, headDim: 16, magnitude: 7 },
  "a scale of its own": { tokens: 13, heads: 2, headDim: 12, scale: 0.15 },
};

const norms: Readonly<Record<string, NormCase>> = {
  "197 rows of 192": { x: [1, 197, 192], eps: 1e-6 },
  "17 rows of 30": { x: [1, 17, 30], eps: 1e-5 },
  "13 rows of 7, up to 1000": { x: [13, 7], eps: 1e-6, magnitude: 1000 },
  "rows of one number": { x: [5, 1], eps: 1e-6 },
  "rows far from zero": { x: [17, 64], eps: 1e-6, offset: 1000 },
  "rows as small as eps": { x: [17, 64], eps: 1e-6, magnitude: 1e-3 },
  "a class token of three images": { x: [3, 13, 32], eps: 1e-6, index: 0 },
  "the second token, 30 wide": { x: [3, 13, 30], eps: 1e-6, index: 1, magnitude: 1000 },
};

/** Kernels that move data, or do one thing to each number. */
const others: Readonly<Record<string, () => Case>> = {
  "pool: the mean of 12 patches behind a token": () => poolOf([2, 13, 32], "avg", 1),
  "pool: the mean of all tokens, 30 wide": () => poolOf([3, 17, 30], "avg", 0),
  "pool: the maximum behind two tokens": () => poolOf([2, 13, 32], "max", 2),
  "pool: the maximum of negative numbers, 7 wide": () => poolOf([2, 5, 7], "max", 0, -1000),
  "token: the first of three images": () => tokenOf([3, 5, 32], 0),
  "token: the last, 7 wide": () => tokenOf([3, 5, 7], 4),
  "embed: a token and positions for all": () => embed(1, "all", 32),
  "embed: two tokens and positions for all, 30 wide": () => embed(2, "all", 30),
  "embed: two tokens and positions for the patches": () => embed(2, "patches", 32),
  "embed: a token and positions for the patches, 7 wide": () => embed(1, "patches", 7),
  "embed: a token alone": () => embed(1, "none", 32),
  "embed: positions alone": () => embed(0, "all", 30),
  "add_scale: the mean of two": () => addScale([2, 10], 0.5),
  "add_scale: a sum of 7": () => addScale([1, 7], 1),
};

// ------------------------------------------------------------------------------------------------------ the comparison

const reason = await softwareReason();
if (reason) skipAll("kernels", reason);
else {
  const test = suite("kernels");
  const { device } = await requestDevice({ adapter: "software" });

  /** The largest error of a kernel as a share of what it may be; Infinity if a number is missing or not finite. */
  const worst = async ({ graph, values, bound }: Case, mutate?: Mutation): Promise<number> => {
    const exact = interpret(graph, values).get("y")!;
    const actual = (await runGraph(device, graph, values, mutate)).get("y")!;
    if (actual.length !== exact.data.length) return Infinity;
    const allowed = bound(exact);
    return exact.data.reduce((most, expected, i) => {
      const error = Math.abs(actual[i]! - expected);
      return error === 0 ? most : Math.max(most, Number.isNaN(error) ? Infinity : error / allowed(i));
    }, 0);
  };

  const compares = (title: string, make: () => Case): void => {
    test(title, async () => {
      const share = await worst(make());
      assert.ok(share <= 1, `the error is ${share} times what it may be`);
    });
  };

  for (const [title, options] of Object.entries(gemms)) compares(`gemm: ${title}`, () => gemm(options));
  for (const activation of ["gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "tanh"] as const) compares(`gemm: ${activation}`, () => gemm({ x: [1, 17, 24], w: [20, 24], activation, magnitude: 3 }));
  for (const [title, options] of Object.entries(attentions)) compares(`attention: ${title}`, () => attention(options));
  for (const [title, options] of Object.entries(norms)) compares(`layer_norm: ${title}`, () => norm(options));
  for (const [title, make] of Object.entries(others)) compares(title, make);

  test("the inputs are what the titles say: scores reach 50 and stay there", () => {
    assert.ok(largestScore(attentions["scores up to 50"]!) > 45 && largestScore(attentions["scores up to 50"]!) < 60);
    assert.ok(largestScore(saturated) > 2000);
  });

  const saturated: AttentionCase = { tokens: 17, heads: 2, headDim: 16, magnitude: 50 };

  function largestScore({ tokens, heads, headDim, magnitude }: AttentionCase): number {
    const { data } = randomTensor([1, tokens, 3 * heads * headDim], "qkv", magnitude);
    const width = heads * headDim;
    let largest = 0;
    for (let q = 0; q < tokens; q++)
      for (let k = 0; k < tokens; k++)
        for (let h = 0; h < heads; h++) largest = Math.max(largest, Math.abs(sum(headDim, (c) => data[q * 3 * width + h * headDim + c]! * data[k * 3 * width + width + h * headDim + c]!)) / Math.sqrt(headDim));
    return largest;
  }

  test("attention: scores of thousands choose one token, without NaN", async () => {
    const { graph, values, bound } = attention(saturated);
    const actual = (await runGraph(device, graph, values)).get("y")!;
    assert.ok(actual.every((value) => Number.isFinite(value) && Math.abs(value) <= 50));
    const exact = interpret(graph, values).get("y")!;
    actual.forEach((value, i) => assert.ok(Math.abs(value - exact.data[i]!) <= bound(exact)(i), `${i}: ${value} instead of ${exact.data[i]}`));
  });

  /** An activation of numbers, by a product with the unit matrix. */
  const activated = async (kind: ActivationKind, numbers: Float64Array): Promise<{ readonly actual: Float32Array; readonly exact: Float64Array }> => {
    const identity = tensor([4, 4], Float64Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)));
    const built = gemm({ x: [numbers.length / 4, 4], w: [4, 4], bias: false, activation: kind });
    const x = tensor([numbers.length / 4, 4], numbers);
    const actual = (await runGraph(device, built.graph, { inputs: { x }, parameters: () => identity })).get("y")!;
    return { actual, exact: evaluate("activation", { kind }, [x]).data };
  };

  test("GELU is right to 3e-7 on [-10, 10]", async () => {
    const numbers = Float64Array.from({ length: 20_000 }, (_, i) => Math.fround(-10 + i / 1000));
    const { actual, exact } = await activated("gelu", numbers);
    exact.forEach((expected, i) => assert.ok(Math.abs(actual[i]! - expected) <= 3e-7, `gelu(${numbers[i]}) is ${actual[i]}, not ${expected}`));
  });

  test("no activation overflows at 1000 or far beyond", async () => {
    const numbers = Float64Array.from([1000, -1000, 100, -100, 88.8, -88.8, 3e4, -3e4]);
    for (const kind of ["gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "tanh"] as const) {
      const { actual, exact } = await activated(kind, numbers);
      exact.forEach((expected, i) => assert.ok(Math.abs(actual[i]! - expected) <= activationError(expected), `${kind}(${numbers[i]}) is ${actual[i]}, not ${expected}`));
    }
  });

  // ---------------------------------------------------------------------------------------------------- changed kernels

  const plain = gemm({ x: [1, 17, 24], w: [20, 24] });
  const odd = gemm({ x: [1, 17, 24], w: [7, 24] });
  const padded = gemm(gemms["a padded convolution of an image"]!);
  const padMap = gemm(gemms["a padded convolution of a map"]!);
  const inPlace = gemm(gemms["a residual in place"]!);
  const heads = attention({ tokens: 17, heads: 2, headDim: 16 });
  const rows = norm({ x: [1, 17, 32], eps: 1e-6 });
  const small = norm({ x: [1, 17, 32], eps: 1e-6, magnitude: 1e-3 });
  const mean = poolOf([2, 13, 32], "avg", 1);

  const mutants: readonly (readonly [title: string, of: Case, from: RegExp, to: string])[] = [
    ["gemm: the bias of other columns", plain, /bias\[firstGroup \+ 0u\]/, "bias[firstGroup + 1u]"],
    ["gemm: no bias", plain, /sum0_0 \+ bias0/, "sum0_0"],
    ["gemm: the last row left out", plain, /row >= rows/, "row >= rows - 1u"],
    ["gemm: the last column left out", odd, /col < cols/, "col < cols - 1u"],
    ["gemm: the last step left out", plain, /k < steps/, "k < steps - 1u"],
    ["gemm: a result one part in ten thousand larger", plain, /sum0_0 \+ bias0/, "1.0001 * (sum0_0 + bias0)"],
    ["gemm: a residual left out", inPlace, /value \+ out\[at\]/, "value"],
    ["gemm: padding on one side", padded, />= 1u\) &/, ">= 2u) &"],
    ["gemm: no activation", padded, /activate\(sum0_0/, "(sum0_0"],
    ["gemm: a window of a map shifted", padMap, /offset - \d+u/, "offset - 2u"],
    ["attention: another scale", heads, /\* 0\.25;/, "* 0.2525;"],
    ["attention: the last key left out", heads, /key < tokens; key/, "key < tokens - 1u; key"],
    ["attention: keys beyond the end counted", heads, />= tokens\) \{ score\[1\]/, "> tokens) { score[1]"],
    ["attention: keys for values", heads, /k0 \+ kOffset/, "k0"],
    ["attention: the sum not rescaled", heads, /total \* keep/, "total"],
    ["attention: the heads of another", heads, /tokens % heads/, "tokens % 1u"],
    ["layer_norm: no bias", rows, / \+ bias\[i\]/, ""],
    ["layer_norm: the last numbers left out of the mean", rows, /i < units/, "i < units - 1u"],
    ["layer_norm: a sum for a mean", rows, /\/ width/, "/ (width - 1.0)"],
    ["layer_norm: another eps", small, /\+ 9\.99999\d*e-7/, "+ 1.1e-6"],
    ["pool: the last token left out", mean, /token < tokens/, "token < tokens - 1u"],
    ["pool: another divisor", mean, /\/ 12\.0/, "/ 13.0"],
    ["token: another", others["token: the first of three images"]!(), /tokens \+ 0u/, "tokens + 1u"],
    ["embed: positions of other tokens", others["embed: two tokens and positions for the patches"]!(), /token - 2u/, "token - 1u"],
    ["embed: a token for the other", others["embed: two tokens and positions for all, 30 wide"]!(), /value = prefix1/, "value = prefix0"],
    ["add_scale: another factor", others["add_scale: the mean of two"]!(), /\* 0\.5;/, "* 0.50001;"],
  ];

  for (const [title, of, from, to] of mutants) {
    test(`a changed kernel is caught: ${title}`, async () => {
      let changed = false;
      const share = await worst(of, ({ code }) => {
        const text = code.replace(from, to);
        changed ||= text !== code;
        return text;
      });
      assert.ok(changed, `no kernel has ${from}`);
      assert.ok(share > 1, `the error is ${share} times what it may be`);
    });
  }

  test.after(() => device.destroy());
  test.run();
}
