import { AdapterError } from "./errors.js";

declare global {
  // Declarations of this file name these. Where the platform declares them (TypeScript 6's lib.dom, @webgpu/types) this adds nothing;
  // elsewhere it keeps a consumer's project compiling.
  interface GPUDevice {}
  interface GPUAdapter {}
  interface GPUBuffer {}
  interface GPUComputePipeline {}
  interface GPUTexture {}
  interface GPUCommandEncoder {}
}

/**
 * Which adapter to ask for. `auto`: a GPU, or else a software adapter, said so in `AdapterInfo.notice`. `gpu`: never software.
 * `software`: never a GPU. `null` (Node): Dawn's null backend, which validates WGSL and executes nothing.
 */
export type AdapterChoice = "auto" | "gpu" | "software" | "null";

/** What one way to use a device needs. */
export interface DeviceNeeds {
  readonly limits: Readonly<Record<string, number>>;
  readonly features: readonly string[];
}

/** What a device must have. Limits that are not named stay at WebGPU's defaults, so that a plan that runs here runs elsewhere. */
export interface DeviceOptions {
  /** Default `auto`. */
  readonly adapter?: AdapterChoice | undefined;
  /** For example `{ maxStorageBufferBindingSize: 2 ** 30 }`, in the limit's own unit (bytes for sizes). */
  readonly requiredLimits?: Readonly<Record<string, number>> | undefined;
  /** Sets of needs of which one must be met: the device gets the largest limits of those that the adapter meets. */
  readonly alternatives?: readonly DeviceNeeds[] | undefined;
  /** WebGPU feature names, for example `shader-f16` or `timestamp-query`. */
  readonly requiredFeatures?: readonly string[] | undefined;
  /** Features that the device gets if the adapter has them. */
  readonly optionalFeatures?: readonly string[] | undefined;
  /** Have the driver check every index of a shader. Only Node can do without (Dawn's `disable_robustness`). Default: true. */
  readonly robust?: boolean | undefined;
  /** Dawn's own flags, for example `enable-dawn-features=dump_shaders`. Node only. */
  readonly flags?: readonly string[] | undefined;
}

/** The adapter behind a device, as far as the driver tells. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** Kernels run on the CPU: right, and slow. */
  readonly software: boolean;
  /** Nothing runs at all: whoever computes on this device must refuse. */
  readonly null: boolean;
  /** Invocations of a subgroup, where the adapter says that it is always the same. */
  readonly subgroupSize?: number;
  /** Shapes [m, n, k] of the subgroup matrices of f16 that are added up in f32. */
  readonly matrices?: readonly (readonly [m: number, n: number, k: number])[];
  /** One sentence a user should see, when there is something to say. */
  readonly notice?: string;
}

/** A device of our own and its adapter. Whoever asked for it destroys it. */
export interface OpenedDevice {
  readonly device: GPUDevice;
  readonly adapter: AdapterInfo;
}

/** What `GPUAdapter.info` or `GPUDevice.adapterInfo` holds; older browsers leave some of it out. */
export interface RawAdapterInfo {
  readonly vendor?: string;
  readonly architecture?: string;
  readonly device?: string;
  readonly description?: string;
  readonly isFallbackAdapter?: boolean;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  /** Experimental, and listed only where the feature is there. */
  readonly subgroupMatrixConfigs?: Iterable<{ readonly M: number; readonly N: number; readonly K: number; readonly componentType: string; readonly resultComponentType: string }>;
}

// Drivers that emulate a GPU on the CPU. llvmpipe (lavapipe) does not always call itself a fallback adapter.
const softwareNames = /swiftshader|llvmpipe|lavapipe|microsoft basic render/i;

/** Reads an adapter's info: is it software, is it the null backend, and what should the user be told. Never throws. */
export function describeAdapter(info: RawAdapterInfo = {}): AdapterInfo {
  const { vendor = "", architecture = "", device = "", description = "" } = info;
  // Dawn's null backend does not say that it is a fallback adapter; this name is its only mark.
  const isNull = device === "null-backend";
  const software = !isNull && (info.isFallbackAdapter === true || softwareNames.test(`${architecture} ${device} ${description}`));
  const { subgroupMinSize: least, subgroupMaxSize: most } = info;
  const matrices = [...(info.subgroupMatrixConfigs ?? [])].filter((config) => config.componentType === "f16" && config.resultComponentType === "f32").map(({ M, N, K }) => [M, N, K] as const);
  const described: AdapterInfo = {
    ...{ vendor, architecture, device, description, software, null: isNull },
    ...(most !== undefined && most > 0 && least === most && { subgroupSize: most }),
    ...(matrices.length > 0 && { matrices }),
  };
  if (isNull) return { ...described, notice: "This is Dawn's null backend: it validates WGSL and executes nothing." };
  if (!software) return described;
  return { ...described, notice: `This is a software adapter (${adapterName(described)}), where a CPU runtime such as onnxruntime's CPU provider would be faster.` };
}

/** The most telling name of an adapter, for messages. */
export function adapterName(info: AdapterInfo): string {
  return info.description || [info.vendor, info.architecture, info.device].filter((part) => part !== "").join(" ") || "an unnamed adapter";
}

