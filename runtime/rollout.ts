import { InputError } from "./errors.js";
import { describe, elements, withShape, type Tensor } from "./tensor.js";

/**
 * Attention rollout (Abnar and Zuidema, arXiv 2005.00928): how much of each token of the input is in each token behind the last of these blocks, if
 * attention and the residual stream have equal shares. Of every map the mean over its heads, plus the identity, its rows divided by their sums;
 * those matrices multiplied, from the first block to the last. Takes tokens ** 3 multiplications a block.
 *
 * @param maps of all blocks, or of the first or last ones, in their order: tensors [images, heads, queries, keys] as a run returns them by the names
 *   `blocks.0.attn`, `blocks.1.attn`, and so on.
 * @returns [images, tokens, tokens], a row for each token behind the blocks; all rows sum to 1. Row 0 is what the class token took from where.
 * @throws InputError if there are no maps, or if they are not square or of different sizes.
 */
export function attentionRollout(maps: readonly Tensor[]): Tensor {
  const [first] = maps;
  if (!first) throw new InputError("no attention maps; compile with outputs such as blocks.*.attn, and give at least one");
  const [images = 0, , tokens = 0] = shapeOf(first);
  for (const [i, map] of maps.entries()) {
    const { length } = map;
    const shape = shapeOf(map);
    if (shape.length !== 4 || shape[2] !== shape[3] || length !== elements(shape)) throw new InputError(`map ${i} ${shape.length === 0 ? "has no shape, and" : `is ${describe(shape)} of`} ${length} values; a map is [images, heads, queries, keys] with as many keys as queries`);
    if (shape[0] !== images || shape[2] !== tokens) throw new InputError(`map ${i} is ${describe(shape)} and the first ${describe(shapeOf(first))}; all must be of the same images and tokens`);
  }
  const out = new Float32Array(images * tokens * tokens);
  for (let image = 0; image < images; image++) {
    const joined = maps.reduce<Float64Array | undefined>((before, map) => multiplied(withStream(map, image), before, tokens), undefined);
    out.set(joined!, image * tokens * tokens);
  }
  return withShape(out, [images, tokens, tokens]);
}

/** What a run returns has a shape; values that were copied have lost it. */
const shapeOf = ({ shape }: Tensor): readonly number[] => (shape as readonly number[] | undefined) ?? [];

/** The mean of an image's heads and the identity, in equal shares: [tokens, tokens]. Rows of a differential map sum to less than 1 before. */
function withStream(map: Tensor, image: number): Float64Array {
  const [, heads, tokens] = map.shape as readonly [number, number, number, number];
  const size = tokens * tokens;
  const mean = new Float64Array(size);
  for (let head = 0; head < heads; head++) for (let i = 0; i < size; i++) mean[i]! += map[(image * heads + head) * size + i]! / heads;
  for (let row = 0; row < tokens; row++) {
    mean[row * tokens + row]! += 1;
    const values = mean.subarray(row * tokens, (row + 1) * tokens);
    const sum = values.reduce((total, value) => total + value, 0);
    values.forEach((value, i) => (values[i] = value / sum));
  }
  return mean;
}

/** a b, of [tokens, tokens]; a itself where there is no b. */
function multiplied(a: Float64Array, b: Float64Array | undefined, tokens: number): Float64Array {
  if (!b) return a;
  const out = new Float64Array(tokens * tokens);
  for (let row = 0; row < tokens; row++)
    for (let inner = 0; inner < tokens; inner++) {
      const share = a[row * tokens + inner]!;
      for (let column = 0; column < tokens; column++) out[row * tokens + column]! += share * b[inner * tokens + column]!;
    }
  return out;
}
