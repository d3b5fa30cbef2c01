/** torchvision's VisionTransformer, and the arrays of Google's JAX code: vision_transformer's and big_vision's. */
import type { ResolvedSpec } from "../../spec/resolve.js";
import { isPlain, lastNorm, tokensAndPositions, type FileNaming, type NamingRule } from "../naming.js";

export const torchvision: FileNaming = {
  name: "torchvision",
  sign: "encoder.layers.encoder_layer_*.ln_1.weight",
  fits: (spec) => isPlain(spec) && spec.attention.qkvBias !== "qv",
  rules: (spec) => [
    ...tokensAndPositions(spec, "~class_token", "~encoder.pos_embedding"),
    ["patch_embed.proj.", ["~conv_proj."]],
    ["blocks.*.norm1.", ["~encoder.layers.encoder_layer_*.ln_1."]],
    ["blocks.*.attn.qkv.", ["~encoder.layers.encoder_layer_*.self_attention.in_proj_"]],
    ["blocks.*.attn.proj.", ["~encoder.layers.encoder_layer_*.self_attention.out_proj."]],
    ["blocks.*.norm2.", ["~encoder.layers.encoder_layer_*.ln_2."]],
    // Files of its first version numbered the layers.
    ["blocks.*.mlp.fc1.", ["~encoder.layers.encoder_layer_*.mlp.0.|~encoder.layers.encoder_layer_*.mlp.linear_1."]],
    ["blocks.*.mlp.fc2.", ["~encoder.layers.encoder_layer_*.mlp.3.|~encoder.layers.encoder_layer_*.mlp.linear_2."]],
    ...lastNorm(spec, "~encoder.ln."),
    ["pre_logits.fc.", ["~heads.pre_logits."]],
    ["head.", ["~heads.head."]],
  ],
  ignored: ({ representation, classes }) => [...(representation > 0 ? [] : ["~heads.pre_logits."]), ...(classes > 0 ? [] : ["~heads.head."])],
};

/** How the leaves of a flax module are called and laid out. */
const norm = (to: string, from: string): readonly NamingRule[] => [[`${to}.weight`, [`${from}/scale`]], [`${to}.bias`, [`${from}/bias`]]];
const dense = (to: string, from: string): readonly NamingRule[] => [[`${to}.weight`, [`${from}/kernel`], "transposed"], [`${to}.bias`, [`${from}/bias`]]];
const heads = (to: string, at: string, parts: readonly string[], count: number): readonly NamingRule[] => [
  [`${to}.weight`, parts.map((part) => `${at}/${part}/kernel`), "heads", count],
  [`${to}.bias`, parts.map((part) => `${at}/${part}/bias`), "heads", count],
];
const output = (to: string, at: string, count: number): readonly NamingRule[] => [[`${to}.weight`, [`${at}/out/kernel`], "merged", count], [`${to}.bias`, [`${at}/out/bias`]]];

/** Flax numbers modules of one class as they are made, and the two repositories make them in another order. */
function google(spec: ResolvedSpec, number: { readonly attention: number; readonly mlp: number; readonly norm2: number }, positions: string): readonly NamingRule[] {
  const block = "~Transformer/encoderblock_*";
  const attention = `${block}/MultiHeadDotProductAttention_${number.attention}`;
  return [
    ["patch_embed.proj.weight", ["~embedding/kernel"], "convolution"],
    ["patch_embed.proj.bias", ["~embedding/bias"]],
    ...tokensAndPositions(spec, "~cls", positions),
    ...norm("blocks.*.norm1", `${block}/LayerNorm_0`),
    ...heads("blocks.*.attn.qkv", attention, ["query", "key", "value"], spec.heads),
    ...output("blocks.*.attn.proj", attention, spec.heads),
    ...norm("blocks.*.norm2", `${block}/LayerNorm_${number.norm2}`),
    ...dense("blocks.*.mlp.fc1", `${block}/MlpBlock_${number.mlp}/Dense_0`),
    ...dense("blocks.*.mlp.fc2", `${block}/MlpBlock_${number.mlp}/Dense_1`),
    ...norm("norm", "~Transformer/encoder_norm"),
    ...(lastNorm(spec, "").length > 1 ? norm("fc_norm", "~Transformer/encoder_norm") : []),
    ...dense("pre_logits.fc", "~pre_logits"),
    ...dense("head", "~head"),
  ];
}

const googleIgnored = ({ representation, classes }: ResolvedSpec): readonly string[] => [...(representation > 0 ? [] : ["~pre_logits/"]), ...(classes > 0 ? [] : ["~head/"])];

export const googleVit: FileNaming = {
  name: "Google's vision_transformer",
  sign: "Transformer/encoderblock_*/MultiHeadDotProductAttention_1/key/kernel",
  fits: (spec) => isPlain(spec) && spec.attention.qkvBias !== "qv",
  rules: (spec) => google(spec, { attention: 1, mlp: 3, norm2: 2 }, "~Transformer/posembed_input/pos_embedding"),
  ignored: (spec) => [...googleIgnored(spec), "opt/state/", "state/"],
};

/** Its models pool by the class token, by a mean (`gap`) or by a map (SigLIP, whose text tower is `txt`). */
export const bigVision: FileNaming = {
  name: "Google's big_vision",
  sign: "Transformer/encoderblock_*/MultiHeadDotProductAttention_0/key/kernel",
  fits: (spec) => isPlain(spec) && spec.attention.qkvBias !== "qv",
  rules(spec) {
    const [pool, count] = ["~MAPHead_0", spec.mapPool.heads];
    const attention = `${pool}/MultiHeadDotProductAttention_0`;
    return [
      ...google(spec, { attention: 0, mlp: 0, norm2: 1 }, "~pos_embedding"),
      ["attn_pool.latent", [`${pool}/probe`]],
      ...heads("attn_pool.q", attention, ["query"], count),
      ...heads("attn_pool.kv", attention, ["key", "value"], count),
      ...output("attn_pool.proj", attention, count),
      ...norm("attn_pool.norm", `${pool}/LayerNorm_0`),
      ...dense("attn_pool.mlp.fc1", `${pool}/MlpBlock_0/Dense_0`),
      ...dense("attn_pool.mlp.fc2", `${pool}/MlpBlock_0/Dense_1`),
    ];
  },
  ignored: (spec) => [...googleIgnored(spec), ...(spec.pool === "map" ? [] : ["~MAPHead_0/"]), "txt/", "t", "b"],
};
