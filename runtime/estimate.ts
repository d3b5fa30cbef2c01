/** What a model would take on an adapter, told before any of its weights is fetched. */
import { chooseProfiles, chooseRoutines, type Chosen } from "./choose.js";
import type { ModelDefinition, Platform } from "./definition.js";
import { adapterName, describeAdapter, openDevice, type AdapterInfo, type OpenedDevice } from "./device.js";
import { AdapterError, VitcError } from "./errors.js";
import type { DType, Plan, Tuned, WeightRecipe } from "./plan.js";
import { probeOrder, probeRoutines, routineWork, type Probed, type RoutineWork } from "./probe.js";
import { bufferSizes } from "./session.js";
import { checkAbi, deviceNeeds, isNode, openFor, runnableVariants, variantsFor } from "./variants.js";

/** From which times on a model is fast or slow: milliseconds an image. */
export interface Thresholds {
  /** Below: `fast`. Default: 1000 / 30, thirty images a second. */
  readonly fast?: number;
  /** Above: `slow`. Default: 1000. */
  readonly slow?: number;
  /**
   * Judge software adapters by their times as well. Default: false, and they are `slow`: they take the cores that the page needs, and a CPU
   * runtime would be faster.
   */
  readonly software?: boolean;
}

export interface EstimateOptions {
  /** A device of yours. It is never destroyed here. Without it one is requested, and destroyed afterwards. */
  readonly device?: GPUDevice;
  /** Which adapter to request: `auto` (default) takes a GPU, or else a software adapter. */
  readonly adapter?: "auto" | "gpu" | "software";
  /** Default, `auto`: the one that `load` would take. */
  readonly dtype?: "auto" | DType;
  /** Images of a run. Default: 1. */
  readonly batch?: number;
  readonly thresholds?: Thresholds;
  readonly signal?: AbortSignal;
}

/** What an estimate is for: a device or an adapter of yours, or options. */
export type EstimateInput = GPUDevice | GPUAdapter | EstimateOptions;

export interface Estimate {
  /** Of a run of `batch` images, from values in memory to outputs in memory; and the band in which it is expected to lie. */
  readonly milliseconds: number;
  readonly low: number;
  readonly high: number;
  readonly batch: number;
  /** What `load` would take here. */
  readonly dtype: DType;
  /** 1e6 bytes. */
  readonly megabytes: {
    /** Of the weight file, if its tensors are stored so. */
    readonly download: Readonly<Record<DType, number>>;
    /** GPU memory that the loaded model holds. */
    readonly gpu: number;
  };
  readonly verdict: "fast" | "ok" | "slow";
  readonly adapter: AdapterInfo;
  /** The verdict's, in a sentence. */
  readonly reason: string;
}

/** Milliseconds after which the probe begins nothing more, and leaves the rest to the cost model. */
const probeBudget = 500;
/** What measured times may be off by, and what the cost model's may be, either way. Most of it is what other work does to a probe. */
const measuredBand = 1.5;
const expectedBand = 2;
const standard = { fast: 1000 / 30, slow: 1000 } as const;

/**
 * Expects what `run` will take, and tells what there is to download and to hold. The heaviest of the plan's own kernels are built and timed
 * on made-up values, in under a second on most adapters; the cost model that the plan carries, scaled to those times, tells the rest. Takes a
 * device or an adapter of yours, options, or nothing.
 * @throws AdapterError when there is no usable adapter; OutOfMemoryError; DeviceLostError; VitcError (input) for options that are none; the
 * signal's reason when it is aborted. Used by generated packages; see their `estimate`.
 */
export async function estimateModel(definition: ModelDefinition, on: EstimateInput = {}): Promise<Estimate> {
  checkAbi(definition);
  const { name } = definition.variants[0].plan;
  const adapter = isObject(on) && "requestDevice" in on ? (on as GPUAdapter) : undefined;
  const options = readOptions(name, adapter ? {} : isObject(on) && "createShaderModule" in on ? { device: on as GPUDevice } : on);
  const { batch = 1, signal, device } = options;
  const wanted = variantsFor(definition, options.dtype ?? "auto");
  signal?.throwIfAborted();
  const platform = isNode() ? await definition.platform() : undefined;
  const opened = device ? { device, adapter: describeAdapter(device.adapterInfo) } : adapter ? { device: await openDevice(adapter, deviceNeeds(wanted)), adapter: describeAdapter(adapter.info) } : await openFor(wanted, options, platform);
  try {
    if (opened.adapter.null) throw new AdapterError("Dawn's null backend executes nothing; give a device that computes");
    const { plan, kernels, recipe } = runnableVariants(definition, wanted, opened)[0];
    const { milliseconds, low, high } = await expect({ plan, kernels, batch, opened, platform, signal });
    return { milliseconds, low, high, batch, dtype: plan.dtype, megabytes: megabytesOf(plan, recipe), ...judge(milliseconds / batch, opened.adapter, options.thresholds), adapter: opened.adapter };
  } finally {
    if (!device) opened.device.destroy();
  }
}

interface Expectation {
  readonly milliseconds: number;
  readonly low: number;
  readonly high: number;
}

interface ExpectOptions {
  readonly plan: Plan;
  readonly kernels: Readonly<Record<string, string>>;
  readonly batch: number;
  readonly opened: OpenedDevice;
  readonly platform: Platform | undefined;
  readonly signal: AbortSignal | undefined;
}

