/** Matrix products by every candidate on the software adapter against the op's `evaluate` in f64, in f32 and, where the adapter has it, f16. */
import * as assert from "uvu/assert";
import type { GemmSource } from "../../compiler/ir/ops/fused.js";
import type { ActivationKind } from "../../compiler/ir/ops/pointwise.js";
import { softwareReason } from "../tools/adapter.js";
import { choicesFor, compareCandidates, dtypesOf, expectCaught, openKernelDevice, type Mutant } from "../tools/compare-kernels.js";
import { activationError, gemm, type GemmCase } from "../tools/kernel-cases.js";
import { runGraph } from "../tools/run-kernel.js";
import { skipAll, suite } from "../tools/suite.js";
import { evaluate, tensor } from "../tools/tensors.js";

const image = (stride: readonly [number, number], padding: readonly [number, number], prefix?: number): GemmSource => ({ kind: "image", stride, padding, ...(prefix && { prefix }) });
const map = (height: number, width: number, stride: readonly [number, number], padding: readonly [number, number]): GemmSource => ({ kind: "map", height, width, stride, padding });

const gemms: Readonly<Record<string, GemmCase>> = {
  "197 tokens": { x: [1, 197, 64], w: [48, 64] },
  "197 tokens of up to 1000": { x: [1, 197, 64], w: [48, 64], magnitude: 1000 },
  "a long sum": { x: [5, 768], w: [16, 768] },
  "sizes that 4 does not divide": { x: [1, 17, 30], w: [30, 30] },
  "one number": { x: [1, 1], w: [1, 1] },
  "17 rows, 7 columns, no bias": { x: [17, 15], w: [7, 15], bias: false },
  "9 rows, 12 columns, no bias": { x: [9, 20], w: [12, 20], bias: false },
  "normalised rows": { x: [1, 67, 64], w: [48, 64], norm: { eps: 1e-6 }, activation: "gelu" },
  "normalised rows far from zero": { x: [3, 17, 128], w: [20, 128], norm: { eps: 1e-6 }, offset: 20 },
  "one normalised row of three images": { x: [3, 96], w: [36, 96], norm: { eps: 1e-5 } },
  "normalised rows, 30 wide": { x: [1, 17, 30], w: [12, 30], norm: { eps: 1e-6 } },
  "normalised rows as small as eps": { x: [1, 17, 32], w: [12, 32], norm: { eps: 1e-6 }, magnitude: 1e-3 },
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
  "patches behind two tokens, with a table": { x: [2, 3, 16, 16], w: [24, 3, 4, 4], source: image([4, 4], [0, 0], 2), bias: false, table: true },
  "patches with a table, 7 wide": { x: [2, 3, 8, 8], w: [7, 3, 4, 4], source: image([4, 4], [0, 0]), bias: false, table: true },
  "patches of a map": { x: [2, 24, 8], w: [16, 8, 2, 2], source: map(6, 4, [2, 2], [0, 0]) },
  "patches of a map of 5 channels, with a remainder": { x: [1, 35, 5], w: [6, 5, 2, 3], source: map(5, 7, [2, 3], [0, 0]) },
};

/** Cases for every candidate; the others are for one of each family, another from case to case, which saves minutes of compiling. */
const everyCandidate = new Set(["normalised rows", "one normalised row of three images", "patches behind two tokens, with a table"]);

/** `quad_8x4_w8` is of the family quad, and `scales_then_quad_8x4_w8` of one apart. */
function oneOfEach(choices: readonly string[], turn: number): readonly string[] {
  const family = (name: string): string => name.replace(/_\d.*/, "");
  return [...new Set(choices.map(family))].flatMap((wanted, i) => {
    const names = choices.filter((name) => family(name) === wanted);
    // The families with workgroup memory take a second each, and have one case in two.
    return ["staged", "split"].includes(wanted) && (turn + i) % 2 === 1 ? [] : [names[(turn >> 1) % names.length]!];
  });
}

