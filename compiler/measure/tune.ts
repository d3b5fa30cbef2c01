/** Which of a routine's ways is the fastest on an adapter, found by measuring them inside the whole network. */
import { generator, median, medianRatio, type Interval } from "./statistics.js";
import { changeOf, decide, gainOf, percentOf, type TunedAlternative } from "./tune-decision.js";
import { fewestSamples } from "./verdict.js";

/** The name of a way to do a routine, by the routine's id. */
export type Choices = Readonly<Record<string, string>>;

export interface TunableRoutine {
  readonly id: string;
  /** Names of the ways that the adapter can run, the most promising first. */
  readonly usable: readonly string[];
  /** What is taken without a measurement. */
  readonly untuned: string;
  /** Batch sizes whose runs have the routine. */
  readonly batches: readonly number[];
}

/** A network on an adapter whose routines can be done in other ways. Choices name a way for every routine. */
export interface TunableNetwork {
  readonly routines: readonly TunableRoutine[];
  readonly batches: readonly number[];
  /** Whether single routines are timed inside a run. If not, a way is judged by the time of the whole run. */
  readonly timesRoutines: boolean;
  /** What is wrong with the outputs, held against those of every routine's first way; undefined when nothing is. */
  verify(choices: Choices, batches: readonly number[]): Promise<string | undefined>;
  /** Microseconds of each routine in a run; estimates where `timesRoutines` is not so. */
  timeRoutines(choices: Choices, batch: number): Promise<ReadonlyMap<string, number>>;
  /** Microseconds of a run. */
  timeRun(choices: Choices, batch: number): Promise<number>;
}

