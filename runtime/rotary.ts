/** Angles of rotary positions, computed in f64: by how much attention turns the queries and keys of each patch. */

import { equalShapes, type Register } from "./folds.js";
import type { WeightStep } from "./plan.js";

type RotaryStep = Extract<WeightStep, { readonly op: "rotaryTable" }>;

/**
 * The cosines, then the sines, of every patch's angles: [2, heads or 1, rows * columns, headDim]. A head has headDim / 2 pairs of values, and
 * the pair j turns by an angle of its own. With y and x the row and column of a patch, and a quarter = headDim / 4:
 *
 * - `axial`: each coordinate is (i + offset) / size * reference, times temperature ** (-j / quarter) for j below a quarter: first those of y,
 *   then those of x, or with the order `xy` the other way round.
 * - `mixed`: x f[0] + y f[1], with frequencies f [2, depth, heads, headDim / 2] that each block and head has learned.
 * - `dinov3`: each coordinate is 2 (i + 0.5) / size - 1, times 2 pi / temperature ** (j / quarter): those of y, then those of x.
 *
 * The values of a pair are neighbours (2j and 2j + 1), but half a head apart (j and j + headDim / 2) for `dinov3`; both get its angle.
 *
 * @returns the table, or how the frequencies do not fit the step
 * @see https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/pos_embed_sincos.py
 */
export function rotaryTable(frequencies: Register | undefined, step: RotaryStep): Register | string {
  const { kind, grid: [rows, columns], headDim, block } = step;
  const [half, heads] = [headDim / 2, frequencies?.shape[2] ?? 1];
  const fits = kind === "mixed" ? frequencies !== undefined && block < (frequencies.shape[1] ?? 0) && equalShapes(frequencies.shape, [2, frequencies.shape[1] ?? 0, heads, half]) : frequencies === undefined;
  if (!fits || headDim % 4 !== 0) return `makes ${kind} angles for heads of ${headDim} in block ${block} of ${frequencies ? `[${frequencies.shape.join(", ")}]` : "nothing"}`;
  const patches = rows * columns;
  const data = new Float64Array(2 * heads * patches * headDim);
  const sines = heads * patches * headDim;
  const angleOf = kind === "mixed" && frequencies ? mixed(frequencies, block) : fixed(step);
  const [stride, partner] = kind === "dinov3" ? [1, half] : [2, 1];
  for (let head = 0; head < heads; head++) {
    for (let patch = 0; patch < patches; patch++) {
      const at = (head * patches + patch) * headDim;
      for (let j = 0; j < half; j++) {
        const angle = angleOf(Math.floor(patch / columns), patch % columns, j, head);
        const first = at + j * stride;
        data[first] = data[first + partner] = Math.cos(angle);
        data[sines + first] = data[sines + first + partner] = Math.sin(angle);
      }
    }
  }
  return { shape: [2, heads, patches, headDim], data };
}

type Angle = (y: number, x: number, pair: number, head: number) => number;

/** Angles that follow from the spec alone; each belongs to one axis. */
function fixed({ kind, grid, headDim, temperature, order, reference, offset }: RotaryStep): Angle {
  const [half, quarter] = [headDim / 2, headDim / 4];
  const rowsFirst = kind === "dinov3" || order === "ij";
  return (y, x, pair) => {
    const axis = rowsFirst === pair < quarter ? 0 : 1;
    const [place, band] = [axis === 0 ? y : x, pair % quarter];
    if (kind === "dinov3") return (2 * Math.PI * ((2 * (place + 0.5)) / grid[axis] - 1)) / temperature ** ((2 * band) / half);
    return ((place + offset) / grid[axis]) * reference[axis] * temperature ** (-band / quarter);
  };
}

function mixed({ shape, data }: Register, block: number): Angle {
  const [, depth = 0, heads = 0, half = 0] = shape;
  return (y, x, pair, head) => x * data[(block * heads + head) * half + pair]! + y * data[((depth + block) * heads + head) * half + pair]!;
}
