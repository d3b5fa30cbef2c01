/** What the routines of a plan take on a device, measured before any weight is there. */
import { targetOf, type Chosen } from "./choose.js";
import { messageOf, type AdapterInfo } from "./device.js";
import { DeviceLostError, OutOfMemoryError, VitcError } from "./errors.js";
import type { Choice, Dispatch, Plan, Profile } from "./plan.js";
import { scoped } from "./buffers.js";
import { buildPipelines, type BuiltPipeline, type Wait } from "./session.js";

// WebGPU's flags by value, as in `session.ts`.
const usage = { mapRead: 0x1, copyDestination: 0x8, storage: 0x80, copySource: 0x4 } as const;
const mapRead = 0x1;

/** A routine is repeated until it takes so many milliseconds: far above the steps of a browser's clock. */
const longEnough = 8;
/** No more repetitions than that: commands that take so little together are not worth more. */
const mostTimes = 1024;
/** So often each routine is timed, if there is time; the fastest counts. */
const repeats = 6;
/** The share of the budget in which routines are made ready; the rest is for timing them again. */
const preparing = 0.6;
/** Once this share of a run's expected time is measured, the rest is left to the cost model. */
const enoughShare = 0.97;
const patternBytes = 2 ** 18;

/** A routine in a run: how it is done, how often, and what one dispatch is expected to take. */
export interface RoutineWork {
  readonly id: string;
  /** What it does mostly: `convolution`, or the first word of its id: `gemm`, `attention`, ... */
  readonly kind: string;
  readonly count: number;
  /** By the plan's cost model, in microseconds. */
  readonly cost: number;
  readonly choice: Choice;
  /** One of its dispatches. */
  readonly dispatch: Dispatch;
}

/** The routines of a run, those that take most of it first. `profiles` are run one after the other. */
export function routineWork(plan: Plan, profiles: readonly Profile[], chosen: ReadonlyMap<string, Chosen>, adapter: AdapterInfo): readonly RoutineWork[] {
  const target = plan.targets.indexOf(targetOf(adapter));
  const works = new Map<string, RoutineWork>();
  for (const dispatch of profiles.flatMap(({ dispatches }) => dispatches)) {
    const id = dispatch.routine;
    const { choice } = chosen.get(id)!;
    works.set(id, { id, kind: kindOf(id), count: (works.get(id)?.count ?? 0) + 1, cost: choice.costs[target] ?? 0, choice, dispatch });
  }
  return [...works.values()].sort((a, b) => b.count * b.cost - a.count * a.cost);
}

/** A product over windows of an image computes where each of its loads lies, which plain products need not. */
const kindOf = (id: string): string => (/_(image|map)_/.test(id) ? "convolution" : id.split("_")[0]!);

/** In which order routines are worth a probe: the heaviest first, but a second of a kind behind the first of others, unless these take a third of it at most. */
export function probeOrder(work: readonly RoutineWork[]): readonly RoutineWork[] {
  const firsts = new Set(new Map([...work].reverse().map((one) => [one.kind, one])).values());
  const worth = (one: RoutineWork): number => one.count * one.cost * (firsts.has(one) ? 3 : 1);
  return [...work].sort((a, b) => worth(b) - worth(a));
}

