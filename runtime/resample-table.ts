/** Tables of positions for grids of another size, in f64: PyTorch's `interpolate`, the antialiased one, which is Pillow's, and BEiT's of distances. */

import type { WeightStep } from "./plan.js";

type Pair = readonly [rows: number, columns: number];
type TableRule = Extract<WeightStep, { readonly op: "resampleTable" }>;
type RelativeRule = Extract<WeightStep, { readonly op: "resampleRelative" }>;

/** How one axis is resized. */
export interface AxisRule {
  readonly filter: "bilinear" | "bicubic";
  readonly antialias: boolean;
  readonly corners?: boolean;
  readonly offset?: number;
}

/** Places of the old axis and their weights, one after the other; those of place i of the new axis begin at `starts[i]`. */
export interface Taps {
  readonly starts: Uint32Array;
  readonly places: readonly number[];
  readonly weights: readonly number[];
}

/**
 * A table of positions [prefix + rows * columns, dim], row-major, for another grid; the rows in front stay.
 *
 * @returns row-major [prefix + rows * columns of the new grid, dim]
 * @see https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/pos_embed.py `resample_abs_pos_embed`
 */
export function resampleTable(table: Values, dim: number, rule: TableRule): Float64Array<ArrayBuffer> {
  const { prefix, from, to } = rule;
  const result = new Float64Array((prefix + to[0] * to[1]) * dim);
  for (let i = 0; i < prefix * dim; i++) result[i] = table[i]!;
  resampleGrid(table, prefix, dim, { from, to, down: tapsOf(from[0], to[0], rule), across: tapsOf(from[1], to[1], rule) }, result);
  return result;
}

/** Rows of a table of relative positions of a grid of patches, those of the class token included. */
export const relativeRows = ([rows, columns]: Pair): number => distances(rows) * distances(columns) + 3;

/** From one less than so many patches below 0 to as many above. */
const distances = (patches: number): number => 2 * patches - 1;

/**
 * A table of relative positions [(2 rows - 1) (2 columns - 1) + 3, heads], row-major, for another grid; the last three rows stay.
 *
 * @see https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/pos_embed_rel.py `resize_rel_pos_bias_table`
 */
export function resampleRelative(table: Values, heads: number, { from, to, filter }: RelativeRule): Float64Array<ArrayBuffer> {
  const result = new Float64Array(relativeRows(to) * heads);
  const taps = (axis: 0 | 1): Taps => (filter === "bilinear" ? tapsOf(distances(from[axis]), distances(to[axis]), { filter, antialias: false }) : geometricTaps(from[axis] - 1, to[axis] - 1));
  resampleGrid(table, 0, heads, { from: [distances(from[0]), distances(from[1])], to: [distances(to[0]), distances(to[1])], down: taps(0), across: taps(1) }, result);
  const [end, start] = [result.length, relativeRows(from) * heads];
  for (let i = 1; i <= 3 * heads; i++) result[end - i] = table[start - i]!;
  return result;
}

type Values = ArrayLike<number>;

interface Grids {
  readonly from: Pair;
  readonly to: Pair;
  readonly down: Taps;
  readonly across: Taps;
}

/** The grid behind `prefix` rows of a table, into the same place of another. Columns first, then rows. */
function resampleGrid(table: Values, prefix: number, dim: number, { from, to, down, across }: Grids, result: Float64Array): void {
  const wide = new Float64Array(from[0] * to[1] * dim);
  for (let row = 0; row < from[0]; row++) mix(across, dim, (place) => (prefix + row * from[1] + place) * dim, table, (i) => (row * to[1] + i) * dim, wide);
  for (let column = 0; column < to[1]; column++) mix(down, dim, (place) => (place * to[1] + column) * dim, wide, (i) => (prefix + i * to[1] + column) * dim, result);
}

function mix({ starts, places, weights }: Taps, dim: number, from: (place: number) => number, source: Values, to: (i: number) => number, target: Float64Array): void {
  for (let i = 0; i + 1 < starts.length; i++) {
    for (let tap = starts[i]!; tap < starts[i + 1]!; tap++) {
      const [at, into, weight] = [from(places[tap]!), to(i), weights[tap]!];
      for (let c = 0; c < dim; c++) target[into + c]! += weight * source[at + c]!;
    }
  }
}

/** What each place of an axis of another length is made of. */
export function tapsOf(from: number, to: number, { filter, antialias, corners = false, offset = 0 }: AxisRule): Taps {
  const starts = new Uint32Array(to + 1);
  const [places, weights]: [number[], number[]] = [[], []];
  const scale = !corners ? from / (to + offset) : to > 1 ? (from - 1) / (to - 1) : 0;
  const cubic = filter === "bicubic";
  for (let i = 0; i < to; i++) {
    if (antialias) {
      const size = Math.max(scale, 1);
      const [centre, support] = [scale * (i + 0.5), (cubic ? 2 : 1) * size];
      const first = Math.max(0, Math.trunc(centre - support + 0.5));
      const end = Math.min(from, Math.trunc(centre + support + 0.5));
      const own: number[] = [];
      for (let place = first; place < end; place++) own.push(kernel((place - centre + 0.5) / size, cubic, -0.5));
      const sum = own.reduce((total, weight) => total + weight, 0);
      own.forEach((weight, j) => {
        places.push(first + j);
        weights.push(weight / sum);
      });
    } else {
      const centre = corners ? i * scale : (i + 0.5) * scale - 0.5;
      const source = cubic ? centre : Math.max(0, centre);
      const base = Math.floor(source);
      for (let place = base - (cubic ? 1 : 0); place <= base + (cubic ? 2 : 1); place++) {
        places.push(Math.min(Math.max(place, 0), from - 1));
        weights.push(kernel(place - source, cubic, -0.75));
      }
    }
    starts[i + 1] = places.length;
  }
  return { starts, places, weights };
}

/** A triangle, or Keys' cubic with parameter a. */
function kernel(distance: number, cubic: boolean, a: number): number {
  const x = Math.abs(distance);
  if (!cubic) return Math.max(0, 1 - x);
  if (x >= 2) return 0;
  return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * a;
}

/**
 * Taps of distances up to `last` for those up to `newLast`, on either side of 0: distance k of the old ones stands at 1 + q + ... + q ** (k - 1)
 * of the new, and values between two are linear. The factor q is found by halving from 1.01 to 1.5 until 1e-6, so that the last one stands where
 * the new last does; where no such q can, new distances beyond are those of the last.
 */
function geometricTaps(last: number, newLast: number): Taps {
  let [low, high, q] = [1.01, 1.5, 0];
  while (high - low > 1e-6) {
    q = (low + high) / 2;
    if ((1 - q ** last) / (1 - q) > newLast) high = q;
    else low = q;
  }
  const starts = new Uint32Array(2 * newLast + 2);
  const [places, weights]: [number[], number[]] = [[], []];
  // Where distances k and k + 1 stand, for the k that the new distance is behind; they grow with it.
  const spread = Array.from({ length: last + 1 }, (_, k) => (1 - q ** k) / (1 - q));
  for (let i = 0; i <= 2 * newLast; i++) {
    const distance = Math.abs(i - newLast);
    const side = i < newLast ? -1 : 1;
    let k = 0;
    while (k < last && spread[k + 1]! <= distance) k++;
    const share = k < last ? (distance - spread[k]!) / (spread[k + 1]! - spread[k]!) : 0;
    places.push(last + side * k);
    weights.push(1 - share);
    if (share > 0) {
      places.push(last + side * (k + 1));
      weights.push(share);
    }
    starts[i + 1] = places.length;
  }
  return { starts, places, weights };
}
