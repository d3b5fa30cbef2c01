/** Fixed position encodings, computed in f64. They depend on the spec alone, so no weight file holds them. */

/**
 * Sine and cosine position encoding of a grid of patches, as Masked Autoencoders define it (`get_2d_sincos_pos_embed`).
 *
 * The row of the patch at grid row h and column w is `[sin(w * omega), cos(w * omega), sin(h * omega), cos(h * omega)]`, a quarter of
 * `dim` each, with `omega[i] = temperature ** (-i / (dim / 4))`. The column comes first because the original meshgrid puts it first.
 *
 * @param grid rows and columns of patches, height first
 * @param dim width of a token; a multiple of 4
 * @param prefix rows of zeros before the patches, one for each class, distillation or register token
 * @returns row-major [prefix + rows * columns, dim]
 * @throws RangeError when `dim` is not a multiple of 4
 * @see https://github.com/facebookresearch/mae/blob/main/util/pos_embed.py
 */
export function sincos2d(grid: readonly [rows: number, columns: number], dim: number, prefix: number, temperature: number): Float64Array<ArrayBuffer> {
  if (dim % 4 !== 0) throw new RangeError(`position encoding "sincos2d" needs a dim that is a multiple of 4, got ${dim}`);
  const [rows, columns] = grid;
  const quarter = dim / 4;
  const table = new Float64Array((prefix + rows * columns) * dim);
  for (let i = 0; i < quarter; i++) {
    const omega = temperature ** (-i / quarter);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const at = (prefix + row * columns + column) * dim + i;
        table[at] = Math.sin(column * omega);
        table[at + quarter] = Math.cos(column * omega);
        table[at + 2 * quarter] = Math.sin(row * omega);
        table[at + 3 * quarter] = Math.cos(row * omega);
      }
    }
  }
  return table;
}

/**
 * Sine and cosine position encoding of a sequence, as "Attention is all you need" defines it (section 3.5).
 *
 * The row of patch p is interleaved: `[p, 2i] = sin(p * temperature ** (-2i / dim))` and `[p, 2i + 1]` the cosine of the same angle.
 *
 * @param length number of patches, counted from 0 after the prefix
 * @param dim width of a token; even
 * @param prefix rows of zeros before the patches, one for each class, distillation or register token
 * @returns row-major [prefix + length, dim]
 * @throws RangeError when `dim` is odd
 * @see https://arxiv.org/abs/1706.03762
 */
export function sincos1d(length: number, dim: number, prefix: number, temperature: number): Float64Array<ArrayBuffer> {
  if (dim % 2 !== 0) throw new RangeError(`position encoding "sincos1d" needs an even dim, got ${dim}`);
  const table = new Float64Array((prefix + length) * dim);
  for (let pair = 0; pair < dim; pair += 2) {
    const omega = temperature ** (-pair / dim);
    for (let patch = 0; patch < length; patch++) {
      const at = (prefix + patch) * dim + pair;
      table[at] = Math.sin(patch * omega);
      table[at + 1] = Math.cos(patch * omega);
    }
  }
  return table;
}
