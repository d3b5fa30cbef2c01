import type { DType } from "../../../runtime/plan.js";
import { candidate, type Candidate } from "../candidate.js";
import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Binding, type Launch } from "../kernel.js";
import { dtypesId } from "../storage.js";
import { empty, f32, lines, range, raw, spelt, u32, wgsl, type Wgsl } from "../wgsl.js";
import { clampedKey, keysPerStep, registers } from "./registers.js";
import { relativeHelpers, relativeId, relativeRows, type Relative } from "./relative.js";

export interface MapParams {
  readonly batch: number;
  readonly tokens: number;
  /** Of the map. Queries and keys have twice as many where it is a difference. */
  readonly heads: number;
  /** Of values; the queries and keys of a difference are half as wide. */
  readonly headDim: number;
  /** Factor on the scores. */
  readonly scale: number;
  /** What is added to the scaled scores. */
  readonly relative?: Relative;
  /** The difference of two maps, as `differentialAttention` mixes values by. Not together with `relative`. */
  readonly differential?: true;
  /** Of the projection. The map is f32 in any case. */
  readonly dtype: DType;
}

const workgroup = 64;

/** Vec4s of a head that stand in named variables. */
const unrollUpTo = 32;

/**
 * The weights of an attention: softmax(scale q kᵀ), or softmax(scale q1 k1ᵀ) - lambda softmax(scale q2 k2ᵀ), of every query and head, to out
 * [batch, heads, queries, keys].
 *
 * Bindings: qkv [batch, tokens, 3 heads headDim]; a table of relative places, or lambda [1], if there is one; out. One invocation a query and
 * head, no barrier: it goes through the keys twice, once for the largest score and the sum that divides, once for what it writes. So a row of any
 * length is exact and nothing is kept but the query.
 */
export function attentionMap(params: MapParams): Launch {
  const { batch, tokens, heads, headDim, scale, relative, differential = false, dtype } = params;
  const width = differential ? headDim / 2 : headDim;
  const element = elementOf(width);
  const unit = element === "vec4" ? 4 : 1;
  const row = (heads * headDim) / unit;
  const count = batch * heads * tokens;
  const maps = differential ? [1, 2] : [1];
  const keys = range(keysPerStep);
  const head = registers({ width, element, outType: "f32", unrollUpTo });
  const scaled = scale === 1 ? "" : ` * ${f32(scale)}`;
  const eachMap = (statement: (map: number) => string): Wgsl => lines(maps.map((map) => raw(statement(map))));
  const other: readonly Binding[] = relative
    ? [{ name: "relative", access: "read", element: "scalar", length: relativeRows(relative) * heads }]
    : differential
      ? [{ name: "lambda", access: "read", element: "scalar", length: 1 }]
      : [];
  const bias = `vec4<f32>(${keys.map((i) => `relative_bias(place, key_place(${clampedKey(tokens, i)}), head)`).join(", ")})`;
  const weight = (map: number): string => `exp(score${map} - largest${map}) / total${map}`;
  const body = wgsl`
    ${linearIndex(count, workgroup)}
    let query = index % tokens;
    let head = index / tokens % heads;
    let image = index / (tokens * heads);
    let first = image * tokens * rowStride + head * headStride;
    let query1 = first + query * rowStride;
    ${lines([
      differential ? raw("let query2 = query1 + halfStride;") : empty,
      relative ? raw("let place = query_place(query);") : empty,
      ...maps.map((map) => head.declare(`q${map}_`)),
    ])}
    ${head.each((c) => eachMap((map) => `${head.at(`q${map}_`, c)} = ${head.load("qkv", `query${map}`, c)}${scaled};`))}
    ${eachMap((map) => `var largest${map} = lowest; var total${map} = 0.0;`)}
    for (var round = 0u; round < 2u; round++) {
      for (var key = 0u; key < tokens; key += ${u32(keysPerStep)}) {
        ${lines(keys.map((i) => raw(`let k${i}_1 = first + ${clampedKey(tokens, i)} * rowStride + kOffset;${differential ? ` let k${i}_2 = k${i}_1 + halfStride;` : ""}`)))}
        ${eachMap((map) => `var score${map} = vec4<f32>(0.0);`)}
        ${lines([
          head.each((c) => lines(keys.map((i) => eachMap((map) => `score${map}[${i}] += dot(${head.at(`q${map}_`, c)}, ${head.load("qkv", `k${i}_${map}`, c)});`)))),
          relative ? raw(`score1 += ${bias};`) : empty,
        ])}
        if (round == 0u) {
          ${lines(tokens % keysPerStep === 0 ? [] : keys.slice(1).map((i) => raw(`if (key + ${i}u >= tokens) { ${maps.map((map) => `score${map}[${i}] = lowest;`).join(" ")} }`)))}
          ${eachMap((map) => `let next${map} = max(largest${map}, max(max(score${map}.x, score${map}.y), max(score${map}.z, score${map}.w)));`)}
          ${eachMap((map) => `total${map} = total${map} * exp(largest${map} - next${map}) + dot(exp(score${map} - next${map}), vec4<f32>(1.0)); largest${map} = next${map};`)}
        } else {
          let weight = ${raw(differential ? `${weight(1)} - lambda[0] * (${weight(2)})` : weight(1))};
          let at = index * tokens + key;
          out[at] = weight.x;
          ${lines(keys.slice(1).map((i) => raw(`${tokens % keysPerStep === 0 ? "" : `if (key + ${i}u < tokens) { `}out[at + ${i}u] = weight[${i}];${tokens % keysPerStep === 0 ? "" : " }"}`)))}
        }
      }
    }
  `;
  return {
    kernel: assemble({
      id: `${mapId(params)}_register`,
      bindings: [
        { name: "qkv", access: "read", element, dtype, length: 3 * batch * tokens * heads * headDim },
        ...other,
        { name: "out", access: "read_write", element: "scalar", length: count * tokens },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: {
        tokens: u32(tokens),
        heads: u32(heads),
        headStride: u32(headDim / unit),
        ...(differential && { halfStride: u32(width / unit) }),
        rowStride: u32(3 * row),
        kOffset: u32(row),
        lowest: raw("-1e30"),
      },
      helpers: relative ? relativeHelpers(relative) : [],
      builtins: linearBuiltins,
      body,
    }),
    workgroups: cover(count, workgroup),
  };
}

/** Names a map: equal names, equal meaning and operands. */
function mapId({ batch, tokens, heads, headDim, scale, relative, differential, dtype }: MapParams): string {
  const parts = [`attention_map_b${batch}_t${tokens}_h${heads}_d${headDim}`, ...(differential ? ["differential"] : []), ...(scale === 1 ? [] : [`s${spelt(Math.fround(scale))}`]), ...(relative ? [relativeId(relative)] : [])];
  return `${parts.join("_")}${dtype === "f16" ? dtypesId(dtype) : ""}`;
}

/** The one way to compute a map, which is right on every adapter. */
export function mapCandidates(params: MapParams): { readonly id: string; candidates(): readonly Candidate[] } {
  const { batch, tokens, heads, headDim, relative, differential } = params;
  // Both rounds look at all keys. A difference has two maps, of half as wide heads.
  const vectors = 2 * tokens * Math.ceil(headDim / 4);
  const work = { workgroups: Math.ceil((batch * heads * tokens) / workgroup), invocations: workgroup, fmas: vectors + (differential ? 2 : 1) * tokens, loads: vectors + (relative ? 2 * tokens : 0), sharedLoads: 0, barriers: 0, broadcasts: 0 };
  return { id: mapId(params), candidates: () => [candidate("register", work, () => [attentionMap(params)])] };
}
