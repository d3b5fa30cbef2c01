import { z } from "zod";
import type { ViTSpec } from "./types.js";

/**
 * The zod schema of a spec: the shape and range of each field. What fields mean together is in `rules.ts`. Descriptions equal
 * the doc comments in `types.ts` (a test holds them together), because editors show the one and JSON Schema the other.
 */

// Upper bounds are far above any published model: they turn a typing slip into a sentence instead of an allocation.
const count = (max: number) => z.number().int().min(1).max(max);
const optionalCount = (max: number) => z.number().int().min(0).max(max);
const size = (max: number) => z.union([count(max), z.tuple([count(max), count(max)]).readonly()]);
const rate = z.number().min(0).lt(1);

export const activations = ["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"] as const;

const stemLayer = z.strictObject({
  channels: count(65536).describe("Output channels."),
  kernel: count(63).describe("Kernel size, square."),
  stride: count(63).optional().describe("Stride in both directions. Default: 1."),
});

const mlp = z.strictObject({
  ratio: z.number().positive().max(64).optional().describe("Hidden width as a multiple of dim, default 4: hidden = trunc(dim * ratio)."),
  hidden: count(1048576).optional().describe("Hidden width itself, instead of `ratio`."),
  activation: z.enum(activations).optional().describe("Default: gelu."),
  bias: z.boolean().optional().describe("Whether both linear layers have a bias. Default: true."),
});

const attention = z.strictObject({
  qkvBias: z.boolean().optional().describe("Whether the projection to q, k, v has a bias. Default: true."),
  scale: z.number().positive().max(1e4).optional().describe("Factor on the scores. Default: headDim ** -0.5."),
  projBias: z.boolean().optional().describe("Whether the output projection has a bias. Default: true."),
});

const tokens = z.strictObject({
  class: z.boolean().optional().describe("A class token. Default: true."),
  distillation: z.boolean().optional().describe("A distillation token with a head of its own (DeiT); inference returns the mean of both heads. Default: false."),
});

const position = z.strictObject({
  kind: z.enum(["learned", "sincos2d", "sincos1d", "none"]).optional()
    .describe("`learned` (default); `sincos2d`: fixed sines and cosines of row and column (as MAE); `sincos1d`: of the patch index (as the original Transformer); `none`."),
  prefix: z.boolean().optional().describe("Whether a learned table has rows for the prefix tokens too. Default: true. Fixed tables are zero there."),
  temperature: z.number().min(1).max(1e9).optional().describe("Base of the wavelengths of the fixed tables. Default: 10000."),
});

const norm = z.strictObject({
  kind: z.enum(["layer"]).optional().describe("Layer norm."),
  eps: z.number().min(1e-30).max(1).optional().describe("Added to the variance. Default: 1e-6."),
});

const dropout = z.strictObject({
  position: rate.optional().describe("After positions are added. Default: 0."),
  attention: rate.optional().describe("On the attention weights. Default: 0."),
  projection: rate.optional().describe("After the attention projection, after the MLP's activation, and after the MLP. Default: 0."),
  path: rate.optional().describe("DropPath (stochastic depth): the rate of the last block; it rises linearly from 0 in the first. Default: 0."),
});

const perChannel = (value: z.ZodNumber) => z.union([value, z.array(value).min(1).max(4096).readonly()]);

const preprocess = z.strictObject({
  crop: z.enum(["center", "squash"]).optional()
    .describe("`center` (default): resize the shorter side to floor(image / cropPct), crop the centre. `squash`: resize both sides, whatever the aspect."),
  cropPct: z.number().min(0.05).max(1).optional().describe("Share of the resized image that the crop keeps, in (0, 1]. Default: 0.9."),
  interpolation: z.enum(["bilinear", "bicubic", "lanczos", "nearest"]).optional().describe("Resampling filter, Pillow's arithmetic. Default: bicubic."),
  mean: perChannel(z.number().min(-1e3).max(1e3)).optional().describe("Subtracted from pixel / 255: one number or one a channel. Default: 0.5."),
  std: perChannel(z.number().positive().max(1e3)).optional().describe("Then divided by: one number or one a channel. Default: 0.5."),
  normalize: z.enum(["outside", "inside"]).optional()
    .describe("Where mean and std are applied: `outside` (default), so that the model takes normalised values, or `inside`, so that it takes pixel values from 0 to 1."),
});

