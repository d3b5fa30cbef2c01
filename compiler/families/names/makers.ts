/** Apple's AIMv2 and Microsoft's BEiT-3, as their repositories write them and timm converts them (`_convert_aimv2`, `_convert_beit3`). */
import { separateQkv, type FileNaming } from "../naming.js";

/** A trunk alone, without a head. Of the gated MLP the first layer is the gate, the third what it multiplies. */
export const appleAimv2: FileNaming = {
  name: "Apple's AIMv2",
  sign: "preprocessor.patchifier.proj.weight",
  fits: ({ block, patchNorm, tokens, mlp, position }) => block === "pre" && patchNorm && !tokens.class && mlp.gate === "split" && position.kind === "learned",
  rules: () => [
    ["patch_embed.", ["~preprocessor.patchifier."]],
    ["pos_embed", ["~preprocessor.pos_embed"], "squeezed"],
    ["blocks.*.norm1.", ["~trunk.blocks.*.norm_1."]],
    ["blocks.*.attn.", ["~trunk.blocks.*.attn."]],
    ["blocks.*.norm2.", ["~trunk.blocks.*.norm_2."]],
    ["blocks.*.mlp.fc1_g.", ["~trunk.blocks.*.mlp.fc1."]],
    ["blocks.*.mlp.fc1_x.", ["~trunk.blocks.*.mlp.fc3."]],
    ["blocks.*.mlp.fc2.", ["~trunk.blocks.*.mlp.fc2."]],
    ["norm.", ["~trunk.post_trunk_norm."]],
  ],
  ignored: () => [],
};

/** What every layer has twice: for images (A) and for texts (B). */
const twice = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "self_attn.inner_attn_ln", "self_attn_layer_norm", "ffn", "final_layer_norm"];

/** The half of it that reads images. Its table of positions begins with two rows that no token has. */
export const microsoftBeit3: FileNaming = {
  name: "Microsoft's BEiT-3",
  sign: "encoder.layers.*.self_attn.q_proj.A.weight",
  fits: ({ block, rope, tokens, position, attention, mlp }) => block === "pre" && rope === undefined && tokens.class && position.kind === "learned" && position.prefix && attention.norm && attention.qkvBias === true && mlp.norm,
  rules(spec) {
    const [rows, columns] = spec.position.resample?.from ?? spec.geometry.grid;
    const layer = "~encoder.layers.*.";
    return [
      ["cls_token", ["~vision_embed.cls_token"]],
      ["patch_embed.proj.", ["~vision_embed.proj."]],
      ["pos_embed", ["~encoder.embed_positions.A.weight"], "tokens", 2, 3 + rows * columns],
      ["blocks.*.norm1.", [`${layer}self_attn_layer_norm.A.`]],
      ...separateQkv(spec, [`${layer}self_attn.q_proj.A.`, `${layer}self_attn.k_proj.A.`, `${layer}self_attn.v_proj.A.`]),
      ["blocks.*.attn.norm.", [`${layer}self_attn.inner_attn_ln.A.`]],
      ["blocks.*.attn.proj.", [`${layer}self_attn.out_proj.A.`]],
      ["blocks.*.norm2.", [`${layer}final_layer_norm.A.`]],
      ["blocks.*.mlp.fc1.", [`${layer}ffn.A.fc1.`]],
      ["blocks.*.mlp.norm.", [`${layer}ffn.A.ffn_layernorm.`]],
      ["blocks.*.mlp.fc2.", [`${layer}ffn.A.fc2.`]],
      ["norm.", ["norm."]],
      ["fc_norm.", ["fc_norm."]],
      ["head.", ["head."]],
    ];
  },
  ignored: ({ classes }) => ["~text_embed.", "~vision_embed.mask_token", "~encoder.embed_positions.B.", ...twice.map((name) => `~encoder.layers.*.${name}.B.`), ...(classes > 0 ? [] : ["head."])],
};
