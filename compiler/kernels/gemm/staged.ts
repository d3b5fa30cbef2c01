import { assemble, type Launch } from "../kernel.js";
import { empty, f32, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { epilogue } from "./epilogue.js";
import { gemmBindings, gemmKernelId, padColumns, type GemmParams } from "./params.js";
import { loader } from "./source.js";

/** A block of the output that a workgroup computes, and how its invocations share it. */
export interface StagedTile {
  /** Rows and columns of the block, and how much of the inner dimension is staged at a time. */
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  /** Rows and columns of one invocation; both multiples of 4. */
  readonly each: readonly [rows: number, cols: number];
  /** Into how many parts the inner dimension is split among the invocations of a workgroup; their sums are added at the end. */
  readonly slices: number;
}

export const stagedName = ({ rows, cols, depth, each, slices }: StagedTile): string => `staged_${rows}x${cols}x${depth}_each${each[0]}x${each[1]}${slices > 1 ? `_split${slices}` : ""}`;

/** Rows of the staged left matrix lie this many values further apart than they are long, so that invocations which store together use different banks. */
const bankPadding = 4;

export const stagedInvocations = ({ rows, cols, each, slices }: StagedTile): number => (rows / each[0]) * (cols / each[1]) * slices;

/** Bytes of workgroup memory. */
export function stagedBytes(tile: StagedTile, norm: boolean): number {
  const perSlice = tile.depth * (tile.rows + bankPadding + tile.cols);
  return 4 * (perSlice * tile.slices + sharedVectors(tile, norm) * 4);
}

/** vec4s that are needed once the products are done: for the parts of the sums, or of the rows' statistics. */
function sharedVectors({ rows, cols, depth, slices }: StagedTile, norm: boolean): number {
  return Math.max(slices > 1 ? (rows * cols) / 4 : 0, norm ? rows * (depth / 4) * slices : 0);
}

/**
 * Family `staged`: a workgroup brings a block of A and of W into its memory, and each invocation multiplies a tile of them from there: the
 * usual form on GPUs. With `slices` the workgroup's invocations also share the inner dimension (split-K), which fills a GPU when the
 * output has few blocks; the parts are added in a fixed order, so results stay the same from run to run.
 * A is staged with rows innermost, so that an invocation reads four rows as one vec4.
 */
export function stagedGemm(params: GemmParams, tile: StagedTile): Launch {
  const { source, cols, norm } = params;
  const { rows, depth, each, slices } = tile;
  const columnGroups = padColumns(cols) / 4;
  const left = loader(source);
  const perSlice = stagedInvocations(tile) / slices;
  const across = tile.cols / each[1];
  const groups = tile.cols / 4;
  const rowVectors = (rows + bankPadding) / 4;
  const leftLoads = (rows * depth) / 4 / perSlice;
  const weightLoads = (groups * depth) / perSlice;
  const inline = norm?.from === "inline";
  const tiles = Math.ceil(source.inner / depth / slices);
  const rowSets = range(each[0] / 4);
  const columnSets = range(each[1] / 4);
  const each4 = (body: (r: number, i: number, c: number) => Wgsl): Wgsl => lines(rowSets.flatMap((r) => range(4).flatMap((i) => columnSets.map((c) => body(r, i, c)))));

  // Piece p of an invocation's share is always of the same row, so that row's statistics stay in its registers.
  const loadLeft = range(leftLoads).map((p) => {
    const place = p === 0 ? "worker" : `worker + ${p * perSlice}u`;
    return wgsl`
      {
        let piece = ${raw(place)};
        let row = piece / ${u32(depth / 4)};
        let k = piece % ${u32(depth / 4)} * 4u;
        let value = left(min(firstRow + row, rows - 1u), first + k);
        ${range(4).map((i) => raw(`block_a[(slice * depth + k + ${i}u) * ${rows + bankPadding}u + row] = value[${i}];`))}
        ${inline ? statisticsStep(p) : empty}
      }
    `;
  });
  const loadWeight = range(weightLoads).map((p) => {
    const place = p === 0 ? "worker" : `worker + ${p * perSlice}u`;
    return wgsl`
      {
        let piece = ${raw(place)};
        let k = piece / ${u32(groups)};
        let group = piece % ${u32(groups)};
        block_w[(slice * depth + k) * ${u32(groups)} + group] = vec4<f32>(weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)]);
      }
    `;
  });

  const multiply = wgsl`
    for (var k = slice * depth; k < slice * depth + depth; k++) {
      ${lines(rowSets.map((r) => raw(`let a${r} = vec4<f32>(${range(4).map((i) => `block_a[k * ${rows + bankPadding}u + down * ${each[0]}u + ${r * 4 + i}u]`).join(", ")});`)))}
      ${lines(columnSets.map((c) => raw(`let w${c} = block_w[k * ${groups}u + right * ${each[1] / 4}u + ${c}u];`)))}
      ${each4((r, i, c) => raw(`sum${r * 4 + i}_${c} = fma(vec4<f32>(a${r}[${i}]), w${c}, sum${r * 4 + i}_${c});`))}
    }
  `;

  const body = wgsl`
    let slice = lane / ${u32(perSlice)};
    let worker = lane % ${u32(perSlice)};
    let down = worker / ${u32(across)};
    let right = worker % ${u32(across)};
    let firstRow = group_id.y * ${u32(rows)};
    let firstGroup = group_id.x * ${u32(groups)};
    ${each4((r, i, c) => raw(`var sum${r * 4 + i}_${c} = vec4<f32>(0.0);`))}
    ${inline ? lines(range(leftLoads).map((p) => raw(`var mean${p} = vec4<f32>(0.0); var squares${p} = vec4<f32>(0.0); var seen${p} = 0.0;`))) : empty}
    for (var step = 0u; step < ${u32(tiles)}; step++) {
      let first = (slice * ${u32(tiles)} + step) * depth;
      ${lines([...loadLeft, ...loadWeight])}
      workgroupBarrier();
      ${multiply}
      workgroupBarrier();
    }
    ${inline ? shareStatistics(tile, leftLoads, perSlice) : norm ? givenScales(tile) : empty}
    ${slices > 1 ? addSlices(tile, each4) : empty}
    ${each4((r, i, c) => raw(`finish(firstRow + down * ${each[0]}u + ${r * 4 + i}u, firstGroup + right * ${each[1] / 4}u + ${c}u, sum${r * 4 + i}_${c}${norm ? ` * scale${r * 4 + i}` : ""});`))}
  `;

  const vectors = sharedVectors(tile, inline);
  return {
    kernel: assemble({
      id: gemmKernelId(params, stagedName(tile)),
      bindings: gemmBindings(params, left),
      workgroupSize: [stagedInvocations(tile), 1, 1],
      constants: { rows: u32(source.rows), inner: u32(source.inner), depth: u32(depth), columnGroups: u32(columnGroups), ...left.constants },
      shared: {
        block_a: raw(`array<f32, ${slices * depth * rowVectors * 4}>`),
        block_w: raw(`array<vec4<f32>, ${slices * depth * groups}>`),
        ...(vectors > 0 && { parts: raw(`array<vec4<f32>, ${vectors}>`) }),
      },
      helpers: [left.random, inline ? rowScale(tile, source.inner, norm.eps) : empty, ...epilogue(params)],
      builtins: raw("@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>"),
      body,
    }),
    workgroups: [Math.ceil(columnGroups / groups), Math.ceil(source.rows / rows), 1],
  };
}

/** Welford's update of a piece, in each lane of its vec4; see `register.ts`. What lies beyond the row's end does not count. */
const statisticsStep = (p: number): Wgsl => wgsl`
  if (first + k < inner) {
    ${lines([raw(`seen${p} += 1.0;`), raw(`let off = value - mean${p};`), raw(`mean${p} += off / seen${p};`), raw(`squares${p} += off * (value - mean${p});`)])}
  }
`;

/** Shares the statistics of each piece and leaves `scale<r>` of the invocation's rows. */
function shareStatistics({ rows, depth, each, slices }: StagedTile, pieces: number, perSlice: number): Wgsl {
  const store = (p: number): Wgsl => wgsl`
    {
      let mean = dot(${raw(`mean${p}`)}, vec4<f32>(0.25));
      let apart = ${raw(`mean${p}`)} - mean;
      let squares = dot(${raw(`squares${p}`)}, vec4<f32>(1.0)) + ${raw(`seen${p}`)} * dot(apart, apart);
      parts[slice * ${u32((rows * depth) / 4)} + worker + ${u32(p * perSlice)}] = vec4<f32>(mean, squares, 4.0 * ${raw(`seen${p}`)}, 0.0);
    }
  `;
  return lines([
    ...range(pieces).map(store),
    raw("workgroupBarrier();"),
    ...range(each[0]).map((r) => raw(`let scale${r} = row_scale(down * ${each[0]}u + ${r}u);`)),
    // The same memory takes the parts of the sums next.
    slices > 1 ? raw("workgroupBarrier();") : empty,
  ]);
}

/** Joins the pieces of a row, each (mean, squared deviations from it, count), by the formula of Chan, Golub and LeVeque (1983). */
function rowScale({ rows, depth, slices }: StagedTile, inner: number, eps: number): Wgsl {
  const perRow = depth / 4;
  const each = (body: Wgsl): Wgsl => wgsl`
    for (var i = 0u; i < ${u32(perRow * slices)}; i++) {
      let part = parts[i / ${u32(perRow)} * ${u32(rows * perRow)} + row * ${u32(perRow)} + i % ${u32(perRow)}];
      ${body}
    }
  `;
  return wgsl`
    fn row_scale(row: u32) -> f32 {
      var mean = 0.0;
      ${each(raw(`mean += part.x * (part.z / ${f32(inner)});`))}
      var squares = 0.0;
      ${each(raw("squares += part.y + part.z * (part.x - mean) * (part.x - mean);"))}
      return inverseSqrt(squares / ${f32(inner)} + ${f32(eps)});
    }
  `;
}

const givenScales = ({ each }: StagedTile): Wgsl => lines(range(each[0]).map((r) => raw(`let scale${r} = rstd[min(firstRow + down * ${each[0]}u + ${r}u, rows - 1u)];`)));

/** Adds the slices' sums to those of the first, one slice after the other. */
function addSlices(tile: StagedTile, each4: (body: (r: number, i: number, c: number) => Wgsl) => Wgsl): Wgsl {
  const { each, slices } = tile;
  const perSlice = stagedInvocations(tile) / slices;
  const at = (r: number, i: number, c: number): string => `parts[${((r * 4 + i) * each[1]) / 4 + c}u * ${perSlice}u + worker]`;
  return lines([
    ...range(slices - 1).map(
      (s) => wgsl`
        if (slice == ${u32(s + 1)}) {
          ${each4((r, i, c) => raw(`${at(r, i, c)} = sum${r * 4 + i}_${c};`))}
        }
        workgroupBarrier();
        if (slice == 0u) {
          ${each4((r, i, c) => raw(`sum${r * 4 + i}_${c} += ${at(r, i, c)};`))}
        }
        workgroupBarrier();
      `,
    ),
    raw("if (slice > 0u) { return; }"),
  ]);
}
