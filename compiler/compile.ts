import type { Tuned } from "../runtime/plan.js";
import { emit, type EmitOptions, type PackageFiles } from "./emit/emit.js";
import { makePlan, type CompiledPlan } from "./plan/plan.js";
import { withSizes } from "./spec/image.js";
import { parseSpec } from "./spec/parse.js";
import { resolve, type ResolvedSpec } from "./spec/resolve.js";

/** How to compile; `batch`, `dtype`, `image` and `patch` are compiled for instead of the spec's. */
export interface CompileOptions extends EmitOptions {
  /** Measured choices to ship, as `vitc tune` writes them. */
  readonly tuned?: readonly Tuned[] | undefined;
}

/** A compiled package: its files, and everything that was known on the way, of its first dtype and of all. */
export interface Package extends CompiledPlan {
  readonly spec: ResolvedSpec;
  /** One for each dtype of the spec, in its order. */
  readonly variants: readonly [CompiledPlan, ...CompiledPlan[]];
  readonly files: PackageFiles;
}

/**
 * Compiles a spec to a package, in memory.
 *
 *   spec -> resolved spec       defaults, geometry, rules        spec/
 *        -> graph -> passes     the model, then its fusions      ir/, passes/
 *        -> kernels -> plan     WGSL, memory, weight recipe      kernels/, target/, plan/
 *        -> files               TypeScript, JavaScript, types    emit/
 *
 * @throws SpecError if the spec cannot be compiled.
 */
export async function compile(input: unknown, options: CompileOptions = {}): Promise<Package> {
  const spec = resolve(overridden(input, options));
  const variants = planVariants(spec, options.tuned);
  const files = await emit(spec, variants, options);
  return { spec, ...variants[0], variants, files };
}

/** A plan for each dtype of the spec. */
export function planVariants(spec: ResolvedSpec, tuned?: readonly Tuned[]): readonly [CompiledPlan, ...CompiledPlan[]] {
  const [first, ...rest] = spec.dtype.map((dtype) => makePlan(spec, { dtype, tuned }));
  return [first!, ...rest];
}

function overridden(input: unknown, { batch, dtype, image, patch }: CompileOptions): unknown {
  if (typeof input !== "object" || input === null) return input;
  return { ...(image === undefined && patch === undefined ? input : withSizes(parseSpec(input), { image, patch })), ...(batch !== undefined && { batch }), ...(dtype !== undefined && { dtype }) };
}
