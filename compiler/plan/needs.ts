import type { Needs, Plan, WeightRecipe } from "../../runtime/plan.js";
import { bytesPer } from "./precision.js";

/** What a plan needs of a device and downloads, as the runtime will find it. */
export function needsOf(plan: Plan, recipe: WeightRecipe): Needs {
  const packed = sum(plan.weightBuffers);
  return {
    features: featuresOf(plan),
    limits: plan.limits,
    gpuBytes: packed + activationBytes(plan),
    downloadBytes: { packed, safetensors: parametersOf(recipe) * bytesPer(plan.dtype) },
  };
}

/** Numbers in the weight file that the recipe reads. */
export function parametersOf({ tensors }: Pick<WeightRecipe, "tensors">): number {
  const sizes = new Map(tensors.flatMap(({ sources }) => sources.map(({ names, shape }) => [names[0]!, shape.reduce((product, n) => product * n, 1)] as const)));
  return sum([...sizes.values()]);
}

/** Features that every way to do some routine needs. */
function featuresOf({ kernels, routines }: Plan): readonly string[] {
  const features = new Map(kernels.map(({ id, features: own = [] }) => [id, own]));
  const needed = routines.flatMap(({ choices }) => {
    const [first = [], ...others] = choices.map(({ launches }) => launches.flatMap(({ kernel }) => features.get(kernel) ?? []));
    return first.filter((feature) => others.every((own) => own.includes(feature)));
  });
  return [...new Set(needed)];
}

/** Profiles share buffers by name: each is as large as the largest profile needs it. */
function activationBytes({ programs: { infer } }: Plan): number {
  const sizes = new Map<string, number>();
  for (const { input, arenas, readbackBytes } of infer) {
    for (const [name, bytes] of [["input", input[2]], ["readback", readbackBytes], ...arenas.map((arena) => [arena.name, arena.bytes] as const)] as const) sizes.set(name, Math.max(bytes, sizes.get(name) ?? 0));
  }
  return sum([...sizes.values()]);
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
