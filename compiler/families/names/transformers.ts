/**
 * transformers' encoders that read one image: ViT and its kin, DINOv2, DINOv3, BEiT. Of each spelling the first is that of files, which version 5
 * still writes; the second is that of its modules in memory.
 */
import type { ResolvedSpec } from "../../spec/resolve.js";
import { isPlain, lastNorm, separateQkv, tokensAndPositions, type FileNaming, type NamingRule } from "../naming.js";

const spelled = (file: string, memory: string): string => `~encoder.layer.*.${file}.|~layers.*.${memory}.`;

/** Blocks of ViT, DeiT, ViTMAE, ViTMSN, I-JEPA and BEiT. */
const vitBlocks: readonly NamingRule[] = [
  ["blocks.*.norm1.", [spelled("layernorm_before", "layernorm_before")]],
  ["blocks.*.attn.proj.", [spelled("attention.output.dense", "attention.o_proj")]],
  ["blocks.*.norm2.", [spelled("layernorm_after", "layernorm_after")]],
  ["blocks.*.mlp.fc1.", [spelled("intermediate.dense", "mlp.fc1")]],
  ["blocks.*.mlp.fc2.", [spelled("output.dense", "mlp.fc2")]],
];

const vitQkv = [spelled("attention.attention.query", "attention.q_proj"), spelled("attention.attention.key", "attention.k_proj"), spelled("attention.attention.value", "attention.v_proj")] as const;

const classifiers: readonly NamingRule[] = [["head.", ["classifier."]], ["head.", ["cls_classifier."]], ["head_dist.", ["distillation_classifier."]]];

/** Heads that a model without them leaves alone, and what training needs. */
const unused = ["~embeddings.mask_token", "~embeddings.position_ids", "~pooler.", "classifier.", "cls_classifier.", "distillation_classifier.", "decoder.", "lm_head."];

export const transformersViT: FileNaming = {
  name: "transformers ViT",
  sign: "encoder.layer.*.layernorm_before.weight",
  fits: (spec) => isPlain(spec) && spec.attention.qkvBias !== "qv",
  rules: (spec) => [
    ...tokensAndPositions(spec, "~embeddings.cls_token", "~embeddings.position_embeddings"),
    ["dist_token", ["~embeddings.distillation_token"]],
    // A model that has the token and no head for it.
    ["reg_token", ["~embeddings.distillation_token"]],
    ["patch_embed.proj.", ["~embeddings.patch_embeddings.projection."]],
    ...separateQkv(spec, vitQkv),
    ...vitBlocks,
    ...lastNorm(spec, "~layernorm."),
    ["pre_logits.fc.", ["~pooler.dense."]],
    ...classifiers,
  ],
  ignored: () => unused,
};

export const transformersBeit: FileNaming = {
  name: "transformers BEiT",
  sign: "encoder.layer.*.lambda_1",
  fits: (spec) => spec.block === "pre" && spec.rope === undefined && spec.attention.qkvBias === "qv" && (spec.position.kind === "learned" || spec.position.kind === "none"),
  rules: (spec) => [
    ...tokensAndPositions(spec, "~embeddings.cls_token", "~embeddings.position_embeddings"),
    ["patch_embed.proj.", ["~embeddings.patch_embeddings.projection."]],
    ["blocks.*.attn.relative_position_bias_table", ["~encoder.layer.*.attention.attention.relative_position_bias.relative_position_bias_table|~layers.*.relative_position_bias.relative_position_bias_table"]],
    // One for all blocks.
    ["blocks.*.attn.relative_position_bias_table", ["~encoder.relative_position_bias.relative_position_bias_table|~shared_position_bias.relative_position_bias_table"]],
    ["blocks.*.ls1.gamma", ["~encoder.layer.*.lambda_1|~layers.*.lambda_1"]],
    ["blocks.*.ls2.gamma", ["~encoder.layer.*.lambda_2|~layers.*.lambda_2"]],
    ...separateQkv(spec, vitQkv),
    ...vitBlocks,
    ["norm.", ["~layernorm."]],
    ["fc_norm.", ["~pooler.layernorm."]],
    ...classifiers,
  ],
  ignored: () => [...unused, "~encoder.layer.*.attention.attention.relative_position_bias.relative_position_index", "~encoder.relative_position_bias.relative_position_index", "layernorm."],
};

