/**
 * The last steps of most large matrices treat each row for itself, then transpose: here a few rows at a time, so that there is no copy of the
 * matrix in f64, and what a block needs stays in the cache; and of a large one a part of their columns at a time, so that the packed matrix is never
 * there whole. The values are those of one step after another.
 */

import { firstNotFinite, type Floats } from "./decode.js";
import { elementCount } from "./file-tensors.js";
import { areVectors, equalShapes, foldNormScale, partOf, scaleChannels, scaledMeans, scaleRows, type Register } from "./folds.js";
import type { PackedTensor, WeightStep } from "./plan.js";
import type { WriteStrip } from "./recipe.js";
import { operands } from "./steps.js";
import { transposePlane } from "./transpose.js";
import type { Workspace } from "./workspace.js";

type RowStep = Extract<WeightStep, { readonly op: "foldNormScale" | "scaleRows" | "scaleChannels" }>;
type Half = typeof import("./half.js");

/** Elements of a block: half a megabyte of f64. */
const blockElements = 65536;

const isRowStep = (step: WeightStep | undefined): step is RowStep => step?.op === "foldNormScale" || step?.op === "scaleRows" || step?.op === "scaleChannels";

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
 * Does these steps and rounds, in strips of the result's rows, so that of a large matrix there is never much beside what was read of it.
 *
 * @param half given when the tensor is stored in f16
 * @param write told each strip, and its place in the result in elements; the strip's memory is used again for the next
 * @returns whether all is done; not when the operands do not fit or a value is too large for the type: whoever does one step after another can say which
 */
export async function packRows({ sources, steps, shape }: PackedTensor, { from, count: stepCount }: RowWise, registers: readonly Register[], half: Half | undefined, balanced: boolean, workspace: Workspace, write: WriteStrip): Promise<boolean> {
  const rowSteps = steps.slice(from, from + stepCount).filter(isRowStep);
  const matrix = registers[operands(steps[from]!)[0]!];
  const [rows = 0, width = 0] = matrix?.shape ?? [];
  const [height = 0, across = 0] = shape;
  const pad = steps.at(-1)!;
  const padded = pad.op === "pad";
  const fits = padded ? equalShapes(pad.shape, shape) && height >= width && across >= rows : equalShapes(shape, [width, rows]);
  if (matrix?.shape.length !== 2 || shape.length !== 2 || sources.length + from !== registers.length || !fits || elementCount(shape) === 0) return false;

  const [strip, means] = stripOf(rowSteps, matrix, registers, height, (height * across * (half ? 2 : 4)) / workspace.stripBytes);
  const length = Math.min(strip, height) * across;
  const result = half ? new Uint16Array(workspace.take("packed", length * 2), 0, length) : new Float32Array(workspace.take("packed", length * 4), 0, length);
  const most = Math.max(1, Math.floor(blockElements / Math.min(strip, width)));
  const area = most * Math.min(strip, width);
  const scratch = new Float64Array(workspace.take("rows", area * 8));
  const turned = new Float64Array(workspace.take("turned", half ? area * 8 : 0));
  const rounded = new Uint16Array(workspace.take("rounded", half ? area * 2 : 0));
  const lost = new Float64Array(half && balanced ? rows : 0);
  for (let column = 0; column < height; column += strip) {
    const part = result.subarray(0, (Math.min(column + strip, height) - column) * across);
    if (padded) part.fill(0);
    const columns = Math.max(0, Math.min(column + strip, width) - column);
    let moved = rowSteps.length === 0;
    for (let row = 0; row < rows && columns > 0; row += most) {
      const count = Math.min(most, rows - row);
      let block: Register | string = { shape: [count, columns], data: columnsOf(matrix, row, count, column, columns, scratch) };
      moved &&= block.data instanceof Float32Array;
      for (const step of rowSteps) {
        block = ofRows(step, block, { row, rows, column, width, means }, registers, scratch);
        if (typeof block === "string") return false;
      }
      if (part instanceof Float32Array) transposePlane(block.data, 0, columns, part, row, across, columns, count);
      else {
        transposePlane(block.data, 0, columns, turned, 0, count, columns, count);
        const values = turned.subarray(0, block.data.length);
        const words = rounded.subarray(0, values.length);
        if (balanced) half!.toHalvesBalanced(values, count, words, lost.subarray(row, row + count));
        else half!.toHalves(values, words);
        for (let i = 0; i < columns; i++) part.set(words.subarray(i * count, (i + 1) * count), i * across + row);
      }
    }
    if (part instanceof Uint16Array ? half!.firstBeyondHalf(part) >= 0 : !moved && firstNotFinite(part) >= 0) return false;
    await write(part, column * across);
  }
  return true;
}

/** How many rows of the result a strip has; and the means of the matrix's rows behind a norm, which a strip of their columns cannot tell. */
function stripOf(rowSteps: readonly RowStep[], matrix: Register, registers: readonly Register[], height: number, strips: number): readonly [strip: number, means: Float64Array | undefined] {
  const [first, ...others] = rowSteps;
  // A mean of what other steps made would take all of them on all columns.
  if (strips <= 2 || others.some(({ op }) => op === "foldNormScale")) return [height, undefined];
  // Writes to a buffer begin at whole words, also those of halves.
  const strip = 2 * Math.ceil(height / Math.ceil(strips) / 2);
  return [strip, first?.op === "foldNormScale" && first.centre ? scaledMeans(matrix, registers[first.of[1]]!) : undefined];
}

/** The columns from `column` on of some rows: without a copy where they are all. */
function columnsOf(matrix: Register, row: number, count: number, column: number, columns: number, scratch: Float64Array<ArrayBuffer>): Floats {
  const width = matrix.shape[1]!;
  if (columns === width) return partOf(matrix, row * width, (row + count) * width);
  for (let i = 0; i < count; i++) {
    const start = (row + i) * width + column;
    scratch.set(partOf(matrix, start, start + columns), i * columns);
  }
  return scratch.subarray(0, count * columns);
}

/** Where a block lies in its matrix of `rows` x `width`. */
interface Place {
  readonly row: number;
  readonly rows: number;
  readonly column: number;
  readonly width: number;
  readonly means: Float64Array | undefined;
}

/** A step on some rows and columns of a matrix; the result is in `scratch`, where the operand may be. */
function ofRows(step: RowStep, block: Register, { row, rows, column, width, means }: Place, registers: readonly Register[], scratch: Float64Array<ArrayBuffer>): Register | string {
  const result = scratch.subarray(0, block.data.length);
  const [count = 0, columns = 0] = block.shape;
  switch (step.op) {
    case "foldNormScale": {
      const gamma = registers[step.of[1]]!;
      if (!areVectors([gamma], width)) return "";
      return foldNormScale(block, { shape: [columns], data: gamma.data.subarray(column, column + columns) }, step.centre, result, means?.subarray(row, row + count));
    }
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
