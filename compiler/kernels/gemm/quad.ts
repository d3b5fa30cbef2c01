import { assemble, type Launch } from "../kernel.js";
import { quad, quadBuiltin, quadMember, quadNeeds, swap } from "../quad.js";
import { empty, lines, range, raw, u32, wgsl } from "../wgsl.js";
import { epilogue } from "./epilogue.js";
import { gemmBindings, gemmKernelId, padColumns, type GemmParams } from "./params.js";
import { inlineStatistics } from "./register.js";
import { loader } from "./source.js";

/** Rows of one invocation, a multiple of 4, and how many invocations stand side by side in a workgroup; each has four columns. */
export interface QuadTile {
  readonly rows: number;
  readonly across: number;
}

export const quadName = ({ rows, across }: QuadTile): string => `quad_${rows}x4_w${across}`;

/**
 * Family `quad`: like `register`, but each of four neighbours reads only every fourth row of A, and gives it to the other three by quad
 * operations. All invocations of a workgroup have the same rows and different columns, so it does not matter which four make a quad.
 */
export function quadGemm(params: GemmParams, tile: QuadTile): Launch {
  const { source, cols, norm } = params;
  const columnGroups = padColumns(cols) / 4;
  const left = loader(source);
  const own = range(tile.rows / quad);
  const slots = range(tile.rows);
  const statistics = norm?.from === "inline" ? inlineStatistics(left.width, source.inner, norm.eps) : undefined;
  const steps = range(left.width);

  const accumulate = lines([
    ...own.map((i) => left.load(i)),
    ...(statistics ? [statistics.step, ...own.map((i) => statistics.each(i))] : []),
    ...steps.map((k) => raw(`let w${k} = vec4<f32>(weight[at + ${k}u * columnGroups]);`)),
    ...slots.map((s) => {
      const value = left.width === 1 ? [`given${s}`] : steps.map((k) => `given${s}[${k}]`);
      return lines([raw(`let given${s} = ${swap(s % quad, `a${Math.floor(s / quad)}`)};`), raw(`sum${s} = ${steps.reduce((sum, k) => `fma(vec4<f32>(${value[k]}), w${k}, ${sum})`, `sum${s}`)};`)]);
    }),
    raw(`at += ${left.width}u * columnGroups;`),
  ]);

  const scales = statistics
    ? lines(own.map((i) => statistics.finish(i)))
    : norm
      ? lines(own.map((i) => raw(`let scale${i} = statistics[2u * row${i} + 1u];`)))
      : empty;
  // The last loop starts at a variable: with a constant count it is unrolled, and compiles several times as long.
  const body = wgsl`
    ${quadMember}
    let firstRow = workgroup.y * ${u32(tile.rows)};
    let group = id.x;
    ${lines(own.map((i) => raw(`let row${i} = min(firstRow + ${i * quad}u + member, rows - 1u);`)))}
    ${lines(own.map((i) => left.prepare(i)))}
    ${lines(slots.map((s) => raw(`var sum${s} = vec4<f32>(0.0);`)))}
    ${statistics ? lines([statistics.begin, ...own.map((i) => statistics.declare(i))]) : empty}
    var at = min(group, columnGroups - 1u);
    ${left.loop(accumulate)}
    ${scales}
    var sums: array<vec4<f32>, ${u32(tile.rows)}>;
    ${lines(slots.map((s) => raw(`sums[${s}] = sum${s}${norm ? ` * ${swap(s % quad, `scale${Math.floor(s / quad)}`)}` : ""};`)))}
    for (var r = firstRow; r < firstRow + ${u32(tile.rows)}; r++) {
      finish(r ^ member, group, sums[r - firstRow]);
    }
  `;

  return {
    kernel: assemble({
      id: gemmKernelId(params, quadName(tile)),
      bindings: gemmBindings(params, left),
      workgroupSize: [tile.across, 1, 1],
      constants: { rows: u32(source.rows), columnGroups: u32(columnGroups), ...left.constants },
      helpers: epilogue(params),
      builtins: raw(`@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) workgroup: vec3<u32>, ${quadBuiltin}`),
      body,
      needs: quadNeeds,
    }),
    workgroups: [Math.ceil(columnGroups / tile.across), Math.ceil(source.rows / tile.rows), 1],
  };
}
