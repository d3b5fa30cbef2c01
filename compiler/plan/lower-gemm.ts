import type { NodeOf, Value } from "../ir/graph.js";
import { elements, IrError, last } from "../ir/ops/op.js";
import { gemmCandidates } from "../kernels/gemm/families.js";
import { columnPadding, gemmId, padColumns, type GemmParams } from "../kernels/gemm/params.js";
import type { Source } from "../kernels/gemm/source.js";
import type { Columns, LowerContext, Lowering, Operand } from "./lower.js";
import { matrixLayout, paddedVector, plainLayout } from "./pack.js";
import { bytesPer } from "./precision.js";

/** A product as one step, or as several over its columns where the weight is larger than a binding may be. */
export function lowerGemm(context: LowerContext, node: NodeOf<"gemm">, position: number): readonly Lowering[] {
  const { index, dtype } = context;
  const { residual, table } = node.attrs;
  const weight = node.inputs[1]!;
  const added = node.inputs[node.inputs.length - 1]!;
  // The residual may be updated where it lies if nobody reads its old value afterwards; a model input stays as the user gave it.
  const inPlace = residual && index.lastUse(added) === position && index.producer(added) ? added : undefined;
  const addend = table ? "table" : !residual ? "none" : inPlace ? "in-place" : "read";
  const pieces = columnPieces(node, elements(weight.shape) / weight.shape[0]!, weight.shape[0]!, bytesPer(dtype), context.bindingBytes);
  return pieces.map((piece, i): Lowering => {
    const lowered = lowerPiece(context, node, piece, addend, i === 0 ? inPlace : undefined);
    return pieces.length === 1 ? lowered : { ...lowered, columns: piece };
  });
}

function lowerPiece(context: LowerContext, node: NodeOf<"gemm">, { first, cols, all }: Columns, addend: GemmParams["addend"], inPlace: Value | undefined): Lowering {
  const { index, weights, remember, storage, dtype } = context;
  const { bias, activation, norm } = node.attrs;
  const [x, w] = node.inputs as [Value, Value];
  const source = gemmSource(node);
  const params: GemmParams = {
    source,
    cols,
    within: { cols: all, first },
    ...(norm && { norm: { eps: norm.eps, from: "inline" } }),
    bias,
    activation,
    addend,
    dtypes: { left: storage(x), weight: dtype, out: storage(node.output) },
  };
  const slice = cols === all ? undefined : { start: first, end: first + cols };
  const operands: Operand[] = [{ value: x }, { weight: weights.request(index, w, matrixLayout(w.shape, source.kind, padColumns(cols), slice), dtype) }];
  if (bias) operands.push({ weight: weights.request(index, node.inputs[2]!, paddedVector(node.inputs[2]!.shape, padColumns(cols), slice), "f32") });
  const added = node.inputs[node.inputs.length - 1]!;
  if (addend === "read") operands.push({ value: added });
  if (addend === "table") operands.push(index.isWeight(added) ? { weight: weights.request(index, added, plainLayout(added.shape), "f32") } : { value: added });
  // Scratch memory for mean and scale of each row, which some candidates compute first.
  const scratch: Operand[] = norm ? [{ scratch: 8 * source.rows }] : [];
  return { routine: remember(gemmId(params), () => gemmCandidates(params, { emulate: context.emulate ?? false })), operands: [...operands, { value: node.output }, ...scratch], inPlace };
}

/** As few pieces as fit the binding, equal but for the padding. */
function columnPieces(node: NodeOf<"gemm">, inner: number, cols: number, bytes: number, limit: number): readonly Columns[] {
  const most = Math.floor(limit / (inner * bytes) / columnPadding) * columnPadding;
  if (most === 0) throw new IrError(`${node.name}: a weight of ${inner} rows is beyond a binding of ${limit} bytes even in ${columnPadding} columns`);
  const count = Math.ceil(cols / most);
  const each = padColumns(Math.ceil(cols / count));
  return Array.from({ length: count }, (_, i) => ({ first: i * each, cols: Math.min(each, cols - i * each), all: cols }));
}

function gemmSource(node: NodeOf<"gemm">): Source {
  const { source } = node.attrs;
  const [x, w] = node.inputs as [Value, Value];
  const inner = elements(w.shape) / w.shape[0]!;
  if (source.kind === "rows") {
    const rows = elements(x.shape) / inner;
    return { kind: "rows", rows, inner, tokens: rows / x.shape[0]! };
  }
  const [channels, height, width] = source.kind === "image" ? (x.shape.slice(1) as [number, number, number]) : [last(x.shape), source.height, source.width];
  const kernel = [w.shape[2]!, w.shape[3]!] as const;
  const grid = [0, 1].map((axis) => Math.floor(([height, width][axis]! + 2 * source.padding[axis]! - kernel[axis]!) / source.stride[axis]!) + 1) as [number, number];
  const prefix = source.prefix ?? 0;
  const tokens = prefix + grid[0] * grid[1];
  return { kind: source.kind, rows: x.shape[0]! * tokens, tokens, inner, channels, height, width, kernel, stride: source.stride, padding: source.padding, grid, prefix };
}
