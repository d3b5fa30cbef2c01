/** Reordering the axes of a row-major tensor, fast enough for the matrices of a large model. */

import type { Floats } from "./decode.js";

/** Elements along each side of a block: 32 x 32 f64 values and their images (16 KiB) stay in a first-level cache. */
const block = 32;

/**
 * numpy.transpose: axis j of the result is axis `axes[j]` of the operand. `axes` is a permutation. The result has the operand's type, and
 * its memory when no element moves.
 */
export function transpose(data: Floats, shape: readonly number[], axes: readonly number[]): Floats {
  const { extents, order } = mergeAxes(shape, axes);
  const last = order.length - 1;
  if (order.every((axis, j) => axis === j) || data.length === 0) return data;

  const strides = stridesOf(extents);
  const resultExtents = order.map((axis) => extents[axis]!);
  const resultStrides = stridesOf(resultExtents);
  /** The operand's stride along each axis of the result. */
  const steps = order.map((axis) => strides[axis]!);
  /** The axis of the result along which the operand is contiguous. Every plane of it and the last axis is one blocked loop. */
  const contiguous = order.indexOf(last);
  const outer = order.map((_, j) => j).filter((j) => j !== contiguous && j !== last);

  const result = data instanceof Float64Array ? new Float64Array(data.length) : new Float32Array(data.length);
  const index = outer.map(() => 0);
  let from = 0;
  let to = 0;
  for (let axis = 0; axis >= 0; ) {
    if (contiguous === last) {
      result.set(data.subarray(from, from + resultExtents[last]!), to);
    } else {
      transposePlane(data, from, steps[last]!, result, to, resultStrides[contiguous]!, resultExtents[contiguous]!, resultExtents[last]!);
    }
    // Counts up like an odometer; past the last index `axis` ends at -1.
    for (axis = outer.length - 1; axis >= 0; axis--) {
      const j = outer[axis]!;
      from += steps[j]!;
      to += resultStrides[j]!;
      index[axis]!++;
      if (index[axis]! < resultExtents[j]!) break;
      from -= index[axis]! * steps[j]!;
      to -= index[axis]! * resultStrides[j]!;
      index[axis] = 0;
    }
  }
  return result;
}

/** result[to + i * toStride + j] = data[from + j * fromStride + i] for i < rows, j < columns. */
export function transposePlane(data: Floats, from: number, fromStride: number, result: Floats, to: number, toStride: number, rows: number, columns: number): void {
  for (let rowBlock = 0; rowBlock < rows; rowBlock += block) {
    const rowEnd = Math.min(rowBlock + block, rows);
    for (let columnBlock = 0; columnBlock < columns; columnBlock += block) {
      const columnEnd = Math.min(columnBlock + block, columns);
      for (let i = rowBlock; i < rowEnd; i++) {
        const target = to + i * toStride;
        let source = from + columnBlock * fromStride + i;
        for (let j = columnBlock; j < columnEnd; j++, source += fromStride) result[target + j] = data[source]!;
      }
    }
  }
}

/** The same permutation with as few axes as possible: axes of extent 1 go, and axes that stay neighbours become one. */
function mergeAxes(shape: readonly number[], axes: readonly number[]): { extents: number[]; order: number[] } {
  const groups: number[][] = [];
  for (const axis of axes.filter((axis) => shape[axis] !== 1)) {
    const group = groups.at(-1);
    const next = group === undefined ? -1 : nextAxis(shape, group.at(-1)!);
    if (group !== undefined && next === axis) group.push(axis);
    else groups.push([axis]);
  }
  const sorted = groups.toSorted((a, b) => a[0]! - b[0]!);
  return {
    extents: sorted.map((group) => group.reduce((count, axis) => count * shape[axis]!, 1)),
    order: groups.map((group) => sorted.indexOf(group)),
  };
}

/** The next axis that has more than one index. */
function nextAxis(shape: readonly number[], axis: number): number {
  return shape.findIndex((extent, i) => i > axis && extent !== 1);
}

function stridesOf(extents: readonly number[]): number[] {
  const strides = extents.map(() => 1);
  for (let axis = extents.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * extents[axis + 1]!;
  return strides;
}
