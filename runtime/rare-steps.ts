/** The steps of a recipe that few models need, apart from the others so that a page downloads them with the first model that does. */

import { differentialFactor, queryValueBias, weightLinear } from "./attention.js";
import { around, equalShapes, inParts, like, partOf, type Register } from "./folds.js";
import { foldBatchNormScale, foldBatchNormShift, foldPixelScale, foldPixelShift } from "./input-folds.js";
import type { WeightStep } from "./plan.js";
import { sincos1d, sincos2d } from "./position.js";
import { resamplePatch } from "./resample-patch.js";
import { relativeRows, resampleRelative, resampleTable } from "./resample-table.js";
import { rotaryTable } from "./rotary.js";
import type { Floats } from "./decode.js";
import { elementCount } from "./file-tensors.js";

export type RareStep = Extract<
  WeightStep,
  {
    readonly op: "foldBatchNormScale" | "foldBatchNormShift" | "foldPixelScale" | "foldPixelShift" | "weightLinear" | "queryValueBias" | "differentialFactor" | "resampleTable" | "resampleRelative" | "resamplePatch" | "rotaryTable" | "sincos2d" | "sincos1d" | "concat" | "scale" | "pad";
  }
>;

/** The step's result, or how its operands do not fit it. `at` gives the registers that the step reads. */
export function evaluateRare(step: RareStep, at: (index: number) => Register): Register | string {
  switch (step.op) {
    case "foldBatchNormScale": {
      const [weight, gamma, variance] = step.of;
      return foldBatchNormScale(at(weight), at(gamma), at(variance), step.eps);
    }
    case "foldBatchNormShift": {
      const [gamma, beta, mean, variance] = step.of;
      return foldBatchNormShift(at(gamma), at(beta), at(mean), at(variance), step.eps);
    }
    case "foldPixelScale":
      return foldPixelScale(at(step.of), step.std);
    case "foldPixelShift": {
      const [weight, bias] = step.of;
      return foldPixelShift(at(weight), bias === undefined ? undefined : at(bias), step.mean, step.std);
    }
    case "weightLinear": {
      const [x, weight, bias] = step.of;
      return weightLinear(at(x), at(weight), bias === undefined ? undefined : at(bias));
    }
    case "queryValueBias":
      return queryValueBias(at(step.of[0]), at(step.of[1]));
    case "differentialFactor": {
      const [q1, k1, q2, k2] = step.of;
      return differentialFactor(at(q1), at(k1), at(q2), at(k2), step.initial);
    }
    case "resampleTable": {
      const { shape, data } = at(step.of);
      const { prefix, from, to } = step;
      const dim = shape[2] ?? 0;
      if (!equalShapes(shape, [1, prefix + from[0] * from[1], dim])) return `resamples [${shape.join(", ")}] as ${prefix} rows and a grid of ${from.join(" x ")}`;
      return { shape: [1, prefix + to[0] * to[1], dim], data: resampleTable(data, dim, step) };
    }
    case "resampleRelative": {
      const { shape, data } = at(step.of);
      const heads = shape[1] ?? 0;
      if (!equalShapes(shape, [relativeRows(step.from), heads])) return `resamples [${shape.join(", ")}] as distances in a grid of ${step.from.join(" x ")}`;
      return { shape: [relativeRows(step.to), heads], data: resampleRelative(data, heads, step) };
    }
    case "resamplePatch": {
      const { shape, data } = at(step.of);
      const [outputs = 0, inputs = 0] = shape;
      if (!equalShapes(shape, [outputs, inputs, ...step.from])) return `resamples [${shape.join(", ")}] as patches of ${step.from.join(" x ")}`;
      return { shape: [outputs, inputs, ...step.to], data: resamplePatch(data, outputs * inputs, step) };
    }
    case "rotaryTable": {
      const [frequencies] = step.of;
      return rotaryTable(frequencies === undefined ? undefined : at(frequencies), step);
    }
    case "sincos2d": {
      const { grid, dim, prefix, temperature } = step;
      return { shape: [1, prefix + grid[0] * grid[1], dim], data: sincos2d(grid, dim, prefix, temperature) };
    }
    case "sincos1d": {
      const { length, dim, prefix, temperature } = step;
      return { shape: [1, prefix + length, dim], data: sincos1d(length, dim, prefix, temperature) };
    }
    case "concat":
      return concat(step.of.map(at), step.axis);
    case "scale":
      return scale(at(step.of), step.factor);
    case "pad":
      return pad(at(step.of), step.shape);
    default:
      return step satisfies never;
  }
}