/** Behind their names, blocks of DINOv2 and DINOv3 are alike. */
const dinoBlocks = (file: string, memory: string, output: string): readonly NamingRule[] => {
  const at = (name: string, old = name): string => `${file}${old}|${memory}${name}`;
  return [
    ["blocks.*.norm1.", [at("norm1.")]],
    ["blocks.*.attn.proj.", [at("attention.o_proj.", output)]],
    ["blocks.*.ls1.gamma", [at("layer_scale1.lambda1")]],
    ["blocks.*.norm2.", [at("norm2.")]],
    ["blocks.*.ls2.gamma", [at("layer_scale2.lambda1")]],
  ];
};

/** A gated MLP has three layers in memory; in files of DINOv2 the two that read the same are one. */
function dinov2Mlp({ mlp }: ResolvedSpec): readonly NamingRule[] {
  const at = (to: string, ...names: readonly string[]): NamingRule => [to, names.map((name) => `~encoder.layer.*.mlp.${name}.`), ...(names.length > 1 ? (["stacked"] as const) : [])];
  const [fc1, fc2] = ["blocks.*.mlp.fc1.", "blocks.*.mlp.fc2."];
  return mlp.gate === "none" ? [at(fc1, "fc1"), at(fc2, "fc2")] : [at(fc1, "weights_in"), at(fc1, "gate_proj", "up_proj"), at(fc2, "weights_out"), at(fc2, "down_proj")];
}

export const transformersDinov2: FileNaming = {
  name: "transformers DINOv2",
  sign: "encoder.layer.*.layer_scale1.lambda1",
  fits: (spec) => isPlain(spec) && spec.layerScale !== undefined && (spec.mlp.gate === "none" || spec.mlp.gate === "packed"),
  rules: (spec) => [
    ...tokensAndPositions(spec, "~embeddings.cls_token", "~embeddings.position_embeddings"),
    ["reg_token", ["~embeddings.register_tokens"]],
    ["patch_embed.proj.", ["~embeddings.patch_embeddings.projection."]],
    ...separateQkv(spec, ["query", "key", "value"].map((name) => `~encoder.layer.*.attention.attention.${name}.|~encoder.layer.*.attention.${name[0]}_proj.`) as [string, string, string]),
    ...dinoBlocks("~encoder.layer.*.", "~encoder.layer.*.", "attention.output.dense."),
    ...dinov2Mlp(spec),
    ...lastNorm(spec, "~layernorm."),
    ...classifiers,
  ],
  ignored: () => unused,
};

/** The first layer of an MLP without a gate is called by what would be gated. */
function dinov3Mlp({ mlp }: ResolvedSpec): readonly NamingRule[] {
  const [gate, up, down] = ["gate_proj", "up_proj", "down_proj"].map((name) => `~layer.*.mlp.${name}.|~model.layer.*.mlp.${name}.`) as [string, string, string];
  const last: NamingRule = ["blocks.*.mlp.fc2.", [down]];
  if (mlp.gate === "none") return [["blocks.*.mlp.fc1.", [up]], last];
  return [["blocks.*.mlp.fc1_g.", [gate]], ["blocks.*.mlp.fc1_x.", [up]], ["blocks.*.mlp.fc1.", [gate, up], "stacked"], last];
}

export const transformersDinov3: FileNaming = {
  name: "transformers DINOv3",
  sign: "layer.*.layer_scale1.lambda1",
  fits: (spec) => spec.block === "pre" && spec.rope?.kind === "dinov3" && spec.layerScale !== undefined && spec.position.kind === "none" && spec.mlp.gate !== "packedLast",
  rules: (spec) => [
    ["cls_token", ["~embeddings.cls_token"]],
    ["reg_token", ["~embeddings.register_tokens"]],
    ["patch_embed.proj.", ["~embeddings.patch_embeddings."]],
    ...separateQkv(spec, ["q", "k", "v"].map((name) => `~layer.*.attention.${name}_proj.|~model.layer.*.attention.${name}_proj.`) as [string, string, string]),
    ...dinoBlocks("~layer.*.", "~model.layer.*.", "attention.o_proj."),
    ...dinov3Mlp(spec),
    ...lastNorm(spec, "~norm."),
    ...classifiers,
  ],
  ignored: () => [...unused, "~rope_embeddings."],
};
