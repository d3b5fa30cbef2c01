import type { Launch, WgslKernel } from "./kernel.js";

/** One way to compute a routine, as the planner sees it. */
export interface Candidate {
  /** The same for routines alike; tuning tables name it. */
  readonly name: string;
  readonly work: Work;
  /** How many launches there are. */
  readonly count: number;
  readonly needs: Needs;
  /** Written when they are first asked for: most candidates are only ranked. */
  readonly launches: readonly CandidateLaunch[];
}

/** What an adapter must have for a candidate, beyond features. */
export interface Needs {
  /** Invocations of a subgroup, exactly. */
  readonly subgroupSize?: number;
  /** Matrix units of this shape. */
  readonly matrices?: string;
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

/** A candidate of `count` launches, which `make` writes. */
export function candidate(name: string, work: Work, make: () => readonly CandidateLaunch[], { count = 1, needs = {} }: { readonly count?: number; readonly needs?: Needs } = {}): Candidate {
  let written: readonly CandidateLaunch[] | undefined;
  return {
    ...{ name, work, count, needs },
    get launches() {
      return (written ??= make());
    },
  };
}

/** A routine that is done in one way only. */
export function single(launch: Launch): Candidate {
  const { kernel, workgroups } = launch;
  const work = { workgroups: workgroups[0] * workgroups[1] * workgroups[2], invocations: kernel.workgroupSize[0] * kernel.workgroupSize[1] * kernel.workgroupSize[2], fmas: 0, loads: 0, sharedLoads: 0, barriers: 0, broadcasts: 0 };
  return candidate("only", work, () => [launch]);
}
