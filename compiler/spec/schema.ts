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
  activation: z.enum(activations).optional().describe("Default: gelu, and silu with `gate`."),
  gate: z.enum(["none", "split", "packed", "packedLast"]).optional()
    .describe("A second linear layer beside the first, whose output is multiplied in: activation(gate) * value. `split`: two layers fc1_g (gate) and fc1_x (EVA02, AIMv2). `packed`: both in one layer fc1 of twice the hidden width, gate first (DINOv2-g). `packedLast`: likewise, gate last (timm's GluMlp). Default: none. `hidden` is the width of each."),
  norm: z.boolean().optional().describe("A norm over the hidden width before the second layer. Default: false."),
  bias: z.boolean().optional().describe("Whether the linear layers have a bias. Default: true."),
});

const patchResample = z.strictObject({
  patch: size(16384).optional().describe("The patch of the weight file. Default: the model's own, until another is asked for."),
  filter: z.enum(["bilinear", "bicubic"]).optional().describe("Of the resize. Default: bicubic."),
  antialias: z.boolean().optional().describe("Whether the resize is antialiased. Default: true."),
});

const relativeResample = z.strictObject({
  grid: size(16384).optional().describe("The grid of the weight file: rows and columns of patches. Default: the model's own, until another image or patch is asked for."),
  filter: z.enum(["geometric", "bilinear"]).optional()
    .describe("`geometric` (default): distances of the old grid are spread so that their steps grow by a constant factor, and values between them are linear (timm, and BEiT's own code). `bilinear`: the table is resized as an image (transformers)."),
});

const attention = z.strictObject({
  qkvBias: z.union([z.boolean(), z.literal("qv")]).optional().describe("Whether the projection to q, k, v has a bias: `true` (default), `false`, or `qv` where keys have none (BEiT, EVA)."),
  scale: z.number().positive().max(1e4).optional().describe("Factor on the scores. Default: headDim ** -0.5."),
  projBias: z.boolean().optional().describe("Whether the output projection has a bias. Default: true."),
  qkNorm: z.boolean().optional().describe("Norms of queries and of keys over the width of a head, shared by all heads, before positions and scale. Default: false."),
  norm: z.boolean().optional().describe("A norm over all heads together, before the output projection. Default: false."),
  gate: z.boolean().optional().describe("The heads' output is multiplied by sigmoid of a linear layer of the block's input, before the output projection. Default: false."),
  relative: z.boolean().optional().describe("A learned bias of scores by the distance of two patches, from a table in every block (BEiT). Default: false."),
  relativeResample: relativeResample.optional().describe("The tables of `relative` in the weight file are for another grid of patches than this model's, and are resampled when they are loaded."),
  differential: z.boolean().optional().describe("Differential attention: the difference of two softmax maps of half as wide heads (arXiv 2410.05258). Default: false."),
});

const tokens = z.strictObject({
  class: z.boolean().optional().describe("A class token. Default: true."),
  distillation: z.boolean().optional().describe("A distillation token with a head of its own (DeiT); inference returns the mean of both heads. Default: false."),
  registers: optionalCount(4096).optional().describe("How many learned tokens besides, which no head reads (arXiv 2309.16588). Default: 0."),
});

const resample = z.strictObject({
  grid: size(16384).optional().describe("The grid of the weight file: rows and columns of patches. Default: the model's own, until another image or patch is asked for."),
  filter: z.enum(["bilinear", "bicubic"]).optional().describe("Default: bicubic."),
  antialias: z.boolean().optional().describe("Default: true, as timm does; transformers does not."),
  corners: z.boolean().optional().describe("Whether first and last places of both grids coincide, as torchvision has it. Default: false."),
  offset: z.number().min(-1).max(1).optional().describe("Added to the size of the new grid where places are computed; DINOv2's code has 0.1. Default: 0."),
});

