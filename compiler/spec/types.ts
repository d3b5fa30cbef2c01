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
  /** The patch embedding of the weight file is for patches of another size than this model's, and is resampled when it is loaded. */
  patchResample?: PatchResampleSpec | undefined;
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
  /** Rotary positions: queries and keys of patches are turned by their place, in every block. Default: none. */
  rope?: RopeSpec | undefined;
  /** The norm used everywhere. */
  norm?: NormSpec | undefined;
  /** A norm over all tokens before the first block, after positions are added (CLIP). Default: false. */
  preNorm?: boolean | undefined;
  /**
   * How a block joins its branches to the tokens x. `pre` (default): x += attention(norm1 x), then x += mlp(norm2 x). `post`: the norms stand
   * behind the branches, x += norm1(attention(x)), x += norm2(mlp(x)). `parallel`: both branches read one norm and are added together
   * (ViT-22B). `parallelThings`: two attentions side by side, then two MLPs, each with a norm of its own.
   */
  block?: "pre" | "post" | "parallel" | "parallelThings" | undefined;
  /** Initial value of LayerScale: a learned factor for each channel of both branches of a block, before they are added. Default: none. */
  layerScale?: number | undefined;
  /** Where the last norm stands: over all `tokens` (default), over the `pooled` vector, or `none`. */
  finalNorm?: "tokens" | "pooled" | "none" | undefined;
  /**
   * How tokens become one vector: the class `token` (default); the `avg` or `max` over patch tokens, or their mean `avgmax`; `tokenavg`: the
   * class token and beside it the average over patch tokens (DINOv2's classifier); `map`: a learned query attends to the patch tokens, and an
   * MLP follows (SigLIP); `none`: there is no vector and no head, the model returns `tokens`.
   */
  pool?: "token" | "avg" | "max" | "avgmax" | "tokenavg" | "map" | "none" | undefined;
  /** Whether avg, max, avgmax and map pooling read the prefix tokens too. Default: false. */
  poolPrefix?: boolean | undefined;
  /** The attention and MLP of `pool: "map"`. */
  mapPool?: MapPoolSpec | undefined;
  /** Width of a linear layer with tanh between the pooled vector and the head. Default 0: none. */
  representation?: number | undefined;
  /** Number of classes, default 1000. With 0 there is no head: the model returns `features`. */
  classes?: number | undefined;
  /** Whether the head has a bias. Default: true. */
  headBias?: boolean | undefined;
  /** Dropout rates in training; the identity at inference. */
  dropout?: DropoutSpec | undefined;
  /**
   * Tensors to return besides the logits (or features): `embed` (tokens before the first block), `blocks.0` ..., `blocks.*` (all), `norm`
   * (tokens after the last norm), `tokens` (those that are pooled: after the last norm, if it stands there), `features` (what the head reads;
   * of a distilled model the mean of both tokens), `logits_cls` and `logits_dist` (each head of a distilled model), `embedding` (the features, or
   * what a projection makes of them, divided by their length), and attention maps, [heads, queries, keys] after the softmax: `blocks.0.attn` ...,
   * `blocks.*.attn` (of all blocks). What is not asked for is not computed.
   */
  outputs?: readonly string[] | undefined;
  /** Other names for outputs in the package, by their name here: { tokens: "last_hidden_state" }. */
  outputNames?: Readonly<Record<string, string>> | undefined;
  /** How a photograph becomes the input tensor. */
  preprocess?: PreprocessSpec | undefined;
  /** Batch sizes to compile for, default [1]. A run takes any number of images whatever they are. */
  batch?: number | readonly number[] | undefined;
  /** How matrices are stored, in the order of preference: `f32` (default), or `f16` where the adapter has shader-f16; arithmetic is f32 in any case. */
  dtype?: DType | readonly DType[] | undefined;
}

/**
 * How a patch embedding for patches of one size becomes one for another (FlexiViT, arXiv 2212.08013): the pseudo-inverse of a resize, so that
 * patches of the old size, resized to the new, are embedded as before.
 */
export interface PatchResampleSpec {
  /** The patch of the weight file. Default: the model's own, until another is asked for. */
  patch?: Size | undefined;
  /** Of the resize. Default: bicubic. */
  filter?: "bilinear" | "bicubic" | undefined;
  /** Whether the resize is antialiased. Default: true. */
  antialias?: boolean | undefined;
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
  /** Default: gelu, and silu with `gate`. */
  activation?: Activation | undefined;
  /**
   * A second linear layer beside the first, whose output is multiplied in: activation(gate) * value. `split`: two layers fc1_g (gate) and fc1_x
   * (EVA02, AIMv2). `packed`: both in one layer fc1 of twice the hidden width, gate first (DINOv2-g). `packedLast`: likewise, gate last (timm's
   * GluMlp). Default: none. `hidden` is the width of each.
   */
  gate?: "none" | "split" | "packed" | "packedLast" | undefined;
  /** A norm over the hidden width before the second layer. Default: false. */
  norm?: boolean | undefined;
  /** Whether the linear layers have a bias. Default: true. */
  bias?: boolean | undefined;
}

