import { candidate, type Candidate, type CandidateLaunch, type Needs, type Work } from "../candidate.js";
import type { Launch } from "../kernel.js";
import { rowScales } from "../rows.js";
import { matrixBytes, matrixGemm, matrixInvocations, matrixName, matrixSubgroup, type MatrixTile } from "./matrix.js";
import { gemmBindings, type GemmParams } from "./params.js";
import { quadGemm, quadName, type QuadTile } from "./quad.js";
import { registerGemm, registerName, type RegisterTile } from "./register.js";
import { loader } from "./source.js";
import { splitGemm, splitName, type SplitTile } from "./split.js";
import { stagedBytes, stagedGemm, stagedInvocations, stagedName, type StagedTile } from "./staged.js";
import { maxWorkgroupBytes } from "../workgroup-memory.js";

/** Tiles worth trying; which of them are legal and good depends on the product. The first is right for every product. */
const registerTiles: readonly RegisterTile[] = [
  { rows: 8, cols: 8, across: 8, down: 8 },
  { rows: 4, cols: 8, across: 8, down: 8 },
  { rows: 1, cols: 4, across: 64, down: 1 },
];

/** For CPUs, and wider for GPUs. */
const quadTiles: readonly QuadTile[] = [
  { rows: 16, across: 8 },
  { rows: 8, across: 8 },
  { rows: 4, across: 8 },
  { rows: 16, across: 64 },
  { rows: 8, across: 64 },
];

const matrixTiles: readonly MatrixTile[] = [
  { rows: 64, cols: 64, depth: 32, subgroups: [2, 2], unit: [16, 16, 16] },
  { rows: 32, cols: 64, depth: 32, subgroups: [1, 4], unit: [16, 16, 16] },
  { rows: 32, cols: 32, depth: 32, subgroups: [2, 2], unit: [8, 8, 8] },
];

const stagedTiles: readonly StagedTile[] = [
  { rows: 64, cols: 64, depth: 16, each: [8, 4], slices: 1 },
  { rows: 128, cols: 64, depth: 8, each: [8, 8], slices: 1 },
  { rows: 32, cols: 32, depth: 16, each: [4, 4], slices: 1 },
  { rows: 32, cols: 32, depth: 8, each: [4, 4], slices: 4 },
];

const splitTiles: readonly SplitTile[] = [
  { rows: 1, across: 8, slices: 16 },
  { rows: 2, across: 8, slices: 16 },
  { rows: 4, across: 8, slices: 8 },
];

const matrixNeeds = ({ unit }: MatrixTile): Needs => ({ subgroupSize: matrixSubgroup, matrices: unit.join("x") });

/** WebGPU's default limits, which candidates stay within. */
const limits = { sharedBytes: maxWorkgroupBytes, invocations: 256 } as const;

/**
 * Every way to compute a product that is legal under WebGPU's default limits. `norm.from` of the parameters is not read: both ways are
 * candidates, and the one that is given its rows' scales has them computed by a launch of its own. `emulate`: see `matrixGemm`.
 */
export function gemmCandidates(params: GemmParams, { emulate = false }: { readonly emulate?: boolean } = {}): readonly Candidate[] {
  const inline = params.norm ? { ...params, norm: { ...params.norm, from: "inline" as const } } : params;
  const candidates = [
    ...registerTiles.filter((tile) => fitsRows(tile.rows, params)).map((tile) => candidate(registerName(tile), registerWork(params, tile), () => [registerGemm(inline, tile)])),
    ...stagedTiles.filter((tile) => fitsRows(tile.rows, params) && stagedIsLegal(params, tile)).map((tile) => candidate(stagedName(tile), stagedWork(params, tile), () => [stagedGemm(inline, tile)])),
    ...splitTiles.filter((tile) => splitIsLegal(params, tile)).map((tile) => candidate(splitName(tile), splitWork(params, tile), () => [splitGemm(inline, tile)])),
    ...quadTiles.filter((tile) => fitsRows(tile.rows, params)).map((tile) => candidate(quadName(tile), quadWork(inline, tile), () => [quadGemm(inline, tile)])),
  ];
  const { norm, source } = params;
  const matrices = matrixTiles.filter((tile) => matrixIsLegal(params, tile));
  if (!norm) return [...candidates, ...matrices.map((tile) => candidate(matrixName(tile), matrixWork(params, tile), () => [matrixGemm(params, tile, { emulate })], { needs: matrixNeeds(tile) }))];
  const given = { ...params, norm: { ...norm, from: "buffer" as const } };
  const scales = (): Launch => rowScales({ rows: source.rows, width: source.inner, eps: norm.eps });
  const tile = registerTiles[0]!;
  return [
    ...candidates,
    ...matrices.map((tile) => candidate(`scales_then_${matrixName(tile)}`, matrixWork(params, tile), () => apart(given, scales(), matrixGemm(given, tile, { emulate })), { count: 2, needs: matrixNeeds(tile) })),
    candidate(`scales_then_${registerName(tile)}`, registerWork(given, tile), () => apart(given, scales(), registerGemm(given, tile)), { count: 2 }),
    ...quadTiles.filter(({ rows, across }) => across === 8 && fitsRows(rows, params)).map((quad) => candidate(`scales_then_${quadName(quad)}`, quadWork(given, quad), () => apart(given, scales(), quadGemm(given, quad)), { count: 2 })),
  ];
}

