import type { DType } from "../../../runtime/plan.js";
import { elementOf, type Binding } from "../kernel.js";
import { raw, spelt, u32, type Wgsl } from "../wgsl.js";
import { relativeHelpers, relativeId, relativeRows, type Relative } from "./relative.js";

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
  /** Queries apart are a weight [1, queries, heads headDim] in f32, the same for every image. Not where all is packed. Default: false. */
  readonly sharedQuery?: boolean;
  /** What is added to the scaled scores: a table of f32 behind the other inputs. Query i is token i. */
  readonly relative?: Relative;
  readonly dtypes: { readonly in: DType; readonly out: DType };
}

/** Names an attention: equal names, equal meaning and operands. */
export function attentionId({ batch, tokens, queries, packed, heads, headDim, scale, sharedQuery, relative, dtypes }: AttentionParams): string {
  const parts = [`attention_b${batch}_t${tokens}${packed ? "" : `_q${queries}${sharedQuery ? "shared" : ""}`}_h${heads}_d${headDim}`];
  if (scale !== 1) parts.push(`s${spelt(Math.fround(scale))}`);
  if (relative) parts.push(relativeId(relative));
  if (dtypes.in === "f16" || dtypes.out === "f16") parts.push(dtypes.in, dtypes.out);
  return parts.join("_");
}

/** The bindings of an attention, and where queries, keys and values of a head begin: all counted in elements of `element`. */
export function attentionOperands({ batch, packed, heads, headDim, tokens, queries, sharedQuery = false, relative, dtypes }: AttentionParams) {
  if (packed && sharedQuery) throw new RangeError("sharedQuery: queries of a packed projection are of their image; set packed: false");
  const element = elementOf(headDim);
  const unit = element === "vec4" ? 4 : 1;
  const length = heads * headDim;
  const width = length / unit;
  const keys: Binding = { name: packed ? "qkv" : "kv", access: "read", element, dtype: dtypes.in, length: batch * (packed ? 3 : 2) * tokens * length };
  const q: Binding = { ...keys, name: "q", dtype: sharedQuery ? "f32" : dtypes.in, length: (sharedQuery ? 1 : batch) * queries * length };
  const table: Binding[] = relative ? [{ name: "relative", access: "read", element: "scalar", length: relativeRows(relative) * heads }] : [];
  const bindings: Binding[] = [...(packed ? [] : [q]), keys, ...table, { name: "out", access: "read_write", element, dtype: dtypes.out, length: batch * queries * length }];
  const parts = packed ? 3 : 2;
  return {
    bindings,
    element,
    unit,
    q: packed ? keys.name : q.name,
    kv: keys.name,
    /** The row of a query of this invocation's image. */
    queryRow: (query: string): Wgsl => raw(sharedQuery ? `(${query})` : `(image * queries + ${query})`),
    helpers: relative ? relativeHelpers(relative) : [],
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
