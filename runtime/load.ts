/** From a definition and a weight file to a model's engine: a device with pipelines, buffers and weights on it. */
import { chooseRoutines, isTable, usableChoices, type ChooseOptions, type Chosen } from "./choose.js";
import type { LoadOptions, ModelDefinition, Platform, Variant } from "./definition.js";
import { adapterName, describeAdapter, messageOf, type OpenedDevice } from "./device.js";
import { AdapterError, DeviceLostError, KernelError, VitcError } from "./errors.js";
import type { Plan, Tuned } from "./plan.js";
import type { SelfTestReport, SelfTests } from "./self-test.js";
import { Session, type Wait } from "./session.js";
import { abortable } from "./source.js";
import type { DecodeImage } from "./tensor.js";
import type { Reference } from "./packed.js";
import { openVariantWeights, type UploadWeights } from "./variant-weights.js";
import { checkAbi, dtypeIsToBlame, isNode, missingFeatures, missingLimits, openFor, runnableVariants, variantsFor } from "./variants.js";
import type { WeightsInput } from "./weights.js";

/** A model on one device. When that is lost, a model goes on with another engine. */
export interface Engine {
  readonly variant: Variant;
  readonly session: Session;
  readonly opened: OpenedDevice;
  /** Whether the device was requested here, and so is destroyed here. */
  readonly ownsDevice: boolean;
  readonly watch: DeviceWatch;
  /** How each routine is done, by its id. */
  readonly chosen: ReadonlyMap<string, Chosen>;
  /** What that went by: the adapter, its features, the tables, the kernels that the device refused. */
  readonly chooseOptions: ChooseOptions;
  readonly decode: DecodeImage;
  /** Tensors of the weight file that the model does not use; not empty only with `allowExtra`. */
  readonly ignored: readonly string[];
  /** What a run should give, if the weights tell. */
  readonly reference: Reference | undefined;
  /** Of the last self-test, if there was one. */
  readonly report: SelfTestReport | undefined;
  /** The ways that self-tests took in the place of wrong ones, by routine. */
  readonly found: Readonly<Record<string, string>>;
}

/** What is known of a device's end. It outlives models on a shared device, so it holds nothing of them. */
export interface DeviceWatch {
  lost?: string;
}

/**
 * Checks what the package and the options say, before anything of them is used.
 * @throws AbiError, VitcError (input)
 */
export function checkLoad(definition: ModelDefinition, options: LoadOptions): void {
  checkAbi(definition);
  const { name } = definition.variants[0].plan;
  if (typeof options !== "object" || options === null) throw new VitcError("input", `${name}: load needs its options, at least { weights }`);
  checkTables(name, options.tuned);
  const { onDeviceLost, selfTest } = options;
  if (selfTest !== undefined && typeof selfTest !== "boolean") throw new VitcError("input", `${name}: selfTest is ${typeof selfTest}; it is true or false`);
  if (onDeviceLost !== undefined && typeof onDeviceLost !== "function") throw new VitcError("input", `${name}: onDeviceLost is ${typeof onDeviceLost}; it is a function that gives a new device, () => Promise<GPUDevice>`);
}

/** Frees what an engine holds on the device, and the device, unless it is the user's. */
export function closeEngine({ session, ownsDevice, opened }: Engine): void {
  session.dispose();
  if (ownsDevice) opened.device.destroy();
}

/**
 * Loads a model: checks the weight file, finds a device, builds kernels, uploads weights.
 * @param device the user's; without it one is requested
 * @throws WeightsError, AdapterError, OutOfMemoryError; DeviceLostError when the device is lost meanwhile; the signal's reason, as soon as it is aborted
 */
