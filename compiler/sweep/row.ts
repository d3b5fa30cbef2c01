/** What a sweep says of a variant: a flat row, and what its columns mean. Tables, CSV, JSON and the page are all made of these two. */
import type { DType } from "../../runtime/plan.js";

/** `null`: not known (not measured, not asked for), or it has no meaning for this variant. */
export type Cell = number | string | boolean | null;

/**
 * A row by column names. Units are in the names: `_mb` is 1e6 bytes, `gmacs` 1e9 multiply-adds, `gflops` 1e9 floating point operations (two a
 * multiply-add). Axes are columns too, by their path in the spec (`depth`, `mlp.ratio`); a size of [height, width] is the text `224x320`.
 */
export interface Row {
  readonly [axis: string]: Cell;
  readonly name: string;
  readonly tokens: number | null;
  /** Values in the tensors of a weight file, as `vitc init-weights` writes it. */
  readonly params: number | null;
  readonly params_m: number | null;
  /** The weight buffers of `dtype`; then those of a plan in each dtype, whatever the variant's own is. */
  readonly weights_mb: number | null;
  readonly weights_mb_f32: number | null;
  readonly weights_mb_f16: number | null;
  /** Of one image: multiply-adds of convolutions, linear layers, and attention's two products (QK^T and PV), of the model as it is written. */
  readonly gmacs: number | null;
  readonly gflops: number | null;
  /** The share of attention's two products in `gmacs`, 0 to 1. It is what grows with the square of the tokens. */
  readonly attention_share: number | null;
  /** Input, activations and what is read back: all GPU memory of a run but the weights. */
  readonly activation_mb: number | null;
  /** What must move between memory and kernels at least once, in a run of `batch` images. */
  readonly moved_mb: number | null;
  readonly dispatches: number | null;
  /** Of the package: all ways of all routines, each a WGSL text; `wgsl_kb` is their length in 1e3 bytes. */
  readonly kernels: number | null;
  readonly wgsl_kb: number | null;
  /** Of a run of `batch` images, and the band in which it is expected to lie. A measured row has what was expected before it was measured. */
  readonly predicted_ms: number | null;
  readonly predicted_low_ms: number | null;
  readonly predicted_high_ms: number | null;
  /** Spec to plan. */
  readonly compile_ms: number | null;
  /** Building the pipelines that no variant before it has built. */
  readonly pipelines_ms: number | null;
  readonly first_ms: number | null;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly runs: number | null;
  readonly images_per_s: number | null;
  /** Of the compiled plan, which computes less than `gflops` where the last block is cut down to what the head reads. */
  readonly gflops_per_s: number | null;
  /** The least time that the adapter's measured peaks allow, over `p50_ms`: 0 to 1. */
  readonly roofline_share: number | null;
  /** What most of that least time is: `compute`, `memory`, or `launches` of dispatches. */
  readonly bound_by: "compute" | "memory" | "launches" | null;
  /** What the definition's `metric` returned. */
  readonly metric: number | null;
  /** Whether no other row is better in all that `--pareto` names; computed for the rows that are shown, never stored. */
  readonly pareto: boolean | null;
  /** Largest |output - reference| / (1 + |reference|), against the f64 interpreter on the same weights; null where that would take too long. */
  readonly max_abs_error: number | null;
  /** Time of the reference variant around this measurement over its first time: 1 on a steady machine. */
  readonly drift: number | null;
  /** The adapter's key, as tuning tables name it. */
  readonly adapter: string | null;
  readonly dtype: DType | null;
  readonly batch: number | null;
  /** Whether the driver checked every index. */
  readonly robust: boolean | null;
  /** Hash of the spec with every default filled in, of its dtype and batch: what a sweep that goes on finds its rows by. */
  readonly spec_hash: string | null;
  /** The plan's fingerprint, once the variant was compiled whole. */
  readonly plan_hash: string | null;
  /** ISO 8601. */
  readonly measured_at: string | null;
  /** Of vitc. */
  readonly version: string;
  /** Why there are no numbers, in a sentence; null where nothing failed. */
  readonly failed: string | null;
}

/** How far `drift` may be from 1, or from what was said of it last, on a machine that counts as it was. */
export const steady = 0.1;

/** Where a column comes from. `axis`: the sweep varies it. `static`: it follows from the spec, exactly. `key`: what a measurement is of. */
export type ColumnKind = "name" | "axis" | "static" | "predicted" | "measured" | "metric" | "mark" | "key" | "failed";

export interface Column {
  /** In rows, and in `--where`, `--sort` and `--pareto`. */
  readonly name: string;
  /** Over the column of a table. */
  readonly title: string;
  /** Empty where there is none. */
  readonly unit: string;
  /** Digits behind the point of a number in a table, unless it is so small that three significant ones say more; `undefined` for texts, and for values of axes, which are shown as they are. */
  readonly digits: number | undefined;
  /** Which end of it is wanted; undefined where neither is. */
  readonly better: "less" | "more" | undefined;
  readonly kind: ColumnKind;
  /** A sentence, for help and hover. */
  readonly about: string;
}

const column = (kind: ColumnKind, name: string, title: string, unit: string, digits: number | undefined, better: Column["better"], about: string): Column => ({ name, title, unit, digits, better, kind, about });