async function expect({ plan, kernels, batch, opened: { device, adapter }, platform, signal }: ExpectOptions): Promise<Expectation> {
  const profiles = chooseProfiles(plan.programs.infer, batch);
  // As `load` does: a model runs without them as well.
  const tuned: readonly Tuned[] = (await platform?.tuned?.(plan.fingerprint).catch(() => [])) ?? [];
  const refused = new Set<string>();
  for (;;) {
    const chosen: ReadonlyMap<string, Chosen> = chooseRoutines(plan, { adapter, features: device.features, tuned, refused });
    const work = routineWork(plan, profiles, chosen, adapter);
    const probed = await probeRoutines({ device, plan, kernels, work: probeOrder(work), budget: probeBudget, wait: adapter.software ? platform?.wait : undefined, signal });
    const news = [...probed.refused.keys()].filter((kernel) => !refused.has(kernel));
    // What the device refuses, load does in another way; if there is none, load says so.
    if (news.length === 0) return combine(work, probed, profiles.length);
    for (const kernel of news) refused.add(kernel);
  }
}

/**
 * Adds up what was measured and, of routines that were not, what the cost model expects times how far it was off for measured ones of the
 * same kind, or of all kinds.
 */
export function combine(work: readonly RoutineWork[], { overhead, microseconds }: Pick<Probed, "overhead" | "microseconds">, runs = 1): Expectation {
  const seen = work.filter(({ id }) => microseconds.has(id));
  const sum = (list: readonly RoutineWork[], of: (one: RoutineWork) => number): number => list.reduce((all, one) => all + one.count * of(one), 0) / 1000;
  const measuredOf = ({ id }: RoutineWork): number => microseconds.get(id)!;
  const factor = (list: readonly RoutineWork[]): number => sum(list, measuredOf) / sum(list, ({ cost }) => cost);
  const factorOf = (kind: string): number => [factor(seen.filter((one) => one.kind === kind)), factor(seen)].find((value) => value > 0 && value < Infinity) ?? 1;
  const measured = sum(seen, measuredOf);
  const rest = sum(work.filter(({ id }) => !microseconds.has(id)), ({ kind, cost }) => cost * factorOf(kind));
  const fixed = runs * overhead;
  return { milliseconds: fixed + measured + rest, low: fixed / measuredBand + measured / measuredBand + rest / expectedBand, high: (fixed + measured) * measuredBand + rest * expectedBand };
}

function megabytesOf(plan: Plan, { tensors }: WeightRecipe): Estimate["megabytes"] {
  const sizes = new Map(tensors.flatMap(({ sources }) => sources.map(({ names, shape }) => [names[0], shape.reduce((product, n) => product * n, 1)] as const)));
  const values = [...sizes.values()].reduce((all, n) => all + n, 0);
  const buffers = [...bufferSizes(plan).values(), Math.max(...plan.programs.infer.map(({ readbackBytes }) => readbackBytes))];
  return { download: { f32: (values * 4) / 1e6, f16: (values * 2) / 1e6 }, gpu: buffers.reduce((all, bytes) => all + bytes, 0) / 1e6 };
}

/** @param milliseconds an image */
export function judge(milliseconds: number, adapter: AdapterInfo, { fast = standard.fast, slow = standard.slow, software = false }: Thresholds = {}): Pick<Estimate, "verdict" | "reason"> {
  const digits = (value: number): number => Number(value.toPrecision(2));
  const takes = `about ${digits(milliseconds)} ms an image on ${adapterName(adapter)}`;
  if (adapter.software && !software) return { verdict: "slow", reason: `${takes}, a software adapter, where a CPU runtime would be faster` };
  if (milliseconds > slow) return { verdict: "slow", reason: `${takes}, more than ${digits(slow)} ms` };
  if (milliseconds < fast) return { verdict: "fast", reason: `${takes}, ${digits(1000 / milliseconds)} images a second` };
  return { verdict: "ok", reason: `${takes}, from ${digits(fast)} to ${digits(slow)} ms` };
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

/** Callers may come from JavaScript. */
function readOptions(name: string, options: unknown): EstimateOptions {
  if (!isObject(options)) throw new VitcError("input", `${name}: estimate takes a GPUDevice, a GPUAdapter, or options { device, adapter, dtype, batch, thresholds, signal }`);
  const { batch = 1, thresholds = {} } = options as { readonly batch?: unknown; readonly thresholds?: unknown };
  if (!Number.isInteger(batch) || (batch as number) < 1 || (batch as number) > mostImages) throw new VitcError("input", `${name}: batch is ${String(batch)}; it is a whole number from 1 to ${mostImages}`);
  const { fast = standard.fast, slow = standard.slow } = (isObject(thresholds) ? thresholds : { fast: NaN }) as { readonly fast?: unknown; readonly slow?: unknown };
  if (!(typeof fast === "number" && typeof slow === "number" && fast > 0 && slow >= fast)) throw new VitcError("input", `${name}: thresholds are { fast, slow } in milliseconds an image, above 0 and slow not below fast`);
  return options;
}

/** More than anybody runs at once; a slip of the finger. */
const mostImages = 100_000;

