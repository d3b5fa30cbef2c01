/** What each dispatch of a run takes on the device that a model is on, and what the compiler's cost model expected. */
import { targetOf, type Chosen } from "./choose.js";
import { messageOf } from "./device.js";
import { DeviceLostError, VitcError } from "./errors.js";
import type { Engine } from "./load.js";
import { dispatch, softwarePassFlops, type Recorded, type Session } from "./session.js";

// WebGPU's flags by value, as in `session.ts`.
const usage = { mapRead: 0x1, copySource: 0x4, copyDestination: 0x8, queryResolve: 0x200 } as const;
const mapRead = 0x1;
/** Queries that one set holds at most, by WebGPU; a dispatch takes two. */
const mostQueries = 4096;
const mostRuns = 1000;

export interface ProfileOptions {
  /** Runs to time. Default: 10. With 0 nothing is run, and there are expected times alone. */
  readonly runs?: number;
  /** One of the batch sizes that the package was compiled for. Default: its first. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
}

export interface ProfiledDispatch {
  /** Where in the model: `blocks.3.mlp.fc1`. */
  readonly label: string;
  readonly routine: string;
  /** How the routine is done, and who says so: see `Model.routines`. */
  readonly choice: string;
  readonly by: Chosen["by"];
  /** Floating point operations (a multiply-add counts two), and bytes that must move at least once. */
  readonly flops: number;
  readonly bytes: number;
  /** Microseconds by the compiler's cost model, for this kind of adapter. */
  readonly expected: number;
  /** Microseconds, the mean over the runs; undefined where nothing was timed. */
  readonly measured: number | undefined;
}

export interface RunProfile {
  readonly batch: number;
  readonly runs: number;
  /**
   * `timestamps`: the GPU's own clock around each dispatch, on devices with the feature `timestamp-query`. Browsers round it (Chromium to 65.5
   * microseconds); the mean of many runs is finer than that. `wall`: the time from submitting a dispatch alone until it is done, which is longer
   * by what a submit takes. `none`: nothing was timed.
   */
  readonly clock: "timestamps" | "wall" | "none";
  /** In the order in which they run. */
  readonly dispatches: readonly ProfiledDispatch[];
}

/** See `Model.profile`. Not while a run is under way. */
export async function profileRun(engine: Engine, options: ProfileOptions): Promise<RunProfile> {
  const { session, chosen, opened: { device, adapter }, variant: { plan } } = engine;
  const { runs = 10, batch, signal } = options;
  if (!Number.isSafeInteger(runs) || runs < 0 || runs > mostRuns) throw new VitcError("input", `runs is ${String(runs)}; it is a whole number from 0 to ${mostRuns}`);
  const profiles = plan.programs.infer;
  const profile = batch === undefined ? profiles[0]! : profiles.find((each) => each.batch === batch);
  if (profile === undefined) throw new VitcError("input", `batch is ${String(batch)}; ${plan.name} was compiled for ${profiles.map((each) => each.batch).join(" and ")}`);
  const recorded = session.recorded(profile.batch);
  let next = 0;
  const passes = profile.dispatches.map(({ routine }): Pass => recorded.slice(next, (next += chosen.get(routine)!.choice.launches.length)));
  const clock = runs === 0 ? "none" : device.features.has("timestamp-query") && 2 * passes.length <= mostQueries ? "timestamps" : "wall";
  const nanoseconds = clock === "none" ? undefined : await (clock === "timestamps" ? byTimestamps : byWallClock)({ device, session, passes, software: adapter.software }, runs, signal);
  const target = plan.targets.indexOf(targetOf(adapter));
  return {
    ...{ batch: profile.batch, runs, clock },
    dispatches: profile.dispatches.map(({ label, routine, flops, bytes }, i) => {
      const { choice, by } = chosen.get(routine)!;
      return { label, routine, choice: choice.name, by, flops, bytes, expected: choice.costs[target] ?? 0, measured: nanoseconds && nanoseconds[i]! / runs / 1000 };
    }),
  };
}

/** The launches of a dispatch. */
type Pass = readonly Recorded[];

interface Timed {
  readonly device: GPUDevice;
  readonly session: Session;
  readonly passes: readonly Pass[];
  readonly software: boolean;
}

/** Sums over the runs, by dispatch; the first run warms up and does not count. Buffers are used as they are: a whole run computes what it computed before. */
async function byTimestamps({ device, session, passes, software }: Timed, runs: number, signal: AbortSignal | undefined): Promise<Float64Array> {
  const count = passes.length * 2;
  const sums = new Float64Array(passes.length);
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const resolved = device.createBuffer({ label: "timestamps", size: count * 8, usage: usage.queryResolve | usage.copySource });
  const staging = device.createBuffer({ label: "timestamps", size: count * 8, usage: usage.mapRead | usage.copyDestination });
  try {
    for (let run = -1; run < runs; run++) {
      signal?.throwIfAborted();
      session.checkOpen();
      let encoder = device.createCommandEncoder();
      let flops = 0;
      passes.forEach((launches, i) => {
        // As in a run: a submit this long can trip the watchdog of a slow adapter.
        if (software && flops > softwarePassFlops) {
          device.queue.submit([encoder.finish()]);
          encoder = device.createCommandEncoder();
          flops = 0;
        }
        encode(encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } }), launches);
        flops += launches.at(-1)!.flops;
      });
      encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, count * 8);
      device.queue.submit([encoder.finish()]);
      try {
        await session.wait(staging.mapAsync(mapRead));
      } catch (error) {
        throw new DeviceLostError(`The times could not be read back: ${messageOf(error) || "the device is gone"}`);
      }
      const times = new BigUint64Array(staging.getMappedRange());
      // Some drivers set their clock back between passes: such a time is none. Differences first: the clock has more digits than a double holds.
      if (run >= 0) passes.forEach((_, i) => (sums[i]! += Math.max(0, Number(times[2 * i + 1]! - times[2 * i]!))));
      staging.unmap();
    }
    return sums;
  } finally {
    querySet.destroy();
    resolved.destroy();
    staging.destroy();
  }
}

/** Likewise, each dispatch submitted alone and waited for. */
async function byWallClock({ device, session, passes }: Timed, runs: number, signal: AbortSignal | undefined): Promise<Float64Array> {
  const sums = new Float64Array(passes.length);
  for (let run = -1; run < runs; run++) {
    for (const [i, launches] of passes.entries()) {
      signal?.throwIfAborted();
      session.checkOpen();
      const encoder = device.createCommandEncoder();
      encode(encoder.beginComputePass(), launches);
      const commands = encoder.finish();
      const began = performance.now();
      device.queue.submit([commands]);
      await session.wait(device.queue.onSubmittedWorkDone());
      if (run >= 0) sums[i]! += (performance.now() - began) * 1e6;
    }
  }
  return sums;
}

function encode(pass: GPUComputePassEncoder, launches: Pass): void {
  for (const launch of launches) dispatch(pass, launch);
  pass.end();
}
