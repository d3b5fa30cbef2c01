/** The vision towers of transformers' CLIP and SigLIP, alone or in the config of a whole model. */
import { z } from "zod";
import { checked } from "../check.js";
import { activation, anyConfig, classifier, count, encoder, epsilon, headOf, tokensAlone, tokensAndPooled, trunk, type BuildOptions, type Built, type Heads, type Trunk } from "./words.js";

const tower = { ...encoder, intermediate_size: count.default(3072) };

const clip = z.looseObject({ ...tower, patch_size: encoder.patch_size.default(32), hidden_act: z.string().default("quick_gelu"), layer_norm_eps: epsilon.default(1e-5), projection_dim: count.default(512) });

type Clip = z.output<typeof clip>;

const named = { at: "config", field: "a field of config.json" } as const;

const towerTrunk = (config: Clip | Siglip): Trunk => ({
  ...trunk({ ...config, head_dim: undefined }),
  mlp: { hidden: config.intermediate_size, activation: activation(config.hidden_act) },
  norm: { eps: config.layer_norm_eps },
});

/** All tokens are returned as the blocks leave them; the last norm is of the class token alone. */
const clipTrunk = (config: Clip): Trunk => ({ ...towerTrunk(config), tokens: { class: true }, preNorm: true, patchBias: false, finalNorm: "pooled" });

const projected = ({ projection_dim }: Pick<Clip, "projection_dim">): Partial<Trunk> => ({
  classes: projection_dim,
  headBias: false,
  outputs: ["tokens"],
  outputNames: { logits: "image_embeds", tokens: "last_hidden_state" },
});

const clipVisionHeads: Heads<Clip> = { CLIPVisionModel: () => tokensAndPooled, CLIPVisionModelWithProjection: projected };

export function clipVisionFamily(input: unknown, options: BuildOptions): Built {
  const config = checked(clip, input, named);
  const { head, notes } = headOf(config, clipVisionHeads, options);
  return { spec: { ...clipTrunk(config), ...head }, notes };
}

const whole = { ...anyConfig, vision_config: z.looseObject({}).nullish(), vision_config_dict: z.looseObject({}).nullish() };

const clipModel = z.looseObject({ ...whole, projection_dim: count.nullish() });

type WholeClip = z.output<typeof clipModel> & { readonly vision: Clip };

/** What is said of a model that reads text too. */
const towerAlone = ({ architectures }: WholeClip | WholeSiglip, base: string, note: string): readonly string[] => ((architectures?.[0] ?? base) === base ? [note] : []);

/** What forward returns of the images; in its `pooler_output` is what the projection makes, as in that of get_image_features. */
const compared = (config: Pick<Clip, "projection_dim">): Partial<Trunk> => ({
  ...projected(config),
  outputs: ["tokens", "embedding"],
  outputNames: { logits: "pooler_output", tokens: "last_hidden_state", embedding: "image_embeds" },
});

const clipHeads: Heads<WholeClip> = {
  CLIPModel: ({ projection_dim }) => compared({ projection_dim: projection_dim ?? 512 }),
  CLIPVisionModel: () => tokensAndPooled,
  CLIPVisionModelWithProjection: ({ vision }) => projected(vision),
  // The mean of patches, without the last norm.
  CLIPForImageClassification: (config) => ({ pool: "avg", finalNorm: "none", ...classifier({ ...config.vision, ...pick(config) }) }),
};

/** Labels belong to the whole model. */
const pick = ({ id2label, num_labels }: Pick<WholeClip, "id2label" | "num_labels">) => ({ id2label, num_labels });

/** Old files repeat what differs from the defaults in `vision_config_dict`, and that counts. */
export function clipFamily(input: unknown, options: BuildOptions): Built {
  const config = checked(clipModel, input, named);
  const vision = checked(clip, { model_type: "clip_vision_model", ...config.vision_config, ...config.vision_config_dict }, { ...named, at: "config.vision_config" });
  const { head, notes } = headOf({ ...config, vision }, clipHeads, options);
  return { spec: { ...clipTrunk(vision), ...head }, notes: [...notes, ...towerAlone({ ...config, vision }, "CLIPModel", "the vision tower alone; image_embeds are pooler_output, which the projection makes, divided by its length")] };
}

const siglip = z.looseObject({ ...tower, hidden_act: z.string().default("gelu_pytorch_tanh"), layer_norm_eps: epsilon.default(1e-6), vision_use_head: z.boolean().default(true) });

type Siglip = z.output<typeof siglip>;

const siglipTrunk = (config: Siglip): Trunk => ({ ...towerTrunk(config), tokens: { class: false } });

const pooledByMap = ({ vision_use_head }: Siglip): Partial<Trunk> => (vision_use_head ? { pool: "map", ...tokensAndPooled } : tokensAlone);

export function siglipVisionFamily(input: unknown, options: BuildOptions): Built {
  const config = checked(siglip, input, named);
  const { head, notes } = headOf(config, { SiglipVisionModel: pooledByMap } satisfies Heads<Siglip>, options);
  return { spec: { ...siglipTrunk(config), ...head }, notes };
}

const siglipModel = z.looseObject(whole);

type WholeSiglip = z.output<typeof siglipModel> & { readonly vision: Siglip };

const siglipHeads: Heads<WholeSiglip> = {
  SiglipModel: ({ vision }) => (vision.vision_use_head ? { pool: "map", ...tokensAndPooled, outputs: ["tokens", "embedding"], outputNames: { ...tokensAndPooled.outputNames, embedding: "image_embeds" } } : tokensAlone),
  SiglipVisionModel: ({ vision }) => pooledByMap(vision),
  SiglipForImageClassification: (config) => ({ pool: "avg", ...classifier({ ...config.vision, ...pick(config) }) }),
};

export function siglipFamily(input: unknown, options: BuildOptions): Built {
  const config = checked(siglipModel, input, named);
  const vision = checked(siglip, { model_type: "siglip_vision_model", ...config.vision_config }, { ...named, at: "config.vision_config" });
  const { head, notes } = headOf({ ...config, vision }, siglipHeads, options);
  return { spec: { ...siglipTrunk(vision), ...head }, notes: [...notes, ...towerAlone({ ...config, vision }, "SiglipModel", "the vision tower alone; image_embeds are pooler_output divided by its length")] };
}
