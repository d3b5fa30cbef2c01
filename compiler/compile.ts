import { emit, type EmitOptions, type PackageFiles } from "./emit/emit.js";
import { makePlan, type CompiledPlan } from "./plan/plan.js";
import { resolve, type ResolvedSpec } from "./spec/resolve.js";

/** How to compile; `batch` is compiled for instead of the spec's batch sizes. */
export type CompileOptions = EmitOptions;

/** A compiled package: its files, and everything that was known on the way. */
export interface Package extends CompiledPlan {
  readonly spec: ResolvedSpec;
  readonly files: PackageFiles;
}

/**
 * Compiles a spec to a package, in memory.
 *
 *   spec -> resolved spec       defaults, geometry, rules        spec/
 *        -> graph -> passes     the model, then its fusions      ir/, passes/
 *        -> kernels -> plan     WGSL, memory, weight recipe      kernels/, plan/
 *        -> files               TypeScript, JavaScript, types    emit/
 *
 * @throws SpecError if the spec cannot be compiled.
 */
export async function compile(input: unknown, options: CompileOptions = {}): Promise<Package> {
  const spec = resolve(withBatch(input, options.batch));
  const compiled = makePlan(spec);
  const files = await emit(spec, compiled, options);
  return { spec, ...compiled, files };
}

const withBatch = (input: unknown, batch: CompileOptions["batch"]): unknown =>
  batch === undefined || typeof input !== "object" || input === null ? input : { ...input, batch };
