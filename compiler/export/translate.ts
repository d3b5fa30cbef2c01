import type { Node, NodeOf } from "../ir/graph.js";
import { relativeBias, rotaryTable, type RotaryPairs, type RotaryTableAttrs } from "../ir/ops/attention-parts.js";
import type { OpName, ops } from "../ir/ops/index.js";
import { IrError, last, type Fused } from "../ir/ops/op.js";
import type { ActivationKind } from "../ir/ops/pointwise.js";
import { resamplePatch, type PatchResampleAttrs } from "../ir/ops/resample-patch.js";
import { resampleRelative, type RelativeResampleAttrs } from "../ir/ops/resample-relative.js";
import { resampleTable, type ResampleAttrs } from "../ir/ops/resample.js";
import { shortest } from "../ir/ops/rows.js";
import { positionTable } from "../ir/ops/weights.js";
import type { Attribute } from "./model.js";

/**
 * What a graph's node means in ONNX: an operator applied to values and to other expressions. The outermost one bears the node's name. An
 * expression that stands in several places, as the same object, is computed once.
 */
export interface Call {
  readonly op: string;
  readonly operands: readonly Operand[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A constant tensor: whole numbers are sizes, axes and indices, real ones are factors and tables. */
export interface Constant {
  readonly constant: Float32Array | BigInt64Array;
  readonly shape: readonly number[];
  /** What it is called in the file, where its values are too many for a name: constants of one name are one. */
  readonly name?: string;
}

/** A value by its name, or an expression. */
export type Operand = string | Call | Constant;

/** What is the same for all nodes of a graph. */
export interface Surroundings {
  /** Name of a value whose first axis is the batch. */
  readonly input: string;
  /** Images in a run, or undefined where the input tells. */
  readonly batch: number | undefined;
}

type Translate<Name extends OpName> = (node: NodeOf<Name>, inputs: readonly string[], surroundings: Surroundings) => Call | Constant;

type PrimitiveName = { [Name in OpName]: (typeof ops)[Name] extends Fused<infer _Attrs> ? never : Name }[OpName];

/** Ops that a graph may hold after the pass `inference`, and before any fusion. */
type Exported = Exclude<PrimitiveName, "dropout" | "dropPath" | Derived>;

/** Ops that only passes make: on weights, and in the expansions of fused ops. */
type Derived =
  | "foldBatchNormScale" | "foldBatchNormShift" | "foldNormScale" | "foldNormShift" | "foldPixelScale" | "foldPixelShift"
  | "scaleRows" | "scaleChannels" | "tokenTable" | "unitVariance" | "padTokens" | "asTokens";

/**
 * A node as an expression of ONNX operators (https://onnx.ai/onnx/operators, opset 20). A size 0 in a Reshape stands for the size that is
 * there, so that the batch is never written down. What is made of weights alone is an expression of initializers, so that a file has the
 * parameters of the weight file, under their names; tables that follow from the spec alone are constants.
 * @throws IrError for an op that only training or a fusion makes.
 */
export function translate(node: Node, inputs: readonly string[], surroundings: Surroundings): Call | Constant {
  if (!Object.hasOwn(translations, node.op)) throw new IrError(`${node.name}: ${node.op} has no form in ONNX; export a graph behind the pass inference, and before any other`);
  // The union over ops cannot be called generically; the table ties each op to its own nodes.
  return (translations[node.op as Exported] as Translate<OpName>)(node as never, inputs, surroundings);
}

const translations: { readonly [Name in Exported]: Translate<Name> } = {
  conv2d: ({ attrs: { stride, padding }, inputs: [, weight] }, inputs) => {
    const [top, left] = padding;
    return call("Conv", inputs, { kernel_shape: ints(weight!.shape.slice(2)), pads: ints([top, left, top, left]), strides: ints(stride) });
  },
  batchNorm: ({ attrs }, inputs) => call("BatchNormalization", inputs, { epsilon: float(attrs.eps) }),
  normalizeChannels: ({ attrs: { mean, std } }, [x]) => call("Div", [call("Sub", [x!, channels(mean)]), channels(std)]),
  mapToTokens: ({ output }, [x]) => {
    const [, patches, channels] = output.shape;
    return transpose(reshape(x!, [0, channels!, patches!]), [0, 2, 1]);
  },
  tokensToMap: ({ output }, [x]) => reshape(transpose(x!, [0, 2, 1]), [0, ...output.shape.slice(1)]),

  linear: ({ output }, inputs) => linear(output.shape.length, inputs),
  matmul: ({ attrs }, [a, b]) => call("MatMul", [a!, attrs.transposeB ? transpose(b!, [0, 1, 3, 2]) : b!]),
  splitHeads: ({ attrs: { heads, part, parts = 3 }, output }, [x]) => {
    const headDim = last(output.shape);
    const width = heads * headDim;
    return transpose(reshape(parts === 1 ? x! : slice(x!, 2, part * width, (part + 1) * width), [0, 0, heads, headDim]), [0, 2, 1, 3]);
  },
  mergeHeads: ({ output }, [x]) => reshape(transpose(x!, [0, 2, 1, 3]), [0, 0, last(output.shape)]),

  layerNorm: ({ attrs, output }, inputs) => call("LayerNormalization", inputs, { axis: int(output.shape.length - 1), epsilon: float(attrs.eps) }),
  // RMSNormalization came with opset 23.
  rmsNorm: ({ attrs, output }, [x, scale]) => {
    const mean = call("ReduceMean", [call("Mul", [x!, x!]), whole([output.shape.length - 1])], { keepdims: int(1) });
    return call("Mul", [call("Div", [x!, call("Sqrt", [call("Add", [mean, real(attrs.eps)])])]), scale!]);
  },
  l2Normalize: ({ output }, [x]) => call("Div", [x!, call("Max", [call("ReduceL2", [x!, whole([output.shape.length - 1])], { keepdims: int(1) }), real(shortest)])]),
  softmax: ({ output }, inputs) => call("Softmax", inputs, { axis: int(output.shape.length - 1) }),
  reduce: ({ attrs }, [x]) => call(attrs.kind === "avg" ? "ReduceMean" : "ReduceMax", [x!, whole([1])], { keepdims: int(0) }),

  activation: ({ attrs }, [x]) => activations[attrs.kind](x!),
  add: (_node, inputs) => call("Add", inputs),
  multiply: (_node, inputs) => call("Mul", inputs),
  scale: ({ attrs }, [x]) => call("Mul", [x!, real(attrs.factor)]),
  scaleLast: (_node, inputs) => call("Mul", inputs),
  expand: ({ output }, [x], { input, batch }) => {
    // Expand takes the larger of both sizes on each axis, so ones leave the other axes as they are.
    const ones = output.shape.slice(1).map(() => 1);
    const shape = batch === undefined ? call("Concat", [call("Shape", [input], { start: int(0), end: int(1) }), whole(ones)], { axis: int(0) }) : whole([batch, ...ones]);
    return call("Expand", [x!, shape]);
  },

  concat: ({ attrs }, inputs) => call("Concat", inputs, { axis: int(attrs.axis) }),
  sliceTokens: ({ attrs: { start, end } }, [x]) => slice(x!, 1, start, end),
  sliceLast: ({ attrs: { start, end }, output }, [x]) => slice(x!, output.shape.length - 1, start, end),
  token: ({ attrs }, [x]) => element(x!, 1, attrs.index),

  rotate: ({ attrs: { pairs, prefix }, output }, [x, table]) => {
    const [, , tokens, width] = output.shape as [number, number, number, number];
    const patches = prefix === 0 ? x! : slice(x!, 2, prefix, tokens);
    const partners = call("Gather", [patches, partnersOf(pairs, width)], { axis: int(3) });
    const turned = call("Add", [call("Mul", [patches, element(table!, 0, 0)]), call("Mul", [partners, call("Mul", [element(table!, 0, 1), signsOf(pairs, width)])])]);
    return prefix === 0 ? turned : call("Concat", [slice(x!, 2, 0, prefix), turned], { axis: int(2) });
  },
  headDifference: ({ inputs: [maps] }, [x, factor]) => {
    const [first, second] = [0, 1].map((start) => slice(x!, 1, start, maps!.shape[1]!, 2)) as [Call, Call];
    return call("Sub", [first, call("Mul", [second, factor!])]);
  },

  positionTable: ({ attrs }) => {
    const { shape, data } = positionTable.evaluate([], attrs, {});
    return { constant: Float32Array.from(data), shape };
  },
  rotaryTable: ({ attrs, output }, [frequencies]) => {
    if (frequencies !== undefined) return mixedTable(attrs, output.shape, frequencies);
    const { shape, data } = rotaryTable.evaluate([], attrs, {});
    return { constant: Float32Array.from(data), shape };
  },
  relativeBias: ({ attrs, output, inputs: [table] }, [name]) => {
    // The bias of a table that holds the numbers of its rows says which row stands where.
    const [rows] = table!.shape as [number];
    const { shape, data } = relativeBias.evaluate([{ shape: [rows, 1], data: Float64Array.from({ length: rows }, (_, row) => row) }], attrs, {});
    const places: Constant = { constant: BigInt64Array.from(data, BigInt), shape: shape.slice(2), name: `relative.int64.${attrs.grid.join("x")}_${attrs.prefix}` };
    return reshape(transpose(call("Gather", [name!, places], { axis: int(0) }), [2, 0, 1]), output.shape);
  },
  resampleTable: ({ attrs, output }, [table]) => {
    const { prefix, from, to } = attrs;
    const dim = last(output.shape);
    const patches = prefix === 0 ? table! : slice(table!, 1, prefix, prefix + from[0] * from[1]);
    const down = reshape(call("MatMul", [resampling(attrs, 0), reshape(patches, [from[0], from[1] * dim])]), [to[0], from[1], dim]);
    const across = reshape(call("MatMul", [resampling(attrs, 1), down]), [1, to[0] * to[1], dim]);
    return prefix === 0 ? across : call("Concat", [slice(table!, 1, 0, prefix), across], { axis: int(1) });
  },
  resampleRelative: ({ attrs, inputs: [{ shape } = { shape: [] }], output }, [table]) => {
    const [down, across] = [relativeResampling(attrs, 0), relativeResampling(attrs, 1)];
    const [[rows, oldRows], [, oldColumns]] = [down.shape, across.shape] as [[number, number], [number, number]];
    const [count, heads] = shape as [number, number];
    const wide = reshape(call("MatMul", [down, reshape(slice(table!, 0, 0, count - 3), [oldRows, oldColumns * heads])]), [rows, oldColumns, heads]);
    return call("Concat", [reshape(call("MatMul", [across, wide]), [output.shape[0]! - 3, heads]), slice(table!, 0, count - 3, count)], { axis: int(0) });
  },
  resamplePatch: ({ attrs }, [weight]) => call("MatMul", [patchResampling(attrs, 0), call("MatMul", [weight!, patchResampling(attrs, 1)])]),
  queryValueBias: ({ inputs: [q] }, [queries, values]) => {
    const [width] = q!.shape as [number];
    return call("Concat", [queries!, { constant: new Float32Array(width), shape: [width], name: `zeros.float.${width}` }, values!], { axis: int(0) });
  },
  differentialFactor: ({ attrs }, [q1, k1, q2, k2]) => {
    const map = (q: string, k: string): Call => call("Exp", [call("ReduceSum", [call("Mul", [q, k]), whole([0])], { keepdims: int(1) })]);
    return call("Add", [call("Sub", [map(q1!, k1!), map(q2!, k2!)]), real(attrs.initial)]);
  },
  weightLinear: ({ output }, inputs) => linear(output.shape.length, inputs),
  concatRows: (_node, inputs) => call("Concat", inputs, { axis: int(0) }),
  sliceRows: ({ attrs: { start, end } }, [w]) => slice(w!, 0, start, end),
  sliceColumns: ({ attrs: { start, end } }, [w]) => slice(w!, 1, start, end),
};

/** The matrix [new size, old size] of one axis: what becomes of a table in which each place is told by a one of its own. */
function resampling(attrs: ResampleAttrs, axis: 0 | 1): Constant {
  const [from, to] = [attrs.from[axis], attrs.to[axis]];
  const places = Float64Array.from({ length: from * from }, (_, i) => (i % (from + 1) === 0 ? 1 : 0));
  const { data } = resampleTable.evaluate([{ shape: [1, from, from], data: places }], { ...attrs, prefix: 0, from: [from, 1], to: [to, 1] }, {});
  return { constant: Float32Array.from(data), shape: [to, from], name: `resample.float.${axis === 0 ? "rows" : "columns"}` };
}

/** Likewise of the distances between places of one axis; of one place there is but 0. */
function relativeResampling(attrs: RelativeResampleAttrs, axis: 0 | 1): Constant {
  const [from, to] = [attrs.from[axis], attrs.to[axis]];
  const [old, distances] = [2 * from - 1, 2 * to - 1];
  const places = Float64Array.from({ length: (old + 3) * old }, (_, i) => (i % (old + 1) === 0 && i < old * old ? 1 : 0));
  const { data } = resampleRelative.evaluate([{ shape: [old + 3, old], data: places }], { ...attrs, from: [from, 1], to: [to, 1] }, {});
  return { constant: Float32Array.from(data.subarray(0, distances * old)), shape: [distances, old], name: `resample_relative.float.${axis === 0 ? "rows" : "columns"}` };
}

/** Likewise of one side of a patch; of columns [old size, new size], which stand behind what they are for. */
function patchResampling(attrs: PatchResampleAttrs, axis: 0 | 1): Constant {
  const [from, to] = [attrs.from[axis], attrs.to[axis]];
  const pixels = Float64Array.from({ length: from * from }, (_, i) => (i % (from + 1) === 0 ? 1 : 0));
  // [from, 1, to, 1]: a patch of which one pixel is one, for every pixel.
  const { data } = resamplePatch.evaluate([{ shape: [from, 1, from, 1], data: pixels }], { ...attrs, from: [from, 1], to: [to, 1] }, {});
  return axis === 0
    ? { constant: Float32Array.from({ length: to * from }, (_, i) => data[(i % from) * to + Math.floor(i / from)]!), shape: [to, from], name: "resample_patch.float.rows" }
    : { constant: Float32Array.from(data), shape: [from, to], name: "resample_patch.float.columns" };
}

/** x times a weight [out, in] transposed, plus a bias. Gemm takes matrices alone. */
function linear(rank: number, [x, weight, bias]: readonly string[]): Call {
  if (rank === 2) return call("Gemm", [x!, weight!, ...(bias === undefined ? [] : [bias])], { transB: int(1) });
  const product = call("MatMul", [x!, transpose(weight!, [1, 0])]);
  return bias === undefined ? product : call("Add", [product, bias]);
}

/** The other value of each pair of a head, as indices. */
const partnersOf = (pairs: RotaryPairs, width: number): Constant => ({
  constant: BigInt64Array.from({ length: width }, (_, i) => BigInt(pairs === "halves" ? (i + width / 2) % width : i % 2 === 0 ? i + 1 : i - 1)),
  shape: [width],
  name: `partners.int64.${pairs}_${width}`,
});

/** What it is multiplied by beside the sine: a pair (a, b) turns to (-b, a). */
const signsOf = (pairs: RotaryPairs, width: number): Constant => ({
  constant: Float32Array.from({ length: width }, (_, i) => ((pairs === "halves" ? i < width / 2 : i % 2 === 0) ? -1 : 1)),
  shape: [width],
  name: `signs.float.${pairs}_${width}`,
});

/** The table of learned angles x f[0] + y f[1], of frequencies f [2, depth, heads, headDim / 2]. */
function mixedTable({ grid: [rows, columns], block }: RotaryTableAttrs, [, heads, patches, headDim]: readonly number[], frequencies: string): Call {
  const places: Constant = { constant: Float32Array.from({ length: 2 * rows * columns }, (_, i) => (i % 2 === 0 ? (i / 2) % columns : Math.floor((i - 1) / 2 / columns))), shape: [rows * columns, 2], name: `patches.float.${rows}x${columns}` };
  const half = headDim! / 2;
  const angles = call("MatMul", [places, reshape(element(frequencies, 1, block), [2, heads! * half])]);
  const byHead = reshape(transpose(reshape(angles, [patches!, heads!, half]), [1, 0, 2]), [heads!, patches!, half, 1]);
  const both = reshape(call("Expand", [byHead, whole([heads!, patches!, half, 2])]), [1, heads!, patches!, headDim!]);
  return call("Concat", [call("Cos", [both]), call("Sin", [both])], { axis: int(0) });
}

const activations: Readonly<Record<ActivationKind, (x: string) => Call>> = {
  gelu: (x) => call("Gelu", [x], { approximate: text("none") }),
  gelu_tanh: (x) => call("Gelu", [x], { approximate: text("tanh") }),
  quick_gelu: (x) => call("Mul", [x, call("Sigmoid", [call("Mul", [x, real(1.702)])])]),
  relu: (x) => call("Relu", [x]),
  sigmoid: (x) => call("Sigmoid", [x]),
  silu: (x) => call("Mul", [x, call("Sigmoid", [x])]),
  tanh: (x) => call("Tanh", [x]),
};

function call(op: string, operands: readonly Operand[], attributes: Call["attributes"] = {}): Call {
  return { op, operands, attributes };
}

const transpose = (x: Operand, axes: readonly number[]): Call => call("Transpose", [x], { perm: ints(axes) });

const reshape = (x: Operand, shape: readonly number[]): Call => call("Reshape", [x, whole(shape)]);

/** Elements `start` to `end` (exclusive) of an axis, or each `step`-th of them. */
const slice = (x: Operand, axis: number, start: number, end: number, step = 1): Call => call("Slice", [x, whole([start]), whole([end]), whole([axis]), ...(step === 1 ? [] : [whole([step])])]);

/** One element of an axis, which is gone then. */
const element = (x: Operand, axis: number, index: number): Call => call("Gather", [x, { constant: BigInt64Array.of(BigInt(index)), shape: [] }], { axis: int(axis) });

/** A vector of whole numbers. */
const whole = (values: readonly number[]): Constant => ({ constant: BigInt64Array.from(values, BigInt), shape: [values.length] });

/** A number, rounded to f32 as the model's values are. */
const real = (value: number): Constant => ({ constant: Float32Array.of(value), shape: [] });

/** One number a channel of a map [batch, channels, height, width]. */
const channels = (values: readonly number[]): Constant => ({ constant: Float32Array.from(values), shape: [values.length, 1, 1] });

const int = (value: number): Attribute => ({ kind: "int", value });
const ints = (value: readonly number[]): Attribute => ({ kind: "ints", value });
const float = (value: number): Attribute => ({ kind: "float", value });
const text = (value: string): Attribute => ({ kind: "string", value });
