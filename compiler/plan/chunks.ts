import type { Graph } from "../ir/graph.js";
import { SpecError } from "../spec/errors.js";
import { isWeightOp } from "./graph-index.js";
import { bytesOfValue, type Storage } from "./precision.js";

/**
 * The batch to compile for when `batch` images are asked for: the same, or, where an activation of so many is larger than a binding may be,
 * the size of the fewest equal chunks that fit. A run goes through its images in chunks by itself.
 * @throws SpecError with the bytes when a single image is too large.
 */
export function largestBatch(batch: number, graph: Graph, storage: Storage, bindingBytes: number): number {
  const values = [...graph.inputs.map(({ name, value }) => ({ name, value })), ...graph.nodes.filter((node) => !isWeightOp(node)).map(({ name, output }) => ({ name, value: output }))];
  const largest = values.map(({ name, value }) => ({ name, bytes: bytesOfValue(value, storage) / batch })).reduce((a, b) => (b.bytes > a.bytes ? b : a));
  const most = Math.floor(bindingBytes / largest.bytes);
  if (most >= 1) return Math.ceil(batch / Math.ceil(batch / most));
  const message = `one image takes ${largest.bytes.toLocaleString("en-US")} bytes in ${largest.name}, and a WebGPU binding holds at most ${bindingBytes.toLocaleString("en-US")}; make the image smaller or the patch larger`;
  throw new SpecError([{ field: "image", message }]);
}
