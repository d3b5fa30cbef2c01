import { readFileSync } from "node:fs";
import { namingsOf } from "../../compiler/families/namings.js";
import { buildGraph } from "../../compiler/ir/build.js";
import type { Graph } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import type { ResolvedSpec } from "../../compiler/spec/resolve.js";
import type { WeightRecipe } from "../../runtime/plan.js";
import { fromBytes, loadWeights, type CheckOptions } from "../../runtime/weights.js";

/** A recipe that reads every parameter of a graph as it is, from whatever files its spec can be loaded from. */
export function plainRecipe(spec: ResolvedSpec, graph: Graph): WeightRecipe {
  return {
    tensors: graph.parameters.map(({ name, value: { shape } }, buffer) => ({ name, buffer, offset: 0, dtype: "f32", shape, sources: [{ names: [name], shape }], steps: [] })),
    ...namingsOf(spec, graph.parameters.map(({ name }) => name)),
  };
}

export interface Filled {
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Tensors of the file that were of no use. */
  readonly ignored: readonly string[];
}

/** The parameters of a graph from a weight file, by the names that the file has. */
export async function fill(spec: ResolvedSpec, graph: Graph, bytes: Uint8Array, options: CheckOptions = {}): Promise<Filled> {
  const parameters = new Map<string, Tensor>();
  const { ignored } = await loadWeights(plainRecipe(spec, graph), fromBytes(bytes), {
    ...options,
    upload(buffer, _offset, values) {
      const { name, value } = graph.parameters[buffer]!;
      parameters.set(name, { shape: value.shape, data: Float64Array.from(values) });
    },
  });
  return { parameters, ignored };
}

/** What a model makes of an input in f64 with the weights of a file, and the tensors of the file that it did not need. */
export async function runFile(spec: ResolvedSpec, path: string, input: Tensor): Promise<{ readonly outputs: ReadonlyMap<string, Tensor>; readonly ignored: readonly string[] }> {
  const graph = buildGraph(spec, { batch: input.shape[0]! });
  const { parameters, ignored } = await fill(spec, graph, readFileSync(path));
  return { outputs: interpret(graph, { inputs: { input }, parameters: (name) => parameters.get(name)! }), ignored };
}
