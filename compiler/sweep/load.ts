/** One variant from its spec to a model that has run once, and the measured part of its row. */
import { Model, abi, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { Plan, WeightRecipe } from "../../runtime/plan.js";
import { readHeader, type WeightsInput, type WeightsSource } from "../../runtime/weights.js";
import { buildGraph } from "../ir/build.js";
import { interpret } from "../ir/interpret.js";
import { randomInput, randomWeights } from "../measure/random-weights.js";
import { inputSize } from "../measure/subject.js";
import { makePlan } from "../plan/plan.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import type { SweepModel } from "./model.js";
import type { SharedDevice } from "./shared-device.js";

export interface LoadVariantOptions {
  readonly shared: SharedDevice;
  /** Default: random. */
  readonly weights?: WeightsInput | undefined;
  /** Whether the first run is held against the f64 interpreter, which takes seconds for each 1e8 multiply-adds. */
  readonly check: boolean;
  readonly onNotice: (notice: string) => void;
  readonly signal: AbortSignal | undefined;
}

/** A variant that is loaded and has run once. */
export interface LoadedVariant {
  readonly model: SweepModel;
  readonly plan: Plan;
  readonly input: Float32Array;
  /** Milliseconds. */
  readonly compile: number;
  readonly pipelines: number;
  readonly first: number;
  /** Largest |output - reference| / (1 + |reference|); undefined where it was not checked. */
  readonly error: number | undefined;
}

const weightsSeed = 1;

/** @throws what compiling, loading and running throw. */
export async function loadVariant(spec: ResolvedSpec, { shared, weights, check, onNotice, signal }: LoadVariantOptions): Promise<LoadedVariant> {
  const began = performance.now();
  const { plan, kernels, recipe } = makePlan(spec);
  const compiled = performance.now();
  const definition: ModelDefinition = { abi, variants: [{ plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe }], command: `npx vitc compile SPEC`, platform: () => Promise.resolve(platform) };
  const random = weights === undefined ? randomWeights(recipe, weightsSeed).source : undefined;
  const reached = { device: 0, pipelines: 0, weights: 0 };
  const model: SweepModel = await Model.load(definition, {
    weights: weights ?? random!,
    device: shared.view(plan.dtype),
    dtype: plan.dtype,
    onNotice,
    onProgress: ({ stage, loaded, total }) => {
      if (loaded === total) reached[stage] = performance.now();
    },
    ...(signal && { signal }),
  });
  try {
    const input = randomInput(inputSize(plan, spec.batch[0]!));
    const started = performance.now();
    const outputs = await model.run(input, signal && { signal });
    const first = performance.now() - started;
    const error = check && random ? await errorOf(spec, outputs, { input, recipe, random }) : undefined;
    return { model, plan, input, compile: compiled - began, pipelines: Math.max(0, reached.pipelines - reached.device), first, error };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The largest error of all outputs of one run against the interpreter's, which computes in f64. */
async function errorOf(spec: ResolvedSpec, outputs: Readonly<Record<string, Float32Array>>, { input, recipe, random }: { readonly input: Float32Array; readonly recipe: WeightRecipe; readonly random: WeightsSource }): Promise<number> {
  const graph = buildGraph(spec, { batch: spec.batch[0]! });
  const { tensors } = await readHeader(random);
  const read = new Map<string, { readonly shape: readonly number[]; readonly data: Float64Array }>();
  for (const name of new Set(recipe.tensors.flatMap(({ sources }) => sources.map(({ names }) => names[0]!)))) {
    const { offset, bytes: length, shape } = tensors.get(name)!;
    const bytes = await random.read(offset, length);
    read.set(name, { shape, data: Float64Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)) });
  }
  const reference = interpret(graph, { inputs: { input: { shape: graph.inputs[0]!.value.shape, data: Float64Array.from(input) } }, parameters: (name) => read.get(name)! });
  return Math.max(...[...reference].map(([name, { data }]) => data.reduce((worst, value, i) => Math.max(worst, Math.abs(outputs[name]![i]! - value) / (1 + Math.abs(value))), 0)));
}
