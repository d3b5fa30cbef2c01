import { candidate, type Candidate } from "../candidate.js";
import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Binding, type Launch } from "../kernel.js";
import { asFull, asStored, dtypesId, type InOut } from "../storage.js";
import { empty, f32, lines, range, raw, spelt, u32, wgsl, type Wgsl } from "../wgsl.js";
import { mostVariableBytes } from "./quad.js";
import { clampedKey, keysPerStep, registers } from "./registers.js";

export interface DifferentialParams {
  readonly batch: number;
  readonly tokens: number;
  /** Of the values; queries and keys have twice as many, each half as wide. */
  readonly heads: number;
  /** Of the values: even. */
  readonly headDim: number;
  /** Factor on the scores. */
  readonly scale: number;
  /** Of the norm over each head's result. */
  readonly eps: number;
  /** Factor on the result. Blocks differ in it: where it is 1 and in the norm's scale instead, they share a kernel. Default: 1. */
  readonly factor?: number;
  readonly dtypes: InOut;
}

const workgroup = 64;

/** Vec4s of a vector that stand in named variables. Few: the text is long, and on a CPU no faster than an array. */
const unrollUpTo = 4;

/**
 * Differential attention (arXiv 2410.05258): softmax(scale q1 k1ᵀ) v - lambda softmax(scale q2 k2ᵀ) v for each head, an RMS norm of that over the
 * head, times `factor`; heads side by side: out [batch, tokens, heads, headDim].
 *
 * Bindings: qkv [batch, tokens, 3 heads headDim], in whose queries and keys the two halves of a head lie one behind the other; lambda [1]; the norm's
 * scale [headDim]; out. One invocation a query and head, and no barrier, in either form: `stored` where it can be, `online` otherwise.
 */
export const differentialAttention = (params: DifferentialParams): Launch => (storesScores(params) ? storedDifferential(params) : onlineDifferential(params));

/** Every way to compute a differential attention. The first is right on every adapter. */
export function differentialCandidates(params: DifferentialParams): { readonly id: string; candidates(): readonly Candidate[] } {
  const { batch, tokens, heads, headDim } = params;
  const vectors = tokens * Math.ceil(headDim / 4);
  const common = { workgroups: Math.ceil((batch * heads * tokens) / workgroup), invocations: workgroup, sharedLoads: 0, barriers: 0, broadcasts: 0 };
  return {
    id: differentialId(params),
    candidates: () => [
      // Its sums are in memory, where they are not in registers.
      candidate("online", { ...common, fmas: 3 * vectors, loads: 3 * vectors }, () => [onlineDifferential(params)]),
      ...(storesScores(params) ? [candidate("stored", { ...common, fmas: 2 * vectors, loads: 2.75 * vectors }, () => [storedDifferential(params)])] : []),
    ],
  };
}

/** Names a differential attention: equal names, equal meaning and operands. */
function differentialId({ batch, tokens, heads, headDim, scale, eps, factor = 1, dtypes }: DifferentialParams): string {
  return `differential_b${batch}_t${tokens}_h${heads}_d${headDim}_s${spelt(Math.fround(scale))}_e${spelt(eps)}${factor === 1 ? "" : `_f${spelt(Math.fround(factor))}`}${dtypesId(dtypes.in, dtypes.out)}`;
}

/** What both forms have in common: their bindings and constants, and where an invocation's query and keys begin. */
function operands({ batch, tokens, heads, headDim, dtypes }: DifferentialParams) {
  const element = elementOf(headDim / 2);
  const unit = element === "vec4" ? 4 : 1;
  const width = heads * headDim;
  const count = batch * heads * tokens;
  const qkv: Binding = { name: "qkv", access: "read", element, dtype: dtypes.in, length: 3 * batch * tokens * width };
  const out: Binding = { name: "out", access: "read_write", element, dtype: dtypes.out, length: batch * tokens * width };
  return {
    ...{ element, count, qkv, out },
    bindings: [qkv, { name: "lambda", access: "read", element: "scalar", length: 1 }, { name: "scale", access: "read", element, length: headDim }, out] satisfies Binding[],
    constants: {
      tokens: u32(tokens),
      heads: u32(heads),
      headStride: u32(headDim / unit),
      halfStride: u32(headDim / 2 / unit),
      rowStride: u32((3 * width) / unit),
      kOffset: u32(width / unit),
      vOffset: u32((2 * width) / unit),
      lowest: raw("-1e30"),
    },
    places: wgsl`
      ${linearIndex(count, workgroup)}
      let query = index % tokens;
      let head = index / tokens % heads;
      let image = index / (tokens * heads);
      let first = image * tokens * rowStride + head * headStride;
      let query1 = first + query * rowStride;
      let query2 = query1 + halfStride;
      let outAt = ((image * tokens + query) * heads + head) * headStride;
    `,
  };
}

