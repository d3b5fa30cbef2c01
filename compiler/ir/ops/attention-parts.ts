import { demand, elements, last, map, sameShape, zeros, type Primitive } from "./op.js";

/** How values of a head are paired for rotation: each with its neighbour, or with the one half a head away. */
export type RotaryPairs = "neighbours" | "halves";

/**
 * Rotary positions: heads x [batch, heads, tokens, headDim] from token `prefix` on are turned by angles whose cosines and sines are a table
 * [2, heads or 1, tokens - prefix, headDim], cosines first: x cos + rot(x) sin, where rot makes (-b, a) of every pair (a, b). timm's
 * `apply_rot_embed_cat`.
 */
export const rotate: Primitive<{ readonly pairs: RotaryPairs; readonly prefix: number }> = {
  infer([x, table], { prefix }) {
    const [, heads, tokens, width] = x ?? [];
    demand(x?.length === 4 && width! % 2 === 0 && table?.length === 4 && table[0] === 2 && (table[1] === 1 || table[1] === heads) && table[2] === tokens! - prefix && table[3] === width, () => `rotate: heads ${x} by a table ${table} behind ${prefix} tokens`);
    return x;
  },
  flops: ([x], { prefix }) => (3 * elements(x!) * (x![2]! - prefix)) / x![2]!,
  evaluate([x, table], { pairs, prefix }) {
    const [, heads, tokens, width] = x!.shape as [number, number, number, number];
    const own = table!.shape[1] === heads;
    const sines = elements(table!.shape) / 2;
    return map(x!, (value, i) => {
      const [c, n, h] = [i % width, Math.floor(i / width) % tokens, Math.floor(i / (width * tokens)) % heads];
      if (n < prefix) return value;
      const first = pairs === "neighbours" ? c % 2 === 0 : c < width / 2;
      const partner = pairs === "neighbours" ? (first ? i + 1 : i - 1) : first ? i + width / 2 : i - width / 2;
      const at = ((own ? h * (tokens - prefix) : 0) + n - prefix) * width + c;
      return value * table!.data[at]! + (first ? -1 : 1) * x!.data[partner]! * table!.data[sines + at]!;
    });
  },
};

/** What the angles of rotary positions follow from. */
export interface RotaryTableAttrs {
  readonly kind: "axial" | "mixed" | "dinov3";
  readonly grid: readonly [rows: number, columns: number];
  readonly headDim: number;
  readonly temperature: number;
  readonly order: "ij" | "xy";
  readonly reference: readonly [rows: number, columns: number];
  readonly offset: number;
  /** Of `mixed`: which block's frequencies. */
  readonly block: number;
}

/**
 * The table of `rotate`, [2, heads or 1, rows * columns, headDim]. With y and x the patch's row and column:
 * `axial` (timm's `build_rotary_pos_embed` with in_pixels off): bands_j = temperature ** (-j / (headDim / 4)) over j < headDim / 4; coordinates
 * (i + offset) / size * reference; angles [y bands, x bands] (`xy`: x first), each for a pair of neighbours.
 * `mixed` (`get_mixed_freqs`): input frequencies [2, depth, heads, headDim / 2], angle = x f[0] + y f[1], each for a pair of neighbours.
 * `dinov3` (`RotaryEmbeddingDinoV3`): coordinates 2 (i + 0.5) / size - 1, periods_j = temperature ** (2 j / (headDim / 2)), angles
 * 2 pi coordinate / period, [y angles, x angles] for the first half of a head, and again for the second.
 */
export const rotaryTable: Primitive<RotaryTableAttrs> = {
  weights: true,
  infer([frequencies], { kind, grid, headDim }) {
    demand(headDim % 4 === 0 && (kind === "mixed" ? frequencies?.length === 4 && frequencies[0] === 2 && frequencies[3] === headDim / 2 : frequencies === undefined), () => `rotaryTable: frequencies ${frequencies} for ${kind} heads of ${headDim}`);
    return [2, frequencies?.[2] ?? 1, grid[0] * grid[1], headDim];
  },
  evaluate([frequencies], attrs) {
    const { kind, grid, headDim, temperature, order, reference, offset, block } = attrs;
    const out = zeros(rotaryTable.infer(frequencies ? [frequencies.shape] : [], attrs));
    const [, heads, patches] = out.shape as [number, number, number];
    const [half, quarter] = [headDim / 2, headDim / 4];
    // Of the pair j < headDim / 2 at a patch.
    const angle = (head: number, place: readonly [y: number, x: number], j: number): number => {
      if (kind === "mixed") {
        const depth = frequencies!.shape[1]!;
        const frequency = (axis: number): number => frequencies!.data[((axis * depth + block) * heads + head) * half + j]!;
        return place[1] * frequency(0) + place[0] * frequency(1);
      }
      const axis = (order === "ij" || kind === "dinov3") === j < quarter ? 0 : 1;
      if (kind === "dinov3") return (2 * Math.PI * ((2 * (place[axis]! + 0.5)) / grid[axis]! - 1)) / temperature ** ((2 * (j % quarter)) / half);
      return ((place[axis]! + offset) / grid[axis]!) * reference[axis]! * temperature ** (-(j % quarter) / quarter);
    };
    for (let h = 0; h < heads; h++)
      for (let p = 0; p < patches; p++)
        for (let c = 0; c < headDim; c++) {
          const turned = angle(h, [Math.floor(p / grid[1]), p % grid[1]], kind === "dinov3" ? c % half : Math.floor(c / 2));
          const at = (h * patches + p) * headDim + c;
          out.data[at] = Math.cos(turned);
          out.data[out.data.length / 2 + at] = Math.sin(turned);
        }
    return out;
  },
};

