import type { WeightSource, WeightStep } from "../../runtime/plan.js";

/** What a tensor is packed from, as in `PackedTensor`. */
interface Recipe {
  readonly sources: readonly WeightSource[];
  readonly steps: readonly WeightStep[];
}

/**
 * A recipe without what it does not read: rows that lie in one of several joined sources are taken from that source alone, so that the others need
 * not be there. The elements that it makes are the same.
 */
export function readOnly(recipe: Recipe): Recipe {
  const { sources } = recipe;
  const steps = recipe.steps.map((step): WeightStep => {
    if (step.op !== "slice" || step.axis !== 0) return step;
    const joined = recipe.steps[step.of - sources.length];
    if (joined?.op !== "concat" || joined.axis !== 0) return step;
    let before = 0;
    for (const of of joined.of) {
      const rows = sources[of]?.shape[0];
      // What is joined of other steps has no shape here.
      if (rows === undefined) return step;
      if (before <= step.start && step.end <= before + rows) return { ...step, of, start: step.start - before, end: step.end - before };
      before += rows;
    }
    return step;
  });
  return withoutUnread({ sources, steps });
}

const operands = (step: WeightStep): readonly number[] => ("of" in step ? [step.of].flat() : []);

/** Leaves out sources and steps that the last register does not come from, and numbers the others anew. */
function withoutUnread({ sources, steps }: Recipe): Recipe {
  const read = new Set([sources.length + steps.length - 1]);
  for (let register = sources.length + steps.length - 1; register >= sources.length; register--) {
    if (read.has(register)) for (const of of operands(steps[register - sources.length]!)) read.add(of);
  }
  if (read.size === sources.length + steps.length) return { sources, steps };
  const place = new Map([...read].sort((a, b) => a - b).map((register, i) => [register, i]));
  const renumbered = (step: WeightStep): WeightStep => {
    if (!("of" in step)) return step;
    const of = Array.isArray(step.of) ? step.of.map((register: number) => place.get(register)!) : place.get(step.of as number)!;
    return { ...step, of } as WeightStep;
  };
  return { sources: sources.filter((_, i) => read.has(i)), steps: steps.filter((_, i) => read.has(sources.length + i)).map(renumbered) };
}
