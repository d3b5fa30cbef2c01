/** The launches of a model's run, noted while it runs, and run again against a clock. */
import type { PlannedLaunch } from "../../runtime/choose.js";
import { waitFor } from "./wait.js";

/** A launch with its GPU objects. */
export interface RecordedDispatch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroups: readonly (readonly [index: number, group: GPUBindGroup])[];
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/** Launches that are timed together, in one compute pass. */
export type Pass = readonly RecordedDispatch[];

/** `timestamps`: the GPU's own clock around each pass. `wall`: the time from submitting a pass alone until the queue is empty. */
export type Clock = "timestamps" | "wall";

/** When a pass ran, in microseconds from the beginning of its replay. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

// WebGPU's flags by value: Node has no globals for them.
const usage = { mapRead: 0x1, copySource: 0x4, copyDestination: 0x8, queryResolve: 0x200 } as const;
const mapRead = 0x1;

/** Queries that one set holds at most, by WebGPU. A pass takes two. */
const mostQueries = 4096;

export interface Recorder {
  /** Does what the real device does. */
  readonly device: GPUDevice;
  /** What was dispatched since the last call, in order. */
  take(): RecordedDispatch[];
}

/**
 * A device that notes what is dispatched on it. Whatever runtime a package brings, its dispatches are seen as they reach the GPU, so nothing has
 * to be built a second time to be measured.
 */
export function recordDispatches(device: GPUDevice): Recorder {
  let heard: RecordedDispatch[] = [];
  const hearPass = (pass: GPUComputePassEncoder): GPUComputePassEncoder => {
    let pipeline: GPUComputePipeline | undefined;
    const groups = new Map<number, GPUBindGroup>();
    return tap(pass, (method, args, result) => {
      if (method === "setPipeline") pipeline = args[0] as GPUComputePipeline;
      if (method === "setBindGroup") groups.set(args[0] as number, args[1] as GPUBindGroup);
      if (method === "dispatchWorkgroupsIndirect") throw new Error("a run with indirect dispatches cannot be replayed");
      if (method === "dispatchWorkgroups" && pipeline) {
        const [x, y = 1, z = 1] = args as [number, number?, number?];
        heard.push({ pipeline, bindGroups: [...groups], workgroups: [x, y, z] });
      }
      return result;
    });
  };
  const hearEncoder = (encoder: GPUCommandEncoder): GPUCommandEncoder =>
    tap(encoder, (method, _args, result) => (method === "beginComputePass" ? hearPass(result as GPUComputePassEncoder) : result));
  return {
    device: tap(device, (method, _args, result) => (method === "createCommandEncoder" ? hearEncoder(result as GPUCommandEncoder) : result)),
    take() {
      const taken = heard;
      heard = [];
      return taken;
    },
  };
}

/** What was heard must be what is planned, or times would stand beside the wrong labels. @throws Error when it is not. */
export function expectPlanned(name: string, heard: readonly RecordedDispatch[], planned: readonly PlannedLaunch[]): void {
  const differs = heard.length === planned.length ? planned.findIndex(({ launch: { workgroups } }, i) => workgroups.some((count, axis) => count !== heard[i]!.workgroups[axis])) : Math.min(heard.length, planned.length);
  if (differs >= 0) throw new Error(`${name} ran ${heard.length} launches where its plan has ${planned.length}; they differ from launch ${differs} on`);
}

/** The same object, with every call of a method heard after it was made; what `hear` returns is what the caller gets. */
function tap<T extends object>(target: T, hear: (method: string, args: readonly unknown[], result: unknown) => unknown): T {
  return new Proxy(target, {
    get(of, key): unknown {
      const value: unknown = Reflect.get(of, key, of);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => hear(String(key), args, Reflect.apply(value, of, args));
    },
  });
}

/**
 * Runs passes in order, each timed by itself. Buffers are used as they are: a whole run replayed from its first launch computes what it
 * computed before.
 * @throws Error when the device refuses the commands, or is lost.
 */
export async function replay(device: GPUDevice, passes: readonly Pass[], clock: Clock): Promise<Span[]> {
  switch (clock) {
    case "timestamps":
      return byTimestamps(device, passes);
    case "wall":
      return byWallClock(device, passes);
    default:
      return clock satisfies never;
  }
}

/** Milliseconds from encoding launches in one pass until they are done. */
export async function timePass(device: GPUDevice, launches: Pass): Promise<number> {
  const began = performance.now();
  const encoder = device.createCommandEncoder();
  encode(encoder.beginComputePass(), launches);
  device.queue.submit([encoder.finish()]);
  await waitFor(device, device.queue.onSubmittedWorkDone());
  return performance.now() - began;
}

function encode(pass: GPUComputePassEncoder, launches: Pass): void {
  for (const { pipeline, bindGroups, workgroups } of launches) {
    pass.setPipeline(pipeline);
    for (const [index, group] of bindGroups) pass.setBindGroup(index, group);
    pass.dispatchWorkgroups(...workgroups);
  }
  pass.end();
}

async function byTimestamps(device: GPUDevice, passes: readonly Pass[]): Promise<Span[]> {
  const portion = mostQueries / 2;
  const spans: Span[] = [];
  let origin: bigint | undefined;
  for (let first = 0; first < passes.length; first += portion) {
    const times = await timestamps(device, passes.slice(first, first + portion));
    origin ??= times[0] ?? 0n;
    // Differences are taken before the conversion: a clock in nanoseconds has more digits than a double holds.
    const since = (at: number): number => Number((times[at] ?? 0n) - origin!) / 1000;
    for (let i = 0; i < times.length; i += 2) spans.push({ begin: since(i), end: Math.max(since(i), since(i + 1)) });
  }
  return spans;
}

/** Nanoseconds at the beginning and the end of each pass. */
async function timestamps(device: GPUDevice, passes: readonly Pass[]): Promise<BigUint64Array> {
  const count = passes.length * 2;
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const resolved = device.createBuffer({ size: count * 8, usage: usage.queryResolve | usage.copySource });
  const staging = device.createBuffer({ size: count * 8, usage: usage.mapRead | usage.copyDestination });
  try {
    const encoder = device.createCommandEncoder();
    passes.forEach((launches, i) => {
      encode(encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } }), launches);
    });
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, count * 8);
    device.queue.submit([encoder.finish()]);
    await waitFor(device, staging.mapAsync(mapRead));
    return new BigUint64Array(staging.getMappedRange().slice(0));
  } finally {
    querySet.destroy();
    resolved.destroy();
    staging.destroy();
  }
}

async function byWallClock(device: GPUDevice, passes: readonly Pass[]): Promise<Span[]> {
  const origin = performance.now();
  const now = (): number => (performance.now() - origin) * 1000;
  const spans: Span[] = [];
  for (const launches of passes) {
    const encoder = device.createCommandEncoder();
    encode(encoder.beginComputePass(), launches);
    const commands = encoder.finish();
    const begin = now();
    device.queue.submit([commands]);
    await waitFor(device, device.queue.onSubmittedWorkDone());
    spans.push({ begin, end: now() });
  }
  return spans;
}