const maps = [1, 2] as const;
const keys = range(keysPerStep);
const eachMap = (statement: (map: 1 | 2) => string): Wgsl => lines(maps.map((map) => raw(statement(map))));

/** Scores of keys beyond the end, in the last step, are as low as can be. */
const dropBeyond = (tokens: number): Wgsl => (tokens % keysPerStep === 0 ? empty : lines(keys.slice(1).map((i) => raw(`if (key + ${i}u >= tokens) { score1[${i}] = lowest; score2[${i}] = lowest; }`))));

/** What the norm and the factor multiply with, from the sum of squares. */
const normFactor = ({ headDim, eps, factor = 1 }: DifferentialParams): Wgsl => wgsl`let factor = inverseSqrt(squares / ${f32(headDim)} + ${f32(eps)})${factor === 1 ? empty : raw(` * ${f32(factor)}`)};`;

const launchOf = (params: DifferentialParams, form: string, { bindings, constants, count }: ReturnType<typeof operands>, body: Wgsl): Launch => ({
  kernel: assemble({ id: `${differentialId(params)}_${form}`, bindings, workgroupSize: [workgroup, 1, 1], constants, builtins: linearBuiltins, body }),
  workgroups: cover(count, workgroup),
});

/** Steps of keys, of which the scores of both maps are kept. */
const stepsOf = (tokens: number): number => Math.ceil(tokens / keysPerStep);

/** Whether an invocation's variables hold all scores of a query, and its result. */
const storesScores = ({ tokens, headDim }: DifferentialParams): boolean => 4 * (2 * keysPerStep * stepsOf(tokens) + headDim) <= mostVariableBytes;

/**
 * All scores of a query are kept, and become the weights of one map; then each part of the result is a sum over the tokens. On adapters on a CPU
 * faster than `online`, for values are multiplied once and the sums stay in registers. Loops over a head start at a variable: from constant to
 * constant some compilers unroll them, for tens of seconds.
 */
function storedDifferential(params: DifferentialParams): Launch {
  const { tokens, headDim, scale } = params;
  const parts = operands(params);
  const { element, qkv, out, places } = parts;
  const steps = u32(stepsOf(tokens));
  const vectors = element === "vec4";
  const times = (a: string, b: string): string => (vectors ? `dot(${a}, ${b})` : `${a} * ${b}`);
  const at = (index: string): string => asFull(`qkv[${index}]`, qkv);
  const scaled = scale === 1 ? "" : ` * ${f32(scale)}`;
  const type = vectors ? "vec4<f32>" : "f32";
  return launchOf(
    params,
    "stored",
    parts,
    wgsl`
      ${places}
      ${eachMap((map) => `var scores${map}: array<vec4<f32>, ${steps}>; var largest${map} = vec4<f32>(lowest);`)}
      for (var step = 0u; step < ${steps}; step++) {
        let key = step * ${u32(keysPerStep)};
        ${lines(keys.map((i) => raw(`let k${i}_1 = first + ${clampedKey(tokens, i)} * rowStride + kOffset; let k${i}_2 = k${i}_1 + halfStride;`)))}
        ${eachMap((map) => `var score${map} = vec4<f32>(0.0);`)}
        for (var at = query1; at < query2; at++) {
          let c = at - query1;
          ${eachMap((map) => `let q${map} = ${at(`query${map} + c`)}; score${map} += vec4<f32>(${keys.map((i) => times(`q${map}`, at(`k${i}_${map} + c`))).join(", ")});`)}
        }
        ${lines([...(scaled ? [eachMap((map) => `score${map} = score${map}${scaled};`)] : []), dropBeyond(tokens)])}
        ${eachMap((map) => `scores${map}[step] = score${map}; largest${map} = max(largest${map}, score${map});`)}
      }
      ${eachMap((map) => `let top${map} = max(max(largest${map}.x, largest${map}.y), max(largest${map}.z, largest${map}.w)); var sum${map} = vec4<f32>(0.0);`)}
      for (var step = 0u; step < ${steps}; step++) {
        ${eachMap((map) => `let e${map} = exp(scores${map}[step] - top${map}); scores${map}[step] = e${map}; sum${map} += e${map};`)}
      }
      let share = 1.0 / dot(sum1, vec4<f32>(1.0));
      let subtracted = lambda[0] / dot(sum2, vec4<f32>(1.0));
      for (var step = 0u; step < ${steps}; step++) { scores1[step] = scores1[step] * share - scores2[step] * subtracted; }
      var results: array<${raw(type)}, ${u32(headDim / (vectors ? 4 : 1))}>;
      var squares = 0.0;
      for (var at = outAt; at < outAt + headStride; at++) {
        let c = at - outAt;
        var sum = ${raw(vectors ? "vec4<f32>(0.0)" : "0.0")};
        let column = first + vOffset + c;
        for (var step = 0u; step < ${steps}; step++) {
          let key = step * ${u32(keysPerStep)};
          let weight = scores1[step];
          sum += ${raw(keys.map((i) => `weight[${i}] * ${at(`column + ${clampedKey(tokens, i)} * rowStride`)}`).join(" + "))};
        }
        results[c] = sum;
        squares += ${raw(times("sum", "sum"))};
      }
      ${normFactor(params)}
      for (var at = outAt; at < outAt + headStride; at++) { out[at] = ${asStored("results[at - outAt] * factor * scale[at - outAt]", out)}; }
    `,
  );
}

