import { assemble, type Launch } from "../kernel.js";
import { empty, f32, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { epilogue } from "./epilogue.js";
import { gemmBindings, gemmKernelId, padColumns, type GemmParams } from "./params.js";
import { loader } from "./source.js";

/** Rows of an invocation, invocations side by side (four columns each), and how many share the inner dimension. */
export interface SplitTile {
  readonly rows: number;
  readonly across: number;
  readonly slices: number;
}

export const splitName = ({ rows, across, slices }: SplitTile): string => `split_${rows}x4_w${across}_k${slices}`;

/**
 * Family `split`: for few rows, where reading the weight is all the work. Each invocation multiplies a share of the inner dimension, straight
 * from storage; the shares are then added in a fixed order in workgroup memory. Neighbours read neighbouring columns, so reads coalesce.
 */
export function splitGemm(params: GemmParams, tile: SplitTile): Launch {
  const { source, cols, norm } = params;
  const { across, slices } = tile;
  const columnGroups = padColumns(cols) / 4;
  const left = loader(source);
  const rows = range(tile.rows);
  const inline = norm?.from === "inline";
  const invocations = across * slices;
  const steps = Math.ceil(source.inner / 4);

  const body = wgsl`
    let slice = lane / ${u32(across)};
    let group = group_id.x * ${u32(across)} + lane % ${u32(across)};
    let column = min(group, columnGroups - 1u);
    let firstRow = group_id.y * ${u32(tile.rows)};
    ${lines(rows.map((r) => raw(`let row${r} = min(firstRow + ${r}u, rows - 1u);`)))}
    ${lines(rows.map((r) => raw(`var sum${r} = vec4<f32>(0.0);`)))}
    ${inline ? lines([raw("var seen = 0.0;"), ...rows.map((r) => raw(`var mean${r} = vec4<f32>(0.0); var squares${r} = vec4<f32>(0.0);`))]) : empty}
    for (var step = slice; step < ${u32(steps)}; step += ${u32(slices)}) {
      let k = step * 4u;
      ${lines(rows.map((r) => raw(`let a${r} = left(row${r}, k);`)))}
      ${inline ? lines([raw("seen += 1.0;"), ...rows.map((r) => raw(`let off${r} = a${r} - mean${r}; mean${r} += off${r} / seen; squares${r} += off${r} * (a${r} - mean${r});`))]) : empty}
      ${lines(
        range(4).flatMap((i) => [
          raw(`let w${i} = vec4<f32>(weight[${source.inner % 4 === 0 ? `(k + ${i}u)` : `min(k + ${i}u, inner - 1u)`} * columnGroups + column]);`),
          ...rows.map((r) => raw(`sum${r} = fma(vec4<f32>(a${r}[${i}]), w${i}, sum${r});`)),
        ]),
      )}
    }
    ${inline ? lines(rows.map((r) => sharePiece(r, tile))) : empty}
    ${lines(rows.map((r) => raw(`parts[${r * invocations}u + lane] = sum${r};`)))}
    workgroupBarrier();
    if (slice > 0u) { return; }
    ${lines(rows.map((r) => addUp(r, tile, invocations, norm ? (inline ? ` * row_scale(${r}u)` : ` * statistics[2u * row${r} + 1u]`) : "")))}
  `;

  return {
    kernel: assemble({
      id: gemmKernelId(params, splitName(tile)),
      bindings: gemmBindings(params, left),
      workgroupSize: [invocations, 1, 1],
      constants: { rows: u32(source.rows), inner: u32(source.inner), columnGroups: u32(columnGroups), ...left.constants },
      shared: { parts: raw(`array<vec4<f32>, ${tile.rows * invocations}>`), ...(inline && { pieces: raw(`array<vec3<f32>, ${tile.rows * slices}>`) }) },
      helpers: [left.random, inline ? rowScale(tile, source.inner, norm.eps) : empty, ...epilogue(params)],
      builtins: raw("@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>"),
      body,
    }),
    workgroups: [Math.ceil(columnGroups / across), Math.ceil(source.rows / tile.rows), 1],
  };
}

/** All invocations of a slice have the same statistics; the first leaves them: mean, squared deviations, count of all four lanes. */
const sharePiece = (r: number, { across, slices }: SplitTile): Wgsl => wgsl`
  if (lane % ${u32(across)} == 0u) {
    let mean = dot(${raw(`mean${r}`)}, vec4<f32>(0.25));
    let apart = ${raw(`mean${r}`)} - mean;
    pieces[${u32(r * slices)} + slice] = vec3<f32>(mean, dot(${raw(`squares${r}`)}, vec4<f32>(1.0)) + seen * dot(apart, apart), 4.0 * seen);
  }
`;

const addUp = (r: number, { across, slices }: SplitTile, invocations: number, scale: string): Wgsl => wgsl`
  {
    var sum = ${raw(`sum${r}`)};
    for (var i = 1u; i < ${u32(slices)}; i++) { sum += parts[${u32(r * invocations)} + lane + i * ${u32(across)}]; }
    finish(firstRow + ${u32(r)}, group, sum${raw(scale)});
  }
`;

/** Joins the slices' statistics of a row by the formula of Chan, Golub and LeVeque (1983). */
const rowScale = ({ slices }: SplitTile, inner: number, eps: number): Wgsl => wgsl`
  fn row_scale(row: u32) -> f32 {
    var mean = 0.0;
    for (var i = 0u; i < ${u32(slices)}; i++) { mean += pieces[row * ${u32(slices)} + i].x * (pieces[row * ${u32(slices)} + i].z / ${f32(inner)}); }
    var squares = 0.0;
    for (var i = 0u; i < ${u32(slices)}; i++) {
      let piece = pieces[row * ${u32(slices)} + i];
      squares += piece.y + piece.z * (piece.x - mean) * (piece.x - mean);
    }
    return inverseSqrt(squares / ${f32(inner)} + ${f32(eps)});
  }
`;
