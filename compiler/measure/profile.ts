import type { AdapterInfo } from "../../runtime/device.js";
import { AdapterError } from "../../runtime/errors.js";
import { requestDevice } from "../../runtime/node.js";
import type { Dispatch } from "../../runtime/plan.js";
import type { WeightsInput } from "../../runtime/weights.js";
import type { DispatchKind } from "../explain/report.js";
import { measurePeaks, prepareEmpty, type Peaks } from "./peaks.js";
import { randomInput } from "./random-weights.js";
import { recordDispatches, replay, type Clock, type RecordedDispatch, type Span } from "./replay.js";
import { median, summarize, type Summary } from "./statistics.js";
import { inputSize, profileOf, type Subject } from "./subject.js";

export interface ProfileOptions {
  readonly subject: Subject;
  readonly weights: WeightsInput;
  /** A batch size that the package has a profile for. */
  readonly batch: number;
  readonly adapter: "auto" | "gpu" | "software";
  /** `auto`: timestamps where the adapter has them. */
  readonly clock: Clock | "auto";
  /** Replays; without it they go on for `seconds`, at least 3 and at most 200. */
  readonly runs?: number | undefined;
  readonly seconds: number;
  readonly onNotice: (notice: string) => void;
  readonly onProgress: (share: number, detail: string) => void;
  readonly signal: AbortSignal;
}

/** `other`: a kernel that this version does not know by its name. */
export type ProfiledKind = DispatchKind | "other";

/** Which floor lies highest under a dispatch: its FLOPs or its bytes at the adapter's peaks, or what launching anything takes. */
export type Bound = "compute" | "memory" | "launch";

export interface ProfiledDispatch {
  readonly index: number;
  readonly label: string;
  readonly kind: ProfiledKind;
  readonly kernel: string;
  readonly workgroups: readonly [x: number, y: number, z: number];
  /** Median over the replays. */
  readonly microseconds: number;
  /** Of the sum over all dispatches. */
  readonly share: number;
  readonly flops: number;
  readonly bytes: number;
  /** FLOP/s and bytes/s. */
  readonly flopRate: number;
  readonly byteRate: number;
  readonly bound: Bound;
  /** The floor of `bound` over the time: 1 is as fast as the adapter allows. May exceed 1 where caches serve bytes that a peak counts as memory's. */
  readonly reach: number;
}

export interface KindTotal {
  readonly kind: ProfiledKind;
  readonly dispatches: number;
  readonly microseconds: number;
  readonly share: number;
  readonly flops: number;
  readonly bytes: number;
}

export interface ProfileResult {
  readonly adapter: AdapterInfo;
  readonly batch: number;
  readonly clock: Clock;
  readonly replays: number;
  readonly peaks: Peaks;
  /** What an empty dispatch takes by the same clock. */
  readonly emptyMicroseconds: number;
  /** Sum of the dispatches' medians. */
  readonly microseconds: number;
  /** Of whole runs as a user has them (one pass, with upload and readback), in milliseconds. */
  readonly wholeRun: Summary;
  readonly dispatches: readonly ProfiledDispatch[];
  /** Slowest first. */
  readonly kinds: readonly KindTotal[];
  /** When each dispatch ran in the replay whose length is the median one. */
  readonly timeline: readonly Span[];
}

const replayCount = { least: 3, most: 200 } as const;
const wholeRuns = { most: 10, milliseconds: 2000 } as const;
/** Dawn rounds timestamps to 65.5 microseconds unless it is told not to. */
const exactTimestamps = ["disable-dawn-features=timestamp_quantization"];

/**
 * Times each dispatch of a package. The package runs once on a device that notes what is dispatched; then the same dispatches, with the same
 * pipelines and buffers, are replayed a pass each.
 *
 * @throws AdapterError if timestamps are asked for and the adapter has none; what loading and running throw; the signal's reason when aborted.
 */
export async function profile(options: ProfileOptions): Promise<ProfileResult> {
  const { subject, batch, weights, adapter: choice, onNotice, onProgress, signal } = options;
  const planned = profileOf(subject.plan, batch)?.dispatches;
  if (planned === undefined) throw new RangeError(`${subject.name} has no profile for batch ${batch}`);
  const { device, adapter, clock } = await openDevice(options);
  const { device: recorded, take } = recordDispatches(device);
  try {
    onProgress(0, "loading");
    const model = await subject.load({ weights, adapter: choice, device: recorded, onNotice, onProgress: () => undefined, signal });
    const empty = await prepareEmpty(device);
    try {
      const input = randomInput(inputSize(subject.plan, batch));
      take();
      await model.run(input, { signal });
      const dispatches = take();
      expectPlanned(subject.name, dispatches, planned);
      const wholeRun: number[] = [];
      for (let began = performance.now(); wholeRun.length === 0 || (wholeRun.length < wholeRuns.most && performance.now() - began < wholeRuns.milliseconds); ) {
        signal.throwIfAborted();
        const start = performance.now();
        await model.run(input, { signal });
        wholeRun.push(performance.now() - start);
      }
      onProgress(0.3, "probing the adapter");
      const peaks = await measurePeaks(device, { software: adapter.software, signal });
      const replays = await replayAll(device, [...dispatches, empty.dispatch], clock, options);
      return { adapter, batch, clock, replays: replays.length, peaks, wholeRun: summarize(wholeRun), ...evaluate(planned, replays, peaks) };
    } finally {
      empty.dispose();
      model.dispose();
    }
  } finally {
    device.destroy();
  }
}

