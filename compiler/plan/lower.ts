import type { DType, PackedTensor } from "../../runtime/plan.js";
import { flopsOf, touchedOf } from "../ir/cost.js";
import type { Node, Value } from "../ir/graph.js";
import { elements, IrError, last } from "../ir/ops/op.js";
import { differentialCandidates } from "../kernels/attention/differential.js";
import { attentionCandidates } from "../kernels/attention/families.js";
import { mapCandidates } from "../kernels/attention/map.js";
import type { AttentionParams } from "../kernels/attention/params.js";
import { prepareHeads } from "../kernels/attention/prepare.js";
import { single, type Candidate } from "../kernels/candidate.js";
import { addScale, embed, normalizeChannels } from "../kernels/embed.js";
import { maxWorkgroups, type Launch } from "../kernels/kernel.js";
import { gated, multiply } from "../kernels/pointwise.js";
import { l2Normalize, layerNorm, pool, rmsNorm, sliceTokens } from "../kernels/rows.js";
import { shortlist } from "../target/shortlist.js";
import { isWeightOp, type GraphIndex } from "./graph-index.js";
import { lowerGemm } from "./lower-gemm.js";
import { plainLayout, type WeightStore } from "./pack.js";
import { bytesOfValue, bytesPer, type Storage } from "./precision.js";

/** What a routine reads or writes: an activation, a packed weight, or memory of that many bytes which holds nothing before and after. */
export type Operand = { readonly value: Value } | { readonly weight: PackedTensor } | { readonly scratch: number };

/** What a step does, with the ways to do it that are worth having; the first is right on every adapter. */
export interface PlannedRoutine {
  readonly id: string;
  readonly candidates: readonly Candidate[];
}

/** A node, or a part of its columns, with its routine and operands in order; buffers are not placed yet. */
export interface Step {
  readonly label: string;
  readonly node: Node;
  readonly routine: PlannedRoutine;
  readonly operands: readonly Operand[];
  readonly output: Value;
  /** The operand whose memory the output takes over. */
  readonly inPlace: Value | undefined;
  /** The columns of a product that it computes. Default: all. */
  readonly columns?: Columns | undefined;
  readonly flops: number;
  readonly bytes: number;
}

export interface LowerOptions {
  readonly dtype: DType;
  readonly storage: Storage;
  /** Bytes that one binding may have; weights above it are split by columns. */
  readonly bindingBytes: number;
  /** Which of a routine's candidates are kept. Default: `shortlist`. */
  readonly keep?: (candidates: readonly Candidate[]) => readonly Candidate[];
  /** Candidates that need hardware which is seldom at hand are written so that they run anywhere, to test their mathematics. */
  readonly emulate?: boolean;
}

export interface Lowering {
  readonly routine: PlannedRoutine;
  readonly operands: readonly Operand[];
  readonly inPlace?: Value | undefined;
  /** The columns that it computes of a product that becomes several steps. */
  readonly columns?: Columns;
}

/** Columns of a matrix that are computed together, and how many it has. */
export interface Columns {
  readonly first: number;
  readonly cols: number;
  readonly all: number;
}

export interface LowerContext extends LowerOptions {
  readonly index: GraphIndex;
  readonly weights: WeightStore;
  readonly remember: Remember;
}

/** Makes a routine once: equal blocks get the same one, and its kernels are written once. */
export type Remember = (id: string, make: () => readonly Candidate[]) => PlannedRoutine;

/** Chooses routines for every node of a lowered graph. */
export function lower(index: GraphIndex, weights: WeightStore, options: LowerOptions): Step[] {
  const routines = new Map<string, PlannedRoutine>();
  const remember: Remember = (id, make) => {
    const routine = routines.get(id) ?? { id, candidates: (options.keep ?? shortlist)(candidatesOf(id, options.emulate ? "emulated" : "", make)).filter((candidate, i) => i === 0 || isLaunchable(candidate)) };
    routines.set(id, routine);
    return routine;
  };
  const context: LowerContext = { ...options, index, weights, remember };
  return index.graph.nodes.flatMap((node, position) => (isWeightOp(node) ? [] : lowering(context, node, position).map((lowered) => stepOf(context, node, lowered))));
}

