import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { Project, type InterfaceDeclaration } from "ts-morph";
import * as assert from "uvu/assert";
import { SpecError, type SpecIssue } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { specJsonSchema } from "../../compiler/spec/schema.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { toSpec } from "../../compiler/spec/written.js";
import { randomSpec } from "../tools/random-spec.js";
import { schemaFields } from "../tools/schema.js";
import { exampleSpecs } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("specs");

const base: ViTSpec = { name: "model", image: 224, patch: 16, dim: 192, depth: 12, heads: 3 };

/** What is wrong with the base spec after some changes: at least one thing. */
function issuesOf(input: unknown): readonly SpecIssue[] {
  try {
    resolve(input);
  } catch (error) {
    if (error instanceof SpecError) return error.issues;
    throw error;
  }
  throw new Error("it was accepted");
}

const changed = (changes: object): object => ({ ...base, ...changes });

/** The one thing wrong with the base spec after some changes, as a user reads it. */
function complaint(changes: object): string {
  const issues = issuesOf(changed(changes));
  assert.is(issues.length, 1, issues.map((issue) => `${issue.field}: ${issue.message}`).join("\n"));
  return `${issues[0]!.field}: ${issues[0]!.message}`;
}

const refusals: readonly (readonly [title: string, changes: object, sentence: string])[] = [
  ["heads that do not divide dim", { heads: 5 }, "heads: 5 does not divide dim 192; use 4 or 6 heads, or set headDim"],
  ["a patch larger than the image", { patch: 256 }, "patch: 256 is larger than the image (height 224); use at most 224"],
  ["a patch wider than the image", { image: [224, 12], patch: [16, 24] }, "patch: 24 is larger than the image (width 12); use at most 12"],
  ["an image that is not a multiple of the patch", { image: 225 }, 'image: height 225 of the image is not a multiple of patch 16; use 224 or 240, or set patchRemainder: "crop"'],
  ["a width that is not a multiple of the patch", { image: [224, 230] }, 'image: width 230 of the image is not a multiple of patch 16; use 224 or 240, or set patchRemainder: "crop"'],
  ["a stem's output that is not a multiple of the patch", { stem: [{ channels: 8, kernel: 3, stride: 3 }] }, `patch: height 75 of the stem's output is not a multiple of patch 16; use a patch that divides it, or set patchRemainder: "crop"`],
  ["a patch larger than the stem's output", { stem: [{ channels: 8, kernel: 3, stride: 16 }] }, "patch: 16 is larger than the stem's output (height 14); use at most 14"],
  ["a misspelt field", { depht: 12 }, "depht: is not a field; did you mean `depth`?"],
  ["a misspelt nested field", { mlp: { ratoi: 4 } }, "mlp.ratoi: is not a field; did you mean `ratio`?"],
  ["a misspelt field in a list", { stem: [{ channels: 8, kernel: 3, strides: 2 }] }, "stem.0.strides: is not a field; did you mean `stride`?"],
  ["an unknown field", { tokens: { masks: 4 } }, "tokens.masks: is not a field; the fields here are class, distillation, registers"],
  ["__proto__", { mlp: JSON.parse('{ "__proto__": 1 }') as object }, "mlp.__proto__: is not a field; the fields here are ratio, hidden, activation, gate, norm, bias"],
  ["a size of zero", { depth: 0 }, "depth: 0 is too small; it must be at least 1"],
  ["a negative size", { channels: -3 }, "channels: -3 is too small; it must be at least 1"],
  ["a fractional size", { dim: 192.5 }, "dim: 192.5 is not a whole number; the nearest are 192 and 193"],
  ["NaN", { heads: NaN }, "heads: NaN is not a usable number; it must be a number"],
  ["infinity", { depth: Infinity }, "depth: Infinity is not a usable number; it must be a number"],
  ["a number as text", { dim: "192" }, 'dim: "192" is text; write the number 192'],
  ["text for a number", { dim: "wide" }, 'dim: "wide" is text; it must be a number'],
  ["a missing field", { dim: undefined }, "dim: is missing; it must be a number"],
  ["null", { depth: null }, "depth: null is not a number"],
  ["an image side of zero", { image: [224, 0] }, "image.1: 0 is too small; it must be at least 1"],
  ["a fractional patch", { patch: 15.5 }, "patch: 15.5 is not a whole number; the nearest are 15 and 16"],
  ["a list of three sides", { patch: [16, 16, 16] }, "patch: [16,16,16] has 3 entries; write one number, or [height, width]"],
  ["a size as text", { image: "224" }, 'image: "224" is text; write the number 224, or [height, width]'],
  ["a size that is an object", { image: { width: 224 } }, 'image: {"width":224} is not a number, or [height, width]'],
  ["a number beyond 2^53", { dim: 2 ** 60 }, "dim: 1152921504606847000 is too large; it must be at most 65536"],
  ["a number below -2^53", { image: -(2 ** 60) }, "image: -1152921504606847000 is too small; it must be at least 1"],
  ["an activation that is not one", { mlp: { activation: "gleu" } }, 'mlp.activation: "gleu" is not one of "gelu", "gelu_tanh", "quick_gelu", "relu", "silu"; did you mean "gelu"?'],
  ["a pool that is none", { pool: "attention" }, 'pool: "attention" is not one of "token", "avg", "max", "avgmax", "tokenavg", "map", "none"'],
  ["a flag that is a number", { patchNorm: 1 }, "patchNorm: 1 is not true or false"],
  ["a part that is no object", { attention: 5 }, "attention: 5 is not an object"],
  ["a stem that is no list", { stem: {} }, "stem: {} is not a list"],
  ["a name that is no name", { name: "../model" }, 'name: "../model" is not a name; use letters, digits, dots, dashes and underscores, starting with a letter or digit'],
  ["a label that is a number", { labels: [1] }, "labels.0: 1 is not text"],
  ["a rate of 1", { dropout: { path: 1 } }, "dropout.path: 1 is too large; it must be less than 1"],
  ["a negative rate", { dropout: { attention: -0.1 } }, "dropout.attention: -0.1 is too small; it must be at least 0"],
  ["a scale of 0", { attention: { scale: 0 } }, "attention.scale: 0 is too small; it must be more than 0"],
  ["an eps that f32 rounds to 0", { norm: { eps: 1e-50 } }, "norm.eps: 1e-50 is too small; it must be at least 1e-30"],
  ["an infinite LayerScale", { layerScale: Infinity }, "layerScale: Infinity is not a usable number; it must be a number"],
  ["a LayerScale beyond any model", { layerScale: 1e4 }, "layerScale: 10000 is too large; it must be at most 1000"],
  ["a normalisation elsewhere", { preprocess: { normalize: "inner" } }, 'preprocess.normalize: "inner" is not one of "outside", "inside"'],
  ["an empty list of batches", { batch: [] }, "batch: [] is too small; it must be at least 1 entries"],
  ["a batch as text", { batch: "x" }, 'batch: "x" is text; it must be a number, or a list of numbers'],
  ["a bias of qkv that is none", { attention: { qkvBias: "vq" } }, 'attention.qkvBias: "vq" is not one of "qv", true or false; did you mean "qv"?'],
  ["a number for a bias of qkv", { attention: { qkvBias: 1 } }, 'attention.qkvBias: 1 is not one of "qv", true or false'],
  ["a gate that is none", { mlp: { gate: "swiglu" } }, 'mlp.gate: "swiglu" is not one of "none", "split", "packed", "packedLast"'],
  ["a block that is none", { block: "parralel" }, 'block: "parralel" is not one of "pre", "post", "parallel", "parallelThings"; did you mean "parallel"?'],
  ["registers below none", { tokens: { registers: -1 } }, "tokens.registers: -1 is too small; it must be at least 0"],
  ["rotary positions of no kind", { rope: {} }, 'rope.kind: is missing; it must be one of "axial", "mixed", "dinov3"'],
  ["a word for rotary positions", { rope: "axial" }, 'rope: "axial" is not an object'],
  ["a grid of three sides", { rope: { kind: "axial", reference: [1, 2, 3] } }, "rope.reference: [1,2,3] has 3 entries; write one number, or [height, width]"],
  ["an output's name that is no name", { outputNames: { logits: "1st" } }, 'outputNames.logits: "1st" is not a name; use letters, digits, dots and underscores, starting with a letter or underscore'],
  ["names of outputs in a list", { outputNames: ["scores"] }, 'outputNames: ["scores"] is not an object'],
  ["a name for an output of no such name", { outputNames: { ["b".repeat(201)]: "x" } }, `outputNames: "${"b".repeat(56)}... is longer than the name of any output`],
  ["a size before the crop that is a word", { preprocess: { resize: "nine" } }, 'preprocess.resize: "nine" is not one of "none", a number, [height, width]; did you mean "none"?'],
  ["a crop with a mistake in it", { preprocess: { crop: "bordr" } }, 'preprocess.crop: "bordr" is not one of "center", "squash", "border"; did you mean "border"?'],
  ["a factor of nothing", { preprocess: { rescaleFactor: 0 } }, "preprocess.rescaleFactor: 0 is too small; it must be at least 0.000001"],
  ["a mean with text in it", { preprocess: { mean: [0.5, "a", 0.5] } }, 'preprocess.mean.1: "a" is text; it must be a number'],

  ["class pooling without a class token", { tokens: { class: false } }, 'pool: "token" needs a class token; set tokens.class: true, or pool: "avg" or "max"'],
  ["a class token beside a mean without one", { tokens: { class: false }, pool: "tokenavg" }, 'pool: "tokenavg" needs a class token; set tokens.class: true, or pool: "avg" or "max"'],
  ["classes of a model that pools nothing", { pool: "none", classes: 10 }, 'classes: 10 have no meaning with pool "none", which leaves no vector for a head; set classes: 0, or another pool'],
  ["a representation layer where nothing is pooled", { pool: "none", representation: 64 }, 'representation: 64 has no meaning with pool "none"; leave it out, or set another pool'],
  ["a norm of a vector that is not there", { pool: "none", finalNorm: "pooled" }, 'finalNorm: "pooled" has no meaning with pool "none"; use "tokens" or "none"'],
  ["a norm of two vectors", { pool: "tokenavg", finalNorm: "pooled" }, 'finalNorm: "pooled" has no meaning with pool "tokenavg", which pools two vectors; use "tokens" or "none"'],
  ["a second norm behind a learned query", { pool: "map", finalNorm: "pooled" }, 'finalNorm: "pooled" has no meaning with pool "map", which has a norm of its own; use "tokens" or "none"'],
  ["heads of a learned query that do not divide dim", { pool: "map", mapPool: { heads: 5 } }, "mapPool.heads: 5 does not divide dim 192; use a divisor of 192"],
  ["a learned query's heads without one", { pool: "avg", mapPool: { heads: 3 } }, 'mapPool: it has a meaning for pool "map" only, it is "avg"; leave it out'],
  ["pooling of prefix tokens where a token is taken", { poolPrefix: true }, 'poolPrefix: true has a meaning for pool "avg", "max", "avgmax" and "map" only, it is "token"; leave it out'],
  ["a norm of heads in a parallel block", { block: "parallel", attention: { norm: true } }, 'block: "parallel" has no meaning with attention.norm, which its fused projections leave no place for; leave that out'],
  ["a norm of the hidden layer in a parallel block", { block: "parallel", mlp: { norm: true } }, 'block: "parallel" has no meaning with mlp.norm, which its fused projections leave no place for; leave that out'],
  ["a gate of heads in a parallel block", { block: "parallel", attention: { gate: true } }, 'attention.gate: true has no meaning with block "parallel"; leave it out'],
  ["a gated MLP in a parallel block", { block: "parallel", mlp: { gate: "split" } }, 'mlp.gate: "split" has no meaning with block "parallel", whose input projection has one hidden layer; leave it out'],
  ["keys without bias in a parallel block", { block: "parallel", attention: { qkvBias: "qv" } }, 'attention.qkvBias: "qv" has no meaning with block "parallel"; use true or false'],
  ["LayerScale beside norms that scale", { block: "post", layerScale: 0.1 }, 'layerScale: 0.1 has no meaning with block "post", whose norms scale the branches; leave it out'],
  ["differential attention of odd heads", { headDim: 63, attention: { differential: true } }, "attention.differential: true needs an even width of a head, it is 63; use headDim 64"],
  ["differential attention with biases by distance", { attention: { differential: true, relative: true } }, "attention.differential: true has no meaning with attention.relative; keep one"],
  ["differential attention with rotary positions", { attention: { differential: true }, rope: { kind: "axial" } }, "attention.differential: true has no meaning with rope; keep one"],
  ["differential attention in a block with norms behind", { attention: { differential: true }, block: "post" }, 'attention.differential: true has no meaning with block "post"; use "pre" or "parallel"'],
  ["two differential attentions side by side", { attention: { differential: true }, block: "parallelThings" }, 'attention.differential: true has no meaning with block "parallelThings"; use "pre" or "parallel"'],
  ["rotary positions of heads that are no multiple of 4", { headDim: 66, rope: { kind: "mixed" } }, "rope: it turns pairs of rows and of columns, so a head's width must be a multiple of 4, it is 66 (dim 192 in 3 heads); use headDim 68"],
  ["an order of rotary positions that have none", { rope: { kind: "dinov3", order: "xy" } }, 'rope: order, reference and offset have a meaning for kind "axial" only, it is "dinov3"; leave them out'],
  ["an offset of learned rotary positions", { rope: { kind: "mixed", offset: 1 } }, 'rope: order, reference and offset have a meaning for kind "axial" only, it is "mixed"; leave them out'],
  ["biases by distance behind registers", { tokens: { registers: 4 }, attention: { relative: true } }, "attention.relative: true has a table for at most one prefix token, there are 5; leave tokens.registers and tokens.distillation out"],
  ["a name for an output that is not made", { outputNames: { features: "embedding" } }, 'outputNames: "features" is not an output of this model; they are logits'],
  ["one name for two outputs", { outputs: ["embed", "norm"], outputNames: { embed: "x", norm: "x" } }, 'outputNames: "x" would name two outputs; give each a name of its own'],
  ["an output's name that is another's", { outputs: ["embed"], outputNames: { logits: "embed" } }, 'outputNames: "embed" would name two outputs; give each a name of its own'],
  ["distillation with mean pooling", { tokens: { distillation: true }, pool: "avg" }, 'tokens.distillation: true has no meaning with pool "avg": its two heads read the class and the distillation token; set pool: "token"'],
  ["distillation with a representation layer", { tokens: { distillation: true }, representation: 192 }, "representation: 192 has no meaning with tokens.distillation: its heads read the tokens directly; set representation: 0"],
  ["distillation with a norm of the pooled vector", { tokens: { distillation: true }, finalNorm: "pooled" }, 'finalNorm: "pooled" has no meaning with tokens.distillation, which pools two tokens; use "tokens" or "none"'],
  ["two widths of the MLP", { mlp: { ratio: 4, hidden: 768 } }, "mlp: ratio 4 and hidden 768 both set the hidden width; keep one"],
  ["an MLP of width 0", { mlp: { ratio: 0.001 } }, "mlp.ratio: 0.001 times dim 192 leaves a hidden width of 0; use at least 0.0053"],
  ["two-dimensional sines for an odd dim", { dim: 198, position: { kind: "sincos2d" } }, 'position.kind: "sincos2d" needs a dim that is a multiple of 4, dim is 198; use 196 or 200'],
  ["two-dimensional sines for a dim below 4", { dim: 3, position: { kind: "sincos2d" } }, 'position.kind: "sincos2d" needs a dim that is a multiple of 4, dim is 3; use 4'],
  ["sines for an odd dim", { dim: 195, position: { kind: "sincos1d" } }, 'position.kind: "sincos1d" needs an even dim, dim is 195; use 196'],
  ["a prefix of fixed positions", { position: { kind: "sincos2d", prefix: true } }, 'position.prefix: true has a meaning for learned positions only, position.kind is "sincos2d"; leave it out'],
  ["a temperature of learned positions", { position: { temperature: 100 } }, 'position.temperature: 100 has a meaning for sincos positions only, position.kind is "learned"; leave it out'],
  ["an output with the name of the input", { outputNames: { logits: "input" } }, 'outputNames: "input" is the name of the model\'s input; use another'],
  ["a table of the model's own grid where none is learned", { image: 56, patch: 8, position: { kind: "sincos2d", resample: { grid: 7 } } }, 'position.resample: it has a meaning for learned positions only, position.kind is "sincos2d"; leave it out'],
  ["an offset that leaves no grid", { image: [8, 56], patch: 8, position: { resample: { grid: 7, offset: -1 } } }, "position.resample.offset: -1 is added to the sides of the model's grid of 1 x 7 patches, and leaves nothing of one; use more than -1"],
  ["a table of another grid where none is learned", { position: { kind: "none", resample: { grid: 7 } } }, 'position.resample: it has a meaning for learned positions only, position.kind is "none"; leave it out'],
  ["a rule for tables that no block has", { attention: { relativeResample: { grid: 7 } } }, "attention.relativeResample: it has a meaning with attention.relative: true only; leave it out"],
  ["patches whose resize is too large a matrix", { image: 1024, patch: 16, patchResample: { patch: [16, 513] } }, "patchResample: from 16 x 513 to 16 x 16: a patch embedding is resampled up to 512 pixels a side; use smaller patches"],
  ["two ways to resample at once", { position: { resample: { grid: 7, antialias: true, corners: true } } }, "position.resample: antialias and corners have no meaning together; use one"],
  ["labels for other classes", { labels: ["cat", "dog"] }, "labels: 2 names for 1000 classes; give one a class"],
  ["a mean for other channels", { preprocess: { mean: [0.5, 0.5] } }, "preprocess.mean: 2 values for 3 channels; give one number, or one a channel"],
  ["two sizes before the crop", { preprocess: { resize: 256, cropPct: 0.9 } }, "preprocess.cropPct: 0.9 has no meaning beside preprocess.resize, which says the size before the crop; keep one"],
  ["a deviation for other channels", { channels: 1, preprocess: { std: [1, 1, 1] } }, "preprocess.std: 3 values for 1 channels; give one number, or one a channel"],
  ["an output that is there anyhow", { outputs: ["logits"] }, 'outputs: "logits" is returned anyhow; leave it out'],
  ["a misspelt output", { outputs: ["feature"] }, 'outputs: "feature" is not an output of this model; did you mean "features"?'],
  ["a misspelt block", { outputs: ["block.3"] }, 'outputs: "block.3" is not an output of this model; did you mean "blocks.3"?'],
  ["an output that is nothing like one", { outputs: ["attention maps"] }, 'outputs: "attention maps" is not an output of this model; the names are embed, blocks.0 to blocks.11, blocks.*, blocks.0.attn to blocks.11.attn, blocks.*.attn, norm, tokens, features, logits_cls, logits_dist, embedding'],
  ["a map of a block beyond the last", { outputs: ["blocks.12.attn"] }, 'outputs: "blocks.12.attn" is not an output of this model; the last block is blocks.11'],
  ["a misspelt map", { outputs: ["blocks.3.attention"] }, 'outputs: "blocks.3.attention" is not an output of this model; did you mean "blocks.3.attn"?'],
  ["one of two attentions of a block that has one", { outputs: ["blocks.3.attns.0.attn"] }, 'outputs: "blocks.3.attns.0.attn" is not an output of this model; each of its blocks has one attention: ask for "blocks.3.attn"'],
  ["a map that is larger than a binding", { image: 1024, patch: 8, outputs: ["blocks.0.attn"] }, 'outputs: an attention map of 3 heads of 16385 tokens needs 3.00 GiB; WebGPU bindings hold 128 MiB, leave maps out, or use a smaller image or a larger patch'],
  ["an embedding of a model that pools nothing", { pool: "none", outputs: ["embedding"] }, 'outputs: "embedding" has no meaning with pool "none"; ask for "tokens"'],
  ["a block beyond the last", { outputs: ["blocks.12"] }, 'outputs: "blocks.12" is not an output of this model; the last block is blocks.11'],
  ["the logits of a head that is not there", { outputs: ["logits_dist"] }, 'outputs: "logits_dist" exists only with tokens.distillation: true'],
  ["features of a model that pools nothing", { pool: "none", outputs: ["features"] }, 'outputs: "features" has no meaning with pool "none"; ask for "tokens"'],
  ["the last norm of a model without one", { finalNorm: "none", outputs: ["norm"] }, 'outputs: "norm" exists only with finalNorm: "tokens", it is "none"; ask for "blocks.11"'],
  ["a batch twice", { batch: [1, 1] }, "batch: [1,1] must ascend without repeats; write [1]"],
  ["a dtype twice", { dtype: ["f16", "f16"] }, 'dtype: ["f16","f16"] names one twice; write ["f16"]'],
  ["batches out of order", { batch: [8, 1, 8] }, "batch: [8,1,8] must ascend without repeats; write [1,8]"],
];

