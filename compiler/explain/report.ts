/** What `vitc explain` knows about a model, as plain data: no text, no layout. */
import type { Kernel, View } from "../../runtime/plan.js";
import type { ResolvedSpec } from "../spec/resolve.js";

export interface Report {
  /** Version of the compiler. */
  readonly vitc: string;
  readonly name: string;
  /** Of the plan: equal plans have equal fingerprints. */
  readonly fingerprint: string;
  readonly spec: ResolvedSpec;
  /** Numbers in the weight file that the model reads. */
  readonly parameters: number;
  /** The graph as it was built, and after all passes. */
  readonly graph: { readonly built: GraphReport; readonly lowered: GraphReport };
  /** In the order in which they run. */
  readonly passes: readonly PassReport[];
  /** One for each compiled batch size, ascending. */
  readonly profiles: readonly ProfileReport[];
  readonly kernels: readonly KernelReport[];
  readonly weights: WeightsReport;
  /** Device limits that the plan comes near to, or needs raised. */
  readonly limits: readonly LimitReport[];
}

export interface GraphReport {
  readonly nodes: number;
  /** How many nodes of each op. */
  readonly ops: Readonly<Record<string, number>>;
  /** Bytes to and from memory if every node were a kernel of its own, for the first batch size. */
  readonly bytes: number;
}

export interface PassReport {
  readonly name: string;
  readonly why: string;
  readonly nodesBefore: number;
  readonly nodesAfter: number;
  readonly fired: number;
  readonly declined: number;
  readonly events: readonly EventReport[];
}

/** What a pass did or declined at a node, and why. */
export interface EventReport {
  readonly node: string;
  readonly fired: boolean;
  readonly reason: string;
}

/** What a dispatch mostly does. */
export type DispatchKind = "convolution" | "matmul" | "attention" | "norm" | "embed" | "pool" | "sum";

export interface ProfileReport {
  readonly batch: number;
  readonly dispatches: readonly DispatchReport[];
  readonly stages: readonly StageReport[];
  readonly flops: number;
  readonly bytes: number;
  readonly byKind: readonly KindTotal[];
  readonly byBlock: readonly BlockTotal[];
  /** Activation memory, and when each value occupies which bytes of it. */
  readonly arenas: readonly ArenaReport[];
}

export interface DispatchReport {
  readonly index: number;
  /** Where in the model: `blocks.3.mlp.fc1`. */
  readonly label: string;
  readonly kind: DispatchKind;
  /** The encoder block that it belongs to; null before the first and after the last. */
  readonly block: number | null;
  readonly kernel: string;
  readonly workgroups: readonly [x: number, y: number, z: number];
  readonly views: readonly View[];
  /** Of its result, without the batch axis. */
  readonly shape: readonly number[];
  readonly flops: number;
  /** Bytes that must move between memory and the kernel at least once. */
  readonly bytes: number;
  /** The part of `bytes` that are weights. */
  readonly weightBytes: number;
  /** FLOPs a byte. */
  readonly intensity: number;
  /** Indices of the dispatches whose results it reads; -1 is the model's input. */
  readonly reads: readonly number[];
  /** Whether it writes its result over one of the values it reads. */
  readonly inPlace: boolean;
  /** The nodes of the graph as built that it computes. */
  readonly covers: readonly CoveredNode[];
  /** Names of the model's outputs that it makes. */
  readonly outputs: readonly string[];
}

export interface CoveredNode {
  readonly name: string;
  readonly op: string;
}

/** A run of dispatches. Equal blocks are one stage, `repeats` times `count` dispatches from `first` on. */
export interface StageReport {
  readonly name: "embedding" | "blocks" | "head";
  readonly first: number;
  readonly count: number;
  readonly repeats: number;
  /** The first block of the stage; null for embedding and head. */
  readonly block: number | null;
}

interface Total {
  readonly dispatches: number;
  readonly flops: number;
  readonly bytes: number;
}

export interface KindTotal extends Total {
  readonly kind: DispatchKind;
}

export interface BlockTotal extends Total {
  /** `embedding`, `blocks.0`, ..., `head`. */
  readonly block: string;
}

export interface ArenaReport {
  readonly name: string;
  readonly bytes: number;
  readonly values: readonly LifetimeReport[];
}

/** A value in an arena: bytes `offset` to `offset + bytes` hold it while dispatches `from` to `to` run. */
export interface LifetimeReport {
  /** The dispatch that wrote it. */
  readonly label: string;
  readonly kind: DispatchKind;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
  readonly from: number;
  /** Inclusive. The number of dispatches for outputs, which are read back at the end. A value that is updated in place ends before its successor begins. */
  readonly to: number;
  /** Whether it took over the bytes of the value it updates. */
  readonly inPlace: boolean;
  readonly outputs: readonly string[];
}

export interface KernelReport extends Kernel {
  readonly kind: DispatchKind;
  /** How many dispatches of all profiles launch it. */
  readonly dispatches: number;
  /** WGSL. */
  readonly code: string;
}

export interface WeightsReport {
  /** GPU memory that all of them take. */
  readonly bytes: number;
  readonly buffers: readonly number[];
  readonly tensors: readonly TensorReport[];
}

/** A tensor as the kernels want it, and how it is made from the weight file. */
export interface TensorReport {
  readonly name: string;
  readonly buffer: number;
  readonly offset: number;
  readonly bytes: number;
  readonly shape: readonly number[];
  /** Names in the weight file. */
  readonly sources: readonly string[];
  /** Names of the recipe's steps. */
  readonly steps: readonly string[];
}

export interface LimitReport {
  /** WebGPU's name. */
  readonly name: string;
  readonly unit: "bytes" | "count";
  readonly needed: number;
  /** What every device grants unasked. */
  readonly guaranteed: number;
  /** What needs it most. */
  readonly by: string;
}
