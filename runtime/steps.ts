/** The registers that the steps of a recipe read. */

import type { WeightStep } from "./plan.js";

/** Which registers a step reads. */
export const operands = (step: WeightStep): readonly number[] => ("of" in step ? [step.of].flat() : []);

/** A step that reads other registers. */
export function renumbered(step: WeightStep, register: (of: number) => number): WeightStep {
  if (!("of" in step)) return step;
  const of = typeof step.of === "number" ? register(step.of) : step.of.map(register);
  // As many registers as before, which is all that the op's type asks.
  return { ...step, of } as WeightStep;
}
