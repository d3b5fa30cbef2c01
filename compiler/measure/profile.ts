import type { AdapterInfo } from "../../runtime/device.js";
import { launchesOf, type Chosen } from "../../runtime/choose.js";
import type { Profile } from "../../runtime/plan.js";
import type { WeightsSource } from "../../runtime/weights.js";
import type { DispatchKind } from "../explain/report.js";
import { openTimedDevice } from "./device.js";
import { measurePeaks, prepareEmpty, type Peaks } from "./peaks.js";
import { randomInput } from "./random-weights.js";
import { expectPlanned, recordDispatches, replay, type Clock, type Pass, type Span } from "./replay.js";
import { median, summarize, type Summary } from "./statistics.js";
import { inputSize, profileOf, type Subject } from "./subject.js";

export interface ProfileOptions {
  readonly subject: Subject;
  readonly weights: WeightsSource;
  /** A batch size that the package has a profile for. */
  readonly batch: number;
  readonly adapter: "auto" | "gpu" | "software";
  /** Whether the driver checks every index of a kernel. */
  readonly robust: boolean;
  /** `auto`: timestamps where the adapter has them. */
  readonly clock: Clock | "auto";
  /** Replays; without it they go on for `seconds`, at least 3 and at most 200. */
  readonly runs?: number | undefined;
  readonly seconds: number;
  readonly onNotice: (notice: string) => void;
  readonly onProgress: (share: number, detail: string) => void;
  readonly signal: AbortSignal;
}

/** `other`: a routine that this version does not know by its name. */
export type ProfiledKind = DispatchKind | "other";

/** Which floor lies highest under a dispatch: its FLOPs or its bytes at the adapter's peaks, or what launching anything takes. */
export type Bound = "compute" | "memory" | "launch";

