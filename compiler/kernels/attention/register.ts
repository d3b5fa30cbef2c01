import type { DType } from "../../../runtime/plan.js";
import { assemble, cover, linearBuiltins, linearIndex, type Launch } from "../kernel.js";
import { empty, f32, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { attentionId, attentionOperands, type AttentionParams } from "./params.js";

const workgroup = 64;

/** Up to this many vec4s of a head stand in named variables; beyond, in an array, which compiles in bounded time but may leave registers. */
const unrollUpTo = 32;

/** Keys taken together, so that the running maximum is updated once for all of them. */
const keysPerStep = 4;

/**
 * softmax(scale q kᵀ) v, heads side by side: out [batch, queries, heads, headDim].
 *
 * Family `register`: one invocation a query and head; the softmax is computed online (Milakov and Gimelshein, arXiv 1805.02867): a running
 * maximum and sum, rescaled when the maximum grows, so that any scores are exact and nothing overflows. The lowest score is -1e30, not an
 * infinity: WGSL may assume that there are none.
 */
export function registerAttention(params: AttentionParams): Launch {
  const { batch, tokens, queries, heads, headDim, scale } = params;
  const { bindings, constants, q, kv } = attentionOperands(params);
  const chunks = Math.ceil(headDim / 4);
  const count = batch * heads * queries;
  const head = registers(chunks, headDim, params.dtypes.out);
  const keys = range(keysPerStep);

  const body = wgsl`
    ${linearIndex(count, workgroup)}
    let query = index % queries;
    let head = index / queries % heads;
    let image = index / (queries * heads);
    let first = image * tokens * rowStride + head * headStride;
    let queryAt = (image * queries + query) * qRowStride + head * headStride;
    ${head.declare("q_")}
    ${head.each((c) => raw(`${head.at("q_", c)} = ${head.load(q, "queryAt", c)}${scale === 1 ? "" : ` * ${f32(scale)}`};`))}
    ${head.declare("sum")}
    ${head.each((c) => raw(`${head.at("sum", c)} = vec4<f32>(0.0);`))}
    var largest = lowest;
    var total = 0.0;
    for (var key = 0u; key < tokens; key += ${u32(keysPerStep)}) {
      ${lines(keys.flatMap((i) => [raw(`let row${i} = first + ${clampedKey(tokens, i)} * rowStride;`), raw(`let k${i} = row${i} + kOffset;`)]))}
      var score = vec4<f32>(0.0);
      ${head.each((c) => lines(keys.map((i) => raw(`score[${i}] += dot(${head.at("q_", c)}, ${head.load(kv, `k${i}`, c)});`))))}
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
    kernel: assemble({ id: `${attentionId(params)}_register`, bindings, workgroupSize: [workgroup, 1, 1], constants, builtins: linearBuiltins, body }),
    workgroups: cover(count, workgroup),
  };
}

/** Key i of a step; in the last step keys beyond the end read the last one, and their scores are dropped. */
const clampedKey = (tokens: number, i: number): string => (i === 0 ? "key" : tokens % keysPerStep === 0 ? `(key + ${i}u)` : `min(key + ${i}u, tokens - 1u)`);

/** A head's vector as vec4 registers. The last one is padded with zeros when the head's width is not a multiple of 4. */
function registers(chunks: number, headDim: number, outType: DType) {
  const unrolled = chunks <= unrollUpTo;
  const aligned = headDim % 4 === 0;
  const tail = headDim - (chunks - 1) * 4;
  const literal = (c: string) => /^\d/.test(c);
  const element = (c: string, i: number) => (literal(c) ? `${Number(c) * 4 + i}u` : `${c} * 4u + ${i}u`);
  return {
    declare: (name: string): Wgsl => (unrolled ? lines(range(chunks).map((c) => raw(`var ${name}${c}: vec4<f32>;`))) : raw(`var ${name}: array<vec4<f32>, ${chunks}>;`)),
    at: (name: string, c: string): string => (unrolled ? `${name}${c}` : `${name}[${c}]`),
    /** Statements for each chunk: unrolled, or a loop (with the last chunk apart if it is padded). */
    each(statement: (c: string) => Wgsl): Wgsl {
      if (unrolled) return lines(range(chunks).map((c) => statement(String(c))));
      const full = aligned ? chunks : chunks - 1;
      return lines([
        wgsl`
          for (var c = 0u; c < ${u32(full)}; c++) {
            ${statement("c")}
          }
        `,
        aligned ? empty : statement(`${chunks - 1}`),
      ]);
    },
    load(buffer: string, at: string, c: string): string {
      if (aligned) return `vec4<f32>(${buffer}[${at} + ${c}${literal(c) ? "u" : ""}])`;
      const isTail = c === String(chunks - 1);
      const part = (i: number) => (isTail && i >= tail ? "0.0" : `f32(${buffer}[${at} + ${element(c, i)}])`);
      return `vec4<f32>(${range(4).map(part).join(", ")})`;
    },
    store(at: string, c: string, value: string): Wgsl {
      if (aligned) return raw(`out[${at} + ${c}${literal(c) ? "u" : ""}] = vec4<${outType}>(${value});`);
      const isTail = c === String(chunks - 1);
      return wgsl`
        {
          let part = ${raw(value)};
          ${lines(range(isTail ? tail : 4).map((i) => raw(`out[${at} + ${element(c, i)}] = ${outType}(part[${i}]);`)))}
        }
      `;
    },
  };
}