/** The scales go through scratch memory, the first operand behind the output. */
function apart(params: GemmParams, scales: Launch, { kernel, workgroups }: Launch): readonly CandidateLaunch[] {
  const bindings = gemmBindings(params, { element: "vec4" });
  const out = bindings.length - 2;
  const bind = bindings.map(({ name: binding }, i) => (binding === "statistics" ? out + 1 : binding === "out" ? out : i));
  return [{ kernel: scales.kernel, workgroups: scales.workgroups, bind: [0, out + 1] }, { kernel, workgroups, bind }];
}

/** Tiles far taller than the matrix compute mostly nothing. */
const fitsRows = (rows: number, { source }: GemmParams): boolean => rows <= 8 || rows < 2 * source.rows;

function stagedIsLegal({ source, norm }: GemmParams, tile: StagedTile): boolean {
  const perSlice = stagedInvocations(tile) / tile.slices;
  const even = (tile.rows * tile.depth) / 4 / perSlice;
  const evenWeight = ((tile.cols / 4) * tile.depth) / perSlice;
  // A row's statistics are kept in vec4s, so rows must be made of them.
  return Number.isInteger(even) && Number.isInteger(evenWeight) && stagedInvocations(tile) <= limits.invocations && stagedBytes(tile, norm !== undefined) <= limits.sharedBytes && (!norm || source.inner % 4 === 0);
}

function registerWork(params: GemmParams, { rows, cols, across, down }: RegisterTile): Work {
  const { source, norm } = params;
  const { width } = loader(source);
  const steps = source.inner / width;
  return {
    workgroups: Math.ceil(params.cols / cols / across) * Math.ceil(source.rows / rows / down),
    invocations: across * down,
    fmas: source.inner * rows * (cols / 4) + (norm?.from === "inline" ? 4 * rows * steps : 0),
    loads: steps * (rows + width * (cols / 4)),
    sharedLoads: 0,
    barriers: 0,
    broadcasts: 0,
  };
}

/** Statistics are kept in vec4s, so rows must be made of them; and more than a few rows are better shared otherwise. */
const splitIsLegal = ({ source, norm }: GemmParams, { rows }: SplitTile): boolean => source.rows >= rows && source.rows <= 16 && (!norm || source.inner % 4 === 0);

function splitWork({ source, cols }: GemmParams, { rows, across, slices }: SplitTile): Work {
  const steps = Math.ceil(source.inner / 4 / slices);
  return {
    workgroups: Math.ceil(cols / 4 / across) * Math.ceil(source.rows / rows),
    invocations: across * slices,
    fmas: 4 * steps * rows,
    loads: steps * (4 + rows),
    sharedLoads: (rows * slices) / slices,
    barriers: 1,
    broadcasts: 0,
  };
}

function matrixIsLegal({ source, norm, dtypes }: GemmParams, tile: MatrixTile): boolean {
  const { rows, cols, depth } = tile;
  const invocations = matrixInvocations(tile);
  const even = Number.isInteger((rows * depth) / 4 / invocations) && Number.isInteger(((cols / 4) * depth) / invocations);
  // Zeros behind a row would not stay zeros when its mean is taken off.
  return dtypes.weight === "f16" && even && rows < 4 * source.rows && matrixBytes(tile) <= limits.sharedBytes && (!norm || source.inner % depth === 0);
}

function quadWork(params: GemmParams, { rows, across }: QuadTile): Work {
  const { source, norm } = params;
  const { width } = loader(source);
  const steps = source.inner / width;
  return {
    workgroups: Math.ceil(params.cols / 4 / across) * Math.ceil(source.rows / rows),
    invocations: across,
    fmas: source.inner * rows + (norm?.from === "inline" ? rows * steps : 0),
    loads: steps * (rows / 4 + width),
    sharedLoads: 0,
    barriers: 0,
    broadcasts: (steps * rows * 3) / 4,
  };
}

function matrixWork({ source, cols }: GemmParams, tile: MatrixTile): Work {
  const invocations = matrixInvocations(tile);
  const steps = Math.ceil(source.inner / tile.depth);
  return {
    workgroups: Math.ceil(cols / tile.cols) * Math.ceil(source.rows / tile.rows),
    invocations,
    fmas: 0,
    loads: (steps * tile.depth * (tile.rows + tile.cols)) / 4 / invocations,
    sharedLoads: (steps * tile.depth * (tile.rows + tile.cols)) / 2 / invocations,
    barriers: 2 * steps + 8,
    broadcasts: 0,
    matrixFlops: tile.rows * tile.cols * source.inner,
  };
}

function stagedWork(params: GemmParams, tile: StagedTile): Work {
  const { source, norm } = params;
  const { rows, cols, depth, each, slices } = tile;
  const perSlice = stagedInvocations(tile) / slices;
  const steps = Math.ceil(source.inner / depth / slices);
  const brought = (depth * (rows + cols)) / 4 / perSlice;
  return {
    workgroups: Math.ceil(params.cols / cols) * Math.ceil(source.rows / rows),
    invocations: stagedInvocations(tile),
    fmas: steps * depth * each[0] * (each[1] / 4) + (norm ? (4 * steps * rows * depth) / 4 / perSlice : 0),
    loads: steps * brought,
    sharedLoads: steps * depth * (each[0] / 4 + each[1] / 4),
    barriers: 2 * steps + 2 * (slices - 1),
    broadcasts: 0,
  };
}
