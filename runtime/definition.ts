import type { AdapterChoice, DeviceOptions, OpenedDevice } from "./device.js";
import type { DType, Plan, SelfTest, Tuned, WeightRecipe } from "./plan.js";
import type { DecodeImage } from "./tensor.js";
import type { CacheOption } from "./url.js";
import type { WeightsInput, WeightsSource } from "./weights.js";

/** What generated code and this runtime must agree on. Raised when the plan, the recipe or `loadModel` change their meaning. */
export const abi = 2;

/** How far loading has come. `weights` counts bytes of the file, `pipelines` counts kernels. */
export interface Progress {
  readonly stage: "device" | "pipelines" | "weights";
  readonly loaded: number;
  readonly total: number;
}

export interface LoadOptions {
  /** The weight file, or the manifest that `vitc pack` wrote: bytes, a Blob, a URL, a source `{name, size, read}`; in Node also a path. */
  readonly weights: WeightsInput;
  /**
   * Keep weights of an http(s) URL in the browser's Cache API, so that the next visit downloads none of them: true, or `{ name }` for a cache of
   * another name than "vitc-weights". A HEAD request asks each time whether the file is still the same (ETag, Last-Modified, size); one that
   * changed is downloaded again. Entries are checked by their SHA-256 before use. Where nothing can be kept (no Cache API, full storage, a server
   * that tells no version) a notice says so, and loading goes on without. `caches.delete("vitc-weights")` frees all of it. Default: false.
   */
  readonly cache?: CacheOption;
  /**
   * The SHA-256 of the weight file, as 64 hexadecimal digits or as pages write it for scripts, "sha256-" and base64. Every byte is hashed as it is
   * read, also what the model does not use, and `load` rejects with a `WeightsError` that names both hashes when it is another; one that does not even fit the model is refused for that. Of packed weights it is
   * the hash of the manifest, which has those of its shards. Default: not checked.
   */
  readonly integrity?: string;
  /** A device of yours. It is never destroyed here. Without it one is requested. */
  readonly device?: GPUDevice;
  /**
   * Called when a device of yours is lost: gives another, on which the model is made again and what was running is run again, twice at most for
   * a run. Without it a loss is a `DeviceLostError`. A device that the model requested itself is always made again. Either way the weights are
   * read again from where they came from, so bytes given as `weights` are held as long as the model is: a URL, a path or a Blob takes less.
   */
  readonly onDeviceLost?: () => Promise<GPUDevice>;
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
  /**
   * Test the kernels on this device before the weights are read, as `Model.selfTest` does: where one is wrong, another way to do its work is taken,
   * else the next dtype, and notices say so. When no dtype is right, `load` rejects with a `SelfTestError` that names the first wrong dispatch. It takes
   * about as long as a few runs of each batch, and packages compiled without self-tests refuse it. Default: false.
   */
  readonly selfTest?: boolean;
  /** Ignore tensors of the file that the model does not use, instead of refusing the file. Default: false. */
  readonly allowExtra?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Stops loading at once, whatever it waits for; `load` rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Gets what a user should know: a software adapter, ignored tensors. Default: `console.warn`. */
  readonly onNotice?: (notice: string) => void;
}

/** The Node side of the runtime, as `runtime/node.ts` exports it. */
export interface Platform {
  requestDevice(options: DeviceOptions): Promise<OpenedDevice>;
  fromPath(path: string | URL): Promise<WeightsSource>;
  /** Decodes photographs, where the platform does not itself. */
  readonly decodeImage?: DecodeImage;
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

/** WGSL that prepares photographs on the device, for one recipe: see compiler/kernels/image.ts. */
export interface ImageKernels {
  readonly rows: ImageKernelText;
  readonly columns: ImageKernelText;
}

export interface ImageKernelText {
  readonly id: string;
  readonly code: string;
  readonly workgroupSize: readonly [x: number, y: number, z: number];
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
  /** Loads the kernels that prepare photographs on the device; called with the first one that is there already. */
  readonly images?: () => Promise<{ readonly imageKernels: ImageKernels }>;
  /** Loads what the kernels should compute, by variant; called by the first self-test. */
  readonly selfTests?: () => Promise<{ readonly selfTests: readonly (readonly SelfTest[])[] }>;
}
