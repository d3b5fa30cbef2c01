import { demand, sameShape, zeros, type Primitive } from "./op.js";

/** How a grid becomes one of another size: PyTorch's `interpolate`. */
export interface ResampleRule {
  readonly filter: "bilinear" | "bicubic";
  /** Whether a smaller grid averages over all that it stands for, by Pillow's kernels. */
  readonly antialias: boolean;
  /** Whether the first and last places of both grids coincide, instead of their edges. Not with `antialias`. */
  readonly corners: boolean;
  /** Added to the size of the new grid where places are computed, for rows and columns alike: DINOv2 has 0.1. Default: 0. */
  readonly offset?: number;
}

export interface ResampleAttrs extends ResampleRule {
  /** Rows in front that stay. */
  readonly prefix: number;
  readonly from: readonly [rows: number, columns: number];
  readonly to: readonly [rows: number, columns: number];
}

/** A table of positions [1, prefix + rows * columns, dim] for a grid of another size: timm's `resample_abs_pos_embed`, and its kin. */
export const resampleTable: Primitive<ResampleAttrs> = {
  weights: true,
  infer([table], { prefix, from, to, antialias, corners }) {
    demand(table?.length === 3 && sameShape(table.slice(0, 2), [1, prefix + from[0] * from[1]]) && !(antialias && corners), () => `resampleTable: ${table} from ${from} to ${to} behind ${prefix} rows`);
    return [1, prefix + to[0] * to[1], table[2]!];
  },
  evaluate([table], attrs) {
    const out = zeros(resampleTable.infer([table!.shape], attrs));
    const { prefix, from, to } = attrs;
    const dim = out.shape[2]!;
    out.data.set(table!.data.subarray(0, prefix * dim));
    const taps = [0, 1].map((axis) => axisTaps(from[axis]!, to[axis]!, attrs));
    for (let y = 0; y < to[0]; y++)
      for (let x = 0; x < to[1]; x++)
        for (const [row, down] of taps[0]![y]!)
          for (const [column, across] of taps[1]![x]!)
            for (let c = 0; c < dim; c++) out.data[(prefix + y * to[1] + x) * dim + c]! += down * across * table!.data[(prefix + row * from[1] + column) * dim + c]!;
    return out;
  },
};

export type Tap = readonly [place: number, weight: number];

/** What each place of the new axis is made of. */
export function axisTaps(from: number, to: number, { filter, antialias, corners, offset = 0 }: ResampleRule): readonly (readonly Tap[])[] {
  const scale = corners ? (to > 1 ? (from - 1) / (to - 1) : 0) : from / (to + offset);
  return Array.from({ length: to }, (_, i) => {
    if (antialias) {
      // Pillow's: the kernel grows with the scale, and weights add up to 1.
      const size = Math.max(scale, 1);
      const support = (filter === "bicubic" ? 2 : 1) * size;
      const centre = scale * (i + 0.5);
      const first = Math.max(0, Math.trunc(centre - support + 0.5));
      const end = Math.min(from, Math.trunc(centre + support + 0.5));
      const taps = Array.from({ length: end - first }, (_, j): Tap => [first + j, weightAt((first + j - centre + 0.5) / size, filter, -0.5)]);
      const sum = taps.reduce((total, [, weight]) => total + weight, 0);
      return taps.map(([place, weight]): Tap => [place, weight / sum]);
    }
    const exact = corners ? i * scale : (i + 0.5) * scale - 0.5;
    const source = filter === "bilinear" ? Math.max(exact, 0) : exact;
    const base = Math.floor(source);
    const around = filter === "bilinear" ? [0, 1] : [-1, 0, 1, 2];
    // Places beyond the edge are those at the edge.
    return around.map((step): Tap => [Math.min(Math.max(base + step, 0), from - 1), weightAt(base + step - source, filter, -0.75)]);
  });
}

/** The kernel at a distance: a triangle, or Keys' cubic with parameter a. */
function weightAt(distance: number, filter: ResampleRule["filter"], a: number): number {
  const x = Math.abs(distance);
  if (filter === "bilinear") return Math.max(0, 1 - x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}
