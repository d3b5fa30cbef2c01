import type { DType, Plan } from "../../runtime/plan.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import type { StaticColumns } from "./define.js";
import type { Row } from "./row.js";
import { amountAt, planAt, skeletonOf, weightBuffersAt, type Skeleton } from "./skeleton.js";

/** Columns that follow from a spec. */
export type StaticRow = Pick<Row, "tokens" | "params" | "params_m" | "weights_mb" | "weights_mb_f32" | "weights_mb_f16" | "gmacs" | "gflops" | "attention_share" | "activation_mb" | "moved_mb" | "dispatches" | "kernels" | "wgsl_kb"> &
  StaticColumns;

export interface Statics {
  readonly columns: StaticRow;
  /** What the variant is planned to do; see `planAt` for what of it is right. */
  readonly plan: Plan;
}

/** Of some 65 KB each; with what is collected late, 10,000 variants then stay below 400 MB. */
const mostRemembered = 200;

/**
 * Works out static columns. Depths of a model share its plan, so a sweep asks one of these for all of its variants; what is remembered are
 * plans without the text of their kernels.
 */
export class StaticColumnsOf {
  private readonly skeletons = new Map<string, Skeleton>();

  /** @throws SpecError when one image is too large for a binding. */
  of(spec: ResolvedSpec): Statics {
    const skeleton = this.skeletonOf(spec);
    return { columns: columnsAt(skeleton, spec), plan: planAt(skeleton, spec.depth) };
  }

  /** The plan alone, of a spec whose columns are known. */
  planOf(spec: ResolvedSpec): Plan {
    return planAt(this.skeletonOf(spec), spec.depth);
  }

  private skeletonOf(spec: ResolvedSpec): Skeleton {
    // Names, pictures and what happens in training say nothing of cost.
    const { name: _name, labels: _labels, depth, preprocess, dropout: _dropout, ...rest } = spec;
    const key = JSON.stringify({ ...rest, normalize: preprocess.normalize });
    const known = this.skeletons.get(key);
    if (known !== undefined && (known.grows ? depth >= known.depth : depth === known.depth)) return known;
    const made = skeletonOf(spec);
    const [oldest] = this.skeletons.keys();
    if (this.skeletons.size >= mostRemembered && oldest !== undefined) this.skeletons.delete(oldest);
    this.skeletons.set(key, made);
    return made;
  }
}

const million = 1e6;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function columnsAt(skeleton: Skeleton, { depth, dtype: [dtype], geometry }: ResolvedSpec): StaticRow {
  const amount = (growing: Skeleton["params"]): number => amountAt(skeleton, growing, depth);
  const weights = (of: DType): number => sum(weightBuffersAt(skeleton, of, depth)) / million;
  const [params, macs] = [amount(skeleton.params), amount(skeleton.macs)];
  return {
    tokens: geometry.tokens,
    params,
    params_m: params / million,
    weights_mb: weights(dtype!),
    weights_mb_f32: weights("f32"),
    weights_mb_f16: weights("f16"),
    gmacs: macs / 1e9,
    gflops: (2 * macs) / 1e9,
    attention_share: amount(skeleton.attentionMacs) / macs,
    activation_mb: skeleton.activations / million,
    moved_mb: amount(skeleton.moved) / million,
    dispatches: amount(skeleton.dispatches),
    kernels: skeleton.kernels,
    wgsl_kb: skeleton.wgslBytes / 1e3,
  };
}
