/// <reference lib="esnext.disposable" preserve="true" />
import { chooseProfiles } from "./choose.js";
import { describeAdapter, requestBrowserDevice, type AdapterChoice, type AdapterInfo, type DeviceOptions, type OpenedDevice } from "./device.js";
import { AbiError, AdapterError, DeviceLostError, VitcError } from "./errors.js";
import type { Plan, WeightRecipe } from "./plan.js";
import { Session } from "./session.js";
import { elements, toBatch, withShape, type ModelInput, type Tensor } from "./tensor.js";
import { loadWeights, type WeightsInput, type WeightsSource } from "./weights.js";

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
  private state: "ready" | "lost" | "disposed" = "ready";

  private constructor(
    definition: ModelDefinition,
    private readonly session: Session,
    private readonly opened: OpenedDevice,
    private readonly ownsDevice: boolean,
  ) {
    this.plan = definition.plan;
    void opened.device.lost.then(() => {
      if (this.state === "ready") this.state = "lost";
    });
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
   * Runs 1 to n images and returns every output, with `shape` [n, ...]. Calls may overlap: they run in the order they were made.
   * @throws InputError if the images do not fit; DeviceLostError if the GPU went away; VitcError after `dispose`.
   */
  run(input: ModelInput, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Outputs> {
    const result = this.queue.then(() => this.runNow(input, signal));
    this.queue = result.catch(() => undefined);
    return result;
  }

  private async runNow(input: ModelInput, signal: AbortSignal | undefined): Promise<Outputs> {
    const { plan } = this;
    signal?.throwIfAborted();
    if (this.state === "disposed") throw new VitcError("input", `${plan.name} was disposed; load it again`);
    if (this.state === "lost") throw new DeviceLostError(`The GPU device of ${plan.name} was lost; load the model again`);
    const { data, count } = toBatch(input, plan);
    const size = elements(plan.input.shape);
    const results = plan.outputs.map(({ shape }) => new Float32Array(count * elements(shape)));
    let done = 0;
    for (const { batch } of chooseProfiles(plan.programs.infer, count)) {
      const images = Math.min(batch, count - done);
      await this.session.run(batch, data.subarray(done * size, (done + images) * size), (output, values) => {
        const width = elements(plan.outputs[output]!.shape);
        results[output]!.set(values.subarray(0, images * width), done * width);
      });
      done += images;
      signal?.throwIfAborted();
    }
    // The generated package states Outputs from the same plan.
    return Object.fromEntries(plan.outputs.map(({ name, shape }, i) => [name, withShape(results[i]!, [count, ...shape])])) as Outputs;
  }

  /** Frees the GPU memory (and the device, unless it is yours). Runs under way fail with DeviceLostError. */
  dispose(): void {
    if (this.state === "disposed") return;
    this.state = "disposed";
    this.session.dispose();
    if (this.ownsDevice) this.opened.device.destroy();
  }

  /** Used by generated packages; see their `load`. */
  static async load<Outputs extends object>(definition: ModelDefinition, options: LoadOptions): Promise<Model<Outputs>> {
    const { plan, kernels, recipe } = definition;
    if (definition.abi !== abi) {
      throw new AbiError(`${plan.name} was generated for runtime ABI ${definition.abi}, this runtime has ${abi}; generate it again: ${definition.command}`);
    }
    const { onProgress, signal, allowExtra } = options;
    const notice = options.onNotice ?? ((text: string) => console.warn(`${plan.name}: ${text}`));
    signal?.throwIfAborted();
    const platform = isNode() ? await definition.platform() : undefined;
    const weights = platform && isPath(options.weights) ? await platform.fromPath(options.weights) : options.weights;
    onProgress?.({ stage: "device", loaded: 0, total: 1 });
    const opened = options.device ? { device: options.device, adapter: describeAdapter(options.device.adapterInfo) } : await openFor(plan, options.adapter ?? "auto", platform);
    let session: Session | undefined;
    try {
      if (opened.adapter.null) throw new AdapterError("Dawn's null backend executes nothing; give a device that computes");
      onProgress?.({ stage: "device", loaded: 1, total: 1 });
      if (opened.adapter.notice !== undefined) notice(opened.adapter.notice);
      signal?.throwIfAborted();
      const { software } = opened.adapter;
      const onPipeline = onProgress && ((loaded: number, total: number) => onProgress({ stage: "pipelines", loaded, total }));
      session = await Session.create({ device: opened.device, plan, kernels, software, ...(onPipeline && { onPipeline }) });
      const ready = session;
      const { ignored } = await loadWeights(recipe, weights, { allowExtra, onProgress, signal, upload: (buffer, offset, data) => ready.upload(buffer, offset, data) });
      if (ignored.length > 0) notice(`ignored ${ignored.length} tensors of the weight file that the model does not use: ${ignored.slice(0, 5).join(", ")}${ignored.length > 5 ? ", ..." : ""}`);
      return new Model<Outputs>(definition, ready, opened, !options.device);
    } catch (error) {
      session?.dispose();
      if (!options.device) opened.device.destroy();
      throw error;
    }
  }
}

Model.prototype[Symbol.dispose] = function (this: Model<object>): void {
  this.dispose();
};

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
