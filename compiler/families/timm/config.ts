import { z } from "zod";
import { show, SpecError } from "../../spec/errors.js";
import type { ViTSpec } from "../../spec/types.js";
import { checked } from "../check.js";
import { timmModel, timmWeights } from "./models.js";
import { argumentsOf, modelSpec, preprocessOf, resampledAs } from "./spec.js";

/** The fields of a config.json that say something about the model; timm writes others, which are let through. */

const channelValues = z.array(z.number()).min(1);

/** What timm calls a pretrained_cfg, with its defaults: a field that a file leaves out is not that of the architecture's own weights. */
const weightsSchema = z.looseObject({
  tag: z.string().nullish(),
  input_size: z.tuple([z.number().int().min(1), z.number().int().min(1), z.number().int().min(1)]).default([3, 224, 224]),
  fixed_input_size: z.boolean().default(false),
  interpolation: z.string().default("bicubic"),
  crop_pct: z.number().positive().default(0.875),
  crop_mode: z.string().default("center"),
  mean: channelValues.default([0.485, 0.456, 0.406]),
  std: channelValues.default([0.229, 0.224, 0.225]),
  num_classes: z.number().int().default(1000),
  label_names: z.array(z.string()).nullish(),
});

export const timmConfigSchema = z.looseObject({
  architecture: z.string(),
  num_classes: z.number().int().optional(),
  global_pool: z.string().nullish(),
  model_args: z.record(z.string(), z.unknown()).nullish(),
  pretrained_cfg: z.looseObject({}).optional(),
  label_names: z.array(z.string()).nullish(),
  labels: z.array(z.string()).nullish(),
});

/**
 * The spec of a model as timm's config.json describes it. It returns the tokens that timm's `forward_features` returns, by that name, besides
 * what timm's model returns: logits, or features of a model without a head.
 *
 * @param config the parsed file: { architecture, num_classes, global_pool, model_args, pretrained_cfg }.
 * @param name of the package. Default: the architecture.
 * @throws SpecError for an unknown architecture, with the nearest known one; for fields of the wrong kind; for arguments that timm does not
 *   know; for what timm can build and a spec cannot say.
 */
export function timmConfigSpec(config: unknown, name?: string): ViTSpec {
  const file = checked(timmConfigSchema, config, { at: "config", field: "a field of timm's config.json" });
  // Old files are one object: what is a pretrained_cfg now, with the architecture in it.
  const weights = checked(weightsSchema, file.pretrained_cfg ?? file, { at: file.pretrained_cfg ? "pretrained_cfg" : "config", field: "a field of a pretrained_cfg" });
  const { architecture, model_args } = file;
  const num_classes = file.num_classes ?? weights.num_classes;
  const given: Record<string, unknown> = {
    ...argumentsOf(weights),
    // Less than 0 is for timm no answer, and its constructors' default is 1000.
    num_classes: num_classes < 0 ? 1000 : num_classes,
    // The pool of the model that was saved. timm itself reads it from model_args alone, which a model built with another pool need not have.
    ...(file.global_pool != null && { global_pool: file.global_pool }),
    ...model_args,
  };
  if (model_args?.img_size === undefined) checkImage(architecture, weights);
  const spec = resampledAs(architecture, modelSpec(timmModel(architecture, given)));
  const labels = file.label_names ?? weights.label_names ?? file.labels ?? [];
  return {
    name: name ?? architecture,
    ...spec,
    ...(labels.length > 0 && spec.classes !== 0 && { labels }),
    outputs: ["tokens"],
    outputNames: { tokens: "forward_features" },
    preprocess: preprocessOf(weights, spec),
  };
}

/** timm builds for the input size of weights only where they say that it is fixed; all plain ViTs' do, and one that does not is ambiguous. */
function checkImage(architecture: string, { fixed_input_size, input_size }: z.output<typeof weightsSchema>): void {
  const own = timmWeights(architecture).input_size;
  if (fixed_input_size || own.every((side, i) => side === input_size[i])) return;
  throw new SpecError([{ field: "pretrained_cfg.fixed_input_size", message: `is not true, so timm does not build for input_size ${show(input_size)}; set it to true, or model_args.img_size to the image's size` }]);
}
