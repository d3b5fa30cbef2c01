/** transformers' preprocessor_config.json: what its image processors do with a photograph, as a recipe. */
import { z } from "zod";
import { nearest, show, SpecError } from "../spec/errors.js";
import type { PreprocessSpec, Size } from "../spec/types.js";
import { checked } from "./check.js";

/** What transformers does with Pillow behind it: its `PilBackend`, and the classes of 4.x and before. */
interface Processor {
  readonly size: Sides;
  readonly crop?: Sides;
  readonly centerCrop: boolean;
  /** By Pillow's number. */
  readonly resample: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** What a `size` that is one number means: both sides, or the shorter. */
  readonly square: boolean;
  /** How it goes about `size` where it does so in a way of its own. */
  readonly own?: "floats" | "cropPct" | "poolCropPct" | "enlarged" | "multiples";
}

type Sides = { readonly height: number; readonly width: number } | { readonly shortest: number };

const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const clip = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };
const [bilinear, bicubic] = [2, 3];
const both = (side: number): Sides => ({ height: side, width: side });

/** By class, with the defaults of transformers 5. */
const processors: Readonly<Record<string, Processor>> = {
  ViTImageProcessor: { size: both(224), centerCrop: false, resample: bilinear, ...half, square: true },
  DeiTImageProcessor: { size: both(256), crop: both(224), centerCrop: true, resample: bicubic, ...half, square: true },
  CLIPImageProcessor: { size: { shortest: 224 }, crop: both(224), centerCrop: true, resample: bicubic, ...clip, square: false },
  SiglipImageProcessor: { size: both(224), centerCrop: false, resample: bicubic, ...half, square: false },
  BeitImageProcessor: { size: both(224), crop: both(224), centerCrop: false, resample: bicubic, ...half, square: true },
  BitImageProcessor: { size: { shortest: 224 }, crop: both(224), centerCrop: true, resample: bicubic, ...clip, square: false },
  DINOv3ViTImageProcessor: { size: both(224), centerCrop: false, resample: bilinear, ...imagenet, square: true, own: "floats" },
  DPTImageProcessor: { size: both(384), centerCrop: false, resample: bicubic, ...half, square: true, own: "multiples" },
  ConvNextImageProcessor: { size: { shortest: 384 }, centerCrop: false, resample: bicubic, ...half, square: false, own: "cropPct" },
  LevitImageProcessor: { size: { shortest: 224 }, crop: both(224), centerCrop: true, resample: bicubic, ...imagenet, square: false, own: "enlarged" },
  PoolFormerImageProcessor: { size: { shortest: 224 }, crop: both(224), centerCrop: true, resample: bicubic, ...imagenet, square: false, own: "poolCropPct" },
};

/** Classes that make inputs of another kind, with what keeps them out. */
const refused: Readonly<Record<string, string>> = {
  Siglip2ImageProcessor: "gives as many patches as a photograph's aspect asks for; a model here takes images of one size",
  SamImageProcessor: "pads at the right and below for a model of windows, which is not supported",
};

/** The class of a config that names none, by the model's `model_type`. */
const processorOfModel: Readonly<Record<string, string>> = {
  vit: "ViTImageProcessor", vit_mae: "ViTImageProcessor", vit_msn: "ViTImageProcessor", ijepa: "ViTImageProcessor",
  deit: "DeiTImageProcessor",
  clip: "CLIPImageProcessor", clip_vision_model: "CLIPImageProcessor", metaclip_2: "CLIPImageProcessor", aimv2: "CLIPImageProcessor", aimv2_vision_model: "CLIPImageProcessor", mlcd: "CLIPImageProcessor",
  siglip: "SiglipImageProcessor", siglip_vision_model: "SiglipImageProcessor",
  beit: "BeitImageProcessor", "data2vec-vision": "BeitImageProcessor",
  dinov2: "BitImageProcessor", dinov2_with_registers: "BitImageProcessor", pixio: "BitImageProcessor",
  dinov3_vit: "DINOv3ViTImageProcessor",
  dpt: "DPTImageProcessor", depth_anything: "DPTImageProcessor",
};

/** Pillow's numbers of its filters. */
const filters = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"] as const;

const side = z.number().int().min(1).max(16384);
const sides = z.union([
  side,
  z.tuple([side, side]),
  z.strictObject({ height: side, width: side }),
  z.strictObject({ shortest_edge: side }),
]);
const flag = z.boolean().nullish();
const channelValues = z.union([z.number(), z.array(z.number()).min(1)]);

