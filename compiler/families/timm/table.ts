import type { BeitArguments, EvaArguments, NormLayer, VisionTransformerArguments } from "./arguments.js";

/** Models of one class that differ in their size, image and training alone. */
export type TimmGroup =
  | { readonly class: "VisionTransformer" | "VisionTransformerDistilled"; readonly args: Partial<VisionTransformerArguments>; readonly models: TimmRows }
  | { readonly class: "Eva"; readonly args: Partial<EvaArguments>; readonly models: TimmRows }
  | { readonly class: "Beit"; readonly args: Partial<BeitArguments>; readonly models: TimmRows };

export type TimmRows = Readonly<Record<string, TimmRow>>;

/** A model in one line. The last six are of the weights that timm takes where no tag is named: their image (its side), pixels, crop, classes and tag. */
export type TimmRow = readonly [size: TimmSize, patch: number, image: number, pixels: TimmPixels, crop_pct: number, num_classes: number, tag: string, other?: TimmOther];

/** What few weights have otherwise: `center` and `bicubic` are the rule. */
export interface TimmOther {
  readonly crop_mode?: "squash";
  readonly interpolation?: "bilinear";
}

/** Width, blocks, heads, and the hidden width of the MLP by the width, 4 where it is not given. */
export interface TimmSize {
  readonly embed_dim: number;
  readonly depth: number;
  readonly num_heads: number;
  readonly mlp_ratio?: number;
}

/** What pixels from 0 to 1 are normalised with, a value a channel. */
export interface TimmPixels {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export const half: TimmPixels = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
export const imagenet: TimmPixels = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
export const clip: TimmPixels = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };
/** Of DINOv3 on satellite images. */
export const satellite: TimmPixels = { mean: [0.43, 0.411, 0.296], std: [0.213, 0.156, 0.143] };
export const raw: TimmPixels = { mean: [0, 0, 0], std: [1, 1, 1] };

export const layerNorm5 = { name: "layernorm", eps: 1e-5 } as const satisfies NormLayer;
export const rmsNorm5 = { name: "rmsnorm", eps: 1e-5 } as const satisfies NormLayer;

/** Sizes that several models have, by timm's words for them. */
export const sizes = {
  tiny: { embed_dim: 192, depth: 12, num_heads: 3 },
  xsmall: { embed_dim: 256, depth: 10, num_heads: 4 },
  wee: { embed_dim: 256, depth: 14, num_heads: 4, mlp_ratio: 5 },
  pwee: { embed_dim: 256, depth: 16, num_heads: 4, mlp_ratio: 5 },
  little: { embed_dim: 320, depth: 14, num_heads: 5, mlp_ratio: 5.6 },
  small: { embed_dim: 384, depth: 12, num_heads: 6 },
  medium: { embed_dim: 512, depth: 12, num_heads: 8 },
  mediumd: { embed_dim: 512, depth: 20, num_heads: 8 },
  betwixt: { embed_dim: 640, depth: 12, num_heads: 10 },
  base: { embed_dim: 768, depth: 12, num_heads: 12 },
  so150m2: { embed_dim: 832, depth: 21, num_heads: 13, mlp_ratio: 34 / 13 },
  plus: { embed_dim: 896, depth: 12, num_heads: 14 },
  so150m: { embed_dim: 896, depth: 18, num_heads: 14, mlp_ratio: 2.572 },
  large: { embed_dim: 1024, depth: 24, num_heads: 16 },
  so400m: { embed_dim: 1152, depth: 27, num_heads: 16, mlp_ratio: 3.7362 },
  huge: { embed_dim: 1280, depth: 32, num_heads: 16 },
  giant: { embed_dim: 1408, depth: 40, num_heads: 16, mlp_ratio: 48 / 11 },
  giantopt: { embed_dim: 1536, depth: 40, num_heads: 16 },
  gigantic: { embed_dim: 1664, depth: 48, num_heads: 16, mlp_ratio: 64 / 13 },
} as const satisfies Readonly<Record<string, TimmSize>>;
