import type { AdapterInfo } from "../../runtime/device.js";
import { chooseProfiles, type Chosen } from "../../runtime/choose.js";
import { AdapterError } from "../../runtime/errors.js";
import { requestDevice } from "../../runtime/node.js";
import type { WeightsSource } from "../../runtime/weights.js";
import { measurePeaks, type Peaks } from "./peaks.js";
import { randomInput } from "./random-weights.js";
import { decided, inputSize, plannedBytes, type LoadedSubject, type Subject, type SubjectWeights } from "./subject.js";
import { fewestSamples } from "./verdict.js";

/** A package at one of its dtypes, with what it is to run. */
export interface BenchSubject extends Subject {
  /** Batch sizes, each of which the package has a profile for. */
  readonly batches: readonly number[];
  /** New for each load. */
  weights(signal: AbortSignal): Promise<SubjectWeights>;
}

export interface BenchOptions {
  readonly subjects: readonly BenchSubject[];
  readonly adapter: "auto" | "gpu" | "software";
  /** Whether the driver checks every index of a kernel. */
  readonly robust: boolean;
  /** Runs of each package, dtype and batch size; without it rounds go on for `seconds` a case, at least 5 rounds and at most 1000. */
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
  /** The part of `weights` in which reads were under way. Packing goes on meanwhile. */
  readonly reading: number;
  /** The first run, which waits for the uploads and for what the driver put off. One a batch size, in their order. */
  readonly firstRun: readonly number[];
}

/** One package at one dtype and batch size. */
export interface BenchCase {
  readonly batch: number;
  /** FLOPs and bytes of a run, as planned. */
  readonly flops: number;
  readonly bytes: number;
  /** Milliseconds of each run, from values in memory to outputs in memory, in order. */
  readonly samples: readonly number[];
}

/** What was measured of a subject, or the reason for which this adapter cannot run it. */
export type BenchSubjectResult = { readonly subject: BenchSubject } & (({ readonly unavailable?: undefined } & Measured) | { readonly unavailable: string });

export interface Measured {
  readonly load: LoadTimes;
  readonly plannedBytes: number;
  readonly allocatedBytes: number;
  /** How many routines are done in the way that was measured to be best, that the cost model prefers, or that alone can run here. */
  readonly decided: Readonly<Record<Chosen["by"], number>>;
  readonly cases: readonly BenchCase[];
}

export interface BenchResult {
  readonly adapter: AdapterInfo;
  /** Loading Dawn and finding the adapter, once a process. */
  readonly startMilliseconds: number;
  readonly peaks: Peaks;
  readonly subjects: readonly BenchSubjectResult[];
}

/** So that the times can be a baseline, or be compared with one. */
const fewestRounds = fewestSamples;
const mostRounds = 1000;
/** Runs after the first that are not counted, unless they take longer than this together: clocks and caches settle. */
const warmUp = { runs: 2, milliseconds: 1000 } as const;

/**
 * Loads packages one after the other, then runs them in rounds, each once a round, so that whatever else the machine does meets all of them.
 * @throws AdapterError when the adapter can run none of them; what loading and running throw; the signal's reason when it is aborted.
 */
export async function bench(options: BenchOptions): Promise<BenchResult> {
  const { subjects, adapter: choice, onProgress, signal } = options;
  const began = performance.now();
  const { device, adapter } = await requestDevice({ adapter: choice });
  const startMilliseconds = performance.now() - began;
  const loaded: Loaded[] = [];
  const unavailable = new Map<BenchSubject, string>();
  try {
    options.onAdapter(adapter);
    for (const [i, subject] of subjects.entries()) {
      onProgress((0.2 * i) / subjects.length, `loading ${nameOf(subject)}`);
      try {
        loaded.push(await loadTimed(subject, options));
      } catch (error) {
        // A package may bring a runtime of its own, whose classes are others.
        if (!(error instanceof Error) || error.name !== "AdapterError") throw error;
        unavailable.set(subject, error.message);
      }
    }
    if (loaded.length === 0) throw new AdapterError([...new Set(unavailable.values())].join("\n"));
    onProgress(0.2, "probing the adapter");
    const peaks = await measurePeaks(device, { software: adapter.software, signal });
    const cases = loaded.flatMap(({ subject, model, inputs }) => subject.batches.map((batch, i): TimedCase => ({ name: `${nameOf(subject)}, batch ${batch}`, model, input: inputs[i]!, samples: [] })));
    await rounds(cases, options);
    const samples = cases.values();
    const measured = new Map(loaded.map(({ subject, model, load }): [BenchSubject, Measured] => [
      subject,
      {
        load,
        plannedBytes: plannedBytes(subject.plan),
        allocatedBytes: model.gpuBytes,
        decided: decided(model),
        cases: subject.batches.map((batch) => ({ batch, ...workOf(subject, batch), samples: samples.next().value!.samples })),
      },
    ]));
    return { adapter, startMilliseconds, peaks, subjects: subjects.map((subject) => ({ subject, ...(measured.get(subject) ?? { unavailable: unavailable.get(subject)! }) })) };
  } finally {
    for (const { model } of loaded) model.dispose();
    device.destroy();
  }
}

const nameOf = ({ name, plan }: Subject): string => `${name}, ${plan.dtype}`;

interface Loaded {
  readonly subject: BenchSubject;
  readonly model: LoadedSubject;
  readonly load: LoadTimes;
  /** One a batch size. */
  readonly inputs: readonly Float32Array[];
}

async function loadTimed(subject: BenchSubject, { adapter, robust, onNotice, signal }: BenchOptions): Promise<Loaded> {
  const { input: weights, made } = await subject.weights(signal);
  const { source, reading } = timedReads(weights);
  const reached = { device: 0, pipelines: 0 };
  // The header was read before the device was asked for.
  let header = 0;
  const began = performance.now();
  const model = await subject.load({
    weights: source,
    adapter,
    dtype: subject.plan.dtype,
    robust,
    onNotice,
    signal,
    onProgress({ stage, loaded, total }) {
      if (stage === "weights" || loaded < total) return;
      reached[stage] = performance.now();
      header = reading();
    },
  });
  const ended = performance.now();
  try {
    const load = { device: reached.device - began, pipelines: reached.pipelines - reached.device, weights: Math.max(0, ended - reached.pipelines - made()), reading: Math.max(0, reading() - header - made()) };
    const inputs = subject.batches.map((batch) => randomInput(inputSize(subject.plan, batch)));
    const firstRun: number[] = [];
    for (const input of inputs) firstRun.push(await timedRun(model, input, signal));
    return { subject, model, inputs, load: { ...load, firstRun } };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A source that counts the milliseconds in which any read of it, or of a file beside it, is under way. */
function timedReads(weights: WeightsSource): { readonly source: WeightsSource; reading(): number } {
  let [underWay, since, spent] = [0, 0, 0];
  const timed = async <T>(read: () => Promise<T>): Promise<T> => {
    if (underWay++ === 0) since = performance.now();
    try {
      return await read();
    } finally {
      if (--underWay === 0) spent += performance.now() - since;
    }
  };
  const sourceOf = (source: WeightsSource): WeightsSource => {
    const beside = source.beside?.bind(source);
    return {
      name: source.name,
      size: source.size,
      read: (offset, length, signal) => timed(() => source.read(offset, length, signal)),
      ...(beside && { beside: async (file, bytes, signal) => sourceOf(await timed(() => beside(file, bytes, signal))) }),
    };
  };
  return { source: sourceOf(weights), reading: () => spent };
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
