/** Measures variants in rounds that they take turns in, a few loaded at a time, and a reference variant with them. */
import { adapterKey } from "../../runtime/choose.js";
import type { AdapterInfo } from "../../runtime/device.js";
import { messageOf } from "../../runtime/device.js";
import { DeviceLostError } from "../../runtime/errors.js";
import type { WeightsInput } from "../../runtime/weights.js";
import type { Peaks } from "../measure/peaks.js";
import { generator, median, summarize } from "../measure/statistics.js";
import type { Plan } from "../../runtime/plan.js";
import { makePlan } from "../plan/plan.js";
import type { ResolvedSpec } from "../spec/resolve.js";
import type { ViTSpec } from "../spec/types.js";
import { loadVariant, type LoadedVariant } from "./load.js";
import type { SweepModel } from "./model.js";
import { SharedDevice } from "./shared-device.js";
import { steady, type Row } from "./row.js";

/** A variant that is to be measured. */
export interface Candidate {
  /** Its place, by which its row is known. */
  readonly at: number;
  readonly spec: ViTSpec;
  readonly resolved: ResolvedSpec;
  /** Its static columns and what is expected. */
  readonly row: Row;
}

/** A device to measure on, and what is known of it. */
export interface Bench {
  readonly device: GPUDevice;
  readonly adapter: AdapterInfo;
  readonly peaks: Peaks;
}

export interface MeasureOptions {
  /** Opens the device; called again when it is lost. What it throws ends the measurement. */
  readonly open: () => Promise<Bench>;
  readonly robust: boolean;
  readonly metric?: ((model: SweepModel, spec: ViTSpec) => number | Promise<number>) | undefined;
  readonly weights?: ((spec: ViTSpec) => WeightsInput | undefined) | undefined;
  /** Exactly so many runs of each; without it as many as take `seconds`, from 5 to 100. */
  readonly runs?: number | undefined;
  readonly seconds: number;
  /** `performance.now()` at which to stop. */
  readonly deadline: number;
  /** Variants of up to so many GMACs are held against the f64 interpreter. */
  readonly checkedGmacs: number;
  /** Run in every round, to tell a drifting machine; `first` is its time when it was measured first. */
  readonly reference: { readonly candidate: Candidate; readonly first?: number | undefined };
  /** The next to measure, undefined when there is none left or none that there is time for. */
  readonly next: () => Candidate | undefined;
  readonly onNotice: (notice: string) => void;
  /** Said before something that takes time. */
  readonly onStep: (detail: string) => void;
  readonly signal: AbortSignal | undefined;
}

/** What was measured of a candidate, or why it could not be. `plan` is undefined where it failed before it had one. */
export interface Measurement {
  readonly candidate: Candidate;
  readonly row: Row;
  readonly plan: Plan | undefined;
}

/** Fewer say nothing of a 95th percentile, and little of a median. */
export const fewestRuns = 5;
const mostRuns = 100;
/** Loaded at a time, besides the reference: enough that what the machine does meanwhile meets several, few enough for its memory. */
const windowSize = 4;
/** A variant whose device was lost so many times while it loaded or ran is what loses it. */
const mostLosses = 2;
/** How often a machine that has changed is said: a busy one has no end of it. */
const mostSaid = 5;

interface Active {
  readonly candidate: Candidate;
  readonly loaded: LoadedVariant;
  readonly samples: number[];
  /** Times of the reference in the rounds that this one took part in. */
  readonly references: number[];
  readonly metric: number | null;
}

/**
 * Yields each variant the moment it is measured, or has failed. When the signal is aborted or the time is over, those under way are yielded
 * with the runs that they have.
 * @throws what `open` throws; DeviceLostError when the device is lost again and again, whatever runs
 */