/** Routines of plans made before, for WGSL takes most of the time that a plan takes, and plans of one process are often alike. */
const known = new Map<string, readonly Candidate[]>();
const mostKnown = 512;

/** An id says all that a routine's candidates depend on, but for how they are written. */
function candidatesOf(id: string, form: string, make: () => readonly Candidate[]): readonly Candidate[] {
  const key = `${form} ${id}`;
  const found = known.get(key);
  if (found) return found;
  const candidates = make();
  if (known.size >= mostKnown) known.clear();
  known.set(key, candidates);
  return candidates;
}

/** Whether WebGPU takes so many workgroups. The rules of specs see to it for the first candidate of a routine. */
const isLaunchable = ({ launches }: Candidate): boolean => launches.every(({ workgroups }) => workgroups.every((count) => count <= maxWorkgroups));

function stepOf({ storage }: LowerContext, node: Node, { routine, operands, inPlace, columns }: Lowering): Step {
  const share = columns ? columns.cols / columns.all : 1;
  const touched = touchedOf(node);
  const weightBytes = operands.reduce((sum, operand) => sum + ("weight" in operand ? elements(operand.weight.shape) * bytesPer(operand.weight.dtype) : 0), 0);
  const valueBytes = node.inputs.reduce((sum, input, i) => sum + (operands.some((operand) => "value" in operand && operand.value === input) || input === inPlace ? touched[i]! * bytesPer(storage(input)) : 0), 0);
  return {
    label: columns ? `${node.name} columns ${columns.first} to ${columns.first + columns.cols}` : node.name,
    node,
    routine,
    operands: withoutSpare(operands, routine),
    output: node.output,
    inPlace,
    columns,
    flops: flopsOf(node) * share,
    bytes: weightBytes + valueBytes + bytesOfValue(node.output, storage) * share,
  };
}

/** Operands without the scratch memory that no candidate binds, which would be placed for nobody. It comes last, so the others keep their places. */
function withoutSpare(operands: readonly Operand[], { candidates }: PlannedRoutine): readonly Operand[] {
  const isBound = (at: number): boolean => candidates.some(({ launches }) => launches.some(({ kernel, bind }) => (bind ? bind.includes(at) : at < kernel.bindings.length)));
  return operands.filter((operand, i) => !("scratch" in operand) || isBound(i));
}

