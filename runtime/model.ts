/// <reference lib="esnext.disposable" preserve="true" />
import { adapterKey, chooseProfiles, chooseRoutines, isTable, usableChoices, type ChooseOptions, type Chosen } from "./choose.js";
import { abi, type LoadOptions, type ModelDefinition, type Platform, type Variant } from "./definition.js";
import { adapterName, describeAdapter, messageOf, type AdapterInfo, type OpenedDevice } from "./device.js";
import { AbiError, AdapterError, DeviceLostError, KernelError, VitcError } from "./errors.js";
import type { DType, Plan, Tuned } from "./plan.js";
import { Session, type Wait } from "./session.js";
import { elements, toBatch, withShape, type DecodeImage, type ModelInput, type Tensor } from "./tensor.js";
import { openVariantWeights, type UploadWeights } from "./variant-weights.js";
import { checkLimits, dtypeIsToBlame, missingFeatures, openFor, runnableVariants, variantsFor } from "./variants.js";
import type { WeightsInput } from "./weights.js";

/** A model can stand in a `using` declaration. (Said by an interface because the declaration of a computed method is emitted twice.) */
// eslint-disable-next-line @typescript-eslint/no-unused-vars -- an interface that merges with a class must repeat its type parameters
export interface Model<Outputs extends object> extends Disposable {}

/** A model on a device, ready to run. */
export class Model<Outputs extends object> {
  private readonly plan: Plan;
  private queue: Promise<unknown> = Promise.resolve();
  private disposed = false;

  private constructor(
    variant: Variant,
    private readonly session: Session,
    private chosen: ReadonlyMap<string, Chosen>,
    private readonly opened: OpenedDevice,
    private readonly ownsDevice: boolean,
    private readonly watch: DeviceWatch,
    /** What load went by: the adapter, its features, the tables, the kernels that the device refused. */
    private readonly chooseOptions: ChooseOptions,
    private readonly decode: DecodeImage,
    /** Tensors of the weight file that the model does not use; not empty only with `allowExtra`. */
    readonly ignored: readonly string[],
  ) {
    this.plan = variant.plan;
  }

  /** How matrices are stored. */
  get dtype(): DType {
    return this.plan.dtype;
  }

  /** How each routine of the plan is done on this adapter, and what decided it, by the routine's id. */
  get routines(): ReadonlyMap<string, Chosen> {
    return this.chosen;
  }

  /**
   * Does routines in other ways, given by name; the others as load would choose them. Results stay the same up to rounding. Waits for the
   * runs before it.
   * @throws VitcError (input) for a routine or choice that the plan does not have or that this adapter cannot run.
   */
  async choose(choices: Readonly<Record<string, string>>): Promise<void> {
    this.checkUsable();
    checkChoices(this.plan, choices);
    const { adapter } = this.opened;
    const { tuned = [] } = this.chooseOptions;
    const chosen = chooseRoutines(this.plan, { ...this.chooseOptions, tuned: [{ adapter: adapterKey(adapter), choices }, ...tuned] });
    for (const [id, name] of Object.entries(choices)) {
      const found = chosen.get(id);
      if (found === undefined) throw new VitcError("input", `${this.plan.name} has no routine ${id}`);
      if (found.choice.name !== name) throw new VitcError("input", `${id} cannot be done by ${name} on ${adapterName(adapter)}: what can be chosen there is ${this.usableNames(id).join(", ")}`);
    }
    const result = this.queue.then(async () => {
      this.checkUsable();
      await this.session.choose(chosen);
      this.checkUsable();
      this.chosen = chosen;
    });
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** The adapter that the model runs on. */
  get adapter(): AdapterInfo {
    return this.opened.adapter;
  }

  /** Class names, one a logit; empty if the spec has none. */
  get labels(): readonly string[] {
    return this.plan.labels;
  }

  /** Bytes of GPU memory that the model holds. */
  get gpuBytes(): number {
    return this.session.bytes;
  }

  /**
   * Runs 1 to n images and returns every output, with `shape` [n, ...]. The images are taken when it is called, so they may change right
   * after. Calls may overlap: they run in the order they were made; image files are decoded while other calls run.
   * @throws InputError if the images do not fit or cannot be decoded; DeviceLostError if the GPU went away; VitcError after `dispose`.
   */
  async run(input: ModelInput, options?: { readonly signal?: AbortSignal } | null): Promise<Outputs> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    this.checkUsable();
    const made = toBatch(input, this.plan, this.decode);
    // A run that waits for its turn looks at them then.
    if (made instanceof Promise) made.catch(() => undefined);
    // Whoever gave f32 values keeps them, and may write the next image there before this run has its turn.
    const batch = made instanceof Promise || !keptBy(input, made.data) ? made : { ...made, data: made.data.slice() };
    const result = this.queue.then(async () => {
      const { data, count } = await batch;
      return this.runNow(data, count, signal);
    });
    this.queue = result.catch(() => undefined);
    return result;
  }

