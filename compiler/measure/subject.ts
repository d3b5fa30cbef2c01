/** What is measured: a generated package, behind the few things that measuring needs of it. */
import type { AdapterInfo } from "../../runtime/device.js";
import type { Chosen } from "../../runtime/choose.js";
import type { DType, Plan, Profile } from "../../runtime/plan.js";
import type { WeightsSource } from "../../runtime/weights.js";

/** A generated package at one of its dtypes, not loaded yet. */
export interface Subject {
  /** As the user named it. */
  readonly name: string;
  /** Of the dtype. */
  readonly plan: Plan;
  load(options: SubjectLoadOptions): Promise<LoadedSubject>;
}

/** Weights for one load. */
export interface SubjectWeights {
  readonly input: WeightsSource;
  /** What making the weights themselves has cost so far, in milliseconds, which is not the package's time. */
  made(): number;
}

/** The part of a package's load options that is used. */
export interface SubjectLoadOptions {
  readonly weights: WeightsSource;
  readonly adapter: "auto" | "gpu" | "software";
  readonly device?: GPUDevice;
  readonly dtype: DType;
  /** Whether the driver checks every index of a kernel. */
  readonly robust?: boolean;
  readonly onProgress: (progress: { readonly stage: "device" | "pipelines" | "weights"; readonly loaded: number; readonly total: number }) => void;
  readonly onNotice: (notice: string) => void;
  readonly signal: AbortSignal;
}

/** A loaded model. */
export interface LoadedSubject {
  readonly adapter: AdapterInfo;
  /** Bytes of GPU memory that it holds. */
  readonly gpuBytes: number;
  /** How each routine of the plan is done, by its id. */
  readonly routines: ReadonlyMap<string, Chosen>;
  /** Outputs by name. */
  run(input: Float32Array, options: { readonly signal: AbortSignal }): Promise<Readonly<Record<string, Float32Array>>>;
  /** Does routines in other ways, by name; see `Model.choose`. */
  choose(choices: Readonly<Record<string, string>>): Promise<void>;
  dispose(): void;
}

/** How many routines of a loaded model are done as they are for which reason. */
export function decided({ routines }: Pick<LoadedSubject, "routines">): Record<Chosen["by"], number> {
  const counts = { only: 0, cost: 0, tuned: 0 };
  for (const { by } of routines.values()) counts[by]++;
  return counts;
}

/** WebGPU features that some choices of a plan need. */
export const featuresOf = ({ kernels }: Plan): readonly string[] => [...new Set(kernels.flatMap(({ features = [] }) => features))];

/** WebGPU features without which some routine of a plan cannot be done at all. */
export function neededFeatures({ kernels, routines }: Plan): readonly string[] {
  const features = new Map(kernels.map(({ id, features: own = [] }) => [id, own]));
  const needed = routines.flatMap(({ choices }) => {
    const [first = [], ...others] = choices.map(({ launches }) => launches.flatMap(({ kernel }) => features.get(kernel) ?? []));
    return first.filter((feature) => others.every((own) => own.includes(feature)));
  });
  return [...new Set(needed)];
}

/** Bytes of GPU memory that the plan asks for: weights, the input, arenas that all batch sizes share, and the buffer that is read back. */
export function plannedBytes({ weightBuffers, programs }: Plan): number {
  const shared = new Map<string, number>();
  const atLeast = (name: string, bytes: number) => shared.set(name, Math.max(bytes, shared.get(name) ?? 0));
  for (const { input, arenas, readbackBytes } of programs.infer) {
    atLeast("input", input[2]);
    for (const { name, bytes } of arenas) atLeast(name, bytes);
    atLeast("readback", readbackBytes);
  }
  return [...weightBuffers, ...shared.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The profile compiled for exactly this batch size, if there is one. */
export const profileOf = (plan: Plan, batch: number): Profile | undefined => plan.programs.infer.find((profile) => profile.batch === batch);

/** Values of an image times the images of a batch. */
export const inputSize = (plan: Plan, batch: number): number => plan.input.shape.reduce((product, n) => product * n, batch);
