/** What `vitc explain` knows about a model, as plain data: no text, no layout. */
import type { DType, Kernel, Needs, View } from "../../runtime/plan.js";
import type { ResolvedSpec } from "../spec/resolve.js";

export interface Report {
  /** Version of the compiler. */
  readonly vitc: string;
  readonly name: string;
  /** Of the plan: equal plans have equal fingerprints. */
  readonly fingerprint: string;
  /** How matrices are stored in the plan that is explained. */
  readonly dtype: DType;
  /** The kinds of adapter that choices are ranked for. */
  readonly targets: readonly string[];
  readonly spec: ResolvedSpec;
  /** Numbers in the weight file that the model reads. */
  readonly parameters: number;
  /** The graph as it was built, and after all passes. */
  readonly graph: { readonly built: GraphReport; readonly lowered: GraphReport };
  /** In the order in which they run. */
  readonly passes: readonly PassReport[];
  /** One for each compiled batch size, ascending. */
  readonly profiles: readonly ProfileReport[];
  /** What dispatches do, and in which ways. */
  readonly routines: readonly RoutineReport[];
  readonly kernels: readonly KernelReport[];
  readonly weights: WeightsReport;
  /** Of a device and of a download, as the package's `needs` has it for this dtype. */
  readonly needs: Needs;
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
  /** What a run is expected to take on each kind of adapter, in microseconds. Only good for comparisons of the same kind. */
  readonly expected: ByTarget<number>;
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
  /** Id of what it does. */
  readonly routine: string;
  /** Inputs, weights, the result, then scratch memory. */
  readonly views: readonly View[];
  /** Index of the view that is the result. */
  readonly result: number;
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

/** A value in an arena, or scratch memory of a dispatch: bytes `offset` to `offset + bytes` hold it while dispatches `from` to `to` run. */
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
  /** Whether it holds nothing before and after its dispatch. */
  readonly scratch: boolean;
  readonly outputs: readonly string[];
}

/** Something for each kind of adapter, by its name. */
export type ByTarget<T> = Readonly<Record<string, T>>;

/** What dispatches do, with the ways to do it; an adapter takes one of them when the model is loaded. */
export interface RoutineReport {
  readonly id: string;
  readonly kind: DispatchKind;
  /** How many dispatches of all profiles do it. */
  readonly dispatches: number;
  readonly choices: readonly ChoiceReport[];
  /** The choice that each kind of adapter takes, if it has what the choice needs and was not tuned. */
  readonly taken: ByTarget<string>;
}

export interface ChoiceReport {
  readonly name: string;
  /** Usually one; the last writes the result. */
  readonly launches: readonly { readonly kernel: string; readonly workgroups: readonly [x: number, y: number, z: number] }[];
  /** What the cost model expects, in microseconds. */
  readonly costs: ByTarget<number>;
  /** What an adapter must have for it: WebGPU features, a size of subgroups, a shape of matrices; null for any. */
  readonly features: readonly string[];
  readonly subgroupSize: number | null;
  readonly matrix: readonly [m: number, n: number, k: number] | null;
}

export interface KernelReport extends Kernel {
  readonly kind: DispatchKind;
  /** The routines that have it in one of their choices. */
  readonly routines: readonly string[];
  /** How many dispatches of all profiles do these. */
  readonly dispatches: number;
  /** The kinds of adapter that launch it. */
  readonly takenOn: readonly string[];
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
  readonly dtype: DType;
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
