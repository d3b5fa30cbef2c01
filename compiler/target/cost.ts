import type { Candidate, Work } from "../kernels/candidate.js";
import { targets, type Target } from "./targets.js";

/** What a candidate is expected to take on each target, in microseconds. */
export const costsOf = (candidate: Candidate): readonly number[] => targets.map((target) => round(cost(candidate, target)));

/**
 * The busiest core does its workgroups one after the other, or many at once at the same total speed. If that is fewer invocations than it
 * needs to be busy, each still takes as long as it takes: which is why small tiles and split-K win where the output is small.
 */
export function cost({ work, count }: Candidate, target: Target): number {
  const { workgroups } = work;
  const invocations = Math.ceil(work.invocations / target.lanes) * target.lanes;
  const busy = workgroupTime({ ...work, invocations }, target);
  return count * target.launch + Math.max(Math.ceil(workgroups / target.cores) * busy, (busy * target.resident) / invocations);
}

/** Microseconds of a workgroup on a core that is busy. */
function workgroupTime(work: Work, target: Target): number {
  const { invocations, fmas, loads, sharedLoads, broadcasts, barriers, matrixFlops = 0 } = work;
  const arithmetic = (invocations * fmas) / target.fmas + matrixFlops / target.matrix;
  const moved = (invocations * loads) / target.loads + (invocations * sharedLoads) / target.sharedLoads + (invocations * broadcasts) / target.broadcasts;
  // On a CPU loads and arithmetic take turns; a GPU overlaps them.
  const busy = target.resident === 1 ? arithmetic + moved : Math.max(arithmetic, moved);
  return busy + barriers * target.barrier;
}

/** Three significant digits say all that a model knows. */
const round = (value: number): number => Number(value.toPrecision(3));
