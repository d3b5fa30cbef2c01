import { clip, half, imagenet, layerNorm5, sizes as s, type TimmGroup } from "./table.js";

const eva02 = { mlp_ratio: 8 / 3, swiglu_mlp: true, use_rot_pos_emb: true, ref_feat_shape: 16 } as const;
const eva02Split = { ...eva02, qkv_fused: false, scale_mlp: true } as const;
const searched = { class_token: false, use_abs_pos_emb: false, use_rot_pos_emb: true, ref_feat_shape: 16, init_values: 1e-5 } as const;
const axial = { attn_type: "rope", use_abs_pos_emb: false, use_rot_pos_emb: true, rope_grid_indexing: "xy", rope_temperature: 100, global_pool: "token", init_values: 1e-5 } as const;
const mixed = { ...axial, rope_type: "mixed", rope_temperature: 10 } as const;
const absolute = { use_abs_pos_emb: true, no_embed_class: true } as const;
const perception = { attn_type: "rope", use_rot_pos_emb: true, rope_grid_indexing: "xy", use_pre_transformer_norm: true, norm_layer: layerNorm5 } as const;
// With a class token the patches are counted from 1.
const offset = { rope_grid_offset: 1 } as const;
const core = { global_pool: "map", attn_pool_num_heads: 8, attn_pool_mlp_ratio: 4 } as const;
const unnormed = { use_post_transformer_norm: false, use_fc_norm: false, ref_feat_shape: 32 } as const;
const rotary3 = { use_abs_pos_emb: false, use_rot_pos_emb: true, rope_type: "dinov3", rope_temperature: 100, rope_rotate_half: true } as const;
const dinov3 = { ...rotary3, num_reg_tokens: 4, use_fc_norm: false, norm_layer: layerNorm5, init_values: 1e-5, dynamic_img_size: true, qkv_bias: false } as const;
const gated = (swiglu_align_to: number) => ({ swiglu_mlp: true, swiglu_align_to }) as const;

