import type { Dispatch, DType, Plan, Profile } from "../../runtime/plan.js";
import { bytesOf } from "../ir/cost.js";
import type { Graph, Node, Value } from "../ir/graph.js";
import { elements } from "../ir/ops/op.js";
import { passes, runPasses } from "../passes/index.js";
import { needsOf } from "../plan/needs.js";
import { isWeightOp } from "../plan/graph-index.js";
import type { Step } from "../plan/lower.js";
import { makePlan, type CompiledPlan } from "../plan/plan.js";
import { bytesPer } from "../plan/precision.js";
import { defaultLimits } from "../plan/verify.js";
import { resolve } from "../spec/resolve.js";
import { version } from "../version.js";
import { coverage, dispatchNodes } from "./coverage.js";
import { kindOf } from "./kinds.js";
import { lifetimes, resultOf } from "./lifetimes.js";
import type { ArenaReport, BlockTotal, CoveredNode, DispatchReport, GraphReport, KindTotal, LimitReport, PassReport, ProfileReport, Report, TensorReport } from "./report.js";
import { expectedCosts, reportKernels, reportRoutines } from "./routines.js";
import { blockOf, stagesOf } from "./stages.js";

/**
 * All that the compiler knows about a spec: geometry, passes and what they did, dispatches with their costs, the ways to do each, memory
 * over time, kernels.
 * @param options.dtype one of the spec's; default: its first.
 * @throws SpecError if the spec cannot be compiled.
 */
export function explain(input: unknown, options: { readonly dtype?: DType | undefined } = {}): Report {
  const spec = resolve(input);
  const compiled = makePlan(spec, options);
  const { plan, built, lowered, recipe, steps } = compiled;
  const shared: Shared = { plan, lowered, covers: coverage(built, lowered) };
  const routines = reportRoutines(compiled);
  return {
    vitc: version,
    name: plan.name,
    fingerprint: plan.fingerprint,
    dtype: plan.dtype,
    targets: plan.targets,
    spec,
    parameters: built.parameters.reduce((sum, { value }) => sum + elements(value.shape), 0),
    graph: { built: reportGraph(built), lowered: reportGraph(lowered) },
    passes: reportPasses(compiled),
    profiles: plan.programs.infer.map((profile, i) => reportProfile(profile, steps[i]!, shared)),
    routines,
    kernels: reportKernels(compiled, routines),
    weights: {
      bytes: plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0),
      buffers: plan.weightBuffers,
      tensors: recipe.tensors.map(
        ({ name, buffer, offset, dtype, shape, sources, steps }): TensorReport => ({
          name,
          buffer,
          offset,
          bytes: elements(shape) * bytesPer(dtype),
          dtype,
          shape,
          sources: sources.map(({ names }) => names[0]!),
          steps: steps.map(({ op }) => op),
        }),
      ),
    },
    needs: needsOf(plan, recipe),
    limits: reportLimits(compiled),
  };
}

function reportGraph(graph: Graph): GraphReport {
  const ops: Record<string, number> = {};
  for (const { op } of graph.nodes) ops[op] = (ops[op] ?? 0) + 1;
  const moved = graph.nodes.filter((node) => !isWeightOp(node));
  return { nodes: graph.nodes.length, ops, bytes: moved.reduce((sum, node) => sum + bytesOf(node), 0) };
}

function reportPasses({ built, events }: CompiledPlan): readonly PassReport[] {
  const sizes = [built.nodes.length];
  runPasses(built, passes, (_, graph) => sizes.push(graph.nodes.length));
  return passes.map(({ name, why }, i) => {
    const own = events.filter((event) => event.pass === name).map(({ node, fired, reason }) => ({ node, fired, reason }));
    const fired = own.filter((event) => event.fired).length;
    return { name, why, nodesBefore: sizes[i]!, nodesAfter: sizes[i + 1]!, fired, declined: own.length - fired, events: own };
  });
}

/** What the profiles of a plan have in common: the graph is that of the first, and the others' differ in the batch alone. */
interface Shared {
  readonly plan: Plan;
  readonly lowered: Graph;
  /** By the nodes that become dispatches, in order. */
  readonly covers: readonly (readonly CoveredNode[])[];
}

