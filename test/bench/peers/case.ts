/** What is raced: a spec, compiled and exported, with seeded weights and images. All runtimes get the same files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { initialize } from "../../../compiler/checkpoint/init.js";
import { writeSafetensorsFile, type TensorShape } from "../../../compiler/checkpoint/safetensors.js";
import type { OnnxModel } from "../../../compiler/export/model.js";
import { toOnnx } from "../../../compiler/export/onnx.js";
import { writeOnnx } from "../../../compiler/export/write.js";
import { resolve } from "../../../compiler/spec/resolve.js";
import { exportedGraph } from "../../tools/onnxruntime.js";
import { writeCompiled } from "../../tools/packages.js";
import { exampleSpec } from "../../tools/specs.js";
import { randomTensor } from "../../tools/tensors.js";
import { writePage } from "./browser.js";
import { models } from "./options.js";
import { inputName, outputName, type Job } from "./runtime.js";

/** The standard deviation of initial matrices. */
const initialDeviation = 0.02;

export interface CaseOptions extends Pick<Job, "adapter" | "dtype"> {
  /** A short name of `models`. */
  readonly model: string;
  readonly batch: number;
  /** A folder inside the repository. */
  readonly root: string;
}

/** Writes the package, the weights, the ONNX file and the images of a model. */
export async function prepareCase({ model: short, batch, root, adapter, dtype }: CaseOptions): Promise<Omit<Job, "variant">> {
  const name = models[short];
  if (name === undefined) throw new Error(`there is no model ${short}; there are ${Object.keys(models).join(", ")}`);
  const declared = await exampleSpec(name);
  const spec = resolve(declared);
  const job = { root, name, spec, package: "package", weights: "model.safetensors", models: "models", onnx: `models/${name}/onnx/model.onnx`, input: "input.bin", shape: [batch, spec.channels, ...spec.image], adapter, dtype } as const;
  await writeCompiled(join(root, job.package), { ...declared, batch: [batch], dtype: [dtype] });

  const graph = exportedGraph(declared);
  const parameters = graph.parameters.map(({ name, value }) => ({ name, shape: value.shape }));
  const valuesOf = weightsOf(parameters);
  await writeSafetensorsFile(join(root, job.weights), parameters, valuesOf);

  // The layout of a model that transformers.js takes for its own.
  const folder = join(root, job.models, name);
  mkdirSync(join(folder, "onnx"), { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "vit", architectures: ["ViTForImageClassification"] }));
  writeFileSync(join(folder, "preprocessor_config.json"), JSON.stringify({ image_processor_type: "ViTImageProcessor", size: { height: spec.image[0], width: spec.image[1] } }));
  const onnx = written(renamed(toOnnx(graph, { batch })), [batch, spec.geometry.tokens]);
  await writeOnnx(join(root, job.onnx), onnx, async (put) => {
    for (const { name, data } of onnx.initializers) if (!data) await put(name, valuesOf(name));
  });

  writeFileSync(join(root, job.input), Float32Array.from(randomTensor(job.shape, "images").data));
  writePage(root);
  return job;
}

/**
 * Seeded values by name. Initial weights are so small that a block changes little and a wrong one would hardly show in the logits, so
 * matrices are scaled to keep the size of what they multiply.
 */
function weightsOf(parameters: readonly TensorShape[]): (name: string) => Float32Array<ArrayBuffer> {
  const initial = initialize(parameters, { seed: 1, scheme: "notes" });
  const shapes = new Map(parameters.map(({ name, shape }) => [name, shape]));
  return (name) => {
    const [, width, ...rest] = shapes.get(name) ?? [];
    const values = initial(name);
    return width === undefined || rest.length > 0 ? values : values.map((value) => value / (initialDeviation * Math.sqrt(width)));
  };
}

/** The model with the names of input and output that transformers.js expects. */
function renamed(model: OnnxModel): OnnxModel {
  const names = new Map([...model.inputs.map(({ name }) => [name, inputName] as const), ...model.outputs.map(({ name }) => [name, outputName] as const)]);
  const rename = (name: string): string => names.get(name) ?? name;
  const values = (list: OnnxModel["inputs"]): OnnxModel["inputs"] => list.map((value) => ({ ...value, name: rename(value.name) }));
  return { ...model, inputs: values(model.inputs), outputs: values(model.outputs), nodes: model.nodes.map((node) => ({ ...node, inputs: node.inputs.map(rename), output: rename(node.output) })) };
}

/** The model with every size of its reshapes written out: a 0 stands for the size that is there, `sizes` on the first axes, and jax-js refuses it. */
function written(model: OnnxModel, sizes: readonly number[]): OnnxModel {
  const shapes = new Set(model.nodes.filter(({ op }) => op === "Reshape").map(({ inputs }) => inputs[1]));
  const initializers = model.initializers.map((initializer) => {
    const { name, data } = initializer;
    if (!shapes.has(name) || !(data instanceof BigInt64Array)) return initializer;
    return { ...initializer, data: data.map((size, axis) => (size === 0n ? BigInt(sizes[axis] ?? 0) : size)) };
  });
  return { ...model, initializers };
}
