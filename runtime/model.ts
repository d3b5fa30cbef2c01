/// <reference lib="esnext.disposable" preserve="true" />
import { adapterKey, chooseProfiles, chooseRoutines, isTable, usableChoices, type Chosen } from "./choose.js";
import { adapterName, describeAdapter, messageOf, requestBrowserDevice, type AdapterChoice, type AdapterInfo, type DeviceOptions, type OpenedDevice } from "./device.js";
import { AbiError, AdapterError, DeviceLostError, VitcError } from "./errors.js";
import type { DType, Plan, Tuned, WeightRecipe } from "./plan.js";
import { Session, type Wait } from "./session.js";
import { elements, toBatch, withShape, type ModelInput, type Tensor } from "./tensor.js";
import { openWeights, uploadWeights, type OpenedWeights, type WeightsInput, type WeightsSource } from "./weights.js";

/** What generated code and this runtime must agree on. Raised when the plan, the recipe or `loadModel` change their meaning. */
export const abi = 2;

/** How far loading has come. `weights` counts bytes of the file, `pipelines` counts kernels. */
export interface Progress {
  readonly stage: "device" | "pipelines" | "weights";
  readonly loaded: number;
  readonly total: number;
}

export interface LoadOptions {
  /** The weight file: bytes, a Blob, a URL, a source `{name, size, read}`; in Node also a path. */
  readonly weights: WeightsInput;
  /** A device of yours. It is never destroyed here. Without it one is requested. */
  readonly device?: GPUDevice;
  /** Which adapter to request: `auto` (default) takes a GPU, or else a software adapter and says so. */
  readonly adapter?: Exclude<AdapterChoice, "null">;
  /**
   * How matrices are stored. `auto` (default): the first dtype that the package was compiled for and the adapter can run; if that is not the
   * package's first, a notice says so.
   */
  readonly dtype?: "auto" | DType;
  /**
   * Whether the driver checks every index of a kernel. The kernels' indices are proved to be in bounds, so in Node (Dawn) the checks are left
   * out by default, which is faster; browsers always check. Has no effect on a device of yours.
   */
  readonly robust?: boolean;
  /**
   * Measured choices of kernels, as `vitc tune` writes them. They go before those that it left on this machine (Node), and these before the
   * package's own.
   */
  readonly tuned?: readonly Tuned[];
  /** Ignore tensors of the file that the model does not use, instead of refusing the file. Default: false. */
  readonly allowExtra?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Gets what a user should know: a software adapter, ignored tensors. Default: `console.warn`. */
  readonly onNotice?: (notice: string) => void;
  readonly signal?: AbortSignal;
}

/** The Node side of the runtime, as `runtime/node.ts` exports it. */
export interface Platform {
  requestDevice(options: DeviceOptions): Promise<OpenedDevice>;
  fromPath(path: string | URL): Promise<WeightsSource>;
  /** Waits for a software adapter, which computes on the cores that the caller has. */
  wait?<T>(work: Promise<T>): Promise<T>;
  /** What was measured on this machine for the plan with a fingerprint. Whatever it throws costs no load. */
  tuned?(fingerprint: string): Promise<readonly Tuned[]>;
}

/** A model compiled for one dtype. */
export interface Variant {
  readonly plan: Plan;
  /** WGSL by kernel id. */
  readonly kernels: Readonly<Record<string, string>>;
  readonly recipe: WeightRecipe;
}