const position = z.strictObject({
  kind: z.enum(["learned", "sincos2d", "sincos1d", "none"]).optional()
    .describe("`learned` (default); `sincos2d`: fixed sines and cosines of row and column (as MAE); `sincos1d`: of the patch index (as the original Transformer); `none`."),
  prefix: z.boolean().optional().describe("Whether a learned table has rows for the prefix tokens too. Default: true. Fixed tables are zero there."),
  temperature: z.number().min(1).max(1e9).optional().describe("Base of the wavelengths of the fixed tables. Default: 10000."),
  resample: resample.optional().describe("The learned table of the weight file is for another grid of patches than this model's, and is resampled when it is loaded."),
});

const rope = z.strictObject({
  kind: z.enum(["axial", "mixed", "dinov3"])
    .describe("`axial`: the angles of rows and columns side by side, neighbouring values in pairs (EVA02, Perception Encoder). `mixed`: the angles are learned for each block and head, of row and column together. `dinov3`: coordinates from -1 to 1, and pairs are half a head apart."),
  temperature: z.number().min(1).max(1e9).optional().describe("Base of the wavelengths. Default: 10000, and 100 for dinov3."),
  order: z.enum(["ij", "xy"]).optional().describe("Which coordinate comes first, row or column. Default: `ij`. Axial only."),
  reference: size(16384).optional().describe("Coordinates are scaled as if the grid had this many rows and columns. Default: the grid's own. Axial only."),
  offset: z.number().min(-1e3).max(1e3).optional().describe("Added to every coordinate. Default: 0. Axial only."),
});

const mapPool = z.strictObject({
  heads: count(4096).optional().describe("Default: those of a block."),
  hidden: count(1048576).optional().describe("Hidden width. Default: that of a block's MLP."),
});

