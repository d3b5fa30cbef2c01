import { demand, elements, map, zeros, type Primitive } from "./op.js";

/**
 * 2-D convolution, cross-correlation as PyTorch's conv2d: x [batch, in, height, width], weight [out, in, kernelHeight, kernelWidth],
 * optional bias [out] -> [batch, out, height', width'], side' = floor((side + 2 padding - kernel) / stride) + 1.
 * A patch embedding is the case kernel = stride, padding 0; rows and columns beyond the last whole patch are then not read.
 */
export const conv2d: Primitive<{ readonly stride: readonly [number, number]; readonly padding: readonly [number, number] }> = {
  infer([x, w, bias], { stride, padding }) {
    demand(x?.length === 4 && w?.length === 4 && x[1] === w[1], () => `conv2d: x ${x} and weight ${w} do not fit`);
    demand(bias === undefined || (bias.length === 1 && bias[0] === w[0]), () => `conv2d: bias ${bias} for weight ${w}`);
    const side = (axis: 0 | 1) => Math.floor((x[2 + axis]! + 2 * padding[axis] - w[2 + axis]!) / stride[axis]) + 1;
    demand(side(0) > 0 && side(1) > 0, () => `conv2d: kernel ${w.slice(2)} is larger than x ${x}`);
    return [x[0]!, w[0]!, side(0), side(1)];
  },
  flops: ([, w], _attrs, [batch, out, height, width]) => 2 * batch! * height! * width! * (elements(w!) / w![0]!) * out!,
  evaluate([x, w, bias], attrs) {
    const out = zeros(conv2d.infer([x!.shape, w!.shape], attrs));
    const [batch, outs, height, width] = out.shape as [number, number, number, number];
    const [, ins, inHeight, inWidth] = x!.shape as [number, number, number, number];
    const [, , kernelHeight, kernelWidth] = w!.shape as [number, number, number, number];
    let at = 0;
    for (let b = 0; b < batch; b++)
      for (let o = 0; o < outs; o++)
        for (let y = 0; y < height; y++)
          for (let xx = 0; xx < width; xx++) {
            let sum = bias ? bias.data[o]! : 0;
            for (let c = 0; c < ins; c++)
              for (let i = 0; i < kernelHeight; i++) {
                const row = y * attrs.stride[0] + i - attrs.padding[0];
                if (row < 0 || row >= inHeight) continue;
                for (let j = 0; j < kernelWidth; j++) {
                  const column = xx * attrs.stride[1] + j - attrs.padding[1];
                  if (column < 0 || column >= inWidth) continue;
                  sum += x!.data[((b * ins + c) * inHeight + row) * inWidth + column]! * w!.data[((o * ins + c) * kernelHeight + i) * kernelWidth + j]!;
                }
              }
            out.data[at++] = sum;
          }
    return out;
  },
};

/**
 * Batch norm of a map x [batch, channels, height, width]: (x - mean) / sqrt(variance + eps) * gamma + beta, per channel. At inference mean and
 * variance are the inputs (running statistics); in training they are the batch's own, the variance biased, as PyTorch normalises.
 */
export const batchNorm: Primitive<{ readonly eps: number }> = {
  infer([x, ...perChannel]) {
    demand(x?.length === 4 && perChannel.length === 4 && perChannel.every((p) => p.length === 1 && p[0] === x[1]), () => `batchNorm: x ${x} with ${perChannel.join(" ")}`);
    return x;
  },
  flops: ([x]) => 2 * elements(x!),
  evaluate([x, gamma, beta, mean, variance], { eps }, { random }) {
    const out = zeros(x!.shape);
    const [batch, channels, height, width] = x!.shape as [number, number, number, number];
    const plane = height * width;
    for (let c = 0; c < channels; c++) {
      let [m, v] = [mean!.data[c]!, variance!.data[c]!];
      const each = (f: (index: number) => void) => {
        for (let b = 0; b < batch; b++) for (let p = 0; p < plane; p++) f((b * channels + c) * plane + p);
      };
      if (random) {
        [m, v] = [0, 0];
        each((i) => (m += x!.data[i]! / (batch * plane)));
        each((i) => (v += (x!.data[i]! - m) ** 2 / (batch * plane)));
      }
      const rstd = 1 / Math.sqrt(v + eps);
      each((i) => (out.data[i] = (x!.data[i]! - m) * rstd * gamma!.data[c]! + beta!.data[c]!));
    }
    return out;
  },
};

/** (x - mean) / std of an image x [batch, channels, height, width], with one number of each a channel: what timm does to pixels from 0 to 1. */
export const normalizeChannels: Primitive<{ readonly mean: readonly number[]; readonly std: readonly number[] }> = {
  infer([x], { mean, std }) {
    demand(x?.length === 4 && mean.length === x[1] && std.length === x[1], () => `normalizeChannels: x ${x} with ${mean.length} means, ${std.length} deviations`);
    return x;
  },
  flops: ([x]) => 2 * elements(x!),
  evaluate([x], { mean, std }) {
    const plane = elements(x!.shape.slice(2));
    return map(x!, (value, i) => {
      const channel = Math.floor(i / plane) % mean.length;
      return (value - mean[channel]!) / std[channel]!;
    });
  },
};

/** A map [batch, channels, height, width] as tokens [batch, height * width, channels], row by row. */
export const mapToTokens: Primitive<Record<never, never>> = {
  infer([x]) {
    demand(x?.length === 4, () => `mapToTokens: x ${x}`);
    return [x[0]!, x[2]! * x[3]!, x[1]!];
  },
  evaluate([x]) {
    const out = zeros(mapToTokens.infer([x!.shape], {}));
    const [batch, patches, channels] = out.shape as [number, number, number];
    for (let b = 0; b < batch; b++)
      for (let p = 0; p < patches; p++) for (let c = 0; c < channels; c++) out.data[(b * patches + p) * channels + c] = x!.data[(b * channels + c) * patches + p]!;
    return out;
  },
};

/** The inverse of mapToTokens: tokens [batch, height * width, channels] as a map [batch, channels, height, width]. */
export const tokensToMap: Primitive<{ readonly height: number; readonly width: number }> = {
  infer([x], { height, width }) {
    demand(x?.length === 3 && x[1] === height * width, () => `tokensToMap: x ${x} is not ${height} x ${width}`);
    return [x[0]!, x[2]!, height, width];
  },
  evaluate([x], attrs) {
    const out = zeros(tokensToMap.infer([x!.shape], attrs));
    const [batch, channels, height, width] = out.shape as [number, number, number, number];
    const patches = height * width;
    for (let b = 0; b < batch; b++)
      for (let p = 0; p < patches; p++) for (let c = 0; c < channels; c++) out.data[(b * channels + c) * patches + p] = x!.data[(b * patches + p) * channels + c]!;
    return out;
  },
};
