/// <reference lib="esnext.disposable" preserve="true" />
import { chooseProfiles } from "./choose.js";
import { describeAdapter, requestBrowserDevice, type AdapterChoice, type AdapterInfo, type DeviceOptions, type OpenedDevice } from "./device.js";
import { AbiError, AdapterError, DeviceLostError, VitcError } from "./errors.js";
import type { Plan, WeightRecipe } from "./plan.js";
import { Session } from "./session.js";
import { elements, toBatch, withShape, type ModelInput, type Tensor } from "./tensor.js";
import { openWeights, uploadWeights, type OpenedWeights, type WeightsInput, type WeightsSource } from "./weights.js";

/** What generated code and this runtime must agree on. Raised when the plan, the recipe or `loadModel` change their meaning. */
export const abi = 1;

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
}

/** What a generated package hands over. */
export interface ModelDefinition {
  readonly abi: number;
  readonly plan: Plan;
  /** WGSL by kernel id. */
  readonly kernels: Readonly<Record<string, string>>;
  readonly recipe: WeightRecipe;
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
    definition: ModelDefinition,
    private readonly session: Session,
    private readonly opened: OpenedDevice,
    private readonly ownsDevice: boolean,
    private readonly watch: DeviceWatch,
    /** Tensors of the weight file that the model does not use; not empty only with `allowExtra`. */
    readonly ignored: readonly string[],
  ) {
    this.plan = definition.plan;
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
    const { plan, recipe } = definition;
    if (definition.abi !== abi) {
      throw new AbiError(`${plan.name} was generated for runtime ABI ${definition.abi}, this runtime has ${abi}; generate it again: ${definition.command}`);
    }
    if (typeof options !== "object" || options === null) throw new VitcError("input", `${plan.name}: load needs its options, at least { weights }`);
    const { onProgress, signal, allowExtra } = options;
    const notice = options.onNotice ?? ((text: string) => console.warn(`${plan.name}: ${text}`));
    signal?.throwIfAborted();
    const platform = isNode() ? await definition.platform() : undefined;
    const source = platform && isPath(options.weights) ? await platform.fromPath(options.weights) : options.weights;
    // A file that does not fit is named before a GPU is asked for anything.
    const weights = await openWeights(recipe, source, { allowExtra, signal });
    try {
      onProgress?.({ stage: "device", loaded: 0, total: 1 });
      const { device } = options;
      const opened = device ? { device, adapter: describeAdapter(device.adapterInfo) } : await openFor(plan, options.adapter ?? "auto", platform);
      try {
        onProgress?.({ stage: "device", loaded: 1, total: 1 });
        if (opened.adapter.notice !== undefined) notice(opened.adapter.notice);
        const model = await Model.start<Outputs>(definition, weights, opened, options);
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
  private static async start<Outputs extends object>(definition: ModelDefinition, weights: OpenedWeights, opened: OpenedDevice, options: LoadOptions): Promise<Model<Outputs>> {
    const { plan, kernels, recipe } = definition;
    const { device, adapter } = opened;
    const { onProgress, signal, allowExtra } = options;
    const watch = watchDevice(device);
    if (adapter.null) throw new AdapterError("Dawn's null backend executes nothing; give a device that computes");
    if (options.device) checkLimits(plan, device);
    signal?.throwIfAborted();
    const onPipeline = onProgress && ((loaded: number, total: number) => onProgress({ stage: "pipelines", loaded, total }));
    const session = await Session.create({ device, plan, kernels, software: adapter.software, ...(onPipeline && { onPipeline }) });
    try {
      const { ignored } = await uploadWeights(recipe, weights, { allowExtra, onProgress, signal, upload: (buffer, offset, data) => session.upload(buffer, offset, data) });
      const model = new Model<Outputs>(definition, session, opened, !options.device, watch, ignored);
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

function openFor(plan: Plan, adapter: AdapterChoice, platform: Platform | undefined): Promise<OpenedDevice> {
  const options = { adapter, requiredLimits: plan.limits };
  return platform ? platform.requestDevice(options) : requestBrowserDevice(options);
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
