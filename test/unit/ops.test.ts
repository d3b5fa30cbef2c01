/** Each op's `evaluate` against numbers known by hand, and against other ways to write the same thing. */
import * as assert from "uvu/assert";
import { erfc, type ActivationKind } from "../../compiler/ir/ops/pointwise.js";
import { elements, type Tensor } from "../../compiler/ir/ops/op.js";
import { worstError } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";
import { evaluate, randomTensor, sum, tensor } from "../tools/tensors.js";

const test = suite("ops");

/** |actual - expected| <= 1e-12 (1 + |expected|), and the shape. */
function close({ shape, data }: Tensor, expectedShape: readonly number[], expected: ArrayLike<number>): void {
  assert.equal(shape, expectedShape);
  const error = worstError(data, expected);
  assert.ok(error < 1e-12, `off by ${error}: ${data.slice(0, 8).join(", ")} instead of ${Array.from(expected).slice(0, 8).join(", ")}`);
}

test("conv2d of ones sums windows", () => {
  const x = tensor([1, 1, 3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const ones = tensor([1, 1, 2, 2], [1, 1, 1, 1]);
  close(evaluate("conv2d", { stride: [1, 1], padding: [0, 0] }, [x, ones]), [1, 1, 2, 2], [12, 16, 24, 28]);
  close(evaluate("conv2d", { stride: [2, 2], padding: [1, 1] }, [x, ones, tensor([1], [0.5])]), [1, 1, 2, 2], [1.5, 5.5, 11.5, 28.5]);
  close(evaluate("conv2d", { stride: [2, 1], padding: [0, 1] }, [x, tensor([1, 1, 1, 1], [10])]), [1, 1, 2, 5], [0, 10, 20, 30, 0, 0, 70, 80, 90, 0]);
});

test("conv2d is each pixel scattered over the outputs that see it", () => {
  const [batch, ins, outs, height, width] = [2, 3, 4, 7, 5];
  for (const [kernel, stride, padding] of [[[3, 3], [1, 1], [1, 1]], [[3, 2], [2, 3], [1, 0]], [[1, 4], [3, 1], [0, 2]], [[2, 5], [2, 1], [1, 2]]] as const) {
    const x = randomTensor([batch, ins, height, width], "x");
    const w = randomTensor([outs, ins, ...kernel], "w");
    const bias = randomTensor([outs], "bias");
    const y = evaluate("conv2d", { stride, padding }, [x, w, bias]);
    const [, , down, across] = y.shape as [number, number, number, number];
    assert.equal([down, across], [(height + 2 * padding[0] - kernel[0]) / stride[0], (width + 2 * padding[1] - kernel[1]) / stride[1]].map((n) => Math.floor(n) + 1));
    const scattered = Float64Array.from({ length: elements(y.shape) }, (_, i) => bias.data[Math.floor(i / (down * across)) % outs]!);
    x.data.forEach((value, at) => {
      const [b, c, row, column] = [Math.floor(at / (ins * height * width)), Math.floor(at / (height * width)) % ins, Math.floor(at / width) % height, at % width];
      for (let o = 0; o < outs; o++)
        for (let i = 0; i < kernel[0]; i++)
          for (let j = 0; j < kernel[1]; j++) {
            const [top, left] = [row + padding[0] - i, column + padding[1] - j];
            if (top < 0 || left < 0 || top % stride[0] !== 0 || left % stride[1] !== 0 || top / stride[0] >= down || left / stride[1] >= across) continue;
            scattered[((b * outs + o) * down + top / stride[0]) * across + left / stride[1]]! += value * w.data[((o * ins + c) * kernel[0] + i) * kernel[1] + j]!;
          }
    });
    close(y, y.shape, scattered);
  }
});

test("batchNorm uses the running statistics, and in training the batch's own", () => {
  const x = tensor([2, 2, 1, 2], [1, 3, 10, 20, 5, 7, 30, 40]);
  const [gamma, beta, mean, variance] = [[2, 3], [1, -1], [4, 10], [0.99, 24.99]].map((values) => tensor([2], values));
  const inputs = [x, gamma!, beta!, mean!, variance!];
  close(evaluate("batchNorm", { eps: 0.01 }, inputs), x.shape, [-5, -1, -1, 5, 3, 7, 11, 17]);
  // Channel 0 is 1, 3, 5, 7: mean 4, biased variance 5. Channel 1 is 10 to 40: mean 25, biased variance 125.
  const [a, b] = [2 / Math.sqrt(5.01), 3 / Math.sqrt(125.01)];
  close(evaluate("batchNorm", { eps: 0.01 }, inputs, { seed: 1 }), x.shape, [1 - 3 * a, 1 - a, -1 - 15 * b, -1 - 5 * b, 1 + a, 1 + 3 * a, -1 + 5 * b, -1 + 15 * b]);
});

test("maps become tokens row by row, and back", () => {
  const map = tensor([1, 2, 2, 3], [1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60]);
  const tokens = evaluate("mapToTokens", {}, [map]);
  close(tokens, [1, 6, 2], [1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60]);
  close(evaluate("tokensToMap", { height: 2, width: 3 }, [tokens]), map.shape, map.data);
});

test("linear multiplies by the transposed weight", () => {
  const [x, w] = [tensor([1, 2, 3], [1, 2, 3, 4, 5, 6]), tensor([2, 3], [1, 0, -1, 2, 1, 0])];
  close(evaluate("linear", {}, [x, w]), [1, 2, 2], [-2, 4, -2, 13]);
  close(evaluate("linear", {}, [x, w, tensor([2], [10, 100])]), [1, 2, 2], [8, 104, 8, 113]);
});

test("matmul multiplies each head, by the second operand or its transpose", () => {
  const [a, b] = [randomTensor([2, 3, 4, 5], "a"), randomTensor([2, 3, 5, 6], "b")];
  const expected = Float64Array.from({ length: 2 * 3 * 4 * 6 }, (_, i) => {
    const [h, row, column] = [Math.floor(i / 24), Math.floor(i / 6) % 4, i % 6];
    return sum(5, (k) => a.data[h * 20 + row * 5 + k]! * b.data[h * 30 + k * 6 + column]!);
  });
  close(evaluate("matmul", { transposeB: false }, [a, b]), [2, 3, 4, 6], expected);
  const transposed = tensor([2, 3, 6, 5], Float64Array.from({ length: 180 }, (_, i) => b.data[Math.floor(i / 30) * 30 + (i % 5) * 6 + (Math.floor(i / 5) % 6)]!));
  close(evaluate("matmul", { transposeB: true }, [a, transposed]), [2, 3, 4, 6], expected);
});

test("heads are split and merged", () => {
  // Two tokens; q, k, v of two heads of width 2 each.
  const qkv = tensor([1, 2, 12], Array.from({ length: 24 }, (_, i) => i));
  close(evaluate("splitHeads", { heads: 2, part: 0 }, [qkv]), [1, 2, 2, 2], [0, 1, 12, 13, 2, 3, 14, 15]);
  close(evaluate("splitHeads", { heads: 2, part: 2 }, [qkv]), [1, 2, 2, 2], [8, 9, 20, 21, 10, 11, 22, 23]);
  close(evaluate("mergeHeads", {}, [evaluate("splitHeads", { heads: 2, part: 1 }, [qkv])]), [1, 2, 4], [4, 5, 6, 7, 16, 17, 18, 19]);
});

test("layerNorm has a biased variance and eps inside the root", () => {
  const [one, zero] = [tensor([4], [1, 1, 1, 1]), tensor([4], [0, 0, 0, 0])];
  close(evaluate("layerNorm", { eps: 0 }, [tensor([1, 4], [1, 2, 3, 4]), one, zero]), [1, 4], [-3, -1, 1, 3].map((v) => v / Math.sqrt(5)));
  close(evaluate("layerNorm", { eps: 2.75 }, [tensor([2, 4], [1, 2, 3, 4, 6, 4, 6, 4]), tensor([4], [1, 2, 3, 4]), tensor([4], [0.5, 0, 0, 1])]), [2, 4], [-0.25, -0.5, 0.75, 4, 0.5 + 1 / Math.sqrt(3.75), -2 / Math.sqrt(3.75), 3 / Math.sqrt(3.75), 1 - 4 / Math.sqrt(3.75)]);
});

test("rmsNorm divides by the root of the mean square, with eps inside", () => {
  close(evaluate("rmsNorm", { eps: 0 }, [tensor([1, 4], [1, 2, 3, 4]), tensor([4], [1, 1, 1, 2])]), [1, 4], [1, 2, 3, 8].map((v) => v / Math.sqrt(7.5)));
  close(evaluate("rmsNorm", { eps: 1.5 }, [tensor([2, 2], [3, 4, 1, -2]), tensor([2], [1, 10])]), [2, 2], [3 / Math.sqrt(14), 40 / Math.sqrt(14), 0.5, -10]);
});

test("unitVariance divides by the root of the biased variance, and keeps the mean", () => {
  close(evaluate("unitVariance", { eps: 0 }, [tensor([1, 4], [1, 2, 3, 4])]), [1, 4], [1, 2, 3, 4].map((v) => v / Math.sqrt(1.25)));
  close(evaluate("unitVariance", { eps: 3 }, [tensor([2, 2], [5, 7, -1, -1])]), [2, 2], [2.5, 3.5, -1 / Math.sqrt(3), -1 / Math.sqrt(3)]);
});

test("softmax sums to one and does not overflow", () => {
  close(evaluate("softmax", {}, [tensor([2, 3], [0, Math.log(2), Math.log(5), 1000, 1000, -1000])]), [2, 3], [1 / 8, 2 / 8, 5 / 8, 0.5, 0.5, 0]);
});

test("reduce takes the mean or the maximum over tokens", () => {
  const x = tensor([2, 3, 2], [1, -1, 2, -2, 6, -3, 0, 1, 0, 4, 3, 1]);
  close(evaluate("reduce", { kind: "avg" }, [x]), [2, 2], [3, -2, 1, 2]);
  close(evaluate("reduce", { kind: "max" }, [x]), [2, 2], [6, -1, 3, 4]);
});

test("activations have their known values", () => {
  const known: Record<ActivationKind, readonly (readonly [x: number, y: number])[]> = {
    gelu: [[0, 0], [1, 0.8413447460685429], [-1, -0.15865525393145707], [2, 1.9544997361036416], [-3, -0.00404969409489028], [-6, -5.919525870226188e-9], [40, 40], [-40, 0]],
    gelu_tanh: [[0, 0], [1, 0.8411919906082768], [-1, -0.15880800939172324], [1000, 1000], [-1000, 0]],
    quick_gelu: [[0, 0], [1, 0.8457957659328212], [-1000, 0], [1000, 1000]],
    relu: [[-2, 0], [0, 0], [3, 3]],
    sigmoid: [[0, 0.5], [1, 0.7310585786300049], [-2, 0.11920292202211755], [-1000, 0], [1000, 1]],
    silu: [[0, 0], [1, 0.7310585786300049], [-2, -0.2384058440442351], [-1000, 0]],
    tanh: [[0, 0], [0.5, 0.462117157260010], [-50, -1]],
  };
  for (const [kind, points] of Object.entries(known)) {
    const y = evaluate("activation", { kind: kind as ActivationKind }, [tensor([points.length], points.map(([x]) => x))]);
    close(y, y.shape, points.map(([, expected]) => expected));
  }
  // Far out only the relative error says anything.
  const [tail] = evaluate("activation", { kind: "gelu" }, [tensor([1], [-6])]).data;
  assert.ok(Math.abs(tail! / -5.919525870226188e-9 - 1) < 1e-13);
});

/** erfc from its Taylor series in whole numbers, 60 digits after the point. */
function exactErfc(x: number): number {
  const one = 10n ** 60n;
  const scaled = (BigInt(Math.round(x * 2 ** 52)) * one) / 2n ** 52n;
  const square = (scaled * scaled) / one;
  let [term, total] = [scaled, scaled];
  for (let n = 1n; n < 400n; n++) {
    term = (-term * square) / one / n;
    total += term / (2n * n + 1n);
  }
  const pi = 3141592653589793238462643383279502884197169399375105820974944n;
  let root = BigInt(Math.floor(Math.sqrt(Number(pi * one))));
  for (let i = 0; i < 8; i++) root = (root + (pi * one) / root) / 2n;
  return Number((one - (2n * total * one) / root) / 10n ** 30n) / 1e30;
}

test("erfc has fourteen digits", () => {
  assert.ok(Math.abs(exactErfc(1) - 0.15729920705028513) < 1e-16);
  for (let x = -5; x <= 5; x += 1 / 32) assert.ok(Math.abs(erfc(x) / exactErfc(x) - 1) < 1e-14, `erfc(${x}) is ${erfc(x)}, not ${exactErfc(x)}`);
});

test("add repeats what has size 1, scale multiplies, expand repeats", () => {
  const x = tensor([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
  close(evaluate("add", {}, [x, x]), x.shape, [2, 4, 6, 8, 10, 12, 14, 16]);
  close(evaluate("add", {}, [x, tensor([1, 2, 2], [10, 20, 30, 40])]), x.shape, [11, 22, 33, 44, 15, 26, 37, 48]);
  close(evaluate("add", {}, [x, tensor([2, 1, 1], [10, 20])]), x.shape, [11, 12, 13, 14, 25, 26, 27, 28]);
  close(evaluate("scale", { factor: -0.5 }, [x]), x.shape, [-0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4]);
  close(evaluate("expand", { batch: 3 }, [tensor([1, 2], [1, 2])]), [3, 2], [1, 2, 1, 2, 1, 2]);
});

test("multiply takes element by element, and sliceLast a part of the last axis", () => {
  close(evaluate("multiply", {}, [tensor([1, 2, 2], [1, 2, 3, 4]), tensor([1, 2, 2], [10, -1, 0, 0.5])]), [1, 2, 2], [10, -2, 0, 2]);
  const x = tensor([2, 1, 3], [1, 2, 3, 4, 5, 6]);
  close(evaluate("sliceLast", { start: 1, end: 3 }, [x]), [2, 1, 2], [2, 3, 5, 6]);
  close(evaluate("sliceLast", { start: 0, end: 1 }, [x]), [2, 1, 1], [1, 4]);
});

test("tokens are joined, cut and picked", () => {
  const [a, b] = [tensor([2, 1, 2], [1, 2, 3, 4]), tensor([2, 2, 2], [10, 20, 30, 40, 50, 60, 70, 80])];
  const all = evaluate("concat", { axis: 1 }, [a, b]);
  close(all, [2, 3, 2], [1, 2, 10, 20, 30, 40, 3, 4, 50, 60, 70, 80]);
  close(evaluate("sliceTokens", { start: 1, end: 3 }, [all]), b.shape, b.data);
  close(evaluate("token", { index: 2 }, [all]), [2, 2], [30, 40, 70, 80]);
  close(evaluate("padTokens", { start: 2 }, [a]), [2, 3, 2], [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4]);
  close(evaluate("padTokens", { start: 0 }, [a]), a.shape, a.data);
  close(evaluate("asTokens", {}, [tensor([2, 2], [1, 2, 3, 4])]), a.shape, a.data);
});

test("channels are scaled and pixels normalised, each by its own numbers", () => {
  close(evaluate("scaleLast", {}, [tensor([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]), tensor([2], [10, -1])]), [2, 2, 2], [10, -2, 30, -4, 50, -6, 70, -8]);
  close(evaluate("normalizeChannels", { mean: [0.5, 1], std: [0.5, 2] }, [tensor([2, 2, 1, 2], [0.5, 1, 1, 3, 0, -1, 5, 7])]), [2, 2, 1, 2], [0, 1, 0, 1, -1, -3, 2, 3]);
});

test("a batch norm folded into a convolution is the batch norm behind it", () => {
  const x = randomTensor([2, 3, 5, 5], "x");
  const w = randomTensor([4, 3, 3, 3], "w");
  const [gamma, beta, mean] = ["gamma", "beta", "mean"].map((name) => randomTensor([4], name));
  const variance = tensor([4], [0.1, 1, 2, 5]);
  const [conv, norm] = [{ stride: [1, 1], padding: [1, 1] } as const, { eps: 1e-3 }];
  const folded = [x, evaluate("foldBatchNormScale", norm, [w, gamma!, variance]), evaluate("foldBatchNormShift", norm, [gamma!, beta!, mean!, variance])];
  const behind = evaluate("batchNorm", norm, [evaluate("conv2d", conv, [x, w]), gamma!, beta!, mean!, variance]);
  close(evaluate("conv2d", conv, folded), behind.shape, behind.data);
});

test("a layer norm folded into a product is the layer norm before it, and its weights sum to zero", () => {
  const [x, w, bias] = [randomTensor([2, 3, 5], "x"), randomTensor([4, 5], "w"), randomTensor([4], "bias")];
  const [gamma, beta] = [randomTensor([5], "gamma"), randomTensor([5], "beta")];
  const before = evaluate("linear", {}, [evaluate("layerNorm", { eps: 1e-3 }, [x, gamma, beta]), w, bias]);
  const folded = evaluate("foldNormScale", { centre: true }, [w, gamma]);
  for (let row = 0; row < 4; row++) assert.ok(Math.abs(sum(5, (i) => folded.data[row * 5 + i]!)) < 1e-15);
  const shift = evaluate("foldNormShift", {}, [w, beta, bias]);
  const gemm = { source: { kind: "rows" }, activation: "none", residual: false, norm: { eps: 1e-3 } } as const;
  close(evaluate("gemm", { ...gemm, bias: true }, [x, folded, shift]), before.shape, before.data);
  close(evaluate("foldNormScale", { centre: false }, [tensor([2, 2], [1, 2, 3, 4]), tensor([2], [10, -1])]), [2, 2], [10, -2, 30, -4]);
  close(evaluate("foldNormScale", { centre: true }, [tensor([2, 2], [1, 2, 3, 4]), tensor([2], [10, -1])]), [2, 2], [6, -6, 17, -17]);
  close(evaluate("foldNormShift", {}, [tensor([2, 2], [1, 2, 3, 4]), tensor([2], [10, -1])]), [2], [8, 26]);
});

test("pixels normalised in a convolution's weights are pixels normalised before it", () => {
  const [x, w, bias] = [randomTensor([2, 3, 4, 6], "x"), randomTensor([5, 3, 2, 3], "w"), randomTensor([5], "bias")];
  const [mean, std] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
  const conv = { stride: [2, 3], padding: [0, 0] } as const;
  const normal = evaluate("normalizeChannels", { mean, std }, [x]);
  for (const rest of [[], [bias]]) {
    const before = evaluate("conv2d", conv, [normal, w, ...rest]);
    close(evaluate("conv2d", conv, [x, evaluate("foldPixelScale", { std }, [w]), evaluate("foldPixelShift", { mean, std }, [w, ...rest])]), before.shape, before.data);
  }
});

test("rows of weights are scaled, cut and multiplied by their channels' factors", () => {
  const w = tensor([3, 2], [1, 2, 3, 4, 5, 6]);
  close(evaluate("scaleRows", { start: 1, end: 2, factor: 10 }, [w]), [3, 2], [1, 2, 30, 40, 5, 6]);
  close(evaluate("scaleRows", { start: 0, end: 2, factor: -1 }, [tensor([3], [1, 2, 3])]), [3], [-1, -2, 3]);
  close(evaluate("scaleChannels", {}, [tensor([2, 1, 1, 2], [1, 2, 3, 4]), tensor([2], [10, 100])]), [2, 1, 1, 2], [10, 20, 300, 400]);
  close(evaluate("sliceRows", { start: 1, end: 3 }, [w]), [2, 2], [3, 4, 5, 6]);
  close(evaluate("sliceColumns", { start: 1, end: 2 }, [w]), [3, 1], [2, 4, 6]);
  close(evaluate("concatRows", {}, [w, tensor([1, 2], [7, 8])]), [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
  close(evaluate("concatRows", {}, [tensor([1], [1]), tensor([2], [2, 3])]), [3], [1, 2, 3]);
});

test("a linear layer of a parameter is a linear layer", () => {
  const [x, w] = [tensor([1, 2, 3], [1, 2, 3, 4, 5, 6]), tensor([2, 3], [1, 0, -1, 2, 1, 0])];
  close(evaluate("weightLinear", {}, [x, w]), [1, 2, 2], [-2, 4, -2, 13]);
  close(evaluate("weightLinear", {}, [x, w, tensor([2], [10, 100])]), [1, 2, 2], [8, 104, 8, 113]);
});

test("a table of tokens has prefix tokens with their positions, then positions with the bias", () => {
  const [token, bias] = [tensor([1, 1, 1], [100]), tensor([1], [1000])];
  const made = (attrs: { prefix: number; positions: "all" | "patches" | "none"; bias: boolean }, ...inputs: Tensor[]) => evaluate("tokenTable", { patches: 2, ...attrs }, inputs);
  close(made({ prefix: 1, positions: "all", bias: true }, token, tensor([1, 3, 1], [1, 2, 3]), bias), [1, 3, 1], [101, 1002, 1003]);
  close(made({ prefix: 1, positions: "patches", bias: true }, token, tensor([1, 2, 1], [1, 2]), bias), [1, 3, 1], [100, 1001, 1002]);
  close(made({ prefix: 2, positions: "none", bias: true }, token, tensor([1, 1, 1], [200]), bias), [1, 4, 1], [100, 200, 1000, 1000]);
  close(made({ prefix: 1, positions: "none", bias: false }, token), [1, 3, 1], [100, 0, 0]);
  close(made({ prefix: 0, positions: "all", bias: false }, tensor([1, 2, 1], [1, 2])), [1, 2, 1], [1, 2]);
  // Registers are several tokens in one tensor.
  const registers = tensor([1, 2, 1], [200, 300]);
  close(made({ prefix: 3, positions: "all", bias: true }, token, registers, tensor([1, 5, 1], [1, 2, 3, 4, 5]), bias), [1, 5, 1], [101, 202, 303, 1004, 1005]);
  close(made({ prefix: 2, positions: "patches", bias: false }, registers, tensor([1, 2, 1], [1, 2])), [1, 4, 1], [200, 300, 1, 2]);
});

test("position tables are MAE's and the Transformer's", () => {
  const [rows, columns, dim] = [2, 3, 8];
  const mae = evaluate("positionTable", { kind: "sincos2d", grid: [rows, columns], dim, prefix: 2, temperature: 10000 }, []);
  const waves = (position: number) => {
    const angles = [position, position / 100];
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  };
  const patches = Array.from({ length: rows * columns }, (_, p) => [...waves(p % columns), ...waves(Math.floor(p / columns))]);
  close(mae, [1, 8, 8], [...Array.from({ length: 2 * dim }, () => 0), ...patches.flat()]);
  const transformer = evaluate("positionTable", { kind: "sincos1d", grid: [1, 3], dim: 4, prefix: 0, temperature: 100 }, []);
  close(transformer, [1, 3, 4], [0, 1, 2].flatMap((p) => [Math.sin(p), Math.cos(p), Math.sin(p / 10), Math.cos(p / 10)]));
});

test("attention is softmax(scale q kᵀ) v of each head", () => {
  const [batch, tokens, heads, width, scale] = [2, 5, 3, 4, 0.7];
  const qkv = randomTensor([batch, tokens, 3 * heads * width], "qkv", 2);
  const at = (b: number, n: number, part: number, h: number, c: number): number => qkv.data[((b * tokens + n) * 3 + part) * heads * width + h * width + c]!;
  const expected = Float64Array.from({ length: batch * tokens * heads * width }, (_, i) => {
    const [b, n, h, c] = [Math.floor(i / (tokens * heads * width)), Math.floor(i / (heads * width)) % tokens, Math.floor(i / width) % heads, i % width];
    const weights = Array.from({ length: tokens }, (_, m) => Math.exp(scale * sum(width, (k) => at(b, n, 0, h, k) * at(b, m, 1, h, k))));
    return sum(tokens, (m) => weights[m]! * at(b, m, 2, h, c)) / sum(tokens, (m) => weights[m]!);
  });
  close(evaluate("attention", { heads, scale }, [qkv]), [batch, tokens, heads * width], expected);
});

test("attention with queries of their own, or one an image, is that of the packed projection at those tokens", () => {
  const [batch, tokens, heads, width] = [2, 5, 2, 3];
  const w = heads * width;
  const qkv = randomTensor([batch, tokens, 3 * w], "qkv", 2);
  const columns = (start: number, end: number, rows: readonly number[]): Float64Array => Float64Array.from({ length: batch * rows.length * (end - start) }, (_, i) => {
    const [b, n, c] = [Math.floor(i / (rows.length * (end - start))), Math.floor(i / (end - start)) % rows.length, i % (end - start)];
    return qkv.data[(b * tokens + rows[n]!) * 3 * w + start + c]!;
  });
  const all = evaluate("attention", { heads, scale: 0.7 }, [qkv]).data;
  const kv = tensor([batch, tokens, 2 * w], columns(w, 3 * w, [0, 1, 2, 3, 4]));
  const expected = (rows: readonly number[]) => [0, 1].flatMap((b) => rows.flatMap((n) => [...all.slice((b * tokens + n) * w, (b * tokens + n + 1) * w)]));
  close(evaluate("attention", { heads, scale: 0.7 }, [tensor([batch, 2, w], columns(0, w, [3, 1])), kv]), [batch, 2, w], expected([3, 1]));
  close(evaluate("attention", { heads, scale: 0.7 }, [tensor([batch, w], columns(0, w, [2])), kv]), [batch, w], expected([2]));
  // A scale of one is left out, and is the same.
  const [one, half] = [evaluate("attention", { heads, scale: 1 }, [tensor([batch, w], columns(0, w, [2]).map((value) => value * 0.7)), kv]), evaluate("attention", { heads, scale: 0.7 }, [tensor([batch, w], columns(0, w, [2])), kv])];
  close(one, half.shape, half.data);
});

test("gemm is a product with bias, activation and residual, in that order", () => {
  const [x, w, bias, residual] = [tensor([1, 2, 2], [1, 2, 3, 4]), tensor([2, 2], [1, 1, -1, -1]), tensor([2], [0.5, 1]), tensor([1, 2, 2], [10, 20, 30, 40])];
  close(evaluate("gemm", { source: { kind: "rows" }, bias: true, activation: "relu", residual: true }, [x, w, bias, residual]), [1, 2, 2], [13.5, 20, 37.5, 40]);
  close(evaluate("gemm", { source: { kind: "rows" }, bias: false, activation: "none", residual: false }, [x, w]), [1, 2, 2], [3, -3, 7, -7]);
});

test("gemm on windows of an image or a map is a convolution that leaves tokens", () => {
  const [x, w] = [randomTensor([2, 3, 5, 4], "x"), randomTensor([6, 3, 3, 2], "w")];
  const [stride, padding] = [[2, 1], [1, 1]] as const;
  const expected = evaluate("mapToTokens", {}, [evaluate("conv2d", { stride, padding }, [x, w])]);
  const plain = { bias: false, activation: "none", residual: false } as const;
  close(evaluate("gemm", { source: { kind: "image", stride, padding }, ...plain }, [x, w]), expected.shape, expected.data);
  const tokens = evaluate("mapToTokens", {}, [x]);
  close(evaluate("gemm", { source: { kind: "map", height: 5, width: 4, stride, padding }, ...plain }, [tokens, w]), expected.shape, expected.data);
});

test("gemm normalises its rows, and ends in a table with rows in front for the prefix", () => {
  const [x, w] = [tensor([2, 2], [1, 3, 2, 2]), tensor([1, 2], [1, -1])];
  close(evaluate("gemm", { source: { kind: "rows" }, bias: false, activation: "none", residual: false, norm: { eps: 3 } }, [x, w]), [2, 1], [-1, 0]);
  const image = tensor([2, 1, 1, 2], [1, 2, 3, 4]);
  const source = { kind: "image", stride: [1, 1], padding: [0, 0] } as const;
  const table = tensor([1, 3, 1], [100, 200, 300]);
  close(evaluate("gemm", { source: { ...source, prefix: 1 }, bias: false, activation: "none", residual: false, table: true }, [image, tensor([1, 1, 1, 1], [10]), table]), [2, 3, 1], [100, 210, 320, 100, 230, 340]);
});

test("embed puts tokens in front and adds positions to all or to the patches", () => {
  const [patches, token] = [tensor([2, 2, 1], [1, 2, 3, 4]), tensor([1, 1, 1], [9])];
  close(evaluate("embed", { prefix: 1, position: "none" }, [patches, token]), [2, 3, 1], [9, 1, 2, 9, 3, 4]);
  close(evaluate("embed", { prefix: 1, position: "all" }, [patches, token, tensor([1, 3, 1], [10, 20, 30])]), [2, 3, 1], [19, 21, 32, 19, 23, 34]);
  close(evaluate("embed", { prefix: 1, position: "patches" }, [patches, token, tensor([1, 2, 1], [10, 20])]), [2, 3, 1], [9, 11, 22, 9, 13, 24]);
  close(evaluate("embed", { prefix: 0, position: "all" }, [patches, tensor([1, 2, 1], [10, 20])]), [2, 2, 1], [11, 22, 13, 24]);
  const registers = tensor([1, 2, 1], [7, 8]);
  close(evaluate("embed", { prefix: 3, position: "none" }, [patches, token, registers]), [2, 5, 1], [9, 7, 8, 1, 2, 9, 7, 8, 3, 4]);
  close(evaluate("embed", { prefix: 2, position: "all" }, [patches, registers, tensor([1, 4, 1], [10, 20, 30, 40])]), [2, 4, 1], [17, 28, 31, 42, 17, 28, 33, 44]);
});

test("the small fused ops are what they stand for", () => {
  const x = randomTensor([2, 3, 4], "x");
  const [scale, bias] = [randomTensor([4], "scale"), randomTensor([4], "bias")];
  const norm = evaluate("layerNorm", { eps: 0.1 }, [x, scale, bias]).data;
  close(evaluate("tokenNorm", { kind: "layer", index: 1, eps: 0.1 }, [x, scale, bias]), [2, 4], [...norm.slice(4, 8), ...norm.slice(16, 20)]);
  const rms = evaluate("rmsNorm", { eps: 0.1 }, [x, scale]).data;
  close(evaluate("tokenNorm", { kind: "rms", index: 2, eps: 0.1 }, [x, scale]), [2, 4], [...rms.slice(8, 12), ...rms.slice(20, 24)]);
  const pooled = (f: (a: number, b: number) => number) => [0, 1].flatMap((b) => [0, 1, 2, 3].map((c) => f(x.data[b * 12 + 4 + c]!, x.data[b * 12 + 8 + c]!)));
  close(evaluate("poolTokens", { kind: "avg", start: 1 }, [x]), [2, 4], pooled((a, b) => (a + b) / 2));
  close(evaluate("poolTokens", { kind: "max", start: 1 }, [x]), [2, 4], pooled(Math.max));
  close(evaluate("poolTokens", { kind: "avgmax", start: 1 }, [x]), [2, 4], pooled((a, b) => ((a + b) / 2 + Math.max(a, b)) / 2));
  const means = pooled((a, b) => (a + b) / 2);
  close(evaluate("poolTokens", { kind: "tokenavg", start: 1 }, [x]), [2, 8], [...x.data.slice(0, 4), ...means.slice(0, 4), ...x.data.slice(12, 16), ...means.slice(4)]);
  close(evaluate("addScale", { factor: 0.5 }, [tensor([2], [1, 2]), tensor([2], [5, 20])]), [2], [3, 11]);
});

test("l2Normalize leaves the direction of each row, and zeros", () => {
  close(evaluate("l2Normalize", {}, [tensor([4, 2], [3, -4, 0, 0, 3e-13, 4e-13, -5, 0])]), [4, 2], [0.6, -0.8, 0, 0, 0.3, 0.4, -1, 0]);
  const { data } = evaluate("l2Normalize", {}, [randomTensor([2, 3, 7], "x", 100)]);
  for (let row = 0; row < 6; row++) close(tensor([1], [sum(7, (c) => data[row * 7 + c]! ** 2)]), [1], [1]);
});

test.run();
