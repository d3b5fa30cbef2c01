/** What a variant is expected to take before it is run, and how a better guess plugs in. */
import type { AdapterInfo } from "../../runtime/device.js";
import type { Plan } from "../../runtime/plan.js";
import type { MeasuredPlan as CalibratingPlan, Prediction } from "../measure/calibrate.js";
import type { HeldOut } from "../measure/fit.js";
import type { Peaks } from "../measure/peaks.js";
import type { Row } from "./row.js";

export interface Predictor {
  /** Pure, and fast: a sweep asks it for every variant, and again after every `fit`. */
  predict(plan: Plan): Prediction;
  /**
   * Takes from a plan what its predictions need, and gives a function that predicts as `predict` does, after each `fit` anew. Plans of thousands of
   * variants are made once then, and not kept.
   */
  keep?(plan: Plan): () => Prediction;
  /** Learns from all rows measured on its adapter so far, each with its plan. Called again as more are known. */
  fit?(measured: readonly MeasuredPlan[]): void;
  /** How well measured plans are predicted by a fit that has not seen them; undefined while there are too few. */
  readonly error?: HeldOut | undefined;
}

/** What a predictor can be made for: a device, which is idle meanwhile, and the peaks that were measured on it. */
export interface PredictorContext {
  readonly device: GPUDevice;
  readonly adapter: AdapterInfo;
  readonly peaks: Peaks;
  readonly signal: AbortSignal | undefined;
}

/** A plan that was run. `row.p50_ms` is a number. */
export interface MeasuredPlan extends CalibratingPlan {
  readonly row: Row;
}

/** How far the cost model may be off by itself, either way. */
const untunedBand = 3;

/** The costs that the plan carries for a kind of adapter, each routine done in its cheapest way, and all dispatches after each other. */
export function costPredictor(target: string): Predictor {
  return {
    predict({ targets, routines, programs }) {
      const at = targets.indexOf(target);
      const costs = new Map(routines.map(({ id, choices }) => [id, Math.min(...choices.map(({ costs: own }) => own[at] ?? 0))]));
      const ms = programs.infer[0]!.dispatches.reduce((sum, { routine }) => sum + costs.get(routine)!, 0) / 1000;
      return { ms, low: ms / untunedBand, high: ms * untunedBand };
    },
  };
}
