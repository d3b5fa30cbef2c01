/**
 * The steps of a recipe that make what attention reads of several parameters. All compute in f64; each returns the result, or how its
 * operands do not fit it. The angles of rotary positions are in `rotary.ts`.
 */

import { areVectors, type Register } from "./folds.js";

/** A linear layer applied to a parameter, as to the one query of an attention that pools. */
export function weightLinear(x: Register, weight: Register, bias: Register | undefined): Register | string {
  const [outs = 0, width = 0] = weight.shape;
  if (weight.shape.length !== 2 || width === 0 || x.shape.at(-1) !== width || (bias && !areVectors([bias], outs))) return "needs a tensor [..., in], a weight [out, in] and at most one vector [out]";
  const rows = x.data.length / width;
  const result = new Float64Array(rows * outs);
  for (let row = 0; row < rows; row++) {
    for (let out = 0; out < outs; out++) {
      let sum = bias ? bias.data[out]! : 0;
      for (let i = 0; i < width; i++) sum += x.data[row * width + i]! * weight.data[out * width + i]!;
      result[row * outs + out] = sum;
    }
  }
  return { shape: [...x.shape.slice(0, -1), outs], data: result };
}

/** The bias of a projection to queries, keys and values where keys have none. */
export function queryValueBias(q: Register, v: Register): Register | string {
  const width = q.data.length;
  if (!areVectors([q, v], width)) return "needs two vectors of one length";
  const result = new Float64Array(3 * width);
  result.set(q.data);
  result.set(v.data, 2 * width);
  return { shape: [3 * width], data: result };
}

/** How much of its second map differential attention subtracts. */
export function differentialFactor(q1: Register, k1: Register, q2: Register, k2: Register, initial: number): Register | string {
  if (!areVectors([q1, k1, q2, k2], q1.data.length)) return "needs four vectors of one length";
  return { shape: [1], data: Float64Array.of(Math.exp(dot(q1, k1)) - Math.exp(dot(q2, k2)) + initial) };
}

function dot(a: Register, b: Register): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += a.data[i]! * b.data[i]!;
  return sum;
}
