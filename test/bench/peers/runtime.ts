/** What a runtime of the race is: a module that exports `open`, which runs in a process of its own (child.ts). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ResolvedSpec } from "../../../compiler/spec/resolve.js";
import type { LoadOptions } from "../../../runtime/model.js";
import type { DType } from "../../../runtime/plan.js";

/** One model, its weights and its images, in every form that a runtime takes. Paths are relative to `root`, which pages are served. */
export interface Job {
  readonly root: string;
  /** The folder below `models` has this name. */
  readonly name: string;
  readonly spec: ResolvedSpec;
  /** vitc's package. */
  readonly package: string;
  /** safetensors with timm's names. */
  readonly weights: string;
  /** The folder of models as transformers.js wants it. */
  readonly models: string;
  readonly onnx: string;
  /** f32 values of `shape`: images, channels, height, width. */
  readonly input: string;
  readonly shape: readonly [number, number, number, number];
  readonly adapter: AdapterWish;
  /** What vitc computes in. Peers are given f32. */
  readonly dtype: DType;
  /** What the list of runtimes adds for this one. */
  readonly variant: Variant;
}

/** `software` is the adapter that vitc's own tests use, `auto` whatever the machine has. */
export type AdapterWish = "auto" | "software";

export interface Variant {
  /** How vitc's package is loaded, where that is not how a user gets it. */
  readonly load?: Pick<LoadOptions, "robust">;
  /** Of ONNX Runtime. */
  readonly provider?: "webgpu" | "cpu" | "wasm";
  /** Which opener of page.ts. */
  readonly page?: "vitc" | "onnxruntime" | "transformers";
}

/** The input and output of the ONNX file, named as transformers.js expects them. */
export const inputName = "pixel_values";
export const outputName = "logits";

export interface Ran {
  /** From values in memory to outputs in memory. */
  readonly milliseconds: number;
  readonly output: Float32Array;
}

/** A model that is loaded. Between runs it must leave nothing pending on the GPU: Dawn in Node polls as long as a promise waits. */
export interface Opened {
  readonly version: string;
  /** Where it computes, as far as the runtime tells. */
  readonly adapter: string;
  /** From files to a model that can run, device included; importing the library is left out. */
  readonly loadMilliseconds: number;
  run(): Promise<Ran>;
  close?(): Promise<void> | void;
}

export interface RuntimeModule {
  /** @throws Error saying in a sentence why the runtime cannot run this here. */
  open(job: Job): Promise<Opened>;
}

export async function timed<Result>(work: () => Promise<Result> | Result): Promise<{ readonly milliseconds: number; readonly result: Result }> {
  const began = performance.now();
  const result = await work();
  return { milliseconds: performance.now() - began, result };
}

/** The images of a job. */
export function readInput({ root, input }: Pick<Job, "root" | "input">): Float32Array<ArrayBuffer> {
  const bytes = readFileSync(join(root, input));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
