import { z } from "zod";

/**
 * The constructor arguments of timm's models, by timm's names and with timm's defaults. Every argument is listed: those that change nothing
 * about a prediction are taken and forgotten, those that have no meaning here are refused where the spec is made.
 */

const count = z.number().int().min(1);
const size = z.union([count, z.tuple([count, count])]);
const rate = z.number().min(0).lt(1);

/** A norm by timm's name for it, or with an eps of its own, which timm's models pass as a `partial`. */
const normLayer = z.union([z.string(), z.strictObject({ name: z.string(), eps: z.number().positive().optional() })]);
export type NormLayer = z.output<typeof normLayer>;

const everyModel = {
  img_size: size.default(224),
  patch_size: size.default(16),
  in_chans: count.default(3),
  num_classes: z.number().int().min(0).default(1000),
  embed_dim: count.default(768),
  depth: count.default(12),
  num_heads: count.default(12),
  mlp_ratio: z.number().positive().default(4),
  qkv_bias: z.boolean().default(true),
  init_values: z.number().nullable().default(null),
  pos_drop_rate: rate.default(0),
  proj_drop_rate: rate.default(0),
  attn_drop_rate: rate.default(0),
  drop_path_rate: rate.default(0),
};

/** Of training, of initial weights, of how a model is made; and the dropout before the head, which a spec has no field for. */
const forgotten = {
  drop_rate: z.unknown().optional(),
  device: z.unknown().optional(),
  dtype: z.unknown().optional(),
  out_indices: z.unknown().optional(),
  pretrained_strict: z.unknown().optional(),
};

const dynamicSize = {
  dynamic_img_size: z.boolean().default(false),
  dynamic_img_pad: z.boolean().default(false),
  use_naflex: z.boolean().nullable().default(null),
  patch_drop_rate: z.unknown().optional(),
};

export const visionTransformerArguments = z.strictObject({
  ...everyModel,
  global_pool: z.enum(["", "avg", "avgmax", "max", "token", "map", "prr"]).default("token"),
  qk_norm: z.boolean().default(false),
  scale_attn_norm: z.boolean().default(false),
  scale_mlp_norm: z.boolean().default(false),
  proj_bias: z.boolean().default(true),
  class_token: z.boolean().default(true),
  pos_embed: z.enum(["", "none", "learn"]).default("learn"),
  no_embed_class: z.boolean().default(false),
  reg_tokens: z.number().int().min(0).default(0),
  pre_norm: z.boolean().default(false),
  final_norm: z.boolean().default(true),
  fc_norm: z.boolean().nullable().default(null),
  pool_include_prefix: z.boolean().default(false),
  embed_norm_layer: normLayer.nullable().default(null),
  norm_layer: normLayer.nullable().default(null),
  act_layer: z.string().nullable().default(null),
  embed_layer: z.literal("PatchEmbed").default("PatchEmbed"),
  block_fn: z.enum(["Block", "ResPostBlock", "ParallelScalingBlock", "DiffParallelScalingBlock", "ParallelThingsBlock"]).default("Block"),
  mlp_layer: z.enum(["Mlp", "SwiGLU", "SwiGLUPacked", "GluMlp"]).default("Mlp"),
  attn_layer: z.enum(["", "attn", "diff"]).default("attn"),
  ...dynamicSize,
  ...forgotten,
  weight_init: z.unknown().optional(),
  fix_init: z.unknown().optional(),
});

export const evaArguments = z.strictObject({
  ...everyModel,
  global_pool: z.enum(["", "avg", "avgmax", "max", "token", "map"]).default("avg"),
  qkv_fused: z.boolean().default(true),
  swiglu_mlp: z.boolean().default(false),
  swiglu_align_to: z.number().int().min(0).default(0),
  scale_mlp: z.boolean().default(false),
  scale_attn_inner: z.boolean().default(false),
  attn_type: z.enum(["eva", "rope"]).default("eva"),
  norm_layer: normLayer.default("layernorm"),
  class_token: z.boolean().default(true),
  num_reg_tokens: z.number().int().min(0).default(0),
  no_embed_class: z.boolean().default(false),
  use_abs_pos_emb: z.boolean().default(true),
  use_rot_pos_emb: z.boolean().default(false),
  rope_type: z.enum(["cat", "mixed", "dinov3", "base", "mrope"]).default("cat"),
  rope_grid_offset: z.number().default(0),
  rope_grid_indexing: z.enum(["ij", "xy"]).default("ij"),
  rope_temperature: z.number().positive().default(10000),
  rope_rotate_half: z.boolean().default(false),
  use_post_norm: z.boolean().default(false),
  use_pre_transformer_norm: z.boolean().default(false),
  use_post_transformer_norm: z.boolean().nullable().default(null),
  use_fc_norm: z.boolean().nullable().default(null),
  attn_pool_num_heads: count.nullable().default(null),
  attn_pool_mlp_ratio: z.number().positive().nullable().default(null),
  ref_feat_shape: size.nullable().default(null),
  ...dynamicSize,
  ...forgotten,
  head_init_scale: z.unknown().optional(),
});

export const beitArguments = z.strictObject({
  ...everyModel,
  global_pool: z.enum(["", "avg", "avgmax", "max", "token"]).default("avg"),
  swiglu_mlp: z.boolean().default(false),
  scale_mlp: z.boolean().default(false),
  norm_layer: normLayer.default("layernorm"),
  use_abs_pos_emb: z.boolean().default(true),
  use_rel_pos_bias: z.boolean().default(false),
  use_shared_rel_pos_bias: z.boolean().default(false),
  ...forgotten,
  head_init_scale: z.unknown().optional(),
});

export type VisionTransformerArguments = z.output<typeof visionTransformerArguments>;
export type EvaArguments = z.output<typeof evaArguments>;
export type BeitArguments = z.output<typeof beitArguments>;
