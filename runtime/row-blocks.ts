/**
 * The last steps of most large matrices treat each row for itself, then transpose: here a few rows at a time, so that there is no copy of the
 * matrix in f64, and what a block needs stays in the cache. The values are those of one step after another.
 */

import { firstNotFinite } from "./decode.js";
import { elementCount } from "./file-tensors.js";
import { areVectors, equalShapes, foldNormScale, partOf, scaleChannels, scaleRows, type Register } from "./folds.js";
import type { PackedTensor, WeightStep } from "./plan.js";
import type { Packed } from "./recipe.js";
import { transposePlane } from "./transpose.js";
import type { Workspace } from "./workspace.js";

type RowStep = Extract<WeightStep, { readonly op: "foldNormScale" | "scaleRows" | "scaleChannels" }>;
type Half = typeof import("./half.js");

/** Elements of a block: half a megabyte of f64. */
const blockElements = 65536;

const isRowStep = (step: WeightStep | undefined): step is RowStep => step?.op === "foldNormScale" || step?.op === "scaleRows" || step?.op === "scaleChannels";
/** Which registers a step reads. */
export const operands = (step: WeightStep): readonly number[] => ("of" in step ? [step.of].flat() : []);

/** Steps that treat each row for itself, then a transpose, and zeros behind rows and columns if the kernels want some. */
export interface RowWise {
  /** The first of these steps. */
  readonly from: number;
  /** How many of them come before the transpose. */
  readonly count: number;
}

/** Where a tensor's steps end so; undefined when they end otherwise. */
export function rowWiseOf({ sources, steps }: PackedTensor): RowWise | undefined {
  const made = (step: number): number => sources.length + step;
  const turn = steps.at(-1)?.op === "pad" && operands(steps.at(-1)!)[0] === made(steps.length - 2) ? steps.length - 2 : steps.length - 1;
  const last = steps[turn];
  if (last?.op !== "transpose" || !equalShapes(last.axes, [1, 0])) return undefined;
  let from = turn;
  while (from > 0 && isRowStep(steps[from - 1]) && operands(steps[from]!)[0] === made(from - 1)) from--;
  // What else they read is there before.
  return steps.slice(from, turn).every((step) => operands(step).slice(1).every((of) => of < made(from))) ? { from, count: turn - from } : undefined;
}

/**
 * Does these steps and rounds.
 *
 * @param half given when the tensor is stored in f16
 * @returns undefined when the operands do not fit or a value is too large for the type: whoever does one step after another can say which
 */
export function packRows({ sources, steps, shape }: PackedTensor, { from, count: stepCount }: RowWise, registers: readonly Register[], half: Half | undefined, balanced: boolean, workspace: Workspace): Packed | undefined {
  const rowSteps = steps.slice(from, from + stepCount).filter(isRowStep);
  const matrix = registers[operands(steps[from]!)[0]!];
  const [rows = 0, width = 0] = matrix?.shape ?? [];
  const [height = 0, stride = 0] = shape;
  const pad = steps.at(-1)!;
  const fits = pad.op === "pad" ? equalShapes(pad.shape, shape) && height >= width && stride >= rows : equalShapes(shape, [width, rows]);
  if (matrix?.shape.length !== 2 || shape.length !== 2 || sources.length + from !== registers.length || !fits) return undefined;

  const length = elementCount(shape);
  const result = half ? new Uint16Array(workspace.take("packed", length * 2), 0, length) : new Float32Array(workspace.take("packed", length * 4), 0, length);
  if (pad.op === "pad") result.fill(0);
  const most = Math.max(1, Math.floor(blockElements / width));
  const scratch = new Float64Array(workspace.take("rows", most * width * 8));
  const turned = new Float64Array(workspace.take("turned", half ? most * width * 8 : 0));
  const rounded = new Uint16Array(workspace.take("rounded", half ? most * width * 2 : 0));
  let moved = rowSteps.length === 0;
  for (let row = 0; row < rows; row += most) {
    const count = Math.min(most, rows - row);
    let block: Register | string = { shape: [count, width], data: partOf(matrix, row * width, (row + count) * width) };
    moved &&= block.data instanceof Float32Array;
    for (const step of rowSteps) {
      block = ofRows(step, block, row, rows, registers, scratch);
      if (typeof block === "string") return undefined;
    }
    if (result instanceof Float32Array) transposePlane(block.data, 0, width, result, row, stride, width, count);
    else {
      transposePlane(block.data, 0, width, turned, 0, count, width, count);
      const values = turned.subarray(0, block.data.length);
      const words = rounded.subarray(0, values.length);
      if (balanced) half!.toHalvesBalanced(values, count, words);
      else half!.toHalves(values, words);
      for (let i = 0; i < width; i++) result.set(words.subarray(i * count, (i + 1) * count), i * stride + row);
    }
  }
  if (result instanceof Uint16Array ? half!.firstBeyondHalf(result) >= 0 : !moved && firstNotFinite(result) >= 0) return undefined;
  return result;
}

/** A step on the rows from `row` on of a matrix of `rows`; the result is in `scratch`, where the operand may be. */
function ofRows(step: RowStep, block: Register, row: number, rows: number, registers: readonly Register[], scratch: Float64Array<ArrayBuffer>): Register | string {
  const result = scratch.subarray(0, block.data.length);
  const count = block.shape[0]!;
  switch (step.op) {
    case "foldNormScale":
      return foldNormScale(block, registers[step.of[1]]!, step.centre, result);
    case "scaleRows": {
      const within = (of: number): number => Math.min(Math.max(of - row, 0), count);
      const valid = 0 <= step.start && step.start <= step.end && step.end <= rows;
      return valid ? scaleRows(block, within(step.start), within(step.end), step.factor, result) : "";
    }
    case "scaleChannels": {
      const gamma = registers[step.of[1]]!;
      return areVectors([gamma], rows) ? scaleChannels(block, { shape: [count], data: gamma.data.subarray(row, row + count) }, result) : "";
    }
    default:
      return step satisfies never;
  }
}
