import type { Graph } from "../ir/graph.js";
import { elements, last } from "../ir/ops/op.js";
import { SpecError } from "../spec/errors.js";
import { isWeightOp } from "./graph-index.js";
import { bytesOfValue, type Storage } from "./precision.js";

/** Rows of the tallest product that one launch covers: 65535 workgroups of 64. */
const largestRows = 65535 * 64;

const rowsOf = (graph: Graph, batch: number): number => graph.nodes.reduce((most, node) => (isWeightOp(node) ? most : Math.max(most, elements(node.output.shape) / last(node.output.shape))), 1) / batch;

/**
 * The batch to compile for when `batch` images are asked for: the same, or, where an activation of so many is larger than a binding may be,
 * the size of the fewest equal chunks that fit; the buffer that outputs are read back from must not be larger than two bindings, which is what
 * WebGPU grants. A run goes through its images in chunks by itself.
 * @throws SpecError with the bytes when a single image is too large.
 */
export function largestBatch(batch: number, graph: Graph, storage: Storage, bindingBytes: number): number {
  const values = [...graph.inputs.map(({ name, value }) => ({ name, value })), ...graph.nodes.filter((node) => !isWeightOp(node)).map(({ name, output }) => ({ name, value: output }))];
  const largest = values.map(({ name, value }) => ({ name, bytes: bytesOfValue(value, storage) / batch })).reduce((a, b) => (b.bytes > a.bytes ? b : a));
  const read = graph.outputs.reduce((sum, { value }) => sum + Math.ceil(bytesOfValue(value, storage) / 8) * 8, 0) / batch;
  const most = Math.min(Math.floor(bindingBytes / largest.bytes), Math.max(1, Math.floor((2 * bindingBytes) / read)), Math.max(1, Math.floor(largestRows / rowsOf(graph, batch))));
  if (most >= 1) return Math.ceil(batch / Math.ceil(batch / most));
  const message = `one image takes ${largest.bytes.toLocaleString("en-US")} bytes in ${largest.name}, and a WebGPU binding holds at most ${bindingBytes.toLocaleString("en-US")}; make the image smaller or the patch larger`;
  throw new SpecError([{ field: "image", message }]);
}
