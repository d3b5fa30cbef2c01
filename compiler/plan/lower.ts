import type { PackedTensor } from "../../runtime/plan.js";
import type { Node, NodeOf, Value } from "../ir/graph.js";
import { bytesOf, flopsOf } from "../ir/cost.js";
import { elements, IrError, last } from "../ir/ops/op.js";
import { attention } from "../kernels/attention.js";
import { addScale, embed } from "../kernels/embed.js";
import { columnPadding, gemm } from "../kernels/gemm.js";
import type { Source } from "../kernels/gemm-source.js";
import type { Launch, WgslKernel } from "../kernels/kernel.js";
import { layerNorm, pool, token } from "../kernels/rows.js";
import { isWeightOp, type GraphIndex } from "./graph-index.js";
import { matrixLayout, paddedVector, plainLayout, type WeightStore } from "./pack.js";

/** What a binding of a step reads or writes: an activation, or a packed weight. */
export type Operand = { readonly value: Value } | { readonly weight: PackedTensor };

/** A node with its kernel chosen and its operands in the order of the kernel's bindings; buffers are not placed yet. */
export interface Step {
  readonly label: string;
  readonly kernel: WgslKernel;
  readonly workgroups: readonly [number, number, number];
  readonly operands: readonly Operand[];
  readonly output: Value;
  /** The operand whose memory the output takes over. */
  readonly inPlace: Value | undefined;
  readonly flops: number;
  readonly bytes: number;
}

/** Chooses a kernel for every node of a lowered graph. */
export function lower(index: GraphIndex, weights: WeightStore): Step[] {
  const make = rememberLaunches();
  return index.graph.nodes.flatMap((node, position) => (isWeightOp(node) ? [] : [lowerNode({ index, weights, make }, node, position)]));
}

/** Makes a launch from a kernel function and its parameters; equal blocks get the same one, and its text is written once. */
type MakeLaunch = <Params>(kernel: (params: Params) => Launch, params: Params) => Launch;

function rememberLaunches(): MakeLaunch {
  const launches = new Map<string, Launch>();
  return (kernel, params) => {
    const key = `${kernel.name} ${JSON.stringify(params)}`;
    let launch = launches.get(key);
    if (!launch) launches.set(key, (launch = kernel(params)));
    return launch;
  };
}

interface Context {
  readonly index: GraphIndex;
  readonly weights: WeightStore;
  readonly make: MakeLaunch;
}

interface Lowering {
  readonly launch: Launch;
  readonly operands: readonly Operand[];
  readonly inPlace?: Value | undefined;
}

function lowerNode(context: Context, node: Node, position: number): Step {
  const { launch, operands, inPlace } = lowering(context, node, position);
  return {
    label: node.name,
    kernel: launch.kernel,
    workgroups: launch.workgroups,
    operands: [...operands, { value: node.output }],
    output: node.output,
    inPlace,
    flops: flopsOf(node),
    bytes: bytesOf(node),
  };
}

function lowering(context: Context, node: Node, position: number): Lowering {
  const { index, weights, make } = context;
  const plain = (value: Value): Operand => (index.isWeight(value) ? { weight: weights.request(index, value, plainLayout(value.shape)) } : { value });
  const [x] = node.inputs as [Value];
  switch (node.op) {
    case "gemm":
      return lowerGemm(context, node, position);
    case "attention": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      const { heads, scale } = node.attrs;
      return { launch: make(attention, { batch, tokens, heads, headDim: width / 3 / heads, scale }), operands: [{ value: x }] };
    }
    case "layerNorm": {
      const width = last(x.shape);
      return { launch: make(layerNorm, { rows: elements(x.shape) / width, width, eps: node.attrs.eps, step: 1, start: 0 }), operands: node.inputs.map(plain) };
    }
    case "tokenNorm": {
      const [rows, step, width] = x.shape as [number, number, number];
      return { launch: make(layerNorm, { rows, width, eps: node.attrs.eps, step, start: node.attrs.index }), operands: node.inputs.map(plain) };
    }
    case "embed": {
      const [batch, patches, width] = x.shape as [number, number, number];
      return { launch: make(embed, { batch, patches, width, ...node.attrs }), operands: node.inputs.map(plain) };
    }
    case "poolTokens": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      return { launch: make(pool, { batch, tokens, width, ...node.attrs }), operands: [{ value: x }] };
    }
    case "token": {
      const [batch, tokens, width] = x.shape as [number, number, number];
      return { launch: make(token, { batch, tokens, width, index: node.attrs.index }), operands: [{ value: x }] };
    }
    case "addScale":
      return { launch: make(addScale, { count: elements(x.shape), factor: node.attrs.factor }), operands: node.inputs.map(plain) };
    default:
      throw new IrError(`${node.name}: no kernel for ${node.op}; a pass should have fused it`);
  }
}

function lowerGemm({ index, weights, make }: Context, node: NodeOf<"gemm">, position: number): Lowering {
  const { source, bias, activation, residual } = node.attrs;
  const [x, w] = node.inputs as [Value, Value];
  const cols = w.shape[0]!;
  const padded = Math.ceil(cols / columnPadding) * columnPadding;
  const operands: Operand[] = [{ value: x }, { weight: weights.request(index, w, matrixLayout(w.shape, source.kind, padded)) }];
  if (bias) operands.push({ weight: weights.request(index, node.inputs[2]!, paddedVector(node.inputs[2]!.shape, padded)) });
  const stream = residual ? node.inputs[node.inputs.length - 1]! : undefined;
  // The residual may be updated where it lies if nobody reads its old value afterwards; a model input stays as the user gave it.
  const inPlace = stream && index.lastUse(stream) === position && index.producer(stream) ? stream : undefined;
  if (stream && !inPlace) operands.push({ value: stream });
  const mode = !stream ? "none" : inPlace ? "in-place" : "read";
  return { launch: make(gemm, { source: gemmSource(node), cols, bias, activation, residual: mode }), operands, inPlace };
}

function gemmSource(node: NodeOf<"gemm">): Source {
  const { source } = node.attrs;
  const [x, w] = node.inputs as [Value, Value];
  const inner = elements(w.shape) / w.shape[0]!;
  if (source.kind === "rows") return { kind: "rows", rows: elements(x.shape) / inner, inner };
  const [channels, height, width] = source.kind === "image" ? (x.shape.slice(1) as [number, number, number]) : [x.shape[2]!, source.height, source.width];
  const kernel = [w.shape[2]!, w.shape[3]!] as const;
  const grid = [0, 1].map((axis) => Math.floor(([height, width][axis]! + 2 * source.padding[axis]! - kernel[axis]!) / source.stride[axis]!) + 1) as [number, number];
  return { kind: source.kind, rows: x.shape[0]! * grid[0] * grid[1], inner, channels, height, width, kernel, stride: source.stride, padding: source.padding, grid };
}
