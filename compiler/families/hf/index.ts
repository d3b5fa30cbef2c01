/** transformers' models by their config.json. */
import type { z } from "zod";
import { nearest, show, SpecError } from "../../spec/errors.js";
import { withSizes } from "../../spec/image.js";
import type { PreprocessSpec, Size, ViTSpec } from "../../spec/types.js";
import { checked } from "../check.js";
import { imageFrom, preprocessFrom } from "../preprocess.js";
import { timmConfigSpec } from "../timm/index.js";
import { clipFamily, clipVisionFamily, siglipFamily, siglipVisionFamily } from "./contrastive.js";
import { dinov2Family, dinov2RegistersFamily, dinov3Family } from "./dino.js";
import { beitFamily, deitFamily, ijepaFamily, maeFamily, modelType, msnFamily, vitFamily } from "./vit.js";
import { labelsOf, type BuildOptions, type Built, type Trunk } from "./words.js";

export interface TransformersOptions {
  /**
   * The parsed preprocessor_config.json. If it makes images of another size than the config's, the model takes those, and its positions are
   * resampled as transformers does. Default: what the model's processor does without a file, at the config's size.
   */
  readonly processor?: unknown;
  /** Name of the package. Default: the end of the name that the config remembers, or its model_type, of timm's models the architecture. */
  readonly name?: string | undefined;
  /**
   * Whether a base model such as ViTModel has its pooler. Default: true, as transformers builds it. Files without pooler.* weights were made
   * without it (`add_pooling_layer=False`); the model then returns last_hidden_state alone.
   */
  readonly pooler?: boolean | undefined;
}

/** A model of transformers as a spec. */
export interface TransformersModel {
  readonly spec: ViTSpec;
  /** What a user should know: what is left out, or was not said and is taken for the usual. */
  readonly notes: readonly string[];
}

interface Family {
  readonly build: (config: unknown, options: BuildOptions) => Built;
  /** What forward does with images of another size than the config's: it resamples positions, or does so when it is asked. */
  readonly resizes: "always" | "asked";
}

const families: Readonly<Record<string, Family>> = {
  vit: { build: vitFamily, resizes: "asked" },
  deit: { build: deitFamily, resizes: "asked" },
  dinov2: { build: dinov2Family, resizes: "always" },
  dinov2_with_registers: { build: dinov2RegistersFamily, resizes: "always" },
  dinov3_vit: { build: dinov3Family, resizes: "always" },
  clip_vision_model: { build: clipVisionFamily, resizes: "asked" },
  clip: { build: clipFamily, resizes: "asked" },
  siglip_vision_model: { build: siglipVisionFamily, resizes: "asked" },
  siglip: { build: siglipFamily, resizes: "asked" },
  vit_mae: { build: maeFamily, resizes: "asked" },
  vit_msn: { build: msnFamily, resizes: "asked" },
  ijepa: { build: ijepaFamily, resizes: "asked" },
  beit: { build: beitFamily, resizes: "always" },
};

/** Every model_type that `transformersSpec` takes. */
export const transformersTypes: readonly string[] = [...Object.keys(families), "timm_wrapper"];

