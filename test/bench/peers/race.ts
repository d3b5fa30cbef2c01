/** A race of one model: every runtime loads it, its output is compared, and only those that are right take turns. */
import { worstError } from "../../tools/fixtures.js";
import type { Job, Ran } from "./runtime.js";
import type { Runtime } from "./runtimes.js";
import type { Outcome } from "./table.js";
import { takeTurns, type Lengths } from "./turns.js";

/** A runtime in its process: `PeerProcess`, or a test's stand-in. */
export interface Peer {
  open(job: Job, seconds: number): Promise<{ readonly version: string; readonly adapter: string; readonly loadMilliseconds: number }>;
  run(seconds: number): Promise<Ran & { readonly idleShare: number }>;
  end(): Promise<void>;
}

export interface RaceOptions {
  readonly runtimes: readonly Runtime[];
  /** Without `variant`, which is the runtime's. */
  readonly job: Omit<Job, "variant">;
  readonly start: (runtime: Runtime) => Peer;
  /** Names of the runtimes that may say what is right, best first; whoever answers first if none of them does. */
  readonly references: readonly string[];
  /** The largest |output - reference| / (1 + |reference|) that is right. */
  readonly tolerance: number;
  readonly lengths: Lengths;
  /** Seconds for a load, and for a run. */
  readonly timeout: number;
  readonly onProgress: (text: string) => void;
}

/** A process that uses more of a core than this while it should be idle slows the others down. */
const idleShareAllowed = 0.05;

interface Entrant {
  readonly runtime: Runtime;
  readonly peer: Peer;
  outcome: Outcome;
  output?: Float32Array;
  idleShare: number;
}

/** Never throws for what a runtime does: that is its outcome. */
export async function race(options: RaceOptions): Promise<{ readonly outcomes: readonly Outcome[]; readonly reference: string | undefined }> {
  const { runtimes, references, tolerance, lengths, timeout, onProgress } = options;
  const entrants: Entrant[] = [];
  try {
    for (const runtime of runtimes) entrants.push(await enter(runtime, options));

    const reference = [...references, ...runtimes.map(({ name }) => name)].map((name) => entrants.find(({ runtime }) => runtime.name === name)).find((entrant) => entrant?.output !== undefined);
    const compare = (entrant: Entrant, output: Float32Array): void => {
      const error = reference?.output === undefined || output.length === 0 ? Infinity : worstError(output, reference.output);
      entrant.outcome = { ...entrant.outcome, error: Math.max(error, entrant.outcome.error ?? 0) };
      if (!(error <= tolerance)) throw new Error(wrong(error, output, reference));
    };
    for (const entrant of entrants) {
      const { output } = entrant;
      if (output !== undefined) await attempt(entrant, () => compare(entrant, output));
    }

    const racing = entrants.filter(({ outcome }) => !outcome.failed);
    const times = await takeTurns(
      racing.map((entrant) => ({
        name: entrant.runtime.name,
        async run() {
          const { milliseconds, output, idleShare } = await entrant.peer.run(timeout);
          entrant.idleShare = idleShare;
          // Some runtimes are right only once.
          compare(entrant, output);
          return milliseconds;
        },
      })),
      lengths,
      (name, round) => onProgress(`round ${round + 1}: ${name}`),
    );
    for (const entrant of racing) {
      const { samples = [], failure } = times.get(entrant.runtime.name) ?? {};
      entrant.outcome = { ...entrant.outcome, samples };
      if (failure !== undefined) fail(entrant, `after ${samples.length} runs: ${failure}`);
      else if (entrant.idleShare > idleShareAllowed) note(entrant, `used ${Math.round(100 * entrant.idleShare)} % of a core while others ran`);
    }
    return { outcomes: entrants.map(({ outcome }) => outcome), reference: reference?.runtime.title };
  } finally {
    await Promise.all(entrants.map(({ peer }) => peer.end()));
  }
}

/** Loads a runtime and runs it once. */
async function enter(runtime: Runtime, { job, start, timeout, onProgress }: RaceOptions): Promise<Entrant> {
  onProgress(`loading ${runtime.name}`);
  const entrant: Entrant = { runtime, peer: start(runtime), outcome: { samples: [], notes: [], failed: false }, idleShare: 0 };
  await attempt(entrant, async () => {
    const { version, adapter, loadMilliseconds } = await entrant.peer.open({ ...job, variant: runtime.variant ?? {} }, timeout);
    entrant.outcome = { ...entrant.outcome, version, adapter, load: loadMilliseconds };
    const { milliseconds, output } = await entrant.peer.run(timeout);
    entrant.outcome = { ...entrant.outcome, first: milliseconds };
    entrant.output = output;
  });
  return entrant;
}

/** Puts a runtime out of the race if `work` throws, and ends its process at once. */
async function attempt(entrant: Entrant, work: () => Promise<void> | void): Promise<void> {
  try {
    await work();
  } catch (error) {
    fail(entrant, error instanceof Error ? error.message : String(error));
    await entrant.peer.end();
  }
}

function fail(entrant: Entrant, reason: string): void {
  note(entrant, `not timed: ${reason}`);
  entrant.outcome = { ...entrant.outcome, failed: true };
}

function note(entrant: Entrant, text: string): void {
  entrant.outcome = { ...entrant.outcome, notes: [...entrant.outcome.notes, text] };
}

function wrong(error: number, output: Float32Array, reference: Entrant | undefined): string {
  const expected = reference?.output?.length ?? 0;
  if (output.length !== expected) return `its output has ${output.length} values, not ${expected}`;
  return `its output is wrong: an error of ${error.toExponential(1)} against ${reference?.runtime.title ?? "nobody"}`;
}