function reportProfile(profile: Profile, steps: readonly Step[], { plan, lowered, covers }: Shared): ProfileReport {
  // A product that is split by columns makes several steps of one node, so nodes are counted as they come.
  const nodes = [...new Set(steps.map(({ node }) => node))];
  const position = new Map(nodes.map((node, i) => [node, i]));
  const outputs = outputNames(lowered, nodes);
  const writers = new Map<Value, number[]>();
  steps.forEach(({ output }, i) => writers.set(output, [...(writers.get(output) ?? []), i]));
  const images = new Set(steps.flatMap(({ operands }, i) => operands.flatMap((operand, j) => ("value" in operand && profile.dispatches[i]!.views[j]![0] === "input" ? operand.value : []))));
  const dispatches = steps.map((step, index): DispatchReport => {
    const { node, inPlace } = step;
    const dispatch = profile.dispatches[index]!;
    const { label, routine, views, flops, bytes } = dispatch;
    const reads = node.inputs.flatMap((input) => (images.has(input) ? [-1] : (writers.get(input) ?? [])));
    return {
      index,
      label,
      kind: kindOf(node),
      block: blockOf(label),
      routine,
      views,
      result: resultOf(step),
      shape: step.output.shape.slice(1),
      flops,
      bytes,
      weightBytes: weightBytes(dispatch),
      intensity: flops / bytes,
      reads: [...new Set(reads)],
      inPlace: inPlace !== undefined,
      covers: covers[position.get(node)!]!,
      outputs: outputs.get(step.output) ?? [],
    };
  });
  const lives = lifetimes(profile, steps, new Set(outputs.keys()));
  return {
    batch: profile.batch,
    dispatches,
    stages: stagesOf(dispatches),
    flops: profile.flops,
    bytes: profile.bytes,
    expected: expectedCosts(plan, profile),
    byKind: totals(dispatches, ({ kind }) => kind).map(([kind, total]): KindTotal => ({ kind, ...total })),
    byBlock: totals(dispatches, blockName(dispatches)).map(([block, total]): BlockTotal => ({ block, ...total })),
    arenas: profile.arenas.map(({ name, bytes }): ArenaReport => {
      const values = lives.filter(({ view }) => view[0] === name).map(({ value, view, from, to, inPlace }) => {
        const { label, kind, shape } = dispatches[from]!;
        return { label, kind, shape: value ? shape : [view[2] / 4], offset: view[1], bytes: view[2], from, to, inPlace, scratch: value === undefined, outputs: (value && outputs.get(value)) ?? [] };
      });
      return { name, bytes, values };
    }),
  };
}

/** The names of a model's outputs by the values of one of its profiles, whose nodes are those of the first in the same order. */
function outputNames(lowered: Graph, nodes: readonly Node[]): ReadonlyMap<Value, readonly string[]> {
  const names = new Map<Value, readonly string[]>();
  const producers = dispatchNodes(lowered).map(({ output }) => output);
  for (const { name, value } of lowered.outputs) {
    const own = nodes[producers.indexOf(value)]!.output;
    names.set(own, [...(names.get(own) ?? []), name]);
  }
  return names;
}

const weightBytes = ({ views }: Dispatch): number => views.filter(([buffer]) => buffer.startsWith("weights.")).reduce((sum, view) => sum + view[2], 0);

function blockName(dispatches: readonly DispatchReport[]): (dispatch: DispatchReport) => string {
  const first = dispatches.findIndex(({ block }) => block !== null);
  return ({ block, index }) => (block !== null ? `blocks.${block}` : index < first ? "embedding" : "head");
}

function totals<Key extends string>(dispatches: readonly DispatchReport[], key: (dispatch: DispatchReport) => Key): readonly (readonly [Key, { dispatches: number; flops: number; bytes: number }])[] {
  const sums = new Map<Key, { dispatches: number; flops: number; bytes: number }>();
  for (const dispatch of dispatches) {
    const sum = sums.get(key(dispatch)) ?? { dispatches: 0, flops: 0, bytes: 0 };
    sums.set(key(dispatch), { dispatches: sum.dispatches + 1, flops: sum.flops + dispatch.flops, bytes: sum.bytes + dispatch.bytes });
  }
  return [...sums];
}

/** What the plan asks of a device, beside what every device grants. */
function reportLimits({ plan }: CompiledPlan): readonly LimitReport[] {
  const profiles = plan.programs.infer;
  const buffers = [
    ...plan.weightBuffers.map((bytes, i) => ({ by: `weights.${i}`, bytes })),
    ...profiles.flatMap(({ batch, arenas, input, readbackBytes }) => [{ by: `input, batch ${batch}`, bytes: input[2] }, { by: `outputs, batch ${batch}`, bytes: readbackBytes }, ...arenas.map(({ name, bytes }) => ({ by: `${name}, batch ${batch}`, bytes }))]),
  ].map(({ by, bytes }) => ({ by, needed: bytes }));
  const dispatches = profiles.flatMap((profile) => profile.dispatches);
  const bindings = dispatches.flatMap(({ label, views }) => views.map((view) => ({ by: label, needed: view[2] })));
  const kernels = plan.kernels.map(({ id, bindings, workgroupSize }) => ({ by: id, bindings: bindings.length, invocations: elements(workgroupSize) }));
  const launches = plan.routines.flatMap(({ choices }) => choices.flatMap((choice) => choice.launches));
  const rows = [
    ["maxBufferSize", "bytes", buffers],
    ["maxStorageBufferBindingSize", "bytes", bindings],
    ["maxStorageBuffersPerShaderStage", "count", kernels.map(({ by, bindings }) => ({ by, needed: bindings }))],
    ["maxComputeInvocationsPerWorkgroup", "count", kernels.map(({ by, invocations }) => ({ by, needed: invocations }))],
    ["maxComputeWorkgroupsPerDimension", "count", launches.map(({ kernel, workgroups }) => ({ by: kernel, needed: Math.max(...workgroups) }))],
  ] as const;
  return rows.map(([name, unit, needs]) => {
    const most = needs.reduce((a, b) => (b.needed > a.needed ? b : a));
    return { name, unit, needed: most.needed, guaranteed: defaultLimits[name], by: most.by };
  });
}
