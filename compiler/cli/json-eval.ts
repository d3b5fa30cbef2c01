/** The shape of what `vitc eval` prints with `--json`. */
import { z } from "zod";
import { decidedShape, skippedShape } from "./json-run.js";

const count = z.number().int().min(0);
const share = z.number().min(0).max(1);
const labelled = (what: string) => z.strictObject({ class: count.describe("Its index."), label: z.string().describe("Its name, or its index where the spec has no labels.") }).describe(what);

/** `vitc eval PACKAGE --json`. */
export const evalShape = z.strictObject({
  name: z.string().describe("The model's."),
  package: z.string().describe("Its folder, absolute."),
  weights: z.string().describe("The weight file or URL."),
  data: z.string().describe("The file or folder of labels, absolute."),
  adapter: z.strictObject({
    name: z.string().describe("As the driver calls it."),
    software: z.boolean().describe("Whether kernels ran on the CPU."),
  }),
  dtype: z.enum(["f32", "f16"]).describe("How matrices were stored."),
  robust: z.boolean().describe("Whether the driver was asked to check every index of a kernel."),
  decided: decidedShape,
  notices: z.array(z.string()).readonly().describe("What a user should know: a software adapter, ignored tensors, files that were left out."),
  images: count.describe("That were run."),
  classes: count.describe("That the model knows."),
  top1: share.describe("Share of the images whose label is the most probable class."),
  topK: z.strictObject({ k: count.describe("As many as asked for, or all classes."), accuracy: share.describe("Share of the images whose label is among the k most probable classes.") }),
  meanConfidence: share.describe("Mean probability of the most probable class."),
  loadSeconds: z.number().min(0).describe("For the device, the kernels and the weights."),
  runSeconds: z.number().min(0).describe("For all images, from pixels to outputs; reading the files is not counted."),
  totalSeconds: z.number().min(0).describe("For all images, with reading the files."),
  imagesPerSecond: z.number().min(0).describe("By `runSeconds`."),
  perClass: z.array(labelled("A class that a label names.").extend({ images: count, right: count, accuracy: share })).readonly().describe("The worst first."),
  confusions: z.array(z.strictObject({ label: labelled("What it is."), predicted: labelled("What it was taken for."), count })).readonly().describe("The confusion matrix: every pair that occurs, right ones too, the most frequent first."),
  predictions: z.array(z.strictObject({
    input: z.string().describe("The image as the data names it."),
    label: labelled("What it is."),
    predicted: labelled("The most probable class."),
    probability: share.describe("Of the predicted class: softmax over all."),
    labelProbability: share.describe("Of the label's class."),
    rank: z.number().int().min(1).describe("The place of the label's class among all: 1 is the most probable."),
  })).readonly().describe("One an image that was run, in the order of the data."),
  skipped: z.array(skippedShape).readonly().describe("Images that --skip-broken left out; no figure counts them."),
  output: z.string().optional().describe("The CSV file that was written, absolute."),
});

export type EvalReport = z.infer<typeof evalShape>;