const reason = await softwareReason();
if (reason) skipAll("matrix products", reason);
else {
  const test = suite("matrix products");
  const { device } = await openKernelDevice();

  for (const dtype of dtypesOf(device)) {
    Object.entries(gemms).forEach(([title, options], i) => {
      const of = gemm(options, dtype);
      test(`${dtype}: ${title}`, () => compareCandidates(device, of, everyCandidate.has(title) ? {} : { choices: oneOfEach(choicesFor(device, of), i) }));
    });
    for (const activation of ["gelu", "gelu_tanh", "quick_gelu", "relu", "sigmoid", "silu", "tanh"] as const) {
      test(`${dtype}: ${activation}`, () => compareCandidates(device, gemm({ x: [1, 17, 24], w: [20, 24], activation, magnitude: 3 }, dtype), { choices: ["register_8x8_w8x8"] }));
    }
  }

  test("weights larger than a binding are split by columns, with everything that is behind the product", async () => {
    const cases: readonly GemmCase[] = [
      { x: [1, 17, 32], w: [60, 32], activation: "gelu", norm: { eps: 1e-6 } },
      { x: [1, 17, 32], w: [60, 32], residual: "in-place" },
      { x: [1, 17, 32], w: [50, 32], residual: "read", bias: false },
      { x: [2, 3, 16, 16], w: [42, 3, 4, 4], source: image([4, 4], [0, 0], 1), bias: false, table: true },
    ];
    // 24 columns of 32 values in f32. Each piece is a kernel of its own.
    const bindingBytes = 24 * 32 * 4;
    for (const [turn, options] of cases.entries()) {
      const of = gemm(options);
      const choices = oneOfEach(choicesFor(device, of, bindingBytes), turn).filter((_, i) => (i + turn) % 2 === 0);
      await compareCandidates(device, of, { bindingBytes, steps: 3, choices });
    }
  });

  /** An activation of numbers, by a product with the unit matrix. */
  const activated = async (kind: ActivationKind, numbers: Float64Array): Promise<{ readonly actual: Float32Array; readonly exact: Float64Array }> => {
    const identity = tensor([4, 4], Float64Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)));
    const { graph, dtype, storage } = gemm({ x: [numbers.length / 4, 4], w: [4, 4], bias: false, activation: kind });
    const x = tensor([numbers.length / 4, 4], numbers);
    const actual = (await runGraph(device, graph, { inputs: { x }, parameters: () => identity }, { dtype, storage })).get("y")!;
    return { actual, exact: evaluate("activation", { kind }, [x]).data };
  };

  test("GELU is right to 3e-7 on [-10, 10]", async () => {
    const numbers = Float64Array.from({ length: 20_000 }, (_, i) => Math.fround(-10 + i / 1000));
    const { actual, exact } = await activated("gelu", numbers);
    exact.forEach((expected, i) => assert.ok(Math.abs(actual[i]! - expected) <= 3e-7, `gelu(${numbers[i]}) is ${actual[i]}, not ${expected}`));
  });

  test("no activation overflows at 1000 or far beyond", async () => {
    const numbers = Float64Array.from([1000, -1000, 100, -100, 88.8, -88.8, 3e4, -3e4]);
    for (const kind of ["gelu", "gelu_tanh", "quick_gelu", "sigmoid", "silu", "relu", "tanh"] as const) {
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
  const wide = gemm(gemms["197 tokens"]!);
  const normalised = gemm(gemms["normalised rows"]!);
  const few = gemm(gemms["one normalised row of three images"]!);
  const far = gemm(gemms["normalised rows far from zero"]!);
  const tabled = gemm(gemms["patches behind two tokens, with a table"]!);

  const register = "register_8x8_w8x8";
  const staged = "staged_32x32x16_each4x4";
  const mutants: readonly Mutant[] = [
    ["the bias of other columns", plain, register, /bias\[group\]/, "bias[group + 1u]"],
    ["no bias", plain, register, /value \+= bias\[group\];/, ""],
    ["the last row left out", plain, register, /row >= 17u/, "row >= 16u"],
    ["the last column left out", odd, register, /col < 7u/, "col < 6u"],
    ["the last step left out", plain, register, /k < steps/, "k < steps - 1u"],
    ["a result one part in ten thousand larger", plain, register, /var value = sum;/, "var value = 1.0001 * sum;"],
    ["a residual left out", inPlace, register, / \+ out\[at\]/, ""],
    ["padding on one side", padded, register, />= 1u\) &/, ">= 2u) &"],
    ["no activation", padded, register, /activate\(value\)/, "value"],
    ["a window of a map shifted", padMap, register, /offset - \d+u/, "offset - 2u"],
    ["a table of other tokens", tabled, register, /addend\[row % 18u/, "addend[row % 17u"],
    ["prefix rows that have a product", tabled, register, /value = select\(value, vec4<f32>\(0\.0\), [^;]*;/, ""],
    ["quad: a neighbour's row twice", wide, "quad_8x4_w8", /quadSwapX\(a0\)/, "a0"],
    ["quad: results of other rows", wide, "quad_8x4_w8", /r \^ member/, "r"],
    ["quad: another's scale", normalised, "quad_8x4_w8", /quadSwapY\(scale0\)/, "scale0"],
    ["inline statistics: the mean not taken off", far, register, /let off0 = a0 - mean0;/, "let off0 = a0;"],
    ["inline statistics: lanes not joined", normalised, register, /let apart0 = mean0 - [^;]*;/, "let apart0 = vec4<f32>(0.0);"],
    ["inline statistics: no eps", gemm(gemms["normalised rows as small as eps"]!), register, /inverseSqrt\(variance0 \+ [^)]*\)/, "inverseSqrt(variance0)"],
    ["staged: the next block for this one", wide, staged, /\+ step\) \*/, "+ step + 1u) *"],
    ["split: a share left out", few, "split_1x4_w8_k16", /var i = 1u; i < 16u/, "var i = 2u; i < 16u"],
    ["split: a share's statistics left out", few, "split_1x4_w8_k16", /for \(var i = 0u; i < 16u; i\+\+\) \{\n\s*let piece/, "for (var i = 1u; i < 16u; i++) {\n let piece"],
    ["scales computed apart: of other rows", normalised, "scales_then_register_8x8_w8x8", /2u \* row0 \+ 1u/, "2u * row1 + 1u"],
  ];
  for (const mutant of mutants) test(`a changed kernel is caught: ${mutant[0]}`, () => expectCaught(device, mutant));

  test("an access out of bounds is caught", async () => {
    const share = compareCandidates(device, plain, { choices: [register], mutate: ({ code }) => code.replace("k < steps", "k < steps + 1u") });
    await share.then(() => assert.unreachable("it was not"), (error: unknown) => assert.match(String(error), /out of bounds/));
  });

  test.after(() => device.destroy());
  test.run();
}
