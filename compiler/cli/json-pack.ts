/** The shape of what `vitc pack` prints with `--json`. */
import { z } from "zod";

const count = z.number().int().min(0);

/** `vitc pack PACKAGE --json`. */
export const packShape = z.strictObject({
  name: z.string().describe("The model's."),
  package: z.string().describe("Its folder, absolute."),
  weights: z.string().describe("The weight file or URL that was packed."),
  file: z.string().describe("The manifest, which load takes as weights; absolute."),
  bytes: count.describe("Of all shards."),
  variants: z.array(z.strictObject({
    dtype: z.enum(["f32", "f16"]).describe("How matrices are stored."),
    fingerprint: z.string().describe("Of the plan."),
    recipe: z.string().describe("Hash of the recipe: packages whose recipes are equal take the same shards."),
    shards: z.array(z.strictObject({
      file: z.string().describe("Beside the manifest."),
      buffer: count.describe("The weight buffer that it is a part of."),
      offset: count.describe("Of its first byte in the buffer."),
      bytes: count,
      sha256: z.string(),
    })).readonly(),
  })).readonly().describe("One a dtype, in the package's order of preference."),
  reference: z.strictObject({ output: z.string().describe("The output that self-tests compare."), by: z.string().describe("What computed it: f64, or f32 on an adapter.") }).nullable().describe("What a whole run should give; null where there is none."),
  ignored: z.array(z.string()).readonly().describe("Tensors of the weight file that the model does not use."),
  notices: z.array(z.string()).readonly().describe("What a user should know: a dtype that the weights do not fit."),
  removed: z.array(z.string()).readonly().describe("Shards of the manifest before that this one does not name, relative to it."),
});

export type PackReport = z.infer<typeof packShape>;
