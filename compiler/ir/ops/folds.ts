import { demand, elements, map, zeros, type Primitive, type Shape } from "./op.js";

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
 * The weight [out, in] of a product whose rows have unit variance, in place of one behind a layer norm with scale gamma [in]: w * gamma along
 * `in`. With `centre` each output's mean over `in` is taken off as well: nothing changes for rows with mean zero, which a layer norm makes,
 * and the mean of rows that keep theirs drops out of the product.
 */
export const foldNormScale: Primitive<{ readonly centre: boolean }> = {
  weights: true,
  infer([w, gamma]) {
    demand(w?.length === 2 && gamma?.length === 1 && gamma[0] === w[1], () => `foldNormScale: ${w}, ${gamma}`);
    return w;
  },
  evaluate([w, gamma], { centre }) {
    const out = zeros(w!.shape);
    const width = gamma!.data.length;
    for (let at = 0; at < out.data.length; at += width) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += out.data[at + i] = w!.data[at + i]! * gamma!.data[i]!;
      if (centre) for (let i = 0; i < width; i++) out.data[at + i]! -= sum / width;
    }
    return out;
  },
};

/** What a layer norm's shift beta [in] becomes behind a product with the weight [out, in] as it was: beta Wᵀ, plus a bias [out] if there is one. */
export const foldNormShift: Primitive<Record<never, never>> = {
  weights: true,
  infer([w, beta, bias]) {
    demand(w?.length === 2 && beta?.length === 1 && beta[0] === w[1], () => `foldNormShift: ${w}, ${beta}`);
    demand(bias === undefined || (bias.length === 1 && bias[0] === w[0]), () => `foldNormShift: ${w} with bias ${bias}`);
    return [w[0]!];
  },
  evaluate([w, beta, bias]) {
    const out = zeros([w!.shape[0]!]);
    const width = beta!.data.length;
    for (let o = 0; o < out.data.length; o++) {
      let sum = bias ? bias.data[o]! : 0;
      for (let i = 0; i < width; i++) sum += w!.data[o * width + i]! * beta!.data[i]!;
      out.data[o] = sum;
    }
    return out;
  },
};

const perChannel = (w: Shape | undefined, values: readonly number[]): boolean => w?.length === 4 && w[1] === values.length;

/** Convolution weight [out, channels, height, width] divided by the deviation of the channel it reads: half of folding `normalizeChannels` into it. */
export const foldPixelScale: Primitive<{ readonly std: readonly number[] }> = {
  weights: true,
  infer([w], { std }) {
    demand(w !== undefined && perChannel(w, std), () => `foldPixelScale: ${w} with ${std.length} deviations`);
    return w;
  },
  evaluate([w], { std }) {
    const window = elements(w!.shape.slice(2));
    return map(w!, (value, i) => value / std[Math.floor(i / window) % std.length]!);
  },
};

/** The bias [out] of a convolution that reads pixels as they are: its own, if any, minus the sum of w * mean / std. Exact where nothing is padded. */
export const foldPixelShift: Primitive<{ readonly mean: readonly number[]; readonly std: readonly number[] }> = {
  weights: true,
  infer([w, bias], { mean, std }) {
    demand(w !== undefined && perChannel(w, mean) && perChannel(w, std), () => `foldPixelShift: ${w} with ${mean.length} means, ${std.length} deviations`);
    demand(bias === undefined || (bias.length === 1 && bias[0] === w[0]), () => `foldPixelShift: ${w} with bias ${bias}`);
    return [w[0]!];
  },
  evaluate([w, bias], { mean, std }) {
    const out = zeros([w!.shape[0]!]);
    const [inner, window] = [elements(w!.shape.slice(1)), elements(w!.shape.slice(2))];
    for (let o = 0; o < out.data.length; o++) {
      let sum = bias ? bias.data[o]! : 0;
      for (let i = 0; i < inner; i++) {
        const channel = Math.floor(i / window);
        sum -= (w!.data[o * inner + i]! * mean[channel]!) / std[channel]!;
      }
      out.data[o] = sum;
    }
    return out;
  },
};
