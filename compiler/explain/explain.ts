import type { Dispatch, Profile } from "../../runtime/plan.js";
import { bytesOf } from "../ir/cost.js";
import type { Graph, Node } from "../ir/graph.js";
import { elements } from "../ir/ops/op.js";
import { passes, runPasses } from "../passes/index.js";
import { isWeightOp } from "../plan/graph-index.js";
import { makePlan, type CompiledPlan } from "../plan/plan.js";
import { defaultLimits } from "../plan/verify.js";
import { resolve } from "../spec/resolve.js";
import { version } from "../version.js";
import { coverage, dispatchNodes } from "./coverage.js";
import { lifetimes } from "./lifetimes.js";
import type { ArenaReport, BlockTotal, CoveredNode, DispatchKind, DispatchReport, GraphReport, KindTotal, LimitReport, PassReport, ProfileReport, Report, TensorReport } from "./report.js";
import { blockOf, stagesOf } from "./stages.js";

/**
 * All that the compiler knows about a spec: geometry, passes and what they did, dispatches with their costs, memory over time, kernels.
 * @throws SpecError if the spec cannot be compiled.
 */
export function explain(input: unknown): Report {
  const spec = resolve(input);
  const compiled = makePlan(spec);
  const { plan, built, lowered, recipe } = compiled;
  const nodes = dispatchNodes(lowered);
  const covers = coverage(built, lowered);
  const profiles = plan.programs.infer.map((profile) => reportProfile(profile, lowered, nodes, covers));
  const launches = profiles.flatMap(({ dispatches }) => dispatches);
  return {
    vitc: version,
    name: plan.name,
    fingerprint: plan.fingerprint,
    spec,
    parameters: built.parameters.reduce((sum, { value }) => sum + elements(value.shape), 0),
    graph: { built: reportGraph(built), lowered: reportGraph(lowered) },
    passes: reportPasses(compiled),
    profiles,
    kernels: compiled.kernels.map((kernel) => {
      const users = launches.filter((dispatch) => dispatch.kernel === kernel.id);
      return { ...kernel, kind: users[0]!.kind, dispatches: users.length };
    }),
    weights: {
      bytes: plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0),
      buffers: plan.weightBuffers,
      tensors: recipe.tensors.map(
        ({ name, buffer, offset, shape, sources, steps }): TensorReport => ({
          name,
          buffer,
          offset,
          bytes: elements(shape) * 4,
          shape,
          sources: sources.map(({ names }) => names[0]!),
          steps: steps.map(({ op }) => op),
        }),
      ),
    },
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

function reportProfile(profile: Profile, lowered: Graph, nodes: readonly Node[], covers: readonly (readonly CoveredNode[])[]): ProfileReport {
  const lives = lifetimes(profile, lowered);
  const producers = new Map(nodes.map((node, i) => [node.output, i]));
  const images = new Set(lowered.inputs.map(({ value }) => value));
  const dispatches = nodes.map((node, index): DispatchReport => {
    const { label, kernel, workgroups, views, flops, bytes } = profile.dispatches[index]!;
    const reads = node.inputs.flatMap((input) => (images.has(input) ? -1 : (producers.get(input) ?? [])));
    const { inPlace, outputs } = lives[index]!;
    return {
      index,
      label,
      kind: kindOf(node),
      block: blockOf(label),
      kernel,
      workgroups,
      views,
      shape: node.output.shape.slice(1),
      flops,
      bytes,
      weightBytes: weightBytes(profile.dispatches[index]!),
      intensity: flops / bytes,
      reads: [...new Set(reads)],
      inPlace,
      covers: covers[index]!,
      outputs,
    };
  });
  return {
    batch: profile.batch,
    dispatches,
    stages: stagesOf(dispatches),
    flops: profile.flops,
    bytes: profile.bytes,
    byKind: totals(dispatches, ({ kind }) => kind).map(([kind, total]): KindTotal => ({ kind, ...total })),
    byBlock: totals(dispatches, blockName(dispatches)).map(([block, total]): BlockTotal => ({ block, ...total })),
    arenas: profile.arenas.map(({ name, bytes }): ArenaReport => {
      const values = lives.filter(({ view }) => view[0] === name).map(({ view, from, to, inPlace, outputs }) => {
        const { label, kind, shape } = dispatches[from]!;
        return { label, kind, shape, offset: view[1], bytes: view[2], from, to, inPlace, outputs };
      });
      return { name, bytes, values };
    }),
  };
}

function kindOf(node: Node): DispatchKind {
  switch (node.op) {
    case "gemm":
      return node.attrs.source.kind === "rows" ? "matmul" : "convolution";
    case "attention":
    case "embed":
      return node.op;
    case "layerNorm":
    case "tokenNorm":
      return "norm";
    case "poolTokens":
    case "token":
      return "pool";
    default:
      return "sum";
  }
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
    ...profiles.flatMap(({ batch, arenas, input }) => [{ by: `input, batch ${batch}`, bytes: input[2] }, ...arenas.map(({ name, bytes }) => ({ by: `${name}, batch ${batch}`, bytes }))]),
  ].map(({ by, bytes }) => ({ by, needed: bytes }));
  const dispatches = profiles.flatMap((profile) => profile.dispatches);
  const bindings = dispatches.flatMap(({ label, views }) => views.map((view) => ({ by: label, needed: view[2] })));
  const kernels = plan.kernels.map(({ id, bindings, workgroupSize }) => ({ by: id, bindings: bindings.length, invocations: elements(workgroupSize) }));
  const rows = [
    ["maxBufferSize", "bytes", buffers],
    ["maxStorageBufferBindingSize", "bytes", bindings],
    ["maxStorageBuffersPerShaderStage", "count", kernels.map(({ by, bindings }) => ({ by, needed: bindings }))],
    ["maxComputeInvocationsPerWorkgroup", "count", kernels.map(({ by, invocations }) => ({ by, needed: invocations }))],
    ["maxComputeWorkgroupsPerDimension", "count", dispatches.map(({ label, workgroups }) => ({ by: label, needed: Math.max(...workgroups) }))],
  ] as const;
  return rows.map(([name, unit, needs]) => {
    const most = needs.reduce((a, b) => (b.needed > a.needed ? b : a));
    return { name, unit, needed: most.needed, guaranteed: defaultLimits[name], by: most.by };
  });
}