/** Both softmaxes online as in `register.ts`, each with a sum of its own; each value is read once for both. For any number of tokens. */
function onlineDifferential(params: DifferentialParams): Launch {
  const { tokens, headDim, scale, dtypes } = params;
  const parts = operands(params);
  const { element, places } = parts;
  const half = registers({ width: headDim / 2, element, outType: dtypes.out, unrollUpTo });
  const whole = registers({ width: headDim, element, outType: dtypes.out, unrollUpTo });
  const scaled = scale === 1 ? "" : ` * ${f32(scale)}`;
  const finite = (value: string): string => (dtypes.out === "f16" ? `clamp(${value}, vec4<f32>(-65504.0), vec4<f32>(65504.0))` : value);
  return launchOf(
    params,
    "online",
    parts,
    wgsl`
      ${places}
      ${lines(maps.map((map) => half.declare(`q${map}_`)))}
      ${half.each((c) => eachMap((map) => `${half.at(`q${map}_`, c)} = ${half.load("qkv", `query${map}`, c)}${scaled};`))}
      ${lines(maps.map((map) => whole.declare(`sum${map}_`)))}
      ${whole.each((c) => eachMap((map) => `${whole.at(`sum${map}_`, c)} = vec4<f32>(0.0);`))}
      ${eachMap((map) => `var largest${map} = lowest; var total${map} = 0.0;`)}
      for (var key = 0u; key < tokens; key += ${u32(keysPerStep)}) {
        ${lines(keys.map((i) => raw(`let row${i} = first + ${clampedKey(tokens, i)} * rowStride; let k${i}_1 = row${i} + kOffset; let k${i}_2 = k${i}_1 + halfStride; let v${i} = row${i} + vOffset;`)))}
        ${eachMap((map) => `var score${map} = vec4<f32>(0.0);`)}
        ${half.each((c) => lines(keys.map((i) => eachMap((map) => `score${map}[${i}] += dot(${half.at(`q${map}_`, c)}, ${half.load("qkv", `k${i}_${map}`, c)});`))))}
        ${dropBeyond(tokens)}
        ${eachMap((map) => `let next${map} = max(largest${map}, max(max(score${map}.x, score${map}.y), max(score${map}.z, score${map}.w)));`)}
        ${eachMap((map) => `let keep${map} = exp(largest${map} - next${map}); let weight${map} = exp(score${map} - next${map}); largest${map} = next${map};`)}
        ${eachMap((map) => `total${map} = total${map} * keep${map} + dot(weight${map}, vec4<f32>(1.0));`)}
        ${whole.each(
          (c) => wgsl`
            {
              ${lines(keys.map((i) => raw(`let value${i} = ${whole.load("qkv", `v${i}`, c)};`)))}
              ${eachMap((map) => `${whole.at(`sum${map}_`, c)} = ${whole.at(`sum${map}_`, c)} * keep${map} + ${keys.map((i) => `weight${map}[${i}] * value${i}`).join(" + ")};`)}
            }
          `,
        )}
      }
      let subtracted = lambda[0] / total2;
      var squares = 0.0;
      ${whole.each((c) => {
        const [one, two] = maps.map((map) => whole.at(`sum${map}_`, c));
        return raw(`${one} = ${one} / total1 - subtracted * ${two}; squares += dot(${one}, ${one});`);
      })}
      ${normFactor(params)}
      ${whole.each((c) => whole.store("outAt", c, finite(`${whole.at("sum1_", c)} * factor * ${whole.load("scale", "0u", c)}`)))}
    `,
  );
}
