/** Vision towers of models of images and texts: CLIP and SigLIP as transformers has them, and CLIP and the Perception Encoder as their makers do. */
import type { ResolvedSpec } from "../../spec/resolve.js";
import { lastNorm, separateQkv, tokensAndPositions, type FileNaming, type NamingRule } from "../naming.js";
import { textTower } from "./timm.js";

const transformersBlocks = (spec: ResolvedSpec): readonly NamingRule[] => [
  ["patch_embed.proj.", ["~embeddings.patch_embedding."]],
  ["blocks.*.norm1.", ["~encoder.layers.*.layer_norm1."]],
  ...separateQkv(spec, ["~encoder.layers.*.self_attn.q_proj.", "~encoder.layers.*.self_attn.k_proj.", "~encoder.layers.*.self_attn.v_proj."]),
  ["blocks.*.attn.proj.", ["~encoder.layers.*.self_attn.out_proj."]],
  ["blocks.*.norm2.", ["~encoder.layers.*.layer_norm2."]],
  ["blocks.*.mlp.", ["~encoder.layers.*.mlp."]],
  ...lastNorm(spec, "~post_layernorm."),
];

/** What a vision tower has no use for in the file of a whole model. */
const transformersText = ["~embeddings.position_ids", "text_model.", "text_projection.", "logit_scale", "logit_bias", "classifier."];

/** A tower of ordinary blocks behind positions that are learned. */
const isTower = ({ block, rope, position, layerScale, attention }: ResolvedSpec): boolean => block === "pre" && rope === undefined && position.kind === "learned" && layerScale === undefined && attention.qkvBias !== "qv";

export const transformersClip: FileNaming = {
  name: "transformers CLIP",
  sign: "pre_layrnorm.weight",
  fits: (spec) => isTower(spec) && spec.preNorm,
  rules: (spec) => [
    ...tokensAndPositions(spec, "~embeddings.class_embedding", "~embeddings.position_embedding.weight"),
    ["norm_pre.", ["~pre_layrnorm."]],
    ...transformersBlocks(spec),
    ["head.", ["visual_projection."]],
    ["head.", ["classifier."]],
    // A projection has no bias; a model of timm's has one.
    ["head.bias", ["visual_projection.weight"], "zeros", spec.classes, spec.geometry.features],
  ],
  ignored: ({ finalNorm }) => [...transformersText, "visual_projection.", ...(finalNorm === "none" ? ["~post_layernorm."] : [])],
};

export const transformersSiglip: FileNaming = {
  name: "transformers SigLIP",
  sign: "embeddings.patch_embedding.bias",
  fits: (spec) => isTower(spec) && !spec.tokens.class,
  rules: (spec) => [
    ...tokensAndPositions(spec, "", "~embeddings.position_embedding.weight"),
    ...transformersBlocks(spec),
    ["attn_pool.latent", ["~head.probe"]],
    ["attn_pool.q.", ["~head.attention.in_proj_"], "rows", 0, 3 * spec.dim],
    ["attn_pool.kv.", ["~head.attention.in_proj_"], "rows", spec.dim, 3 * spec.dim],
    ["attn_pool.proj.", ["~head.attention.out_proj."]],
    ["attn_pool.norm.", ["~head.layernorm."]],
    ["attn_pool.mlp.", ["~head.mlp."]],
    ["head.", ["classifier."]],
  ],
  ignored: ({ pool }) => [...transformersText, ...(pool === "map" ? [] : ["~head."])],
};

/** OpenAI's CLIP, and Meta's Perception Encoder, which has LayerScale and a pooling of its own besides. Their projection has no bias. */
export const openAiClip: FileNaming = {
  name: "OpenAI's CLIP",
  sign: "transformer.resblocks.*.ln_1.weight",
  fits: ({ block, preNorm, position }) => block === "pre" && preNorm && position.kind === "learned",
  rules: (spec) => [
    ...tokensAndPositions(spec, "~class_embedding", "~positional_embedding"),
    ["patch_embed.proj.", ["~conv1."]],
    ["norm_pre.", ["~ln_pre."]],
    ["blocks.*.norm1.", ["~transformer.resblocks.*.ln_1."]],
    ["blocks.*.attn.qkv.", ["~transformer.resblocks.*.attn.in_proj_"]],
    ["blocks.*.attn.proj.", ["~transformer.resblocks.*.attn.out_proj."]],
    ["blocks.*.ls1.gamma", ["~transformer.resblocks.*.ls_1.gamma"]],
    ["blocks.*.norm2.", ["~transformer.resblocks.*.ln_2."]],
    ["blocks.*.mlp.fc1.", ["~transformer.resblocks.*.mlp.c_fc."]],
    ["blocks.*.mlp.fc2.", ["~transformer.resblocks.*.mlp.c_proj."]],
    ["blocks.*.ls2.gamma", ["~transformer.resblocks.*.ls_2.gamma"]],
    ...lastNorm(spec, "~ln_post."),
    ["attn_pool.latent", ["~attn_pool.probe"]],
    ["attn_pool.q.", ["~attn_pool.attn.in_proj_"], "rows", 0, 3 * spec.dim],
    ["attn_pool.kv.", ["~attn_pool.attn.in_proj_"], "rows", spec.dim, 3 * spec.dim],
    ["attn_pool.proj.", ["~attn_pool.attn.out_proj."]],
    ["attn_pool.norm.", ["~attn_pool.layernorm."]],
    ["attn_pool.mlp.fc1.", ["~attn_pool.mlp.c_fc."]],
    ["attn_pool.mlp.fc2.", ["~attn_pool.mlp.c_proj."]],
    ["head.weight", ["~proj"], "transposed"],
    ["head.bias", ["~proj"], "zeros", spec.geometry.features, spec.classes],
  ],
  ignored: ({ classes }) => [...textTower, "~rope.", ...(classes > 0 ? [] : ["~proj"])],
};
