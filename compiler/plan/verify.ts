import type { Choice, Dispatch, Kernel, Launch, Plan, Profile, View, WeightRecipe } from "../../runtime/plan.js";
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
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65535,
} as const;

/** Along x, y and z. */
const workgroupSizes = [defaultLimits.maxComputeWorkgroupSizeX, defaultLimits.maxComputeWorkgroupSizeY, defaultLimits.maxComputeWorkgroupSizeZ] as const;

const fail = (message: string): never => {
  throw new IrError(message);
};

/**
 * Checks a plan against the rules of WebGPU, from its data alone: every way to run every dispatch. Workgroup memory is no data of a plan;
 * `assemble` makes no kernel that takes too much of it.
 * @throws IrError saying which kernel, weight or dispatch breaks which rule.
 */
export function verifyPlan(plan: Plan, recipe: WeightRecipe): void {
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  const routines = new Map(plan.routines.map((routine) => [routine.id, routine]));
  for (const { id, bindings, workgroupSize } of plan.kernels) {
    if (bindings.length > defaultLimits.maxStorageBuffersPerShaderStage) fail(`${id} binds ${bindings.length} buffers`);
    workgroupSize.forEach((size, axis) => {
      if (size < 1 || size > workgroupSizes[axis]!) fail(`${id} has ${size} invocations of a workgroup along ${"xyz"[axis]}; WebGPU takes 1 to ${workgroupSizes[axis]}`);
    });
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

/**
 * Runs a profile on names instead of numbers: every view that a step reads must still hold the value that the graph means, and within the
 * step every way to do it must hand memory on as it should, see `verifyWays`. `plan` has passed `verifyPlan`.
 * @throws IrError saying which step reads, writes or leaves what it must not.
 */
export function verifyProfile(plan: Pick<Plan, "kernels" | "routines">, profile: Profile, steps: readonly Step[], outputs: readonly Named[], storage: Storage): void {
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  const routines = new Map(plan.routines.map((routine) => [routine.id, routine]));
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
  // Equal blocks have equal steps, which are checked once.
  const sound = new Set<string>();
  steps.forEach((step, i) => {
    const { label, views, routine } = profile.dispatches[i]!;
    const roles = step.operands.map((operand): Role => ("scratch" in operand ? "scratch" : !("value" in operand) || operand.value !== step.output ? "input" : step.inPlace || begun.has(step.output) ? "output begun" : "output"));
    const kind = [routine, ...roles].join(" ");
    if (!sound.has(kind)) verifyWays(label, roles, (routines.get(routine) ?? fail(`${label}: no routine ${routine}`)).choices, kernels);
    sound.add(kind);
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

/** What an operand is to a step: read; its output, of which it may find something there already; or scratch memory. */
type Role = "input" | "output" | "output begun" | "scratch";

/**
 * Checks how the launches of every way to do a step hand memory on: they write the output and scratch memory alone, read neither before it
 * holds something, and the last one writes the output. `roles` are those of the step's operands.
 */
function verifyWays(label: string, roles: readonly Role[], choices: readonly Choice[], kernels: ReadonlyMap<string, Kernel>): void {
  const nameOf = (at: number): string => (roles[at] === "scratch" ? "scratch memory" : roles[at]?.startsWith("output") ? "the output" : `operand ${at}`);
  const used = new Set<number>();
  for (const { name, launches } of choices) {
    const holding = new Set(roles.flatMap((role, at) => (role === "input" || role === "output begun" ? [at] : [])));
    let written: readonly number[] = [];
    for (const { kernel, bind } of launches) {
      const { bindings } = kernels.get(kernel) ?? fail(`${label}: no kernel ${kernel}`);
      const bound = bindings.map((binding, i) => ({ ...binding, at: (bind ? bind[i] : i) ?? fail(`${label}: no view for ${binding.name} of ${kernel}`) }));
      for (const { name: binding, access, at } of bound) {
        used.add(at);
        if (access === "read" && !holding.has(at)) fail(`${label}: in ${name}, ${kernel} reads ${nameOf(at)} as ${binding}, which no launch before it writes`);
        if (access === "read_write" && (roles[at] ?? "input") === "input") fail(`${label}: in ${name}, ${kernel} writes ${nameOf(at)} as ${binding}, and may write the output and scratch memory alone`);
      }
      // For launches behind this one: a launch finds nothing that it writes itself.
      written = bound.flatMap(({ access, at }) => (access === "read_write" ? [at] : []));
      for (const at of written) holding.add(at);
    }
    if (!written.some((at) => roles[at] !== "scratch")) fail(`${label}: the last launch of ${name} does not write the output`);
  }
  if (roles.some((role, at) => role === "scratch" && !used.has(at))) fail(`${label}: scratch memory is placed that no choice binds`);
}
