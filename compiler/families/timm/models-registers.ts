import { half, imagenet, raw, sizes as s, type TimmGroup } from "./table.js";

const searched = { class_token: false, global_pool: "avg", init_values: 1e-5 } as const;
const packed = { act_layer: "silu", mlp_layer: "SwiGLUPacked" } as const;

/** DINOv2, TIPSv2 and the models of "searching for better ViT baselines", most of them with registers. */
export const registerModels: readonly TimmGroup[] = [
  // DINOv2.
  {
    class: "VisionTransformer",
    args: { init_values: 1e-5 },
    models: {
      vit_base_patch14_dinov2: [s.base, 14, 518, imagenet, 1, 0, "lvd142m"],
      vit_large_patch14_dinov2: [s.large, 14, 518, imagenet, 1, 0, "lvd142m"],
      vit_small_patch14_dinov2: [s.small, 14, 518, imagenet, 1, 0, "lvd142m"],
    },
  },
  {
    class: "VisionTransformer",
    args: { init_values: 1e-5, ...packed },
    models: {
      vit_giant_patch14_dinov2: [{ ...s.giantopt, num_heads: 24, mlp_ratio: 5.33334 }, 14, 518, imagenet, 1, 0, "lvd142m"],
    },
  },
  {
    class: "VisionTransformer",
    args: { init_values: 1e-5, reg_tokens: 4, no_embed_class: true },
    models: {
      vit_base_patch14_reg4_dinov2: [s.base, 14, 518, imagenet, 1, 0, "lvd142m"],
      vit_large_patch14_reg4_dinov2: [s.large, 14, 518, imagenet, 1, 0, "lvd142m"],
      vit_small_patch14_reg4_dinov2: [s.small, 14, 518, imagenet, 1, 0, "lvd142m"],
    },
  },
  {
    class: "VisionTransformer",
    args: { init_values: 1e-5, reg_tokens: 4, no_embed_class: true, ...packed },
    models: {
      vit_giant_patch14_reg4_dinov2: [{ ...s.giantopt, num_heads: 24, mlp_ratio: 5.33334 }, 14, 518, imagenet, 1, 0, "lvd142m"],
    },
  },
  // TIPSv2.
  {
    class: "VisionTransformer",
    args: { init_values: 1, reg_tokens: 1, no_embed_class: true },
    models: {
      vit_base_patch14_reg1_tipsv2: [s.base, 14, 448, raw, 1, 0, "webli"],
      vit_large_patch14_reg1_tipsv2: [s.large, 14, 448, raw, 1, 0, "webli"],
      vit_so400m_patch14_reg1_tipsv2: [{ ...s.so400m, mlp_ratio: 4304 / 1152 }, 14, 448, raw, 1, 0, "webli"],
    },
  },
  {
    class: "VisionTransformer",
    args: { init_values: 1, reg_tokens: 1, no_embed_class: true, ...packed },
    models: {
      vit_giant_patch14_reg1_tipsv2: [{ ...s.giantopt, num_heads: 24, mlp_ratio: 5.33334 }, 14, 448, raw, 1, 0, "webli"],
    },
  },
  // Better ViT baselines.
  {
    class: "VisionTransformer",
    args: { ...searched, no_embed_class: true, reg_tokens: 1 },
    models: {
      vit_betwixt_patch16_reg1_gap_256: [s.betwixt, 16, 256, half, 0.95, 1000, "sbb_in1k"],
      vit_little_patch16_reg1_gap_256: [s.little, 16, 256, half, 0.95, 1000, "sbb_in12k_ft_in1k"],
      vit_medium_patch16_reg1_gap_256: [s.medium, 16, 256, half, 0.95, 1000, "sbb_in1k"],
      vit_wee_patch16_reg1_gap_256: [s.wee, 16, 256, half, 0.95, 1000, "sbb_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { ...searched, no_embed_class: true, reg_tokens: 4 },
    models: {
      vit_betwixt_patch16_reg4_gap_256: [s.betwixt, 16, 256, half, 0.95, 1000, "sbb2_e200_in12k_ft_in1k"],
      vit_betwixt_patch16_reg4_gap_384: [s.betwixt, 16, 384, half, 1, 1000, "sbb2_e200_in12k_ft_in1k"],
      vit_little_patch16_reg4_gap_256: [s.little, 16, 256, half, 0.95, 1000, "sbb_in1k"],
      vit_medium_patch16_reg4_gap_256: [s.medium, 16, 256, half, 0.95, 1000, "sbb_in12k_ft_in1k"],
      vit_mediumd_patch16_reg4_gap_256: [s.mediumd, 16, 256, half, 0.95, 1000, "sbb2_e200_in12k_ft_in1k"],
      vit_mediumd_patch16_reg4_gap_384: [s.mediumd, 16, 384, half, 1, 1000, "sbb2_e200_in12k_ft_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { class_token: false, global_pool: "avg", no_embed_class: true, reg_tokens: 4 },
    models: {
      vit_base_patch16_reg4_gap_256: [s.base, 16, 256, half, 0.9, 1000, "untrained"],
    },
  },
  {
    class: "VisionTransformer",
    args: { ...searched, reg_tokens: 1, qkv_bias: false },
    models: {
      vit_so150m2_patch16_reg1_gap_256: [s.so150m2, 16, 256, half, 1, 1000, "sbb_e200_in12k_ft_in1k"],
      vit_so150m2_patch16_reg1_gap_384: [s.so150m2, 16, 384, half, 1, 1000, "sbb_e200_in12k_ft_in1k"],
      vit_so150m2_patch16_reg1_gap_448: [s.so150m2, 16, 448, half, 1, 1000, "sbb_e200_in12k_ft_in1k", { crop_mode: "squash" }],
    },
  },
  {
    class: "VisionTransformer",
    args: { class_token: false, global_pool: "avg", fc_norm: false, reg_tokens: 4 },
    models: {
      vit_so150m_patch16_reg4_gap_256: [s.so150m, 16, 256, half, 0.95, 1000, "sbb_e250_in12k_ft_in1k"],
      vit_so150m_patch16_reg4_gap_384: [s.so150m, 16, 384, half, 1, 1000, "sbb_e250_in12k_ft_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { class_token: false, global_pool: "map", reg_tokens: 4 },
    models: {
      vit_so150m_patch16_reg4_map_256: [s.so150m, 16, 256, half, 0.9, 1000, "untrained"],
    },
  },
  // With parallel branches, differential attention, and both.
  {
    class: "VisionTransformer",
    args: { ...searched, no_embed_class: true, reg_tokens: 1, block_fn: "ParallelScalingBlock" },
    models: {
      vit_pwee_patch16_reg1_gap_256: [s.pwee, 16, 256, half, 0.95, 1000, "sbb_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { ...searched, no_embed_class: true, reg_tokens: 1, attn_layer: "diff" },
    models: {
      vit_dlittle_patch16_reg1_gap_256: [s.little, 16, 256, half, 0.95, 1000, "sbb_nadamuon_in1k"],
      vit_dwee_patch16_reg1_gap_256: [s.wee, 16, 256, half, 0.95, 1000, "sbb_nadamuon_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { ...searched, no_embed_class: true, reg_tokens: 1, block_fn: "DiffParallelScalingBlock" },
    models: {
      vit_dpwee_patch16_reg1_gap_256: [s.pwee, 16, 256, half, 0.95, 1000, "sbb_nadamuon_in1k"],
    },
  },
];