for (const [title, changes, sentence] of refusals) test(`refuses ${title}`, () => assert.is(complaint(changes), sentence));

test("what is no spec at all is refused", () => {
  const sentences = [null, 5, "spec", [], undefined].map((input) => issuesOf(input).map(({ field, message }) => `${field}: ${message}`).join());
  assert.equal(sentences, ["spec: null is not an object", "spec: 5 is not an object", 'spec: "spec" is not an object', "spec: [] is not an object", "spec: is missing; it must be an object"]);
});

test("all that is wrong is said at once", () => {
  const issues = issuesOf(changed({ heads: 5, patch: 15, pool: "token", tokens: { class: false }, labels: ["cat"] }));
  assert.equal(issues.map((issue) => issue.field), ["heads", "image", "pool", "labels"]);
  const message = new SpecError(issues).message;
  assert.match(message, /^4 problems in the spec\n {2}- heads: 5 does not divide/);
});

test("distillation without a class token is refused", () => {
  const fields = issuesOf(changed({ tokens: { class: false, distillation: true } })).map((issue) => issue.field);
  assert.equal(fields, ["pool", "tokens.distillation"]);
});

const absurd: readonly (readonly [title: string, changes: object, sentence: RegExp])[] = [
  ["a width beyond any model", { dim: 1e9, heads: 1 }, /^dim: 1000000000 is too large; it must be at most 65536$/],
  ["a depth beyond any model", { depth: 1e6 }, /^depth: 1000000 is too large/],
  ["weights of terabytes", { dim: 8192, heads: 64, depth: 1024 }, /^spec: about 3074 GiB of weights .* the limit is 256 GiB$/],
  ["weights of petabytes", { dim: 65536, heads: 64, depth: 1024 }, /^spec: about 196720 GiB of weights/],
  ["a patch embedding of gigabytes", { image: 16384, patch: 16384, channels: 8, dim: 4, heads: 1 }, /^patch: the weight of the patch embedding has 32\.0 GiB; a matrix ends at 2 GiB/],
  ["a head of gigabytes", { classes: 4_000_000 }, /^classes: the weight of the head has 2\.86 GiB/],
  ["millions of tokens", { image: 2048, patch: 1, dim: 4, heads: 1 }, /^patch: 1 x 1 makes 4194305 tokens; attention compares each with each/],
  ["an image of gigabytes", { image: 4096, patch: 64, channels: 64 }, /^image: one image of 64 x 4096 x 4096 needs \S+ [MG]iB; WebGPU bindings hold 128 MiB/],
  ["a stem's map of gigabytes", { image: 1024, stem: [{ channels: 4096, kernel: 3 }] }, /^image: one image of 4096 x 1024 x 1024 behind layer 0 of the stem needs \S+ [MG]iB; WebGPU bindings hold 128 MiB/],
  ["hidden layers of one image that no binding holds", { image: 4096, channels: 1, mlp: { ratio: 8 } }, /^image: one image of 65537 tokens needs 384 MiB; WebGPU bindings hold 128 MiB/],
  ["more rows than a launch covers", { image: 2100, patch: 42, dim: 4, heads: 1, stem: [{ channels: 1, kernel: 3, stride: 1 }] }, /^image: one image makes a matrix of 4410000 rows; a launch covers 4194240/],
  ["more columns than a launch covers", { image: 16, dim: 4, heads: 2048, headDim: 1024 }, /^heads: 2048 of width 1024 make a matrix of 6291456 columns/],
  ["a list of unknown outputs", { depth: 1024, outputs: Array.from({ length: 400 }, (_, i) => `unknown${i}`) }, /^outputs: "unknown0" is not an output/],
  ["an output with a long name", { depth: 1024, outputs: ["b".repeat(1e6)] }, /^outputs: "b+\.\.\. is not an output/],
  ["a field with a long name", { ["b".repeat(1e6)]: 1 }, /^b{40}\.\.\.: is not a field/],
  ["a choice with a long name", { pool: "b".repeat(1e6) }, /^pool: "b+\.\.\. is not one of/],
  ["a list in a list in a list", { labels: nested(10_000) }, /^labels\.0: a list too deep to show is not text$/],
  ["objects in objects", { dim: within(10_000) }, /^dim: an object too deep to show is not a number$/],
];

function nested(levels: number): unknown {
  let value: unknown = [];
  for (let i = 0; i < levels; i++) value = [value];
  return value;
}

function within(levels: number): unknown {
  let value: unknown = {};
  for (let i = 0; i < levels; i++) value = { value };
  return value;
}

for (const [title, changes, sentence] of absurd) {
  test(`refuses ${title} at once`, () => {
    const [bytes, start] = [process.memoryUsage().arrayBuffers, process.cpuUsage()];
    const [issue] = issuesOf(changed(changes));
    const { user, system } = process.cpuUsage(start);
    assert.match(`${issue!.field}: ${issue!.message}`, sentence);
    // Of its own work, which others on the machine do not lengthen: what is not refused at the door takes minutes.
    assert.ok(user + system < 1e6, `it took ${(user + system) / 1e6} s of processor time`);
    assert.ok(process.memoryUsage().arrayBuffers - bytes < 2 ** 20, "it allocated");
  });
}

test("a message lists the first twenty problems and counts the rest", () => {
  const message = new SpecError(issuesOf(changed(Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`field${i}`, i]))))).message;
  assert.is(message.split("\n").length, 22);
  assert.match(message, /and 10 more$/);
});

