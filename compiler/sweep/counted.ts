import { buildGraph } from "../ir/build.js";
import { elements } from "../ir/ops/op.js";
import { resolve } from "../spec/resolve.js";
import type { ViTSpec } from "../spec/types.js";
import type { Row } from "./row.js";
import { macsOf } from "./skeleton.js";

export type CountedRow = Pick<Row, "tokens" | "params" | "params_m" | "gmacs" | "gflops" | "attention_share">;

/** Powers of the grid's side in what a model costs: attention is of the square of the tokens, which are of the square of the side. */
const degree = 4;

/**
 * The columns of a graph alone, for a variant that is refused because one image of it is beyond a binding: what it would cost can still be
 * read off. Each amount is a polynomial in the side of the grid, of degree 4 at most, so five smaller images of the same proportions and
 * patch determine it; it is continued by Newton's forward differences in whole numbers, which is exact.
 * @throws SpecError when a smaller image is refused too: then something else is wrong
 * @throws RangeError when sizes behind a stem are no polynomials, or the patch does not divide the image
 */
export function countedColumns(spec: ViTSpec): CountedRow {
  const [image, patch] = [pair(spec.image), pair(spec.patch)];
  if ((spec.stem ?? []).length > 0) throw new RangeError("a stem rounds the sizes of its maps");
  if (image.some((side, axis) => side % patch[axis]! !== 0)) throw new RangeError("the patch does not divide the image");
  const grid = image.map((side, axis) => side / patch[axis]!) as [number, number];
  const scale = gcd(...grid);
  const samples = Array.from({ length: degree + 1 }, (_, i) => amountsOf({ ...spec, image: [image[0] / scale * (i + 1), image[1] / scale * (i + 1)] }));
  const [tokens, params, macs, attention] = ([0, 1, 2, 3] as const).map((which) => Number(continued(samples.map((amounts) => amounts[which]), scale))) as [number, number, number, number];
  return { tokens, params, params_m: params / 1e6, gmacs: macs / 1e9, gflops: (2 * macs) / 1e9, attention_share: attention / macs };
}

type Amounts = readonly [tokens: bigint, params: bigint, macs: bigint, attentionMacs: bigint];

function amountsOf(spec: ViTSpec): Amounts {
  const resolved = resolve(spec);
  const graph = buildGraph(resolved, { batch: 1 });
  const macs = macsOf(graph);
  const sum = (counts: readonly number[]): bigint => BigInt(counts.reduce((total, count) => total + count, 0));
  return [BigInt(resolved.geometry.tokens), sum(graph.parameters.map(({ value }) => elements(value.shape))), sum(macs.map(({ count }) => count)), sum(macs.flatMap(({ count, attention }) => (attention ? [count] : [])))];
}

/** The value at `at` of the polynomial that has `values` at 1, 2, 3 and so on. */
function continued(values: readonly bigint[], at: number): bigint {
  let [differences, binomial, total] = [values, 1n, 0n];
  for (let order = 0; differences.length > 0; order++) {
    total += binomial * differences[0]!;
    binomial = (binomial * BigInt(at - 1 - order)) / BigInt(order + 1);
    differences = differences.slice(1).map((value, i) => value - differences[i]!);
  }
  return total;
}

const pair = (size: ViTSpec["image"]): readonly [number, number] => (typeof size === "number" ? [size, size] : [size[0], size[1]]);

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