  private async runNow(data: Float32Array, count: number, signal: AbortSignal | undefined): Promise<Outputs> {
    const { plan } = this;
    const size = elements(plan.input.shape);
    const results = plan.outputs.map(({ shape }) => new Float32Array(count * elements(shape)));
    let done = 0;
    for (const { batch } of chooseProfiles(plan.programs.infer, count)) {
      signal?.throwIfAborted();
      this.checkUsable();
      const images = Math.min(batch, count - done);
      try {
        await this.session.run(batch, data.subarray(done * size, (done + images) * size), (output, values) => {
          const width = elements(plan.outputs[output]!.shape);
          results[output]!.set(values.subarray(0, images * width), done * width);
        });
      } catch (error) {
        // Why it failed says more than what failed, and news of a lost device may come a moment later.
        await new Promise((turn) => setTimeout(turn));
        this.checkUsable();
        throw error;
      }
      done += images;
    }
    // The generated package states Outputs from the same plan.
    return Object.fromEntries(plan.outputs.map(({ name, shape }, i) => [name, withShape(results[i]!, [count, ...shape])])) as Outputs;
  }

  private usableNames(id: string): readonly string[] {
    const kernels = new Map(this.plan.kernels.map((kernel) => [kernel.id, kernel]));
    return this.plan.routines.filter((routine) => routine.id === id).flatMap((routine) => usableChoices(routine, kernels, this.chooseOptions).map(({ name }) => name));
  }

  private checkUsable(): void {
    if (this.disposed) throw new VitcError("disposed", `${this.plan.name} was disposed; load it again`);
    checkAlive(this.plan, this.watch);
  }