test("the defaults are the paper's ViT as timm builds it", () => {
  assert.equal(resolve(base), {
    name: "model", labels: [], image: [224, 224], patch: [16, 16], channels: 3, stem: [], patchNorm: false, patchBias: true, patchResample: undefined,
    dim: 192, depth: 12, heads: 3, headDim: 64,
    mlp: { hidden: 768, activation: "gelu", gate: "none", norm: false, bias: true },
    attention: { qkvBias: true, scale: 0.125, projBias: true, qkNorm: false, norm: false, gate: false, relative: false, relativeResample: undefined, differential: false },
    tokens: { class: true, distillation: false, registers: 0 },
    position: { kind: "learned", prefix: true, temperature: 10000, resample: undefined },
    rope: undefined,
    norm: { kind: "layer", eps: 1e-6 }, preNorm: false, block: "pre",
    layerScale: undefined,
    finalNorm: "tokens", pool: "token", poolPrefix: false, mapPool: { heads: 3, hidden: 768 }, representation: 0, classes: 1000, headBias: true,
    dropout: { position: 0, attention: 0, projection: 0, path: 0 },
    outputs: [], outputNames: {},
    preprocess: { crop: "center", resize: [248, 248], cropOffset: "round", interpolation: "bicubic", rescale: "after", rescaleFactor: 1 / 255, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], normalize: "outside" },
    dtype: ["f32"],
    batch: [1],
    geometry: { map: [3, 224, 224], grid: [14, 14], patches: 196, prefix: 1, tokens: 197, features: 192 },
  });
});