export interface ProbeOptions {
  readonly device: GPUDevice;
  readonly plan: Plan;
  /** WGSL by kernel id. */
  readonly kernels: Readonly<Record<string, string>>;
  /** Of which routines, in this order. */
  readonly work: readonly RoutineWork[];
  /** Milliseconds by the clock after which nothing more is begun; one routine is timed twice in any case. */
  readonly budget: number;
  readonly wait?: Wait | undefined;
  /** Milliseconds since anything. Default: `performance.now`. */
  readonly clock?: (() => number) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Probed {
  /** Milliseconds of a run that dispatches nothing: upload, submit, readback. */
  readonly overhead: number;
  /** Microseconds of one dispatch, by routine, of those that the budget allowed: one at least, unless the device refused them all. */
  readonly microseconds: ReadonlyMap<string, number>;
  /** What the device said against kernels, by id. */
  readonly refused: ReadonlyMap<string, string>;
}

/**
 * Runs routines on made-up values, each by itself, as often as it takes to time it, in a submit like a run's. It needs the memory of what it
 * times, about a block's; kernels index by constants alone, so values do not matter for what they touch.
 * @throws DeviceLostError; OutOfMemoryError; VitcError (validation); the signal's reason when it is aborted.
 */
export async function probeRoutines({ device, plan, kernels, work, budget, wait = (promise) => promise, clock = () => performance.now(), signal }: ProbeOptions): Promise<Probed> {
  const began = clock();
  const { input, readbackBytes } = plan.programs.infer[0]!;
  const image = new Uint8Array(input[2]);
  const uploaded = device.createBuffer({ label: "probe input", size: Math.max(image.length, readbackBytes), usage: usage.copyDestination | usage.copySource });
  const readback = device.createBuffer({ label: "probe readback", size: readbackBytes, usage: usage.mapRead | usage.copyDestination });
  const made: GPUBuffer[] = [uploaded, readback];
  /** Milliseconds of a run of the same launches, over and over. */
  const run = async (launches: readonly Bound[], times: number): Promise<number> => {
    signal?.throwIfAborted();
    const start = clock();
    device.queue.writeBuffer(uploaded, 0, image);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < times; i++) {
      for (const { pipeline, group, workgroups } of launches) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...workgroups);
      }
    }
    pass.end();
    encoder.copyBufferToBuffer(uploaded, 0, readback, 0, readbackBytes);
    device.queue.submit([encoder.finish()]);
    try {
      await wait(readback.mapAsync(mapRead));
    } catch (error) {
      throw new DeviceLostError(`The probe could not be read back: ${messageOf(error) || "the device is gone"}`);
    }
    readback.unmap();
    return clock() - start;
  };
  const refused = new Map<string, string>();
  const timed: Timed[] = [];
  try {
    let overhead = Infinity;
    for (let i = 0; i < repeats; i++) overhead = Math.min(overhead, await run([], 0));
    const pipelines = new Map<string, BuiltPipeline>();
    const total = work.reduce((sum, { count, cost }) => sum + count * cost, 0);
    let seen = 0;
    for (const { id, count, cost, choice, dispatch } of work) {
      if (timed.length > 0 && (clock() - began > preparing * budget || seen >= enoughShare * total)) break;
      const missing = plan.kernels.filter((kernel) => !pipelines.has(kernel.id) && choice.launches.some((launch) => launch.kernel === kernel.id));
      const result = await wait(buildPipelines(device, missing, kernels, undefined));
      for (const [kernel, pipeline] of result.built) pipelines.set(kernel, pipeline);
      for (const [kernel, reason] of result.refused) refused.set(kernel, reason);
      if (result.refused.size > 0) continue;
      const { launches, buffers } = await bind(device, choice, dispatch, pipelines);
      made.push(...buffers);
      timed.push({ id, launches, ...(await enoughTimes((times) => run(launches, times), overhead)) });
      seen += count * cost;
    }
    // All in turns, so that a clock that rises, or other work that comes and goes, meets all of them. What it does is to slow things down.
    for (let i = 1; i < repeats && (i === 1 || clock() - began < budget); i++) for (const one of timed) one.best = Math.min(one.best, await run(one.launches, one.times));
    return { overhead, microseconds: new Map(timed.map(({ id, best, times }) => [id, (1000 * Math.max(0, best - overhead)) / times])), refused };
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}

/** A routine under the clock: how often it is repeated in a run, and the fastest run so far in milliseconds. */
interface Timed {
  readonly id: string;
  readonly launches: readonly Bound[];
  readonly times: number;
  best: number;
}

/** How often launches are to be repeated, and what that took. */
async function enoughTimes(run: (times: number) => Promise<number>, overhead: number): Promise<{ readonly times: number; readonly best: number }> {
  // The first use of a pipeline may finish building it: on lavapipe that takes a hundred times as long as the launch itself.
  await run(1);
  let times = 1;
  for (;;) {
    const best = await run(times);
    const own = Math.max(0.05, best - overhead);
    if (own >= longEnough || times >= mostTimes) return { times, best };
    times = Math.min(mostTimes, times * Math.min(16, Math.max(2, Math.ceil((1.2 * longEnough) / own))));
  }
}

interface Bound {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/** A buffer for each operand of a dispatch, and its launches on them. */
async function bind(device: GPUDevice, { launches }: Choice, { label, views }: Dispatch, pipelines: ReadonlyMap<string, BuiltPipeline>): Promise<{ readonly launches: readonly Bound[]; readonly buffers: readonly GPUBuffer[] }> {
  const bytes = views.reduce((sum, view) => sum + view[2], 0);
  const [made, invalid, outOfMemory] = await scoped(device, ["validation", "out-of-memory"], () => {
    const buffers = views.map(([, , size]) => device.createBuffer({ label: `probe of ${label}`, size: Math.ceil(size / 4) * 4, usage: usage.storage | usage.copyDestination }));
    for (const buffer of buffers) for (let at = 0; at < buffer.size; at += patternBytes) device.queue.writeBuffer(buffer, at, pattern(), 0, Math.min(patternBytes, buffer.size - at) / 4);
    const bound = launches.map(({ kernel, workgroups, bind: order }): Bound => {
      const { pipeline, bindings } = pipelines.get(kernel)!;
      const used = order ? order.map((i) => buffers[i]!) : buffers.slice(0, bindings);
      return { pipeline, group: device.createBindGroup({ label, layout: pipeline.getBindGroupLayout(0), entries: used.map((buffer, binding) => ({ binding, resource: { buffer } })) }), workgroups };
    });
    return { buffers, launches: bound };
  });
  if (!invalid && !outOfMemory) return made;
  for (const buffer of made.buffers) buffer.destroy();
  if (outOfMemory) throw new OutOfMemoryError(`The GPU could not allocate ${(bytes / 2 ** 20).toFixed(1)} MiB to probe ${label}: ${outOfMemory.message}`, bytes);
  throw new VitcError("validation", `The device refused the probe of ${label}: ${invalid!.message}`);
}

let filled: Uint32Array<ArrayBuffer> | undefined;

/**
 * Words that are small numbers, both as one f32 and as two f16: GPUs are faster on zeros than on data, and CPUs slower on denormals. The
 * multiplier is Knuth's.
 */
function pattern(): Uint32Array<ArrayBuffer> {
  return (filled ??= Uint32Array.from({ length: patternBytes / 4 }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) & 0x87ff87ff) | 0x34003400));
}
