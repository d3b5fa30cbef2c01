/** What a run of a plan will take on an adapter: the plan's cost model times a few factors, probed first, then fitted to what was measured. */
import { chooseRoutines, targetOf } from "../../runtime/choose.js";
import type { AdapterInfo } from "../../runtime/device.js";
import type { Plan } from "../../runtime/plan.js";
import { probeRoutines, routineWork, type RoutineWork } from "../../runtime/probe.js";
import { makePlan } from "../plan/plan.js";
import { resolve } from "../spec/resolve.js";
import type { ViTSpec } from "../spec/types.js";
import { targets } from "../target/targets.js";
import { fitFactors, heldOut, type HeldOut, type Observation } from "./fit.js";
import { quantile } from "./statistics.js";
import { waitFor } from "./wait.js";

/** What a run consists of. Each part is expected to take its milliseconds by the cost model, times a factor of the adapter's. */
export const parts = ["matmul", "convolution", "attention", "other", "launches", "run"] as const;
export type Part = (typeof parts)[number];

/** A number for each of `parts`, in their order. */
export type Parts = readonly number[];

/** How far an adapter is from its kind in the cost model. `run`: the milliseconds of a run that dispatches nothing. */
export type Calibration = Readonly<Record<Part, number>>;

/** Without a probe the cost model is taken at its word, and half a millisecond for the way to the device and back. */
export const uncalibrated: Calibration = { matmul: 1, convolution: 1, attention: 1, other: 1, launches: 1, run: 0.5 };

/** What is probed where nobody says what: half of ViT-Ti's tokens at its width, which a software adapter runs in the time of a blink. */
export const referenceSpec: ViTSpec = { name: "reference", image: 128, patch: 16, dim: 192, depth: 4, heads: 3, classes: 100 };

/** Milliseconds that a probe may take before it begins no other routine. */
const probeBudget = 600;

/** How a device does routines: what load would go by. */
export interface PredictedDevice {
  readonly adapter: AdapterInfo;
  /** Features of the device. */
  readonly features: ReadonlySet<string>;
}

/** What the cost model expects of the parts of a run of a plan's smallest batch, in milliseconds. */
export function partsOf(plan: Plan, { adapter, features }: PredictedDevice): Parts {
  const profile = plan.programs.infer[0]!;
  const name = targetOf(adapter);
  const launch = targets.find((target) => target.name === name)?.launch ?? 0;
  const sums = new Map<Part, number>([["run", 1]]);
  const add = (part: Part, microseconds: number): unknown => sums.set(part, (sums.get(part) ?? 0) + microseconds / 1000);
  for (const { kind, count, cost, choice } of routineWork(plan, [profile], chooseRoutines(plan, { adapter, features }), adapter)) {
    const launches = count * choice.launches.length;
    add("launches", launches * launch);
    add(partOf(kind), Math.max(0, count * cost - launches * launch));
  }
  return parts.map((part) => sums.get(part) ?? 0);
}

const partOf = (kind: string): Part => (kind === "gemm" ? "matmul" : kind === "convolution" || kind === "attention" ? kind : "other");

export interface CalibrateOptions extends PredictedDevice {
  readonly device: GPUDevice;
  /** A plan like those that are to be predicted, and its WGSL by kernel id. */
  readonly plan: Plan;
  readonly kernels: Readonly<Record<string, string>>;
  /** Milliseconds since anything. Default: the wall's. */
  readonly clock?: () => number;
  readonly signal?: AbortSignal;
}

/**
 * Probes an adapter with routines of a plan, those first that take most of it, one of each part if time allows: in under a second on most
 * adapters. What it did not come to is taken to be off as the rest is.
 * @throws what `probeRoutines` throws
 */
export async function calibrate({ device, adapter, features, plan, kernels, clock, signal }: CalibrateOptions): Promise<Calibration> {
  const work = routineWork(plan, [plan.programs.infer[0]!], chooseRoutines(plan, { adapter, features }), adapter);
  const launch = targets.find(({ name }) => name === targetOf(adapter))?.launch ?? 0;
  const { overhead, microseconds } = await probeRoutines({ device, plan, kernels, work: inTurns(work), budget: probeBudget, wait: (promise) => waitFor(device, promise), clock, signal });
  const measured = work.filter(({ id, cost }) => microseconds.has(id) && cost > 0);
  // What next to nothing but launches it takes is what launches take.
  const light = measured.filter(({ cost, choice }) => cost < 2 * launch * choice.launches.length);
  const factor = (list: readonly RoutineWork[]): number | undefined => {
    const [taken, expected] = list.reduce(([a, b], { id, count, cost }) => [a + count * microseconds.get(id)!, b + count * cost], [0, 0]);
    return expected > 0 && taken > 0 ? taken / expected : undefined;
  };
  const all = factor(measured) ?? 1;
  const of = (part: Part): number => factor(measured.filter(({ kind }) => partOf(kind) === part)) ?? all;
  return { matmul: of("matmul"), convolution: of("convolution"), attention: of("attention"), other: of("other"), launches: factor(light) ?? all, run: Math.max(overhead, 1e-3) };
}

