import type { Profile, View } from "../../runtime/plan.js";
import type { Value } from "../ir/graph.js";
import { IrError } from "../ir/ops/op.js";
import type { Step } from "../plan/lower.js";

/** A value in activation memory, or scratch memory of a step. See `LifetimeReport` for the meaning of `from` and `to`. */
export interface Lifetime {
  /** Undefined for scratch memory. */
  readonly value: Value | undefined;
  /** The dispatch that writes it, the first of them if there are several. */
  readonly from: number;
  readonly to: number;
  readonly view: View;
  readonly inPlace: boolean;
}

/** Index of the operand that a step writes. */
export const resultOf = ({ operands, output }: Step): number => operands.findIndex((operand) => "value" in operand && operand.value === output);

/**
 * When each value of a profile lies where, in the order in which they are written.
 * @param outputs values that are read back at the end.
 * @throws IrError if the steps are not the profile's.
 */
export function lifetimes(profile: Profile, steps: readonly Step[], outputs: ReadonlySet<Value>): readonly Lifetime[] {
  if (steps.length !== profile.dispatches.length) throw new IrError(`${steps.length} steps for ${profile.dispatches.length} dispatches`);
  const living = new Map<Value, { from: number; to: number; view: View; inPlace: boolean }>();
  const scratch: Lifetime[] = [];
  steps.forEach((step, i) => {
    const { views } = profile.dispatches[i]!;
    const { operands, output, inPlace } = step;
    operands.forEach((operand, j) => {
      if ("scratch" in operand) scratch.push({ value: undefined, from: i, to: i, view: views[j]!, inPlace: false });
      const read = "value" in operand ? living.get(operand.value) : undefined;
      if (read) read.to = Math.max(read.to, i);
    });
    const over = inPlace && living.get(inPlace);
    if (over) over.to = i - 1;
    // The later columns of a product that is split find their value begun.
    if (!living.has(output)) living.set(output, { from: i, to: i, view: views[resultOf(step)]!, inPlace: over !== undefined });
  });
  for (const value of outputs) {
    const read = living.get(value);
    if (read) read.to = steps.length;
  }
  return [...[...living].map(([value, life]) => ({ value, ...life })), ...scratch].sort((a, b) => a.from - b.from);
}
