/** Patch embeddings for patches of another size, in f64: the pseudo-inverse of a resize (FlexiViT, arXiv 2212.08013). */

import type { WeightStep } from "./plan.js";
import { tapsOf, type AxisRule } from "./resample-table.js";

type Rule = Extract<WeightStep, { readonly op: "resamplePatch" }>;

/**
 * A convolution's weight [channels, height, width], row-major, for patches of another size; outputs and inputs are channels alike. Patches of the
 * old size, resized to the new, have the products that they had, as nearly as that can be. A resize of both sides is one of rows and one of
 * columns, and so is its pseudo-inverse.
 *
 * @returns row-major [channels, height, width of the new size]
 * @see https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/patch_embed.py `resample_patch_embed`
 */
export function resamplePatch(weight: ArrayLike<number>, channels: number, rule: Rule): Float64Array<ArrayBuffer> {
  const { from, to } = rule;
  const across = inverseResize(from[1], to[1], rule);
  const down = inverseResize(from[0], to[0], rule);
  const result = new Float64Array(channels * to[0] * to[1]);
  const wide = new Float64Array(from[0] * to[1]);
  for (let channel = 0; channel < channels; channel++) {
    wide.fill(0);
    for (let row = 0; row < from[0]; row++)
      for (let column = 0; column < from[1]; column++) {
        const value = weight[(channel * from[0] + row) * from[1] + column]!;
        for (let x = 0; x < to[1]; x++) wide[row * to[1] + x]! += value * across[column * to[1] + x]!;
      }
    for (let row = 0; row < from[0]; row++)
      for (let y = 0; y < to[0]; y++) {
        const factor = down[row * to[0] + y]!;
        for (let x = 0; x < to[1]; x++) result[(channel * to[0] + y) * to[1] + x]! += factor * wide[row * to[1] + x]!;
      }
  }
  return result;
}

/**
 * The pseudo-inverse [from, to] of the matrix B [to, from] that resizes an axis. B has full rank and a condition of about 5 or less, so the normal
 * equations lose two digits of sixteen, and their matrix, of products of B's shorter rows, is positive definite: Cholesky's factors solve them.
 */
export function inverseResize(from: number, to: number, rule: AxisRule): Float64Array {
  const { starts, places, weights } = tapsOf(from, to, rule);
  const wide = to <= from;
  const [n, m] = wide ? [to, from] : [from, to];
  // A [n, m], B itself or transposed, is to become (A Aᵀ)⁻¹ A.
  const a = new Float64Array(n * m);
  for (let i = 0; i < to; i++) for (let tap = starts[i]!; tap < starts[i + 1]!; tap++) a[wide ? i * m + places[tap]! : places[tap]! * m + i]! += weights[tap]!;
  const factor = cholesky(a, n, m);
  for (let column = 0; column < m; column++) {
    for (let i = 0; i < n; i++) {
      let sum = a[i * m + column]!;
      for (let k = 0; k < i; k++) sum -= factor[i * n + k]! * a[k * m + column]!;
      a[i * m + column] = sum / factor[i * n + i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      let sum = a[i * m + column]!;
      for (let k = i + 1; k < n; k++) sum -= factor[k * n + i]! * a[k * m + column]!;
      a[i * m + column] = sum / factor[i * n + i]!;
    }
  }
  if (!wide) return a;
  const result = new Float64Array(n * m);
  for (let i = 0; i < n; i++) for (let column = 0; column < m; column++) result[column * n + i] = a[i * m + column]!;
  return result;
}

/** The lower triangle L of L Lᵀ = A Aᵀ, of A [n, m]. */
function cholesky(a: Float64Array, n: number, m: number): Float64Array {
  const factor = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let column = 0; column < m; column++) sum += a[i * m + column]! * a[j * m + column]!;
      for (let k = 0; k < j; k++) sum -= factor[i * n + k]! * factor[j * n + k]!;
      factor[i * n + j] = i === j ? Math.sqrt(sum) : sum / factor[j * n + j]!;
    }
  return factor;
}
