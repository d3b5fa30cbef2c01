/** The shape of what `vitc run` prints with `--json`. */
import { z } from "zod";

const count = z.number().int().min(0);

/** What decided how routines are done. */
export const decidedShape = z.strictObject({
  tuned: count.describe("By a measurement on this adapter."),
  cost: count.describe("By the cost model."),
  only: count.describe("There is one way alone that this adapter can run."),
}).describe("How many routines are done in a way that was decided so.");

const guess = z.strictObject({
  class: count.describe("Index of the logit."),
  label: z.string().describe("The class's name, or its index where the spec has no labels."),
  probability: z.number().min(0).max(1).describe("Softmax over all classes."),
  logit: z.number(),
});

const result = z.strictObject({
  input: z.string().describe("The file as it was given; `file[i]` for image i of a safetensors file."),
  top: z.array(guess).readonly().optional().describe("The most probable classes, best first; absent for a model that returns features."),
  features: z.strictObject({
    size: count.describe("How many there are."),
    norm: z.number().min(0).describe("Euclidean."),
    first: z.array(z.number()).readonly().describe("The first few; --output has all."),
  }).optional().describe("Of a model without classes."),
});

/** An image that `--skip-broken` left out. */
export const skippedShape = z.strictObject({ input: z.string().describe("The image as it was given."), error: z.string().describe("Why it cannot be read.") });

/** `vitc run PACKAGE --json`. */
export const runShape = z.strictObject({
  name: z.string().describe("The model's."),
  package: z.string().describe("Its folder, absolute."),
  weights: z.string().describe("The weight file or URL."),
  adapter: z.strictObject({
    name: z.string().describe("As the driver calls it."),
    software: z.boolean().describe("Whether kernels ran on the CPU."),
  }),
  dtype: z.enum(["f32", "f16"]).describe("How matrices were stored."),
  robust: z.boolean().describe("Whether the driver was asked to check every index of a kernel."),
  decided: decidedShape,
  notices: z.array(z.string()).readonly().describe("What the runtime wants a user to know: a software adapter, ignored tensors."),
  loadSeconds: z.number().min(0).describe("For the device, the kernels and the weights."),
  runSeconds: z.number().min(0).describe("For all images, from pixels or tensors to outputs; reading the files is not counted."),
  results: z.array(result).readonly().describe("One an image that was run, in the order given."),
  skipped: z.array(skippedShape).readonly().describe("Images that --skip-broken left out."),
  output: z.string().optional().describe("The safetensors file that was written, absolute."),
});

export type RunReport = z.infer<typeof runShape>;
export type RunResult = RunReport["results"][number];
