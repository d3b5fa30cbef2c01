import { assemble, type KernelNeeds, type Launch } from "../kernel.js";
import { empty, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { epilogue } from "./epilogue.js";
import { gemmBindings, gemmKernelId, padColumns, type GemmParams } from "./params.js";
import { loader } from "./source.js";

/** A block of the output that a workgroup computes with matrix units. */
export interface MatrixTile {
  /** Rows and columns of the block, and how much of the inner dimension is staged at a time. */
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  /** Subgroups down and across the block; each computes an equal part of it. */
  readonly subgroups: readonly [down: number, across: number];
  /** What one instruction multiplies: left [m, k] times right [k, n]. */
  readonly unit: readonly [m: number, n: number, k: number];
}

export const matrixName = ({ rows, cols, depth, subgroups, unit }: MatrixTile): string => `matrix_${rows}x${cols}x${depth}_sub${subgroups.join("x")}_unit${unit.join("x")}`;

/** Invocations of a subgroup, which the tiles are made for. */
export const matrixSubgroup = 32;

/** f16s between rows in workgroup memory beyond their length, so that the rows of a unit start in different banks. */
const padding = 8;

export const matrixInvocations = ({ subgroups }: MatrixTile): number => subgroups[0] * subgroups[1] * matrixSubgroup;

/** Bytes of workgroup memory. */
export function matrixBytes(tile: MatrixTile): number {
  const { rows, cols, depth, unit, subgroups } = tile;
  return 2 * (rows * (depth + padding) + depth * (cols + padding)) + 4 * subgroups[0] * subgroups[1] * unit[0] * unit[1];
}

/**
 * Family `matrix`: blocks of A and W are staged as f16, and subgroups multiply them with matrix units (`chromium-experimental-subgroup-matrix`),
 * adding up in f32. Units give no access to single elements, so finished tiles go through workgroup memory to the epilogue.
 * A is rounded to f16 (and held to its range) as it is staged. Rows that are to be normalised are so before: what is left of a large mean
 * or an outlier after the rounding would not cancel. They need their statistics given.
 *
 * `emulate`: the same tiles, staging and order of sums in plain WGSL, each invocation of a subgroup computing its share of a unit. It is slow,
 * and there to test the tile mathematics on adapters without matrix units.
 */
export function matrixGemm(params: GemmParams, tile: MatrixTile, { emulate = false }: { readonly emulate?: boolean } = {}): Launch {
  const { source, cols, norm } = params;
  const { rows, depth, subgroups, unit } = tile;
  const [m, n, k] = unit;
  const columnGroups = padColumns(cols) / 4;
  const left = loader(source);
  const invocations = matrixInvocations(tile);
  const groups = tile.cols / 4;
  // Units that a subgroup computes, down and across.
  const [down, across] = [rows / subgroups[0] / m, tile.cols / subgroups[1] / n];
  const [leftStride, rightStride] = [depth + padding, tile.cols + padding];
  const leftPieces = (rows * depth) / 4 / invocations;
  const rightPieces = (groups * depth) / invocations;
  const units = emulate ? emulatedUnits(tile, leftStride, rightStride) : hardwareUnits(tile, leftStride, rightStride);

  const stageLeft = range(leftPieces).map(
    (p) => wgsl`
      {
        let piece = lane + ${u32(p * invocations)};
        let row = piece / ${u32(depth / 4)};
        let k = piece % ${u32(depth / 4)} * 4u;
        let source_row = min(firstRow + row, rows - 1u);
        let value = ${raw(norm ? "(left(source_row, first + k) - statistics[2u * source_row]) * statistics[2u * source_row + 1u]" : "left(source_row, first + k)")};
        let half = vec4<f16>(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
        ${range(4).map((i) => raw(`block_a[row * ${leftStride}u + k + ${i}u] = half[${i}];`))}
      }
    `,
  );
  const stageRight = range(rightPieces).map(
    (p) => wgsl`
      {
        let piece = lane + ${u32(p * invocations)};
        let k = piece / ${u32(groups)};
        let group = piece % ${u32(groups)};
        let value = weight[min(first + k, inner - 1u) * columnGroups + min(firstGroup + group, columnGroups - 1u)];
        ${range(4).map((i) => raw(`block_w[k * ${rightStride}u + group * 4u + ${i}u] = value[${i}];`))}
      }
    `,
  );
  const multiply = wgsl`
    for (var k = 0u; k < ${u32(depth)}; k += ${u32(k)}) {
      ${lines(range(across).map((c) => units.loadRight(`right${c}`, `k * ${rightStride}u + subColumn + ${c * n}u`)))}
      ${lines(range(down).flatMap((r) => [units.loadLeft(`left${r}`, `(subRow + ${r * m}u) * ${leftStride}u + k`), ...range(across).map((c) => units.multiply(r * across + c, `left${r}`, `right${c}`))]))}
    }
  `;
  const perUnit = (m * n) / 4;
  const drain = range(down).flatMap((r) =>
    range(across).map(
      (c) => wgsl`
        ${units.store(r * across + c, `subgroup * ${m * n}u`)}
        workgroupBarrier();
        for (var i = member; i < ${u32(perUnit)}; i += ${u32(matrixSubgroup)}) {
          let row = subRow + ${u32(r * m)} + i / ${u32(n / 4)};
          let at = subgroup * ${u32(m * n)} + i * 4u;
          finish(firstRow + row, firstGroup + (subColumn + ${u32(c * n)}) / 4u + i % ${u32(n / 4)}, vec4<f32>(drained[at], drained[at + 1u], drained[at + 2u], drained[at + 3u]));
        }
        workgroupBarrier();
      `,
    ),
  );

  const body = wgsl`
    let subgroup = ${raw(emulate ? `lane / ${matrixSubgroup}u` : "subgroup_index")};
    let member = ${raw(emulate ? `lane % ${matrixSubgroup}u` : "subgroup_member")};
    let subRow = subgroup / ${u32(subgroups[1])} * ${u32(down * m)};
    let subColumn = subgroup % ${u32(subgroups[1])} * ${u32(across * n)};
    let firstRow = group_id.y * ${u32(rows)};
    let firstGroup = group_id.x * ${u32(groups)};
    ${units.declare(down * across)}
    for (var first = 0u; first < inner; first += ${u32(depth)}) {
      ${lines([...stageLeft, ...stageRight])}
      workgroupBarrier();
      ${multiply}
      workgroupBarrier();
    }
    ${lines(drain)}
  `;

  const needs: KernelNeeds = emulate
    ? { enables: [], features: [] }
    : { enables: ["subgroups", "chromium_experimental_subgroup_matrix"], features: ["subgroups", "chromium-experimental-subgroup-matrix"], subgroupSize: matrixSubgroup, matrix: unit };
  return {
    kernel: assemble({
      id: gemmKernelId(params, `${matrixName(tile)}${emulate ? "_emulated" : ""}`),
      bindings: gemmBindings(params, left),
      workgroupSize: [invocations, 1, 1],
      constants: { rows: u32(source.rows), inner: u32(source.inner), columnGroups: u32(columnGroups), ...left.constants },
      shared: {
        block_a: raw(`array<f16, ${rows * leftStride}>`),
        block_w: raw(`array<f16, ${depth * rightStride}>`),
        drained: raw(`array<f32, ${subgroups[0] * subgroups[1] * m * n}>`),
      },
      helpers: [left.random, units.helper, ...epilogue(params)],
      builtins: raw(`@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group_id: vec3<u32>${emulate ? "" : ", @builtin(subgroup_id) subgroup_index: u32, @builtin(subgroup_invocation_id) subgroup_member: u32"}`),
      body,
      needs,
    }),
    workgroups: [Math.ceil(columnGroups / groups), Math.ceil(source.rows / rows), 1],
  };
}

/** Text that works on units of the block; `index` counts the accumulators of a subgroup. */
interface Units {
  readonly helper: Wgsl;
  declare(count: number): Wgsl;
  loadLeft(name: string, at: string): Wgsl;
  loadRight(name: string, at: string): Wgsl;
  multiply(index: number, left: string, right: string): Wgsl;
  /** To `drained`, row by row. */
  store(index: number, at: string): Wgsl;
}

function hardwareUnits({ unit: [m, n, k] }: MatrixTile, leftStride: number, rightStride: number): Units {
  const load = (side: string, columns: number, rows: number, block: string, stride: number) => (name: string, at: string) =>
    raw(`let ${name} = subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${columns}, ${rows}>, row_major>(&${block}, ${at}, ${stride}u);`);
  return {
    helper: empty,
    declare: (count) => lines(range(count).map((i) => raw(`var sum${i}: subgroup_matrix_result<f32, ${n}, ${m}>;`))),
    loadLeft: load("left", k, m, "block_a", leftStride),
    loadRight: load("right", n, k, "block_w", rightStride),
    multiply: (i, left, right) => raw(`sum${i} = subgroupMatrixMultiplyAccumulate(${left}, ${right}, sum${i});`),
    store: (i, at) => raw(`subgroupMatrixStore<row_major>(&drained, ${at}, sum${i}, ${n}u);`),
  };
}

function emulatedUnits({ unit: [m, n, k] }: MatrixTile, leftStride: number, rightStride: number): Units {
  // Neighbours in a row of the result.
  const each = (m * n) / matrixSubgroup;
  return {
    helper: wgsl`
      fn multiply_unit(member: u32, left: u32, right: u32, sum: ptr<function, array<f32, ${raw(String(each))}>>) {
        let row = member * ${u32(each)} / ${u32(n)};
        let column = member * ${u32(each)} % ${u32(n)};
        for (var k = 0u; k < ${u32(k)}; k++) {
          for (var i = 0u; i < ${u32(each)}; i++) {
            (*sum)[i] += f32(block_a[left + row * ${u32(leftStride)} + k]) * f32(block_w[right + k * ${u32(rightStride)} + column + i]);
          }
        }
      }
    `,
    declare: (count) => lines(range(count).map((i) => raw(`var sum${i}: array<f32, ${each}>;`))),
    loadLeft: (name, at) => raw(`let ${name} = ${at};`),
    loadRight: (name, at) => raw(`let ${name} = ${at};`),
    multiply: (i, left, right) => raw(`multiply_unit(member, ${left}, ${right}, &sum${i});`),
    store: (i, at) => raw(`for (var i = 0u; i < ${each}u; i++) { drained[${at} + member * ${each}u + i] = sum${i}[i]; }`),
  };
}
