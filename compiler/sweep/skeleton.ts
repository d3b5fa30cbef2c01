/** What a model costs, as a function of its depth: blocks between the first and the last are alike, so three of them stand for all. */
import type { Dispatch, DType, Plan, Profile } from "../../runtime/plan.js";
import { flopsOf } from "../ir/cost.js";
import type { Graph } from "../ir/graph.js";
import { elements } from "../ir/ops/op.js";
import { indexGraph } from "../plan/graph-index.js";
import { lower } from "../plan/lower.js";
import { placeTensor, WeightStore } from "../plan/pack.js";
import { makePlan } from "../plan/plan.js";
import { assignStorage, bytesPer } from "../plan/precision.js";
import { defaultLimits } from "../plan/verify.js";
import type { ResolvedSpec } from "../spec/resolve.js";

/** A first block, one of those between, and a last one, which passes may cut down to what the head reads. */
const leastDepth = 3;
const block = /^blocks\.(\d+)(?=\.|$)/;

const isBetween = (name: string): boolean => block.exec(name)?.[1] === "1";

/** Amounts at the least depth, and what one more block adds. */
interface Growing {
  readonly fixed: number;
  readonly block: number;
}

/** Bytes of packed tensors in the order in which they are placed; `block` are those of the block between. */
interface Tensors {
  readonly before: readonly number[];
  readonly block: readonly number[];
  readonly after: readonly number[];
}

/** A model of any depth from 3 on, or of the one depth that it was made for. */
export interface Skeleton {
  readonly depth: number;
  /** Whether it is right for larger depths. */
  readonly grows: boolean;
  readonly params: Growing;
  /** Multiply-adds of one image: all, and those of attention's two products. */
  readonly macs: Growing;
  readonly attentionMacs: Growing;
  /** Bytes that a run moves, and its dispatches. */
  readonly moved: Growing;
  readonly dispatches: Growing;
  readonly weights: Readonly<Record<DType, Tensors>>;
  /** Bytes of all but the weights. */
  readonly activations: number;
  readonly kernels: number;
  readonly wgslBytes: number;
  /** Of the depth that it was made for. Labels are those of a model; views of weights are not, at another depth. */
  readonly plan: Plan;
}

/** Whether depth adds blocks that are alike, and nothing else: not where one tensor has the angles of all blocks, or a block's tokens are an output. */
const growsBeyond = ({ outputs, rope }: ResolvedSpec): boolean => rope?.kind !== "mixed" && !outputs.some((name) => name.startsWith("blocks."));

/** Plans a model at the least depth that says all of it. @throws SpecError when one image is too large for a binding. */
export function skeletonOf(spec: ResolvedSpec): Skeleton {
  const depth = growsBeyond(spec) ? Math.min(leastDepth, spec.depth) : spec.depth;
  const [dtype, batch] = [spec.dtype[0]!, spec.batch[0]!];
  const { plan, kernels, built, lowered, recipe } = makePlan({ ...spec, depth, dtype: [dtype], batch: [batch] }, { bare: true });
  const [profile] = plan.programs.infer;
  const macs = macsOf(built);
  const images = built.inputs[0]!.value.shape[0]!;
  const parameters = built.parameters.map(({ name, value }) => [name, elements(value.shape)] as const);
  const tensors = (other: DType): Tensors => tensorsOf((other === dtype ? recipe.tensors : packed(lowered, other)).map(({ name, dtype: own, shape }) => [name, elements(shape) * bytesPer(own)]));
  return {
    depth,
    grows: depth === leastDepth && growsBeyond(spec),
    params: growing(parameters),
    macs: growing(macs.map(({ name, count }) => [name, count / images])),
    attentionMacs: growing(macs.filter(({ attention }) => attention).map(({ name, count }) => [name, count / images])),
    moved: growing(profile!.dispatches.map(({ label, bytes }) => [label, bytes])),
    dispatches: growing(profile!.dispatches.map(({ label }) => [label, 1])),
    weights: { f32: tensors("f32"), f16: tensors("f16") },
    activations: profile!.input[2] + profile!.readbackBytes + profile!.arenas.reduce((sum, { bytes }) => sum + bytes, 0),
    kernels: kernels.length,
    // WGSL is ASCII but for comments, of which there are none.
    wgslBytes: kernels.reduce((sum, { code }) => sum + code.length, 0),
    plan,
  };
}

