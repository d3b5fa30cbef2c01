/** Definitions of small models, and what loading them needs. */
import { imageColumns, imageRows } from "../../compiler/kernels/image.js";
import { makePlan, type PlanOptions } from "../../compiler/plan/plan.js";
import { selfTests } from "../../compiler/plan/self-test.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import { abi, Model, type LoadOptions, type ModelDefinition, type Platform, type Variant } from "../../runtime/model.js";
import * as node from "../../runtime/node.js";
import type { AnyOutputs } from "./packages.js";

/** A spec as its package would hand it over. */
export function definitionOf(spec: unknown, platform: Partial<Platform> = {}, options: PlanOptions = {}): ModelDefinition {
  const made = resolve(spec).dtype.map((dtype) => makePlan(resolve(spec), { ...options, dtype }));
  const { plan } = made[0]!;
  const arithmetic = plan.preprocess.rescale === "before" ? "floats" : "bytes";
  const [first, ...rest] = made.map(({ plan: own, kernels, recipe }): Variant => ({ plan: own, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe }));
  return {
    abi,
    variants: [first!, ...rest],
    command: "npx vitc compile spec.json",
    platform: () => Promise.resolve({ ...node, tuned: () => Promise.resolve([]), ...platform }),
    selfTests: () => Promise.resolve({ selfTests: made.map(selfTests) }),
    images: () => Promise.resolve({ imageKernels: { rows: imageRows(arithmetic), columns: imageColumns(arithmetic) } }),
  };
}

/** The model with random weights, the same every time, on the software adapter. */
export function loadRandom(definition: ModelDefinition, options: Partial<LoadOptions> = {}): Promise<Model<AnyOutputs, string>> {
  return Model.load<AnyOutputs, string>(definition, { weights: randomWeights(definition.variants[0].recipe, 1).source, adapter: "software", onNotice: () => {}, ...options });
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`${String(error)} was thrown, which is no Error`, { cause: error });
  }
  throw new Error("nothing was thrown");
}