export async function openEngine(definition: ModelDefinition, options: LoadOptions & { readonly onNotice: (text: string) => void }, device: GPUDevice | undefined): Promise<Engine> {
  const { onProgress, onNotice: notice, signal, allowExtra, cache, integrity } = options;
  const { name } = definition.variants[0].plan;
  const allowed = variantsFor(definition, options.dtype ?? "auto");
  signal?.throwIfAborted();
  const platform = isNode() ? await definition.platform() : undefined;
  const source = platform && isPath(options.weights) ? await platform.fromPath(options.weights) : options.weights;
  // A file that does not fit is named before a GPU is asked for anything.
  const weights = await openVariantWeights(allowed, source, { allowExtra, signal, cache, integrity, onNotice: notice });
  try {
    const { variants: wanted } = weights;
    const checked = await weights.open(wanted[0]);
    if (weights.notice !== undefined) notice(weights.notice);
    onProgress?.({ stage: "device", loaded: 0, total: 1 });
    const opened = device ? { device, adapter: describeAdapter(device.adapterInfo) } : await openOwn(openFor(wanted, options, platform), signal);
    try {
      onProgress?.({ stage: "device", loaded: 1, total: 1 });
      const { adapter } = opened;
      if (adapter.notice !== undefined) notice(adapter.notice);
      const runnable = runnableVariants(definition, wanted, opened);
      if (runnable[0] !== wanted[0]) {
        const { plan } = wanted[0];
        const missing = [...missingFeatures(plan, opened.device), ...missingLimits(plan, opened.device).map(({ limit, needed }) => `${limit} of ${needed}`)];
        notice(`${device ? `your device on ${adapterName(adapter)} was made without` : `${adapterName(adapter)} has no`} ${missing.join(", ")}, which ${plan.dtype} needs; ${runnable[0].plan.dtype} is used`);
      }
      const startOptions = { ...options, device, notice, wait: adapter.software ? platform?.wait : undefined, decode: platform?.decodeImage ?? inBrowser(opened.device) };
      for (const [i, variant] of runnable.entries()) {
        const next = runnable[i + 1];
        const tuned = [...(options.tuned ?? []), ...(await tunedHere(variant.plan, platform, notice))];
        try {
          const tests = options.selfTest === true ? await testsOf(definition, variant) : undefined;
          return await start(variant, variant === wanted[0] ? checked : await weights.open(variant), opened, { ...startOptions, tuned, tests, reference: weights.reference });
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

/** A device that comes after the load was aborted is destroyed. */
async function openOwn(opening: Promise<OpenedDevice>, signal: AbortSignal | undefined): Promise<OpenedDevice> {
  try {
    return await abortable(opening, signal);
  } catch (error) {
    opening.then(({ device }) => device.destroy(), () => undefined);
    throw error;
  }
}

interface StartOptions extends Omit<LoadOptions, "device"> {
  readonly device: GPUDevice | undefined;
  readonly tuned: readonly Tuned[];
  readonly wait: Wait | undefined;
  readonly decode: DecodeImage;
  readonly notice: (text: string) => void;
  readonly tests: SelfTests | undefined;
  readonly reference: Reference | undefined;
}

/**
 * What a variant is tested by.
 * @throws VitcError (input) for packages that were compiled without
 */
export async function testsOf({ selfTests, variants, images }: ModelDefinition, variant: Variant): Promise<SelfTests> {
  if (selfTests === undefined) throw new VitcError("input", `${variant.plan.name} was compiled without self-tests; compile it again`);
  return { tests: (await selfTests()).selfTests[variants.indexOf(variant)] ?? [], images };
}

/** Kernels and weights onto a device. */
async function start(variant: Variant, uploadWeights: UploadWeights, opened: OpenedDevice, options: StartOptions): Promise<Engine> {
  const { plan, kernels } = variant;
  const { device, adapter } = opened;
  const { onProgress, signal, allowExtra, tuned, wait, decode, notice, tests, reference } = options;
  const watch = watchDevice(device);
  if (adapter.null) throw new AdapterError("Dawn's null backend executes nothing; give a device that computes");
  signal?.throwIfAborted();
  // Pipelines under way cannot be stopped: after an abort they are built for nobody.
  const onPipeline = onProgress && ((loaded: number, total: number) => void (signal?.aborted || onProgress({ stage: "pipelines", loaded, total })));
  const session = await Session.create({ device, plan, kernels, software: adapter.software, wait, ...(onPipeline && { onPipeline }) });
  try {
    const accepted = await abortable(chooseAccepted(session, plan, { adapter, features: device.features, tuned }, { watch, notice }), signal);
    const engine: Engine = { variant, session, opened, ownsDevice: options.device === undefined, watch, ...accepted, decode, ignored: [], reference, report: undefined, found: {} };
    // A wrong kernel is found before the weights are downloaded.
    const testing = tests && (await import("./self-test.js"));
    const tested = testing && (await abortable(testing.testedKernels(engine, tests, notice, signal), signal));
    const upload: Parameters<UploadWeights>[0]["upload"] = (buffer, offset, data) => {
      // A lost device takes whatever it is given: the rest of a large file would be read for nothing.
      checkAlive(plan, watch);
      return session.upload(buffer, offset, data);
    };
    const { ignored } = await uploadWeights({ allowExtra, onProgress, signal, upload });
    checkAlive(plan, watch);
    if (ignored.length > 0) notice(`ignored ${ignored.length} tensors of the weight file that the model does not use: ${ignored.slice(0, 5).join(", ")}${ignored.length > 5 ? ", ..." : ""}`);
    return tested ? await abortable(testing!.testedOutputs({ ...tested, ignored }, notice, signal), signal) : { ...engine, ignored };
  } catch (error) {
    session.dispose();
    signal?.throwIfAborted();
    await hearOfLoss(device, error);
    signal?.throwIfAborted();
    checkAlive(plan, watch);
    throw error;
  }
}

/** The browser's decoder is imported with the first image file: pages that give pixels do without. */
function inBrowser(device: GPUDevice): DecodeImage {
  return async (source) => (await import("./web-image.js")).decodeImage(source, device);
}

function watchDevice(device: GPUDevice): DeviceWatch {
  const watch: DeviceWatch = {};
  void device.lost.then(({ reason, message }) => {
    watch.lost = message || reason;
  });
  return watch;
}

/** How long a browser may take to say that a device is lost, after the first of its promises was rejected for it. */
const newsMilliseconds = 1000;

/**
 * Waits for news of a lost device when something failed: why it failed says more than what failed. A turn is enough for most errors; reads that
 * are broken off are the first sign of a loss, and browsers say so a good while later.
 */
export async function hearOfLoss(device: GPUDevice, error: unknown): Promise<void> {
  const brokenOff = error instanceof DeviceLostError || error instanceof DOMException;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise((turn) => (timer = setTimeout(turn, brokenOff ? newsMilliseconds : 0)));
  await (brokenOff ? Promise.race([device.lost, patience]) : patience);
  clearTimeout(timer);
}

/** @throws DeviceLostError */
export function checkAlive({ name }: Plan, { lost }: DeviceWatch): void {
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

/** In Node a string that is no URL is a path, and so is a file: URL. */
function isPath(weights: WeightsInput): weights is string | URL {
  if (weights instanceof URL) return weights.protocol === "file:";
  return typeof weights === "string" && (!/^[a-z][a-z0-9+.-]+:/i.test(weights) || weights.startsWith("file:"));
}
