/** A package on an adapter, as `tune` looks at it. */
import { chooseRoutines, launchesOf, targetOf, usableChoices } from "../../runtime/choose.js";
import type { AdapterInfo } from "../../runtime/device.js";
import type { Choice, DType, Plan, Profile } from "../../runtime/plan.js";
import type { WeightsSource } from "../../runtime/weights.js";
import { openTimedDevice } from "./device.js";
import { prepareEmpty } from "./peaks.js";
import { randomInput } from "./random-weights.js";
import { expectPlanned, recordDispatches, replay, timePass, type Clock, type Pass } from "./replay.js";
import { inputSize, profileOf, type LoadedSubject, type Subject } from "./subject.js";
import type { Choices, TunableNetwork, TunableRoutine } from "./tune.js";

export interface TuneNetworkOptions {
  readonly subject: Subject;
  readonly weights: WeightsSource;
  readonly adapter: "auto" | "gpu" | "software";
  /** `auto`: timestamps where the adapter has them. */
  readonly clock: Clock | "auto";
  readonly onNotice: (notice: string) => void;
  readonly signal: AbortSignal;
}

export interface OpenedNetwork {
  readonly network: TunableNetwork;
  readonly adapter: AdapterInfo;
  readonly clock: Clock;
  dispose(): void;
}

/** Seeds of two inputs: the one that is compared, and the one that is run before so that no result of the other is left lying about. */
const seeds = { compared: 1, other: 2 } as const;
const emptyReplays = 9;

/**
 * Loads a package onto a device that notes what is launched. Every way to do a routine runs once as the package itself runs it; then launches
 * of any mixture of ways are replayed, with the same pipelines and buffers.
 *
 * @throws AdapterError if there is no adapter, if timestamps are asked for and it has none, or if it cannot run the dtype; what loading throws; the signal's reason when it is aborted.
 */
export async function openNetwork({ subject, weights, adapter: choice, clock: wanted, onNotice, signal }: TuneNetworkOptions): Promise<OpenedNetwork> {
  const { plan } = subject;
  const { device, adapter, clock } = await openTimedDevice({ plan, adapter: choice, robust: false, clock: wanted });
  try {
    const { device: recorded, take } = recordDispatches(device);
    const model = await subject.load({ weights, adapter: choice, device: recorded, dtype: plan.dtype, onNotice, onProgress: () => undefined, signal });
    const empty = await prepareEmpty(device);
    const spans = [];
    for (let i = 0; i < emptyReplays; i++) spans.push(...(await replay(device, [[empty.dispatch]], clock)));
    empty.dispose();
    // Whatever else runs only ever slows.
    const emptyMicroseconds = Math.min(...spans.map(({ begin, end }) => end - begin));
    const network = new PackageNetwork({ subject, device, adapter, clock, model, take, emptyMicroseconds, signal });
    const dispose = (): void => {
      model.dispose();
      device.destroy();
    };
    return { network, adapter, clock, dispose };
  } catch (error) {
    device.destroy();
    throw error;
  }
}

interface NetworkParts {
  readonly subject: Subject;
  readonly device: GPUDevice;
  readonly adapter: AdapterInfo;
  readonly clock: Clock;
  readonly model: LoadedSubject;
  readonly take: () => Pass;
  readonly emptyMicroseconds: number;
  readonly signal: AbortSignal;
}

type Outputs = Readonly<Record<string, Float32Array>>;

class PackageNetwork implements TunableNetwork {
  readonly routines: readonly TunableRoutine[];
  readonly batches: readonly number[];
  readonly timesRoutines: boolean;
  private readonly plan: Plan;
  /** Every routine in its first way, which is right on every adapter. */
  private readonly first: Choices;
  /** Outputs of these by batch size. */
  private readonly reference = new Map<number, Outputs>();
  /** Launches of a dispatch done in one way, by batch size, index and the name of the way. */
  private readonly launches = new Map<string, Pass>();

  constructor(private readonly parts: NetworkParts) {
    const { subject: { plan }, device, adapter, clock } = parts;
    this.plan = plan;
    this.batches = plan.programs.infer.map(({ batch }) => batch);
    this.timesRoutines = clock === "timestamps";
    const options = { adapter, features: device.features };
    const kernels = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
    const untuned = chooseRoutines(plan, options);
    const target = plan.targets.indexOf(targetOf(adapter));
    const expected = ({ costs }: Choice): number => costs[target] ?? 0;
    this.routines = plan.routines.map((routine): TunableRoutine => ({
      id: routine.id,
      usable: usableChoices(routine, kernels, options).toSorted((a, b) => expected(a) - expected(b)).map(({ name }) => name),
      untuned: untuned.get(routine.id)!.choice.name,
      batches: plan.programs.infer.filter(({ dispatches }) => dispatches.some((dispatch) => dispatch.routine === routine.id)).map(({ batch }) => batch),
    }));
    this.first = Object.fromEntries(plan.routines.map((routine) => [routine.id, (usableChoices(routine, kernels, options)[0] ?? routine.choices[0]!).name]));
  }