/** The heaviest of each kind first, then the second of each, and so on. */
function inTurns(work: readonly RoutineWork[]): readonly RoutineWork[] {
  const turns = new Map<string, number>();
  const turnOf = new Map(work.map(({ id, kind }) => {
    const turn = turns.get(kind) ?? 0;
    turns.set(kind, turn + 1);
    return [id, turn];
  }));
  return work.toSorted((a, b) => turnOf.get(a.id)! - turnOf.get(b.id)!);
}

/** Milliseconds of a run, and the band in which it lies nine times out of ten. */
export interface Prediction {
  readonly ms: number;
  readonly low: number;
  readonly high: number;
}

/** A plan that was run, and the median of its runs in milliseconds. Rows without a time that is above 0 teach nothing. */
export interface MeasuredPlan {
  readonly plan: Plan;
  readonly row: { readonly p50_ms: number | null };
}

/** Fewer measurements say nothing of how large errors are. */
const fewest = 5;
/** How far a prediction may be off, either way, while nothing is known of that: with a probe, which other work can make twice too long, and with none. */
const bands = { probed: 2, unprobed: 3 } as const;
/** The share of held-out errors that a band covers; and its least width, as a logarithm, for few errors may be small by chance. */
const nineOfTen = 0.9;
const leastBand = 0.05;

/** Predicts by the cost model, a probe of the adapter, if there was one, and the measurements that it is given. */
export class CalibratedPredictor {
  private factors: Parts;
  /** A run takes at least a prediction over it, and at most a prediction times it. */
  private band: number;
  private readonly prior: Parts;
  private readonly priorBand: number;
  private readonly known = new WeakMap<Plan, Parts>();
  private found: HeldOut | undefined;

  constructor(
    private readonly on: PredictedDevice,
    probed?: Calibration,
  ) {
    this.prior = parts.map((part) => (probed ?? uncalibrated)[part]);
    this.factors = this.prior;
    this.priorBand = probed ? bands.probed : bands.unprobed;
    this.band = this.priorBand;
  }

  predict(plan: Plan): Prediction {
    return this.predictParts(this.partsOf(plan));
  }

  /** A function that predicts a plan as `predict` does, after each `fit` anew, and needs the plan no more. */
  keep(plan: Plan): () => Prediction {
    const of = this.partsOf(plan);
    return () => this.predictParts(of);
  }

  private predictParts(of: Parts): Prediction {
    const ms = expected(of, this.factors);
    return { ms, low: ms / this.band, high: ms * this.band };
  }

  /** Learns from all that was measured so far, in place of what it learned before. Pure of everything but its arguments and the probe. */
  fit(measured: readonly MeasuredPlan[]): void {
    const observations = measured.flatMap(({ plan, row: { p50_ms } }): Observation[] => (p50_ms !== null && p50_ms > 0 && Number.isFinite(p50_ms) ? [{ parts: this.partsOf(plan), ms: p50_ms }] : []));
    this.factors = fitFactors(observations, this.prior);
    this.found = observations.length < fewest ? undefined : heldOut(observations, this.prior);
    this.band = this.found === undefined ? this.priorBand : Math.exp(Math.max(leastBand, quantile(this.found.errors.map(Math.abs), nineOfTen)));
  }

  /** How well measured plans are predicted by a fit that has not seen them; undefined while there are too few. */
  get error(): HeldOut | undefined {
    return this.found;
  }

  private partsOf(plan: Plan): Parts {
    const found = this.known.get(plan) ?? partsOf(plan, this.on);
    this.known.set(plan, found);
    return found;
  }
}

const expected = (own: Parts, factors: Parts): number => own.reduce((sum, ms, i) => sum + ms * factors[i]!, 0);

/**
 * A predictor for a device, probed: what a sweep takes as its `predictor`.
 * @param spec like those that are to be predicted
 * @throws what `calibrate` throws
 */
export async function probedPredictor({ device, adapter, signal }: { readonly device: GPUDevice; readonly adapter: AdapterInfo; readonly signal?: AbortSignal | undefined }, spec: ViTSpec = referenceSpec): Promise<CalibratedPredictor> {
  const { features } = device;
  const { plan, kernels } = makePlan(resolve(spec));
  const calibration = await calibrate({ device, adapter, features, plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), ...(signal && { signal }) });
  return new CalibratedPredictor({ adapter, features }, calibration);
}
