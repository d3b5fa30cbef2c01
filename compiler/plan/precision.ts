import type { DType } from "../../runtime/plan.js";
import type { Graph, Node, Value } from "../ir/graph.js";
import { elements } from "../ir/ops/op.js";

/** How each value of a graph is stored. */
export type Storage = (value: Value) => DType;

/** Bytes of one element. */
export const bytesPer = (dtype: DType): number => (dtype === "f16" ? 2 : 4);

/** Bytes of a value in memory: whole words, since the size of a storage binding is a multiple of 4. */
export const bytesOfValue = (value: Value, storage: Storage): number => Math.ceil((elements(value.shape) * bytesPer(storage(value))) / 4) * 4;

/**
 * What is stored as f16 in a plan of that dtype: values that only ever are an operand of a product or an attention, so that a multiply-add
 * in f32 is all that happens to them. The residual stream, what norms and pools read, inputs and outputs stay f32: there a rounding would
 * be carried through the whole model, and outliers of large models leave f16's range. `ends`: inputs and outputs may be f16 as well, as the
 * values inside a model are; for graphs that are a piece of one.
 */
export function assignStorage(graph: Graph, dtype: DType, { ends = false }: { readonly ends?: boolean } = {}): Storage {
  const half = new Set<Value>();
  if (dtype === "f16") {
    const kept = new Set(ends ? [] : graph.outputs.map(({ value }) => value));
    if (ends) for (const { value } of graph.inputs) half.add(value);
    for (const node of graph.nodes) if (writesHalf(node) && !kept.has(node.output)) half.add(node.output);
    for (const node of graph.nodes) node.inputs.forEach((input, i) => (takesHalf(node, i) ? undefined : half.delete(input)));
  }
  return (value) => (half.has(value) ? "f16" : "f32");
}

/** What adds to the residual stream writes it. */
const writesHalf = (node: Node): boolean => ["attention", "differentialAttention", "prepareHeads", "gated"].includes(node.op) || (node.op === "gemm" && !node.attrs.residual && !node.attrs.table);

/** Whether a kernel reads this operand as f16. Normalised rows are of the residual stream. */
function takesHalf(node: Node, operand: number): boolean {
  if (["attention", "differentialAttention", "attentionMap", "prepareHeads", "gated"].includes(node.op)) return true;
  return node.op === "gemm" && operand === 0 && node.attrs.source.kind === "rows" && node.attrs.norm === undefined;
}