/** The models of timm's class Eva: EVA, EVA02, rotary ViTs, Perception Encoder, DINOv3; and BEiT. */
export const evaModels: readonly TimmGroup[] = [
  // EVA.
  {
    class: "Eva",
    args: {},
    models: {
      eva_giant_patch14_224: [s.giant, 14, 224, clip, 0.9, 1000, "clip_ft_in1k"],
      eva_giant_patch14_336: [s.giant, 14, 336, clip, 1, 1000, "clip_ft_in1k", { crop_mode: "squash" }],
      eva_giant_patch14_560: [s.giant, 14, 560, imagenet, 1, 1000, "m30m_ft_in22k_in1k", { crop_mode: "squash" }],
    },
  },
  {
    class: "Eva",
    args: { global_pool: "token" },
    models: {
      eva_giant_patch14_clip_224: [s.giant, 14, 224, clip, 0.9, 1024, "laion400m"],
    },
  },
  // EVA02.
  {
    class: "Eva",
    args: eva02,
    models: {
      eva02_small_patch14_224: [s.small, 14, 224, clip, 0.9, 0, "mim_in22k"],
      eva02_small_patch14_336: [s.small, 14, 336, clip, 1, 1000, "mim_in22k_ft_in1k"],
      eva02_tiny_patch14_224: [s.tiny, 14, 224, clip, 0.9, 0, "mim_in22k"],
      eva02_tiny_patch14_336: [s.tiny, 14, 336, clip, 1, 1000, "mim_in22k_ft_in1k"],
    },
  },
  {
    class: "Eva",
    args: eva02Split,
    models: {
      eva02_base_patch14_224: [s.base, 14, 224, clip, 0.9, 0, "mim_in22k"],
      eva02_base_patch14_448: [s.base, 14, 448, clip, 1, 1000, "mim_in22k_ft_in22k_in1k", { crop_mode: "squash" }],
      eva02_large_patch14_224: [s.large, 14, 224, clip, 0.9, 0, "mim_in22k"],
      eva02_large_patch14_448: [s.large, 14, 448, clip, 1, 1000, "mim_in22k_ft_in22k_in1k", { crop_mode: "squash" }],
    },
  },
  {
    class: "Eva",
    args: { ...eva02Split, scale_attn_inner: true, global_pool: "token" },
    models: {
      eva02_base_patch16_clip_224: [s.base, 16, 224, clip, 0.9, 512, "merged2b"],
      eva02_large_patch14_clip_224: [s.large, 14, 224, clip, 0.9, 768, "merged2b"],
      eva02_large_patch14_clip_336: [s.large, 14, 336, clip, 1, 768, "merged2b"],
    },
  },
  {
    class: "Eva",
    args: { use_post_norm: true, global_pool: "token" },
    models: {
      eva02_enormous_patch14_clip_224: [{ embed_dim: 1792, depth: 64, num_heads: 16, mlp_ratio: 15360 / 1792 }, 14, 224, clip, 0.9, 1024, "laion2b"],
    },
  },
  // Better ViT baselines with rotary positions.
  {
    class: "Eva",
    args: { ...searched, num_reg_tokens: 1 },
    models: {
      vit_base_patch16_rope_reg1_gap_256: [s.base, 16, 256, half, 0.95, 1000, "sbb_in1k"],
      vit_medium_patch16_rope_reg1_gap_256: [s.medium, 16, 256, half, 0.95, 1000, "sbb_in1k"],
    },
  },
  {
    class: "Eva",
    args: { ...searched, num_reg_tokens: 4 },
    models: {
      vit_betwixt_patch16_rope_reg4_gap_256: [s.betwixt, 16, 256, clip, 0.95, 1000, "sbb_in1k"],
    },
  },
  {
    class: "Eva",
    args: { ...searched, num_reg_tokens: 1, qkv_bias: false },
    models: {
      vit_mediumd_patch16_rope_reg1_gap_256: [s.mediumd, 16, 256, half, 0.95, 1000, "sbb_in1k"],
    },
  },
  // "Rotary Position Embedding for Vision Transformer".
  {
    class: "Eva",
    args: axial,
    models: {
      vit_large_patch16_rope_224: [s.large, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_small_patch16_rope_224: [s.small, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
    },
  },
  {
    class: "Eva",
    args: { ...axial, use_fc_norm: false },
    models: {
      vit_base_patch16_rope_224: [s.base, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
    },
  },
  {
    class: "Eva",
    args: { ...axial, ...absolute },
    models: {
      vit_base_patch16_rope_ape_224: [s.base, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_large_patch16_rope_ape_224: [s.large, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_small_patch16_rope_ape_224: [s.small, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
    },
  },
  {
    class: "Eva",
    args: mixed,
    models: {
      vit_base_patch16_rope_mixed_224: [s.base, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_large_patch16_rope_mixed_224: [s.large, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_small_patch16_rope_mixed_224: [s.small, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
    },
  },
  {
    class: "Eva",
    args: { ...mixed, ...absolute },
    models: {
      vit_base_patch16_rope_mixed_ape_224: [s.base, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_large_patch16_rope_mixed_ape_224: [s.large, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
      vit_small_patch16_rope_mixed_ape_224: [s.small, 16, 224, imagenet, 0.9, 1000, "naver_in1k"],
    },
  },
  // Perception Encoder.
  {
    class: "Eva",
    args: { ...perception, ...core, ...offset, ref_feat_shape: 14 },
    models: {
      vit_pe_core_base_patch16_224: [s.base, 16, 224, half, 1, 1024, "fb"],
    },
  },
  {
    class: "Eva",
    args: { ...perception, ...core, ...offset, ref_feat_shape: 24 },
    models: {
      vit_pe_core_large_patch14_336: [s.large, 14, 336, half, 1, 1024, "fb"],
      vit_pe_core_small_patch16_384: [s.small, 16, 384, half, 1, 512, "fb"],
      vit_pe_core_tiny_patch16_384: [s.tiny, 16, 384, half, 1, 512, "fb"],
    },
  },
  {
    class: "Eva",
    args: { ...perception, ...core, ref_feat_shape: 32, class_token: false },
    models: {
      vit_pe_core_gigantic_patch14_448: [{ ...s.giantopt, depth: 50, mlp_ratio: 8960 / 1536 }, 14, 448, half, 1, 1280, "fb"],
    },
  },
  {
    class: "Eva",
    args: { ...perception, ...unnormed, ...offset, init_values: 0.1 },
    models: {
      vit_pe_lang_large_patch14_448: [{ ...s.large, depth: 23 }, 14, 448, half, 1, 0, "fb"],
    },
  },
  {
    class: "Eva",
    args: { ...perception, ...unnormed, class_token: false, init_values: 0.1 },
    models: {
      vit_pe_lang_gigantic_patch14_448: [{ ...s.giantopt, depth: 47, mlp_ratio: 8960 / 1536 }, 14, 448, half, 1, 0, "fb"],
      vit_pe_spatial_gigantic_patch14_448: [{ ...s.giantopt, depth: 50, mlp_ratio: 8960 / 1536 }, 14, 448, half, 1, 0, "fb"],
    },
  },
  {
    class: "Eva",
    args: { ...perception, ...unnormed, ...offset },
    models: {
      vit_pe_spatial_base_patch16_512: [s.base, 16, 512, half, 1, 0, "fb"],
      vit_pe_spatial_large_patch14_448: [s.large, 14, 448, half, 1, 0, "fb"],
      vit_pe_spatial_small_patch16_512: [s.small, 16, 512, half, 1, 0, "fb"],
      vit_pe_spatial_tiny_patch16_512: [s.tiny, 16, 512, half, 1, 0, "fb"],
    },
  },
  // DINOv3; qkvb have biases of queries and values.
  {
    class: "Eva",
    args: dinov3,
    models: {
      vit_base_patch16_dinov3: [s.base, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_large_patch16_dinov3: [s.large, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_small_patch16_dinov3: [s.small, 16, 256, imagenet, 1, 0, "lvd1689m"],
    },
  },
  {
    class: "Eva",
    args: { ...dinov3, qkv_bias: true },
    models: {
      vit_base_patch16_dinov3_qkvb: [s.base, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_large_patch16_dinov3_qkvb: [s.large, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_small_patch16_dinov3_qkvb: [s.small, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_tiny_patch16_dinov3_qkvb: [s.tiny, 16, 256, imagenet, 1, 0, "eupe_lvd1689m"],
    },
  },
  {
    class: "Eva",
    args: { ...dinov3, ...gated(8) },
    models: {
      vit_huge_plus_patch16_dinov3: [{ ...s.huge, num_heads: 20 }, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_small_plus_patch16_dinov3: [s.small, 16, 256, imagenet, 1, 0, "lvd1689m"],
    },
  },
  {
    class: "Eva",
    args: { ...dinov3, ...gated(8), qkv_bias: true },
    models: {
      vit_huge_plus_patch16_dinov3_qkvb: [{ ...s.huge, num_heads: 20 }, 16, 256, imagenet, 1, 0, "lvd1689m"],
      vit_small_plus_patch16_dinov3_qkvb: [s.small, 16, 256, imagenet, 1, 0, "lvd1689m"],
    },
  },
  {
    class: "Eva",
    args: { ...dinov3, ...gated(64) },
    models: {
      vit_7b_patch16_dinov3: [{ embed_dim: 4096, depth: 40, num_heads: 32, mlp_ratio: 2 }, 16, 256, imagenet, 1, 0, "lvd1689m"],
    },
  },
  // LingBot-Vision.
  {
    class: "Eva",
    args: { ...dinov3, qkv_bias: true, global_pool: "token" },
    models: {
      vit_base_patch16_lingbot: [s.base, 16, 512, imagenet, 1, 0, "robbyant", { crop_mode: "squash", interpolation: "bilinear" }],
      vit_large_patch16_lingbot: [s.large, 16, 512, imagenet, 1, 0, "robbyant", { crop_mode: "squash", interpolation: "bilinear" }],
      vit_small_patch16_lingbot: [s.small, 16, 512, imagenet, 1, 0, "robbyant", { crop_mode: "squash", interpolation: "bilinear" }],
    },
  },
  {
    class: "Eva",
    args: { ...dinov3, ...gated(8), global_pool: "token" },
    models: {
      vit_giant_patch16_lingbot: [{ ...s.giantopt, num_heads: 24, mlp_ratio: 8 / 3 }, 16, 512, imagenet, 1, 0, "robbyant", { crop_mode: "squash", interpolation: "bilinear" }],
    },
  },
  // BEiT and BEiT v2.
  {
    class: "Beit",
    args: { use_abs_pos_emb: false, use_rel_pos_bias: true, init_values: 0.1 },
    models: {
      beit_base_patch16_224: [s.base, 16, 224, half, 0.9, 1000, "in22k_ft_in22k_in1k"],
      beit_base_patch16_384: [s.base, 16, 384, half, 1, 1000, "in22k_ft_in22k_in1k"],
    },
  },
  {
    class: "Beit",
    args: { use_abs_pos_emb: false, use_rel_pos_bias: true, init_values: 1e-5 },
    models: {
      beit_large_patch16_224: [s.large, 16, 224, half, 0.9, 1000, "in22k_ft_in22k_in1k"],
      beit_large_patch16_384: [s.large, 16, 384, half, 1, 1000, "in22k_ft_in22k_in1k"],
      beit_large_patch16_512: [s.large, 16, 512, half, 1, 1000, "in22k_ft_in22k_in1k"],
      beitv2_base_patch16_224: [s.base, 16, 224, imagenet, 0.9, 1000, "in1k_ft_in22k_in1k"],
      beitv2_large_patch16_224: [s.large, 16, 224, imagenet, 0.95, 1000, "in1k_ft_in22k_in1k"],
    },
  },
];
