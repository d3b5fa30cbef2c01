import { linear } from "./linear.js";
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

/** Columns `start` to `end` (exclusive) of a weight [out, in]. */
export const sliceColumns: Primitive<{ readonly start: number; readonly end: number }> = {
  weights: true,
  infer([w], { start, end }) {
    demand(w?.length === 2 && start >= 0 && end > start && end <= w[1]!, () => `sliceColumns ${start} to ${end} of ${w}`);
    return [w[0]!, end - start];
  },
  evaluate([w], attrs) {
    const out = zeros(sliceColumns.infer([w!.shape], attrs));
    const [rows, columns] = w!.shape as [number, number];
    for (let row = 0; row < rows; row++) out.data.set(w!.data.subarray(row * columns + attrs.start, row * columns + attrs.end), row * out.shape[1]!);
    return out;
  },
};

/** Weights or biases [out, ...] one after the other. */
export const concatRows: Primitive<Record<never, never>> = {
  weights: true,
  infer(inputs) {
    const [first] = inputs;
    demand(first !== undefined && inputs.every((shape) => shape.length > 0 && sameShape(shape.slice(1), first.slice(1))), () => `concatRows: ${inputs.join(" and ")}`);
    return [inputs.reduce((sum, shape) => sum + shape[0]!, 0), ...first.slice(1)];
  },
  evaluate(inputs) {
    const out = zeros(concatRows.infer(inputs.map(({ shape }) => shape), {}));
    let at = 0;
    for (const { data } of inputs) {
      out.data.set(data, at);
      at += data.length;
    }
    return out;
  },
};

/** The linear layer of a parameter: x [..., in] times weight [out, in] transposed, plus an optional bias [out]. */
export const weightLinear: Primitive<Record<never, never>> = {
  weights: true,
  infer: linear.infer,
  evaluate: linear.evaluate,
};

/** What a table of tokens is made of. Inputs: the prefix tokens [1, tokens, dim], then positions and the projection's bias [dim] if they are there. */
export interface TokenTableAttrs {
  /** Prefix tokens, in as many inputs as there are kinds of them. */
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
    const rest = [...(positions === "none" ? [] : [[1, positions === "all" ? prefix + patches : patches, dim!]]), ...(bias ? [[dim!]] : [])];
    const tokens = inputs.slice(0, Math.max(0, inputs.length - rest.length)).map((shape) => [1, shape[1] ?? 0, dim!]);
    const tables = [...tokens, ...rest];
    const fits = dim !== undefined && inputs.length === tables.length && inputs.every((shape, i) => sameShape(shape, tables[i]!)) && tokens.reduce((sum, [, rows]) => sum + rows!, 0) === prefix;
    demand(fits, () => `tokenTable: ${inputs.join(" and ")} for ${prefix} + ${patches} tokens, positions of ${positions}, bias ${bias}`);
    return [1, prefix + patches, dim!];
  },
  evaluate(inputs, attrs) {
    const { prefix, patches, positions, bias } = attrs;
    const out = zeros(tokenTable.infer(inputs.map((x) => x.shape), attrs));
    const dim = out.shape[2]!;
    const rest = Number(positions !== "none") + Number(bias);
    const tokens = inputs.slice(0, inputs.length - rest).flatMap(({ data }) => [...data]);
    const table = positions === "none" ? undefined : inputs[inputs.length - rest]!.data;
    const shift = bias ? inputs[inputs.length - 1]!.data : undefined;
    // The table's first row belongs to the first token that it covers.
    const first = positions === "patches" ? prefix : 0;
    for (let n = 0; n < prefix + patches; n++)
      for (let c = 0; c < dim; c++) {
        const position = table && n >= first ? table[(n - first) * dim + c]! : 0;
        out.data[n * dim + c] = (n < prefix ? tokens[n * dim + c]! : shift ? shift[c]! : 0) + position;
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
