import type { AdapterInfo } from "../../runtime/device.js";
import { chooseProfiles } from "../../runtime/choose.js";
import { requestDevice } from "../../runtime/node.js";
import type { WeightsInput } from "../../runtime/weights.js";
import { measurePeaks, type Peaks } from "./peaks.js";
import { randomInput } from "./random-weights.js";
import { inputSize, plannedBytes, type LoadedSubject, type Subject } from "./subject.js";

/** A package with what it is to run. */
export interface BenchSubject extends Subject {
  /** Batch sizes, each of which the package has a profile for. */
  readonly batches: readonly number[];
  /** New for each load. `milliseconds`: what making the weights themselves has cost so far, which is not the package's time. */
  weights(): { readonly input: WeightsInput; milliseconds(): number };
}

export interface BenchOptions {
  readonly subjects: readonly BenchSubject[];
  readonly adapter: "auto" | "gpu" | "software";
  /** Runs of each package and batch size; without it rounds go on for `seconds` a case, at least 3 rounds and at most 1000. */
  readonly runs?: number | undefined;
  readonly seconds: number;
  /** Called once the adapter is known and before anything is measured; what it throws ends the measurement. */
  readonly onAdapter: (adapter: AdapterInfo) => void;
  readonly onNotice: (notice: string) => void;
  readonly onProgress: (share: number, detail: string) => void;
  readonly signal: AbortSignal;
}

/** Milliseconds. */
export interface LoadTimes {
  /** Requesting the device; Dawn itself is loaded and the adapter found before. */
  readonly device: number;
  /** Allocating buffers and building pipelines. */
  readonly pipelines: number;
  /** Reading, packing and uploading weights. */
  readonly weights: number;
  /** The first run, which waits for the uploads and for what the driver put off. One a batch size, in their order. */
  readonly firstRun: readonly number[];
}

/** One package at one batch size. */
export interface BenchCase {
  readonly subject: BenchSubject;
  readonly batch: number;
  /** FLOPs and bytes of a run, as planned. */
  readonly flops: number;
  readonly bytes: number;
  /** Milliseconds of each run, from values in memory to outputs in memory, in order. */
  readonly samples: readonly number[];
}

export interface BenchSubjectResult {
  readonly subject: BenchSubject;
  readonly load: LoadTimes;
  readonly plannedBytes: number;
  readonly allocatedBytes: number;
  readonly cases: readonly BenchCase[];
}

export interface BenchResult {
  readonly adapter: AdapterInfo;
  /** Loading Dawn and finding the adapter, once a process. */
  readonly startMilliseconds: number;
  readonly peaks: Peaks;
  readonly subjects: readonly BenchSubjectResult[];
}

const fewestRounds = 3;
const mostRounds = 1000;
/** Runs after the first that are not counted, unless they take longer than this together: clocks and caches settle. */
const warmUp = { runs: 2, milliseconds: 1000 } as const;

/**
 * Loads packages one after the other, then runs them in rounds, each once a round, so that whatever else the machine does meets all of them.
 * @throws what loading and running throw; the signal's reason when it is aborted.
 */
export async function bench(options: BenchOptions): Promise<BenchResult> {
  const { subjects, adapter: choice, onProgress, signal } = options;
  const began = performance.now();
  const { device, adapter } = await requestDevice({ adapter: choice });
  const startMilliseconds = performance.now() - began;
  const loaded: Loaded[] = [];
  try {
    options.onAdapter(adapter);
    for (const [i, subject] of subjects.entries()) {
      onProgress((0.2 * i) / subjects.length, `loading ${subject.name}`);
      loaded.push(await loadTimed(subject, options));
    }
    onProgress(0.2, "probing the adapter");
    const peaks = await measurePeaks(device, { software: adapter.software, signal });
    const cases = loaded.flatMap(({ subject, model, inputs }) => subject.batches.map((batch, i): TimedCase => ({ name: `${subject.name}, batch ${batch}`, model, input: inputs[i]!, samples: [] })));
    await rounds(cases, options);
    let next = 0;
    return {
      adapter,
      startMilliseconds,
      peaks,
      subjects: loaded.map(({ subject, model, load }) => ({
        subject,
        load,
        plannedBytes: plannedBytes(subject.plan),
        allocatedBytes: model.gpuBytes,
        cases: subject.batches.map((batch) => ({ subject, batch, ...workOf(subject, batch), samples: cases[next++]!.samples })),
      })),
    };
  } finally {
    for (const { model } of loaded) model.dispose();
    device.destroy();
  }
}

interface Loaded {
  readonly subject: BenchSubject;
  readonly model: LoadedSubject;
  readonly load: LoadTimes;
  /** One a batch size. */
  readonly inputs: readonly Float32Array[];
}

async function loadTimed(subject: BenchSubject, { adapter, onNotice, signal }: BenchOptions): Promise<Loaded> {
  const { input: weights, milliseconds: made } = subject.weights();
  const reached = { device: 0, pipelines: 0 };
  const began = performance.now();
  const model = await subject.load({
    weights,
    adapter,
    onNotice,
    signal,
    onProgress({ stage, loaded, total }) {
      if (stage !== "weights" && loaded === total) reached[stage] = performance.now();
    },
  });
  const ended = performance.now();
  try {
    const inputs = subject.batches.map((batch) => randomInput(inputSize(subject.plan, batch)));
    const firstRun: number[] = [];
    for (const input of inputs) firstRun.push(await timedRun(model, input, signal));
    return { subject, model, inputs, load: { device: reached.device - began, pipelines: reached.pipelines - reached.device, weights: Math.max(0, ended - reached.pipelines - made()), firstRun } };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

interface TimedCase {
  readonly name: string;
  readonly model: LoadedSubject;
  readonly input: Float32Array;
  readonly samples: number[];
}

async function rounds(cases: readonly TimedCase[], { runs, seconds, onProgress, signal }: BenchOptions): Promise<void> {
  for (const { model, input } of cases) {
    const began = performance.now();
    for (let i = 0; i < warmUp.runs && performance.now() - began < warmUp.milliseconds; i++) await timedRun(model, input, signal);
  }
  const began = performance.now();
  const budget = seconds * 1000 * cases.length;
  const wanted = runs ?? mostRounds;
  const enough = (round: number): boolean => round >= wanted || (runs === undefined && round >= fewestRounds && performance.now() - began >= budget);
  for (let round = 0; !enough(round); round++) {
    // Each round begins with another case, so that none always runs after the same one.
    for (let i = 0; i < cases.length; i++) {
      const { name, model, input, samples } = cases[(round + i) % cases.length]!;
      const share = runs === undefined ? Math.min(1, (performance.now() - began) / budget) : round / wanted;
      onProgress(0.3 + 0.7 * share, `run ${round + 1} of ${name}`);
      samples.push(await timedRun(model, input, signal));
    }
  }
}

async function timedRun(model: LoadedSubject, input: Float32Array, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const began = performance.now();
  await model.run(input, { signal });
  return performance.now() - began;
}

/** What a run of `batch` images costs: a package may split it if that is cheaper. */
function workOf({ plan }: Subject, batch: number): { readonly flops: number; readonly bytes: number } {
  const chosen = chooseProfiles(plan.programs.infer, batch);
  return { flops: chosen.reduce((sum, { flops }) => sum + flops, 0), bytes: chosen.reduce((sum, { bytes }) => sum + bytes, 0) };
}
