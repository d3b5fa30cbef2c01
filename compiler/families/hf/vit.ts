/** transformers' ViT and those that share its blocks: DeiT, the encoder of ViTMAE, ViTMSN, I-JEPA, BEiT. */
import { z } from "zod";
import { show, SpecError } from "../../spec/errors.js";
import type { ViTSpec } from "../../spec/types.js";
import { checked } from "../check.js";
import { activation, anyConfig, classifier, count, encoder, epsilon, headOf, tokensAlone, tokensAndPooled, trunk, type BuildOptions, type Built, type Heads, type Trunk } from "./words.js";

const vit = z.looseObject({
  ...encoder,
  intermediate_size: count.default(3072),
  layer_norm_eps: epsilon.default(1e-12),
  qkv_bias: z.boolean().default(true),
  pooler_output_size: count.nullish(),
  pooler_act: z.string().default("tanh"),
});

type ViT = z.output<typeof vit>;

const vitTrunk = (config: ViT): Trunk => ({
  ...trunk(config),
  mlp: { hidden: config.intermediate_size, activation: activation(config.hidden_act) },
  ...(!config.qkv_bias && { attention: { qkvBias: false } }),
  norm: { eps: config.layer_norm_eps },
});

/**
 * The pooler of base models, a layer with tanh behind the class token, or nothing without one.
 * @throws SpecError for another function than tanh.
 */
function pooler({ pooler_output_size, pooler_act, hidden_size }: ViT, { pooler }: BuildOptions): Partial<Trunk> {
  if (!pooler) return tokensAlone;
  if (pooler_act !== "tanh") throw new SpecError([{ field: "config.pooler_act", message: `${show(pooler_act)} is not supported; a pooler's function is "tanh". Without the pooler (pooler: false) the model returns last_hidden_state alone` }]);
  return { ...tokensAndPooled, representation: pooler_output_size ?? hidden_size };
}

const token: ViTSpec["tokens"] = { class: true };
/** DeiT's second token where no head reads it: a register that has a position. */
const silentToken: ViTSpec["tokens"] = { class: true, registers: 1 };

const vitHeads: Heads<ViT> = {
  ViTModel: (config, options) => ({ tokens: token, ...pooler(config, options) }),
  ViTForImageClassification: (config) => ({ tokens: token, ...classifier(config) }),
};

const deitHeads: Heads<ViT> = {
  DeiTModel: (config, options) => ({ tokens: silentToken, ...pooler(config, options) }),
  DeiTForImageClassification: (config) => ({ tokens: silentToken, ...classifier(config) }),
  DeiTForImageClassificationWithTeacher: (config) => ({
    tokens: { class: true, distillation: true },
    ...classifier(config),
    outputs: ["logits_cls", "logits_dist"],
    outputNames: { ...classifier(config).outputNames, logits_cls: "cls_logits", logits_dist: "distillation_logits" },
  }),
};

const maeHeads: Heads<ViT> = {
  ViTMAEModel: () => ({ tokens: token, ...tokensAlone }),
  ViTMAEForPreTraining: () => ({ tokens: token, ...tokensAlone }),
};

const msnHeads: Heads<ViT> = {
  ViTMSNModel: () => ({ tokens: token, ...tokensAlone }),
  ViTMSNForImageClassification: (config) => ({ tokens: token, ...classifier(config) }),
};

const ijepaHeads: Heads<ViT> = {
  IJepaModel: () => ({ tokens: { class: false }, ...tokensAlone }),
  IJepaForImageClassification: (config) => ({ tokens: { class: false }, pool: "avg", ...classifier(config) }),
};

const familyOf = (heads: Heads<ViT>, schema: typeof vit = vit, note?: string) => (input: unknown, options: BuildOptions): Built => {
  const config = checked(schema, input, { at: "config", field: "a field of config.json" });
  const { head, notes } = headOf(config, heads, options);
  return { spec: { ...vitTrunk(config), ...head }, notes: note === undefined ? notes : [...notes, note] };
};

export const vitFamily = familyOf(vitHeads);
export const deitFamily = familyOf(deitHeads);
export const maeFamily = familyOf(maeHeads, vit, "the encoder alone, of all patches: as with mask_ratio 0, and without the decoder, mask and ids_restore");
export const msnFamily = familyOf(msnHeads, vit.extend({ layer_norm_eps: epsilon.default(1e-6) }));
export const ijepaFamily = familyOf(ijepaHeads);

const beit = z.looseObject({
  ...encoder,
  intermediate_size: count.default(3072),
  layer_norm_eps: epsilon.default(1e-12),
  use_absolute_position_embeddings: z.boolean().default(false),
  use_relative_position_bias: z.boolean().default(false),
  use_shared_relative_position_bias: z.boolean().default(false),
  layer_scale_init_value: z.number().default(0.1),
  use_mean_pooling: z.boolean().default(true),
});

type Beit = z.output<typeof beit>;

/** The mean of patches with a norm of its own, or the class token behind a norm of all tokens. */
const beitPooling = ({ use_mean_pooling }: Beit): Partial<Trunk> => (use_mean_pooling ? { pool: "avg", finalNorm: "pooled" } : { pool: "token" });

const beitHeads: Heads<Beit> = {
  BeitModel: (config, { pooler }) => (pooler ? { ...beitPooling(config), ...tokensAndPooled } : { ...tokensAlone, ...(config.use_mean_pooling && { finalNorm: "none" }) }),
  BeitForImageClassification: (config) => ({ ...beitPooling(config), ...classifier(config) }),
};

/** @throws SpecError for both kinds of relative positions at once, and for those of an image that is not square, which transformers mixes up. */
export function beitFamily(input: unknown, options: BuildOptions): Built {
  const config = checked(beit, input, { at: "config", field: "a field of config.json" });
  const relative = config.use_relative_position_bias || config.use_shared_relative_position_bias;
  const refuse = (field: string, message: string): never => {
    throw new SpecError([{ field: `config.${field}`, message }]);
  };
  if (config.use_relative_position_bias && config.use_shared_relative_position_bias) refuse("use_shared_relative_position_bias", "true beside use_relative_position_bias would add two tables in every block; a spec has one");
  const sides = [config.image_size, config.patch_size].map((side) => (typeof side === "number" ? [side, side] : side));
  if (relative && sides.some(([height, width]) => height !== width)) refuse("image_size", `${show(config.image_size)} with relative positions: transformers resamples their table with height and width exchanged; use a square image and patch`);
  const { head, notes } = headOf(config, beitHeads, options);
  const spec: Trunk = {
    ...trunk(config),
    mlp: { hidden: config.intermediate_size, activation: activation(config.hidden_act) },
    attention: { qkvBias: "qv", ...(relative && { relative: true }) },
    tokens: token!,
    position: { kind: config.use_absolute_position_embeddings ? "learned" : "none" },
    norm: { eps: config.layer_norm_eps },
    ...(config.layer_scale_init_value > 0 && { layerScale: config.layer_scale_init_value }),
    ...head,
  };
  return { spec, notes };
}

/** The model_type of any config. */
export const modelType = z.looseObject(anyConfig);