export interface AttentionSpec {
  /** Whether the projection to q, k, v has a bias: `true` (default), `false`, or `qv` where keys have none (BEiT, EVA). */
  qkvBias?: boolean | "qv" | undefined;
  /** Factor on the scores. Default: headDim ** -0.5. */
  scale?: number | undefined;
  /** Whether the output projection has a bias. Default: true. */
  projBias?: boolean | undefined;
  /** Norms of queries and of keys over the width of a head, shared by all heads, before positions and scale. Default: false. */
  qkNorm?: boolean | undefined;
  /** A norm over all heads together, before the output projection. Default: false. */
  norm?: boolean | undefined;
  /** The heads' output is multiplied by sigmoid of a linear layer of the block's input, before the output projection. Default: false. */
  gate?: boolean | undefined;
  /** A learned bias of scores by the distance of two patches, from a table in every block (BEiT). Default: false. */
  relative?: boolean | undefined;
  /** The tables of `relative` in the weight file are for another grid of patches than this model's, and are resampled when they are loaded. */
  relativeResample?: RelativeResampleSpec | undefined;
  /** Differential attention: the difference of two softmax maps of half as wide heads (arXiv 2410.05258). Default: false. */
  differential?: boolean | undefined;
}

/** How tables of relative positions for one grid become those for another. */
export interface RelativeResampleSpec {
  /** The grid of the weight file: rows and columns of patches. Default: the model's own, until another image or patch is asked for. */
  grid?: Size | undefined;
  /**
   * `geometric` (default): distances of the old grid are spread so that their steps grow by a constant factor, and values between them are
   * linear (timm, and BEiT's own code). `bilinear`: the table is resized as an image (transformers).
   */
  filter?: "geometric" | "bilinear" | undefined;
}

export interface TokensSpec {
  /** A class token. Default: true. */
  class?: boolean | undefined;
  /** A distillation token with a head of its own (DeiT); inference returns the mean of both heads. Default: false. */
  distillation?: boolean | undefined;
  /** How many learned tokens besides, which no head reads (arXiv 2309.16588). Default: 0. */
  registers?: number | undefined;
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
  /** The learned table of the weight file is for another grid of patches than this model's, and is resampled when it is loaded. */
  resample?: ResampleSpec | undefined;
}

/** How a table of positions for one grid becomes one for another: PyTorch's `interpolate`. */
export interface ResampleSpec {
  /** The grid of the weight file: rows and columns of patches. Default: the model's own, until another image or patch is asked for. */
  grid?: Size | undefined;
  /** Default: bicubic. */
  filter?: "bilinear" | "bicubic" | undefined;
  /** Default: true, as timm does; transformers does not. */
  antialias?: boolean | undefined;
  /** Whether first and last places of both grids coincide, as torchvision has it. Default: false. */
  corners?: boolean | undefined;
  /** Added to the size of the new grid where places are computed; DINOv2's code has 0.1. Default: 0. */
  offset?: number | undefined;
}

export interface RopeSpec {
  /**
   * `axial`: the angles of rows and columns side by side, neighbouring values in pairs (EVA02, Perception Encoder). `mixed`: the angles are
   * learned for each block and head, of row and column together. `dinov3`: coordinates from -1 to 1, and pairs are half a head apart.
   */
  kind: "axial" | "mixed" | "dinov3";
  /** Base of the wavelengths. Default: 10000, and 100 for dinov3. */
  temperature?: number | undefined;
  /** Which coordinate comes first, row or column. Default: `ij`. Axial only. */
  order?: "ij" | "xy" | undefined;
  /** Coordinates are scaled as if the grid had this many rows and columns. Default: the grid's own. Axial only. */
  reference?: Size | undefined;
  /** Added to every coordinate. Default: 0. Axial only. */
  offset?: number | undefined;
}

export interface MapPoolSpec {
  /** Default: those of a block. */
  heads?: number | undefined;
  /** Hidden width. Default: that of a block's MLP. */
  hidden?: number | undefined;
}

export interface NormSpec {
  /** `layer` (default): layer norm, with scale and shift. `rms`: x / sqrt(mean(x²) + eps), with a scale. */
  kind?: "layer" | "rms" | undefined;
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
  /**
   * What is resized to floor(image / cropPct), or to `resize`. `center` (default): the shorter side, then the centre is cropped. `squash`: both
   * sides, whatever the aspect, then likewise. `border`: the longer side, and the mean colour is put around. A side that is smaller than the
   * image then is padded.
   */
  crop?: "center" | "squash" | "border" | undefined;
  /** Share of the resized image that the crop keeps, in (0, 1]. Default: 0.9. */
  cropPct?: number | undefined;
  /**
   * Size before the crop, instead of `cropPct`: one number, or [height, width], which `center` covers and `border` fits into. `none`: nothing is
   * resized, and photographs must have the size of the image.
   */
  resize?: Size | "none" | undefined;
  /** Where the crop begins if an odd number of pixels is cut off: half of it to the nearest even (`round`, default; timm, torchvision), or rounded down (`floor`, transformers). */
  cropOffset?: "round" | "floor" | undefined;
  /** Resampling filter, Pillow's arithmetic. Default: bicubic. */
  interpolation?: "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos" | undefined;
  /** Pixels are multiplied by `rescaleFactor` `after` they are resized, as bytes (default), or `before`, so that they are resized as floats (DINOv3). */
  rescale?: "after" | "before" | undefined;
  /** What a pixel from 0 to 255 is multiplied by. Default: 1 / 255. */
  rescaleFactor?: number | undefined;
  /** Subtracted from the rescaled pixel: one number or one a channel. Default: 0.5. */
  mean?: number | readonly number[] | undefined;
  /** Then divided by: one number or one a channel. Default: 0.5. */
  std?: number | readonly number[] | undefined;
  /**
   * Where mean and std are applied: `outside` (default), so that the model takes normalised values, or `inside`, so that it takes rescaled
   * pixels, from 0 to 1.
   */
  normalize?: "outside" | "inside" | undefined;
}
