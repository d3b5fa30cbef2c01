import { demand, elements, map, type Primitive } from "./op.js";

/** Convolution weight [out, ...] times gamma / sqrt(variance + eps) per output channel: the first half of folding a batch norm into it. */
export const foldBatchNormScale: Primitive<{ readonly eps: number }> = {
  weights: true,
  infer([w, gamma, variance]) {
    demand(w !== undefined && gamma?.length === 1 && variance?.length === 1 && gamma[0] === w[0] && variance[0] === w[0], () => `foldBatchNormScale: ${w}, ${gamma}, ${variance}`);
    return w;
  },
  evaluate([w, gamma, variance], { eps }) {
    const inner = elements(w!.shape.slice(1));
    return map(w!, (value, i) => {
      const channel = Math.floor(i / inner);
      return (value * gamma!.data[channel]!) / Math.sqrt(variance!.data[channel]! + eps);
    });
  },
};

/** beta - mean * gamma / sqrt(variance + eps): what a folded batch norm adds. Inputs gamma, beta, mean, variance, each [channels]. */
export const foldBatchNormShift: Primitive<{ readonly eps: number }> = {
  weights: true,
  infer(inputs) {
    demand(inputs.length === 4 && inputs.every((s) => s.length === 1 && s[0] === inputs[0]![0]), () => `foldBatchNormShift: ${inputs.join(" ")}`);
    return inputs[0]!;
  },
  evaluate: ([gamma, beta, mean, variance], { eps }) => map(beta!, (value, i) => value - (mean!.data[i]! * gamma!.data[i]!) / Math.sqrt(variance!.data[i]! + eps)),
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
