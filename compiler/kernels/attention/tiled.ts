import { assemble, type Launch } from "../kernel.js";
import { empty, f32, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { attentionId, attentionOperands, type AttentionParams } from "./params.js";
import { maxWorkgroupBytes } from "../workgroup-memory.js";

/** Queries of a workgroup, and how many invocations share one. */
export interface TiledShape {
  readonly queries: number;
  readonly parts: number;
}

export const tiledName = ({ queries, parts }: TiledShape): string => `tiled_${queries}x${parts}`;

/** Bytes of workgroup memory that every WebGPU device has. */
const sharedLimit = maxWorkgroupBytes;

/** Keys that are staged together: as many as fit. Undefined if not even one for each invocation of a query does. */
export function tiledKeys({ headDim }: AttentionParams, { queries, parts }: TiledShape): number | undefined {
  const units = headDim / 4;
  if (!Number.isInteger(units)) return undefined;
  const bytes = (keys: number): number => 16 * (queries * (units + 1) + 2 * keys * (units + 1)) + 4 * queries * (keys + 1);
  return [32, 16, 8].find((keys) => keys <= 4 * parts && bytes(keys) <= sharedLimit);
}

/**
 * Family `tiled`: a workgroup takes some queries of a head, and goes through the keys and values in tiles that it brings into its memory.
 * The invocations of a query share the keys of a tile while scoring, and the columns of the result while adding up values; the softmax is
 * computed online, as in `register.ts`. The form for GPUs, where there are many invocations to keep busy.
 * Rows in workgroup memory are a vec4 longer than a head, so that the rows which neighbours read start in different banks.
 */
export function tiledAttention(params: AttentionParams, shape: TiledShape): Launch {
  const { batch, heads, headDim, scale, relative } = params;
  const { bindings, constants, helpers, q, kv, queryRow } = attentionOperands(params);
  const { queries, parts } = shape;
  const keys = tiledKeys(params, shape)!;
  const units = headDim / 4;
  const invocations = queries * parts;
  const perKey = range(Math.ceil(keys / parts));
  const columns = range(Math.ceil(units / parts));
  const guarded = (i: number, count: number, body: Wgsl): Wgsl =>
    (i + 1) * parts <= count
      ? body
      : wgsl`
        if (part + ${u32(i * parts)} < ${u32(count)}) {
          ${body}
        }
      `;

  const body = wgsl`
    let row = lane / ${u32(parts)};
    let part = lane % ${u32(parts)};
    let head = group_id.y;
    let image = group_id.z;
    let query = group_id.x * ${u32(queries)} + row;
    let first = image * tokens * rowStride + head * headStride;
    for (var i = lane; i < ${u32(queries * units)}; i += ${u32(invocations)}) {
      let at = ${queryRow(`min(group_id.x * ${u32(queries)} + i / ${u32(units)}, queries - 1u)`)} * qRowStride + head * headStride;
      block_q[i / ${u32(units)} * ${u32(units + 1)} + i % ${u32(units)}] = vec4<f32>(${raw(q)}[at + i % ${u32(units)}])${scale === 1 ? empty : raw(` * ${f32(scale)}`)};
    }
    ${lines([...columns.map((c) => raw(`var sum${c} = vec4<f32>(0.0);`)), relative ? raw("let place = query_place(min(query, queries - 1u));") : empty])}
    var largest = lowest;
    var total = 0.0;
    for (var tile = 0u; tile < tokens; tile += ${u32(keys)}) {
      for (var i = lane; i < ${u32(keys * units)}; i += ${u32(invocations)}) {
        let at = first + min(tile + i / ${u32(units)}, tokens - 1u) * rowStride + i % ${u32(units)};
        let to = i / ${u32(units)} * ${u32(units + 1)} + i % ${u32(units)};
        block_k[to] = vec4<f32>(${raw(kv)}[at + kOffset]);
        block_v[to] = vec4<f32>(${raw(kv)}[at + vOffset]);
      }
      workgroupBarrier();
      ${lines(perKey.map((i) => guarded(i, keys, score(i, parts, keys, units, relative !== undefined))))}
      workgroupBarrier();
      var next = largest;
      for (var k = 0u; k < ${u32(keys)}; k++) { next = max(next, scores[row * ${u32(keys + 1)} + k]); }
      let keep = exp(largest - next);
      largest = next;
      workgroupBarrier();
      ${lines(perKey.map((i) => guarded(i, keys, raw(`scores[row * ${keys + 1}u + part + ${i * parts}u] = exp(scores[row * ${keys + 1}u + part + ${i * parts}u] - largest);`))))}
      workgroupBarrier();
      total *= keep;
      ${lines(columns.map((c) => raw(`sum${c} *= keep;`)))}
      for (var k = 0u; k < ${u32(keys)}; k++) {
        let weight = scores[row * ${u32(keys + 1)} + k];
        total += weight;
        ${lines(columns.map((c) => raw(`sum${c} = fma(vec4<f32>(weight), block_v[k * ${units + 1}u + ${columnAt(c, parts, units)}], sum${c});`)))}
      }
      workgroupBarrier();
    }
    if (query < queries) {
      let at = ((image * queries + query) * heads + head) * headStride + part;
      ${lines(columns.map((c) => guarded(c, units, raw(`out[at + ${c * parts}u] = vec4<${params.dtypes.out}>(sum${c} / total);`))))}
    }
  `;

  return {
    kernel: assemble({
      id: `${attentionId(params)}_${tiledName(shape)}`,
      bindings,
      workgroupSize: [invocations, 1, 1],
      constants,
      helpers,
      shared: {
        block_q: raw(`array<vec4<f32>, ${queries * (units + 1)}>`),
        block_k: raw(`array<vec4<f32>, ${keys * (units + 1)}>`),
        block_v: raw(`array<vec4<f32>, ${keys * (units + 1)}>`),
        scores: raw(`array<f32, ${queries * (keys + 1)}>`),
      },
      builtins: raw("@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>"),
      body,
    }),
    workgroups: [Math.ceil(params.queries / queries), heads, batch],
  };
}

/** The score of one key of the tile; beyond the last token it is as low as can be. */
const score = (i: number, parts: number, keys: number, units: number, relative: boolean): Wgsl => wgsl`
  {
    let key = part + ${u32(i * parts)};
    var value = 0.0;
    for (var d = 0u; d < headStride; d++) { value += dot(block_q[row * ${u32(units + 1)} + d], block_k[key * ${u32(units + 1)} + d]); }
    scores[row * ${u32(keys + 1)} + key] = select(lowest, value${relative ? raw(" + relative_bias(place, key_place(min(tile + key, tokens - 1u)), head)") : empty}, tile + key < tokens);
  }
`;

/** Invocations that have no such column read the last one, and do not store what comes of it. */
const columnAt = (c: number, parts: number, units: number): string => ((c + 1) * parts <= units ? `part + ${c * parts}u` : `min(part + ${c * parts}u, ${units - 1}u)`);
