import { createHash } from "node:crypto";
import type { Choice, Dispatch, DType, Kernel, Plan, Profile, Routine, TensorSpec, Tuned, View, WeightRecipe } from "../../runtime/plan.js";
import { namingsOf } from "../families/namings.js";
import { buildGraph, classifies, mainOutput } from "../ir/build.js";
import type { Graph } from "../ir/graph.js";
import { elements, f32Bytes, IrError } from "../ir/ops/op.js";
import type { Candidate } from "../kernels/candidate.js";
import type { WgslKernel } from "../kernels/kernel.js";
import { runPasses, type Lowered } from "../passes/index.js";
import type { PassEvent } from "../passes/pass.js";
import { computationOf } from "../spec/computation.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import { costsOf } from "../target/cost.js";
import { targets } from "../target/targets.js";
import { version } from "../version.js";
import { largestBatch } from "./chunks.js";
import { indexGraph } from "./graph-index.js";
import { lower, type Operand, type PlannedRoutine, type Step } from "./lower.js";
import { placeActivations } from "./memory.js";
import { WeightStore } from "./pack.js";
import { assignStorage, bytesPer } from "./precision.js";
import { defaultLimits, verifyPlan, verifyProfile } from "./verify.js";

/** Everything that compiling a spec yields, for one dtype, before it is written out. */
export interface CompiledPlan {
  readonly plan: Plan;
  /** Kernels with their text, in the order of `plan.kernels`. */
  readonly kernels: readonly WgslKernel[];
  readonly recipe: WeightRecipe;
  /** The graph of the first profile, as built and after all passes. */
  readonly built: Graph;
  readonly lowered: Graph;
  /** The graph of each profile after all passes. */
  readonly graphs: readonly Graph[];
  /** The steps of each profile: one a dispatch. */
  readonly steps: readonly (readonly Step[])[];
  /** What each pass did in the first profile. */
  readonly events: readonly PassEvent[];
}

export interface PlanOptions {
  /** Default: the first of the spec's. */
  readonly dtype?: DType | undefined;
  /** Measured choices to ship. Default: none. */
  readonly tuned?: readonly Tuned[] | undefined;
  /** Bytes that one binding may have. Default: what every WebGPU device grants. */
  readonly bindingBytes?: number | undefined;
  /** Leaves out what says nothing of how a plan runs: its fingerprint (then empty), the names of weight files, and the checks, which cost more than the plan. */
  readonly bare?: boolean | undefined;
}

/**
 * Spec -> plan: builds, rewrites, chooses kernels and places memory once for each batch size.
 * @throws SpecError when one image is too large for a binding.
 */
export function makePlan(spec: ResolvedSpec, options: PlanOptions = {}): CompiledPlan {
  const dtype = options.dtype ?? spec.dtype[0]!;
  const bindingBytes = options.bindingBytes ?? defaultLimits.maxStorageBufferBindingSize;
  const shared: Shared = { dtype, bindingBytes, weights: new WeightStore(bindingBytes), kernels: new Map(), routines: new Map() };
  const graphs = new Map<number, Lowered & { readonly built: Graph }>();
  const graphOf = (batch: number) => {
    const known = graphs.get(batch);
    if (known) return known;
    const built = buildGraph(spec, { batch });
    const made = { built, ...runPasses(built) };
    graphs.set(batch, made);
    return made;
  };
  const batches = new Set(spec.batch.map((batch) => largestBatch(batch, graphOf(batch).graph, assignStorage(graphOf(batch).graph, dtype), bindingBytes)));
  const compiled = [...batches].sort((a, b) => a - b).map((batch) => compileProfile(batch, graphOf(batch).graph, shared));
  const { built, graph: lowered, events } = graphOf(Math.min(...batches));
  const infer = compiled.map(({ profile }) => profile);
  const profiles = { graphs: compiled.map(({ graph }) => graph), steps: compiled.map(({ steps }) => steps) };
  const unfingerprinted: Plan = {
    name: spec.name,
    fingerprint: "",
    model: options.bare === true ? "" : hashOf(computationOf(spec)),
    dtype,
    input: { name: "input", shape: [spec.channels, ...spec.image], dtype: "f32" },
    outputs: lowered.outputs.map(({ name, value }): TensorSpec => ({ name, shape: value.shape.slice(1), dtype: "f32" })),
    main: mainOutputOf(spec),
    labels: spec.labels,
    preprocess: spec.preprocess,
    kernels: [...shared.kernels.values()].map(({ code: _, ...kernel }): Kernel => kernel),
    routines: [...shared.routines.values()].map(routineOf),
    targets: targets.map(({ name }) => name),
    tuned: options.tuned ?? [],
    weightBuffers: shared.weights.buffers,
    limits: neededLimits(infer, shared.weights.buffers),
    programs: { infer },
  };
  const recipe: WeightRecipe = { tensors: shared.weights.tensors };
  const kernels = [...shared.kernels.values()];
  if (options.bare === true) return { plan: unfingerprinted, kernels, recipe, built, lowered, ...profiles, events };
  const plan = { ...unfingerprinted, fingerprint: fingerprint(unfingerprinted, kernels, recipe) };
  verifyPlan(plan, recipe);
  for (const { profile, graph, steps, storage } of compiled) verifyProfile(plan, profile, steps, graph.outputs, storage);
  // Whose files a model can be loaded from says nothing about how it runs, so it is no part of the fingerprint.
  const parameters = new Set(recipe.tensors.flatMap(({ sources }) => sources.flatMap(({ names }) => names)));
  return { plan, kernels, recipe: { ...recipe, ...namingsOf(spec, [...parameters]) }, built, lowered, ...profiles, events };
}

