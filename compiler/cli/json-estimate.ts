/** The shape of what `vitc estimate` prints with `--json`. */
import { z } from "zod";

const time = z.number().min(0);
const megabytes = z.number().min(0);

/** `vitc estimate PACKAGE --json`. */
export const estimateShape = z.strictObject({
  vitc: z.string().describe("vitc's version."),
  package: z.string().describe("Its folder, as it was given."),
  name: z.string().describe("The model's."),
  fingerprint: z.string().describe("Of the plan."),
  dtype: z.enum(["f32", "f16"]).describe("How matrices would be stored here."),
  batch: z.number().int().min(1).describe("Images of a run."),
  adapter: z.strictObject({
    name: z.string().describe("As the driver calls it."),
    software: z.boolean().describe("Whether kernels run on the CPU."),
  }),
  milliseconds: time.describe("Of a run, from values in memory to outputs in memory."),
  low: time.describe("Lower end of the band in which it is expected to lie."),
  high: time.describe("Upper end of it."),
  imagesPerSecond: time,
  megabytes: z.strictObject({
    download: z.strictObject({ f32: megabytes, f16: megabytes }).describe("The weight file, if its tensors are stored so."),
    gpu: megabytes.describe("GPU memory that the loaded model holds."),
  }).describe("1e6 bytes."),
  verdict: z.enum(["fast", "ok", "slow"]),
  reason: z.string().describe("The verdict's."),
});

export type EstimateReport = z.infer<typeof estimateShape>;
