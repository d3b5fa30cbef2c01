import type { Launch, WgslKernel } from "./kernel.js";

/** One way to compute a routine, as the planner sees it. */
export interface Candidate {
  /** The same for routines alike; tuning tables name it. */
  readonly name: string;
  readonly launches: readonly CandidateLaunch[];
  readonly work: Work;
}

/** `bind`: which operands the kernel's bindings are, by default all in order; scratch memory comes behind the output. */
export interface CandidateLaunch {
  readonly kernel: WgslKernel;
  readonly workgroups: readonly [number, number, number];
  readonly bind?: readonly number[];
}

/** How the work of a candidate's main launch is cut up: what a cost model reads. Counts are of one invocation, over the whole launch. */
export interface Work {
  readonly workgroups: number;
  /** Of a workgroup. */
  readonly invocations: number;
  /** vec4 multiply-adds. */
  readonly fmas: number;
  /** vec4 loads from storage, and from workgroup memory. */
  readonly loads: number;
  readonly sharedLoads: number;
  readonly barriers: number;
  /** Values given round in a subgroup. */
  readonly broadcasts: number;
  /** Multiply-adds by matrix units, in the place of `fmas`. */
  readonly matrixFlops?: number;
}

/** A routine that is done in one way only. */
export const single = ({ kernel, workgroups }: Launch): Candidate => ({
  name: "only",
  launches: [{ kernel, workgroups }],
  work: { workgroups: workgroups[0] * workgroups[1] * workgroups[2], invocations: kernel.workgroupSize[0] * kernel.workgroupSize[1] * kernel.workgroupSize[2], fmas: 0, loads: 0, sharedLoads: 0, barriers: 0, broadcasts: 0 },
});
