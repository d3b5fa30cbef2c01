import { assemble, cover, linearBuiltins, linearIndex, type Launch } from "../kernel.js";
import { empty, f32, lines, range, raw, u32, wgsl } from "../wgsl.js";
import { attentionId, attentionOperands, type AttentionParams } from "./params.js";
import { clampedKey, keysPerStep, registers } from "./registers.js";

const workgroup = 64;

/** Vec4s of a head that stand in named variables. */
const unrollUpTo = 32;

/**
 * softmax(scale q kᵀ) v, heads side by side: out [batch, queries, heads, headDim].
 *
 * Family `register`: one invocation a query and head; the softmax is computed online (Milakov and Gimelshein, arXiv 1805.02867): a running
 * maximum and sum, rescaled when the maximum grows, so that any scores are exact and nothing overflows. The lowest score is -1e30, not an
 * infinity: WGSL may assume that there are none.
 */
export function registerAttention(params: AttentionParams): Launch {
  const { batch, tokens, queries, heads, headDim, scale, relative } = params;
  const { bindings, constants, helpers, element, q, kv, queryRow } = attentionOperands(params);
  const count = batch * heads * queries;
  const head = registers({ width: headDim, element, outType: params.dtypes.out, unrollUpTo });
  const keys = range(keysPerStep);

  const body = wgsl`
    ${linearIndex(count, workgroup)}
    let query = index % queries;
    let head = index / queries % heads;
    let image = index / (queries * heads);
    let first = image * tokens * rowStride + head * headStride;
    let queryAt = ${queryRow("query")} * qRowStride + head * headStride;
    ${lines([relative ? raw("let place = query_place(query);") : empty, head.declare("q_")])}
    ${head.each((c) => raw(`${head.at("q_", c)} = ${head.load(q, "queryAt", c)}${scale === 1 ? "" : ` * ${f32(scale)}`};`))}
    ${head.declare("sum")}
    ${head.each((c) => raw(`${head.at("sum", c)} = vec4<f32>(0.0);`))}
    var largest = lowest;
    var total = 0.0;
    for (var key = 0u; key < tokens; key += ${u32(keysPerStep)}) {
      ${lines(keys.flatMap((i) => [raw(`let row${i} = first + ${clampedKey(tokens, i)} * rowStride;`), raw(`let k${i} = row${i} + kOffset;`)]))}
      var score = vec4<f32>(0.0);
      ${lines([
        head.each((c) => lines(keys.map((i) => raw(`score[${i}] += dot(${head.at("q_", c)}, ${head.load(kv, `k${i}`, c)});`)))),
        relative ? raw(`score += vec4<f32>(${keys.map((i) => `relative_bias(place, key_place(${clampedKey(tokens, i)}), head)`).join(", ")});`) : empty,
      ])}
      ${tokens % keysPerStep === 0 ? empty : lines(keys.slice(1).map((i) => raw(`if (key + ${i}u >= tokens) { score[${i}] = lowest; }`)))}
      let next = max(largest, max(max(score.x, score.y), max(score.z, score.w)));
      let keep = exp(largest - next);
      let weight = exp(score - next);
      largest = next;
      total = total * keep + (weight.x + weight.y + weight.z + weight.w);
      ${lines(keys.map((i) => raw(`let v${i} = row${i} + vOffset;`)))}
      ${head.each((c) => raw(`${head.at("sum", c)} = ${head.at("sum", c)} * keep + ${keys.map((i) => `weight[${i}] * ${head.load(kv, `v${i}`, c)}`).join(" + ")};`))}
    }
    let outAt = ((image * queries + query) * heads + head) * headStride;
    ${head.each((c) => head.store("outAt", c, `${head.at("sum", c)} / total`))}
  `;

  return {
    kernel: assemble({ id: `${attentionId(params)}_register`, bindings, workgroupSize: [workgroup, 1, 1], constants, helpers, builtins: linearBuiltins, body }),
    workgroups: cover(count, workgroup),
  };
}
