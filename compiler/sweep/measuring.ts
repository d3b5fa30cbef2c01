/** The measured part of a sweep: what is measured next, for how long, and what is learnt from it. */
import { adapterKey } from "../../runtime/choose.js";
import { describeAdapter } from "../../runtime/device.js";
import { AdapterError, DeviceLostError } from "../../runtime/errors.js";
import { requestDevice } from "../../runtime/node.js";
import type { Plan } from "../../runtime/plan.js";
import { probedPredictor, type Prediction } from "../measure/calibrate.js";
import { measurePeaks, type Peaks } from "../measure/peaks.js";
import { median } from "../measure/statistics.js";
import { fewestRuns, measure, type Bench, type Candidate, type MeasureOptions } from "./measure.js";
import { markPareto } from "./order.js";
import { Picker } from "./picker.js";
import type { MeasuredPlan, Predictor } from "./predictor.js";
import { columns, type Row } from "./row.js";
import type { Store } from "./store.js";
import type { SweepOptions } from "./sweep.js";
import { breath, predicted, type Entry, type Table } from "./table.js";
import { resolveVariant } from "./variants.js";

/** No variant may take more than this share of what is left of a budget, or the first large one would have it all. */
const largestShare = 0.25;

/** Of an adapter, with or without checks of indices: what it can do at most does not change while a process lives. */
const peaksOf = new Map<string, Peaks>();

export class Measuring {
  private predictor: Predictor | undefined;
  private bench: Bench | undefined;
  /** Whether its device is lost. */
  private gone = false;
  private readonly began = performance.now();
  private readonly deadline: number;
  /** Entries that have their row. */
  private readonly through = new Set<Entry>();
  private readonly fitted: MeasuredPlan[] = [];
  /** Predictions of what is not measured yet: of a predictor that keeps what it needs of a plan. */
  private readonly kept = new WeakMap<Entry, () => Prediction>();
  /** Measured over predicted times, for whatever the predictor does not know. */
  private readonly ratios: number[] = [];
  private done = 0;
  private best: Row | undefined;
  private detail = "";
  private refitAt = 1;
  /** Milliseconds that the variants measured so far have taken. */
  private measuredSince = 0;

  constructor(
    private readonly table: Table,
    private readonly store: Store | undefined,
    private readonly options: SweepOptions,
  ) {
    this.deadline = options.budget === undefined ? Infinity : this.began + options.budget;
  }

  async *all(): AsyncGenerator<Row, void, void> {
    const { table, options: { signal } } = this;
    const { entries } = table;
    try {
      if (entries.length === 0) return;
      this.detail = "opening the device";
      this.progress();
      const bench = await this.open();
      const picker = new Picker(entries.map(({ row }) => row), table.axes);
      this.predictor = await this.makePredictor(bench);
      // Rows that are complete, or that failed for good, are not measured again.
      for (const [at, entry] of entries.entries()) {
        const row = this.knownOf(entry);
        if (row === undefined) continue;
        this.take(entry, row);
        picker.drop(at);
        yield row;
      }
      this.predictor.fit?.(this.fitted);
      await this.expect(picker);
      this.measuredSince = performance.now();
      const unfit = new Set<number>();
      for (;;) {
        const reference = this.referenceOf(unfit);
        if (reference === undefined || picker.left === 0 || signal?.aborted === true || performance.now() >= this.deadline) break;
        let referenceFailed = false;
        for await (const { candidate, row, plan } of measure({ ...this.measureOptions(picker), reference })) {
          if (candidate.at === reference.candidate.at && row.failed !== null) {
            referenceFailed = true;
            unfit.add(candidate.at);
            picker.drop(candidate.at);
          }
          this.store?.append(row);
          this.take(entries[candidate.at]!, row, plan);
          yield row;
          await this.learn(picker);
        }
        if (!referenceFailed) break;
      }
      signal?.throwIfAborted();
      this.tellError();
      for (const entry of entries) if (!this.through.has(entry)) yield entry.row;
    } finally {
      if (this.options.device === undefined) this.bench?.device.destroy();
    }
  }