/** All columns but the axes, in the order of tables. */
export const columns: readonly Column[] = [
  column("name", "name", "name", "", undefined, undefined, "The variant: the base's name and what differs."),
  column("static", "tokens", "tokens", "", 0, undefined, "Class, distillation and register tokens, and patches."),
  column("static", "params", "params", "", 0, "less", "Values in the weight file."),
  column("static", "params_m", "params", "M", 2, "less", "Millions of values in the weight file."),
  column("static", "weights_mb", "weights", "MB", 1, "less", "Weights on the GPU, in the variant's dtype (1 MB = 1e6 bytes)."),
  column("static", "weights_mb_f32", "weights f32", "MB", 1, "less", "Weights on the GPU if they are f32."),
  column("static", "weights_mb_f16", "weights f16", "MB", 1, "less", "Weights on the GPU if matrices are f16."),
  column("static", "gmacs", "GMACs", "1e9 multiply-adds", 2, "less", "Multiply-adds for one image: convolutions, linear layers, QK^T and PV."),
  column("static", "gflops", "GFLOPs", "1e9 operations", 2, "less", "Twice the GMACs: a multiply-add is two operations."),
  column("static", "attention_share", "attention", "share", 3, undefined, "Share of QK^T and PV in the multiply-adds; it grows with the tokens."),
  column("static", "activation_mb", "activations", "MB", 1, "less", "GPU memory of a run besides the weights."),
  column("static", "moved_mb", "moved", "MB", 1, "less", "What a run must move between memory and kernels at least."),
  column("static", "dispatches", "dispatches", "", 0, "less", "Steps of a run."),
  column("static", "kernels", "kernels", "", 0, "less", "WGSL kernels of the package, all ways of all routines."),
  column("static", "wgsl_kb", "WGSL", "KB", 0, "less", "Text of these kernels (1 KB = 1e3 bytes)."),
  column("predicted", "predicted_ms", "predicted", "ms", 2, "less", "Expected time of a run; of a measured variant, what was expected before it was measured."),
  column("predicted", "predicted_low_ms", "at least", "ms", 2, "less", "Lower end of the band around the prediction."),
  column("predicted", "predicted_high_ms", "at most", "ms", 2, "less", "Upper end of the band around the prediction."),
  column("measured", "compile_ms", "compile", "ms", 1, "less", "From spec to plan."),
  column("measured", "pipelines_ms", "pipelines", "ms", 1, "less", "Building the pipelines that no variant before it has built."),
  column("measured", "first_ms", "first", "ms", 1, "less", "The first run."),
  column("measured", "p50_ms", "p50", "ms", 2, "less", "Median time of a run, from values in memory to outputs in memory."),
  column("measured", "p95_ms", "p95", "ms", 2, "less", "Time that 95 % of the runs keep within."),
  column("measured", "runs", "runs", "", 0, undefined, "Runs that were timed."),
  column("measured", "images_per_s", "images/s", "1/s", 1, "more", "Images a second at p50."),
  column("measured", "gflops_per_s", "GFLOP/s", "1e9/s", 1, "more", "Operations of the compiled plan a second at p50."),
  column("measured", "roofline_share", "of roofline", "share", 3, "more", "The least time that the adapter's peaks allow, over p50."),
  column("measured", "bound_by", "bound by", "", undefined, undefined, "What most of that least time is: compute, memory, or launches."),
  column("metric", "metric", "metric", "", 4, "more", "What the sweep's metric returned."),
  column("mark", "pareto", "Pareto", "", undefined, undefined, "Whether no other row is better in all that --pareto names."),
  column("measured", "max_abs_error", "max error", "", 4, "less", "Largest |output - reference| / (1 + |reference|) against the f64 interpreter."),
  column("measured", "drift", "drift", "", 3, undefined, "Time of the reference variant then, over its first time."),
  column("key", "adapter", "adapter", "", undefined, undefined, "What it was measured on."),
  column("key", "dtype", "dtype", "", undefined, undefined, "How matrices are stored."),
  column("key", "batch", "batch", "", 0, undefined, "Images of a run."),
  column("key", "robust", "robust", "", undefined, undefined, "Whether the driver checked every index."),
  column("key", "spec_hash", "spec", "", undefined, undefined, "Hash of the spec with every default filled in."),
  column("key", "plan_hash", "plan", "", undefined, undefined, "The plan's fingerprint: equal plans have equal ones. Known once it was compiled whole, to be measured."),
  column("key", "measured_at", "measured", "", undefined, undefined, "When."),
  column("key", "version", "vitc", "", undefined, undefined, "The vitc that made the row."),
  column("failed", "failed", "failed", "", undefined, undefined, "Why there are no numbers."),
];

/** The columns of a sweep: the name, its axes, then all others. An axis that is a column anyhow (`dtype`, `batch`) stands among the axes. */
export function columnsOf(axes: readonly string[]): readonly Column[] {
  const [name, ...others] = columns as readonly [Column, ...Column[]];
  const known = new Map(others.map((column) => [column.name, column]));
  const own = axes.map((axis): Column => ({ name: axis, title: axis, unit: "", digits: undefined, better: undefined, about: `The spec's ${axis}.`, ...known.get(axis), kind: "axis" }));
  return [name, ...own, ...others.filter((column) => !axes.includes(column.name))];
}
