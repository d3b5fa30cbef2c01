/** The shapes of what `vitc tune` prints with `--json`, and of the tables that it writes. */
import { z } from "zod";

const count = z.number().int().min(0);
const microseconds = z.number().min(0);
const interval = z.strictObject({ low: z.number(), high: z.number() });

/** What `vitc tune --out` writes and `vitc compile --tuning` reads: an array, which `load` takes as `tuned` too. */
export const tuningTablesShape = z.array(z.strictObject({
  adapter: z.string().describe("The adapter's key: vendor, architecture, device and description."),
  choices: z.record(z.string(), z.string()).readonly().describe("The name of the best way by routine id."),
})).readonly();

/** `vitc tune PACKAGE --json`. */
export const tuneShape = z.strictObject({
  vitc: z.string().describe("vitc's version."),
  package: z.string().describe("Its folder, as it was given."),
  name: z.string().describe("The model's."),
  fingerprint: z.string().describe("Of the plan."),
  dtype: z.enum(["f32", "f16"]).describe("How matrices are stored."),
  weights: z.string().describe("The weight file or URL, or how random ones were made."),
  adapter: z.strictObject({
    name: z.string().describe("As the driver calls it."),
    software: z.boolean().describe("Whether kernels run on the CPU."),
    key: z.string().describe("By which tables name it."),
    target: z.string().describe("Its kind, in the cost model."),
  }),
  notices: z.array(z.string()),
  clock: z.enum(["timestamps", "wall"]).describe("`timestamps`: a way is judged by the time of its routine inside of a run. `wall`: by the time of the run."),
  seconds: z.number().min(0).describe("How long it took, without loading."),
  budgetSeconds: z.number().positive(),
  outOfTime: z.boolean().describe("Whether the budget was spent before all was measured."),
  routines: z.array(z.strictObject({
    id: z.string(),
    batches: z.array(count).readonly().describe("Batch sizes whose runs have it."),
    microseconds: microseconds.describe("In a run of the first of them, untuned."),
    share: z.number().min(0).describe("Of that run."),
    untuned: z.string().describe("The way that is taken without this measurement."),
    chosen: z.string().describe("The way to take."),
    measured: z.boolean().describe("Whether its ways were compared."),
    alternatives: z.array(z.strictObject({
      name: z.string(),
      verdict: z.enum(["switched", "slower", "too little", "unclear", "wrong", "unmeasured"]).describe("`too little`: faster by less than 5 % of the routine's time. `unclear`: within the noise. `wrong`: its outputs differ, and it is never taken."),
      ratio: z.number().nullable().describe("Its time over that of the untuned way."),
      interval: interval.nullable().describe("95 % interval of the ratio, by a block bootstrap; null where a few samples settled it."),
      reason: z.string(),
    })).readonly(),
  })).describe("Those that take most of a run first."),
  batches: z.array(z.strictObject({
    batch: count,
    untuned: microseconds.describe("Of a run, median."),
    tuned: microseconds,
    ratio: z.number().min(0),
    interval,
    kept: z.boolean().describe("Whether the tuned run is faster; if not, its routines stay as they were."),
  })).readonly().describe("Batch sizes of which something was switched, tuned and untuned in turns."),
  combined: z.string().nullable().describe("What is wrong with the outputs of all switches together; null when nothing is. If anything is, all stays as it was."),
  choices: z.record(z.string(), z.string()).readonly().describe("What the table holds: the ways to take, by routine; routines that were not measured go by cost."),
  file: z.string().nullable().describe("The file that the table was written to, absolute; null when none was."),
});

export type TuneReport = z.infer<typeof tuneShape>;
