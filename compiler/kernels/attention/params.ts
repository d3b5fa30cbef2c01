import type { DType } from "../../../runtime/plan.js";
import { elementOf, type Binding } from "../kernel.js";
import { raw, spelt, u32 } from "../wgsl.js";

export interface AttentionParams {
  readonly batch: number;
  /** Tokens that are looked at, and how many of an image look. */
  readonly tokens: number;
  readonly queries: number;
  /** Whether queries, keys and values lie in one packed projection; otherwise queries alone, and keys and values packed. */
  readonly packed: boolean;
  readonly heads: number;
  readonly headDim: number;
  /** Factor on the scores. */
  readonly scale: number;
  readonly dtypes: { readonly in: DType; readonly out: DType };
}

/** Names an attention: equal names, equal meaning and operands. */
export function attentionId({ batch, tokens, queries, packed, heads, headDim, scale, dtypes }: AttentionParams): string {
  const parts = [`attention_b${batch}_t${tokens}${packed ? "" : `_q${queries}`}_h${heads}_d${headDim}`];
  if (scale !== 1) parts.push(`s${spelt(Math.fround(scale))}`);
  if (dtypes.in === "f16" || dtypes.out === "f16") parts.push(dtypes.in, dtypes.out);
  return parts.join("_");
}

/** The bindings of an attention, and where queries, keys and values of a head begin: all counted in elements of `element`. */
export function attentionOperands({ batch, packed, heads, headDim, tokens, queries, dtypes }: AttentionParams) {
  const element = elementOf(headDim);
  const unit = element === "vec4" ? 4 : 1;
  const length = heads * headDim;
  const width = length / unit;
  const q: Binding = { name: packed ? "qkv" : "q", access: "read", element, dtype: dtypes.in, length: batch * (packed ? 3 * tokens : queries) * length };
  const bindings: Binding[] = [q, ...(packed ? [] : [{ ...q, name: "kv", length: 2 * batch * tokens * length }]), { name: "out", access: "read_write", element, dtype: dtypes.out, length: batch * queries * length }];
  const parts = packed ? 3 : 2;
  return {
    bindings,
    element,
    unit,
    q: q.name,
    kv: packed ? "qkv" : "kv",
    constants: {
      tokens: u32(tokens),
      queries: u32(queries),
      heads: u32(heads),
      headStride: u32(headDim / unit),
      qRowStride: u32(packed ? 3 * width : width),
      rowStride: u32(parts * width),
      kOffset: u32(packed ? width : 0),
      vOffset: u32((parts - 1) * width),
      lowest: raw("-1e30"),
    },
  };
}
