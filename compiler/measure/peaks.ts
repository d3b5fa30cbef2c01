/** What an adapter can do at most, measured by kernels that do nothing else. */
import { OutOfMemoryError, VitcError } from "../../runtime/errors.js";
import { emptyProbe, fillProbe, fmaProbe, fmaProbeFlops, readProbe } from "../kernels/probe.js";
import type { Launch } from "../kernels/kernel.js";
import type { RecordedDispatch } from "./replay.js";
import { waitFor } from "./wait.js";

/** One measured rate. */
export interface Peak {
  /** FLOP/s or bytes/s. */
  readonly rate: number;
  /** Time of twice the work over the time of the work: 2 where the probe measures what it should. */
  readonly doubling: number;
  /** Whether `doubling` is near 2. If not, shares of this peak mean little. */
  readonly reliable: boolean;
}

export interface Peaks {
  /** Multiply-adds in f32 registers, in FLOP/s. */
  readonly compute: Peak;
  /** Reading from memory, in bytes/s. */
  readonly memory: Peak;
  /** Bytes that the memory probe goes through: those that a larger cache keeps are read faster than memory is. */
  readonly memoryProbeBytes: number;
  /** What one more dispatch in a pass costs by itself, in microseconds. */
  readonly dispatchMicroseconds: number;
}

const usage = { copyDestination: 0x8, storage: 0x80 } as const;

/** The least time that is measured: far above the steps of any clock, and below what any watchdog objects to. */
const targetMilliseconds = 25;
/** Each amount of work is timed this often, alternating; the fastest counts, for whatever else runs can only slow it down. */
const repeats = 5;
/** How far `doubling` may lie from 2. A probe whose work was optimised away, or that only measures a latency, is near 1. */
const doublingTolerance = 0.35;
/** Work is read from an f32, which holds whole numbers up to here. */
const mostSteps = 2 ** 23;
const vec4Bytes = 16;
/** More than any GPU of today holds at once (an H200 holds 270,336 minus what registers forbid), and few where starting one costs much. */
const invocationsOf = { gpu: 2 ** 18, software: 2 ** 12 } as const;
/** On a GPU more than the last cache of all but a few, and the largest binding that every device grants; on a CPU what it reads in the time of a probe. */
const memoryBytesOf = { gpu: 128 * 2 ** 20, software: 32 * 2 ** 20 } as const;

/**
 * Measures an adapter's peaks, in a second or three. Needs 132 MiB of GPU memory for that time, and a fourth of it on a software adapter.
 * @throws OutOfMemoryError; VitcError (validation) when the device refuses a probe; the signal's reason when it is aborted.
 */
export async function measurePeaks(device: GPUDevice, { software, signal }: { readonly software: boolean; readonly signal?: AbortSignal | undefined }): Promise<Peaks> {
  const [invocations, memoryBytes] = software ? [invocationsOf.software, memoryBytesOf.software] : [invocationsOf.gpu, memoryBytesOf.gpu];
  device.pushErrorScope("out-of-memory");
  const [control, data, out] = [vec4Bytes, memoryBytes, invocations * vec4Bytes].map((size) => device.createBuffer({ label: "probe", size, usage: usage.storage | usage.copyDestination })) as [GPUBuffer, GPUBuffer, GPUBuffer];
  try {
    const short = await device.popErrorScope();
    if (short) throw new OutOfMemoryError(`The GPU has no ${memoryBytes / 2 ** 20} MiB left for the probe of its memory: ${short.message}`, memoryBytes);
    const count = memoryBytes / vec4Bytes;
    device.pushErrorScope("validation");
    const [fill, fma, read, empty] = await Promise.all([
      prepare(device, fillProbe({ count }), [data]),
      prepare(device, fmaProbe({ invocations }), [control, data, out]),
      prepare(device, readProbe({ count, invocations }), [control, data, out]),
      prepare(device, emptyProbe(), [out]),
    ]);
    await timeOf(device, [fill]);
    const workOf = (dispatch: RecordedDispatch) => async (steps: number): Promise<number> => {
      signal?.throwIfAborted();
      device.queue.writeBuffer(control, 0, new Float32Array([steps]));
      return timeOf(device, [dispatch]);
    };
    // Once through each, so that what the device refuses is known before anything is believed.
    await workOf(fma)(1);
    await workOf(read)(1);
    const refused = await device.popErrorScope();
    if (refused) throw new VitcError("validation", `The device refused a probe of its peaks: ${refused.message}`);
    const compute = await peakOf(invocations * fmaProbeFlops, workOf(fma));
    const memory = await peakOf(memoryBytes, workOf(read));
    const launches = await peakOf(1, async (steps) => {
      signal?.throwIfAborted();
      return timeOf(device, Array.from({ length: steps }, () => empty));
    }, { target: 10, most: 4096 });
    return { compute, memory, memoryProbeBytes: memoryBytes, dispatchMicroseconds: 1e6 / launches.rate };
  } finally {
    for (const buffer of [control, data, out]) buffer.destroy();
  }
}

