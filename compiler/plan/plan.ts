import { createHash } from "node:crypto";
import type { Dispatch, Kernel, Plan, Profile, TensorSpec, View, WeightRecipe } from "../../runtime/plan.js";
import { buildGraph } from "../ir/build.js";
import type { Graph } from "../ir/graph.js";
import { f32Bytes, IrError } from "../ir/ops/op.js";
import type { WgslKernel } from "../kernels/kernel.js";
import type { PassEvent } from "../passes/pass.js";
import { runPasses } from "../passes/index.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import { version } from "../version.js";
import { indexGraph } from "./graph-index.js";
import { lower, type Operand, type Step } from "./lower.js";
import { placeActivations } from "./memory.js";
import { WeightStore } from "./pack.js";
import { defaultLimits, verifyPlan, verifyProfile } from "./verify.js";

/** Everything that compiling a spec yields before it is written out. */
export interface CompiledPlan {
  readonly plan: Plan;
  /** Kernels with their text, in the order of `plan.kernels`. */
  readonly kernels: readonly WgslKernel[];
  readonly recipe: WeightRecipe;
  /** The graph of the first profile, as built and after all passes. */
  readonly built: Graph;
  readonly lowered: Graph;
  /** What each pass did in the first profile. */
  readonly events: readonly PassEvent[];
}

/** Spec -> plan: builds, rewrites, chooses kernels and places memory once for each batch size. */
export function makePlan(spec: ResolvedSpec): CompiledPlan {
  const weights = new WeightStore();
  const kernels = new Map<string, WgslKernel>();
  const compiled = spec.batch.map((batch) => compileProfile(spec, batch, weights, kernels));
  const { built, lowered, events } = compiled[0]!;
  const infer = compiled.map(({ profile }) => profile);
  const unfingerprinted: Plan = {
    name: spec.name,
    fingerprint: "",
    input: { name: "input", shape: [spec.channels, ...spec.image], dtype: "f32" },
    outputs: lowered.outputs.map(({ name, value }): TensorSpec => ({ name, shape: value.shape.slice(1), dtype: "f32" })),
    labels: spec.labels,
    preprocess: spec.preprocess,
    kernels: [...kernels.values()].map(({ id, bindings, workgroupSize }): Kernel => ({ id, bindings, workgroupSize })),
    weightBuffers: weights.buffers,
    limits: neededLimits(infer, weights.buffers),
    programs: { infer },
  };
  const recipe: WeightRecipe = { tensors: weights.tensors };
  const plan = { ...unfingerprinted, fingerprint: fingerprint(unfingerprinted, [...kernels.values()], recipe) };
  verifyPlan(plan, recipe);
  return { plan, kernels: [...kernels.values()], recipe, built, lowered, events };
}

function compileProfile(spec: ResolvedSpec, batch: number, weights: WeightStore, kernels: Map<string, WgslKernel>) {
  const built = buildGraph(spec, { batch });
  const { graph: lowered, events } = runPasses(built);
  const index = indexGraph(lowered);
  const steps = lower(index, weights);
  for (const { kernel } of steps) {
    const known = kernels.get(kernel.id);
    if (known && known.code !== kernel.code) throw new IrError(`two kernels are called ${kernel.id}`);
    kernels.set(kernel.id, kernel);
  }
  const memory = placeActivations(steps, new Set(lowered.outputs.map((output) => output.value)));
  const input = lowered.inputs[0]!;
  const inputView: View = ["input", 0, f32Bytes(input.value.shape)];
  const viewOf = (operand: Operand): View => {
    if ("weight" in operand) return [`weights.${operand.weight.buffer}`, operand.weight.offset, f32Bytes(operand.weight.shape)];
    if (operand.value === input.value) return inputView;
    const at = memory.placement(operand.value);
    if (!at) throw new IrError(`%${operand.value.id} has no place in memory`);
    return [at.arena, at.offset, at.bytes];
  };
  const dispatches = steps.map((step): Dispatch => dispatchOf(step, viewOf));
  let readbackBytes = 0;
  const outputs = lowered.outputs.map(({ name, value }) => {
    const view = viewOf({ value });
    const readback = readbackBytes;
    readbackBytes += Math.ceil(view[2] / 8) * 8;
    return { name, view, readback };
  });
  const profile: Profile = {
    batch,
    arenas: memory.arenas,
    input: inputView,
    outputs,
    readbackBytes,
    dispatches,
    flops: total(dispatches, "flops"),
    bytes: total(dispatches, "bytes"),
  };
  verifyProfile(profile, steps, lowered.outputs);
  return { profile, built, lowered, events };
}

const dispatchOf = ({ label, kernel, operands, workgroups, flops, bytes }: Step, viewOf: (operand: Operand) => View): Dispatch => ({
  label,
  kernel: kernel.id,
  views: operands.map(viewOf),
  workgroups,
  flops,
  bytes,
});

const total = (dispatches: readonly Dispatch[], field: "flops" | "bytes"): number => dispatches.reduce((sum, dispatch) => sum + dispatch[field], 0);

/** The limits that the plan exceeds, with what it needs. */
function neededLimits(profiles: readonly Profile[], weightBuffers: readonly number[]): Record<string, number> {
  const views = profiles.flatMap((profile) => profile.dispatches.flatMap((dispatch) => dispatch.views.map((view) => view[2])));
  const buffers = [...weightBuffers, ...profiles.flatMap((profile) => [profile.input[2], profile.readbackBytes, ...profile.arenas.map((arena) => arena.bytes)])];
  const needed = { maxStorageBufferBindingSize: largest(views), maxBufferSize: largest(buffers) };
  return Object.fromEntries(Object.entries(needed).filter(([name, value]) => value > defaultLimits[name as keyof typeof needed]));
}

const largest = (values: readonly number[]): number => values.reduce((max, value) => Math.max(max, value), 0);

function fingerprint(plan: Plan, kernels: readonly WgslKernel[], recipe: WeightRecipe): string {
  const hash = createHash("sha256").update(version);
  hash.update(JSON.stringify(plan)).update(JSON.stringify(recipe));
  for (const kernel of kernels) hash.update(kernel.code);
  return hash.digest("hex").slice(0, 16);
}