  /** Frees the GPU memory (and the device, unless it is yours). Runs under way fail: the model was disposed. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.session.dispose();
    if (this.ownsDevice) this.opened.device.destroy();
  }

  /** Used by generated packages; see their `load`. */
  static async load<Outputs extends object>(definition: ModelDefinition, options: LoadOptions): Promise<Model<Outputs>> {
    // Before anything else of it is looked at: what was generated for another ABI may have another shape.
    if (definition.abi !== abi) {
      throw new AbiError(`This package was generated for runtime ABI ${definition.abi}, this runtime has ${abi}; generate it again: ${definition.command}`);
    }
    const { name } = definition.variants[0].plan;
    if (typeof options !== "object" || options === null) throw new VitcError("input", `${name}: load needs its options, at least { weights }`);
    const { device, onProgress, signal, allowExtra } = options;
    const notice = options.onNotice ?? ((text: string) => console.warn(`${name}: ${text}`));
    const allowed = variantsFor(definition, options.dtype ?? "auto");
    checkTables(name, options.tuned);
    signal?.throwIfAborted();
    const platform = isNode() ? await definition.platform() : undefined;
    const source = platform && isPath(options.weights) ? await platform.fromPath(options.weights) : options.weights;
    // A file that does not fit is named before a GPU is asked for anything.
    const weights = await openVariantWeights(allowed, source, { allowExtra, signal });
    try {
      const { variants: wanted } = weights;
      const checked = await weights.open(wanted[0]);
      if (weights.notice !== undefined) notice(weights.notice);
      onProgress?.({ stage: "device", loaded: 0, total: 1 });
      const opened = device ? { device, adapter: describeAdapter(device.adapterInfo) } : await openFor(wanted, options, platform);
      try {
        onProgress?.({ stage: "device", loaded: 1, total: 1 });
        const { adapter } = opened;
        if (adapter.notice !== undefined) notice(adapter.notice);
        const runnable = runnableVariants(definition, wanted, opened);
        if (runnable[0] !== wanted[0]) notice(`${device ? `your device on ${adapterName(adapter)} was made without` : `${adapterName(adapter)} has no`} ${missingFeatures(wanted[0].plan, opened.device).join(", ")}, which ${wanted[0].plan.dtype} needs; ${runnable[0].plan.dtype} is used`);
        const startOptions = { ...options, notice, wait: adapter.software ? platform?.wait : undefined, decode: platform?.decodeImage ?? inBrowser(opened.device) };
        for (const [i, variant] of runnable.entries()) {
          const next = runnable[i + 1];
          const tuned = [...(options.tuned ?? []), ...(await tunedHere(variant.plan, platform, notice))];
          try {
            return await Model.start<Outputs>(variant, variant === wanted[0] ? checked : await weights.open(variant), opened, { ...startOptions, tuned });
          } catch (error) {
            if (next === undefined || !dtypeIsToBlame(error)) throw error;
            notice(`${variant.plan.dtype} cannot be used: ${messageOf(error)}; ${next.plan.dtype} is used`);
          }
        }
        throw new VitcError("validation", `${name} has no variant`);
      } catch (error) {
        if (!device) opened.device.destroy();
        throw error;
      }
    } finally {
      weights.close();
    }
  }

  /** Kernels and weights onto a device. */
  private static async start<Outputs extends object>(variant: Variant, uploadWeights: UploadWeights, opened: OpenedDevice, options: StartOptions): Promise<Model<Outputs>> {
    const { plan, kernels } = variant;
    const { device, adapter } = opened;
    const { onProgress, signal, allowExtra, tuned, wait, decode, notice } = options;
    const watch = watchDevice(device);
    if (adapter.null) throw new AdapterError("Dawn's null backend executes nothing; give a device that computes");
    if (options.device) checkLimits(plan, device);
    signal?.throwIfAborted();
    const onPipeline = onProgress && ((loaded: number, total: number) => onProgress({ stage: "pipelines", loaded, total }));
    const session = await Session.create({ device, plan, kernels, software: adapter.software, wait, ...(onPipeline && { onPipeline }) });
    try {
      const { chosen, chooseOptions } = await chooseAccepted(session, plan, { adapter, features: device.features, tuned }, { watch, notice });
      const { ignored } = await uploadWeights({ allowExtra, onProgress, signal, upload: (buffer, offset, data) => session.upload(buffer, offset, data) });
      const model = new Model<Outputs>(variant, session, chosen, opened, !options.device, watch, chooseOptions, decode, ignored);
      model.checkUsable();
      if (ignored.length > 0) notice(`ignored ${ignored.length} tensors of the weight file that the model does not use: ${ignored.slice(0, 5).join(", ")}${ignored.length > 5 ? ", ..." : ""}`);
      return model;
    } catch (error) {
      session.dispose();
      throw error;
    }
  }
}

interface StartOptions extends LoadOptions {
  readonly tuned: readonly Tuned[];
  readonly wait: Wait | undefined;
  readonly decode: DecodeImage;
  readonly notice: (text: string) => void;
}

Model.prototype[Symbol.dispose] = function (this: Model<object>): void {
  this.dispose();
};