  private measureOptions(picker: Picker): Omit<MeasureOptions, "reference"> {
    const { options: { runs, seconds = 1, robust = false, checkedGmacs = 0.05, signal, onNotice = () => undefined }, table } = this;
    const { metric, weights } = this.table.definitionOf;
    let first = true;
    return {
      open: () => this.open(),
      ...{ robust, metric, weights, runs, seconds, checkedGmacs, deadline: this.deadline, onNotice, signal },
      next: () => {
        // Rows that another process has appended meanwhile.
        const others = this.store?.take().rows ?? [];
        if (others.length > 0) {
          table.know(others);
          for (const [at, entry] of table.entries.entries()) if (!this.through.has(entry) && this.knownOf(entry) !== undefined) picker.drop(at);
        }
        const reference = first ? this.referenceOf(new Set())?.candidate.at : undefined;
        first = false;
        const at = (reference === undefined ? undefined : picker.take((each) => each === reference)) ?? picker.take((each) => this.fits(table.entries[each]!.row));
        return at === undefined ? undefined : this.candidate(at);
      },
      onStep: (detail) => {
        this.detail = detail;
        this.progress();
      },
    };
  }

  /** The cheapest variant that has not failed: the same whenever the sweep goes on, and the one that costs the others least. */
  private referenceOf(unfit: ReadonlySet<number>): { readonly candidate: Candidate; readonly first: number | undefined } | undefined {
    const { entries } = this.table;
    let best: number | undefined;
    for (const [at, { row }] of entries.entries()) {
      if (unfit.has(at) || row.failed !== null || this.knownOf(entries[at]!)?.failed) continue;
      if (best === undefined || row.gflops! * row.batch! < entries[best]!.row.gflops! * entries[best]!.row.batch!) best = at;
    }
    if (best === undefined) return undefined;
    return { candidate: this.candidate(best), first: this.knownOf(entries[best]!)?.p50_ms ?? undefined };
  }

  private candidate(at: number): Candidate {
    const { variant, row } = this.table.entries[at]!;
    const spec = variant.spec();
    return { at, spec, resolved: resolveVariant(spec), row };
  }

  /** The row of this adapter that was measured before, unless it has to be measured again. */
  private knownOf(entry: Entry): Row | undefined {
    const key = adapterKey(this.bench!.adapter);
    const wantedRuns = Math.min(this.options.runs ?? fewestRuns, fewestRuns);
    return this.table.measured(entry).find((row) => row.adapter === key && row.robust === (this.options.robust ?? false) && (row.failed === null ? (row.runs ?? 0) >= wantedRuns : this.options.retryFailed !== true));
  }

  /** Whether there is time for a variant: loading and warming it up, and the runs that are needed. */
  private fits({ predicted_ms }: Row): boolean {
    if (this.deadline === Infinity || predicted_ms === null) return true;
    const scale = this.ratios.length > 0 ? median(this.ratios) : 1;
    const left = this.deadline - performance.now();
    return predicted_ms * scale * ((this.options.runs ?? fewestRuns) + 3) <= largestShare * left;
  }

  private take(entry: Entry, row: Row, plan?: Plan): void {
    this.through.add(entry);
    if (this.measuredSince > 0) this.done++;
    entry.row = row;
    if (row.failed !== null) this.table.failed++;
    if (row.p50_ms === null) return;
    if (this.best === undefined || row.p50_ms < this.best.p50_ms!) this.best = row;
    if (row.predicted_ms !== null && row.predicted_ms > 0) this.ratios.push(row.p50_ms / row.predicted_ms);
    this.fitted.push({ plan: plan ?? this.table.statics.planOf(resolveVariant(entry.variant.spec())), row });
  }

  /** Fits the predictor to what was measured: often at first, seldom when one row more says little. */
  private async learn(picker: Picker): Promise<void> {
    if (this.predictor?.fit === undefined || this.fitted.length < this.refitAt) return;
    this.refitAt = Math.min(this.fitted.length * 2, this.fitted.length + 16);
    this.predictor.fit(this.fitted);
    this.ratios.length = 0;
    await this.expect(picker);
  }

  /** Predicts what is not measured yet, and where the front will be. */
  private async expect(picker: Picker): Promise<void> {
    const { entries } = this.table;
    let since = performance.now();
    for (const entry of entries) {
      if (this.through.has(entry)) continue;
      if (performance.now() - since > breath) {
        await new Promise((turn) => setImmediate(turn));
        this.options.signal?.throwIfAborted();
        since = performance.now();
      }
      entry.row = { ...entry.row, ...predicted(this.predictionOf(entry)) };
    }
    const front = markPareto(entries.map(({ row }) => ({ ...row, adapter: null })), columns.filter(({ name }) => name === "params_m" || name === "predicted_ms"));
    picker.expectFront(front.flatMap(({ pareto }, at) => (pareto === true ? [at] : [])));
  }

