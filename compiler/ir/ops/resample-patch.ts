import { demand, sameShape, zeros, type Primitive } from "./op.js";
import { axisTaps } from "./resample.js";

export interface PatchResampleAttrs {
  readonly from: readonly [height: number, width: number];
  readonly to: readonly [height: number, width: number];
  /** Of the resize that is inverted: PyTorch's `interpolate`, the antialiased one Pillow's. */
  readonly filter: "bilinear" | "bicubic";
  readonly antialias: boolean;
}

/**
 * A convolution's weight [out, in, height, width] for patches of another size: with the matrix B of the resize from old to new patches, the old
 * weight times the pseudo-inverse of B (FlexiViT's "PI-resize", arXiv 2212.08013, section 3.4; timm's `resample_patch_embed`). B is the
 * Kronecker product of the resizes of rows and of columns, and so is its pseudo-inverse of theirs.
 */
export const resamplePatch: Primitive<PatchResampleAttrs> = {
  weights: true,
  infer([weight], { from, to }) {
    demand(weight?.length === 4 && sameShape(weight.slice(2), from), () => `resamplePatch: ${weight} from ${from} to ${to}`);
    return [weight[0]!, weight[1]!, ...to];
  },
  evaluate([weight], attrs) {
    const out = zeros(resamplePatch.infer([weight!.shape], attrs));
    const [outputs, inputs] = out.shape as [number, number];
    const { from, to } = attrs;
    const [down, across] = [0, 1].map((axis) => pseudoInverse(resizeMatrix(from[axis]!, to[axis]!, attrs))) as [Matrix, Matrix];
    for (let channel = 0; channel < outputs * inputs; channel++)
      for (let y = 0; y < to[0]; y++)
        for (let x = 0; x < to[1]; x++) {
          let sum = 0;
          for (let row = 0; row < from[0]; row++) for (let column = 0; column < from[1]; column++) sum += weight!.data[(channel * from[0] + row) * from[1] + column]! * down[row]![y]! * across[column]![x]!;
          out.data[(channel * to[0] + y) * to[1] + x] = sum;
        }
    return out;
  },
};

/** Rows of numbers. */
type Matrix = readonly (readonly number[])[];

/** What a resize of one axis does, [to, from]. */
function resizeMatrix(from: number, to: number, { filter, antialias }: PatchResampleAttrs): Matrix {
  return axisTaps(from, to, { filter, antialias, corners: false }).map((taps) => {
    const row = new Array<number>(from).fill(0);
    for (const [place, weight] of taps) row[place]! += weight;
    return row;
  });
}

/**
 * The pseudo-inverse [n, m] of B [m, n], by the normal equations: Bᵀ (B Bᵀ)⁻¹ of a B with no more rows than columns, and else (Bᵀ B)⁻¹ Bᵀ.
 * Resizes of an axis have full rank and a condition below 5 (all from and to 1 ... 48), which squared costs two digits of sixteen.
 */
function pseudoInverse(b: Matrix): Matrix {
  const wide = b.length <= b[0]!.length;
  const a = wide ? b : transposed(b);
  // (A Aᵀ)⁻¹ A, row by row of Gauss and Jordan's elimination.
  const rows = a.map((row) => [...a.map((other) => row.reduce((sum, value, i) => sum + value * other[i]!, 0)), ...row]);
  for (const [pivot, row] of rows.entries()) {
    const by = row[pivot]!;
    for (let i = pivot; i < row.length; i++) row[i]! /= by;
    for (const other of rows) {
      const factor = other[pivot]!;
      if (other !== row && factor !== 0) for (let i = pivot; i < row.length; i++) other[i]! -= factor * row[i]!;
    }
  }
  const solved = rows.map((row) => row.slice(a.length));
  return wide ? transposed(solved) : solved;
}

const transposed = (a: Matrix): Matrix => a[0]!.map((_, column) => a.map((row) => row[column]!));