test("what a field starts from may follow from another", () => {
  assert.is(resolve({ ...base, mlp: { gate: "split" } }).mlp.activation, "silu");
  assert.is(resolve({ ...base, attention: { differential: true } }).attention.scale, 32 ** -0.5);
  assert.is(resolve({ ...base, pool: "none" }).classes, 0);
  assert.equal(resolve({ ...base, pool: "map", mlp: { hidden: 99 }, mapPool: { heads: 6 } }).mapPool, { heads: 6, hidden: 99 });
  assert.is(resolve({ ...base, pool: "tokenavg" }).geometry.features, 384);
  assert.equal(["axial", "mixed", "dinov3"].map((kind) => resolve({ ...base, rope: { kind } }).rope), [
    { kind: "axial", temperature: 10000, order: "ij", reference: [14, 14], offset: 0 },
    { kind: "mixed", temperature: 10000, order: "ij", reference: [14, 14], offset: 0 },
    { kind: "dinov3", temperature: 100, order: "ij", reference: [14, 14], offset: 0 },
  ]);
  assert.equal(resolve({ ...base, tokens: { class: false, registers: 4 }, pool: "avg" }).geometry, { map: [3, 224, 224], grid: [14, 14], patches: 196, prefix: 4, tokens: 200, features: 192 });
});