/** The fields that say something about pixels. transformers passes over all others, and so does this. Null means the default of the class. */
const configSchema = z.looseObject({
  image_processor_type: z.string().nullish(),
  feature_extractor_type: z.string().nullish(),
  do_resize: flag,
  size: z.unknown().optional(),
  default_to_square: flag,
  resample: z.union([z.number().int().min(0).max(5), z.enum(filters)]).nullish(),
  do_center_crop: flag,
  crop_size: z.unknown().optional(),
  crop_pct: z.number().positive().max(1).nullish(),
  do_rescale: flag,
  rescale_factor: z.number().positive().nullish(),
  do_normalize: flag,
  image_mean: channelValues.nullish(),
  image_std: channelValues.nullish(),
  do_pad: flag,
  data_format: z.string().nullish(),
  keep_aspect_ratio: flag,
  ensure_multiple_of: side.nullish(),
});

type Config = z.output<typeof configSchema>;

/** What a processor makes of photographs: the size of its tensors, and how it gets there. */
interface Preprocessing {
  readonly image: readonly [height: number, width: number];
  readonly preprocess: PreprocessSpec;
}

/**
 * The recipe of a preprocessor_config.json of transformers, of any version: what its processor does to the pixels of an RGB photograph. The
 * pixels are those of the processor with Pillow behind it (`backend: "pil"`, and all of 4.x that is not "fast"); the one with torchvision
 * behind it rounds differently, so that some pixels are one step of 255 apart. DINOv3's processor, which has no Pillow, computes in floats.
 *
 * @param config the parsed file.
 * @param modelType `model_type` of the model's config.json, for files that name no processor.
 * @throws SpecError for a processor that is not known, or whose tensors are not all of one size; for what a recipe cannot say; and for fields
 *   of the wrong kind.
 */
export function preprocessFrom(config: unknown, modelType?: string): PreprocessSpec {
  return preprocessingOf(config, modelType).preprocess;
}

/**
 * The size of the images that the processor of a preprocessor_config.json makes, which is what the model of it should take: it need not be
 * `image_size` of the model's config.json (DINOv2 is of 518 and is given 224).
 * @throws SpecError as `preprocessFrom` does.
 */
export function imageFrom(config: unknown, modelType?: string): Size {
  const [height, width] = preprocessingOf(config, modelType).image;
  return height === width ? height : [height, width];
}

function preprocessingOf(input: unknown, modelType: string | undefined): Preprocessing {
  const config = checked(configSchema, input, { at: "preprocessor_config", field: "a field of a preprocessor_config.json" });
  const name = processorName(config, modelType);
  const processor = processors[name]!;
  if (config.do_pad === true) refuse("do_pad", "true pads images to a common size, which is not supported; a model here takes images of one size");
  if (config.data_format != null && config.data_format !== "channels_first") refuse("data_format", `${show(config.data_format)} is not supported; it must be "channels_first"`);
  const framing = framingOf(config, name, processor);
  const rescale = config.do_rescale ?? true;
  const normalize = config.do_normalize ?? true;
  const factor = rescale ? (config.rescale_factor ?? 1 / 255) : 1;
  return {
    image: framing.image,
    preprocess: {
      ...framing.preprocess,
      ...(framing.preprocess.resize !== "none" && { interpolation: filterOf(config.resample ?? processor.resample) }),
      ...(processor.own === "floats" && framing.preprocess.resize !== "none" && { rescale: "before" as const }),
      ...(factor !== 1 / 255 && { rescaleFactor: factor }),
      mean: normalize ? (config.image_mean ?? processor.mean) : 0,
      std: normalize ? (config.image_std ?? processor.std) : 1,
    },
  };
}

/** The class that transformers takes: the name of today for those of old, the Pillow one for the fast. */
function processorName(config: Config, modelType: string | undefined): string {
  const field = config.image_processor_type != null ? "image_processor_type" : "feature_extractor_type";
  const written = config.image_processor_type ?? config.feature_extractor_type ?? undefined;
  if (written === undefined) {
    if (modelType !== undefined && Object.hasOwn(processorOfModel, modelType)) return processorOfModel[modelType]!;
    return refuse("image_processor_type", `is missing, and ${modelType === undefined ? "no model_type is given that it would follow from" : `the processor of model_type ${show(modelType)} is not known`}; known are ${Object.keys(processors).join(", ")}`);
  }
  const name = written.replace(/FeatureExtractor$/, "ImageProcessor").replace(/(Fast|Pil)$/, "");
  if (Object.hasOwn(processors, name)) return name;
  if (Object.hasOwn(refused, name)) return refuse(field, `${show(written)} ${refused[name]}`);
  const near = nearest(name, Object.keys(processors));
  return refuse(field, `${show(written)} is not a processor that is known${near === undefined ? "" : `; did you mean ${show(near)}?`} Known are ${Object.keys(processors).join(", ")}`);
}

