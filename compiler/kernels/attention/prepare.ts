import type { DType } from "../../../runtime/plan.js";
import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Binding, type Launch } from "../kernel.js";
import { asFull, asStored, dtypesId } from "../storage.js";
import { empty, f32, lines, raw, spelt, u32, wgsl, type Wgsl } from "../wgsl.js";

export interface HeadNorm {
  readonly kind: "layer" | "rms";
  readonly eps: number;
}

export interface Rotary {
  /** How the numbers of a head are paired: each with its neighbour, or with the one half a head away. */
  readonly pairs: "neighbours" | "halves";
  /** Whether each head has a table of its own. */
  readonly own: boolean;
}

export interface PrepareHeadsParams {
  readonly batch: number;
  readonly tokens: number;
  /** Of the queries. */
  readonly heads: number;
  /** With `rotary` even. */
  readonly headDim: number;
  /** Tokens in front that are not turned. */
  readonly prefix: number;
  /** Each query and each key is normed by itself, before it is turned. */
  readonly norm?: HeadNorm;
  readonly rotary?: Rotary;
  /** Of the projection. */
  readonly dtype: DType;
}

const workgroup = 64;

/**
 * What happens to queries and keys before attention, in place on a packed projection qkv [batch, tokens, 3 heads headDim]: a norm of each head's
 * vector, and rotary positions as the op `rotate` defines them. Values stay.
 *
 * Bindings, each if it is needed: scales [headDim] of queries and of keys and, for layer norms, their shifts, as q_scale, q_shift, k_scale, k_shift;
 * the rotary table [2, heads or 1, tokens - prefix, headDim], cosines first; last qkv. One invocation a vector, which nobody else reads.
 */
export function prepareHeads({ batch, tokens, heads, headDim, prefix, norm, rotary, dtype }: PrepareHeadsParams): Launch {
  // Halves of a head that are no whole vec4s are read number by number.
  const element = rotary?.pairs === "halves" ? elementOf(headDim / 2) : elementOf(headDim);
  const units = headDim / (element === "vec4" ? 4 : 1);
  const count = batch * tokens * 2 * heads;
  const tables = rotary?.own ? heads : 1;
  const places = tokens - prefix;
  const weight = (name: string): Binding => ({ name, access: "read", element, length: headDim });
  const shifts = norm?.kind === "layer";
  const qkv: Binding = { name: "qkv", access: "read_write", element, dtype, length: batch * tokens * 3 * heads * headDim };
  const bindings: Binding[] = [
    ...(norm ? (["q", "k"] as const).flatMap((of) => [weight(`${of}_scale`), ...(shifts ? [weight(`${of}_shift`)] : [])]) : []),
    ...(rotary ? [{ name: "table", access: "read", element, length: 2 * tables * places * headDim } as const] : []),
    qkv,
  ];
  const body = wgsl`
    ${linearIndex(count, workgroup)}
    // The queries of a token and then its keys: they lie so.
    let vector = index % ${u32(2 * heads)};
    let row = index / ${u32(2 * heads)};
    let first = (row * ${u32(3 * heads)} + vector) * units;
    ${lines([
      norm ? wgsl`let of_keys = vector >= ${u32(heads)};` : empty,
      norm ? statistics(norm, qkv) : empty,
      rotary ? place(rotary, { tokens, prefix, heads }) : empty,
      turn({ units, rotary, prefix, qkv, value: (i) => normed(i, norm, qkv) }),
    ])}
  `;
  const normId = norm ? `_${norm.kind}_e${spelt(norm.eps)}` : "";
  const rotaryId = rotary ? `_${rotary.pairs}${rotary.own ? "_own" : ""}_behind${prefix}` : "";
  return {
    kernel: assemble({
      id: `prepare_b${batch}_t${tokens}_h${heads}_d${headDim}${normId}${rotaryId}${dtypesId(dtype)}`,
      bindings,
      workgroupSize: [workgroup, 1, 1],
      constants: {
        units: u32(units),
        ...(norm && { width: f32(headDim) }),
        ...(rotary?.own && { places: u32(places) }),
        ...(rotary && { sines: u32(tables * places * units) }),
      },
      builtins: linearBuiltins,
      body,
    }),
    workgroups: cover(count, workgroup),
  };
}