test("the hidden width is cut, not rounded", () => {
  assert.is(resolve({ ...base, dim: 30, mlp: { ratio: 2.7 } }).mlp.hidden, 81);
  assert.is(resolve({ ...base, dim: 33, mlp: { ratio: 2.99 } }).mlp.hidden, 98);
});

test("geometry follows stem, patch and prefix", () => {
  const { geometry } = resolve({ ...base, image: [67, 35], patch: [5, 3], patchRemainder: "crop", stem: [{ channels: 8, kernel: 4, stride: 2 }, { channels: 6, kernel: 3 }], tokens: { distillation: true } });
  assert.equal(geometry, { map: [6, 34, 18], grid: [6, 6], patches: 36, prefix: 2, tokens: 38, features: 192 });
});

test("outputs are listed in the order of the computation, wildcards written out", () => {
  assert.equal(resolve({ ...base, depth: 3, outputs: ["features", "blocks.*", "blocks.1", "embed"] }).outputs, ["embed", "blocks.0", "blocks.1", "blocks.2", "features"]);
  assert.equal(resolve({ ...base, depth: 2, outputs: ["embedding", "blocks.1", "blocks.*.attn", "blocks.0.attn"] }).outputs, ["blocks.0.attn", "blocks.1.attn", "blocks.1", "embedding"]);
  const two = (...outputs: readonly string[]) => resolve({ ...base, depth: 2, block: "parallelThings", outputs }).outputs;
  assert.equal(two("blocks.1.attn", "blocks.0.attns.1.attn"), ["blocks.0.attns.1.attn", "blocks.1.attns.0.attn", "blocks.1.attns.1.attn"]);
  assert.equal(two("blocks.*.attn"), [0, 1].flatMap((i) => [0, 1].map((j) => `blocks.${i}.attns.${j}.attn`)));
});