const norm = z.strictObject({
  kind: z.enum(["layer", "rms"]).optional().describe("`layer` (default): layer norm, with scale and shift. `rms`: x / sqrt(mean(x²) + eps), with a scale."),
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
  crop: z.enum(["center", "squash", "border"]).optional()
    .describe("What is resized to floor(image / cropPct), or to `resize`. `center` (default): the shorter side, then the centre is cropped. `squash`: both sides, whatever the aspect, then likewise. `border`: the longer side, and the mean colour is put around. A side that is smaller than the image then is padded."),
  cropPct: z.number().min(0.05).max(1).optional().describe("Share of the resized image that the crop keeps, in (0, 1]. Default: 0.9."),
  resize: z.union([count(1048576), z.tuple([count(1048576), count(1048576)]).readonly(), z.literal("none")]).optional()
    .describe("Size before the crop, instead of `cropPct`: one number, or [height, width], which `center` covers and `border` fits into. `none`: nothing is resized, and photographs must have the size of the image."),
  cropOffset: z.enum(["round", "floor"]).optional()
    .describe("Where the crop begins if an odd number of pixels is cut off: half of it to the nearest even (`round`, default; timm, torchvision), or rounded down (`floor`, transformers)."),
  interpolation: z.enum(["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]).optional().describe("Resampling filter, Pillow's arithmetic. Default: bicubic."),
  rescale: z.enum(["after", "before"]).optional()
    .describe("Pixels are multiplied by `rescaleFactor` `after` they are resized, as bytes (default), or `before`, so that they are resized as floats (DINOv3)."),
  rescaleFactor: z.number().min(1e-6).max(1e3).optional().describe("What a pixel from 0 to 255 is multiplied by. Default: 1 / 255."),
  mean: perChannel(z.number().min(-1e3).max(1e3)).optional().describe("Subtracted from the rescaled pixel: one number or one a channel. Default: 0.5."),
  std: perChannel(z.number().positive().max(1e3)).optional().describe("Then divided by: one number or one a channel. Default: 0.5."),
  normalize: z.enum(["outside", "inside"]).optional()
    .describe("Where mean and std are applied: `outside` (default), so that the model takes normalised values, or `inside`, so that it takes rescaled pixels, from 0 to 1."),
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
  patchResample: patchResample.optional().describe("The patch embedding of the weight file is for patches of another size than this model's, and is resampled when it is loaded."),
  dim: count(65536).describe("Width of a token (embedding dimension)."),
  depth: count(1024).describe("Number of encoder blocks."),
  heads: count(4096).describe("Number of attention heads."),
  headDim: count(1024).optional().describe("Width of a head. Default: dim / heads."),
  mlp: mlp.optional().describe("The MLP of a block."),
  attention: attention.optional().describe("The attention of a block."),
  tokens: tokens.optional().describe("Learned tokens put before the patches."),
  position: position.optional().describe("Position encoding, added to the tokens before the first block."),
  rope: rope.optional().describe("Rotary positions: queries and keys of patches are turned by their place, in every block. Default: none."),
  norm: norm.optional().describe("The norm used everywhere."),
  preNorm: z.boolean().optional().describe("A norm over all tokens before the first block, after positions are added (CLIP). Default: false."),
  block: z.enum(["pre", "post", "parallel", "parallelThings"]).optional()
    .describe("How a block joins its branches to the tokens x. `pre` (default): x += attention(norm1 x), then x += mlp(norm2 x). `post`: the norms stand behind the branches, x += norm1(attention(x)), x += norm2(mlp(x)). `parallel`: both branches read one norm and are added together (ViT-22B). `parallelThings`: two attentions side by side, then two MLPs, each with a norm of its own."),
  layerScale: z.number().min(-1e3).max(1e3).optional()
    .describe("Initial value of LayerScale: a learned factor for each channel of both branches of a block, before they are added. Default: none."),
  finalNorm: z.enum(["tokens", "pooled", "none"]).optional()
    .describe("Where the last norm stands: over all `tokens` (default), over the `pooled` vector, or `none`."),
  pool: z.enum(["token", "avg", "max", "avgmax", "tokenavg", "map", "none"]).optional()
    .describe("How tokens become one vector: the class `token` (default); the `avg` or `max` over patch tokens, or their mean `avgmax`; `tokenavg`: the class token and beside it the average over patch tokens (DINOv2's classifier); `map`: a learned query attends to the patch tokens, and an MLP follows (SigLIP); `none`: there is no vector and no head, the model returns `tokens`."),
  poolPrefix: z.boolean().optional().describe("Whether avg, max, avgmax and map pooling read the prefix tokens too. Default: false."),
  mapPool: mapPool.optional().describe('The attention and MLP of `pool: "map"`.'),
  representation: optionalCount(1048576).optional().describe("Width of a linear layer with tanh between the pooled vector and the head. Default 0: none."),
  classes: optionalCount(4_000_000).optional().describe("Number of classes, default 1000. With 0 there is no head: the model returns `features`."),
  headBias: z.boolean().optional().describe("Whether the head has a bias. Default: true."),
  dropout: dropout.optional().describe("Dropout rates in training; the identity at inference."),
  outputs: z.array(z.string()).max(4096).readonly().optional()
    .describe("Tensors to return besides the logits (or features): `embed` (tokens before the first block), `blocks.0` ..., `blocks.*` (all), `norm` (tokens after the last norm), `tokens` (those that are pooled: after the last norm, if it stands there), `features` (what the head reads; of a distilled model the mean of both tokens), `logits_cls` and `logits_dist` (each head of a distilled model), `embedding` (the features, or what a projection makes of them, divided by their length), and attention maps, [heads, queries, keys] after the softmax: `blocks.0.attn` ..., `blocks.*.attn` (of all blocks). What is not asked for is not computed."),
  outputNames: z.record(z.string().max(200), z.string().regex(/^[A-Za-z_][\w.]{0,99}$/)).optional()
    .describe('Other names for outputs in the package, by their name here: { tokens: "last_hidden_state" }.'),
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
