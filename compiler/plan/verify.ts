import type { Plan, Profile, WeightRecipe } from "../../runtime/plan.js";
import type { Named, Value } from "../ir/graph.js";
import { elements, f32Bytes, IrError } from "../ir/ops/op.js";
import type { Step } from "./lower.js";

/** WebGPU's default limits, which every device grants. */
export const defaultLimits = {
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxBufferSize: 256 * 2 ** 20,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
} as const;

const fail = (message: string): never => {
  throw new IrError(message);
};

/** Checks a plan against the rules of WebGPU, from its data alone. */
export function verifyPlan(plan: Plan, recipe: WeightRecipe): void {
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  for (const { id, bindings, workgroupSize } of plan.kernels) {
    if (bindings.length > defaultLimits.maxStorageBuffersPerShaderStage) fail(`${id} binds ${bindings.length} buffers`);
    if (elements(workgroupSize) > defaultLimits.maxComputeInvocationsPerWorkgroup) fail(`${id} has ${elements(workgroupSize)} invocations a workgroup`);
  }
  for (const { name, buffer, offset, shape } of recipe.tensors) {
    if (offset % 256 !== 0 || offset + f32Bytes(shape) > (plan.weightBuffers[buffer] ?? 0)) fail(`weight ${name} does not fit its buffer`);
  }
  for (const profile of plan.programs.infer) {
    const sizes = new Map<string, number>([["input", profile.input[2]], ...profile.arenas.map((arena) => [arena.name, arena.bytes] as const), ...plan.weightBuffers.map((bytes, i) => [`weights.${i}`, bytes] as const)]);
    for (const { label, kernel, views, workgroups } of profile.dispatches) {
      const { bindings } = kernels.get(kernel) ?? fail(`${label}: no kernel ${kernel}`);
      if (bindings.length !== views.length) fail(`${label}: ${views.length} views for ${bindings.length} bindings`);
      if (workgroups.some((n) => n < 1 || n > defaultLimits.maxComputeWorkgroupsPerDimension)) fail(`${label}: ${workgroups} workgroups`);
      const written = new Set(views.filter((_, i) => bindings[i]!.access === "read_write").map(([buffer]) => buffer));
      views.forEach(([buffer, offset, bytes], i) => {
        const size = sizes.get(buffer) ?? fail(`${label}: no buffer ${buffer}`);
        if (offset % 256 !== 0 || bytes <= 0 || offset + bytes > size) fail(`${label}: view ${offset} + ${bytes} of ${buffer} (${size} bytes)`);
        if (bindings[i]!.access === "read" && written.has(buffer)) fail(`${label}: reads and writes ${buffer}`);
      });
    }
  }
}

/** Runs a profile on names instead of numbers: every view that a step reads must still hold the value that the graph means. */
export function verifyProfile(profile: Profile, steps: readonly Step[], outputs: readonly Named[]): void {
  const memory = new Map<string, { offset: number; bytes: number; value: Value }[]>();
  const holds = (label: string, [buffer, offset, bytes]: readonly [string, number, number], value: Value) => {
    const found = (memory.get(buffer) ?? []).some((held) => held.value === value && held.offset === offset && held.bytes === bytes);
    if (!found) fail(`${label}: ${buffer} at ${offset} no longer holds %${value.id}`);
  };
  steps.forEach((step, i) => {
    const { label, views } = profile.dispatches[i]!;
    step.operands.forEach((operand, j) => {
      if ("value" in operand && operand.value !== step.output && views[j]![0] !== "input") holds(label, views[j]!, operand.value);
    });
    const [buffer, offset, bytes] = views[views.length - 1]!;
    if (step.inPlace) holds(label, [buffer, offset, bytes], step.inPlace);
    const kept = (memory.get(buffer) ?? []).filter((held) => held.offset + held.bytes <= offset || offset + bytes <= held.offset);
    memory.set(buffer, [...kept, { offset, bytes, value: step.output }]);
  });
  outputs.forEach(({ name, value }, i) => holds(`output ${name}`, profile.outputs[i]!.view, value));
}