/** Model types that no spec can say, by what they are. */
const others: readonly (readonly [what: string, types: readonly string[]])[] = [
  ["a hierarchy of windows or stages, not one plain stack of blocks", ["swin", "swinv2", "swin2sr", "hiera", "levit", "pvt", "pvt_v2", "cvt", "poolformer", "segformer", "mobilevit", "mobilevitv2", "efficientformer", "dinat", "nat", "focalnet"]],
  ["a convolutional network", ["resnet", "regnet", "convnext", "convnextv2", "dinov3_convnext", "bit", "efficientnet", "mobilenet_v1", "mobilenet_v2", "hgnet_v2"]],
  ["a ViT for images of any size, given as patches with a mask", ["siglip2", "siglip2_vision_model", "naflexvit", "pixtral", "gemma4_vision"]],
  ["a ViT with windows of attention", ["sam", "sam_vision_model", "sam_hq", "sam_hq_vision_model", "vitdet"]],
  ["an encoder with a decoder or head for dense predictions or objects", ["dpt", "depth_anything", "zoedepth", "yolos", "detr", "owlvit", "owlv2", "vitpose", "vitmatte", "eomt", "mask2former", "maskformer", "oneformer", "upernet", "sam2", "sam3", "edgetam", "rt_detr", "conditional_detr", "deformable_detr", "grounding-dino", "d_fine", "clipseg", "groupvit", "seggpt", "depth_pro", "prompt_depth_anything", "vitpose_backbone", "lightglue"]],
  ["a model of video", ["videomae", "vivit", "timesformer", "vjepa2", "xclip"]],
  ["a model of text", ["bert", "roberta", "distilbert", "deberta", "gpt2", "llama", "mistral", "qwen2", "qwen3", "t5", "bart", "clip_text_model", "siglip_text_model", "siglip2_text_model", "gemma", "phi3"]],
  ["a model of images and text, of which the vision towers of CLIP and SigLIP alone are known", ["blip", "blip-2", "instructblip", "idefics", "kosmos-2", "bridgetower", "trocr", "mgp-str", "phi4_multimodal", "metaclip_2", "aimv2", "llava", "llava_next", "paligemma", "vision-encoder-decoder", "vision-text-dual-encoder", "git", "vilt", "flava", "altclip", "chinese_clip", "internvl", "qwen2_vl", "idefics3", "align"]],
  ["a model of sound", ["wav2vec2", "whisper", "audio-spectrogram-transformer", "hubert"]],
];

/**
 * The spec of a model as transformers' config.json describes it. `architectures` decides the head; outputs have the names that the model's
 * forward gives them: logits, cls_logits, distillation_logits, last_hidden_state, pooler_output, image_embeds.
 *
 * @param config the parsed file
 * @throws SpecError for an unknown model_type, with the nearest known one; for models, heads and processors that a spec cannot say; for fields
 *   of the wrong kind
 */
export function transformersSpec(config: unknown, options: TransformersOptions = {}): TransformersModel {
  const base = checked(modelType, config, { at: "config", field: "a field of config.json" });
  const { model_type } = base;
  const given = options.name ?? nameFrom(base._name_or_path ?? "");
  if (model_type === "timm_wrapper") return timmWrapper(config, base.architectures?.[0], given);
  const family = Object.hasOwn(families, model_type) ? families[model_type] : undefined;
  if (family === undefined) throw unknownType(model_type);
  const { spec: built, notes } = family.build(config, { pooler: options.pooler ?? true });
  const spec = resampledAs(model_type, built);
  // Logits by another name are no classes.
  const labels = (spec.classes ?? 0) > 0 && spec.outputNames?.["logits"] === undefined ? labelsOf(base) : undefined;
  const sized = options.processor === undefined ? { spec, notes: [], preprocess: usualPreprocess(model_type, spec.image) } : asProcessed(spec, options.processor, model_type, family);
  return { spec: { name: given ?? model_type, ...sized.spec, ...(labels && { labels }), preprocess: sized.preprocess }, notes: [...notes, ...sized.notes, ...moreOutputs(base)] };
}

/** What forward returns too where a config asks for it. */
const moreOutputs = ({ output_attentions, output_hidden_states }: z.output<typeof modelType>): readonly string[] => [
  ...(output_attentions === true ? [`output_attentions is true: forward returns attentions too, which are the outputs "blocks.*.attn" of a spec`] : []),
  ...(output_hidden_states === true ? [`output_hidden_states is true: forward returns hidden_states too, which are the outputs "embed" and "blocks.*" of a spec`] : []),
];

/**
 * What the processor of a model does without a file, at the model's size. Bit's class has CLIP's numbers; DINOv2's files, whose processor it is,
 * all have these.
 */
function usualPreprocess(type: string, image: Size): PreprocessSpec {
  const dinov2 = { size: { shortest_edge: 256 }, image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] };
  const file = type.startsWith("dinov2") ? dinov2 : {};
  const { resize, ...rest } = preprocessFrom(file, type);
  const from = pairOf(imageFrom(file, type));
  const to = pairOf(image);
  if (resize === undefined || resize === "none") return rest;
  // A shorter side is that of both.
  const scaled = pairOf(resize).map((side, axis) => Math.round((side * to[axis]!) / from[axis]!)) as [number, number];
  return { ...rest, resize: scaled[0] === scaled[1] ? scaled[0] : rest.crop === "center" ? Math.max(...scaled) : scaled };
}

