import type { Tensor } from "../../runtime/codegen.js";
import { UserError } from "./context.js";

/** The classes of an image, from its logits. */
export interface RankedClasses {
  /** Indices, the most probable first; of equal logits the lower index comes first. */
  readonly order: readonly number[];
  /** Softmax over all classes. */
  probabilityOf(index: number): number;
}

/** The values of one image in an output of several. */
export const rowOf = (tensor: Tensor, i: number, rows: number): Float32Array => tensor.subarray((tensor.length / rows) * i, (tensor.length / rows) * (i + 1));

/**
 * A comparison with NaN is false, so it would come out as the least probable class instead of as what is wrong.
 * @throws UserError when a value is no finite number.
 */
export function expectFinite(values: Float32Array, output: string, input: string): void {
  if (!values.every(Number.isFinite)) throw new UserError(`the model's ${output} for ${input} are not finite numbers: its weights or the input are too large for 32-bit floats`);
}

/** @param logits finite, one a class */
export function rankClasses(logits: Float32Array): RankedClasses {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return {
    order: Array.from(logits, (_, i) => i).sort((a, b) => logits[b]! - logits[a]!),
    probabilityOf: (index) => Math.exp(logits[index]! - largest) / sum,
  };
}
