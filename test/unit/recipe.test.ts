import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { VitcError } from "../../runtime/errors.js";
import type { WeightStep } from "../../runtime/plan.js";
import { sincos1d, sincos2d } from "../../runtime/position.js";
import { transpose } from "../../runtime/transpose.js";
import { count, refusal, rejection } from "./weight-files.js";
import { pack, product, type Source } from "./weight-recipes.js";

const test = suite("recipe");

/** 0, 1, 2, ... in a shape: every element tells where it came from. */
const numbered = (shape: readonly number[], from = 0): Source => ({ shape, values: count(product(shape), from) });

/** The oracle of every step that moves data: builds the result from a function of its index. */
function build(shape: readonly number[], element: (index: readonly number[]) => number): number[] {
  return count(product(shape)).map((position) => {
    const index: number[] = [];
    for (const extent of shape.toReversed()) {
      index.unshift(position % extent);
      position = Math.floor(position / extent);
    }
    return element(index);
  });
}

const get = ({ shape, values }: Source, index: readonly number[]): number => values[index.reduce((position, i, axis) => position * shape[axis]! + i, 0)]!;

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 });

test("without steps the source is the result", async () => {
  assert.equal([...(await pack([numbered([2, 3])], [], [2, 3]))], count(6));
});

test("reshape keeps the order", async () => {
  assert.equal([...(await pack([numbered([2, 6])], [{ op: "reshape", of: 0, shape: [3, 1, 4] }], [3, 1, 4]))], count(12));
});

test("transpose is numpy.transpose for every permutation", async () => {
  const property = fc.asyncProperty(
    shapes.chain((shape) => fc.tuple(fc.constant(shape), fc.shuffledSubarray(count(shape.length), { minLength: shape.length }))),
    fc.boolean(),
    async ([shape, axes], wide) => {
      const source = numbered(shape);
      const result = axes.map((axis) => shape[axis]!);
      const expected = build(result, (index) => get(source, shape.map((_, axis) => index[axes.indexOf(axis)]!)));
      const kind = wide ? (values: readonly number[]) => Float64Array.from(values) : undefined;
      assert.equal([...(await pack([source], [{ op: "transpose", of: 0, axes }], result, kind))], expected);
    },
  );
  await fc.assert(property, { numRuns: 300, seed: 3 });
});

test("transposes large matrices with prime sides", () => {
  for (const [rows, columns] of [[1009, 757], [757, 1009], [1, 1009], [1009, 1], [33, 31], [2731, 3]] as const) {
    const data = Float32Array.from({ length: rows * columns }, (_, i) => i);
    const result = transpose(data, [rows, columns], [1, 0]);
    let wrong = 0;
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) if (result[column * rows + row] !== row * columns + column) wrong++;
    assert.is(wrong, 0, `${rows} x ${columns}`);
  }
});

test("a transpose that moves nothing copies nothing", () => {
  const data = Float32Array.from(count(12));
  assert.is(transpose(data, [3, 4], [0, 1]), data);
  assert.is(transpose(data, [1, 3, 4, 1], [1, 3, 0, 2]), data);
  assert.is.not(transpose(data, [3, 4], [1, 0]), data);
});

test("slice takes a part of any axis", async () => {
  const property = fc.asyncProperty(
    shapes.chain((shape) => fc.nat({ max: shape.length - 1 }).chain((axis) => fc.tuple(fc.constant(shape), fc.constant(axis), fc.nat({ max: shape[axis]! }), fc.nat({ max: shape[axis]! })))),
    async ([shape, axis, a, b]) => {
      const [start, end] = [Math.min(a, b), Math.max(a, b)];
      const source = numbered(shape);
      const result = shape.with(axis, end - start);
      const expected = build(result, (index) => get(source, index.with(axis, index[axis]! + start)));
      assert.equal([...(await pack([source], [{ op: "slice", of: 0, axis, start, end }], result))], expected);
    },
  );
  await fc.assert(property, { numRuns: 200, seed: 4 });
});

test("concat joins along any axis", async () => {
  const property = fc.asyncProperty(
    shapes.chain((shape) => fc.tuple(fc.constant(shape), fc.nat({ max: shape.length - 1 }), fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 3 }))),
    async ([shape, axis, extents]) => {
      const parts = extents.map((extent, i) => numbered(shape.with(axis, extent), i * 1000));
      const owner = extents.flatMap((extent, part) => count(extent).map((at) => ({ part, at })));
      const result = shape.with(axis, owner.length);
      const expected = build(result, (index) => get(parts[owner[index[axis]!]!.part]!, index.with(axis, owner[index[axis]!]!.at)));
      assert.equal([...(await pack(parts, [{ op: "concat", of: count(parts.length), axis }], result))], expected);
    },
  );
  await fc.assert(property, { numRuns: 200, seed: 5 });
});