export interface ProfiledDispatch {
  readonly index: number;
  readonly label: string;
  readonly kind: ProfiledKind;
  readonly routine: string;
  /** Which of its choices ran, and what decided that. */
  readonly choice: string;
  readonly by: Chosen["by"];
  /** Usually one; a choice with several first computes something that the last one needs. */
  readonly launches: readonly ProfiledLaunch[];
  /** Of all its launches: the sum of their medians over the replays. */
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

export interface ProfiledLaunch {
  readonly kernel: string;
  readonly workgroups: readonly [x: number, y: number, z: number];
  /** Median over the replays. */
  readonly microseconds: number;
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
  /** What an empty launch takes by the same clock. */
  readonly emptyMicroseconds: number;
  /** Sum of the dispatches' medians. */
  readonly microseconds: number;
  /** Of whole runs as a user has them (one pass, with upload and readback), in milliseconds. */
  readonly wholeRun: Summary;
  readonly dispatches: readonly ProfiledDispatch[];
  /** Slowest first. */
  readonly kinds: readonly KindTotal[];
  /** When each dispatch ran in the replay whose length is the median one, from its first launch to its last. */
  readonly timeline: readonly Span[];
}

const replayCount = { least: 3, most: 200 } as const;
const wholeRuns = { most: 10, milliseconds: 2000 } as const;

/**
 * Times each dispatch of a package. The package runs once on a device that notes what is launched; then the same launches, with the same
 * pipelines and buffers, are replayed a pass each.
 *
 * @throws AdapterError if timestamps are asked for and the adapter has none, or if it cannot run the dtype; what loading and running throw; the signal's reason when aborted.
 */
export async function profile(options: ProfileOptions): Promise<ProfileResult> {
  const { subject, batch, weights, adapter: choice, onNotice, onProgress, signal } = options;
  const planned = profileOf(subject.plan, batch);
  if (planned === undefined) throw new RangeError(`${subject.name} has no profile for batch ${batch}`);
  const { device, adapter, clock } = await openTimedDevice({ ...options, plan: subject.plan });
  const { device: recorded, take } = recordDispatches(device);
  try {
    onProgress(0, "loading");
    const model = await subject.load({ weights, adapter: choice, device: recorded, dtype: subject.plan.dtype, onNotice, onProgress: () => undefined, signal });
    const empty = await prepareEmpty(device);
    try {
      const input = randomInput(inputSize(subject.plan, batch));
      take();
      await model.run(input, { signal });
      const heard = take();
      expectPlanned(subject.name, heard, launchesOf(planned, model.routines));
      const wholeRun: number[] = [];
      for (let began = performance.now(); wholeRun.length === 0 || (wholeRun.length < wholeRuns.most && performance.now() - began < wholeRuns.milliseconds); ) {
        signal.throwIfAborted();
        const start = performance.now();
        await model.run(input, { signal });
        wholeRun.push(performance.now() - start);
      }
      onProgress(0.3, "probing the adapter");
      const peaks = await measurePeaks(device, { software: adapter.software, signal });
      const replays = await replayAll(device, [...heard, empty.dispatch].map((launch) => [launch]), clock, options);
      return { adapter, batch, clock, replays: replays.length, peaks, wholeRun: summarize(wholeRun), ...evaluate(planned, model.routines, replays, peaks) };
    } finally {
      empty.dispose();
      model.dispose();
    }
  } finally {
    device.destroy();
  }
}

async function replayAll(device: GPUDevice, passes: readonly Pass[], clock: Clock, { runs, seconds, signal, onProgress }: ProfileOptions): Promise<Span[][]> {
  await replay(device, passes, clock); // Warms up: the first replay may wait for what the probes left.
  const all: Span[][] = [];
  const began = performance.now();
  const passed = (): number => performance.now() - began;
  const enough = (): boolean => (runs === undefined ? all.length >= replayCount.most || (all.length >= replayCount.least && passed() >= seconds * 1000) : all.length >= runs);
  while (!enough()) {
    signal.throwIfAborted();
    onProgress(0.4 + 0.6 * Math.min(1, runs === undefined ? passed() / (seconds * 1000) : all.length / runs), `replay ${all.length + 1}`);
    all.push(await replay(device, passes, clock));
  }
  return all;
}

type Evaluated = Pick<ProfileResult, "emptyMicroseconds" | "microseconds" | "dispatches" | "kinds" | "timeline">;

/**
 * Rows of a profile from replays, each of which holds a span for every planned launch and then one for an empty launch.
 * @param chosen how each routine was done, by its id
 * @throws RangeError when there is no replay.
 */
export function evaluate({ dispatches: planned }: Pick<Profile, "dispatches">, chosen: ReadonlyMap<string, Chosen>, replays: readonly (readonly Span[])[], peaks: Peaks): Evaluated {
  const choices = planned.map(({ routine }) => chosen.get(routine)!);
  const launchCount = choices.reduce((sum, { choice }) => sum + choice.launches.length, 0);
  const times = Array.from({ length: launchCount + 1 }, (_, i) => median(replays.map((spans) => spans[i]!.end - spans[i]!.begin)));
  const emptyMicroseconds = times[launchCount]!;
  const microseconds = times.slice(0, launchCount).reduce((sum, time) => sum + time, 0);
  const middle = medianReplay(replays);
  const timeline: Span[] = [];
  let next = 0;
  const dispatches = planned.map(({ label, routine, flops, bytes }, index): ProfiledDispatch => {
    const { choice, by } = choices[index]!;
    const first = next;
    const launches = choice.launches.map(({ kernel, workgroups }): ProfiledLaunch => ({ kernel, workgroups, microseconds: times[next++]! }));
    timeline.push({ begin: middle[first]!.begin, end: middle[next - 1]!.end });
    const time = launches.reduce((sum, launch) => sum + launch.microseconds, 0);
    const { bound, floor } = boundOf({ flops, bytes, launches: launches.length }, peaks, emptyMicroseconds);
    // A clock may have steps longer than a launch: a rate over no time is none.
    const rate = (amount: number): number => (time > 0 ? (amount * 1e6) / time : 0);
    return { index, label, kind: kindOf(routine), routine, choice: choice.name, by, launches, microseconds: time, share: microseconds > 0 ? time / microseconds : 0, flops, bytes, flopRate: rate(flops), byteRate: rate(bytes), bound, reach: time > 0 ? floor / time : 0 };
  });
  return { emptyMicroseconds, microseconds, dispatches, kinds: totals(dispatches), timeline };
}

/** The roofline's floors under a dispatch, in microseconds, and the highest of them. (Williams, Waterman, Patterson, 2009; launching is a third one.) */
export function boundOf({ flops, bytes, launches }: { readonly flops: number; readonly bytes: number; readonly launches: number }, peaks: Peaks, emptyMicroseconds: number): { readonly bound: Bound; readonly floor: number } {
  const floors: readonly { bound: Bound; floor: number }[] = [
    { bound: "compute", floor: (flops * 1e6) / peaks.compute.rate },
    { bound: "memory", floor: (bytes * 1e6) / peaks.memory.rate },
    { bound: "launch", floor: launches * emptyMicroseconds },
  ];
  return floors.reduce((highest, floor) => (floor.floor > highest.floor ? floor : highest));
}

/** By what a routine's id begins with. */
export function kindOf(routine: string): ProfiledKind {
  if (/^gemm.*_(image|map)_/.test(routine)) return "convolution";
  const kinds: readonly (readonly [RegExp, DispatchKind])[] = [
    [/^gemm/, "matmul"],
    [/^attention/, "attention"],
    [/^(layer_norm|normalize)/, "norm"],
    [/^embed/, "embed"],
    [/^(pool|token)/, "pool"],
    [/^add/, "sum"],
  ];
  return kinds.find(([pattern]) => pattern.test(routine))?.[1] ?? "other";
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
