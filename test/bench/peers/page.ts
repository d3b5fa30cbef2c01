/** Runs in the page, one runtime a page: opens a model by its URLs and runs it when asked. Sent as `/page.js`, its types taken off. */
import type { LoadOptions } from "../../../runtime/model.js";
import type { DType } from "../../../runtime/plan.js";

/** What the page is told; all are paths on its server. */
export interface PageJob {
  readonly kind: "vitc" | "onnxruntime" | "transformers";
  readonly name: string;
  readonly package: string;
  readonly weights: string;
  readonly models: string;
  readonly onnx: string;
  readonly input: string;
  readonly shape: readonly number[];
  readonly adapter: "auto" | "software";
  readonly dtype: DType;
  readonly inputName: string;
  readonly outputName: string;
  /** Of the libraries, by name. */
  readonly libraries: { readonly onnxruntime: string; readonly transformers: string; readonly transformersWasm: string };
}

type Run = () => Promise<ArrayLike<number> | undefined>;

interface OrtTensor {
  readonly data: Float32Array;
}
type OrtTensorClass = new (type: "float32", data: Float32Array, shape: readonly number[]) => OrtTensor;

/** The library first, which is not timed, then a function that loads the model. */
const openers: Readonly<Record<PageJob["kind"], (job: PageJob, input: Float32Array) => Promise<() => Promise<Run>>>> = {
  async vitc(job, input) {
    interface Loaded {
      run(images: Float32Array): Promise<Readonly<Record<string, Float32Array>>>;
    }
    const { load } = (await import(`${job.package}/index.js`)) as { load(options: LoadOptions): Promise<Loaded> };
    return async () => {
      const model = await load({ weights: new URL(job.weights, location.href), adapter: job.adapter, dtype: job.dtype, onNotice: () => {} });
      return async () => (await model.run(input))[job.outputName];
    };
  },

  async onnxruntime(job, input) {
    interface Session {
      run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
    }
    const { Tensor, InferenceSession } = (await import(job.libraries.onnxruntime)) as { readonly Tensor: OrtTensorClass; readonly InferenceSession: { create(url: string, options: object): Promise<Session> } };
    return async () => {
      const session = await InferenceSession.create(job.onnx, { executionProviders: ["webgpu"], graphOptimizationLevel: "all" });
      return async () => (await session.run({ [job.inputName]: new Tensor("float32", input, job.shape) }))[job.outputName]?.data;
    };
  },

  async transformers(job, input) {
    type Model = (inputs: Readonly<Record<string, OrtTensor>>) => Promise<Readonly<Record<string, OrtTensor>>>;
    const { env, Tensor, AutoModelForImageClassification } = (await import(job.libraries.transformers)) as {
      readonly env: Record<string, unknown> & { readonly backends: { readonly onnx: { readonly wasm: Record<string, unknown> } } };
      readonly Tensor: OrtTensorClass;
      readonly AutoModelForImageClassification: { from_pretrained(name: string, options: object): Promise<Model> };
    };
    // Nothing but this server is asked for anything.
    Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: job.models, useBrowserCache: false, useWasmCache: false });
    env.backends.onnx.wasm["wasmPaths"] = job.libraries.transformersWasm;
    return async () => {
      const model = await AutoModelForImageClassification.from_pretrained(job.name, { device: "webgpu", dtype: "fp32" });
      return async () => (await model({ [job.inputName]: new Tensor("float32", input, job.shape) }))[job.outputName]?.data;
    };
  },
};

let run: Run = () => Promise.reject(new Error("run was asked for before open"));

/** Loads the model. Returns the milliseconds it took, without importing the library. */
export async function open(job: PageJob): Promise<number> {
  const input = new Float32Array(await (await fetch(job.input)).arrayBuffer());
  const load = await openers[job.kind](job, input);
  const began = performance.now();
  run = await load();
  return performance.now() - began;
}

/** Runs the model once: its milliseconds and output. */
export async function runOnce(): Promise<{ readonly milliseconds: number; readonly output: number[] }> {
  const began = performance.now();
  const output = await run();
  return { milliseconds: performance.now() - began, output: Array.from(output ?? []) };
}

/** The adapter's most telling name, or nothing when the browser gives none. */
export async function adapterName(): Promise<string | undefined> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return undefined;
  const { description, vendor, architecture, device } = adapter.info;
  return description || [vendor, architecture, device].filter((part) => part !== "").join(" ");
}
