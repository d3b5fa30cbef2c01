/**
 * The steps of a recipe that fold one parameter into another: factors and shifts that a model applies between its products, put into their
 * weights. All compute in f64; each returns the result, or how its operands do not fit it. Those of what stands before the first block are in
 * `input-folds.ts`.
 */

import type { Floats } from "./decode.js";
import type { WeightStep } from "./plan.js";
import { elementCount } from "./file-tensors.js";

/** A register of a recipe: a row-major tensor that is never written to after it is made, so that registers may share memory. */
export interface Register {
  readonly shape: readonly number[];
  /** The elements; of a register with `part` they are put together when they are first read. */
  readonly data: Floats;
  /** The elements from `start` to `end`, of a register that need not be there whole: good until the next part is read. */
  readonly part?: (start: number, end: number) => Floats;
}

/** The elements from `start` to `end`, good until the next are read. */
export const partOf = (register: Register, start: number, end: number): Floats => (register.part ? register.part(start, end) : register.data.subarray(start, end));

/** A register that is there in parts, and whole once somebody reads it whole. */
export function inParts(shape: readonly number[], part: NonNullable<Register["part"]>, whole: () => Floats): Register {
  let data: Floats | undefined;
  return {
    shape,
    part: (start, end) => data?.subarray(start, end) ?? part(start, end),
    get data() {
      return (data ??= whole());
    },
  };
}

/**
 * @param result where it is put, which may be the operand's memory
 * @param means of the rows, where the operand is a part of their columns
 */
export function foldNormScale({ shape, data }: Register, gamma: Register, centre: boolean, result: Float64Array<ArrayBuffer> = new Float64Array(data.length), means?: Float64Array): Register | string {
  const width = shape[1] ?? 0;
  if (shape.length !== 2 || width === 0 || !areVectors([gamma], width)) return "needs a weight [out, in] and a vector [in]";
  for (let row = 0; row < result.length; row += width) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += result[row + i] = data[row + i]! * gamma.data[i]!;
    const mean = means ? means[row / width]! : centre ? sum / width : 0;
    for (let i = row; i < row + width; i++) result[i]! -= mean;
  }
  return { shape, data: result };
}

/** What `foldNormScale` subtracts from each row when it centres; nothing when the operands do not fit. */
export function scaledMeans(weight: Register, gamma: Register): Float64Array | undefined {
  const [rows = 0, width = 0] = weight.shape;
  if (!areVectors([gamma], width)) return undefined;
  const means = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const data = partOf(weight, row * width, (row + 1) * width);
    let sum = 0;
    for (let i = 0; i < width; i++) sum += data[i]! * gamma.data[i]!;
    means[row] = sum / width;
  }
  return means;
}

export function foldNormShift(weight: Register, beta: Register, bias: Register | undefined): Register | string {
  const { shape } = weight;
  const [outs = 0, width = 0] = shape;
  if (shape.length !== 2 || !areVectors([beta], width) || (bias && !areVectors([bias], outs))) return "needs a weight [out, in], a vector [in] and at most one [out]";
  const result = new Float64Array(outs);
  for (let out = 0; out < outs; out++) {
    let sum = bias ? bias.data[out]! : 0;
    const row = partOf(weight, out * width, (out + 1) * width);
    for (let i = 0; i < width; i++) sum += row[i]! * beta.data[i]!;
    result[out] = sum;
  }
  return { shape: [outs], data: result };
}

/** @param result where it is put, which may be the operand's memory */
export function scaleRows({ shape, data }: Register, start: number, end: number, factor: number, result: Float64Array<ArrayBuffer> = new Float64Array(data.length)): Register | string {
  const rows = shape[0] ?? 0;
  if (!(0 <= start && start <= end && end <= rows)) return `scales rows ${start} to ${end} of [${shape.join(", ")}]`;
  const inner = elementCount(shape.slice(1));
  result.set(data);
  for (let i = start * inner; i < end * inner; i++) result[i]! *= factor;
  return { shape, data: result };
}