/** Leaves `mean`, of layer norms, and `factor`, by which a vector is multiplied. Two passes, as for rows. */
function statistics({ kind, eps }: HeadNorm, qkv: Binding): Wgsl {
  const [zero, sum] = qkv.element === "vec4" ? ["vec4<f32>(0.0)", (name: string) => `dot(${name}, vec4<f32>(1.0))`] : ["0.0", (name: string) => name];
  const value = asFull("qkv[first + i]", qkv);
  const mean = wgsl`
    var sum = ${raw(zero)};
    for (var i = 0u; i < units; i++) { sum += ${value}; }
    let mean = ${raw(sum("sum"))} / width;
  `;
  const factor = wgsl`
    var squares = ${raw(zero)};
    for (var i = 0u; i < units; i++) {
      let value = ${value}${kind === "layer" ? raw(" - mean") : empty};
      squares += value * value;
    }
    let factor = inverseSqrt(${raw(sum("squares"))} / width + ${f32(eps)});
  `;
  return lines([kind === "layer" ? mean : empty, factor]);
}

/** An element of the vector behind its norm. */
function normed(i: string, norm: HeadNorm | undefined, qkv: Binding): string {
  const value = asFull(`qkv[first + ${i}]`, qkv);
  if (!norm) return value;
  const weight = (name: string): string => `select(q_${name}[${i}], k_${name}[${i}], of_keys)`;
  return norm.kind === "layer" ? `(${value} - mean) * factor * ${weight("scale")} + ${weight("shift")}` : `${value} * factor * ${weight("scale")}`;
}

/** Leaves `angles`, where a token's cosines begin in the table, and whether the token has a place. */
function place({ own }: Rotary, { tokens, prefix, heads }: { readonly tokens: number; readonly prefix: number; readonly heads: number }): Wgsl {
  const token = `row % ${tokens}u`;
  const at = prefix === 0 ? token : `max(${token}, ${prefix}u) - ${prefix}u`;
  return lines([
    raw(`let angles = (${own ? `vector % ${heads}u * places + ` : ""}${at}) * units;`),
    prefix === 0 ? empty : raw(`let placed = ${token} >= ${prefix}u;`),
  ]);
}

interface Turn {
  readonly units: number;
  readonly rotary: Rotary | undefined;
  readonly prefix: number;
  readonly qkv: Binding;
  readonly value: (i: string) => string;
}

/** Writes every element of the vector, turned if it is to be. */
function turn({ units, rotary, prefix, qkv, value }: Turn): Wgsl {
  const store = (i: string, plain: string, turned: string): Wgsl => raw(`qkv[first + ${i}] = ${asStored(prefix === 0 ? turned : `select(${plain}, ${turned}, placed)`, qkv)};`);
  if (!rotary) {
    return wgsl`
      for (var i = 0u; i < units; i++) { qkv[first + i] = ${asStored(value("i"), qkv)}; }
    `;
  }
  if (rotary.pairs === "neighbours" && qkv.element === "vec4") {
    return wgsl`
      for (var i = 0u; i < units; i++) {
        let value = ${raw(value("i"))};
        ${store("i", "value", "value * table[angles + i] + vec4<f32>(-value.y, value.x, -value.w, value.z) * table[sines + angles + i]")}
      }
    `;
  }
  const [a, b] = rotary.pairs === "neighbours" ? ["2u * pair", "2u * pair + 1u"] : ["pair", `pair + ${units / 2}u`];
  return wgsl`
    for (var pair = 0u; pair < ${u32(units / 2)}; pair++) {
      let a = ${raw(value(a!))};
      let b = ${raw(value(b!))};
      ${store(a!, "a", `a * table[angles + ${a}] - b * table[sines + angles + ${a}]`)}
      ${store(b!, "b", `b * table[angles + ${b}] + a * table[sines + angles + ${b}]`)}
    }
  `;
}