export async function* measure(options: MeasureOptions): AsyncGenerator<Measurement> {
  const { next, reference: { candidate: reference }, deadline, signal, onNotice, onStep } = options;
  const losses = new Map<number, number>();
  const again: Candidate[] = [];
  /** Runs that were timed before a device was lost. */
  const kept = new Map<number, readonly number[]>();
  const random = generator(1);
  let first = options.reference.first;
  let [lastSaid, said] = [1, 0];
  let barren = 0;
  let given = 0;
  const over = (): boolean => signal?.aborted === true || performance.now() >= deadline;

  while (!over()) {
    onStep(barren > 0 ? "requesting the device again" : "opening the device");
    const bench = await options.open();
    const shared = new SharedDevice(bench.device);
    let gone = false;
    void bench.device.lost.then(() => (gone = true));
    const window: Active[] = [];
    let yard: Active | undefined;
    /** What runs or loads now: to blame when the device goes. */
    let current: Candidate = reference;
    const before = given;
    /** A lost device makes whatever is asked of it fail, and news of its end may come a moment later. */
    const isLost = async (error: unknown): Promise<boolean> => {
      await new Promise((turn) => setTimeout(turn));
      return gone || isNamed(error, "DeviceLostError");
    };
    /** The row of what has run, however its runs came to an end; a machine that has changed meanwhile is said with it. */
    const ended = (active: Active): Measurement => {
      given++;
      if (active.references.length > 0) {
        const around = median(active.references);
        first ??= around;
        const drift = around / first;
        if (Math.abs(drift / lastSaid - 1) > steady && said < mostSaid) {
          [lastSaid, said] = [drift, said + 1];
          onNotice(`The machine has changed: ${reference.row.name}, which runs in every round, takes ${drift.toFixed(2)} times as long as at first. Times from now on are not those of a machine as it was; the column drift tells each one's.`);
        }
      }
      return { candidate: active.candidate, row: rowOf(active, { ...options, bench, first }), plan: active.loaded.plan };
    };
    const failed = (candidate: Candidate, error: unknown): Measurement => ({ candidate, row: { ...candidate.row, ...keyOf(options, bench), plan_hash: planHash(candidate.resolved), failed: reasonOf(error) }, plan: undefined });
    try {
      onStep(`loading ${reference.row.name}`);
      try {
        yard = await activate(reference, shared, options);
      } catch (error) {
        if (await isLost(error)) throw error;
        // Without it nothing tells a drift: whoever asked for the measurement knows of another one.
        given++;
        yield failed(reference, error);
        return;
      }
      for (;;) {
        while (window.length < windowSize && !over()) {
          const candidate = again.shift() ?? next();
          if (candidate === undefined) break;
          if (candidate.at === reference.at) {
            // It is loaded, and runs in every round anyhow; its own runs are counted like those of the others.
            window.push({ ...yard, samples: [...(kept.get(candidate.at) ?? [])], references: [] });
            continue;
          }
          current = candidate;
          onStep(`loading ${candidate.row.name}`);
          try {
            const active = await activate(candidate, shared, options);
            active.samples.push(...(kept.get(candidate.at) ?? []));
            window.push(active);
          } catch (error) {
            if ((await isLost(error)) || signal?.aborted === true) throw error;
            if (isOutOfMemory(error) && window.length > 0) {
              // Alone it may fit.
              again.unshift(candidate);
              break;
            }
            given++;
            yield failed(candidate, error);
          }
        }
        if (window.length === 0 || over()) break;
        const turns: readonly Active[] = shuffled([yard, ...window.filter(({ candidate }) => candidate.at !== reference.at)], random);
        let time = NaN;
        for (const active of turns) {
          if (over()) break;
          current = active.candidate;
          onStep(active.candidate.row.name);
          const sample = await timedRun(active.loaded, signal);
          if (active === yard) time = sample;
          else active.samples.push(sample);
        }
        for (const active of window) {
          if (Number.isFinite(time)) active.references.push(time);
          if (active.candidate.at === reference.at && Number.isFinite(time)) active.samples.push(time);
        }
        for (const active of window.filter((each) => isEnough(each, options))) {
          window.splice(window.indexOf(active), 1);
          yield ended(active);
          if (active.candidate.at !== reference.at) active.loaded.model.dispose();
        }
      }
      // What has run at all is kept, with how many runs it is from.
      for (const active of window.splice(0).filter(({ samples }) => samples.length > 0)) yield ended(active);
      return;
    } catch (error) {
      if (signal?.aborted === true && !(await isLost(error))) {
        for (const active of window.splice(0).filter(({ samples }) => samples.length > 0)) yield ended(active);
        return;
      }
      if (!(await isLost(error))) throw error;
      barren = given === before ? barren + 1 : 1;
      onNotice(`The device was lost while ${current.row.name} was loaded or run (${messageOf(error)}).`);
      if (barren > mostLosses + 1) throw new DeviceLostError(`The device was lost ${barren} times without a variant measured between; the last to run was ${current.row.name}. Rows before it are kept; run the same command again to go on`);
      const count = (losses.get(current.at) ?? 0) + 1;
      losses.set(current.at, count);
      for (const { candidate, samples } of window) {
        kept.set(candidate.at, samples);
        if (candidate.at === reference.at || candidate.at !== current.at) again.push(candidate);
      }
      if (count >= mostLosses) {
        given++;
        yield failed(current, new DeviceLostError(`the device was lost ${count} times while it was loaded or run`));
        if (current.at === reference.at) return;
      } else if (current.at !== reference.at) again.push(current);
    } finally {
      for (const { loaded } of window) loaded.model.dispose();
      yard?.loaded.model.dispose();
    }
  }
}

