/** What is measured: a generated package, behind the few things that measuring needs of it. */
import type { AdapterInfo } from "../../runtime/device.js";
import type { Plan, Profile } from "../../runtime/plan.js";
import type { WeightsInput } from "../../runtime/weights.js";

/** A generated package, not loaded yet. */
export interface Subject {
  /** As the user named it. */
  readonly name: string;
  readonly plan: Plan;
  load(options: SubjectLoadOptions): Promise<LoadedSubject>;
}

/** The part of a package's load options that is used. */
export interface SubjectLoadOptions {
  readonly weights: WeightsInput;
  readonly adapter: "auto" | "gpu" | "software";
  readonly device?: GPUDevice;
  readonly onProgress: (progress: { readonly stage: "device" | "pipelines" | "weights"; readonly loaded: number; readonly total: number }) => void;
  readonly onNotice: (notice: string) => void;
  readonly signal: AbortSignal;
}

/** A loaded model. */
export interface LoadedSubject {
  readonly adapter: AdapterInfo;
  /** Bytes of GPU memory that it holds. */
  readonly gpuBytes: number;
  run(input: Float32Array, options: { readonly signal: AbortSignal }): Promise<unknown>;
  dispose(): void;
}

/** Bytes of GPU memory that the plan asks for: weights, the input, arenas that all batch sizes share, and the buffer that is read back. */
export function plannedBytes({ weightBuffers, programs }: Plan): number {
  const shared = new Map<string, number>();
  const atLeast = (name: string, bytes: number) => shared.set(name, Math.max(bytes, shared.get(name) ?? 0));
  for (const { input, arenas, outputs } of programs.infer) {
    atLeast("input", input[2]);
    for (const { name, bytes } of arenas) atLeast(name, bytes);
    atLeast("readback", outputs.reduce((sum, { view }) => sum + Math.ceil(view[2] / 8) * 8, 0));
  }
  return [...weightBuffers, ...shared.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The profile compiled for exactly this batch size, if there is one. */
export const profileOf = (plan: Plan, batch: number): Profile | undefined => plan.programs.infer.find((profile) => profile.batch === batch);

/** Values of an image times the images of a batch. */
export const inputSize = (plan: Plan, batch: number): number => plan.input.shape.reduce((product, n) => product * n, batch);
