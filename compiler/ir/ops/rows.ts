import { demand, elements, last, zeros, type Primitive } from "./op.js";

/** (x - mean) / sqrt(variance + eps) * scale + bias over the last axis; the variance is biased, eps inside the root, as PyTorch's LayerNorm. */
export const layerNorm: Primitive<{ readonly eps: number }> = {
  infer([x, scale, bias]) {
    demand(x !== undefined && scale?.length === 1 && bias?.length === 1 && scale[0] === last(x) && bias[0] === last(x), () => `layerNorm: x ${x}, scale ${scale}, bias ${bias}`);
    return x;
  },
  flops: ([x]) => 8 * elements(x!),
  evaluate([x, scale, bias], { eps }) {
    const out = zeros(x!.shape);
    const width = last(x!.shape);
    for (let at = 0; at < x!.data.length; at += width) {
      let [mean, variance] = [0, 0];
      for (let i = 0; i < width; i++) mean += x!.data[at + i]! / width;
      for (let i = 0; i < width; i++) variance += (x!.data[at + i]! - mean) ** 2 / width;
      const rstd = 1 / Math.sqrt(variance + eps);
      for (let i = 0; i < width; i++) out.data[at + i] = (x!.data[at + i]! - mean) * rstd * scale!.data[i]! + bias!.data[i]!;
    }
    return out;
  },
};

/** x / sqrt(mean(x²) + eps) * scale over the last axis: RMSNorm (arXiv 1910.07467), timm's `RmsNorm`. */
export const rmsNorm: Primitive<{ readonly eps: number }> = {
  infer([x, scale]) {
    demand(x !== undefined && scale?.length === 1 && scale[0] === last(x), () => `rmsNorm: x ${x}, scale ${scale}`);
    return x;
  },
  flops: ([x]) => 4 * elements(x!),
  evaluate([x, scale], { eps }) {
    const out = zeros(x!.shape);
    const width = last(x!.shape);
    for (let at = 0; at < x!.data.length; at += width) {
      let square = 0;
      for (let i = 0; i < width; i++) square += x!.data[at + i]! ** 2 / width;
      for (let i = 0; i < width; i++) out.data[at + i] = (x!.data[at + i]! / Math.sqrt(square + eps)) * scale!.data[i]!;
    }
    return out;
  },
};

/** x / sqrt(variance + eps) over the last axis, the variance biased: what is left of a layer norm whose other parts are in weights. The mean stays. */
export const unitVariance: Primitive<{ readonly eps: number }> = {
  infer([x]) {
    demand(x !== undefined && x.length > 0, () => `unitVariance: x ${x}`);
    return x;
  },
  flops: ([x]) => 6 * elements(x!),
  evaluate([x], { eps }) {
    const out = zeros(x!.shape);
    const width = last(x!.shape);
    for (let at = 0; at < x!.data.length; at += width) {
      let [mean, variance] = [0, 0];
      for (let i = 0; i < width; i++) mean += x!.data[at + i]! / width;
      for (let i = 0; i < width; i++) variance += (x!.data[at + i]! - mean) ** 2 / width;
      const rstd = 1 / Math.sqrt(variance + eps);
      for (let i = 0; i < width; i++) out.data[at + i] = x!.data[at + i]! * rstd;
    }
    return out;
  },
};

/** Of a vector that is shorter: what it is divided by instead of its length, so that a vector of zeros stays one. As torch.nn.functional.normalize. */
export const shortest = 1e-12;

/** x / max(||x||, 1e-12) over the last axis, in the Euclidean norm: vectors of length 1. PyTorch's `normalize`. */
export const l2Normalize: Primitive<Record<never, never>> = {
  infer([x]) {
    demand(x !== undefined && x.length > 0, () => `l2Normalize: x ${x}`);
    return x;
  },
  flops: ([x]) => 3 * elements(x!),
  evaluate([x]) {
    const out = zeros(x!.shape);
    const width = last(x!.shape);
    for (let at = 0; at < x!.data.length; at += width) {
      let square = 0;
      for (let i = 0; i < width; i++) square += x!.data[at + i]! ** 2;
      for (let i = 0; i < width; i++) out.data[at + i] = x!.data[at + i]! / Math.max(Math.sqrt(square), shortest);
    }
    return out;
  },
};

/** exp(x - max) / sum over the last axis. */
export const softmax: Primitive<Record<never, never>> = {
  infer([x]) {
    demand(x !== undefined && x.length > 0, () => `softmax: x ${x}`);
    return x;
  },
  flops: ([x]) => 5 * elements(x!),
  evaluate([x]) {
    const out = zeros(x!.shape);
    const width = last(x!.shape);
    for (let at = 0; at < x!.data.length; at += width) {
      let [max, sum] = [-Infinity, 0];
      for (let i = 0; i < width; i++) max = Math.max(max, x!.data[at + i]!);
      for (let i = 0; i < width; i++) sum += out.data[at + i] = Math.exp(x!.data[at + i]! - max);
      for (let i = 0; i < width; i++) out.data[at + i]! /= sum;
    }
    return out;
  },
};

/** The mean or maximum over axis 1 of x [batch, tokens, width] -> [batch, width]. */
export const reduce: Primitive<{ readonly kind: "avg" | "max" }> = {
  infer([x]) {
    demand(x?.length === 3 && x[1]! > 0, () => `reduce: x ${x}`);
    return [x[0]!, x[2]!];
  },
  flops: ([x]) => elements(x!),
  evaluate([x], { kind }) {
    const [batch, tokens, width] = x!.shape as [number, number, number];
    const out = zeros([batch, width]);
    if (kind === "max") out.data.fill(-Infinity);
    for (let b = 0; b < batch; b++)
      for (let n = 0; n < tokens; n++)
        for (let c = 0; c < width; c++) {
          const value = x!.data[(b * tokens + n) * width + c]!;
          const at = b * width + c;
          out.data[at] = kind === "avg" ? out.data[at]! + value / tokens : Math.max(out.data[at]!, value);
        }
    return out;
  },
};
