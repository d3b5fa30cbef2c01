import type { Node } from "./graph.js";
import { ops } from "./ops/index.js";
import { elements, f32Bytes, type Op } from "./ops/op.js";

/** Floating point operations of a node; a multiply-add counts two. */
export function flopsOf(node: Node): number {
  return (ops[node.op] as Op<unknown>).flops?.(node.inputs.map((input) => input.shape), node.attrs, node.output.shape) ?? 0;
}

/** How many elements of each of its inputs a node must read at least once. */
export function touchedOf(node: Node): readonly number[] {
  const shapes = node.inputs.map((input) => input.shape);
  return (ops[node.op] as Op<unknown>).touched?.(shapes, node.attrs, node.output.shape) ?? shapes.map(elements);
}

/** Bytes that a node must move at least once, in f32: what it reads and what it writes. */
export function bytesOf(node: Node): number {
  return touchedOf(node).reduce((sum, count) => sum + 4 * count, f32Bytes(node.output.shape));
}
