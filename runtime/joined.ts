/** Large weights that are joined of several tensors, as parts that are packed one after another: then only one of those is in memory. */

import { elementCount } from "./file-tensors.js";
import type { PackedTensor, WeightStep } from "./plan.js";
import type { PackedPart } from "./recipe.js";
import { jointsOf, made, recipeOfTree, rowsOf, treeOf, type RecipeNode } from "./recipe-tree.js";

/**
 * A tensor as parts, each made of one of the tensors that it is joined of, with the same bits where the whole would lie; itself when that cannot be.
 * The rows of a matrix lie in columns of what is packed, so each part has the `stride` of the whole.
 */
export function partsOf(tensor: PackedTensor): readonly PackedPart[] {
  const { shape, dtype, offset, name } = tensor;
  const tree = treeOf(tensor);
  const padded = isStep(tree, (step) => step.op === "pad");
  const unpadded = padded ? tree.of[0]! : tree;
  const turned = isStep(unpadded, (step) => step.op === "transpose" && step.axes.join() === "1,0");
  const rows = turned ? unpadded.of[0]! : unpadded;
  const joints = jointsOf(rows);
  const size = dtype === "f16" ? 2 : 4;
  const columns = shape.at(-1)!;
  // Writes to a buffer are of whole words.
  const whole = [...joints, columns].every((end) => (end * size) % 4 === 0);
  if (joints.length < 2 || !whole || shape.length !== (turned ? 2 : 1)) return [tensor];
  return joints.map((end, i): PackedPart => {
    const start = joints[i - 1] ?? 0;
    // What the kernels want behind the columns is behind the last part.
    const own = i === joints.length - 1 ? columns - start : end - start;
    const taken = rowsOf(rows, start, end);
    const part = turned ? made(unpadded.make as WeightStep, [taken]) : taken;
    const partShape = [...shape.slice(0, -1), own];
    const grows = padded && elementCount(partShape) !== (end - start) * (turned ? rows.shape![1]! : 1);
    return {
      ...tensor,
      name: `${name} (${start} to ${end})`,
      offset: offset + start * size,
      shape: partShape,
      ...(turned && { stride: columns }),
      ...recipeOfTree(grows ? made({ op: "pad", of: 0, shape: partShape }, [part]) : part, tensor.sources),
    };
  });
}

const isStep = ({ make }: RecipeNode, is: (step: WeightStep) => boolean): boolean => "op" in make && is(make);
