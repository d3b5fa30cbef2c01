/** Position tables for grids of another size, in f64: PyTorch's `interpolate`, and the antialiased one, which is Pillow's. */

import type { WeightStep } from "./plan.js";

type Rule = Extract<WeightStep, { readonly op: "resampleTable" }>;

/** Places of the old axis and their weights, one after the other; those of place i of the new axis begin at `starts[i]`. */
interface Taps {
  readonly starts: Uint32Array;
  readonly places: readonly number[];
  readonly weights: readonly number[];
}

/**
 * A table of positions [prefix + rows * columns, dim], row-major, for another grid. Columns first, then rows; the rows in front stay.
 *
 * @returns row-major [prefix + rows * columns of the new grid, dim]
 * @see https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/pos_embed.py `resample_abs_pos_embed`
 */
export function resampleTable(table: ArrayLike<number>, dim: number, rule: Rule): Float64Array<ArrayBuffer> {
  const { prefix, from, to } = rule;
  const across = tapsOf(from[1], to[1], rule);
  const down = tapsOf(from[0], to[0], rule);
  const wide = new Float64Array(from[0] * to[1] * dim);
  for (let row = 0; row < from[0]; row++) mix(across, dim, (place) => (prefix + row * from[1] + place) * dim, table, (i) => (row * to[1] + i) * dim, wide);
  const result = new Float64Array((prefix + to[0] * to[1]) * dim);
  for (let i = 0; i < prefix * dim; i++) result[i] = table[i]!;
  for (let column = 0; column < to[1]; column++) mix(down, dim, (place) => (place * to[1] + column) * dim, wide, (i) => (prefix + i * to[1] + column) * dim, result);
  return result;
}

function mix({ starts, places, weights }: Taps, dim: number, from: (place: number) => number, source: ArrayLike<number>, to: (i: number) => number, target: Float64Array): void {
  for (let i = 0; i + 1 < starts.length; i++) {
    for (let tap = starts[i]!; tap < starts[i + 1]!; tap++) {
      const [at, into, weight] = [from(places[tap]!), to(i), weights[tap]!];
      for (let c = 0; c < dim; c++) target[into + c]! += weight * source[at + c]!;
    }
  }
}

function tapsOf(from: number, to: number, { filter, antialias, corners, offset = 0 }: Rule): Taps {
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
