/** What a whole run gives with a weight file, for packed weights to carry: in f64 where that takes seconds, else in f32 on an adapter. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { DType, Plan, WeightRecipe } from "../../runtime/plan.js";
import type { Reference } from "../../runtime/packed.js";
import { adapterName } from "../../runtime/device.js";
import { VitcError } from "../../runtime/errors.js";
import { seededValues } from "../../runtime/seeded.js";
import { loadWeights, type WeightsSource } from "../../runtime/weights.js";
import { namingsOf } from "../families/namings.js";
import { buildGraph } from "../ir/build.js";
import { flopsOf } from "../ir/cost.js";
import type { Graph } from "../ir/graph.js";
import { interpret } from "../ir/interpret.js";
import { inference } from "../passes/inference.js";
import { resolve, type ResolvedSpec } from "../spec/resolve.js";
import type { ImportedPackage } from "./run-package.js";

/** The interpreter does about half of this in a second: ViT-Ti, and not ViT-S. */
const interpretedFlops = 3e9;
const samples = 24;
const digits = 7;
const seed = "vitc pack";

interface ReferenceOptions {
  readonly allowExtra: boolean | undefined;
  readonly signal: AbortSignal;
  /** FLOPs of the largest model that is interpreted. */
  readonly interpreted?: number;
}

/** Every parameter as it is, one a buffer: what `run` asks of a weight file, without the layouts of kernels. */
export const plainRecipe = (spec: ResolvedSpec, { parameters }: Graph): WeightRecipe => ({
  ...namingsOf(spec, parameters.map(({ name }) => name)),
  tensors: parameters.map(({ name, value: { shape } }, buffer) => ({ name, buffer, offset: 0, dtype: "f32", shape, sources: [{ names: [name], shape }], steps: [] })),
});

/**
 * The reference of a package and a weight file that fits it.
 * @returns or why there is none
 * @throws the signal's reason when it is aborted
 */
export async function referenceOf(found: ImportedPackage, weights: string, source: WeightsSource, options: ReferenceOptions): Promise<Reference | string> {
  const { plan } = found;
  try {
    const spec = resolve(JSON.parse(await readFile(join(found.folder, "spec.json"), "utf8")));
    const graph = inference.run(buildGraph(spec, { batch: 1 }), () => undefined);
    if (graph.nodes.reduce((sum, node) => sum + flopsOf(node), 0) <= (options.interpreted ?? interpretedFlops)) return sampled(plan, await interpreted(plan, spec, graph, source, options), "f64");
    if (!found.plans.some(({ dtype }) => dtype === "f32")) return "it has no f32, in which an adapter could compute one";
    return await computed(found, weights, options);
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof VitcError) return error.message;
    throw error;
  }
}

const image = ({ input: { shape } }: Plan): Float32Array<ArrayBuffer> => seededValues(seed, [shape.reduce((product, size) => product * size, 1)], "activation");

async function interpreted(plan: Plan, spec: ResolvedSpec, graph: Graph, source: WeightsSource, { allowExtra, signal }: ReferenceOptions): Promise<ArrayLike<number>> {
  const parameters = new Map<string, Float64Array>();
  await loadWeights(plainRecipe(spec, graph), source, { allowExtra, signal, whole: true, upload: (index, _offset, values) => void parameters.set(graph.parameters[index]!.name, Float64Array.from(values)) });
  const [input] = graph.inputs;
  const shapes = new Map(graph.parameters.map(({ name, value }) => [name, value.shape]));
  const outputs = interpret(graph, { inputs: { [input!.name]: { shape: input!.value.shape, data: Float64Array.from(image(plan)) } }, parameters: (name) => ({ shape: shapes.get(name)!, data: parameters.get(name)! }) });
  return outputs.get(plan.main.name)!.data;
}

/** Kernels that are tested first are as good as the interpreter, up to the rounding of f32. */
async function computed(found: ImportedPackage, weights: string, { allowExtra = false, signal }: ReferenceOptions): Promise<Reference> {
  const dtype: DType = "f32";
  using model = await found.load({ weights, dtype, allowExtra, selfTest: true, onNotice: () => undefined, signal });
  const outputs = await model.run(image(found.plan), { signal });
  return sampled(found.plan, outputs[found.plan.main.name]!, `${dtype} on ${adapterName(model.adapter)}`);
}

function sampled({ model, main: { name } }: Plan, values: ArrayLike<number>, by: string): Reference {
  const last = values.length - 1;
  const at = [...new Set(Array.from({ length: samples }, (_, i) => Math.floor((i * last) / (samples - 1))))];
  const scale = Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);
  return { seed, model, output: name, by, scale: Number(scale.toPrecision(4)), at, expected: at.map((i) => Number(values[i]!.toPrecision(digits))) };
}