async function openDevice({ subject, adapter, clock }: ProfileOptions): Promise<{ device: GPUDevice; adapter: AdapterInfo; clock: Clock }> {
  const options = { adapter, requiredLimits: subject.plan.limits, flags: exactTimestamps };
  if (clock === "wall") return { ...(await requestDevice(options)), clock };
  try {
    return { ...(await requestDevice({ ...options, requiredFeatures: ["timestamp-query"] })), clock: "timestamps" };
  } catch (error) {
    if (clock === "timestamps" || !(error instanceof AdapterError)) throw error;
    // If the timestamps were not the reason, this fails with the same words.
    return { ...(await requestDevice(options)), clock: "wall" };
  }
}

/** What was heard must be what is planned, or times would stand beside the wrong labels. */
function expectPlanned(name: string, heard: readonly RecordedDispatch[], planned: readonly Dispatch[]): void {
  const differs = heard.length === planned.length ? planned.findIndex(({ workgroups }, i) => workgroups.some((count, axis) => count !== heard[i]!.workgroups[axis])) : Math.min(heard.length, planned.length);
  if (differs >= 0) throw new Error(`${name} ran ${heard.length} dispatches where its plan has ${planned.length}; they differ from dispatch ${differs} on`);
}

async function replayAll(device: GPUDevice, dispatches: readonly RecordedDispatch[], clock: Clock, { runs, seconds, signal, onProgress }: ProfileOptions): Promise<Span[][]> {
  await replay(device, dispatches, clock); // Warms up: the first replay may wait for what the probes left.
  const all: Span[][] = [];
  const began = performance.now();
  const passed = (): number => performance.now() - began;
  const enough = (): boolean => (runs === undefined ? all.length >= replayCount.most || (all.length >= replayCount.least && passed() >= seconds * 1000) : all.length >= runs);
  while (!enough()) {
    signal.throwIfAborted();
    onProgress(0.4 + 0.6 * Math.min(1, runs === undefined ? passed() / (seconds * 1000) : all.length / runs), `replay ${all.length + 1}`);
    all.push(await replay(device, dispatches, clock));
  }
  return all;
}

type Evaluated = Pick<ProfileResult, "emptyMicroseconds" | "microseconds" | "dispatches" | "kinds" | "timeline">;

/**
 * Rows of a profile from replays, each of which holds a span for every planned dispatch and then one for an empty dispatch.
 * @throws RangeError when there is no replay.
 */
export function evaluate(planned: readonly Dispatch[], replays: readonly (readonly Span[])[], peaks: Peaks): Evaluated {
  const times = Array.from({ length: planned.length + 1 }, (_, i) => median(replays.map((spans) => spans[i]!.end - spans[i]!.begin)));
  const emptyMicroseconds = times[planned.length]!;
  const microseconds = times.slice(0, planned.length).reduce((sum, time) => sum + time, 0);
  const dispatches = planned.map(({ label, kernel, workgroups, flops, bytes }, index): ProfiledDispatch => {
    const time = times[index]!;
    const { bound, floor } = boundOf(flops, bytes, peaks, emptyMicroseconds);
    // A clock may have steps longer than a dispatch: a rate over no time is none.
    const rate = (amount: number): number => (time > 0 ? (amount * 1e6) / time : 0);
    return { index, label, kind: kindOf(kernel), kernel, workgroups, microseconds: time, share: microseconds > 0 ? time / microseconds : 0, flops, bytes, flopRate: rate(flops), byteRate: rate(bytes), bound, reach: time > 0 ? floor / time : 0 };
  });
  return { emptyMicroseconds, microseconds, dispatches, kinds: totals(dispatches), timeline: medianReplay(replays).slice(0, planned.length) };
}

/** The roofline's floors under a dispatch, in microseconds, and the highest of them. (Williams, Waterman, Patterson, 2009; the launch is a third one.) */
export function boundOf(flops: number, bytes: number, peaks: Peaks, emptyMicroseconds: number): { readonly bound: Bound; readonly floor: number } {
  const floors: readonly { bound: Bound; floor: number }[] = [
    { bound: "compute", floor: (flops * 1e6) / peaks.compute.rate },
    { bound: "memory", floor: (bytes * 1e6) / peaks.memory.rate },
    { bound: "launch", floor: emptyMicroseconds },
  ];
  return floors.reduce((highest, floor) => (floor.floor > highest.floor ? floor : highest));
}

/** By the archetype that a kernel's id begins with. */
export function kindOf(kernel: string): ProfiledKind {
  if (/^(gemm|matmul).*_(image|map)_/.test(kernel)) return "convolution";
  const kinds: readonly (readonly [RegExp, DispatchKind])[] = [
    [/^(gemm|matmul)/, "matmul"],
    [/^attention/, "attention"],
    [/norm/, "norm"],
    [/^embed/, "embed"],
    [/^(pool|token)/, "pool"],
    [/^add/, "sum"],
  ];
  return kinds.find(([pattern]) => pattern.test(kernel))?.[1] ?? "other";
}

function totals(dispatches: readonly ProfiledDispatch[]): KindTotal[] {
  const sums = new Map<ProfiledKind, KindTotal>();
  for (const { kind, microseconds, share, flops, bytes } of dispatches) {
    const sum = sums.get(kind) ?? { kind, dispatches: 0, microseconds: 0, share: 0, flops: 0, bytes: 0 };
    sums.set(kind, { kind, dispatches: sum.dispatches + 1, microseconds: sum.microseconds + microseconds, share: sum.share + share, flops: sum.flops + flops, bytes: sum.bytes + bytes });
  }
  return [...sums.values()].sort((a, b) => b.microseconds - a.microseconds);
}

/** A replay that really happened, for a timeline: medians of single dispatches did not follow each other. */
function medianReplay(replays: readonly (readonly Span[])[]): readonly Span[] {
  const length = (spans: readonly Span[]): number => spans.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const ordered = [...replays].sort((a, b) => length(a) - length(b));
  return ordered[Math.floor((ordered.length - 1) / 2)]!;
}