test("a resolved spec can be written out and read again", () => {
  for (const spec of exampleSpecs.values()) assert.equal(resolve(toSpec(resolve(spec))), resolve(spec));
  fc.assert(fc.property(randomSpec, (spec) => assert.equal(resolve(toSpec(resolve(spec))), resolve(spec))), { numRuns: 200, seed: 1 });
});

test("the JSON Schema has every field, each described, and refuses others", () => {
  const schema = specJsonSchema() as JsonSchema;
  assert.equal(schema.required, ["name", "image", "patch", "dim", "depth", "heads"]);
  const fields = [...jsonFields(schema, "")];
  assert.equal(fields.map(([path]) => path), schemaFields().map((field) => field.path));
  for (const [path, field] of fields) assert.type(field.description, "string", path);
});

interface JsonSchema {
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly additionalProperties?: boolean;
}

function* jsonFields(schema: JsonSchema, prefix: string): Generator<readonly [string, JsonSchema]> {
  if (schema.properties && schema.additionalProperties !== false) throw new Error(`${prefix || "the spec"} takes any field`);
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    const path = prefix ? `${prefix}.${key}` : key;
    yield [path, field];
    yield* jsonFields(field.items?.properties ? field.items : field, field.items?.properties ? `${path}[]` : path);
  }
}

test("the doc comments of types.ts are the schema's descriptions, field by field", () => {
  const source = new Project({ useInMemoryFileSystem: true }).createSourceFile("types.ts", readFileSync(fileURLToPath(new URL("../../compiler/spec/types.ts", import.meta.url)), "utf8"));
  const comments = [...documented(source.getInterfaceOrThrow("ViTSpec"), "")];
  const descriptions = schemaFields().map(({ path, description }) => `${path}: ${description}`);
  assert.ok(descriptions.length > 50);
  assert.equal(comments, descriptions);

  function* documented(declaration: InterfaceDeclaration, prefix: string): Generator<string> {
    for (const property of declaration.getProperties()) {
      const path = prefix ? `${prefix}.${property.getName()}` : property.getName();
      yield `${path}: ${property.getJsDocs().map((doc) => doc.getDescription().trim().replaceAll(/\s+/g, " ")).join(" ")}`;
      const type = /(\w+)(\[\])?/.exec(property.getTypeNodeOrThrow().getText().replace(/^readonly /, ""))!;
      const inner = source.getInterface(type[1]!);
      if (inner) yield* documented(inner, `${path}${type[2] ?? ""}`);
    }
  }
});

test.run();