async function activate(candidate: Candidate, shared: SharedDevice, { metric, weights, checkedGmacs, onNotice, signal }: MeasureOptions): Promise<Active> {
  const { spec, resolved, row } = candidate;
  const loaded = await loadVariant(resolved, { shared, weights: weights?.(spec), check: (row.gmacs ?? Infinity) * (row.batch ?? 1) <= checkedGmacs, onNotice: quietly(onNotice), signal });
  try {
    // Before anything else is loaded, whose weights may take the place of these.
    const value = metric === undefined ? null : await metric(loaded.model, spec);
    if (value !== null && !Number.isFinite(value)) throw new MetricError(`metric returned ${String(value)}, and a number is wanted`);
    await timedRun(loaded, signal);
    return { candidate, loaded, samples: [], references: [], metric: value };
  } catch (error) {
    loaded.model.dispose();
    throw error;
  }
}

class MetricError extends Error {
  override readonly name = "MetricError";
}

/** That an adapter is software is said once, and not by every variant. */
const quietly = (onNotice: (notice: string) => void) => (notice: string): void => {
  if (!/software adapter/.test(notice)) onNotice(notice);
};

async function timedRun({ model, input }: LoadedVariant, signal: AbortSignal | undefined): Promise<number> {
  const began = performance.now();
  await model.run(input, signal && { signal });
  return performance.now() - began;
}

function isEnough({ samples }: Active, { runs, seconds }: MeasureOptions): boolean {
  if (runs !== undefined) return samples.length >= runs;
  return samples.length >= mostRuns || (samples.length >= fewestRuns && samples.reduce((sum, sample) => sum + sample, 0) >= seconds * 1000);
}

/** Each round in another order, so that none always runs after the same one. (Fisher and Yates.) */
function shuffled<T>(list: readonly T[], random: () => number): readonly T[] {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

const keyOf = ({ robust }: MeasureOptions, { adapter }: Bench): Pick<Row, "adapter" | "robust" | "measured_at"> => ({ adapter: adapterKey(adapter), robust, measured_at: new Date().toISOString() });

function rowOf({ candidate, loaded, samples, references, metric }: Active, options: MeasureOptions & { readonly bench: Bench; readonly first: number | undefined }): Row {
  const { bench, first } = options;
  const { p50, p95 } = summarize(samples);
  const [profile] = loaded.plan.programs.infer;
  const { least, bound } = leastTime(loaded, bench.peaks);
  return {
    ...candidate.row,
    ...keyOf(options, bench),
    plan_hash: loaded.plan.fingerprint,
    compile_ms: loaded.compile,
    pipelines_ms: loaded.pipelines,
    first_ms: loaded.first,
    p50_ms: p50,
    p95_ms: p95,
    runs: samples.length,
    images_per_s: (profile!.batch * 1000) / p50,
    gflops_per_s: profile!.flops / p50 / 1e6,
    roofline_share: least / p50,
    bound_by: bound,
    metric,
    max_abs_error: loaded.error ?? null,
    drift: first === undefined || references.length === 0 ? null : median(references) / first,
  };
}

/** The least milliseconds that a run can take by the adapter's measured peaks, and what most of that time is. */
function leastTime({ plan, model }: LoadedVariant, { compute, memory, dispatchMicroseconds }: Peaks): { readonly least: number; readonly bound: NonNullable<Row["bound_by"]> } {
  const times = { compute: 0, memory: 0, launches: 0 };
  for (const { flops, bytes, routine } of plan.programs.infer[0]!.dispatches) {
    const [computing, moving] = [(flops / compute.rate) * 1000, (bytes / memory.rate) * 1000];
    times[computing >= moving ? "compute" : "memory"] += Math.max(computing, moving);
    times.launches += (dispatchMicroseconds * model.routines.get(routine)!.choice.launches.length) / 1000;
  }
  const [[bound]] = Object.entries(times).toSorted(([, a], [, b]) => b - a) as [[NonNullable<Row["bound_by"]>, number]];
  return { least: times.compute + times.memory + times.launches, bound };
}

const isNamed = (error: unknown, name: string): boolean => error instanceof Error && error.name === name;
const isOutOfMemory = (error: unknown): boolean => isNamed(error, "OutOfMemoryError");

/** So that a row that failed is replaced by one that did not, and by no other plan's. Null where the compiler itself fails. */
function planHash(spec: ResolvedSpec): string | null {
  try {
    return makePlan(spec).plan.fingerprint;
  } catch {
    return null;
  }
}

/** In one line. */
const reasonOf = (error: unknown): string => messageOf(error).replaceAll(/\s*\n\s*/g, "; ");