function lowering(context: LowerContext, node: Node, position: number): readonly Lowering[] {
  const { index, weights, remember, storage } = context;
  const plain = (value: Value): Operand => (index.isWeight(value) ? { weight: weights.request(index, value, plainLayout(value.shape), "f32") } : { value });
  const output: Operand = { value: node.output };
  const one = (launch: Launch, operands: readonly Operand[] = node.inputs.map(plain)): readonly Lowering[] => [{ routine: remember(launch.kernel.id, () => [single(launch)]), operands: [...operands, output] }];
  const x = node.inputs[0]!;
  switch (node.op) {
    case "gemm":
      return lowerGemm(context, node, position);
    case "attention": {
      const { heads, scale, shared, relative } = node.attrs;
      const [first, kv] = (relative ? node.inputs.slice(0, -1) : node.inputs) as [Value, Value?];
      const keys = kv ?? first;
      const [batch, tokens] = keys.shape as [number, number];
      const width = last(node.output.shape);
      const params: AttentionParams = {
        batch, tokens, heads, scale,
        queries: elements(node.output.shape) / width / batch,
        headDim: width / heads,
        packed: kv === undefined,
        dtypes: { in: storage(keys), out: storage(node.output) },
        ...(shared && { sharedQuery: true }),
        ...(relative && { relative: { rows: relative.grid[0], columns: relative.grid[1], prefix: relative.prefix } }),
      };
      const { id, candidates } = attentionCandidates(params);
      return [{ routine: remember(id, candidates), operands: [...node.inputs.map(plain), output] }];
    }
    case "layerNorm": {
      const width = last(x.shape);
      return one(layerNorm({ rows: elements(x.shape) / width, width, eps: node.attrs.eps, step: 1, start: 0 }));
    }
    case "differentialAttention": {
      const [batch, tokens] = x.shape as [number, number];
      const { heads, scale, eps } = node.attrs;
      const { id, candidates } = differentialCandidates({ batch, tokens, heads, headDim: last(node.output.shape) / heads, scale, eps, dtypes: { in: storage(x), out: storage(node.output) } });
      return [{ routine: remember(id, candidates), operands: [...node.inputs.map(plain), output] }];
    }
    case "attentionMap": {
      const [batch, tokens, packed] = x.shape as [number, number, number];
      const { heads, scale, relative, differential } = node.attrs;
      const { id, candidates } = mapCandidates({ batch, tokens, heads, headDim: packed / 3 / heads, scale, dtype: storage(x), ...(relative && { relative: { rows: relative.grid[0], columns: relative.grid[1], prefix: relative.prefix } }), ...(differential && { differential }) });
      return [{ routine: remember(id, candidates), operands: [...node.inputs.map(plain), output] }];
    }
    case "prepareHeads": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      const { heads, norm, rotary } = node.attrs;
      const table = rotary && node.inputs[node.inputs.length - 1]!;
      const params = { batch, tokens, heads, headDim: width / 3 / heads, prefix: rotary?.prefix ?? 0, dtype: storage(x), ...(norm && { norm }), ...(rotary && { rotary: { pairs: rotary.pairs, own: table!.shape[1] === heads } }) };
      if (index.lastUse(x) !== position || !index.producer(x)) throw new IrError(`${node.name}: the projection is still read as it was`);
      return one(prepareHeads(params), node.inputs.slice(1).map(plain)).map((lowered) => ({ ...lowered, inPlace: x }));
    }
    case "rmsNorm": {
      const width = last(x.shape);
      return one(rmsNorm({ rows: elements(x.shape) / width, width, eps: node.attrs.eps, step: 1, start: 0, dtypes: { in: storage(x), out: storage(node.output) } }));
    }
    case "l2Normalize": {
      const width = last(x.shape);
      return one(l2Normalize({ rows: elements(x.shape) / width, width }));
    }
    case "tokenNorm": {
      const [rows, step, width] = x.shape as [number, number, number];
      const { kind, eps, index } = node.attrs;
      return one((kind === "layer" ? layerNorm : rmsNorm)({ rows, width, eps, step, start: index }));
    }
    case "gated": {
      const hidden = last(node.output.shape);
      return one(gated({ rows: elements(node.output.shape) / hidden, hidden, ...node.attrs, dtypes: { in: storage(x), out: storage(node.output) } }));
    }
    case "multiply":
      return one(multiply({ count: elements(x.shape), dtypes: { a: storage(x), b: storage(node.inputs[1]!), out: storage(node.output) } }));
    case "embed": {
      const [batch, patches, width] = x.shape as [number, number, number];
      const prefixes = node.inputs.slice(1, node.attrs.position === "none" ? undefined : -1);
      return one(embed({ batch, patches, width, ...node.attrs, parts: prefixes.map(({ shape }) => shape[1]!) }));
    }
    case "poolTokens": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      return one(pool({ batch, tokens, width, ...node.attrs }));
    }
    case "token": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      return one(sliceTokens({ batch, tokens, width, start: node.attrs.index, end: node.attrs.index + 1 }));
    }
    case "sliceTokens": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      return one(sliceTokens({ batch, tokens, width, ...node.attrs }));
    }
    case "normalizeChannels": {
      const [batch, , height, width] = x.shape as [number, number, number, number];
      return one(normalizeChannels({ batch, plane: height * width, ...node.attrs }));
    }
    case "addScale":
      return one(addScale({ count: elements(x.shape), factor: node.attrs.factor }));
    default:
      throw new IrError(`${node.name}: no kernel for ${node.op}; a pass should have fused it`);
  }
}