/** Whether what is run is the caller's own memory. */
const keptBy = (input: ModelInput, data: Float32Array): boolean => data === input || (typeof input === "object" && "shape" in input);

/** The browser's decoder is imported with the first image file: pages that give pixels do without. */
function inBrowser(device: GPUDevice): DecodeImage {
  return async (source) => (await import("./web-image.js")).decodeImage(source, device);
}

/** What is known of a device's end. It outlives models on a shared device, so it holds nothing of them. */
interface DeviceWatch {
  lost?: string;
}

function watchDevice(device: GPUDevice): DeviceWatch {
  const watch: DeviceWatch = {};
  void device.lost.then(({ reason, message }) => {
    watch.lost = message || reason;
  });
  return watch;
}

function checkAlive({ name }: Plan, { lost }: DeviceWatch): void {
  if (lost !== undefined) throw new DeviceLostError(`The GPU device of ${name} was lost (${lost}); load the model again`);
}

/** Chooses kernels and builds them. Those that the device refuses, though it seemed to be able to run them, are done without, if every routine has another way. */
async function chooseAccepted(session: Session, plan: Plan, options: ChooseOptions, { watch, notice }: { readonly watch: DeviceWatch; readonly notice: (text: string) => void }): Promise<{ readonly chosen: ReadonlyMap<string, Chosen>; readonly chooseOptions: ChooseOptions }> {
  const refused = new Set<string>();
  const chooseOptions = { ...options, refused };
  const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
  for (;;) {
    const chosen = chooseRoutines(plan, chooseOptions);
    try {
      await session.choose(chosen);
      return { chosen, chooseOptions };
    } catch (error) {
      // A lost device refuses everything, and news of it may come a moment later.
      await new Promise((turn) => setTimeout(turn));
      checkAlive(plan, watch);
      if (!(error instanceof KernelError)) throw error;
      for (const kernel of error.kernels) refused.add(kernel);
      if (plan.routines.some((routine) => usableChoices(routine, kernels, chooseOptions).length === 0)) throw error;
      notice(`${error.message}; other kernels do its work`);
    }
  }
}

/** What `vitc tune` measured on this machine. A model runs without it as well, so it never keeps one from loading. */
async function tunedHere({ fingerprint }: Plan, platform: Platform | undefined, notice: (text: string) => void): Promise<readonly Tuned[]> {
  try {
    return (await platform?.tuned?.(fingerprint)) ?? [];
  } catch (error) {
    notice(`measured choices of kernels are not used: ${messageOf(error)}`);
    return [];
  }
}

/** Callers may come from JavaScript. */
function checkTables(name: string, tables: unknown): void {
  if (tables !== undefined && !(Array.isArray(tables) && tables.every(isTable))) throw new VitcError("input", `${name}: tuned is a list of tables { adapter, choices }, as vitc tune --out writes them`);
}

/** Callers may come from JavaScript. */
function checkChoices({ name }: Plan, choices: unknown): void {
  if (typeof choices !== "object" || choices === null || !Object.values(choices).every((choice) => typeof choice === "string")) throw new VitcError("input", `${name}: choose takes names of choices by routine, { routine: choice }; {} takes all back`);
}

/** Whether this is Node without a WebGPU of its own. Deno and browsers have `navigator.gpu`. */
function isNode(): boolean {
  const { process, navigator } = globalThis as { process?: { versions?: { node?: string } }; navigator?: { gpu?: unknown } };
  return process?.versions?.node !== undefined && navigator?.gpu === undefined;
}

/** In Node a string that is no URL is a path, and so is a file: URL. */
function isPath(weights: WeightsInput): weights is string | URL {
  if (weights instanceof URL) return weights.protocol === "file:";
  return typeof weights === "string" && (!/^[a-z][a-z0-9+.-]+:/i.test(weights) || weights.startsWith("file:"));
}

export { abi, type LoadOptions, type ModelDefinition, type Platform, type Progress, type Variant } from "./definition.js";
export type { Tensor };