test("pad puts zeros at the end of every axis", async () => {
  const property = fc.asyncProperty(
    shapes.chain((shape) => fc.tuple(fc.constant(shape), fc.tuple(...shape.map(() => fc.nat({ max: 3 }))))),
    async ([shape, room]) => {
      const source = numbered(shape, 1);
      const padded = shape.map((extent, axis) => extent + room[axis]!);
      const expected = build(padded, (index) => (index.every((i, axis) => i < shape[axis]!) ? get(source, index) : 0));
      assert.equal([...(await pack([source], [{ op: "pad", of: 0, shape: padded }], padded))], expected);
    },
  );
  await fc.assert(property, { numRuns: 200, seed: 6 });
});

test("scale computes in f64 and rounds once", async () => {
  // Rounding between the two factors would lose the value: it is below the smallest f32.
  const steps: WeightStep[] = [{ op: "scale", of: 0, factor: 1e-50 }, { op: "scale", of: 1, factor: 1e50 }];
  const values = [1, -3, 0.1, 2 ** 100];
  assert.equal([...(await pack([{ shape: [4], values }], steps, [4]))], values.map((value) => Math.fround(Math.fround(value) * 1e-50 * 1e50)));
  const third = await pack([{ shape: [1], values: [1 / 3] }], [{ op: "scale", of: 0, factor: 1 }], [1], (list) => Float64Array.from(list));
  assert.is(third[0], Math.fround(1 / 3));
});

test("concat keeps f64 when one part has it", async () => {
  const steps: WeightStep[] = [{ op: "scale", of: 0, factor: 1e-60 }, { op: "concat", of: [1, 2], axis: 0 }, { op: "scale", of: 3, factor: 1e30 }];
  const packed = await pack([{ shape: [1], values: [1] }, { shape: [1], values: [2] }], steps, [2]);
  assert.equal([...packed], [Math.fround(2e30), Math.fround(1e-60 * 1e30)]);
});

test("a step leaves the registers it reads as they were", async () => {
  const steps: WeightStep[] = [{ op: "scale", of: 0, factor: 2 }, { op: "concat", of: [0, 1], axis: 0 }];
  assert.equal([...(await pack([numbered([3])], steps, [6]))], [0, 1, 2, 0, 2, 4]);
});

test("batch normalization folds into the convolution before it", async () => {
  const weight = { shape: [2, 3, 1, 1], values: [1, 2, 3, 4, 5, 6] };
  const gamma = { shape: [2], values: [0.5, -2] };
  const beta = { shape: [2], values: [0.25, 1] };
  const mean = { shape: [2], values: [3, -1] };
  const variance = { shape: [2], values: [0.75, 0] };
  const eps = 0.25;
  const scaled = await pack([weight, gamma, variance], [{ op: "foldBatchNormScale", of: [0, 1, 2], eps }], [2, 3, 1, 1]);
  const shift = await pack([gamma, beta, mean, variance], [{ op: "foldBatchNormShift", of: [0, 1, 2, 3], eps }], [2]);
  // sqrt(0.75 + 0.25) = 1 and sqrt(0 + 0.25) = 0.5: factors 0.5 and -4.
  assert.equal([...scaled], [0.5, 1, 1.5, -16, -20, -24]);
  assert.equal([...shift], [0.25 - 1.5, 1 - 4]);
  // What the fold is for: normalizing the convolution's output x . w equals x . w' + b'.
  const x = [0.5, -1, 2];
  for (const channel of [0, 1]) {
    const dot = (values: ArrayLike<number>): number => x.reduce((sum, value, i) => sum + value * values[channel * 3 + i]!, 0);
    const normalized = ((dot(weight.values) - mean.values[channel]!) / Math.sqrt(variance.values[channel]! + eps)) * gamma.values[channel]! + beta.values[channel]!;
    assert.is(dot(scaled) + shift[channel]!, normalized);
  }
});

