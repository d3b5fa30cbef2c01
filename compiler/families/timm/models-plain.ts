import { clip, half, imagenet, layerNorm5, raw, sizes as s, type TimmGroup } from "./table.js";

/** The models of the first papers: ViT, DeiT and what changes one thing of them. */
export const plainModels: readonly TimmGroup[] = [
  // The ViT of "An Image is Worth 16x16 Words", as the class is by default.
  {
    class: "VisionTransformer",
    args: {},
    models: {
      vit_base_patch8_224: [s.base, 8, 224, half, 0.9, 1000, "augreg2_in21k_ft_in1k"],
      vit_base_patch16_224: [s.base, 16, 224, half, 0.9, 1000, "augreg2_in21k_ft_in1k"],
      vit_base_patch16_384: [s.base, 16, 384, half, 1, 1000, "augreg_in21k_ft_in1k"],
      vit_base_patch32_224: [s.base, 32, 224, half, 0.9, 1000, "augreg_in21k_ft_in1k"],
      vit_base_patch32_384: [s.base, 32, 384, half, 1, 1000, "augreg_in21k_ft_in1k"],
      vit_giant_patch14_224: [s.giant, 14, 224, half, 0.9, 1000, "untrained"],
      vit_gigantic_patch14_224: [s.gigantic, 14, 224, half, 0.9, 1000, "untrained"],
      vit_huge_patch14_224: [s.huge, 14, 224, half, 0.9, 0, "orig_in21k"],
      vit_large_patch14_224: [s.large, 14, 224, half, 0.9, 1000, "untrained"],
      vit_large_patch16_224: [s.large, 16, 224, half, 0.9, 1000, "augreg_in21k_ft_in1k"],
      vit_large_patch16_384: [s.large, 16, 384, half, 1, 1000, "augreg_in21k_ft_in1k"],
      vit_large_patch32_224: [s.large, 32, 224, half, 0.9, 0, "orig_in21k"],
      vit_large_patch32_384: [s.large, 32, 384, half, 1, 1000, "orig_in21k_ft_in1k"],
      vit_small_patch8_224: [s.small, 8, 224, imagenet, 0.9, 0, "dino"],
      vit_small_patch16_224: [s.small, 16, 224, half, 0.9, 1000, "augreg_in21k_ft_in1k"],
      vit_small_patch16_384: [s.small, 16, 384, half, 1, 1000, "augreg_in21k_ft_in1k"],
      vit_small_patch32_224: [s.small, 32, 224, half, 0.9, 1000, "augreg_in21k_ft_in1k"],
      vit_small_patch32_384: [s.small, 32, 384, half, 1, 1000, "augreg_in21k_ft_in1k"],
      vit_tiny_patch16_224: [s.tiny, 16, 224, half, 0.9, 1000, "augreg_in21k_ft_in1k"],
      vit_tiny_patch16_384: [s.tiny, 16, 384, half, 1, 1000, "augreg_in21k_ft_in1k"],
    },
  },
  // DeiT: the same model in another training.
  {
    class: "VisionTransformer",
    args: {},
    models: {
      deit_base_patch16_224: [s.base, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit_base_patch16_384: [s.base, 16, 384, imagenet, 1, 1000, "fb_in1k"],
      deit_small_patch16_224: [s.small, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit_tiny_patch16_224: [s.tiny, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
    },
  },
  // DeiT with a distillation token.
  {
    class: "VisionTransformerDistilled",
    args: {},
    models: {
      deit_base_distilled_patch16_224: [s.base, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit_base_distilled_patch16_384: [s.base, 16, 384, imagenet, 1, 1000, "fb_in1k"],
      deit_small_distilled_patch16_224: [s.small, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit_tiny_distilled_patch16_224: [s.tiny, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
    },
  },
  // DeiT-III.
  {
    class: "VisionTransformer",
    args: { no_embed_class: true, init_values: 1e-6 },
    models: {
      deit3_base_patch16_224: [s.base, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit3_base_patch16_384: [s.base, 16, 384, imagenet, 1, 1000, "fb_in1k"],
      deit3_huge_patch14_224: [s.huge, 14, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit3_large_patch16_224: [s.large, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit3_large_patch16_384: [s.large, 16, 384, imagenet, 1, 1000, "fb_in1k"],
      deit3_medium_patch16_224: [s.medium, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit3_small_patch16_224: [s.small, 16, 224, imagenet, 0.9, 1000, "fb_in1k"],
      deit3_small_patch16_384: [s.small, 16, 384, imagenet, 1, 1000, "fb_in1k"],
    },
  },
  // FlexiViT.
  {
    class: "VisionTransformer",
    args: { no_embed_class: true },
    models: {
      flexivit_base: [s.base, 16, 240, half, 0.95, 1000, "1200ep_in1k"],
      flexivit_large: [s.large, 16, 240, half, 0.95, 1000, "1200ep_in1k"],
      flexivit_small: [s.small, 16, 240, half, 0.95, 1000, "1200ep_in1k"],
    },
  },
  // ImageNet-21k-P.
  {
    class: "VisionTransformer",
    args: { qkv_bias: false },
    models: {
      vit_base_patch16_224_miil: [s.base, 16, 224, raw, 0.875, 11221, "in21k", { interpolation: "bilinear" }],
    },
  },
  // With LayerScale, or deeper ("Three things everyone should know about Vision Transformers"); the 18x2 are twice as wide in parallel.
  {
    class: "VisionTransformer",
    args: { init_values: 1e-5 },
    models: {
      vit_base_patch16_plus_240: [s.plus, 16, 240, half, 0.95, 1000, "untrained"],
      vit_base_patch32_plus_256: [s.plus, 32, 256, half, 0.95, 1000, "untrained"],
      vit_small_patch16_36x1_224: [{ ...s.small, depth: 36 }, 16, 224, half, 0.9, 1000, "untrained"],
    },
  },
  {
    class: "VisionTransformer",
    args: { block_fn: "ParallelThingsBlock", init_values: 1e-5 },
    models: {
      vit_base_patch16_18x2_224: [{ ...s.base, depth: 18 }, 16, 224, half, 0.9, 1000, "untrained"],
      vit_small_patch16_18x2_224: [{ ...s.small, depth: 18 }, 16, 224, half, 0.9, 1000, "untrained"],
    },
  },
  // Norms behind the branches.
  {
    class: "VisionTransformer",
    args: { block_fn: "ResPostBlock", class_token: false, global_pool: "avg", init_values: 1e-5, qkv_bias: false },
    models: {
      vit_base_patch16_rpn_224: [s.base, 16, 224, half, 0.9, 1000, "sw_in1k"],
    },
  },
  // The block of ViT-22B.
  {
    class: "VisionTransformer",
    args: { block_fn: "ParallelScalingBlock", pre_norm: true, no_embed_class: true, norm_layer: "rmsnorm", qkv_bias: false, qk_norm: true },
    models: {
      vit_base_patch16_xp_224: [s.base, 16, 224, half, 0.9, 1000, "untrained"],
      vit_huge_patch14_xp_224: [s.huge, 14, 224, half, 0.9, 1000, "untrained"],
      vit_large_patch14_xp_224: [s.large, 14, 224, half, 0.9, 1000, "untrained"],
    },
  },
  // Averaged patches without a class token.
  {
    class: "VisionTransformer",
    args: { class_token: false, global_pool: "avg", fc_norm: false, qkv_bias: false, init_values: 1e-6 },
    models: {
      vit_betwixt_patch16_gap_256: [s.betwixt, 16, 256, half, 0.95, 1000, "untrained"],
      vit_medium_patch16_gap_240: [s.medium, 16, 240, half, 0.95, 11821, "sw_in12k"],
      vit_medium_patch16_gap_256: [s.medium, 16, 256, half, 0.95, 1000, "sw_in12k_ft_in1k"],
      vit_medium_patch16_gap_384: [s.medium, 16, 384, half, 0.95, 1000, "sw_in12k_ft_in1k", { crop_mode: "squash" }],
    },
  },
  // EVA trained in the plain model.
  {
    class: "VisionTransformer",
    args: { global_pool: "avg" },
    models: {
      eva_large_patch14_196: [s.large, 14, 196, clip, 1, 1000, "in22k_ft_in22k_in1k"],
      eva_large_patch14_336: [s.large, 14, 336, clip, 1, 1000, "in22k_ft_in22k_in1k", { crop_mode: "squash" }],
    },
  },
  // BEiT-3.
  {
    class: "VisionTransformer",
    args: { global_pool: "avg", norm_layer: layerNorm5, scale_attn_norm: true, scale_mlp_norm: true },
    models: {
      beit3_base_patch16_224: [s.base, 16, 224, imagenet, 1, 1000, "in22k_ft_in1k"],
      beit3_giant_patch14_224: [{ ...s.giant, mlp_ratio: 4.3637 }, 14, 224, imagenet, 1, 1000, "untrained"],
      beit3_giant_patch14_336: [{ ...s.giant, mlp_ratio: 4.3637 }, 14, 336, imagenet, 1, 1000, "untrained"],
      beit3_large_patch16_224: [s.large, 16, 224, imagenet, 1, 1000, "in22k_ft_in1k"],
    },
  },
  // InternViT.
  {
    class: "VisionTransformer",
    args: { dynamic_img_size: true, final_norm: false, init_values: 0.1 },
    models: {
      vit_intern300m_patch14_448: [s.large, 14, 448, imagenet, 1, 0, "ogvl_dist"],
    },
  },
  // Small models for tests.
  {
    class: "VisionTransformer",
    args: { dynamic_img_size: true },
    models: {
      test_vit: [{ embed_dim: 64, depth: 6, num_heads: 2, mlp_ratio: 3 }, 16, 160, half, 0.95, 1000, "r160_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { dynamic_img_size: true, class_token: false, reg_tokens: 1, global_pool: "avg", init_values: 1e-5 },
    models: {
      test_vit2: [{ embed_dim: 64, depth: 8, num_heads: 2, mlp_ratio: 3 }, 16, 160, half, 0.95, 1000, "r160_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { class_token: false, reg_tokens: 1, global_pool: "map", pool_include_prefix: true, init_values: 1e-5 },
    models: {
      test_vit3: [{ embed_dim: 96, depth: 9, num_heads: 3, mlp_ratio: 2 }, 16, 160, half, 0.95, 1000, "r160_in1k"],
    },
  },
  {
    class: "VisionTransformer",
    args: { dynamic_img_size: true, class_token: false, reg_tokens: 1, global_pool: "avg", init_values: 1e-5, norm_layer: "rmsnorm" },
    models: {
      test_vit4: [{ embed_dim: 96, depth: 9, num_heads: 3, mlp_ratio: 3 }, 16, 160, half, 0.95, 1000, "r160_in1k"],
    },
  },
];
