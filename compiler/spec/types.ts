/** A size in pixels: one number for a square, or [height, width]. */
export type Size = number | readonly [height: number, width: number];

/** Activation functions. `gelu` is exact (erf), `gelu_tanh` its tanh approximation, `quick_gelu` is x * sigmoid(1.702 x). */
export type Activation = "gelu" | "gelu_tanh" | "quick_gelu" | "relu" | "silu";

/** How matrices are stored on the GPU. */
export type DType = "f32" | "f16";

/**
 * A Vision Transformer, declared. Only `name`, `image`, `patch`, `dim`, `depth` and `heads` are required;
 * the defaults are the ViT of "An Image is Worth 16x16 Words" as timm builds it.
 */
export interface ViTSpec {
  /** Names the generated package: letters, digits, dots, dashes, underscores. */
  name: string;
  /** Class names for the logits, one a class. */
  labels?: readonly string[] | undefined;
  /** Image size in pixels: one number, or [height, width]. */
  image: Size;
  /** Patch size in pixels (in positions of the stem's output, if there is a stem): one number, or [height, width]. */
  patch: Size;
  /** What to do when the patch does not divide the image: `refuse` (default), or `crop` the rows and columns at the bottom and right. */
  patchRemainder?: "refuse" | "crop" | undefined;
  /** Channels of the image: 3 (default), 1 for gray, or any other number for tensors. */
  channels?: number | undefined;
  /** Convolutions before the patch embedding, each followed by batch norm and ReLU; padding is floor(kernel / 2). Default: none. */
  stem?: readonly StemLayer[] | undefined;
  /** A norm over each patch's embedding, before positions are added. Default: false. */
  patchNorm?: boolean | undefined;
  /** Whether the patch embedding adds a bias. Default: true. */
  patchBias?: boolean | undefined;
  /** Width of a token (embedding dimension). */
  dim: number;
  /** Number of encoder blocks. */
  depth: number;
  /** Number of attention heads. */
  heads: number;
  /** Width of a head. Default: dim / heads. */
  headDim?: number | undefined;
  /** The MLP of a block. */
  mlp?: MlpSpec | undefined;
  /** The attention of a block. */
  attention?: AttentionSpec | undefined;
  /** Learned tokens put before the patches. */
  tokens?: TokensSpec | undefined;
  /** Position encoding, added to the tokens before the first block. */
  position?: PositionSpec | undefined;
  /** The norm used everywhere. */
  norm?: NormSpec | undefined;
  /** Initial value of LayerScale: a learned factor for each channel of both branches of a block, before they are added. Default: none. */
  layerScale?: number | undefined;
  /** Where the last norm stands: over all `tokens` (default), over the `pooled` vector, or `none`. */
  finalNorm?: "tokens" | "pooled" | "none" | undefined;
  /** How tokens become one vector: the class `token` (default), or the `avg` or `max` over patch tokens. */
  pool?: "token" | "avg" | "max" | undefined;
  /** Width of a linear layer with tanh between the pooled vector and the head. Default 0: none. */
  representation?: number | undefined;
  /** Number of classes, default 1000. With 0 there is no head: the model returns `features`. */
  classes?: number | undefined;
  /** Dropout rates in training; the identity at inference. */
  dropout?: DropoutSpec | undefined;
  /**
   * Tensors to return besides the logits (or features): `embed` (tokens before the first block), `blocks.0` ..., `blocks.*` (all), `norm`
   * (tokens after the last norm), `features` (what the head reads), `logits_cls` and `logits_dist` (each head of a distilled model).
   */
  outputs?: readonly string[] | undefined;
  /** How a photograph becomes the input tensor. */
  preprocess?: PreprocessSpec | undefined;
  /** Batch sizes to compile for, default [1]. A run takes any number of images whatever they are. */
  batch?: number | readonly number[] | undefined;
  /** How matrices are stored, in the order of preference: `f32` (default), or `f16` where the adapter has shader-f16; arithmetic is f32 in any case. */
  dtype?: DType | readonly DType[] | undefined;
}

/** One convolution of the stem. */
export interface StemLayer {
  /** Output channels. */
  channels: number;
  /** Kernel size, square. */
  kernel: number;
  /** Stride in both directions. Default: 1. */
  stride?: number | undefined;
}

export interface MlpSpec {
  /** Hidden width as a multiple of dim, default 4: hidden = trunc(dim * ratio). */
  ratio?: number | undefined;
  /** Hidden width itself, instead of `ratio`. */
  hidden?: number | undefined;
  /** Default: gelu. */
  activation?: Activation | undefined;
  /** Whether both linear layers have a bias. Default: true. */
  bias?: boolean | undefined;
}

export interface AttentionSpec {
  /** Whether the projection to q, k, v has a bias. Default: true. */
  qkvBias?: boolean | undefined;
  /** Factor on the scores. Default: headDim ** -0.5. */
  scale?: number | undefined;
  /** Whether the output projection has a bias. Default: true. */
  projBias?: boolean | undefined;
}

export interface TokensSpec {
  /** A class token. Default: true. */
  class?: boolean | undefined;
  /** A distillation token with a head of its own (DeiT); inference returns the mean of both heads. Default: false. */
  distillation?: boolean | undefined;
}

export interface PositionSpec {
  /**
   * `learned` (default); `sincos2d`: fixed sines and cosines of row and column (as MAE); `sincos1d`: of the patch index (as the
   * original Transformer); `none`.
   */
  kind?: "learned" | "sincos2d" | "sincos1d" | "none" | undefined;
  /** Whether a learned table has rows for the prefix tokens too. Default: true. Fixed tables are zero there. */
  prefix?: boolean | undefined;
  /** Base of the wavelengths of the fixed tables. Default: 10000. */
  temperature?: number | undefined;
}

export interface NormSpec {
  /** Layer norm. */
  kind?: "layer" | undefined;
  /** Added to the variance. Default: 1e-6. */
  eps?: number | undefined;
}

export interface DropoutSpec {
  /** After positions are added. Default: 0. */
  position?: number | undefined;
  /** On the attention weights. Default: 0. */
  attention?: number | undefined;
  /** After the attention projection, after the MLP's activation, and after the MLP. Default: 0. */
  projection?: number | undefined;
  /** DropPath (stochastic depth): the rate of the last block; it rises linearly from 0 in the first. Default: 0. */
  path?: number | undefined;
}

export interface PreprocessSpec {
  /** `center` (default): resize the shorter side to floor(image / cropPct), crop the centre. `squash`: resize both sides, whatever the aspect. */
  crop?: "center" | "squash" | undefined;
  /** Share of the resized image that the crop keeps, in (0, 1]. Default: 0.9. */
  cropPct?: number | undefined;
  /** Resampling filter, Pillow's arithmetic. Default: bicubic. */
  interpolation?: "bilinear" | "bicubic" | "lanczos" | "nearest" | undefined;
  /** Subtracted from pixel / 255: one number or one a channel. Default: 0.5. */
  mean?: number | readonly number[] | undefined;
  /** Then divided by: one number or one a channel. Default: 0.5. */
  std?: number | readonly number[] | undefined;
  /**
   * Where mean and std are applied: `outside` (default), so that the model takes normalised values, or `inside`, so that it takes pixel
   * values from 0 to 1.
   */
  normalize?: "outside" | "inside" | undefined;
}