function concat(parts: readonly Register[], axis: number): Register | string {
  const first = parts[0];
  if (first === undefined || axis < 0 || axis >= first.shape.length) return `joins ${parts.length} tensors along axis ${axis}`;
  if (parts.some(({ shape }) => shape.length !== first.shape.length || !equalShapes(shape.with(axis, 0), first.shape.with(axis, 0)))) {
    return `joins ${parts.map(({ shape }) => `[${shape.join(", ")}]`).join(", ")} along axis ${axis}`;
  }
  const extent = parts.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  const [rows, inner] = around(first.shape, axis);
  const shape = first.shape.with(axis, extent);
  if (rows === 1) return inParts(shape, (start, end) => joined(parts, start, end), () => (parts.length === 1 ? first.data : joined(parts, 0, extent * inner)));
  const wide = parts.find(({ data }) => data instanceof Float64Array) ?? first;
  const result = like(wide.data, rows * extent * inner);
  let offset = 0;
  for (const { shape, data } of parts) {
    const run = shape[axis]! * inner;
    for (let row = 0; row < rows; row++) result.set(data.subarray(row * run, (row + 1) * run), row * extent * inner + offset);
    offset += run;
  }
  return { shape, data: result };
}

/** The elements from `start` to `end` of tensors one after another; those of one tensor without a copy. */
function joined(parts: readonly Register[], start: number, end: number): Floats {
  const pieces: { readonly of: Register; readonly first: number; readonly last: number }[] = [];
  let before = 0;
  for (const of of parts) {
    const count = elementCount(of.shape);
    const [first, last] = [Math.max(start - before, 0), Math.min(end - before, count)];
    if (first < last) pieces.push({ of, first, last });
    before += count;
  }
  const [only, ...others] = pieces;
  if (only === undefined) return new Float32Array();
  if (others.length === 0) return partOf(only.of, only.first, only.last);
  // Parts are good until the next is read, so each is copied at once.
  let result: Floats = new Float32Array(end - start);
  let at = 0;
  for (const { of, first, last } of pieces) {
    const values = partOf(of, first, last);
    if (values instanceof Float64Array && result instanceof Float32Array) result = new Float64Array(result);
    result.set(values, at);
    at += values.length;
  }
  return result;
}

function scale({ shape, data }: Register, factor: number): Register {
  const result = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) result[i] = data[i]! * factor;
  return { shape, data: result };
}

function pad({ shape, data }: Register, padded: readonly number[]): Register | string {
  if (padded.length !== shape.length || padded.some((extent, axis) => extent < shape[axis]!)) return `grows [${shape.join(", ")}] to [${padded.join(", ")}]`;
  // Axes after the last one that grows stay together, so each copy is as long as it can be.
  const last = padded.findLastIndex((extent, axis) => extent !== shape[axis]);
  if (last < 0) return { shape, data };
  const result = like(data, elementCount(padded));
  const run = elementCount(shape.slice(last));
  const rows = run === 0 ? 0 : data.length / run;
  for (let row = 0; row < rows; row++) {
    let position = 0;
    let stride = elementCount(padded.slice(last));
    for (let axis = last - 1, rest = row; axis >= 0; axis--) {
      position += (rest % shape[axis]!) * stride;
      rest = Math.floor(rest / shape[axis]!);
      stride *= padded[axis]!;
    }
    result.set(data.subarray(row * run, (row + 1) * run), position);
  }
  return { shape: padded, data: result };
}