/** A bias [q, k, v] of which keys have none: q, zeros, v, from q and v of one width. */
export const queryValueBias: Primitive<Record<never, never>> = {
  weights: true,
  infer([q, v]) {
    demand(q?.length === 1 && v !== undefined && sameShape(q, v), () => `queryValueBias: ${q} and ${v}`);
    return [3 * q[0]!];
  },
  evaluate([q, v]) {
    const out = zeros([3 * q!.data.length]);
    out.data.set(q!.data);
    out.data.set(v!.data, 2 * q!.data.length);
    return out;
  },
};

/**
 * What every query of one head adds to the score of every key, [1, heads, tokens, tokens], from BEiT's table
 * [(2 rows - 1) (2 columns - 1) + 3, heads]: for two patches its row (dy + rows - 1) (2 columns - 1) + dx + columns - 1, with dy and dx from
 * key to query; its last three rows are for a class token's query, its key, and both. timm's `gen_relative_position_index`.
 */
export const relativeBias: Primitive<{ readonly grid: readonly [rows: number, columns: number]; readonly prefix: number }> = {
  weights: true,
  infer([table], { grid: [rows, columns], prefix }) {
    demand(table?.length === 2 && table[0] === (2 * rows - 1) * (2 * columns - 1) + 3 && prefix <= 1, () => `relativeBias: table ${table} for ${rows} x ${columns} patches behind ${prefix} tokens`);
    const tokens = prefix + rows * columns;
    return [1, table[1]!, tokens, tokens];
  },
  evaluate([table], attrs) {
    const { grid: [rows, columns], prefix } = attrs;
    const out = zeros(relativeBias.infer([table!.shape], attrs));
    const [, heads, tokens] = out.shape as [number, number, number];
    const [count] = table!.shape as [number];
    const row = (query: number, key: number): number => {
      if (query < prefix || key < prefix) return count - (query < prefix && key < prefix ? 1 : query < prefix ? 3 : 2);
      const [q, k] = [query - prefix, key - prefix];
      const dy = Math.floor(q / columns) - Math.floor(k / columns);
      return (dy + rows - 1) * (2 * columns - 1) + ((q % columns) - (k % columns)) + columns - 1;
    };
    for (let h = 0; h < heads; h++) for (let i = 0; i < tokens; i++) for (let j = 0; j < tokens; j++) out.data[(h * tokens + i) * tokens + j] = table!.data[row(i, j) * heads + h]!;
    return out;
  },
};

/** exp(q1 . k1) - exp(q2 . k2) + initial, [1]: how much of its second map differential attention subtracts (arXiv 2410.05258, equation 2). */
export const differentialFactor: Primitive<{ readonly initial: number }> = {
  weights: true,
  infer(inputs) {
    demand(inputs.length === 4 && inputs.every((shape) => shape.length === 1 && sameShape(shape, inputs[0]!)), () => `differentialFactor: ${inputs.join(" ")}`);
    return [1];
  },
  evaluate([q1, k1, q2, k2], { initial }) {
    const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
    return { shape: [1], data: Float64Array.of(Math.exp(dot(q1!.data, k1!.data)) - Math.exp(dot(q2!.data, k2!.data)) + initial) };
  },
};

/** Maps x [batch, 2 heads, n, m] of pairs of heads, the second of each times a factor [1] taken from the first: [batch, heads, n, m]. */
export const headDifference: Primitive<Record<never, never>> = {
  infer([x, factor]) {
    demand(x?.length === 4 && x[1]! % 2 === 0 && factor?.length === 1 && factor[0] === 1, () => `headDifference: ${x}, factor ${factor}`);
    return [x[0]!, x[1]! / 2, x[2]!, x[3]!];
  },
  flops: (_inputs, _attrs, output) => 2 * elements(output),
  evaluate([x, factor]) {
    const out = zeros(headDifference.infer([x!.shape, factor!.shape], {}));
    const map = x!.shape[2]! * last(x!.shape);
    for (let h = 0; h * map < out.data.length; h++) for (let i = 0; i < map; i++) out.data[h * map + i] = x!.data[2 * h * map + i]! - factor!.data[0]! * x!.data[(2 * h + 1) * map + i]!;
    return out;
  },
};