/** With the rules by which transformers resamples tables for images of other sizes: DINOv2 with registers alone smooths as it shrinks. */
function resampledAs(type: string, spec: Trunk): Trunk {
  const { attention, position } = spec;
  return {
    ...spec,
    ...((position?.kind ?? "learned") === "learned" && { position: { ...position, resample: { antialias: type === "dinov2_with_registers" } } }),
    ...(attention?.relative === true && { attention: { ...attention, relativeResample: { filter: "bilinear" } } }),
  };
}

/** A model for the images that its processor makes. */
function asProcessed(spec: Trunk, processor: unknown, type: string, { resizes }: Family): { readonly spec: Trunk; readonly notes: readonly string[]; readonly preprocess: PreprocessSpec } {
  const preprocess = preprocessFrom(processor, type);
  const [image, own] = [imageFrom(processor, type), spec.image].map(pairOf) as [Pair, Pair];
  if (image.every((side, axis) => side === own[axis])) return { spec, notes: [], preprocess };
  const { name: _, ...sized } = withSizes({ name: type, ...spec }, { image });
  const patch = pairOf(spec.patch);
  const crops = image.some((side, axis) => side % patch[axis]! !== 0);
  const { patchRemainder: _remainder, ...rest } = sized;
  const learned = (spec.position?.kind ?? "learned") === "learned";
  const notes = resizes === "asked" && learned ? [`preprocessor_config.json makes images of ${image.join(" x ")}, and image_size is ${own.join(" x ")}: positions are resampled, as transformers does with interpolate_pos_encoding`] : [];
  return { spec: { ...rest, ...(crops && { patchRemainder: "crop" }) }, notes, preprocess };
}

type Pair = readonly [number, number];

const pairOf = (size: Size): Pair => (typeof size === "number" ? [size, size] : [size[0], size[1]]);

/** timm's model within transformers: the same graph, with transformers' outputs. Its file says itself how photographs are prepared. */
function timmWrapper(config: unknown, architecture: string | undefined, name: string | undefined): TransformersModel {
  const fields: Readonly<Record<string, unknown>> = { ...(config as object) };
  const { labels, ...spec } = timmConfigSpec(architecture === "TimmWrapperModel" ? { ...fields, num_classes: 0 } : fields, name);
  const own = labels && !labels.every((label, i) => label === `LABEL_${i}`) ? { labels } : {};
  if (architecture !== "TimmWrapperModel") return { spec: { ...spec, ...own, outputs: [], outputNames: {} }, notes: [] };
  const pools = fields["do_pooling"] !== false && spec.pool !== "none";
  return {
    spec: pools
      ? { ...spec, outputs: ["tokens"], outputNames: { tokens: "last_hidden_state", features: "pooler_output" } }
      : { ...spec, pool: "none", ...(spec.finalNorm === "pooled" && { finalNorm: "none" }), outputs: [], outputNames: { tokens: "last_hidden_state" } },
    notes: [],
  };
}

/** A package's name from the last part of a path or a hub's name. */
function nameFrom(path: string): string | undefined {
  const name = (path.split(/[\\/]/).findLast((part) => part !== "") ?? "").replaceAll(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 100);
  return name === "" ? undefined : name;
}

function unknownType(type: string): SpecError {
  const [what] = others.find(([, types]) => types.includes(type)) ?? [];
  const tower = /_(vision|image)(_model)?$/.test(type);
  const near = what || tower ? undefined : nearest(type, transformersTypes);
  const message = what || tower ? `${show(type)} is ${what ?? "a vision tower of a kind that is not supported"}: a spec cannot say it.` : `${show(type)} is not a model_type that is known${near ? `; did you mean ${show(near)}?` : "."}`;
  return new SpecError([{ field: "config.model_type", message: `${message} Known are ${transformersTypes.join(", ")}` }]);
}