function mainOutputOf(spec: ResolvedSpec): Plan["main"] {
  const kind = mainOutput(spec);
  return { name: spec.outputNames[kind] ?? kind, classes: classifies(spec) };
}

/** What the profiles of a plan have in common. */
interface Shared {
  readonly dtype: DType;
  readonly bindingBytes: number;
  readonly weights: WeightStore;
  readonly kernels: Map<string, WgslKernel>;
  readonly routines: Map<string, PlannedRoutine>;
}

function compileProfile(batch: number, graph: Graph, { dtype, bindingBytes, weights, kernels, routines }: Shared) {
  const index = indexGraph(graph);
  const storage = assignStorage(graph, dtype);
  const steps = lower(index, weights, { dtype, storage, bindingBytes });
  for (const { routine } of steps) {
    if (routines.get(routine.id) === routine) continue;
    routines.set(routine.id, routine);
    for (const { kernel } of routine.candidates.flatMap(({ launches }) => launches)) {
      const known = kernels.get(kernel.id);
      if (known && known.code !== kernel.code) throw new IrError(`two kernels are called ${kernel.id}`);
      kernels.set(kernel.id, kernel);
    }
  }
  const memory = placeActivations(steps, new Set(graph.outputs.map((output) => output.value)), storage);
  const input = graph.inputs[0]!;
  const inputView: View = ["input", 0, f32Bytes(input.value.shape)];
  const viewOf = (operand: Operand): View => {
    if ("weight" in operand) return [`weights.${operand.weight.buffer}`, operand.weight.offset, elements(operand.weight.shape) * bytesPer(operand.weight.dtype)];
    if ("value" in operand && operand.value === input.value) return inputView;
    const at = memory.placement(operand);
    if (!at) throw new IrError("value" in operand ? `%${operand.value.id} has no place in memory` : "scratch memory has no place");
    return [at.arena, at.offset, at.bytes];
  };
  const dispatches = steps.map(({ label, routine, operands, flops, bytes }): Dispatch => ({ label, routine: routine.id, views: operands.map(viewOf), flops, bytes }));
  let readbackBytes = 0;
  const outputs = graph.outputs.map(({ name, value }) => {
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
  return { profile, graph, steps, storage };
}

const routineOf = ({ id, candidates }: PlannedRoutine): Routine => ({ id, choices: candidates.map(choiceOf) });

const choiceOf = (candidate: Candidate): Choice => ({
  name: candidate.name,
  launches: candidate.launches.map(({ kernel, workgroups, bind }) => ({ kernel: kernel.id, workgroups, ...(bind && { bind }) })),
  costs: costsOf(candidate),
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

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** Measured tables are no part of it: they say how, not what. */
function fingerprint(plan: Plan, kernels: readonly WgslKernel[], recipe: WeightRecipe): string {
  const hash = createHash("sha256").update(version);
  hash.update(JSON.stringify({ ...plan, tuned: [] })).update(JSON.stringify(recipe));
  for (const kernel of kernels) hash.update(kernel.code);
  return hash.digest("hex").slice(0, 16);
}
