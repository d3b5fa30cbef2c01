/** From logits to named classes. */
import { InputError } from "./errors.js";

/** A class, and how probable the model holds it to be for one image. */
export interface Prediction<Label = string> {
  /** The class's name; undefined where the model has none. */
  readonly label: Label;
  /** Its place among the logits. */
  readonly index: number;
  /** Softmax over all classes: from 0 to 1, and 1 in all. */
  readonly probability: number;
}

/**
 * exp(x) / sum(exp(x)) in f64, after the largest value was taken from all: it neither overflows nor divides by 0.
 * @param logits finite, at least one
 */
export function softmax(logits: ArrayLike<number>): Float64Array<ArrayBuffer> {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) largest = Math.max(largest, logits[i]!);
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/**
 * The most probable classes of one image, the most probable first; of equal ones that of the lower index.
 * @param labels a name a class, or empty
 * @throws InputError for logits that are not finite
 */
export function topClasses<Label>(logits: ArrayLike<number>, labels: readonly Label[], top: number): Prediction<Label>[] {
  const wrong = Array.from(logits).findIndex((logit) => !Number.isFinite(logit));
  if (wrong >= 0) throw new InputError(`logit ${wrong} is ${logits[wrong]}: the weights or the input are too large for the model's arithmetic`);
  const probabilities = softmax(logits);
  return Array.from(logits, (_, i) => i)
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, top)
    .map((index) => ({ label: labels[index]!, index, probability: probabilities[index]! }));
}

/**
 * How many classes are asked for.
 * @throws InputError unless it is a whole number of at least 1
 */
export function checkTop(top: unknown): number {
  if (!Number.isSafeInteger(top) || (top as number) < 1) throw new InputError(`top is ${String(top)}; it is how many classes an image gets, a whole number of at least 1`);
  return top as number;
}