  async verify(choices: Choices, batches: readonly number[]): Promise<string | undefined> {
    for (const batch of batches) {
      const size = inputSize(this.plan, batch);
      const [compared, other] = [randomInput(size, seeds.compared), randomInput(size, seeds.other)];
      await this.choose(this.first);
      if (!this.reference.has(batch)) this.reference.set(batch, await this.run(batch, compared, this.first));
      const reference = this.reference.get(batch)!;
      const overflown = Object.keys(reference).find((name) => !reference[name]!.every(Number.isFinite));
      if (overflown !== undefined) return `${overflown} at batch ${batch} is not finite: its weights are too large for the dtype`;
      // A way that writes nothing would else find its right result where the reference left it.
      await this.run(batch, other, this.first);
      try {
        await this.choose(choices);
      } catch (error) {
        if (isRefusal(error)) return error.message;
        throw error;
      }
      const wrong = differences(reference, await this.run(batch, compared, choices), this.plan.dtype);
      if (wrong !== undefined) return batches.length > 1 ? `${wrong} at batch ${batch}` : wrong;
    }
    return undefined;
  }

  async timeRoutines(choices: Choices, batch: number): Promise<ReadonlyMap<string, number>> {
    const { device, clock, emptyMicroseconds } = this.parts;
    const spans = await replay(device, await this.passes(choices, batch), clock);
    const times = new Map<string, number>();
    this.profile(batch).dispatches.forEach(({ routine }, i) => {
      const { begin, end } = spans[i]!;
      // By the wall clock most of a dispatch's time may be the way to the adapter and back.
      const own = clock === "wall" ? Math.max(0, end - begin - emptyMicroseconds) : end - begin;
      times.set(routine, (times.get(routine) ?? 0) + own);
    });
    return times;
  }

  async timeRun(choices: Choices, batch: number): Promise<number> {
    return 1000 * (await timePass(this.parts.device, (await this.passes(choices, batch)).flat()));
  }

  private profile(batch: number): Profile {
    const profile = profileOf(this.plan, batch);
    if (profile === undefined) throw new RangeError(`${this.plan.name} has no profile for batch ${batch}`);
    return profile;
  }

  private choose(choices: Choices): Promise<void> {
    return this.parts.model.choose(choices);
  }

  /** Runs the package and keeps what it launches. */
  private async run(batch: number, input: Float32Array, choices: Choices): Promise<Outputs> {
    const { model, take, subject, signal } = this.parts;
    take();
    const outputs = await model.run(input, { signal });
    const heard = take();
    const planned = launchesOf(this.profile(batch), model.routines);
    expectPlanned(subject.name, heard, planned);
    let next = 0;
    this.profile(batch).dispatches.forEach((dispatch, index) => {
      const count = model.routines.get(dispatch.routine)!.choice.launches.length;
      this.launches.set(keyOf(batch, index, choices[dispatch.routine]!), heard.slice(next, next + count));
      next += count;
    });
    return outputs;
  }

  /** A run as passes, one a dispatch. */
  private async passes(choices: Choices, batch: number): Promise<readonly Pass[]> {
    const { dispatches } = this.profile(batch);
    const known = () => dispatches.map(({ routine }, index) => this.launches.get(keyOf(batch, index, choices[routine]!)));
    if (known().includes(undefined)) {
      await this.choose(choices);
      await this.run(batch, randomInput(inputSize(this.plan, batch), seeds.compared), choices);
    }
    return known().map((pass) => pass!);
  }
}

const keyOf = (batch: number, index: number, name: string): string => `${batch} ${index} ${name}`;

/** A kernel that the driver refuses is one more way that this adapter does not have. */
function isRefusal(error: unknown): error is Error {
  // Of the package's own copy of the runtime, so no class of ours. `input`: its load has found out that the device refuses the kernel.
  return error instanceof Error && "code" in error && (error.code === "validation" || error.code === "input");
}

/** The error that outputs may have: of each value, |error| / (1 + |reference|), and of f16, whose errors add up, of all values by their norms. */
const allowed: Readonly<Record<DType, number>> = { f32: 1e-4, f16: 5e-3 };

/** What is wrong with outputs, held against those that are right; undefined when nothing is. */
export function differences(reference: Outputs, outputs: Outputs, dtype: DType): string | undefined {
  for (const [name, right] of Object.entries(reference)) {
    const values = outputs[name];
    if (values?.length !== right.length) return `${name} has ${values?.length ?? 0} values instead of ${right.length}`;
    const error = dtype === "f32" ? largestError(right, values) : relativeNorm(right, values);
    // What is not a number is not below anything.
    if (!(error <= allowed[dtype])) return `${name} is wrong by ${error.toPrecision(2)}, and ${allowed[dtype]} is allowed`;
  }
  return undefined;
}

function largestError(right: Float32Array, values: Float32Array): number {
  let most = 0;
  for (const [i, value] of values.entries()) {
    const error = Math.abs(value - right[i]!) / (1 + Math.abs(right[i]!));
    if (!(error <= most)) most = error;
    if (Number.isNaN(most)) return most;
  }
  return most;
}

function relativeNorm(right: Float32Array, values: Float32Array): number {
  let [error, norm] = [0, 0];
  for (const [i, value] of values.entries()) {
    error += (value - right[i]!) ** 2;
    norm += right[i]! ** 2;
  }
  return Math.sqrt(error / Math.max(norm, Number.MIN_VALUE));
}
