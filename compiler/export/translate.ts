import type { Node, NodeOf } from "../ir/graph.js";
import type { OpName, ops } from "../ir/ops/index.js";
import { IrError, last, type Fused } from "../ir/ops/op.js";
import type { ActivationKind } from "../ir/ops/pointwise.js";
import { positionTable } from "../ir/ops/weights.js";
import type { Attribute } from "./model.js";

/** What a graph's node means in ONNX: an operator applied to values and to other expressions. The outermost one bears the node's name. */
export interface Call {
  readonly op: string;
  readonly operands: readonly Operand[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A constant tensor: whole numbers are sizes, axes and indices, real ones are factors and tables. */
export interface Constant {
  readonly constant: Float32Array | BigInt64Array;
  readonly shape: readonly number[];
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
  | "scaleRows" | "scaleChannels" | "sliceRows" | "tokenTable" | "unitVariance" | "padTokens" | "asTokens";

/**
 * A node as an expression of ONNX operators (https://onnx.ai/onnx/operators, opset 20). A size 0 in a Reshape stands for the size that is
 * there, so that the batch is never written down.
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

  linear: ({ output }, [x, weight, bias]) => {
    // Gemm takes matrices alone.
    if (output.shape.length === 2) return call("Gemm", [x!, weight!, ...(bias === undefined ? [] : [bias])], { transB: int(1) });
    const product = call("MatMul", [x!, transpose(weight!, [1, 0])]);
    return bias === undefined ? product : call("Add", [product, bias]);
  },
  matmul: ({ attrs }, [a, b]) => call("MatMul", [a!, attrs.transposeB ? transpose(b!, [0, 1, 3, 2]) : b!]),
  splitHeads: ({ attrs: { heads, part }, output }, [x]) => {
    const headDim = last(output.shape);
    const width = heads * headDim;
    return transpose(reshape(slice(x!, 2, part * width, (part + 1) * width), [0, 0, heads, headDim]), [0, 2, 1, 3]);
  },
  mergeHeads: ({ output }, [x]) => reshape(transpose(x!, [0, 2, 1, 3]), [0, 0, last(output.shape)]),

  layerNorm: ({ attrs, output }, inputs) => call("LayerNormalization", inputs, { axis: int(output.shape.length - 1), epsilon: float(attrs.eps) }),
  softmax: ({ output }, inputs) => call("Softmax", inputs, { axis: int(output.shape.length - 1) }),
  reduce: ({ attrs }, [x]) => call(attrs.kind === "avg" ? "ReduceMean" : "ReduceMax", [x!, whole([1])], { keepdims: int(0) }),

  activation: ({ attrs }, [x]) => activations[attrs.kind](x!),
  add: (_node, inputs) => call("Add", inputs),
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
  token: ({ attrs }, [x]) => call("Gather", [x!, { constant: BigInt64Array.of(BigInt(attrs.index)), shape: [] }], { axis: int(1) }),

  positionTable: ({ attrs }) => {
    const { shape, data } = positionTable.evaluate([], attrs, {});
    return { constant: Float32Array.from(data), shape };
  },
};

const activations: Readonly<Record<ActivationKind, (x: string) => Call>> = {
  gelu: (x) => call("Gelu", [x], { approximate: text("none") }),
  gelu_tanh: (x) => call("Gelu", [x], { approximate: text("tanh") }),
  quick_gelu: (x) => call("Mul", [x, call("Sigmoid", [call("Mul", [x, real(1.702)])])]),
  relu: (x) => call("Relu", [x]),
  silu: (x) => call("Mul", [x, call("Sigmoid", [x])]),
  tanh: (x) => call("Tanh", [x]),
};

function call(op: string, operands: readonly Operand[], attributes: Call["attributes"] = {}): Call {
  return { op, operands, attributes };
}

const transpose = (x: Operand, axes: readonly number[]): Call => call("Transpose", [x], { perm: ints(axes) });

const reshape = (x: Operand, shape: readonly number[]): Call => call("Reshape", [x, whole(shape)]);

/** Elements `start` to `end` (exclusive) of an axis. */
const slice = (x: Operand, axis: number, start: number, end: number): Call => call("Slice", [x, whole([start]), whole([end]), whole([axis])]);

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
