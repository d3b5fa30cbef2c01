/** The shape of what `vitc list` prints with `--json`. */
import { z } from "zod";

const side = z.number().int().min(1);

export const listShape = z.strictObject({
  timm: z.array(z.strictObject({
    name: z.string().describe("As in timm; compile it as timm:NAME."),
    params: z.number().int().describe("Parameters."),
    gmacs: z.number().describe("Multiply-adds of one image, in 1e9."),
    tags: z.array(z.strictObject({ tag: z.string().describe("Compile these weights as timm:NAME.TAG."), classes: z.number().int().min(0).describe("Classes of their head; 0 without one.") })).readonly().describe("Its weights, the default ones first."),
    image: z.union([side, z.tuple([side, side]).readonly()]).describe("Image size in pixels of its default weights: one number, or height and width."),
  })).readonly(),
  transformers: z.array(z.string()).readonly().describe("The model_types whose config.json can be compiled."),
});