export const specSchema = z.strictObject({
  name: z.string().min(1).max(100).regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/).describe("Names the generated package: letters, digits, dots, dashes, underscores."),
  labels: z.array(z.string()).readonly().optional().describe("Class names for the logits, one a class."),
  image: size(16384).describe("Image size in pixels: one number, or [height, width]."),
  patch: size(16384).describe("Patch size in pixels (in positions of the stem's output, if there is a stem): one number, or [height, width]."),
  patchRemainder: z.enum(["refuse", "crop"]).optional()
    .describe("What to do when the patch does not divide the image: `refuse` (default), or `crop` the rows and columns at the bottom and right."),
  channels: count(4096).optional().describe("Channels of the image: 3 (default), 1 for gray, or any other number for tensors."),
  stem: z.array(stemLayer).max(64).readonly().optional()
    .describe("Convolutions before the patch embedding, each followed by batch norm and ReLU; padding is floor(kernel / 2). Default: none."),
  patchNorm: z.boolean().optional().describe("A norm over each patch's embedding, before positions are added. Default: false."),
  patchBias: z.boolean().optional().describe("Whether the patch embedding adds a bias. Default: true."),
  dim: count(65536).describe("Width of a token (embedding dimension)."),
  depth: count(1024).describe("Number of encoder blocks."),
  heads: count(4096).describe("Number of attention heads."),
  headDim: count(1024).optional().describe("Width of a head. Default: dim / heads."),
  mlp: mlp.optional().describe("The MLP of a block."),
  attention: attention.optional().describe("The attention of a block."),
  tokens: tokens.optional().describe("Learned tokens put before the patches."),
  position: position.optional().describe("Position encoding, added to the tokens before the first block."),
  norm: norm.optional().describe("The norm used everywhere."),
  layerScale: z.number().min(-1e3).max(1e3).optional()
    .describe("Initial value of LayerScale: a learned factor for each channel of both branches of a block, before they are added. Default: none."),
  finalNorm: z.enum(["tokens", "pooled", "none"]).optional()
    .describe("Where the last norm stands: over all `tokens` (default), over the `pooled` vector, or `none`."),
  pool: z.enum(["token", "avg", "max"]).optional()
    .describe("How tokens become one vector: the class `token` (default), or the `avg` or `max` over patch tokens."),
  representation: optionalCount(1048576).optional().describe("Width of a linear layer with tanh between the pooled vector and the head. Default 0: none."),
  classes: optionalCount(4_000_000).optional().describe("Number of classes, default 1000. With 0 there is no head: the model returns `features`."),
  dropout: dropout.optional().describe("Dropout rates in training; the identity at inference."),
  outputs: z.array(z.string()).max(4096).readonly().optional()
    .describe("Tensors to return besides the logits (or features): `embed` (tokens before the first block), `blocks.0` ..., `blocks.*` (all), `norm` (tokens after the last norm), `features` (what the head reads), `logits_cls` and `logits_dist` (each head of a distilled model)."),
  preprocess: preprocess.optional().describe("How a photograph becomes the input tensor."),
  batch: z.union([count(65536), z.array(count(65536)).min(1).max(16).readonly()]).optional()
    .describe("Batch sizes to compile for, default [1]. A run takes any number of images whatever they are."),
  dtype: z.union([z.enum(["f32", "f16"]), z.array(z.enum(["f32", "f16"])).min(1).max(2).readonly()]).optional()
    .describe("How matrices are stored, in the order of preference: `f32` (default), or `f16` where the adapter has shader-f16; arithmetic is f32 in any case."),
}) satisfies z.ZodType<ViTSpec>;

/** The JSON Schema of a spec, for editors that check `spec.json` files. */
export function specJsonSchema(): object {
  return z.toJSONSchema(specSchema, { io: "input" });
}