test("arithmetic that leaves f32 is refused by name", async () => {
  const vectors = [{ shape: [2], values: [1, 1] }, { shape: [2], values: [1, 1] }, { shape: [2], values: [1, 1] }, { shape: [2], values: [1, -3] }];
  const fold: WeightStep = { op: "foldBatchNormShift", of: [0, 1, 2, 3], eps: 1e-5 };
  assert.match((await refusal(pack(vectors, [fold], [2]))).message, /"blocks\.0\.weight" becomes NaN at \[1\]/);
  const large = pack([{ shape: [1, 2], values: [0, 1e300] }], [], [1, 2], (list) => Float64Array.from(list));
  assert.match((await refusal(large)).message, /becomes Infinity at \[0, 1\].*from 1e\+300/);
});

test("a recipe that contradicts itself is told apart from a bad file", async () => {
  const rotary = { op: "rotaryTable", of: [], kind: "axial", grid: [2, 3], headDim: 8, temperature: 100, order: "ij", reference: [2, 3], offset: 0, block: 0 } as const;
  const cases: readonly [WeightStep, readonly number[], RegExp][] = [
    [{ op: "reshape", of: 0, shape: [5] }, [5], /"reshape" makes \[5\] of \[2, 3\]/],
    [{ op: "transpose", of: 0, axes: [0, 0] }, [2, 2], /orders the axes/],
    [{ op: "transpose", of: 0, axes: [0] }, [2], /orders the axes/],
    [{ op: "slice", of: 0, axis: 2, start: 0, end: 1 }, [1], /"slice" takes 0 to 1 of axis 2/],
    [{ op: "slice", of: 0, axis: 1, start: 2, end: 4 }, [2, 2], /takes 2 to 4 of axis 1/],
    [{ op: "concat", of: [], axis: 0 }, [0], /joins 0 tensors/],
    [{ op: "pad", of: 0, shape: [2, 2] }, [2, 2], /grows \[2, 3\] to \[2, 2\]/],
    [{ op: "foldNormScale", of: [0, 0], centre: true }, [2, 3], /needs a weight \[out, in\] and a vector \[in\]/],
    [{ op: "foldNormShift", of: [0, 0] }, [2], /at most one \[out\]/],
    [{ op: "foldPixelScale", of: 0, std: [1] }, [2, 3], /needs a weight \[out, 1, \.\.\.\]/],
    [{ op: "foldPixelShift", of: [0], mean: [1], std: [1, 1, 1] }, [2], /needs a weight \[out, 3, \.\.\.\]/],
    [{ op: "scaleRows", of: 0, start: 1, end: 3, factor: 2 }, [2, 3], /scales rows 1 to 3 of \[2, 3\]/],
    [{ op: "scaleChannels", of: [0, 0] }, [2, 3], /a vector \[channels\]/],
    [{ op: "tokenTable", of: [0], prefix: 1, patches: 2, positions: "none", bias: false }, [1, 3, 3], /makes 1 \+ 2 tokens of \[2, 3\]/],
    [{ op: "tokenTable", of: [], prefix: 0, patches: 2, positions: "none", bias: false }, [1, 2, 3], /makes 0 \+ 2 tokens of/],
    [{ op: "tokenTable", of: [0], prefix: 1, patches: 2, positions: "patches", bias: true }, [1, 3, 3], /makes 1 \+ 2 tokens of/],
    [{ op: "weightLinear", of: [0, 0, 0] }, [2, 2], /needs a tensor \[\.\.\., in\], a weight \[out, in\] and at most one vector/],
    [{ op: "queryValueBias", of: [0, 0] }, [6], /"queryValueBias" needs two vectors of one length/],
    [{ op: "differentialFactor", of: [0, 0, 0, 0], initial: 1 }, [1], /"differentialFactor" needs four vectors of one length/],
    [{ ...rotary, kind: "mixed", of: [0] }, [2, 1, 6, 8], /makes mixed angles for heads of 8 in block 0 of \[2, 3\]/],
    [{ ...rotary, kind: "mixed" }, [2, 1, 6, 8], /makes mixed angles for heads of 8 in block 0 of nothing/],
    [{ ...rotary, of: [0] }, [2, 1, 6, 8], /makes axial angles for heads of 8 in block 0 of \[2, 3\]/],
    [{ ...rotary, headDim: 6 }, [2, 1, 6, 6], /makes axial angles for heads of 6/],
    [{ op: "resampleTable", of: 0, prefix: 0, from: [2, 3], to: [1, 1], filter: "bicubic", antialias: true, corners: false }, [1, 1, 3], /resamples \[2, 3\] as 0 rows and a grid of 2 x 3/],
    [{ op: "resampleRelative", of: 0, from: [1, 2], to: [1, 1], filter: "geometric" }, [4, 3], /resamples \[2, 3\] as distances in a grid of 1 x 2/],
    [{ op: "resamplePatch", of: 0, from: [2, 3], to: [1, 1], filter: "bicubic", antialias: true }, [1, 1], /resamples \[2, 3\] as patches of 2 x 3/],
    [{ op: "scale", of: 4, factor: 1 }, [2, 3], /reads register 4 of 1/],
    [{ op: "foldBatchNormScale", of: [0, 0, 0], eps: 0 }, [2, 3], /two vectors/],
    [{ op: "scale", of: 0, factor: 1 }, [3, 2], /make \[2, 3\], it should be \[3, 2\]/],
  ];
  for (const [step, shape, message] of cases) {
    const error = await rejection(pack([numbered([2, 3])], [step], shape));
    assert.ok(error instanceof VitcError && error.code === "validation", String(error));
    assert.match(error.message, message);
  }
});

