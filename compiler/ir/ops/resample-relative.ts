import { demand, zeros, type Primitive } from "./op.js";
import { axisTaps, type Tap } from "./resample.js";

export interface RelativeResampleAttrs {
  readonly from: readonly [rows: number, columns: number];
  readonly to: readonly [rows: number, columns: number];
  readonly filter: "geometric" | "bilinear";
}

/** Places of a table along an axis of so many patches: the distances from one less than that, below 0, up to as many above. */
const distances = (patches: number): number => 2 * patches - 1;

const rowsOf = ([rows, columns]: readonly [number, number]): number => distances(rows) * distances(columns) + 3;

/**
 * BEiT's table [(2 rows - 1) (2 columns - 1) + 3, heads] for a grid of another size; the last three rows, which are the class token's, stay.
 * `bilinear` is what transformers' `BeitRelativePositionBias` does with it, `geometric` timm's `resize_rel_pos_bias_table` (both for tables of
 * square grids alone, which is all that they can tell from a table).
 */
export const resampleRelative: Primitive<RelativeResampleAttrs> = {
  weights: true,
  infer([table], { from, to }) {
    demand(table?.length === 2 && table[0] === rowsOf(from), () => `resampleRelative: ${table} from ${from} to ${to}`);
    return [rowsOf(to), table[1]!];
  },
  evaluate([table], attrs) {
    const { from, to, filter } = attrs;
    const out = zeros(resampleRelative.infer([table!.shape], attrs));
    const heads = out.shape[1]!;
    const [down, across] = [0, 1].map((axis) => (filter === "geometric" ? geometricTaps : bilinearTaps)(distances(from[axis]!), distances(to[axis]!))) as [readonly (readonly Tap[])[], readonly (readonly Tap[])[]];
    for (const [y, rows] of down.entries())
      for (const [x, columns] of across.entries())
        for (const [row, weight] of rows)
          for (const [column, part] of columns)
            for (let h = 0; h < heads; h++) out.data[(y * across.length + x) * heads + h]! += weight * part * table!.data[(row * distances(from[1]) + column) * heads + h]!;
    out.data.set(table!.data.subarray(-3 * heads), out.data.length - 3 * heads);
    return out;
  },
};

const bilinearTaps = (from: number, to: number): readonly (readonly Tap[])[] => axisTaps(from, to, { filter: "bilinear", antialias: false, corners: false });

/**
 * Distance k of the old grid stands at 1 + q + ... + q ** (k - 1) of the new, on either side of 0. The factor q is such that the last one stands
 * where the new grid's last does, found by halving from 1.01 to 1.5 to 1e-6, as timm and BEiT's code do, and so by no means always there.
 * Values between two are linear, values beyond the last are the last's.
 */
function geometricTaps(from: number, to: number): readonly (readonly Tap[])[] {
  const [half, newHalf] = [Math.floor(from / 2), Math.floor(to / 2)];
  let [left, right, q] = [1.01, 1.5, 0];
  while (right - left > 1e-6) {
    q = (left + right) / 2;
    if ((1 - q ** half) / (1 - q) > newHalf) right = q;
    else left = q;
  }
  const places = [0];
  for (let k = 0; k < half; k++) places.push(places[k]! + q ** k);
  return Array.from({ length: to }, (_, i): readonly Tap[] => {
    const [distance, side] = [Math.abs(i - newHalf), Math.sign(i - newHalf)];
    const beyond = places.findIndex((place) => place >= distance);
    if (beyond === 0 || beyond < 0) return [[half + side * (beyond < 0 ? half : 0), 1]];
    const share = (distance - places[beyond - 1]!) / (places[beyond]! - places[beyond - 1]!);
    return [[half + side * (beyond - 1), 1 - share], [half + side * beyond, share]];
  });
}
