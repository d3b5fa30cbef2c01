import { adapterKey, type Chosen } from "./choose.js";
import type { LoadOptions, ModelDefinition } from "./definition.js";
import { DeviceLostError, VitcError } from "./errors.js";
import { checkAlive, closeEngine, hearOfLoss, openEngine, testsOf, type Engine } from "./load.js";
import type { DType, Plan, Tuned } from "./plan.js";
import type { SelfTestReport } from "./self-test.js";
import { abortable, withSignal } from "./source.js";
import { isHostInput, toBatch, type Batch, type DeviceBatch, type HostInput, type ModelInput } from "./tensor.js";
import { variantsFor } from "./variants.js";

/** How often a device that is lost is made again for one piece of work. */
const rebuilds = 2;

/** How a model is loaded, with somebody to tell what its user should know. */
export type ToldOptions = LoadOptions & { readonly onNotice: (text: string) => void };

/** Images that were taken when they were given, and are taken again when the device that they were put on is lost. */
export interface Taken {
  get(): Promise<Batch>;
  /** Gives back what they hold on the device. */
  release(): void;
}

/**
 * Does a model's work one piece after the other on its engine, and puts another engine in its place when the device is lost: one of our own is
 * requested again, the user's is asked for. Weights are read again from where they came from.
 */
export class Runner {
  private queue: Promise<unknown> = Promise.resolve();
  private readonly stop = new AbortController();
  /** Choices of kernels that `choose` was asked for; they outlive a device. */
  private choices: Readonly<Record<string, string>>;
  /** Those that self-tests made, which hold whatever else is chosen, unless it is of the same routines. */
  private found: Readonly<Record<string, string>>;

  private constructor(
    private current: Engine,
    private readonly definition: ModelDefinition,
    private options: ToldOptions,
  ) {
    this.choices = this.found = current.found;
  }

  /** @throws as `openEngine` does; DeviceLostError when the device is lost again and again */
  static async open(definition: ModelDefinition, options: LoadOptions, tell: (text: string) => void): Promise<Runner> {
    const said = new Set<string>();
    // What holds for one engine mostly holds for the next, and is said once.
    const onNotice = (text: string): void => {
      if (!said.has(text)) tell(text);
      said.add(text);
    };
    const told = { ...options, onNotice };
    let { device } = options;
    for (let lost = 0; ; lost++) {
      try {
        return new Runner(await openEngine(definition, told, device), definition, told);
      } catch (error) {
        if (!(error instanceof DeviceLostError) || (options.device && !options.onDeviceLost) || lost === rebuilds) throw error;
        onNotice(`${error.message}: trying again`);
        device = await (await import("./rebuild.js")).freshDevice(told, told.signal);
      }
    }
  }

  /** What the model is on now. */
  get engine(): Engine {
    return this.current;
  }

  get plan(): Plan {
    return this.current.variant.plan;
  }

  /** @throws VitcError (disposed); DeviceLostError when the device is gone and nothing can be done about it. */
  checkUsable(): void {
    this.checkNotDisposed();
    if (!this.canRebuild) checkAlive(this.plan, this.current.watch);
  }

  private checkNotDisposed(): void {
    if (this.stop.signal.aborted) throw new VitcError("disposed", `${this.plan.name} was disposed; load it again`);
  }

  private get canRebuild(): boolean {
    return this.current.ownsDevice || this.options.onDeviceLost !== undefined;
  }

  /**
   * Does a piece of work when those before it are done; what it gives must not need the engine any more, or see to it itself. A piece during
   * which the device is lost is done again on a new one, twice at most.
   * @param after is called when it had its turn, however that ended
   * @throws what `work` throws; DeviceLostError; the signal's reason, as soon as it is aborted
   */
  enqueue<Result>(work: (engine: Engine) => Promise<Result>, signal?: AbortSignal, after?: () => void): Promise<Result> {
    const result = this.queue.then(() => this.replay(work, signal)).finally(after);
    this.queue = result.catch(() => undefined);
    return abortable(result, signal);
  }

  private async replay<Result>(work: (engine: Engine) => Promise<Result>, signal: AbortSignal | undefined): Promise<Result> {
    for (let tries = 0; ; tries = await this.rebuild(tries)) {
      signal?.throwIfAborted();
      this.checkUsable();
      const engine = this.current;
      if (engine.watch.lost === undefined) {
        try {
          return await work(engine);
        } catch (error) {
          signal?.throwIfAborted();
          this.checkNotDisposed();
          await hearOfLoss(engine.opened.device, error);
          this.checkUsable();
          if (engine.watch.lost === undefined) throw error;
        }
      }
      if (tries >= rebuilds) throw new DeviceLostError(`The GPU device of ${this.plan.name} was lost ${tries + 1} times during one run (${engine.watch.lost}): it may be too much for this GPU or its driver`);
    }
  }