/** What is resized and cropped, and the size that comes of it. */
function framingOf(config: Config, name: string, processor: Processor): Preprocessing {
  const size = sidesOf(config, "size", config.default_to_square ?? processor.square) ?? processor.size;
  const crop = (config.do_center_crop ?? processor.centerCrop) ? cropOf(config, name, processor) : undefined;
  if (config.do_resize === false) {
    if (crop) refuse("do_resize", "false is not supported with do_center_crop: the crop would be of photographs as they come; set do_resize to true");
    if ("shortest" in size) refuse("do_resize", "false leaves photographs of every size as they are, and size names no height and width; a model here takes images of one size");
    return { image: [size.height, size.width], preprocess: { resize: "none" } };
  }
  const { to, crop: inner } = resizedOf(config, size, processor);
  if (inner && crop && (crop[0] !== inner[0] || crop[1] !== inner[1])) refuse("do_center_crop", `a crop to ${crop.join(" x ")} after one to ${inner.join(" x ")} is not supported; leave it out`);
  const image = inner ?? crop ?? ("shortest" in to ? undefined : extent(to));
  if (image === undefined) {
    return refuse("size", `a shortest_edge of ${extent(to)[0]} without do_center_crop leaves the other side as the photograph has it; a model here takes images of one size`);
  }
  if ("shortest" in to) return { image, preprocess: { crop: "center", resize: to.shortest, cropOffset: "floor" } };
  const resize = to.height === to.width ? to.height : ([to.height, to.width] as const);
  const cropped = image[0] !== to.height || image[1] !== to.width;
  return { image, preprocess: { crop: "squash", resize, ...(cropped && { cropOffset: "floor" as const }) } };
}

/** The size before the crop, and the crop that a processor makes as it resizes. */
function resizedOf(config: Config, size: Sides, { own }: Processor): { readonly to: Sides; readonly crop?: readonly [number, number] } {
  switch (own) {
    case "cropPct": {
      if (!("shortest" in size)) return refuse("size", "must be a number or { shortest_edge } for this processor");
      const { shortest } = size;
      // From 384 on it squashes.
      if (shortest >= 384) return { to: both(shortest) };
      return { to: { shortest: Math.trunc(shortest / (config.crop_pct ?? 224 / 256)) }, crop: [shortest, shortest] };
    }
    case "poolCropPct": {
      const share = config.crop_pct ?? 0.9;
      if ("shortest" in size) return { to: { shortest: Math.trunc(size.shortest / share) } };
      const [height, width] = [Math.trunc(size.height / share), Math.trunc(size.width / share)];
      return { to: height === width && size.height === size.width ? { shortest: height } : { height, width } };
    }
    case "enlarged":
      return { to: "shortest" in size ? { shortest: Math.trunc((256 / 224) * size.shortest) } : size };
    case "multiples": {
      const multiple = config.ensure_multiple_of ?? 1;
      if ("shortest" in size) return refuse("size", "must be a number or { height, width } for this processor");
      if (config.keep_aspect_ratio === true) return refuse("keep_aspect_ratio", "true makes images of other sizes of photographs of other shapes; a model here takes images of one size");
      if (size.height % multiple !== 0 || size.width % multiple !== 0) return refuse("ensure_multiple_of", `${multiple} does not divide the size ${size.height} x ${size.width}; give a size that it divides`);
      return { to: size };
    }
    default:
      return { to: size };
  }
}

function cropOf(config: Config, name: string, { crop }: Processor): readonly [number, number] {
  const size = sidesOf(config, "crop_size", true) ?? crop;
  if (size === undefined) return refuse("crop_size", `is missing, and ${name} has no default for it; give { height, width }`);
  if ("shortest" in size) return refuse("crop_size", "must have a height and a width, not a shortest_edge");
  return extent(size);
}

const extent = (of: Sides): readonly [number, number] => ("shortest" in of ? [of.shortest, of.shortest] : [of.height, of.width]);

/** A size in one of the ways in which files have it. */
function sidesOf(config: Config, field: "size" | "crop_size", square: boolean): Sides | undefined {
  if (config[field] == null) return undefined;
  const { data: size } = sides.safeParse(config[field]);
  if (size === undefined) return refuse(field, `${show(config[field])} is not a size that is supported; write a number, [height, width], { height, width } or { shortest_edge }, of whole numbers`);
  if (typeof size === "number") return square ? both(size) : { shortest: size };
  if ("length" in size) return { height: size[0], width: size[1] };
  return "shortest_edge" in size ? { shortest: size.shortest_edge } : size;
}

const filterOf = (resample: number | (typeof filters)[number]): (typeof filters)[number] => (typeof resample === "number" ? filters[resample]! : resample);

function refuse(field: string, message: string): never {
  throw new SpecError([{ field: `preprocessor_config.${field}`, message }]);
}
