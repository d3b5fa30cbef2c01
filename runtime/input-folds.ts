/**
 * The steps of a recipe that fold what some models do before their first block: the batch norms of a stem, and the pixel statistics of models
 * that normalise by themselves. All compute in f64; each returns the result, or how its operands do not fit it.
 */

import { areVectors, type Register } from "./folds.js";
import { elementCount } from "./safetensors.js";

export function foldBatchNormScale(weight: Register, gamma: Register, variance: Register, eps: number): Register | string {
  const channels = weight.shape[0] ?? 0;
  if (channels === 0 || !areVectors([gamma, variance], channels)) return `needs a weight [channels, ...] and two vectors [channels]`;
  const result = new Float64Array(weight.data.length);
  const run = result.length / channels;
  for (let channel = 0; channel < channels; channel++) {
    const factor = gamma.data[channel]! / Math.sqrt(variance.data[channel]! + eps);
    for (let i = channel * run; i < (channel + 1) * run; i++) result[i] = weight.data[i]! * factor;
  }
  return { shape: weight.shape, data: result };
}

export function foldBatchNormShift(gamma: Register, beta: Register, mean: Register, variance: Register, eps: number): Register | string {
  const channels = gamma.data.length;
  if (!areVectors([gamma, beta, mean, variance], channels)) return "needs four vectors [channels]";
  const result = new Float64Array(channels);
  for (let i = 0; i < channels; i++) result[i] = beta.data[i]! - (mean.data[i]! * gamma.data[i]!) / Math.sqrt(variance.data[i]! + eps);
  return { shape: [channels], data: result };
}

/** Elements of a convolution weight [out, channels, ...] between neighbours along `out` and along `channels`, or undefined if it has other channels. */
function windows({ shape }: Register, channels: number): [inner: number, window: number] | undefined {
  if (shape.length < 2 || shape[1] !== channels) return undefined;
  return [elementCount(shape.slice(1)), elementCount(shape.slice(2))];
}

export function foldPixelScale(weight: Register, std: readonly number[]): Register | string {
  const sizes = windows(weight, std.length);
  if (!sizes) return `needs a weight [out, ${std.length}, ...]`;
  const result = new Float64Array(weight.data.length);
  for (let i = 0; i < result.length; i++) result[i] = weight.data[i]! / std[Math.floor(i / sizes[1]) % std.length]!;
  return { shape: weight.shape, data: result };
}

export function foldPixelShift(weight: Register, bias: Register | undefined, mean: readonly number[], std: readonly number[]): Register | string {
  const outs = weight.shape[0] ?? 0;
  const sizes = windows(weight, std.length);
  if (!sizes || mean.length !== std.length || (bias && !areVectors([bias], outs))) return `needs a weight [out, ${std.length}, ...] and at most one vector [out]`;
  const [inner, window] = sizes;
  const result = new Float64Array(outs);
  for (let out = 0; out < outs; out++) {
    let sum = bias ? bias.data[out]! : 0;
    for (let i = 0; i < inner; i++) {
      const channel = Math.floor(i / window);
      sum -= (weight.data[out * inner + i]! * mean[channel]!) / std[channel]!;
    }
    result[out] = sum;
  }
  return { shape: [outs], data: result };
}
