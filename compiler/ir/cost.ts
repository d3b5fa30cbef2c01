import type { Node } from "./graph.js";
import { ops } from "./ops/index.js";
import { f32Bytes, type Op } from "./ops/op.js";

/** Floating point operations of a node; a multiply-add counts two. */
export function flopsOf(node: Node): number {
  return (ops[node.op] as Op<unknown>).flops?.(node.inputs.map((input) => input.shape), node.attrs, node.output.shape) ?? 0;
}

/** Bytes that a node must move at least once, in f32: what it reads and what it writes. */
export function bytesOf(node: Node): number {
  const shapes = node.inputs.map((input) => input.shape);
  return (ops[node.op] as Op<unknown>).bytes?.(shapes, node.attrs, node.output.shape) ?? shapes.reduce((sum, shape) => sum + f32Bytes(shape), f32Bytes(node.output.shape));
}
