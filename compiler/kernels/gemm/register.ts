import { assemble, type Launch } from "../kernel.js";
import { empty, f32, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { epilogue } from "./epilogue.js";
import { gemmBindings, gemmKernelId, padColumns, type GemmParams } from "./params.js";
import { loader } from "./source.js";

/** Rows and columns that one invocation computes, and invocations of a workgroup across columns and down rows. */
export interface RegisterTile {
  readonly rows: number;
  /** A multiple of 4. */
  readonly cols: number;
  readonly across: number;
  readonly down: number;
}

export const registerName = ({ rows, cols, across, down }: RegisterTile): string => `register_${rows}x${cols}_w${across}x${down}`;

/**
 * Family `register`: each invocation keeps a tile in registers and reads A and W straight from storage; no workgroup memory, no barrier.
 * On software adapters that is fast, because there every load is a gather and only FMAs per load count; anywhere it is the simplest.
 * W is packed [inner][cols padded], so that a row of it is read as vec4s. Rows beyond the last read the last row and store nothing.
 */
export function registerGemm(params: GemmParams, tile: RegisterTile): Launch {
  const { source, cols, norm } = params;
  const columnGroups = padColumns(cols) / 4;
  const left = loader(source);
  const groups = tile.cols / 4;
  const rows = range(tile.rows);
  const columns = range(groups);
  const statistics = norm?.from === "inline" ? inlineStatistics(left.width, source.inner, norm.eps) : undefined;
  // A tile that reaches beyond the padded columns reads the last ones there, and stores nothing.
  const group = (c: number): string => (c === 0 ? "firstGroup" : columnGroups % groups === 0 ? `firstGroup + ${c}u` : `min(firstGroup + ${c}u, columnGroups - 1u)`);

  const accumulate = lines([
    ...rows.map((r) => left.load(r)),
    ...(statistics ? [statistics.step, ...rows.map((r) => statistics.each(r))] : []),
    ...range(left.width).flatMap((k) => [
      ...columns.map((c) => raw(`let w${k}_${c} = vec4<f32>(weight[at + ${k}u * columnGroups + g${c}]);`)),
      ...rows.flatMap((r) => columns.map((c) => raw(`sum${r}_${c} = fma(vec4<f32>(a${r}${left.width === 1 ? "" : `[${k}]`}), w${k}_${c}, sum${r}_${c});`))),
    ]),
    raw(`at += ${left.width}u * columnGroups;`),
  ]);

  const scale = (r: number): string => (!norm ? "" : norm.from === "inline" ? ` * scale${r}` : ` * statistics[2u * row${r} + 1u]`);
  const body = wgsl`
    let firstRow = id.y * ${u32(tile.rows)};
    let firstGroup = id.x * ${u32(groups)};
    if (firstRow >= rows || firstGroup >= columnGroups) { return; }
    ${lines(rows.map((r) => raw(`let row${r} = min(firstRow + ${r}u, rows - 1u);`)))}
    ${lines(columns.map((c) => raw(`let g${c} = ${group(c)};`)))}
    ${lines(rows.map((r) => left.prepare(r)))}
    ${lines(rows.flatMap((r) => columns.map((c) => raw(`var sum${r}_${c} = vec4<f32>(0.0);`))))}
    ${statistics ? lines([statistics.begin, ...rows.map((r) => statistics.declare(r))]) : empty}
    var at = 0u;
    ${left.loop(accumulate)}
    ${statistics ? lines(rows.map((r) => statistics.finish(r))) : empty}
    ${lines(rows.flatMap((r) => columns.map((c) => raw(`finish(firstRow + ${r}u, firstGroup + ${c}u, sum${r}_${c}${scale(r)});`))))}
  `;

  return {
    kernel: assemble({
      id: gemmKernelId(params, registerName(tile)),
      bindings: gemmBindings(params, left),
      workgroupSize: [tile.across, tile.down, 1],
      constants: { rows: u32(source.rows), columnGroups: u32(columnGroups), ...left.constants },
      helpers: [...epilogue(params)],
      builtins: raw("@builtin(global_invocation_id) id: vec3<u32>"),
      body,
    }),
    workgroups: [Math.ceil(columnGroups / groups / tile.across), Math.ceil(source.rows / tile.rows / tile.down), 1],
  };
}

/**
 * The variance of a row while it is read, by Welford's update in each of the lanes of a load (Chan, Golub and LeVeque 1983 joins them):
 * sums of squares would cancel where a row's mean, or one outlier, is large.
 */
export function inlineStatistics(width: 1 | 4, inner: number, eps: number) {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const join = (r: number): Wgsl =>
    width === 4
      ? lines([
          raw(`let apart${r} = mean${r} - dot(mean${r}, vec4<f32>(0.25));`),
          raw(`let variance${r} = (dot(squares${r}, vec4<f32>(1.0)) + ${f32(inner / 4)} * dot(apart${r}, apart${r})) / ${f32(inner)};`),
        ])
      : raw(`let variance${r} = squares${r} / ${f32(inner)};`);
  return {
    begin: raw("var seen = 0.0;"),
    declare: (r: number): Wgsl => lines([raw(`var mean${r} = ${type}(0.0);`), raw(`var squares${r} = ${type}(0.0);`)]),
    step: lines([raw("seen += 1.0;"), raw("let share = 1.0 / seen;")]),
    each: (r: number): Wgsl => lines([raw(`let off${r} = a${r} - mean${r};`), raw(`mean${r} += off${r} * share;`), raw(`squares${r} += off${r} * (a${r} - mean${r});`)]),
    finish: (r: number): Wgsl => lines([join(r), raw(`let scale${r} = inverseSqrt(variance${r} + ${f32(eps)});`)]),
  };
}
