/** Rows of sweeps that nobody ran, for tests of what is made of rows. */
import { columnsOf, type Column, type Row } from "../../compiler/sweep/row.js";

export interface MadeRows {
  readonly rows: readonly Row[];
  readonly columns: readonly Column[];
}

const unknown = {
  weights_mb_f32: null, weights_mb_f16: null, dispatches: 64, kernels: 22, wgsl_kb: 61, compile_ms: null, pipelines_ms: null, first_ms: null, p50_ms: null, p95_ms: null, runs: null,
  images_per_s: null, gflops_per_s: null, roofline_share: null, bound_by: null, metric: null, pareto: null, max_abs_error: null, drift: null, measured_at: null, adapter: null, dtype: "f32", batch: 1, robust: null, version: "0.1.0", failed: null,
} as const;

/**
 * A grid of ViTs with the notes' arithmetic: every third is measured, at what 300 GMACs a second would take and a little that depends on the
 * row; every seventeenth failed. `widths` makes the grid longer.
 */
export function madeRows({ depths = [6, 9, 12], widths = 3, patches = [14, 16, 32], images = [192, 224, 256], measured = true, metric = false }: { depths?: readonly number[]; widths?: number; patches?: readonly number[]; images?: readonly number[]; measured?: boolean; metric?: boolean } = {}): MadeRows {
  const dims = Array.from({ length: widths }, (_, i) => 192 + 64 * i);
  const grid = depths.flatMap((depth) => dims.flatMap((dim) => patches.flatMap((patch) => images.map((image) => ({ depth, dim, patch, image })))));
  const rows = grid.map(({ depth, dim, patch, image }, i): Row => {
    const tokens = Math.floor(image / patch) ** 2 + 1;
    const params = depth * 12 * dim * dim + (3 * patch * patch + tokens + 1000) * dim;
    const attention = 2 * depth * tokens * tokens * dim;
    const macs = attention + depth * 12 * tokens * dim * dim + (tokens - 1) * dim * 3 * patch * patch + 1000 * dim;
    const wobble = 1 + 0.2 * Math.sin(i * 12.9898);
    const ms = 0.6 + (macs / 3e8) * wobble;
    const known = { ...unknown, name: `edge-depth${depth}-dim${dim}-patch${patch}-image${image}`, depth, dim, patch, image, tokens, params, params_m: params / 1e6, weights_mb: (params * 4) / 1e6, gmacs: macs / 1e9, gflops: macs / 5e8, attention_share: attention / macs, activation_mb: (tokens * dim * 28) / 1e6, moved_mb: (params * 4 + tokens * dim * 96) / 1e6, spec_hash: `s${i}`, plan_hash: (i * 2654435761 % 2 ** 32).toString(16).padStart(8, "0") };
    if (i % 17 === 16) return { ...blank, ...known, tokens: null, params: null, params_m: null, weights_mb: null, gmacs: null, gflops: null, attention_share: null, activation_mb: null, moved_mb: null, failed: "image: 250 is not a multiple of patch 16; 240 and 256 are" };
    const predicted = { predicted_ms: ms / wobble, predicted_low_ms: (ms / wobble) * 0.8, predicted_high_ms: (ms / wobble) * 1.25 };
    const timed = measured && i % 3 === 0 ? { p50_ms: ms, p95_ms: ms * 1.08, first_ms: ms * 3, runs: 40, images_per_s: 1000 / ms, gflops_per_s: macs / 5e8 / (ms / 1000), roofline_share: 0.4, bound_by: "compute" as const, adapter: "vulkan:example", drift: 1.01, compile_ms: 6.2, pipelines_ms: 40.5, max_abs_error: 3.2e-7 } : {};
    return { ...blank, ...known, ...predicted, ...timed, ...(metric ? { metric: 0.5 + 0.4 * (1 - Math.exp(-macs / 2e9)) * (1 - patch / 100) } : {}) };
  });
  return { rows, columns: columnsOf(["depth", "dim", "patch", "image"]) };
}

const blank = { ...unknown, predicted_ms: null, predicted_low_ms: null, predicted_high_ms: null };