  /** Replaces an engine whose device is lost. Returns how many tries there have been. Few models need it, so its code comes when one does. */
  private async rebuild(before: number): Promise<number> {
    // The loader is handed over, so that bundlers leave it in one piece with what is downloaded first.
    closeEngine(this.current);
    const { rebuildEngine } = await import("./rebuild.js");
    const tableOf = (choices: Tuned["choices"]): Tuned => ({ adapter: adapterKey(this.current.opened.adapter), choices });
    const { engine, tries } = await rebuildEngine(this.current, (options, device) => openEngine(this.definition, options, device), this.options, { choices: tableOf(this.choices), found: tableOf(this.found), before, most: rebuilds, signal: this.stop.signal });
    // It may have been disposed in the last moment.
    if (this.stop.signal.aborted) closeEngine(engine);
    this.checkNotDisposed();
    // A device that takes another's place is mostly the same one.
    this.goOn({ ...engine, report: engine.report ?? this.current.report });
    return tries;
  }

  /**
   * Takes images. Those in memory are taken at once, so they may change right after; files are decoded and frames put on the device meanwhile.
   * @throws InputError, at once or by `get`
   */
  take(input: ModelInput): Taken {
    let from = this.current.session;
    const now = (): Batch | Promise<Batch> => (isHostInput(input) ? this.takeHost(input) : this.takeDevice(input));
    let taken = now();
    // A run that waits for its turn looks at them then.
    if (taken instanceof Promise) taken.catch(() => undefined);
    return {
      get: async () => {
        try {
          const batch = await taken;
          if (!("buffer" in batch) || from === this.current.session) return batch;
        } catch (error) {
          if (from === this.current.session) throw error;
        }
        from = this.current.session;
        taken = now();
        return taken;
      },
      release: () => void Promise.resolve(taken).then((batch) => "buffer" in batch && batch.release(), () => undefined),
    };
  }

  private takeHost(input: HostInput): Batch | Promise<Batch> {
    const made = toBatch(input, this.plan, this.current.decode);
    // Whoever gave f32 values keeps them, and may write the next image there before this run has its turn.
    return made instanceof Promise || !keptBy(input, made.data) ? made : { ...made, data: made.data.slice() };
  }

  /** Most models see values and files alone, and do without what frames and textures need. */
  private async takeDevice(input: Exclude<ModelInput, HostInput>): Promise<DeviceBatch> {
    const { current } = this;
    const { toDeviceBatch } = await import("./device-inputs.js");
    return toDeviceBatch(input, current, this.definition.images);
  }

  /** Tests the kernels in its turn; see `Model.selfTest`. */
  async selfTest(signal: AbortSignal | undefined): Promise<SelfTestReport> {
    await testsOf(this.definition, this.current.variant);
    const { fallBack, selfTest } = await import("./self-test.js");
    return this.enqueue(async (engine) => {
      const tested = await selfTest(engine, await testsOf(this.definition, engine.variant), this.options.onNotice, signal);
      this.goOn(tested);
      if (tested.report.passed) return tested.report;
      // The next dtype, with its weights, on the device that the user gave or on another one.
      const allowed = variantsFor(this.definition, this.options.dtype ?? "auto");
      const { onProgress: _, ...quiet } = this.options;
      const stop = withSignal(signal, this.stop);
      const open = (dtype: DType): Promise<Engine> => openEngine(this.definition, { ...quiet, dtype, selfTest: true, signal: stop }, engine.ownsDevice ? undefined : engine.opened.device);
      const { report, engine: next } = await fallBack(tested.report, allowed.slice(allowed.indexOf(engine.variant) + 1), open, this.options.onNotice);
      if (next === undefined) return report;
      if (this.stop.signal.aborted) closeEngine(next);
      this.checkNotDisposed();
      closeEngine(engine);
      this.goOn({ ...next, report });
      this.options = { ...this.options, dtype: report.dtype };
      return report;
    }, signal);
  }

  /** Does routines in other ways, from then on; see `Model.choose`. */
  async choose(choices: Readonly<Record<string, string>>, choose: (engine: Engine) => ReadonlyMap<string, Chosen>): Promise<void> {
    await this.enqueue(async (engine) => {
      const chosen = choose(engine);
      await engine.session.choose(chosen);
      this.checkUsable();
      this.current = { ...engine, chosen };
      this.choices = { ...this.found, ...choices };
    });
  }

  /** Puts an engine in the place of the one before, with what it was found to do wrongly and right. */
  private goOn(engine: Engine): void {
    this.current = engine;
    this.found = { ...this.found, ...engine.found };
    this.choices = { ...this.choices, ...engine.found };
  }

  /** Frees everything. Work under way fails: the model was disposed. */
  dispose(): void {
    if (this.stop.signal.aborted) return;
    this.stop.abort(new VitcError("disposed", `${this.plan.name} was disposed; load it again`));
    closeEngine(this.current);
  }
}

/** Whether what is run is the caller's own memory. */
const keptBy = (input: HostInput, data: Float32Array): boolean => data === input || (typeof input === "object" && "shape" in input);