/** A dispatch that adds nothing, for what launching one costs under a clock. `dispose` frees its buffer. */
export async function prepareEmpty(device: GPUDevice): Promise<{ readonly dispatch: RecordedDispatch; dispose(): void }> {
  const out = device.createBuffer({ label: "probe out", size: 4, usage: usage.storage });
  return { dispatch: await prepare(device, emptyProbe(), [out]), dispose: () => out.destroy() };
}

/**
 * The rate of work from two amounts of it: what one more unit costs, so that launching and waiting are not counted. The work grows until it
 * takes long enough to be timed.
 *
 * @param unit FLOPs or bytes of one step
 * @param time milliseconds of that many steps
 */
export async function peakOf(unit: number, time: (steps: number) => Promise<number>, { target = targetMilliseconds, most = mostSteps } = {}): Promise<Peak> {
  let steps = 1;
  await time(steps); // The first use of a pipeline may finish building it.
  for (let taken = await time(steps); taken < target && steps < most; taken = await time(steps)) {
    // Short times are mostly latency, so the next amount is a guess that must not overshoot by much.
    steps = Math.min(most, steps * Math.min(16, Math.max(2, Math.ceil(target / Math.max(taken, 0.01)))));
  }
  let [once, twice] = [Infinity, Infinity];
  for (let i = 0; i < repeats; i++) {
    once = Math.min(once, await time(steps));
    twice = Math.min(twice, await time(2 * steps));
  }
  const doubling = twice / once;
  const reliable = Math.abs(doubling - 2) <= doublingTolerance;
  // Where twice the work costs no more time, the difference means nothing; the plain quotient is at least no exaggeration.
  const milliseconds = reliable ? (twice - once) / steps : twice / (2 * steps);
  return { rate: (unit * 1000) / milliseconds, doubling, reliable };
}

async function prepare(device: GPUDevice, { kernel, workgroups }: Launch, buffers: readonly GPUBuffer[]): Promise<RecordedDispatch> {
  const module = device.createShaderModule({ label: kernel.id, code: kernel.code });
  const pipeline = await device.createComputePipelineAsync({ label: kernel.id, layout: "auto", compute: { module, entryPoint: "main" } });
  const group = device.createBindGroup({ label: kernel.id, layout: pipeline.getBindGroupLayout(0), entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })) });
  return { pipeline, bindGroups: [[0, group]], workgroups };
}

/** Milliseconds from submitting dispatches in one pass until they are done. */
async function timeOf(device: GPUDevice, dispatches: readonly RecordedDispatch[]): Promise<number> {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const { pipeline, bindGroups, workgroups } of dispatches) {
    pass.setPipeline(pipeline);
    for (const [index, group] of bindGroups) pass.setBindGroup(index, group);
    pass.dispatchWorkgroups(...workgroups);
  }
  pass.end();
  const commands = encoder.finish();
  const began = performance.now();
  device.queue.submit([commands]);
  await waitFor(device, device.queue.onSubmittedWorkDone());
  return performance.now() - began;
}