/** @param result where it is put, which may be the operand's memory */
export function scaleChannels({ shape, data }: Register, gamma: Register, result: Float64Array<ArrayBuffer> = new Float64Array(data.length)): Register | string {
  const channels = shape[0] ?? 0;
  if (channels === 0 || !areVectors([gamma], channels)) return "needs a tensor [channels, ...] and a vector [channels]";
  const run = result.length / channels;
  for (let channel = 0; channel < channels; channel++) {
    const factor = gamma.data[channel]!;
    for (let i = channel * run; i < (channel + 1) * run; i++) result[i] = data[i]! * factor;
  }
  return { shape, data: result };
}

export function tokenTable(parts: readonly Register[], { prefix, patches, positions, bias }: Extract<WeightStep, { readonly op: "tokenTable" }>): Register | string {
  const dim = parts[0]?.shape.at(-1) ?? 0;
  const heads = parts.slice(0, Math.max(0, parts.length - Number(positions !== "none") - Number(bias)));
  const rest = [...(positions === "none" ? [] : [[1, positions === "all" ? prefix + patches : patches, dim]]), ...(bias ? [[dim]] : [])];
  const shapes = [...heads.map(({ shape }) => [1, shape[1] ?? 0, dim]), ...rest];
  const rows = heads.reduce((sum, { shape }) => sum + (shape[1] ?? 0), 0);
  if (parts.length === 0 || rows !== prefix || parts.length !== shapes.length || parts.some(({ shape }, i) => !equalShapes(shape, shapes[i]!))) {
    return `makes ${prefix} + ${patches} tokens of ${parts.map(({ shape }) => `[${shape.join(", ")}]`).join(", ")}`;
  }
  const shift = bias ? parts.at(-1)! : undefined;
  const table = positions === "none" ? undefined : parts[heads.length]!;
  // The table's first row belongs to the first token that it covers.
  const covered = positions === "patches" ? prefix : 0;
  const prefixes = heads.flatMap((head) => Array.from({ length: head.shape[1]! }, (_, row) => ({ head, row })));
  const fill = (result: Float64Array<ArrayBuffer>, start: number): Float64Array<ArrayBuffer> => {
    for (let at = start; at < start + result.length; ) {
      const token = Math.floor(at / dim);
      const [from, to] = [at - token * dim, Math.min(dim, start + result.length - token * dim)];
      const values = result.subarray(at - start, at - start + to - from);
      const { head: of, row } = prefixes[token] ?? { head: shift, row: 0 };
      if (of) values.set(partOf(of, row * dim + from, row * dim + to));
      else values.fill(0);
      if (table && token >= covered) {
        const added = partOf(table, (token - covered) * dim + from, (token - covered) * dim + to);
        for (let i = 0; i < added.length; i++) values[i]! += added[i]!;
      }
      at += to - from;
    }
    return result;
  };
  const length = (prefix + patches) * dim;
  let memory = new Float64Array();
  const part = (start: number, end: number): Floats => {
    if (memory.length < end - start) memory = new Float64Array(end - start);
    return fill(memory.subarray(0, end - start), start);
  };
  return inParts([1, prefix + patches, dim], part, () => fill(new Float64Array(length), 0));
}

export function areVectors(registers: readonly Register[], length: number): boolean {
  return registers.every(({ shape }) => equalShapes(shape, [length]));
}

export function equalShapes(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** How many runs an axis splits a tensor into, and the elements between neighbours along it. */
export function around(shape: readonly number[], axis: number): [rows: number, inner: number] {
  return [elementCount(shape.slice(0, axis)), elementCount(shape.slice(axis + 1))];
}

/** Zeros of the same element type. */
export function like(data: Floats, length: number): Floats {
  return data instanceof Float64Array ? new Float64Array(length) : new Float32Array(length);
}