/** What a generated package hands over. */
export interface ModelDefinition {
  readonly abi: number;
  /** In the order of preference; all have the same inputs, outputs and weight file. */
  readonly variants: readonly [Variant, ...Variant[]];
  /** The command that made the package, for messages. */
  readonly command: string;
  /** Loads the Node side; called in Node only. */
  readonly platform: () => Promise<Platform>;
}

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
    /** The tables that load went by. */
    private readonly tuned: readonly Tuned[],
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
    const { device, adapter } = this.opened;
    const chosen = new Map(chooseRoutines(this.plan, { adapter, features: device.features, tuned: [{ adapter: adapterKey(adapter), choices }, ...this.tuned] }));
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
   * after. Calls may overlap: they run in the order they were made.
   * @throws InputError if the images do not fit; DeviceLostError if the GPU went away; VitcError after `dispose`.
   */
  async run(input: ModelInput, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Outputs> {
    signal?.throwIfAborted();
    this.checkUsable();
    const { data, count } = toBatch(input, this.plan);
    // Whoever gave f32 values keeps them, and may write the next image there before this run has its turn.
    const images = data === input || (typeof input === "object" && "shape" in input) ? data.slice() : data;
    const result = this.queue.then(() => this.runNow(images, count, signal));
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
    const { device, adapter } = this.opened;
    const kernels = new Map(this.plan.kernels.map((kernel) => [kernel.id, kernel]));
    return this.plan.routines.filter((routine) => routine.id === id).flatMap((routine) => usableChoices(routine, kernels, { adapter, features: device.features }).map(({ name }) => name));
  }

  private checkUsable(): void {
    if (this.disposed) throw new VitcError("disposed", `${this.plan.name} was disposed; load it again`);
    if (this.watch.lost !== undefined) throw new DeviceLostError(`The GPU device of ${this.plan.name} was lost (${this.watch.lost}); load the model again`);
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
    const { onProgress, signal, allowExtra } = options;
    const notice = options.onNotice ?? ((text: string) => console.warn(`${name}: ${text}`));
    const wanted = variantsFor(definition, options.dtype ?? "auto");
    signal?.throwIfAborted();
    const platform = isNode() ? await definition.platform() : undefined;
    const source = platform && isPath(options.weights) ? await platform.fromPath(options.weights) : options.weights;
    // A file that does not fit is named before a GPU is asked for anything.
    const weights = await openWeights(wanted[0].recipe, source, { allowExtra, signal });
    try {
      onProgress?.({ stage: "device", loaded: 0, total: 1 });
      const { device } = options;
      const opened = device ? { device, adapter: describeAdapter(device.adapterInfo) } : await openFor(wanted, options, platform);
      try {
        onProgress?.({ stage: "device", loaded: 1, total: 1 });
        if (opened.adapter.notice !== undefined) notice(opened.adapter.notice);
        const variant = pickVariant(definition, wanted, opened);
        if (variant !== wanted[0]) notice(`${device ? `your device on ${adapterName(opened.adapter)} was made without` : `${adapterName(opened.adapter)} has no`} ${missingFeatures(wanted[0].plan, opened.device).join(", ")}, which ${wanted[0].plan.dtype} needs; ${variant.plan.dtype} is used`);
        checkTables(name, options.tuned);
        const tuned = [...(options.tuned ?? []), ...(await tunedHere(variant.plan, platform, notice))];
        const model = await Model.start<Outputs>(variant, weights, opened, { ...options, tuned, wait: opened.adapter.software ? platform?.wait : undefined });
        if (model.ignored.length > 0) notice(`ignored ${model.ignored.length} tensors of the weight file that the model does not use: ${model.ignored.slice(0, 5).join(", ")}${model.ignored.length > 5 ? ", ..." : ""}`);
        return model;
      } catch (error) {
        if (!device) opened.device.destroy();
        throw error;
      }
    } finally {
      weights.close();
    }
  }

  /** Kernels and weights onto a device. */
  private static async start<Outputs extends object>(variant: Variant, weights: OpenedWeights, opened: OpenedDevice, options: LoadOptions & { readonly tuned: readonly Tuned[]; readonly wait: Wait | undefined }): Promise<Model<Outputs>> {
    const { plan, kernels, recipe } = variant;
    const { device, adapter } = opened;
    const { onProgress, signal, allowExtra, tuned, wait } = options;
    const watch = watchDevice(device);
    if (adapter.null) throw new AdapterError("Dawn's null backend executes nothing; give a device that computes");
    if (options.device) checkLimits(plan, device);
    signal?.throwIfAborted();
    const onPipeline = onProgress && ((loaded: number, total: number) => onProgress({ stage: "pipelines", loaded, total }));
    const chosen = chooseRoutines(plan, { adapter, features: device.features, tuned });
    const session = await Session.create({ device, plan, kernels, chosen, software: adapter.software, wait, ...(onPipeline && { onPipeline }) });
    try {
      const { ignored } = await uploadWeights(recipe, weights, { allowExtra, onProgress, signal, upload: (buffer, offset, data) => session.upload(buffer, offset, data) });
      const model = new Model<Outputs>(variant, session, chosen, opened, !options.device, watch, tuned, ignored);
      model.checkUsable();
      return model;
    } catch (error) {
      session.dispose();
      throw error;
    }
  }
}

