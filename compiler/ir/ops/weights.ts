import { demand, elements, map, sameShape, zeros, type Primitive } from "./op.js";

/** A weight or bias [out, ...] whose outputs from `start` to `end` (exclusive) are multiplied by a factor. */
export const scaleRows: Primitive<{ readonly start: number; readonly end: number; readonly factor: number }> = {
  weights: true,
  infer([w], { start, end }) {
    demand(w !== undefined && w.length > 0 && start >= 0 && end > start && end <= w[0]!, () => `scaleRows ${start} to ${end} of ${w}`);
    return w;
  },
  evaluate([w], { start, end, factor }) {
    const inner = elements(w!.shape.slice(1));
    return map(w!, (value, i) => (i >= start * inner && i < end * inner ? value * factor : value));
  },
};

/** A weight or bias [out, ...] times a factor for each output [out]: LayerScale, put into the product before it. */
export const scaleChannels: Primitive<Record<never, never>> = {
  weights: true,
  infer([w, gamma]) {
    demand(w !== undefined && gamma?.length === 1 && gamma[0] === w[0], () => `scaleChannels: ${w}, ${gamma}`);
    return w;
  },
  evaluate([w, gamma]) {
    const inner = elements(w!.shape.slice(1));
    return map(w!, (value, i) => value * gamma!.data[Math.floor(i / inner)]!);
  },
};

/** Outputs `start` to `end` (exclusive) of a weight or bias [out, ...]. */
export const sliceRows: Primitive<{ readonly start: number; readonly end: number }> = {
  weights: true,
  infer([w], { start, end }) {
    demand(w !== undefined && w.length > 0 && start >= 0 && end > start && end <= w[0]!, () => `sliceRows ${start} to ${end} of ${w}`);
    return [end - start, ...w.slice(1)];
  },
  evaluate([w], attrs) {
    const inner = elements(w!.shape.slice(1));
    return { shape: sliceRows.infer([w!.shape], attrs), data: w!.data.slice(attrs.start * inner, attrs.end * inner) };
  },
};

/** What a table of tokens is made of. Inputs: prefix tokens [1, 1, dim] each, then positions and the projection's bias [dim] if they are there. */
export interface TokenTableAttrs {
  readonly prefix: number;
  readonly patches: number;
  /** Whether there is a position table, and which tokens it covers. */
  readonly positions: "all" | "patches" | "none";
  readonly bias: boolean;
}

/**
 * All that is added to the patches' products to make tokens [1, prefix + patches, dim]: a prefix token plus its position, if it has one;
 * a patch's position plus the bias of the projection.
 */
export const tokenTable: Primitive<TokenTableAttrs> = {
  weights: true,
  infer(inputs, { prefix, patches, positions, bias }) {
    const dim = inputs[0]?.at(-1);
    const tables = [
      ...Array.from({ length: prefix }, () => [1, 1, dim!]),
      ...(positions === "none" ? [] : [[1, positions === "all" ? prefix + patches : patches, dim!]]),
      ...(bias ? [[dim!]] : []),
    ];
    demand(dim !== undefined && inputs.length === tables.length && inputs.every((shape, i) => sameShape(shape, tables[i]!)), () => `tokenTable: ${inputs.join(" and ")} for ${prefix} + ${patches} tokens, positions of ${positions}, bias ${bias}`);
    return [1, prefix + patches, dim];
  },
  evaluate(inputs, attrs) {
    const { prefix, patches, positions, bias } = attrs;
    const out = zeros(tokenTable.infer(inputs.map((x) => x.shape), attrs));
    const dim = out.shape[2]!;
    const table = positions === "none" ? undefined : inputs[prefix]!.data;
    const shift = bias ? inputs[inputs.length - 1]!.data : undefined;
    // The table's first row belongs to the first token that it covers.
    const first = positions === "patches" ? prefix : 0;
    for (let n = 0; n < prefix + patches; n++)
      for (let c = 0; c < dim; c++) {
        const position = table && n >= first ? table[(n - first) * dim + c]! : 0;
        out.data[n * dim + c] = (n < prefix ? inputs[n]!.data[c]! : shift ? shift[c]! : 0) + position;
      }
    return out;
  },
};

/**
 * A fixed table of positions [1, prefix + patches, dim]; the prefix rows are zero.
 * `sincos2d` is MAE's get_2d_sincos_pos_embed: [sin(x w), cos(x w), sin(y w), cos(y w)] with w_i = temperature ** (-i / (dim / 4)), x the column.
 * `sincos1d` is "Attention Is All You Need" over the patch index p: [p, 2i] = sin(p w_i), [p, 2i + 1] = cos(p w_i), w_i = temperature ** (-2i / dim).
 */
export const positionTable: Primitive<{
  readonly kind: "sincos2d" | "sincos1d";
  readonly grid: readonly [rows: number, columns: number];
  readonly dim: number;
  readonly prefix: number;
  readonly temperature: number;
}> = {
  weights: true,
  infer: (_inputs, { grid, dim, prefix }) => [1, prefix + grid[0] * grid[1], dim],
  evaluate(_inputs, { kind, grid: [rows, columns], dim, prefix, temperature }) {
    const data = new Float64Array((prefix + rows * columns) * dim);
    for (let p = 0; p < rows * columns; p++) {
      const [y, x] = [Math.floor(p / columns), p % columns];
      for (let j = 0; j < dim; j++) {
        let angle: number, cosine: boolean;
        if (kind === "sincos2d") {
          const quarter = dim / 4;
          angle = (j < dim / 2 ? x : y) * temperature ** (-(j % quarter) / quarter);
          cosine = Math.floor(j / quarter) % 2 === 1;
        } else {
          angle = p * temperature ** ((-2 * Math.floor(j / 2)) / dim);
          cosine = j % 2 === 1;
        }
        data[(prefix + p) * dim + j] = cosine ? Math.cos(angle) : Math.sin(angle);
      }
    }
    return { shape: [1, prefix + rows * columns, dim], data };
  },
};