/** The tensors that a plan of another dtype packs. Its kernels are not written. */
function packed(lowered: Graph, dtype: DType): WeightStore["tensors"] {
  const bindingBytes = defaultLimits.maxStorageBufferBindingSize;
  const weights = new WeightStore(bindingBytes);
  lower(indexGraph(lowered), weights, { dtype, storage: assignStorage(lowered, dtype), bindingBytes, keep: () => [] });
  return weights.tensors;
}

/**
 * Multiply-adds of a graph as it was built: those of convolutions, linear layers and products of two activations, which are attention's
 * QK^T and PV. Norms, softmax, activation functions and sums are not counted, as timm's figures do not count them.
 */
export function macsOf(graph: Graph): readonly { readonly name: string; readonly count: number; readonly attention: boolean }[] {
  return graph.nodes.flatMap((node) => (node.op === "linear" || node.op === "matmul" || node.op === "conv2d" ? [{ name: node.name, count: flopsOf(node) / 2, attention: node.op === "matmul" }] : []));
}

function growing(amounts: readonly (readonly [name: string, amount: number])[]): Growing {
  const sum = (of: readonly (readonly [string, number])[]): number => of.reduce((total, [, amount]) => total + amount, 0);
  return { fixed: sum(amounts), block: sum(amounts.filter(([name]) => isBetween(name))) };
}

function tensorsOf(tensors: readonly (readonly [name: string, bytes: number])[]): Tensors {
  const first = tensors.findIndex(([name]) => isBetween(name));
  const last = tensors.findLastIndex(([name]) => isBetween(name));
  const bytes = tensors.map(([, count]) => count);
  return first < 0 ? { before: bytes, block: [], after: [] } : { before: bytes.slice(0, first), block: bytes.slice(first, last + 1), after: bytes.slice(last + 1) };
}

export const amountAt = ({ depth: made }: Skeleton, { fixed, block }: Growing, depth: number): number => fixed + (depth - made) * block;

/** The weight buffers at a depth, as a plan has them. */
export function weightBuffersAt({ depth: made, weights }: Skeleton, dtype: DType, depth: number): readonly number[] {
  const { before, block, after } = weights[dtype];
  const buffers: number[] = [];
  const place = (tensors: readonly number[]): void => tensors.forEach((bytes) => placeTensor(buffers, bytes, defaultLimits.maxStorageBufferBindingSize));
  place(before);
  for (let i = made - 1; i < depth; i++) place(block);
  place(after);
  return buffers;
}

/** The plan at a depth: right in all but its fingerprint and the places of weights, which nothing that asks for a cost reads. */
export function planAt({ depth: made, plan, ...rest }: Skeleton, depth: number): Plan {
  if (made === depth) return plan;
  const weightBuffers = weightBuffersAt({ depth: made, plan, ...rest }, plan.dtype, depth);
  return { ...plan, weightBuffers, programs: { infer: plan.programs.infer.map((profile) => profileAt(profile, depth)) } };
}

function profileAt(profile: Profile, depth: number): Profile {
  const first = profile.dispatches.findIndex(({ label }) => isBetween(label));
  const last = profile.dispatches.findLastIndex(({ label }) => isBetween(label));
  const numbered = (dispatches: readonly Dispatch[], number: number): readonly Dispatch[] => dispatches.map((dispatch) => ({ ...dispatch, label: dispatch.label.replace(block, `blocks.${number}`) }));
  const middle = profile.dispatches.slice(first, last + 1);
  const blocks = Array.from({ length: depth - leastDepth + 1 }, (_, i) => numbered(middle, i + 1)).flat();
  const dispatches = [...profile.dispatches.slice(0, first), ...blocks, ...numbered(profile.dispatches.slice(last + 1), depth - 1)];
  const total = (field: "flops" | "bytes"): number => dispatches.reduce((sum, dispatch) => sum + dispatch[field], 0);
  return { ...profile, dispatches, flops: total("flops"), bytes: total("bytes") };
}