Model.prototype[Symbol.dispose] = function (this: Model<object>): void {
  this.dispose();
};

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

/** A device of the user's may have less than the plan needs, and must be asked for with more. */
function checkLimits(plan: Plan, device: GPUDevice): void {
  for (const [name, needed] of Object.entries(plan.limits)) {
    const granted: unknown = Reflect.get(device.limits, name);
    if (typeof granted === "number" && granted < needed) {
      throw new AdapterError(`${plan.name} needs ${name} of ${needed}, your device was made with ${granted}: adapter.requestDevice({ requiredLimits: { ${name}: ${needed} } })`);
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

type Variants = readonly [Variant, ...Variant[]];

/** The variants that a choice of dtype allows. */
function variantsFor({ variants, command }: ModelDefinition, dtype: string): Variants {
  if (dtype === "auto") return variants;
  const [first, ...rest] = variants.filter(({ plan }) => plan.dtype === dtype);
  if (first) return [first, ...rest];
  const has = variants.map(({ plan }) => plan.dtype);
  const fix = dtype === "f16" || dtype === "f32" ? `; compile it for both: ${command} --dtype ${[...has, dtype].join(",")}` : "";
  throw new VitcError("input", `dtype is ${JSON.stringify(dtype)}; ${variants[0].plan.name} was compiled for ${has.join(" and ")} (or "auto")${fix}`);
}

/** The first variant that the device can run. */
function pickVariant({ variants, command }: ModelDefinition, wanted: Variants, { device, adapter }: OpenedDevice): Variant {
  const found = wanted.find(({ plan }) => missingFeatures(plan, device).length === 0);
  if (found) return found;
  const { plan } = wanted[0];
  throw new AdapterError(`${plan.name} in ${plan.dtype} needs ${missingFeatures(plan, device).join(", ")}, which ${adapterName(adapter)} ${device.features.size > 0 ? `lacks (it has ${[...device.features].toSorted().join(", ")})` : "lacks"}; ${variants.some(({ plan: { dtype } }) => dtype === "f32") ? 'load it with dtype "f32"' : `compile it for f32 as well: ${command} --dtype ${variants.map(({ plan: { dtype } }) => dtype).join(",")},f32`}`);
}

/** Features without which some routine of the plan cannot be done at all. */
function missingFeatures(plan: Plan, device: GPUDevice): readonly string[] {
  return featuresOf(plan, "every").filter((feature) => !device.features.has(feature));
}

/** Features that every choice of some routine needs, or any choice of any. */
function featuresOf({ kernels, routines }: Plan, need: "every" | "any"): readonly string[] {
  const features = new Map(kernels.map(({ id, features: own = [] }) => [id, own]));
  const choiceFeatures = routines.map(({ choices }) => choices.map(({ launches }) => launches.flatMap(({ kernel }) => features.get(kernel) ?? [])));
  const wanted = choiceFeatures.flatMap((choices) => (need === "any" ? choices.flat() : (choices[0] ?? []).filter((feature) => choices.every((own) => own.includes(feature)))));
  return [...new Set(wanted)];
}

/** Features that only make some choices possible are asked for, and done without where they are missing. */
function openFor(variants: Variants, { adapter = "auto", robust = false }: LoadOptions, platform: Platform | undefined): Promise<OpenedDevice> {
  const optionalFeatures = [...new Set(variants.flatMap(({ plan }) => featuresOf(plan, "any")))];
  const requiredLimits: Record<string, number> = {};
  for (const { plan } of variants) for (const [limit, value] of Object.entries(plan.limits)) requiredLimits[limit] = Math.max(value, requiredLimits[limit] ?? 0);
  const options = { adapter, requiredLimits, optionalFeatures, robust };
  return platform ? platform.requestDevice(options) : requestBrowserDevice({ ...options, robust: true });
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

export type { Tensor };
