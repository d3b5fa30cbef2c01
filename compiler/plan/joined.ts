/** Large weights that a model joins of several tensors, as parts that are packed one after another: then only one of those is in memory. */

import type { PackedTensor, WeightStep } from "../../runtime/plan.js";
import { bytesPer } from "./precision.js";
import { jointsOf, largestSource, made, recipeOfTree, rowsOf, treeOf, type RecipeNode } from "./recipe-tree.js";

/** Elements of a source from which on it matters that another one is not there: 16 MB of f32. */
const largeElements = 2 ** 22;

/**
 * A tensor as parts, each made of one of the tensors that it is joined of; itself when there is nothing to gain. The rows of a matrix lie in
 * columns of what is packed, so each part has the `stride` of the whole.
 */
export function partsOf(tensor: PackedTensor): readonly PackedTensor[] {
  const { shape, dtype, offset } = tensor;
  if (largestSource(tensor) < largeElements) return [tensor];
  const tree = treeOf(tensor);
  const padded = isOp(tree, "pad");
  const unpadded = padded ? tree.of[0]! : tree;
  const turned = isOp(unpadded, "transpose");
  const rows = turned ? unpadded.of[0]! : unpadded;
  const joints = jointsOf(rows);
  const size = bytesPer(dtype);
  const isMatrix = turned && shape.length === 2 && (unpadded.make as Extract<WeightStep, { op: "transpose" }>).axes.join() === "1,0";
  // Writes to a buffer are of whole words.
  const whole = [...joints, shape.at(-1)!].every((end) => (end * size) % 4 === 0);
  if (joints.length < 2 || !whole || !(isMatrix || (!turned && shape.length === 1))) return [tensor];
  return joints.map((end, i) => {
    const start = joints[i - 1] ?? 0;
    // What the kernels want behind the columns is behind the last part.
    const columns = i === joints.length - 1 ? shape.at(-1)! - start : end - start;
    const own = rowsOf(rows, start, end);
    const part = turned ? made(unpadded.make as WeightStep, [own]) : own;
    const partShape = [...shape.slice(0, -1), columns];
    const isPadded = padded && (columns !== end - start || (turned && shape[0] !== rows.shape![1]));
    return {
      ...tensor,
      name: `${tensor.name} (${start} to ${end})`,
      offset: offset + start * size,
      shape: partShape,
      ...(isMatrix && { stride: shape[1]! }),
      ...recipeOfTree(isPadded ? made({ op: "pad", of: 0, shape: partShape }, [part]) : part, tensor.sources),
    };
  });
}

const isOp = ({ make }: RecipeNode, op: WeightStep["op"]): boolean => "op" in make && make.op === op;
