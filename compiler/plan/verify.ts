import type { Dispatch, Kernel, Launch, Plan, Profile, View, WeightRecipe } from "../../runtime/plan.js";
import type { Named, Value } from "../ir/graph.js";
import { elements, IrError } from "../ir/ops/op.js";
import type { Step } from "./lower.js";
import { bytesOfValue, bytesPer, type Storage } from "./precision.js";

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

/** Checks a plan against the rules of WebGPU, from its data alone: every way to run every dispatch. */
export function verifyPlan(plan: Plan, recipe: WeightRecipe): void {
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  const routines = new Map(plan.routines.map((routine) => [routine.id, routine]));
  for (const { id, bindings, workgroupSize } of plan.kernels) {
    if (bindings.length > defaultLimits.maxStorageBuffersPerShaderStage) fail(`${id} binds ${bindings.length} buffers`);
    if (elements(workgroupSize) > defaultLimits.maxComputeInvocationsPerWorkgroup) fail(`${id} has ${elements(workgroupSize)} invocations a workgroup`);
  }
  for (const { name, buffer, offset, shape, dtype } of recipe.tensors) {
    if (offset % 256 !== 0 || offset + elements(shape) * bytesPer(dtype) > (plan.weightBuffers[buffer] ?? 0)) fail(`weight ${name} does not fit its buffer`);
  }
  for (const profile of plan.programs.infer) {
    const sizes = new Map<string, number>([["input", profile.input[2]], ...profile.arenas.map((arena) => [arena.name, arena.bytes] as const), ...plan.weightBuffers.map((bytes, i) => [`weights.${i}`, bytes] as const)]);
    for (const dispatch of profile.dispatches) {
      const { label, views } = dispatch;
      views.forEach(([buffer, offset, bytes]) => {
        const size = sizes.get(buffer) ?? fail(`${label}: no buffer ${buffer}`);
        if (offset % 256 !== 0 || bytes % 4 !== 0 || bytes <= 0 || offset + bytes > size) fail(`${label}: view ${offset} + ${bytes} of ${buffer} (${size} bytes)`);
      });
      const { choices } = routines.get(dispatch.routine) ?? fail(`${label}: no routine ${dispatch.routine}`);
      const [first] = choices;
      if (!first) return fail(`${label}: ${dispatch.routine} has no choices`);
      // Whatever a device lacks, this one runs there, if the plan does.
      const beyond = first.launches.map((launch) => kernels.get(launch.kernel)).find((kernel) => kernel !== undefined && (kernel.subgroupSize !== undefined || kernel.matrix !== undefined || (kernel.features ?? []).some((feature) => plan.dtype !== "f16" || feature !== "shader-f16")));
      if (beyond) fail(`${label}: ${beyond.id}, of the choice that runs anywhere, does not`);
      for (const { name, costs } of choices) if (costs.length !== plan.targets.length) fail(`${label}: ${name} has ${costs.length} costs for ${plan.targets.length} targets`);
      for (const { launches } of choices) for (const launch of launches) verifyLaunch(dispatch, launch, kernels);
    }
  }
}

function verifyLaunch({ label, views }: Dispatch, { kernel, workgroups, bind }: Launch, kernels: ReadonlyMap<string, Kernel>): void {
  const { bindings } = kernels.get(kernel) ?? fail(`${label}: no kernel ${kernel}`);
  const bound = bind ? bind.map((i) => views[i] ?? fail(`${label}: no view ${i}`)) : views.slice(0, bindings.length);
  if (bindings.length !== bound.length) fail(`${label}: ${bound.length} views for ${bindings.length} bindings`);
  if (workgroups.some((n) => n < 1 || n > defaultLimits.maxComputeWorkgroupsPerDimension)) fail(`${label}: ${workgroups} workgroups`);
  bound.forEach(([, , bytes], i) => {
    // What lets a plan run without a driver's checks of every access (`robust` of load).
    if (bindings[i]!.bytes > bytes) fail(`${label}: ${kernel} touches ${bindings[i]!.bytes} bytes of ${bindings[i]!.name}, which has ${bytes}`);
  });
  const written = new Set(bound.filter((_, i) => bindings[i]!.access === "read_write").map(([buffer]) => buffer));
  bound.forEach(([buffer], i) => {
    if (bindings[i]!.access === "read" && written.has(buffer)) fail(`${label}: ${kernel} reads and writes ${buffer}`);
  });
}

/** Runs a profile on names instead of numbers: every view that a step reads must still hold the value that the graph means. */
export function verifyProfile(profile: Profile, steps: readonly Step[], outputs: readonly Named[], storage: Storage): void {
  const memory = new Map<string, { offset: number; bytes: number; value: Value | undefined }[]>();
  const holds = (label: string, [buffer, offset, bytes]: readonly [string, number, number], value: Value) => {
    const found = (memory.get(buffer) ?? []).some((held) => held.value === value && held.offset === offset && held.bytes === bytes);
    if (!found || bytes !== bytesOfValue(value, storage)) fail(`${label}: ${buffer} at ${offset} no longer holds %${value.id}`);
  };
  const write = ([buffer, offset, bytes]: View, value: Value | undefined): void => {
    const kept = (memory.get(buffer) ?? []).filter((held) => held.offset + held.bytes <= offset || offset + bytes <= held.offset);
    memory.set(buffer, [...kept, { offset, bytes, value }]);
  };
  const begun = new Set<Value>();
  steps.forEach((step, i) => {
    const { label, views } = profile.dispatches[i]!;
    // Scratch memory is written first, so it must not be where anything lies that is still to be read.
    step.operands.forEach((operand, j) => ("scratch" in operand ? write(views[j]!, undefined) : undefined));
    step.operands.forEach((operand, j) => {
      if ("value" in operand && operand.value !== step.output && views[j]![0] !== "input") holds(label, views[j]!, operand.value);
    });
    const out = views[step.operands.findIndex((operand) => "value" in operand && operand.value === step.output)]!;
    if (step.inPlace) holds(label, out, step.inPlace);
    // The later columns of a product that is split find its earlier ones.
    if (begun.has(step.output)) holds(label, out, step.output);
    begun.add(step.output);
    write(out, step.output);
  });
  outputs.forEach(({ name, value }, i) => holds(`output ${name}`, profile.outputs[i]!.view, value));
}
