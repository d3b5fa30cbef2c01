/** The shapes of what `vitc sweep` and `vitc sweep merge` print with `--json`. */
import { z } from "zod";

const count = z.number().int().min(0);
const cell = z.union([z.number(), z.string(), z.boolean(), z.null()]);

export const sweepShape = z.strictObject({
  vitc: z.string().describe("Version."),
  sweep: z.string().describe("Its file, as it was given."),
  variants: count.describe("Rows before --where."),
  failed: count.describe("Of these, how many have no numbers; `failed` says why."),
  measured: count.describe("Of these, how many were measured, now or before."),
  notices: z.array(z.string()),
  columns: z.array(z.strictObject({
    name: z.string().describe("In rows, --where, --sort and --pareto."),
    title: z.string(),
    unit: z.string().describe("Empty where there is none."),
    kind: z.enum(["name", "axis", "static", "predicted", "measured", "metric", "mark", "key", "failed"]),
    better: z.enum(["less", "more"]).nullable().describe("Which end is wanted, if one is."),
    about: z.string(),
  })),
  rows: z.array(z.record(z.string(), cell)).describe("One a variant and adapter; null is what is not known."),
});

export const sweepMergeShape = z.strictObject({
  files: z.array(z.string()),
  out: z.string().nullable().describe("The file that was written; null where rows went to stdout."),
  rows: count.describe("One a variant and adapter."),
  duplicates: count.describe("Lines that were measured again."),
  torn: count.describe("Lines that are no rows, and were skipped."),
  adapters: z.array(z.strictObject({ adapter: z.string(), rows: count })),
});
