/** ONNX Runtime on the CPU, as a second opinion on any spec. It is installed apart: `npm --prefix test/bench ci`. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { toOnnx, type OnnxOptions } from "../../compiler/export/onnx.js";
import type { OnnxModel } from "../../compiler/export/model.js";
import { writeOnnx, type WriteOnnxOptions } from "../../compiler/export/write.js";
import { buildGraph } from "../../compiler/ir/build.js";
import type { Graph } from "../../compiler/ir/graph.js";
import { interpret, type InterpretOptions } from "../../compiler/ir/interpret.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import { inference } from "../../compiler/passes/inference.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { worstError } from "./fixtures.js";
import { randomValues } from "./tensors.js";

/** The part of npm's onnxruntime-node that is used; its own types are there only when it is installed. */
interface OrtTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}
interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}
interface Ort {
  readonly Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(path: string, options: object): Promise<OrtSession> };
}

/** Two implementations in f32 may be this far apart, times 1 + |reference|. */
export const onnxTolerance = 1e-4;
/** The same for models as small as the interpreter takes: they stay below 1e-5, and tanh's approximation of GELU does not. */
export const smallOnnxTolerance = 2e-5;

export interface OnnxRuntime {
  readonly version: string;
  /**
   * Runs a model file. `optimize: false` runs its operators one by one, as they stand in the file.
   * @returns the outputs by name.
   */
  run(path: string, input: Tensor, options?: { readonly optimize?: boolean }): Promise<Map<string, Tensor>>;
}

/** ONNX Runtime, or why it is not here. */
export async function findOnnxRuntime(): Promise<OnnxRuntime | { readonly reason: string }> {
  const require = createRequire(new URL("../bench/package.json", import.meta.url));
  let ort: Ort, version: string;
  try {
    const module = (await import(pathToFileURL(require.resolve("onnxruntime-node")).href)) as Ort & { readonly default?: Ort };
    ort = module.default ?? module;
    version = (require("onnxruntime-node/package.json") as { version: string }).version;
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "MODULE_NOT_FOUND";
    return { reason: missing ? "onnxruntime-node is not installed; npm --prefix test/bench ci installs it" : `onnxruntime-node does not load: ${String(error)}` };
  }
  return {
    version,
    async run(path, input, { optimize = true } = {}) {
      const session = await ort.InferenceSession.create(path, { executionProviders: ["cpu"], graphOptimizationLevel: optimize ? "all" : "disabled", logSeverityLevel: 3, intraOpNumThreads: 2 });
      try {
        const outputs = await session.run({ input: new ort.Tensor("float32", Float32Array.from(input.data), input.shape) });
        return new Map(Object.entries(outputs).map(([name, { data, dims }]) => [name, { shape: dims, data: Float64Array.from(data) }]));
      } finally {
        await session.release();
      }
    },
  };
}

/** The graph that is exported: for one image, behind the pass `inference`. */
export const exportedGraph = (spec: ViTSpec, batch = 1): Graph => inference.run(buildGraph(resolve(spec), { batch }), () => {});

/** Writes a model with the values of an interpreter's run. */
export const writeValues = (path: string, model: OnnxModel, values: InterpretOptions, options?: WriteOnnxOptions): Promise<unknown> =>
  writeOnnx(
    path,
    model,
    async (put) => {
      for (const { name, data } of model.initializers) if (!data) await put(name, Float32Array.from(values.parameters(name).data));
    },
    options,
  );

export interface Comparison extends Pick<OnnxOptions, "batch">, Pick<WriteOnnxOptions, "weights"> {
  /** Images in the run. */
  readonly images: number;
  /** Folder for the file. */
  readonly folder: string;
  /** Changes the model, to see that it is noticed. */
  readonly change?: (model: OnnxModel) => OnnxModel;
}

/**
 * The largest |error| / (1 + |reference|) over all outputs of a spec, ONNX Runtime's against the f64 interpreter's, with and without
 * ONNX Runtime's own rewriting; Infinity for other outputs or shapes.
 */
export async function compareWithInterpreter(runtime: OnnxRuntime, spec: ViTSpec, { images, folder, batch, weights = "auto", change = (model) => model }: Comparison): Promise<number> {
  const model = change(toOnnx(exportedGraph(spec), { batch }));
  const graph = exportedGraph(spec, images);
  const values = randomValues(graph, 1);
  const path = join(folder, "model.onnx");
  await writeValues(path, model, values, { weights });
  const expected = interpret(graph, values);
  let worst = 0;
  for (const optimize of [false, true]) {
    const actual = await runtime.run(path, values.inputs["input"]!, { optimize });
    if ([...actual.keys()].toSorted().join() !== [...expected.keys()].toSorted().join()) return Infinity;
    for (const [name, { shape, data }] of expected) worst = Math.max(worst, actual.get(name)!.shape.join() === shape.join() ? worstError(actual.get(name)!.data, data) : Infinity);
  }
  return worst;
}