test("a table for other tokens than it is given is refused", async () => {
  const table = (prefix: number): WeightStep => ({ op: "tokenTable", of: [0], prefix, patches: 1, positions: "none", bias: false });
  assert.equal([...(await pack([numbered([1, 2, 3])], [table(2)], [1, 3, 3]))], [...count(6), 0, 0, 0]);
  for (const prefix of [1, 3]) assert.match(String(await rejection(pack([numbered([1, 2, 3])], [table(prefix)], [1, prefix + 1, 3]))), new RegExp(`makes ${prefix} \\+ 1 tokens of \\[1, 2, 3\\]`));
});

test("angles of a block that the file has none for are refused", async () => {
  const step: WeightStep = { op: "rotaryTable", of: [0], kind: "mixed", grid: [1, 2], headDim: 4, temperature: 10, order: "ij", reference: [1, 2], offset: 0, block: 1 };
  assert.equal((await pack([numbered([2, 2, 3, 2])], [step], [2, 3, 2, 4])).length, 48);
  assert.match(String(await rejection(pack([numbered([2, 1, 3, 2])], [step], [2, 3, 2, 4]))), /makes mixed angles for heads of 4 in block 1 of \[2, 1, 3, 2\]/);
});

test("sincos2d is the encoding of Masked Autoencoders", () => {
  // One prefix row, 2 x 3 patches, dim 8: omega = [1, 100 ** -0.5 = 0.1]; [sin w, cos w, sin h, cos h], the column w first.
  const table = sincos2d([2, 3], 8, 1, 100);
  assert.is(table.length, 7 * 8);
  assert.equal([...table.subarray(0, 8)], Array(8).fill(0));
  assert.equal([...table.subarray(8, 16)], [0, 0, 1, 1, 0, 0, 1, 1]);
  const close = (row: number, expected: readonly number[]): void => expected.forEach((value, i) => assert.ok(Math.abs(table[row * 8 + i]! - value) < 1e-15, `[${row}, ${i}]`));
  close(3, [0.9092974268256817, 0.19866933079506122, -0.4161468365471424, 0.9800665778412416, 0, 0, 1, 1]); // row 0, column 2
  close(4, [0, 0, 1, 1, 0.8414709848078965, 0.09983341664682815, 0.5403023058681398, 0.9950041652780258]); // row 1, column 0
});

test("sincos1d is the encoding of \"Attention is all you need\"", () => {
  const table = sincos1d(3, 4, 2, 10000);
  assert.equal([...table.subarray(0, 8)], Array(8).fill(0));
  assert.equal([...table.subarray(8, 12)], [0, 1, 0, 1]);
  const expected = [0.9092974268256817, -0.4161468365471424, 0.01999866669333308, 0.9998000066665778]; // sin 2, cos 2, sin 0.02, cos 0.02
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(table[16 + i]! - value) < 1e-15, `${i}`);
});

test("position tables refuse a dim that their halves cannot share", () => {
  assert.throws(() => sincos2d([2, 2], 6, 0, 10000), /multiple of 4, got 6/);
  assert.throws(() => sincos1d(4, 5, 0, 10000), /even dim, got 5/);
});

test("position steps read no source", async () => {
  const grid = await pack([], [{ op: "sincos2d", grid: [2, 3], dim: 8, prefix: 1, temperature: 100 }], [1, 7, 8]);
  assert.equal([...grid], [...new Float32Array(sincos2d([2, 3], 8, 1, 100))]);
  const line = await pack([], [{ op: "sincos1d", length: 3, dim: 4, prefix: 2, temperature: 10000 }], [1, 5, 4]);
  assert.equal([...line], [...new Float32Array(sincos1d(3, 4, 2, 10000))]);
});

test.run();
