import { assemble, type Launch } from "../kernel.js";
import { quad, quadBuiltin, quadMember, quadNeeds, swap } from "../quad.js";
import { empty, f32, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { attentionId, attentionOperands, type AttentionParams } from "./params.js";

/** Keys that a member takes at a time. */
const keysPerStep = 2;

/** Bytes of variables that an invocation may have: WGSL promises 8192. */
export const mostVariableBytes = 7168;

/** Queries of a quad: 8, or 4 where the scores of 8 would be too many to keep; undefined where those of 4 are. */
export function quadQueries({ tokens }: AttentionParams): 8 | 4 | undefined {
  const bytes = (queries: number): number => 4 * queries * keysPerStep * Math.ceil(tokens / (quad * keysPerStep));
  return ([8, 4] as const).find((queries) => bytes(queries) <= mostVariableBytes);
}

/**
 * Family `quad`: four neighbours share some queries of a head. In the first phase each scores all of them against every fourth key, in the
 * second the scores become weights (exactly, with the maximum known), in the third each member adds up every fourth vec4 of the result.
 * Queries and weights go round in the quad, so each key and value is read by one member only. Scores stay in the invocation.
 * @see quad.ts for the slots: member l's slot s of set i is query 4 i + (l ^ s), or key 4 t + (l ^ s).
 */
export function quadAttention(params: AttentionParams, queries: 8 | 4): Launch {
  const { batch, tokens, heads, headDim, scale, relative } = params;
  const { bindings, constants, helpers, q, kv, queryRow } = attentionOperands(params);
  const units = headDim / 4;
  const sets = range(queries / quad);
  const slots = range(queries);
  const members = range(quad);
  const keys = range(keysPerStep);
  const tiles = Math.ceil(tokens / (quad * keysPerStep));
  const chunks = Math.ceil(units / quad);
  const ragged = units % quad !== 0;
  const each = (statement: (s: number) => string): Wgsl => lines(slots.map((s) => raw(statement(s))));
  /** Joins what the members know of each query: slot s of member l, slot s ^ x of member l ^ x are the same query. */
  const join = (from: string, to: string, by: (a: string, b: string) => string): Wgsl =>
    each((s) => `let ${to}${s} = ${members.map((x) => swap(x, `${from}${s - (s % quad) + ((s % quad) ^ x)}`)).reduce(by)};`);

  /** Scores of a key with factor and bias, which otherwise the exponent multiplies. */
  const biased = (c: number): Wgsl =>
    lines([raw(`let place_of_key${c} = key_place(min(key${c}, tokens - 1u));`), each((s) => `score${s}_${c} = score${s}_${c}${scale === 1 ? "" : ` * ${f32(scale)}`} + relative_bias(place${s}, place_of_key${c}, head);`)]);

  const body = wgsl`
    ${quadMember}
    let firstQuery = (workgroup.x * 2u + pair) * ${u32(queries)};
    let head = workgroup.y;
    let image = workgroup.z;
    let first = image * tokens * rowStride + head * headStride;
    ${lines([
      ...sets.map((i) => raw(`let q${i} = ${queryRow(`min(firstQuery + ${i * quad}u + member, queries - 1u)`)} * qRowStride + head * headStride;`)),
      relative ? each((s) => `let place${s} = query_place(min(firstQuery + ${s - (s % quad)}u + (member ^ ${s % quad}u), queries - 1u));`) : empty,
    ])}
    var scores: array<f32, ${u32(tiles * keysPerStep * queries)}>;
    ${each((s) => `var largest${s} = lowest;`)}
    for (var tile = 0u; tile < ${u32(tiles)}; tile++) {
      ${lines(keys.flatMap((c) => [raw(`let key${c} = tile * ${quad * keysPerStep}u + ${c * quad}u + member;`), raw(`let k${c} = first + min(key${c}, tokens - 1u) * rowStride + kOffset;`)]))}
      ${lines(keys.map((c) => each((s) => `var score${s}_${c} = 0.0;`)))}
      for (var d = 0u; d < headStride; d++) {
        ${lines([...sets.map((i) => raw(`let a${i} = vec4<f32>(${q}[q${i} + d]);`)), ...keys.map((c) => raw(`let b${c} = vec4<f32>(${kv}[k${c} + d]);`))])}
        ${each((s) => `let x${s} = ${swap(s % quad, `a${Math.floor(s / quad)}`)}; ${keys.map((c) => `score${s}_${c} += dot(x${s}, b${c});`).join(" ")}`)}
      }
      ${lines([...(relative ? keys.map(biased) : []), ...(tokens % (quad * keysPerStep) === 0 ? [] : keys.map((c) => raw(`if (key${c} >= tokens) { ${slots.map((s) => `score${s}_${c} = lowest;`).join(" ")} }`)))])}
      ${lines(keys.map((c) => each((s) => `scores[(tile * ${keysPerStep}u + ${c}u) * ${queries}u + ${s}u] = score${s}_${c};`)))}
      ${each((s) => `largest${s} = ${keys.reduce((most, c) => `max(${most}, score${s}_${c})`, `largest${s}`)};`)}
    }
    ${join("largest", "top", (a, b) => `max(${a}, ${b})`)}
    ${each((s) => `var part${s} = 0.0;`)}
    for (var t = 0u; t < ${u32(tiles * keysPerStep)}; t++) {
      ${each((s) => `let e${s} = exp((scores[t * ${queries}u + ${s}u] - top${s})${scale === 1 || relative ? "" : ` * ${f32(scale)}`}); scores[t * ${queries}u + ${s}u] = e${s}; part${s} += e${s};`)}
    }
    ${join("part", "total", (a, b) => `${a} + ${b}`)}
    for (var chunk = 0u; chunk < ${u32(chunks)}; chunk++) {
      let column = chunk * 4u + member;
      ${ragged ? raw("let read = min(column, headStride - 1u);") : raw("let read = column;")}
      ${each((s) => `var sum${s} = vec4<f32>(0.0);`)}
      for (var t = 0u; t < ${u32(tiles * keysPerStep)}; t++) {
        ${each((s) => `let p${s} = scores[t * ${queries}u + ${s}u];`)}
        ${lines(members.map((x) => raw(`let v${x} = vec4<f32>(${kv}[first + min(t * 4u + (member ^ ${x}u), tokens - 1u) * rowStride + vOffset + read]);`)))}
        ${each((s) => `sum${s} += ${members.map((x) => `${swap(x, `p${s - (s % quad) + ((s % quad) ^ x)}`)} * v${x}`).join(" + ")};`)}
      }
      var results: array<vec4<f32>, ${u32(queries)}>;
      ${each((s) => `results[${s}] = sum${s} / total${s};`)}
      for (var at = firstQuery; at < firstQuery + ${u32(queries)}; at++) {
        let query = at ^ member;
        if ((query < queries)${ragged ? raw(" & (column < headStride)") : empty}) { out[((image * queries + query) * heads + head) * headStride + column] = vec4<${raw(params.dtypes.out)}>(results[at - firstQuery]); }
      }
    }
  `;

  return {
    kernel: assemble({
      id: `${attentionId(params)}_quad${queries}`,
      bindings,
      // One axis: where there are two, a quad may be a square of both.
      workgroupSize: [2 * quad, 1, 1],
      constants,
      helpers,
      builtins: raw(`@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32, ${quadBuiltin}`),
      body: wgsl`
        let pair = lane / 4u;
        ${body}
      `,
      needs: quadNeeds,
    }),
    workgroups: [Math.ceil(params.queries / queries / 2), heads, batch],
  };
}
