/** Runs that take turns, so that whatever else the machine does meets all who race. */

export interface Contestant {
  readonly name: string;
  /** One run. Returns its milliseconds; what it throws puts it out of the race. */
  run(): Promise<number>;
}

export interface Lengths {
  /** Runs of each, whatever they take. */
  readonly fewest: number;
  readonly most: number;
  /** Between the two: until its runs have taken this long together. */
  readonly seconds: number;
}

export interface Timed {
  /** Milliseconds of each run, in order. */
  readonly samples: readonly number[];
  /** Why it is out of the race. */
  readonly failure?: string;
}

/**
 * Runs everyone once a round. A slow one stops after `fewest` rounds, quick ones go on until they have had their `seconds`. Each round begins
 * with another one, so that none always runs after the same.
 * @param onRun is called before each run.
 */
export async function takeTurns(contestants: readonly Contestant[], { fewest, most, seconds }: Lengths, onRun: (name: string, round: number) => void = () => {}): Promise<Map<string, Timed>> {
  const runs = contestants.map((contestant) => ({ contestant, samples: [] as number[], spent: 0, failure: undefined as string | undefined }));
  const wantsMore = ({ samples, spent, failure }: (typeof runs)[number]): boolean => failure === undefined && (samples.length < fewest || (samples.length < most && spent < seconds * 1000));
  for (let round = 0; runs.some(wantsMore); round++) {
    for (let i = 0; i < runs.length; i++) {
      const run = runs[(round + i) % runs.length]!;
      if (!wantsMore(run)) continue;
      onRun(run.contestant.name, round);
      try {
        const milliseconds = await run.contestant.run();
        run.samples.push(milliseconds);
        run.spent += milliseconds;
      } catch (error) {
        run.failure = error instanceof Error ? error.message : String(error);
      }
    }
  }
  return new Map(runs.map(({ contestant, samples, failure }) => [contestant.name, { samples, ...(failure !== undefined && { failure }) }]));
}