/** Refuses an adapter choice that is not one: callers may come from JavaScript or a command line. */
export function checkAdapterChoice(choice: string): asserts choice is AdapterChoice {
  if (!["auto", "gpu", "software", "null"].includes(choice)) {
    // The null backend is left out: it computes nothing, and loading a model refuses it.
    throw new AdapterError(`adapter is ${JSON.stringify(choice)}; allowed are "auto", "gpu" and "software"`);
  }
}

/**
 * Requests a device with exactly the limits and features asked for, after checking each against the adapter.
 * @throws AdapterError naming the limit or feature, what was wanted and what is available.
 */
export async function openDevice(adapter: GPUAdapter, options: DeviceOptions): Promise<GPUDevice> {
  const name = adapterName(describeAdapter(adapter.info));
  const limits = { ...options.requiredLimits };
  for (const { limits: more } of meetable(adapter, options.alternatives ?? [])) for (const [limit, value] of Object.entries(more)) limits[limit] = Math.max(value, limits[limit] ?? 0);
  for (const [limit, wanted] of Object.entries(limits)) checkLimit(adapter, name, limit, wanted);
  const wanted = options.requiredFeatures ?? [];
  const missing = wanted.filter((feature) => !adapter.features.has(feature));
  if (missing.length > 0) {
    throw new AdapterError(`${name} lacks ${missing.join(", ")}; it has ${[...adapter.features].toSorted().join(", ") || "no optional feature"}`);
  }
  // Nothing is missing, so this only tells the compiler that each name is a feature's.
  const requiredFeatures = [...wanted, ...(options.optionalFeatures ?? [])].filter((feature): feature is GPUFeatureName => adapter.features.has(feature));
  try {
    return await adapter.requestDevice({ label: "vitc", requiredLimits: limits, requiredFeatures });
  } catch (cause) {
    throw new AdapterError(`${name} gave no device: ${messageOf(cause)}`, { cause });
  }
}

/** The alternatives that an adapter meets; if it meets none, the first that it has the features for, or the first, to be refused by its limits. */
function meetable({ limits, features }: GPUAdapter, alternatives: readonly DeviceNeeds[]): readonly DeviceNeeds[] {
  const capable = alternatives.filter((needs) => needs.features.every((feature) => features.has(feature)));
  const met = capable.filter((needs) => Object.entries(needs.limits).every(([limit, value]) => value <= (Reflect.get(limits, limit) as number)));
  return met.length > 0 ? met : (capable.length > 0 ? capable : alternatives).slice(0, 1);
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/**
 * A device of the browser's own WebGPU.
 * @throws AdapterError when the page has no WebGPU, when no adapter fits the choice, or when a limit or feature is not there.
 */
export async function requestBrowserDevice(options: DeviceOptions = {}): Promise<OpenedDevice> {
  const choice = options.adapter ?? "auto";
  checkAdapterChoice(choice);
  if (choice === "null") throw new AdapterError('adapter is "null", which only Node has (Dawn\'s null backend); allowed in a browser are "auto", "gpu" and "software"');
  if (options.flags !== undefined && options.flags.length > 0) throw new AdapterError(`flags (${options.flags.join(", ")}) are Dawn's in Node; a browser takes none: leave them out`);
  const gpu: GPU | undefined = globalThis.navigator?.gpu;
  if (gpu === undefined) throw new AdapterError(reasonForNoWebGPU());
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance", forceFallbackAdapter: choice === "software" });
  if (adapter === null) throw new AdapterError(reasonForNoAdapter(choice));
  const info = describeAdapter(adapter.info);
  if (choice === "gpu" && info.software) throw new AdapterError(`adapter is "gpu", and the browser has only a software adapter (${adapterName(info)}); turn on hardware acceleration, or ask for "auto"`);
  return { device: await openDevice(adapter, options), adapter: info };
}

function checkLimit(adapter: GPUAdapter, name: string, limit: string, wanted: number): void {
  const available: unknown = Reflect.get(adapter.limits, limit);
  if (typeof available !== "number") throw new AdapterError(`${limit} is not a limit of ${name}: check the spelling, for example maxStorageBufferBindingSize or maxBufferSize`);
  if (!Number.isSafeInteger(wanted) || wanted < 0) throw new AdapterError(`${limit} is ${wanted}; a limit is a whole number from 0 to ${available}`);
  // Alignments are the limits where smaller is better.
  const enough = limit.startsWith("min") ? wanted >= available : wanted <= available;
  if (!enough) throw new AdapterError(`${limit} of ${wanted} is wanted, and ${name} has ${available}`);
}

function reasonForNoWebGPU(): string {
  if (globalThis.isSecureContext === false) return "navigator.gpu is absent because this page is not a secure context: serve it over https, or from localhost";
  return "navigator.gpu is absent: this browser has no WebGPU. Chrome and Edge have it since 113 (Android since 121), Safari since 26, Firefox since 141 on Windows; elsewhere it may be behind a setting";
}

function reasonForNoAdapter(choice: AdapterChoice): string {
  if (choice === "software") return 'adapter is "software", and this browser offers no fallback adapter; ask for "auto"';
  return "The browser has WebGPU and found no adapter: update the GPU driver, turn on hardware acceleration in the browser's settings, and see chrome://gpu (Chrome, Edge) or about:support (Firefox) for the reason";
}