export interface TuneOptions {
  /** Nothing new is begun after this many seconds. The comparison at the end takes place in any case. */
  readonly seconds: number;
  /** Of the order in which ways take turns. */
  readonly seed: number;
  /** Milliseconds of any clock. Default: `performance.now`. */
  readonly now?: () => number;
  readonly onProgress?: (share: number, detail: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface TunedRoutine {
  readonly id: string;
  readonly batches: readonly number[];
  /** Microseconds in a run of its first batch size, done in the untuned way, and the share of that run. */
  readonly microseconds: number;
  readonly share: number;
  readonly untuned: string;
  readonly chosen: string;
  /** Whether its ways were compared. */
  readonly measured: boolean;
  readonly alternatives: readonly TunedAlternative[];
}

/** Runs of a batch size, tuned and untuned in turns. */
export interface TunedBatch {
  readonly batch: number;
  /** Medians, in microseconds. */
  readonly untuned: number;
  readonly tuned: number;
  readonly ratio: number;
  readonly interval: Interval;
  /** Whether the tuned choices are kept: only if they are faster. */
  readonly kept: boolean;
}

export interface TuneResult {
  /** The most expensive first. */
  readonly routines: readonly TunedRoutine[];
  /** Batch sizes of which something was switched. */
  readonly batches: readonly TunedBatch[];
  /** What to take, for every routine. */
  readonly choices: Choices;
  /** What is wrong with the outputs of all switches together, if anything is: then nothing was switched. */
  readonly combined: string | undefined;
  /** Whether the time was up before all was measured. */
  readonly outOfTime: boolean;
}

/** A routine that takes less of every run cannot change it by what can be measured. */
const leastShare = 0.005;

const surveyRounds = 5;
/** After the first rounds ways that are slower by this share of the routine's time drop out; what is left has more rounds. */
const screening = { first: 2, hopeless: 0.3, rounds: 5, fewestRounds: 3 } as const;
/** Samples of each side, and more while they take less than a second. */
const confirming = { least: 15, most: 61, milliseconds: 1000 } as const;
/** A comparison that would take more of the time than this makes do with fewer samples. */
const comparisonShare = 0.1;

/**
 * Looks for faster ways, the most expensive routine first. Each is first held against the outputs of the first ways, then screened in turns
 * with all others, and the best confirmed by fresh samples in turns with the untuned one. In the end the whole network runs tuned and
 * untuned in turns, and what is not faster stays untuned.
 *
 * @throws Error when the outputs of the untuned choices themselves are wrong, which is a mistake of a kernel; what the network throws; the signal's reason when aborted.
 */
export async function tune(network: TunableNetwork, options: TuneOptions): Promise<TuneResult> {
  const run = new Tuning(network, options);
  const surveyed = await run.survey();
  const routines: TunedRoutine[] = [];
  for (const [i, each] of surveyed.entries()) {
    options.onProgress?.(i / surveyed.length, `${each.routine.id}, ${i + 1} of ${surveyed.length}`);
    routines.push(await run.tuneRoutine(each));
  }
  return run.finish(routines);
}

interface Surveyed {
  readonly routine: TunableRoutine;
  readonly microseconds: number;
  readonly share: number;
}

/** The time is up. */
class OutOfTime extends Error {}

class Tuning {
  private readonly now: () => number;
  private readonly random: () => number;
  private readonly untuned: Choices;
  /** With the switches so far. */
  private current: Record<string, string>;
  private deadline: number;
  /** Samples of each side of a comparison. */
  private least: number = confirming.least;
  private outOfTime = false;

  constructor(
    private readonly network: TunableNetwork,
    private readonly options: TuneOptions,
  ) {
    this.now = options.now ?? (() => performance.now());
    this.random = generator(options.seed);
    this.untuned = Object.fromEntries(network.routines.map(({ id, untuned }) => [id, untuned]));
    this.current = { ...this.untuned };
    this.deadline = this.now() + options.seconds * 1000;
  }

  /** The routines by their share of the run that they matter most in. Keeps time for the comparison at the end. */
  async survey(): Promise<Surveyed[]> {
    const { network, untuned } = this;
    const wrong = await network.verify(untuned, network.batches);
    if (wrong !== undefined) throw new Error(`nothing can be tuned, for the model's outputs are wrong without it: ${wrong}`);
    const times = new Map<number, ReadonlyMap<string, number>>();
    const runs: number[] = [];
    for (const batch of network.batches) {
      const samples: ReadonlyMap<string, number>[] = [];
      for (let i = 0; i < surveyRounds; i++) samples.push(await this.checked(() => network.timeRoutines(untuned, batch)));
      times.set(batch, new Map([...samples[0]!.keys()].map((id) => [id, median(samples.map((sample) => sample.get(id)!))])));
      const began = this.now();
      await this.checked(() => network.timeRun(untuned, batch));
      runs.push(this.now() - began);
    }
    const affordable = Math.floor((comparisonShare * this.options.seconds * 1000) / (2 * Math.max(...runs)));
    this.least = Math.min(confirming.least, Math.max(fewestSamples, affordable));
    this.deadline -= runs.reduce((sum, run) => sum + 2 * this.least * run, 0);
    const shareIn = (id: string, batch: number): number => times.get(batch)!.get(id)! / Math.max(1e-9, [...times.get(batch)!.values()].reduce((sum, time) => sum + time, 0));
    return network.routines
      .map((routine): Surveyed => ({ routine, microseconds: times.get(routine.batches[0]!)!.get(routine.id)!, share: Math.max(...routine.batches.map((batch) => shareIn(routine.id, batch))) }))
      .sort((a, b) => b.share - a.share);
  }

  async tuneRoutine({ routine, microseconds, share }: Surveyed): Promise<TunedRoutine> {
    const { id, batches, usable, untuned } = routine;
    const others = usable.filter((name) => name !== untuned);
    const report = { id, batches, microseconds, share, untuned };
    const all = (verdict: TunedAlternative["verdict"], reason: string) => others.map((name): TunedAlternative => ({ name, verdict, ratio: null, interval: null, reason }));
    if (others.length > 0 && share < leastShare) return { ...report, chosen: untuned, measured: false, alternatives: all("unmeasured", `the routine takes less than ${percentOf(leastShare)} of a run`) };
    try {
      const alternatives = await this.compare(routine, others, microseconds);
      const chosen = alternatives.find(({ verdict }) => verdict === "switched")?.name ?? untuned;
      this.current[id] = chosen;
      return { ...report, chosen, measured: others.length > 0, alternatives };
    } catch (error) {
      if (!(error instanceof OutOfTime)) throw error;
      this.outOfTime = true;
      return { ...report, chosen: untuned, measured: false, alternatives: all("unmeasured", "the time was up") };
    }
  }

  private async compare({ id, batches, untuned }: TunableRoutine, others: readonly string[], microseconds: number): Promise<TunedAlternative[]> {
    const known = new Map<string, TunedAlternative>();
    const samples = new Map<string, number[]>([[untuned, []]]);
    for (const name of others) {
      const wrong = await this.inTime(() => this.network.verify({ ...this.current, [id]: name }, batches));
      if (wrong === undefined) samples.set(name, []);
      else known.set(name, { name, verdict: "wrong", ratio: null, interval: null, reason: wrong });
    }
    // Whatever else runs only ever slows, so of a few samples the least says the most.
    const least = (name: string): number[] => [Math.min(...samples.get(name)!)];
    const ratio = (name: string): number => least(name)[0]! / least(untuned)[0]!;
    const saved = (name: string): number => gainOf({ before: least(untuned), after: least(name), own: this.ownTime(least(untuned), microseconds) });
    const drop = (name: string, reason: string): void => {
      known.set(name, { name, verdict: "slower", ratio: ratio(name), interval: null, reason: `${changeOf(ratio(name))}, ${reason}` });
      samples.delete(name);
    };
    const rounds = this.least < confirming.least ? screening.fewestRounds : screening.rounds;
    for (let round = 0; samples.size > 1 && round < rounds; round++) {
      await this.round([...samples.keys()], (name) => this.sample(id, name, batches), (name, time) => samples.get(name)!.push(time));
      if (round !== screening.first - 1) continue;
      for (const name of [...samples.keys()]) if (name !== untuned && saved(name) < -screening.hopeless) drop(name, `after ${screening.first} runs`);
    }
    const ranked = [...samples.keys()].filter((name) => name !== untuned).sort((a, b) => saved(b) - saved(a));
    const [best, ...rest] = ranked;
    for (const name of rest) drop(name, saved(name) > 0 ? `and ${best!} is faster` : "not faster");
    if (best !== undefined && saved(best) <= 0) drop(best, "not faster");
    else if (best !== undefined) known.set(best, await this.confirm(id, best, { untuned, batches, microseconds }));
    return others.map((name) => known.get(name)!);
  }

  /** Fresh samples of two ways: those that made one look best are the luckiest of many. */
  private async confirm(id: string, name: string, { untuned, batches, microseconds }: { readonly untuned: string; readonly batches: readonly number[]; readonly microseconds: number }): Promise<TunedAlternative> {
    const [before, after]: [number[], number[]] = [[], []];
    await this.pairs([untuned, name], async (way) => this.inTime(() => this.sample(id, way, batches)), (way, time) => (way === name ? after : before).push(time));
    return { name, ...decide({ before, after, own: this.ownTime(before, microseconds) }) };
  }

  /** What the routine itself takes, where samples are of the whole run. */
  private ownTime(untuned: readonly number[], surveyed: number): number {
    return this.network.timesRoutines ? median(untuned) : surveyed;
  }

  /** Microseconds with a routine done in one way. */
  private async sample(id: string, name: string, batches: readonly number[]): Promise<number> {
    const choices = { ...this.current, [id]: name };
    let sum = 0;
    for (const batch of batches) sum += this.network.timesRoutines ? (await this.network.timeRoutines(choices, batch)).get(id)! : await this.network.timeRun(choices, batch);
    return sum;
  }

  /** Each name once, in a random order: whatever else the machine does meets all of them. */
  private async round(names: readonly string[], sample: (name: string) => Promise<number>, add: (name: string, time: number) => void): Promise<void> {
    const order = names.map((name) => ({ name, at: this.random() })).sort((a, b) => a.at - b.at);
    for (const { name } of order) add(name, await this.inTime(() => sample(name)));
  }

  private async pairs(names: readonly [string, string], sample: (name: string) => Promise<number>, add: (name: string, time: number) => void): Promise<void> {
    const began = this.now();
    for (let i = 0; i < confirming.most && (i < this.least || this.now() - began < confirming.milliseconds); i++) {
      const [first, second] = this.random() < 0.5 ? names : ([names[1], names[0]] as const);
      for (const name of [first, second]) add(name, await sample(name));
    }
  }

  async finish(routines: readonly TunedRoutine[]): Promise<TuneResult> {
    const { network, untuned, outOfTime } = this;
    const switched = routines.filter(({ chosen, untuned: before }) => chosen !== before);
    const batches: TunedBatch[] = [];
    const combined = switched.length === 0 ? undefined : await this.checked(() => network.verify(this.current, network.batches));
    if (combined !== undefined) return { routines, batches, choices: untuned, combined, outOfTime };
    for (const batch of network.batches) {
      if (!switched.some((routine) => routine.batches.includes(batch))) continue;
      this.options.onProgress?.(1, `tuned against untuned, batch ${batch}`);
      batches.push(await this.compareRuns(batch));
    }
    // What two batch sizes share is kept if it makes both faster.
    const slow = batches.filter(({ kept }) => !kept).map(({ batch }) => batch);
    const choices = Object.fromEntries(routines.map((routine) => [routine.id, routine.batches.some((batch) => slow.includes(batch)) ? routine.untuned : routine.chosen]));
    return { routines, batches, choices, combined, outOfTime };
  }

  private async compareRuns(batch: number): Promise<TunedBatch> {
    const [before, after]: [number[], number[]] = [[], []];
    await this.pairs(["untuned", "tuned"], (name) => this.checked(() => this.network.timeRun(name === "tuned" ? this.current : this.untuned, batch)), (name, time) => (name === "tuned" ? after : before).push(time));
    const ratio = median(after) / median(before);
    return { batch, untuned: median(before), tuned: median(after), ratio, interval: medianRatio(before, after), kept: ratio < 1 };
  }

  private async checked<T>(work: () => Promise<T>): Promise<T> {
    this.options.signal?.throwIfAborted();
    return work();
  }

  /** @throws OutOfTime when nothing new may be begun. */
  private async inTime<T>(work: () => Promise<T>): Promise<T> {
    if (this.now() >= this.deadline) throw new OutOfTime("the time is up");
    return this.checked(work);
  }
}
