import { show, SpecError } from "../../spec/errors.js";
import type { PreprocessSpec, Size, ViTSpec } from "../../spec/types.js";
import { counts } from "./counts.js";
import { beit, eva } from "./eva.js";
import { timmModel, timmNames, timmTagsOf, timmWeights, type TimmModel, type TimmWeights } from "./models.js";
import { visionTransformer } from "./vision-transformer.js";
import { filled, type ModelSpec } from "./words.js";

export interface TimmOptions {
  /** Arguments of the model's constructor by timm's names, in place of those of its entry point. Norms may be { name, eps }. */
  readonly modelArgs?: Readonly<Record<string, unknown>>;
  /** Classes of the head; 0 for none. Default: those of the model's default weights. */
  readonly numClasses?: number;
  /** Image size in pixels: one number, or [height, width]. Default: that of the model's default weights. */
  readonly image?: Size;
}

/**
 * The spec of a model that timm knows by name, such as "vit_base_patch16_224", or with the tag of some of its weights,
 * "vit_base_patch16_224.augreg_in21k". It has the classes of those weights, or without a tag of the default ones, and prepares photographs as
 * they need them.
 *
 * @throws SpecError for an unknown name or tag, with the nearest known one; for arguments that timm does not know; for what timm can build
 *   and a spec cannot say.
 */
export function timmSpec(name: string, { modelArgs, numClasses, image }: TimmOptions = {}): ViTSpec {
  const [architecture, weights] = weightsOf(name);
  const given = { ...argumentsOf(weights), ...modelArgs, ...filled({ num_classes: numClasses, img_size: image }) };
  const spec = resampledAs(architecture, modelSpec(timmModel(architecture, given)));
  // Default weights are what the bare name means.
  return { name: weights.tag === timmWeights(architecture).tag ? architecture : name, ...spec, preprocess: preprocessOf(weights, spec) };
}

/**
 * The class and arguments that timm's entry point of this name calls, defaults filled in.
 * @throws SpecError as `timmSpec`.
 */
export function timmArguments(name: string, { modelArgs, numClasses, image }: TimmOptions = {}): TimmModel {
  const [architecture, weights] = weightsOf(name);
  return timmModel(architecture, { ...argumentsOf(weights), ...modelArgs, ...filled({ num_classes: numClasses, img_size: image }) });
}

function weightsOf(name: string): readonly [architecture: string, weights: TimmWeights] {
  const dot = name.indexOf(".");
  return dot < 0 ? [name, timmWeights(name)] : [name.slice(0, dot), timmWeights(name.slice(0, dot), name.slice(dot + 1))];
}

/** What timm passes on from weights to the constructor. */
export const argumentsOf = ({ input_size: [in_chans, ...img_size], num_classes }: Pick<TimmWeights, "input_size" | "num_classes">): Readonly<Record<string, unknown>> => ({ in_chans, img_size, num_classes });

/** @throws SpecError for what timm can build and a spec cannot say. */
export function modelSpec(model: TimmModel): ModelSpec {
  switch (model.class) {
    case "VisionTransformer":
    case "VisionTransformerDistilled":
      return visionTransformer(model.args, model.class === "VisionTransformerDistilled");
    case "Eva":
      return eva(model.args);
    case "Beit":
      return beit(model.args);
    default:
      return model satisfies never;
  }
}

/**
 * With the rules by which timm loads a model's weights at other sizes, where they are not a spec's defaults: those of FlexiViT were trained with
 * resizes that are bilinear without antialiasing. timm, too, goes by the name (`_create_vision_transformer`).
 */
export function resampledAs(architecture: string, spec: ModelSpec): ModelSpec {
  if (!architecture.includes("flexi")) return spec;
  const rule = { filter: "bilinear", antialias: false } as const;
  return { ...spec, patchResample: rule, ...((spec.position?.kind ?? "learned") === "learned" && { position: { ...spec.position, resample: rule } }) };
}

const crops = ["center", "squash", "border"] as const satisfies readonly PreprocessSpec["crop"][];
const filters = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] as const satisfies readonly PreprocessSpec["interpolation"][];

/**
 * How timm prepares photographs for weights and a model of this image and these channels.
 * @throws SpecError for a crop or filter that is not supported.
 */
export function preprocessOf({ mean, std, crop_pct, crop_mode, interpolation }: Omit<TimmWeights, "tag" | "input_size" | "num_classes">, { image, channels = 3 }: Pick<ModelSpec, "image" | "channels">): PreprocessSpec {
  const crop = oneOf(crops, crop_mode, "crop_mode");
  // `random` is for training; predictions take timm's default.
  const named = oneOf(filters, interpolation === "random" ? "bicubic" : interpolation, "interpolation");
  const [height, width] = (typeof image === "number" ? [image, image] : image).map((side) => Math.floor(side / crop_pct));
  // timm resizes to a size that is not square, and then cropped, with bilinear, whatever the weights say.
  const filter = crop === "center" && height !== width ? "bilinear" : named;
  return {
    ...filled({ crop: crop === "center" ? undefined : crop, interpolation: filter === "bicubic" ? undefined : filter }),
    cropPct: crop_pct,
    mean: perChannel(mean, channels),
    std: perChannel(std, channels),
  };
}

function oneOf<T extends string>(allowed: readonly T[], value: string, field: string): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw new SpecError([{ field: `pretrained_cfg.${field}`, message: `${show(value)} is not one of ${allowed.map(show).join(", ")}` }]);
  return found;
}

/** One number where all channels have the same. Values for other channels than the model's are averaged, as timm's loader does. */
function perChannel(values: readonly number[], channels: number): number | readonly number[] {
  if (values.every((value) => value === values[0])) return values[0]!;
  return values.length === channels ? values : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A model of the list: parameters, billions of multiply-adds for one image, and that image's size in pixels. */
export interface TimmEntry {
  readonly name: string;
  readonly params: number;
  readonly gmacs: number;
  readonly image: Size;
  /** Its weights, the default ones first; the other fields are theirs. */
  readonly tags: readonly TimmTag[];
}

/** Weights of a model as timm describes them. */
export type TimmTag = Pick<TimmWeights, "tag" | "num_classes" | "crop_pct" | "crop_mode" | "interpolation" | "mean" | "std">;

/** Every plain ViT of timm, sorted by name, at the image size and with the classes of its default weights. */
export function listTimm(): readonly TimmEntry[] {
  return timmNames.map((name) => {
    const count = counts[name];
    if (!count) throw new Error(`no counts of ${name}`);
    const weights = timmTagsOf(name).map((tag) => timmWeights(name, tag));
    const tags = weights.map(({ tag, num_classes, crop_pct, crop_mode, interpolation, mean, std }) => ({ tag, num_classes, crop_pct, crop_mode, interpolation, mean, std }));
    return { name, params: count[0], gmacs: count[1], image: weights[0]!.input_size[1], tags };
  });
}
