/** timm's own names and those of the repositories that build on its modules: Meta's DINO, DINOv2, DINOv3 and MAE, Microsoft's BEiT, BAAI's EVA, OpenCLIP. */
import type { ResolvedSpec } from "../../spec/resolve.js";
import { separateQkv, tokensAndPositions, type FileNaming, type NamingRule } from "../naming.js";

/** What timm itself calls otherwise in some models: LayerScale of BEiT and EVA, as of DeiT-3 before; queries, keys and values of EVA02 base and large. */
const timmBlocks = (spec: ResolvedSpec, at: string): readonly NamingRule[] => [
  ["blocks.*.ls1.gamma", [`${at}blocks.*.ls1.gamma|${at}blocks.*.gamma_1`]],
  ["blocks.*.ls2.gamma", [`${at}blocks.*.ls2.gamma|${at}blocks.*.gamma_2`]],
  ["blocks.*.attn.qkv.", [`${at}blocks.*.attn.qkv.`]],
  ...separateQkv(spec, [`${at}blocks.*.attn.q_proj.`, `${at}blocks.*.attn.k_proj.`, `${at}blocks.*.attn.v_proj.`]).map(([to, from, ...how]): NamingRule =>
    from.length > 1 ? [to, from, ...how] : [to, [`${at}${to}|${from[0]!}`], ...how],
  ),
];

/** DINOv2, DINOv3 and EVA have called the layers of a gated MLP by numbers. */
const makersBlocks = (spec: ResolvedSpec): readonly NamingRule[] => [
  ...timmBlocks(spec, "~"),
  ["blocks.*.attn.norm.", ["~blocks.*.attn.norm.|~blocks.*.attn.inner_attn_ln."]],
  ["blocks.*.mlp.norm.", ["~blocks.*.mlp.norm.|~blocks.*.mlp.ffn_ln."]],
  ["blocks.*.mlp.fc1.", ["~blocks.*.mlp.fc1.|~blocks.*.mlp.w12."]],
  ["blocks.*.mlp.fc1_g.", ["~blocks.*.mlp.fc1_g.|~blocks.*.mlp.w1."]],
  ["blocks.*.mlp.fc1_x.", ["~blocks.*.mlp.fc1_x.|~blocks.*.mlp.w2."]],
  ["blocks.*.mlp.fc2.", ["~blocks.*.mlp.fc2.|~blocks.*.mlp.w3."]],
];

/** The rest has the model's own names. One norm of the class token may stand before or behind its pooling. */
const others = ({ pool, tokens }: ResolvedSpec, at: string): readonly NamingRule[] => [
  ...(pool === "token" && !tokens.distillation ? ([["norm.", [`${at}norm.|${at}fc_norm.`]], ["fc_norm.", [`${at}fc_norm.|${at}norm.`]]] as const) : []),
  ["", [at]],
];

/** What training leaves behind, and tables that follow from the geometry. */
const leftBehind: readonly string[] = [
  "~mask_token", "~rope.freqs_cos", "~rope.freqs_sin", "~rope.bands", "~rope.pos_embed", "~rope_embed.", "~relative_position_index", "~pre_logits.", "~lm_head.", "~local_cls_norm.",
  "~blocks.*.attn.relative_position_index", "~blocks.*.attn.rope.", "~blocks.*.attn.k_bias", "~blocks.*.attn.qkv.bias_mask", "~decoder_embed.", "~decoder_pos_embed", "~decoder_blocks.", "~decoder_norm.", "~decoder_pred.",
]; // prettier-ignore

/** Comes first: a file of the model's own names. */
export const timm: FileNaming = {
  name: "timm",
  sign: "blocks.*.attn.proj.weight",
  fits: () => true,
  rules: (spec) => [...makersBlocks(spec), ...others(spec, "~")],
  ignored: () => leftBehind,
};

/** DINOv2 with registers adds its positions before them; to timm's the class token has its own already. */
export const metaDinov2: FileNaming = {
  name: "Meta's DINOv2",
  sign: "register_tokens",
  fits: ({ tokens, layerScale, rope }) => tokens.registers > 0 && layerScale !== undefined && rope === undefined,
  rules: (spec) => [["reg_token", ["~register_tokens"]], ...tokensAndPositions(spec, "~cls_token", "~pos_embed"), ...makersBlocks(spec), ...others(spec, "~")],
  ignored: () => leftBehind,
};

/** The bias of keys is in the file, and masked out. */
export const metaDinov3: FileNaming = {
  name: "Meta's DINOv3",
  sign: "storage_tokens",
  fits: ({ tokens, rope }) => tokens.registers > 0 && rope?.kind === "dinov3",
  rules(spec) {
    const width = spec.heads * spec.headDim;
    return [
      ["reg_token", ["~storage_tokens"]],
      ["blocks.*.attn.q_bias", ["~blocks.*.attn.qkv.bias"], "rows", 0, 3 * width],
      ["blocks.*.attn.v_bias", ["~blocks.*.attn.qkv.bias"], "rows", 2 * width, 3 * width],
      ...makersBlocks(spec),
      ...others(spec, "~"),
    ];
  },
  ignored: () => leftBehind,
};

/** A tower of timm's in OpenCLIP, whose projection has no bias. */
export const openClip: FileNaming = {
  name: "OpenCLIP",
  sign: "trunk.blocks.*.attn.proj.weight",
  fits: () => true,
  rules: (spec) => [
    ["head.weight", ["~head.proj.weight"]],
    ["head.bias", ["~head.proj.weight"], "zeros", spec.classes, spec.geometry.features],
    ...timmBlocks(spec, "~trunk."),
    ...others(spec, "~trunk."),
  ],
  ignored: () => ["~head.", ...textTower],
};

/** The other half of a CLIP model in OpenAI's and OpenCLIP's words. */
export const textTower: readonly string[] = ["transformer.", "text.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection", "logit_scale", "logit_bias", "attn_mask", "input_resolution", "context_length", "vocab_size"];
