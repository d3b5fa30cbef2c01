/** The steps of a recipe that few models need, apart from the others so that a page downloads them with the first model that does. */

import { differentialFactor, queryValueBias, weightLinear } from "./attention.js";
import { equalShapes, type Register } from "./folds.js";
import { foldBatchNormScale, foldBatchNormShift, foldPixelScale, foldPixelShift } from "./input-folds.js";
import type { WeightStep } from "./plan.js";
import { sincos1d, sincos2d } from "./position.js";
import { resamplePatch } from "./resample-patch.js";
import { relativeRows, resampleRelative, resampleTable } from "./resample-table.js";
import { rotaryTable } from "./rotary.js";

export type RareStep = Extract<
  WeightStep,
  {
    readonly op: "foldBatchNormScale" | "foldBatchNormShift" | "foldPixelScale" | "foldPixelShift" | "weightLinear" | "queryValueBias" | "differentialFactor" | "resampleTable" | "resampleRelative" | "resamplePatch" | "rotaryTable" | "sincos2d" | "sincos1d";
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
    default:
      return step satisfies never;
  }
}
