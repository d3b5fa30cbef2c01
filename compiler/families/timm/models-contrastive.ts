import { clip, half, imagenet, layerNorm5, rmsNorm5, sizes as s, type TimmGroup } from "./table.js";

const clipArgs = { pre_norm: true, norm_layer: layerNorm5 } as const;
const map = { class_token: false, global_pool: "map" } as const;
const gap = { class_token: false, global_pool: "avg", fc_norm: false } as const;

/** Image towers trained with text: CLIP and SigLIP. AIMv2 reads like them. */
export const contrastiveModels: readonly TimmGroup[] = [
  // CLIP.
  {
    class: "VisionTransformer",
    args: clipArgs,
    models: {
      vit_base_patch16_clip_224: [s.base, 16, 224, clip, 0.95, 1000, "laion2b_ft_in12k_in1k"],
      vit_base_patch16_clip_384: [s.base, 16, 384, clip, 1, 1000, "laion2b_ft_in12k_in1k", { crop_mode: "squash" }],
      vit_base_patch16_plus_clip_240: [s.plus, 16, 240, clip, 1, 640, "laion400m_e32"],
      vit_base_patch32_clip_224: [s.base, 32, 224, clip, 0.9, 1000, "laion2b_ft_in12k_in1k"],
      vit_base_patch32_clip_256: [s.base, 32, 256, clip, 1, 512, "datacompxl"],
      vit_base_patch32_clip_384: [s.base, 32, 384, clip, 1, 1000, "laion2b_ft_in12k_in1k"],
      vit_base_patch32_clip_448: [s.base, 32, 448, clip, 1, 1000, "laion2b_ft_in12k_in1k"],
      vit_betwixt_patch32_clip_224: [s.betwixt, 32, 224, clip, 0.9, 512, "tinyclip_laion400m"],
      vit_giant_patch14_clip_224: [s.giant, 14, 224, clip, 1, 1024, "laion2b"],
      vit_gigantic_patch14_clip_224: [s.gigantic, 14, 224, clip, 1, 1280, "laion2b"],
      vit_gigantic_patch14_clip_378: [s.gigantic, 14, 378, clip, 1, 1280, "metaclip2_worldwide", { crop_mode: "squash" }],
      vit_huge_patch14_clip_224: [s.huge, 14, 224, clip, 1, 1000, "laion2b_ft_in12k_in1k"],
      vit_huge_patch14_clip_336: [s.huge, 14, 336, clip, 1, 1000, "laion2b_ft_in12k_in1k", { crop_mode: "squash" }],
      vit_huge_patch14_clip_378: [s.huge, 14, 378, clip, 1, 1024, "dfn5b"],
      vit_large_patch14_clip_224: [s.large, 14, 224, half, 1, 1000, "laion2b_ft_in12k_in1k"],
      vit_large_patch14_clip_336: [s.large, 14, 336, half, 1, 1000, "laion2b_ft_in12k_in1k", { crop_mode: "squash" }],
      vit_medium_patch16_clip_224: [s.medium, 16, 224, clip, 0.9, 512, "tinyclip_yfcc15m"],
      vit_medium_patch32_clip_224: [s.medium, 32, 224, clip, 0.9, 512, "tinyclip_laion400m"],
      vit_xsmall_patch16_clip_224: [s.xsmall, 16, 224, clip, 0.9, 512, "tinyclip_yfcc15m"],
    },
  },
  // CLIP as OpenAI trained it.
  {
    class: "VisionTransformer",
    args: { ...clipArgs, act_layer: "quick_gelu" },
    models: {
      vit_base_patch16_clip_quickgelu_224: [s.base, 16, 224, clip, 1, 512, "metaclip_2pt5b"],
      vit_base_patch32_clip_quickgelu_224: [s.base, 32, 224, clip, 0.9, 512, "laion400m_e32"],
      vit_gigantic_patch14_clip_quickgelu_224: [s.gigantic, 14, 224, clip, 1, 1280, "metaclip_2pt5b"],
      vit_huge_patch14_clip_quickgelu_224: [s.huge, 14, 224, clip, 1, 1024, "dfn5b"],
      vit_huge_patch14_clip_quickgelu_378: [s.huge, 14, 378, clip, 1, 1024, "dfn5b"],
      vit_large_patch14_clip_quickgelu_224: [s.large, 14, 224, clip, 1, 768, "dfn2b"],
      vit_large_patch14_clip_quickgelu_336: [s.large, 14, 336, clip, 1, 768, "openai"],
    },
  },
  // SigLIP with its head.
  {
    class: "VisionTransformer",
    args: map,
    models: {
      vit_base_patch16_siglip_224: [s.base, 16, 224, half, 0.9, 0, "v2_webli"],
      vit_base_patch16_siglip_256: [s.base, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_base_patch16_siglip_384: [s.base, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_base_patch16_siglip_512: [s.base, 16, 512, half, 0.9, 0, "v2_webli"],
      vit_large_patch16_siglip_256: [s.large, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_large_patch16_siglip_384: [s.large, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch14_siglip_224: [s.so400m, 14, 224, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch14_siglip_378: [s.so400m, 14, 378, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch14_siglip_384: [s.so400m, 14, 384, half, 0.9, 0, "webli"],
    },
  },
  {
    class: "VisionTransformer",
    args: { ...map, act_layer: "gelu_tanh" },
    models: {
      vit_base_patch32_siglip_256: [s.base, 32, 256, half, 0.9, 0, "v2_webli"],
      vit_giantopt_patch16_siglip_256: [s.giantopt, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_giantopt_patch16_siglip_384: [s.giantopt, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_large_patch16_siglip_512: [s.large, 16, 512, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch16_siglip_256: [s.so400m, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch16_siglip_384: [s.so400m, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch16_siglip_512: [s.so400m, 16, 512, half, 0.9, 0, "v2_webli"],
    },
  },
  // SigLIP without its head, PaliGemma, and others of that form (I-JEPA).
  {
    class: "VisionTransformer",
    args: gap,
    models: {
      vit_base_patch16_gap_224: [{ ...s.base, num_heads: 16 }, 16, 224, half, 0.9, 1000, "untrained"],
      vit_base_patch16_siglip_gap_224: [s.base, 16, 224, half, 0.9, 0, "v2_webli"],
      vit_base_patch16_siglip_gap_256: [s.base, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_base_patch16_siglip_gap_384: [s.base, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_base_patch16_siglip_gap_512: [s.base, 16, 512, half, 0.9, 0, "v2_webli"],
      vit_giant_patch16_gap_224: [s.giant, 16, 224, imagenet, 0.9, 0, "in22k_ijepa"],
      vit_huge_patch14_gap_224: [s.huge, 14, 224, imagenet, 0.9, 0, "in1k_ijepa"],
      vit_huge_patch16_gap_448: [s.huge, 16, 448, imagenet, 1, 0, "in1k_ijepa"],
      vit_large_patch16_siglip_gap_256: [s.large, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_large_patch16_siglip_gap_384: [s.large, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch14_siglip_gap_224: [s.so400m, 14, 224, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch14_siglip_gap_378: [s.so400m, 14, 378, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch14_siglip_gap_384: [s.so400m, 14, 384, half, 1, 0, "webli"],
      vit_so400m_patch14_siglip_gap_448: [s.so400m, 14, 448, half, 1, 0, "pali_mix"],
      vit_so400m_patch14_siglip_gap_896: [s.so400m, 14, 896, half, 1, 0, "pali_pt"],
    },
  },
  {
    class: "VisionTransformer",
    args: { ...gap, act_layer: "gelu_tanh" },
    models: {
      vit_base_patch32_siglip_gap_256: [s.base, 32, 256, half, 0.9, 0, "v2_webli"],
      vit_giantopt_patch16_siglip_gap_256: [s.giantopt, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_giantopt_patch16_siglip_gap_384: [s.giantopt, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_large_patch16_siglip_gap_512: [s.large, 16, 512, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch16_siglip_gap_256: [s.so400m, 16, 256, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch16_siglip_gap_384: [s.so400m, 16, 384, half, 0.9, 0, "v2_webli"],
      vit_so400m_patch16_siglip_gap_512: [s.so400m, 16, 512, half, 0.9, 0, "v2_webli"],
    },
  },
  // AIMv2.
  {
    class: "VisionTransformer",
    args: { ...gap, act_layer: "silu", mlp_layer: "SwiGLU", norm_layer: rmsNorm5, embed_norm_layer: rmsNorm5, qkv_bias: false, proj_bias: false },
    models: {
      aimv2_1b_patch14_224: [{ embed_dim: 2048, depth: 24, num_heads: 16, mlp_ratio: 2.75 }, 14, 224, clip, 1, 0, "apple_pt"],
      aimv2_1b_patch14_336: [{ embed_dim: 2048, depth: 24, num_heads: 16, mlp_ratio: 2.75 }, 14, 336, clip, 1, 0, "apple_pt"],
      aimv2_1b_patch14_448: [{ embed_dim: 2048, depth: 24, num_heads: 16, mlp_ratio: 2.75 }, 14, 448, clip, 1, 0, "apple_pt"],
      aimv2_3b_patch14_224: [{ embed_dim: 3072, depth: 24, num_heads: 24, mlp_ratio: 2.6667 }, 14, 224, clip, 1, 0, "apple_pt"],
      aimv2_3b_patch14_336: [{ embed_dim: 3072, depth: 24, num_heads: 24, mlp_ratio: 2.6667 }, 14, 336, clip, 1, 0, "apple_pt"],
      aimv2_3b_patch14_448: [{ embed_dim: 3072, depth: 24, num_heads: 24, mlp_ratio: 2.6667 }, 14, 448, clip, 1, 0, "apple_pt"],
      aimv2_huge_patch14_224: [{ embed_dim: 1536, depth: 24, num_heads: 12, mlp_ratio: 2.6667 }, 14, 224, clip, 1, 0, "apple_pt"],
      aimv2_huge_patch14_336: [{ embed_dim: 1536, depth: 24, num_heads: 12, mlp_ratio: 2.6667 }, 14, 336, clip, 1, 0, "apple_pt"],
      aimv2_huge_patch14_448: [{ embed_dim: 1536, depth: 24, num_heads: 12, mlp_ratio: 2.6667 }, 14, 448, clip, 1, 0, "apple_pt"],
      aimv2_large_patch14_224: [{ embed_dim: 1024, depth: 24, num_heads: 8, mlp_ratio: 2.75 }, 14, 224, clip, 1, 0, "apple_pt"],
      aimv2_large_patch14_336: [{ embed_dim: 1024, depth: 24, num_heads: 8, mlp_ratio: 2.75 }, 14, 336, clip, 1, 0, "apple_pt"],
      aimv2_large_patch14_448: [{ embed_dim: 1024, depth: 24, num_heads: 8, mlp_ratio: 2.75 }, 14, 448, clip, 1, 0, "apple_pt"],
    },
  },
];
