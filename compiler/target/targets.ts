/**
 * The kinds of adapter that plans are ranked for. An adapter says little of itself (no count of cores, no clock), so there are few kinds;
 * `vitc tune` measures where more is to be had.
 */
export interface Target {
  readonly name: string;
  /** Invocations of a subgroup; undefined where it varies between adapters of the kind. */
  readonly subgroupSize: number | undefined;
  /** Workgroups that run at once, in units of a core or streaming multiprocessor. */
  readonly cores: number;
  /** Invocations that go in step: a workgroup takes as long as the next multiple of so many. */
  readonly lanes: number;
  /** Candidates that a package carries for this kind: one to run, and others for `vitc tune` to try where kinds of adapter differ much. */
  readonly carried: number;
  /** Invocations that one core needs in flight to be busy. */
  readonly resident: number;
  /** vec4 multiply-adds, vec4 loads from storage and from workgroup memory that one core does in a microsecond, all its invocations together. */
  readonly fmas: number;
  readonly loads: number;
  readonly sharedLoads: number;
  readonly broadcasts: number;
  /** Microseconds of a barrier for one workgroup, and of a launch. */
  readonly barrier: number;
  readonly launch: number;
  /** Multiply-adds of f16 matrix units of one core in a microsecond. */
  readonly matrix: number;
}

/** In the order of the costs of a choice. `runtime/choose.ts` finds the kind of an adapter by these names. */
export const targets: readonly Target[] = [
  // SwiftShader: every load is a gather, a barrier switches fibres. Fitted to kernels measured on two cores.
  { name: "cpu4", subgroupSize: 4, cores: 2, lanes: 4, carried: 1, resident: 1, fmas: 880, loads: 70, sharedLoads: 40, broadcasts: 290, barrier: 10, launch: 50, matrix: 1 },
  // lavapipe: the same with wider vectors.
  { name: "cpu8", subgroupSize: 8, cores: 2, lanes: 8, carried: 1, resident: 1, fmas: 4200, loads: 250, sharedLoads: 150, broadcasts: 3000, barrier: 5, launch: 20, matrix: 1 },
  // A GPU in a laptop's processor: about 2 TFLOP/s.
  { name: "gpu", subgroupSize: undefined, cores: 12, lanes: 32, carried: 2, resident: 512, fmas: 20_000, loads: 5000, sharedLoads: 10_000, broadcasts: 10_000, barrier: 0.05, launch: 5, matrix: 200_000 },
  // A large discrete GPU: 132 multiprocessors, 67 TFLOP/s.
  { name: "large-gpu", subgroupSize: 32, cores: 132, lanes: 32, carried: 2, resident: 512, fmas: 60_000, loads: 16_000, sharedLoads: 30_000, broadcasts: 20_000, barrier: 0.03, launch: 5, matrix: 1_500_000 },
];