  private predictionOf(entry: Entry): Prediction {
    const kept = this.kept.get(entry);
    if (kept !== undefined) return kept();
    const plan = this.table.statics.planOf(resolveVariant(entry.variant.spec()));
    const again = this.predictor!.keep?.(plan);
    if (again !== undefined) this.kept.set(entry, again);
    return again?.() ?? this.predictor!.predict(plan);
  }

  /** How far to trust the predictions of what was not measured. */
  private tellError(): void {
    if (this.predictor?.fit === undefined) return;
    this.predictor.fit(this.fitted);
    const { error } = this.predictor;
    if (error === undefined) return;
    const percent = (share: number): string => `${Number((100 * share).toPrecision(2))} %`;
    this.options.onNotice?.(`Predictions of variants that the fit has not seen are off by ${percent(error.medianError)} in the median, and ${percent(error.ordered)} of the pairs that differ by more than 10 % are in the right order (${error.count} variants).`);
  }

  private async makePredictor(bench: Bench): Promise<Predictor> {
    const { predictor } = this.options;
    if (typeof predictor === "object") return predictor;
    return (predictor ?? probedPredictor)({ ...bench, signal: this.options.signal });
  }

  /** A device with the limits that the variants need, as far as there is one, and its peaks, which are measured once. */
  private async open(): Promise<Bench> {
    const { device: given, adapter: choice = "auto", robust = false, signal } = this.options;
    const known = this.bench;
    if (known !== undefined && !this.gone) return known;
    if (typeof given === "object" && known !== undefined) throw new DeviceLostError("Your device was lost; rows before it are kept. Give a function that requests a device, sweep(definition, { device: () => ... }), to have the sweep go on by itself");
    const { device, adapter } = given === undefined ? await this.request(choice, robust) : await describe(given);
    if (known !== undefined && adapterKey(known.adapter) !== adapterKey(adapter)) throw new AdapterError(`the device that came for the one that was lost is of another adapter (${adapterKey(adapter)}); start again to measure on it`);
    if (adapter.notice !== undefined && known === undefined) this.options.onNotice?.(adapter.notice);
    const key = `${adapterKey(adapter)} ${robust}`;
    const peaks = peaksOf.get(key) ?? (await measurePeaks(device, { software: adapter.software, signal }));
    peaksOf.set(key, peaks);
    this.gone = false;
    void device.lost.then(() => (this.gone ||= this.bench?.device === device));
    this.bench = { device, adapter, peaks };
    return this.bench;
  }

  private async request(choice: "auto" | "gpu" | "software", robust: boolean): Promise<{ readonly device: GPUDevice; readonly adapter: Bench["adapter"] }> {
    const optionalFeatures = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
    const limits = this.table.limits();
    try {
      return await requestDevice({ adapter: choice, robust, optionalFeatures, requiredLimits: limits });
    } catch (error) {
      if (Object.keys(limits).length === 0 || !(error instanceof AdapterError)) throw error;
      // What needs more than the adapter has becomes a row that says so.
      return requestDevice({ adapter: choice, robust, optionalFeatures });
    }
  }

  private progress(): void {
    const { table, options: { onProgress }, done, best, detail } = this;
    if (onProgress === undefined) return;
    const total = table.entries.length;
    const through = this.through.size;
    const budgetLeft = Math.max(0, this.deadline - performance.now());
    const each = done > 0 ? (performance.now() - this.measuredSince) / done : undefined;
    const work = each === undefined ? undefined : each * (total - through);
    const left = Math.min(budgetLeft, work ?? Infinity);
    onProgress({ stage: "measuring", done: through, total, failed: table.failed, detail, best, left: Number.isFinite(left) ? left : undefined });
  }
}

async function describe(given: GPUDevice | (() => Promise<GPUDevice>)): Promise<{ readonly device: GPUDevice; readonly adapter: Bench["adapter"] }> {
  const device = typeof given === "function" ? await given() : given;
  return { device, adapter: describeAdapter(device.adapterInfo) };
}
