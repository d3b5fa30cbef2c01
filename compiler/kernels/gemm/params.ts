import type { DType } from "../../../runtime/plan.js";
import type { ActivationName } from "../activation.js";
import type { Binding } from "../kernel.js";
import { spelt } from "../wgsl.js";
import type { Source } from "./source.js";

/** A matrix product with what goes before and behind it, whatever family computes it: activation(norm(A) W + bias) + addend. */
export interface GemmParams {
  /** Where the rows of the left matrix come from; also says how many there are and how long they are. */
  readonly source: Source;
  /** Columns that are computed. */
  readonly cols: number;
  /** Columns of a row of the output and where these begin in it, for a matrix that is split by columns. */
  readonly within: { readonly cols: number; readonly first: number };
  /**
   * Rows are to be divided by sqrt(variance + eps); the weight takes care of their mean. `inline`: the product finds the variance as it
   * reads the rows. `buffer`: it is given mean and 1 / sqrt(variance + eps) of each row, one behind the other.
   */
  readonly norm?: { readonly eps: number; readonly from: "inline" | "buffer" };
  readonly bias: boolean;
  readonly activation: ActivationName;
  /** What is added last. `in-place`: what the output holds. `read`: a binding like the output. `table`: rows repeated for each image. */
  readonly addend: "none" | "in-place" | "read" | "table";
  /** How the left matrix, the weight and the output are stored. All arithmetic is f32; bias and addend are stored so. */
  readonly dtypes: { readonly left: DType; readonly weight: DType; readonly out: DType };
}

/** Columns of packed weights and biases are padded with zeros to a multiple of this, so that a vec4 or a small tile never reads beyond them. */
export const columnPadding = 8;

export const padColumns = (cols: number): number => Math.ceil(cols / columnPadding) * columnPadding;

/** Names a product: equal names, equal meaning and operands. Families add their own name behind it. */
export function gemmId({ source, cols, within, norm, bias, activation, addend, dtypes }: GemmParams): string {
  const parts = [`gemm_m${source.rows}_n${cols}_k${source.inner}`];
  if (within.cols !== cols) parts.push(`at${within.first}of${within.cols}`);
  if (source.kind !== "rows") {
    parts.push(`${source.kind}_${source.channels}x${source.height}x${source.width}_k${source.kernel.join("x")}_s${source.stride.join("x")}_p${source.padding.join("x")}`);
    if (source.prefix > 0) parts.push(`prefix${source.prefix}`);
  }
  if (norm) parts.push(`norm${spelt(norm.eps)}`);
  if (bias) parts.push("bias");
  if (activation !== "none") parts.push(activation);
  if (addend !== "none") parts.push({ "in-place": "residual", read: "add", table: `table${source.tokens}` }[addend]);
  if (dtypes.left === "f16" || dtypes.weight === "f16" || dtypes.out === "f16") parts.push(dtypes.left, dtypes.weight, dtypes.out);
  return parts.join("_");
}

/** Names the kernel of a family for a product. */
export const gemmKernelId = (params: GemmParams, family: string): string => `${gemmId(params)}${params.norm?.from === "buffer" ? "_given_scales" : ""}_${family}`;

/** Whether rows of the output, and the piece of them that is computed, are whole vec4s. */
export const writesVectors = ({ within, cols }: GemmParams): boolean => [within.cols, within.first, cols].every((n) => n % 4 === 0);

/** The bindings of a product, in the order of the operands of a dispatch. */
export function gemmBindings(params: GemmParams, left: Pick<Binding, "element">, weight: Binding["element"] = "vec4"): Binding[] {
  const { source, cols, within, norm, bias, addend, dtypes } = params;
  const padded = padColumns(cols);
  const outputs = source.rows * within.cols;
  const inputs = source.kind === "rows" ? source.rows * source.inner : (source.rows / source.tokens) * source.channels * source.height * source.width;
  const out = writesVectors(params) ? "vec4" : "scalar";
  return [
    { name: "a", access: "read", element: left.element, dtype: dtypes.left, length: inputs },
    { name: "weight", access: "read", element: weight, dtype: dtypes.weight, length: source.inner * padded },
    ...(bias ? [{ name: "bias", access: "read", element: "vec4", length: padded } as const] : []),
    ...(addend === "read" || addend === "table" ? [{ name: "addend", access: "read", element: out, length: addend === "table" ? source.tokens * within.cols : outputs } as const] : []),
    ...(norm?.from === "buffer" ? [{ name: "statistics", access: "read", element: "scalar", length: 2 * source.rows } as const] : []),
    { name: "out", access: "read_write", element: out, dtype: dtypes.out, length: outputs },
  ];
}
