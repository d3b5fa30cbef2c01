/**
 * The kernel plan as plain data: what `compiler/emit` writes into a generated package and `session.ts` executes.
 * Types only; the compiler imports nothing else from the runtime.
 */

/** Element type of a tensor in GPU memory. */
export type DType = "f32" | "f16";

/**
 * One binding of a dispatch: a byte range of a named GPU buffer. Buffers are `input`, `weights.<i>` and the arenas of the profile.
 * Offsets are multiples of 256 bytes (WebGPU's default alignment of storage bindings).
 */
export type View = readonly [buffer: string, offset: number, bytes: number];

/** A WGSL program and the shape of its bind group 0; binding i is at `@binding(i)`. The text lives beside the plan, by the same id. */
export interface Kernel {
  /** Readable and unique in the package, for example `gemm_m197_n2304_k768_bias_register_8x8`. Also the pipeline's label. */
  readonly id: string;
  readonly bindings: readonly KernelBinding[];
  readonly workgroupSize: readonly [x: number, y: number, z: number];
  /** WebGPU features that the device must have been made with. Default: none. */
  readonly features?: readonly string[];
  /** Invocations of a subgroup that the kernel is right for, and no others. Default: any. */
  readonly subgroupSize?: number;
  /** The shape of f16 matrices, added up in f32, that the adapter must list among its subgroup matrices. */
  readonly matrix?: readonly [m: number, n: number, k: number];
}

export interface KernelBinding {
  readonly name: string;
  readonly access: "read" | "read_write";
  /** The kernel touches nothing beyond these many bytes; views are at least as long. */
  readonly bytes: number;
}

/** One launch of a kernel: how many workgroups, and which views of the dispatch its bindings are (by default all, in order). */
export interface Launch {
  readonly kernel: string;
  readonly workgroups: readonly [x: number, y: number, z: number];
  readonly bind?: readonly number[];
}

/** One way to do what a routine does. Usually one launch; a way with several first computes something that the last one needs. */
export interface Choice {
  /** Unique in the routine, and the same for routines alike: `register_8x8_w8x8`. Tuning tables name it. */
  readonly name: string;
  readonly launches: readonly Launch[];
  /** What the compiler's cost model expects on each of the plan's `targets`, in microseconds. */
  readonly costs: readonly number[];
}

/** What one or more dispatches do, with all the ways to do it: same operands, same results up to rounding. */
export interface Routine {
  readonly id: string;
  readonly choices: readonly Choice[];
}

/** One step of a run: a routine on its operands. */
export interface Dispatch {
  /** Where in the model: `blocks.3.mlp.fc1`. */
  readonly label: string;
  /** Id of the routine. */
  readonly routine: string;
  /** The operands: inputs, weights, the output, then scratch memory that some choices need. */
  readonly views: readonly View[];
  /** Floating point operations (a multiply-add counts two). */
  readonly flops: number;
  /** Bytes that must move between memory and the kernel at least once: inputs, weights and output. */
  readonly bytes: number;
}

/** An activation buffer of a profile. Values that never live at once share its bytes. */
export interface Arena {
  readonly name: string;
  readonly bytes: number;
}

/** A model input or output as the user sees it. `shape` is without the batch axis. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: "f32";
}

/** An output of the model and where a run leaves it: `shape` again without the batch axis, the view with it. */
export interface OutputView {
  readonly name: string;
  readonly view: View;
  /** Byte offset in the buffer that outputs are copied to for reading. */
  readonly readback: number;
}

/** The recorded run for one batch size. */
export interface Profile {
  readonly batch: number;
  readonly arenas: readonly Arena[];
  readonly input: View;
  readonly outputs: readonly OutputView[];
  /** Bytes of the buffer that outputs are copied to for reading. */
  readonly readbackBytes: number;
  readonly dispatches: readonly Dispatch[];
  /** Sums over the dispatches. */
  readonly flops: number;
  readonly bytes: number;
}

/** A named program of the model. Only `infer` exists today. */
export interface Programs {
  /** Ascending by batch. */
  readonly infer: readonly Profile[];
}

export interface Plan {
  readonly name: string;
  /** Hash of the spec, the kernels and the dispatches: equal plans have equal fingerprints. */
  readonly fingerprint: string;
  /** Hash of what is computed: equal for plans that give equal results for equal weights up to rounding, whatever their names, dtype, batches and kernels. */
  readonly model: string;
  /** How matrices and the operands of products are stored; arithmetic, the residual stream, inputs and outputs are f32 in any case. */
  readonly dtype: DType;
  readonly input: TensorSpec;
  readonly outputs: readonly TensorSpec[];
  /** The output that a user wants first, and whether it holds a logit for each class. */
  readonly main: { readonly name: string; readonly classes: boolean };
  /** Class names for `logits`, or empty. */
  readonly labels: readonly string[];
  readonly preprocess: Preprocess;
  readonly kernels: readonly Kernel[];
  readonly routines: readonly Routine[];
  /** The kinds of adapter that choices have a cost for. */
  readonly targets: readonly string[];
  /** What was measured to be best, by adapter; load goes by these before costs. */
  readonly tuned: readonly Tuned[];
  /** Bytes of each weight buffer, `weights.0`, `weights.1`, ... */
  readonly weightBuffers: readonly number[];
  /** Device limits the plan needs beyond WebGPU's defaults, by their WebGPU names. */
  readonly limits: Readonly<Record<string, number>>;
  readonly programs: Programs;
}

/** Measured choices for one adapter. */
export interface Tuned {
  /** The adapter, as `adapterKey` names it. */
  readonly adapter: string;
  /** The name of the best choice by routine id; routines that are missing go by cost. */
  readonly choices: Readonly<Record<string, string>>;
}

/** How a photograph becomes the input tensor. Resizing is Pillow's; values are `(pixel * rescaleFactor - mean) / std` per channel. */
export interface Preprocess {
  /**
   * `center`: the shorter side is resized to `resize`, then the centre is cropped (timm's default). `squash`: both sides are resized, whatever
   * the aspect ratio, then the centre is cropped. `border`: the longer side is resized, and the mean colour is put around. A side of the resized
   * image that is smaller than the input is padded.
   */
  readonly crop: "center" | "squash" | "border";
  /** Size before the crop; `center` covers it and `border` fits into it where it is not square. `none`: images have the input's size already. */
  readonly resize: readonly [height: number, width: number] | "none";
  /** The first row and column of the crop, half of what is cut off: to the nearest even (`round`), or rounded down. */
  readonly cropOffset: "round" | "floor";
  readonly interpolation: "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";
  /** Whether pixels are multiplied by `rescaleFactor` after they are resized, as bytes, or before, so that they are resized as floats. */
  readonly rescale: "after" | "before";
  readonly rescaleFactor: number;
  /** One value a channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** `outside`: the input tensor is already normalised. `inside`: it holds pixel * rescaleFactor, and the model subtracts the mean and divides by std. */
  readonly normalize: "outside" | "inside";
}

/** What a model in one dtype needs of a device, and what it downloads. */
export interface Needs {
  /** WebGPU features without which it cannot run. */
  readonly features: readonly string[];
  /** Device limits beyond WebGPU's defaults, by their WebGPU names. */
  readonly limits: Readonly<Record<string, number>>;
  /** Bytes of GPU memory: weights, activations and what is read back, for all batch sizes. */
  readonly gpuBytes: number;
  /** Bytes of weights: as `vitc pack` writes them in this dtype, and of a safetensors file of the model's parameters alone in this dtype. */
  readonly downloadBytes: { readonly packed: number; readonly safetensors: number };
}

// ---------------------------------------------------------------------------------------------------------- weights

/** A tensor of the user's weight file. */
export interface WeightSource {
  /** Name in the file, then accepted alternatives; the first that the file holds is read. */
  readonly names: readonly string[];
  readonly shape: readonly number[];
}

/**
 * One step of a recipe. Registers are numbered: the sources first (0, 1, ...), then each step's result in order.
 * `of` names the register a step reads. All arithmetic is done in f64 and rounded once, at the end. Shapes are row-major.
 */
export type WeightStep =
  | { readonly op: "reshape"; readonly of: number; readonly shape: readonly number[] }
  /** `result[i0, i1, ...] = of[...]` with result axis j = axis `axes[j]` of the operand (numpy.transpose). */
  | { readonly op: "transpose"; readonly of: number; readonly axes: readonly number[] }
  | { readonly op: "slice"; readonly of: number; readonly axis: number; readonly start: number; readonly end: number }
  | { readonly op: "concat"; readonly of: readonly number[]; readonly axis: number }
  | { readonly op: "scale"; readonly of: number; readonly factor: number }
  /** Zeros at the end of every axis, up to `shape`. */
  | { readonly op: "pad"; readonly of: number; readonly shape: readonly number[] }
  /** Convolution weight [O, ...] times gamma / sqrt(variance + eps) per output channel: `of` = [weight, gamma, variance]. */
  | { readonly op: "foldBatchNormScale"; readonly of: readonly [number, number, number]; readonly eps: number }
  /** beta - mean * gamma / sqrt(variance + eps), per channel: `of` = [gamma, beta, mean, variance]. */
  | { readonly op: "foldBatchNormShift"; readonly of: readonly [number, number, number, number]; readonly eps: number }
  /** Weight [out, in] times gamma along `in`; with `centre` minus its mean over `in` for each output: `of` = [weight, gamma]. */
  | { readonly op: "foldNormScale"; readonly of: readonly [number, number]; readonly centre: boolean }
  /** beta Wᵀ, plus a bias: `of` = [weight [out, in], beta [in]], and [out] if there is one. */
  | { readonly op: "foldNormShift"; readonly of: readonly [number, number] | readonly [number, number, number] }
  /** Weight [O, C, ...] divided by the deviation of channel C. */
  | { readonly op: "foldPixelScale"; readonly of: number; readonly std: readonly number[] }
  /** A bias [O], if there is one, minus the sum of weight * mean / std over each output: `of` = [weight [O, C, ...]], and the bias. */
  | { readonly op: "foldPixelShift"; readonly of: readonly [number] | readonly [number, number]; readonly mean: readonly number[]; readonly std: readonly number[] }
  /** Rows `start` to `end` (exclusive) of axis 0 times a factor. */
  | { readonly op: "scaleRows"; readonly of: number; readonly start: number; readonly end: number; readonly factor: number }
  /** Each row of axis 0 times its own factor: `of` = [tensor [O, ...], factors [O]]. */
  | { readonly op: "scaleChannels"; readonly of: readonly [number, number] }
  /** The linear layer of a tensor: [..., in] times weight [out, in] transposed, plus a bias [out], if there is one: `of` = [tensor, weight], and the bias. */
  | { readonly op: "weightLinear"; readonly of: readonly [number, number] | readonly [number, number, number] }
  /** A bias [queries, keys, values] of which keys have none, [3 width]: `of` = [queries' [width], values' [width]]. */
  | { readonly op: "queryValueBias"; readonly of: readonly [number, number] }
  /** exp(q1 . k1) - exp(q2 . k2) + initial, [1]: `of` = [q1, k1, q2, k2], of one width. */
  | { readonly op: "differentialFactor"; readonly of: readonly [number, number, number, number]; readonly initial: number }
  /**
   * Cosines, then sines, of the angles by which queries and keys are turned, [2, heads or 1, grid rows * grid columns, headDim]; what the angles
   * are is in `rotary.ts`. `of` = nothing, or of `mixed` the frequencies [2, depth, heads, headDim / 2].
   */
  | {
      readonly op: "rotaryTable";
      readonly of: readonly [] | readonly [number];
      readonly kind: "axial" | "mixed" | "dinov3";
      readonly grid: readonly [rows: number, columns: number];
      readonly headDim: number;
      readonly temperature: number;
      readonly order: "ij" | "xy";
      readonly reference: readonly [rows: number, columns: number];
      readonly offset: number;
      readonly block: number;
    }
  /**
   * What is added to the patches' products to make tokens, [1, prefix + patches, dim]: a prefix token plus its position, if it has one; a
   * patch's position plus the bias. `of` = `prefix` tokens in one tensor [1, tokens, dim] or more, then positions of all tokens or of the
   * patches, then the bias.
   */
  | { readonly op: "tokenTable"; readonly of: readonly number[]; readonly prefix: number; readonly patches: number; readonly positions: "all" | "patches" | "none"; readonly bias: boolean }
  /**
   * A table of positions [1, prefix + rows * columns, dim] for a grid of another size; the rows in front stay. `corners`: first and last places of
   * both grids coincide. `offset` is added to the new size where places are computed.
   */
  | {
      readonly op: "resampleTable";
      readonly of: number;
      readonly prefix: number;
      readonly from: readonly [rows: number, columns: number];
      readonly to: readonly [rows: number, columns: number];
      readonly filter: "bilinear" | "bicubic";
      readonly antialias: boolean;
      readonly corners: boolean;
      readonly offset?: number;
    }
  /**
   * BEiT's table of relative positions [(2 rows - 1) (2 columns - 1) + 3, heads] for a grid of another size; the last three rows stay.
   * `geometric`: distances of the old grid spread in steps that grow by a constant factor, linear between; `bilinear`: resized as an image.
   */
  | {
      readonly op: "resampleRelative";
      readonly of: number;
      readonly from: readonly [rows: number, columns: number];
      readonly to: readonly [rows: number, columns: number];
      readonly filter: "geometric" | "bilinear";
    }
  /** Weight [O, C, height, width] of patches for patches of another size: times the pseudo-inverse of the resize from the old size to the new. */
  | {
      readonly op: "resamplePatch";
      readonly of: number;
      readonly from: readonly [height: number, width: number];
      readonly to: readonly [height: number, width: number];
      readonly filter: "bilinear" | "bicubic";
      readonly antialias: boolean;
    }
  /** A fixed table of position encodings, [1, prefix + grid rows * grid columns, dim]; prefix rows are zero. Reads no register. */
  | { readonly op: "sincos2d"; readonly grid: readonly [rows: number, columns: number]; readonly dim: number; readonly prefix: number; readonly temperature: number }
  | { readonly op: "sincos1d"; readonly length: number; readonly dim: number; readonly prefix: number; readonly temperature: number };

/** One tensor as the kernels want it: where it goes, what it is read from, and how it is made. The last register is the result. */
export interface PackedTensor {
  /** The parameter in the model: `blocks.0.attn.qkv.weight`. */
  readonly name: string;
  /** Index of the weight buffer, and the byte offset in it (a multiple of 256). */
  readonly buffer: number;
  readonly offset: number;
  readonly dtype: DType;
  /** Shape after the steps; the values are rounded to `dtype` and written at the offset. */
  readonly shape: readonly number[];
  readonly sources: readonly WeightSource[];
  readonly steps: readonly WeightStep[];
}

/** Everything the runtime needs to turn a weight file into weight buffers. The compiler never reads weight values. */
export interface WeightRecipe {
  readonly tensors: readonly PackedTensor[];
  /** Names that a file may have instead of the model's own; the model's own, as timm's files have them, come first. */
  readonly namings?: readonly Naming[];
  /** How to tell whose a file is that does not fit: ecosystems, each with the end of a tensor's name that none of those after it has. */
  readonly signs?: readonly (readonly [name: string, tensor: string])[];
}

/**
 * How the weight files of one ecosystem name and shape the model's parameters. In patterns `*` is a number (of a block), `~` whatever stands
 * in the file before the names of the trunk (`vit.`, `visual.`), and one that ends in `.`, or is empty, goes on with any text. A name without
 * `~` belongs to what is built around the trunk, like a head.
 */
export interface Naming {
  /** Whose, for messages: `transformers ViT`. */
  readonly name: string;
  /** Of the rules for a parameter the first counts whose tensors the file has. */
  readonly rules: readonly NamingRule[];
  /** What such files hold and the model has no use for. */
  readonly ignored: readonly string[];
}

/**
 * A parameter, the tensors that it is made of, and how (as they are, unless said). Spellings of one name are separated by `|`, the same one
 * first everywhere.
 */
export type NamingRule = readonly [parameter: string, tensors: readonly string[], form?: TensorForm, ...sizes: readonly number[]];

/**
 * How a parameter is made of tensors of a file:
 * `squeezed`: of one with other axes of length 1.
 * `stacked`: of tensors of one size along axis 0.
 * `transposed`: [in, out] -> [out, in].
 * `convolution`: [height, width, in, out] -> [out, in, height, width].
 * `heads` (sizes: heads): kernels [in, heads, headDim], or biases [heads, headDim], one above the other: [n heads headDim, in].
 * `merged` (heads): a kernel [heads, headDim, out] -> [out, heads headDim].
 * `rows` (start, all): rows from `start` on of a tensor that has `all` rows.
 * `tokens` (start, all): likewise of a table [1, all, dim], with or without its axis of length 1.
 * `firstToken` (all): a token plus the first row of such a table.
 * `zeros` (the tensor's shape): zeros, where a tensor shows that the ecosystem has none.
 */
export type TensorForm = "same" | "squeezed" | "stacked" | "transposed" | "convolution" | "heads" | "merged" | "rows" | "tokens" | "firstToken" | "zeros";

// ------------------------------------------------------------------------------------------------------- self-tests

/** What an operand of a dispatch that is tested holds: inputs are made from a seed, and so is an output that is updated in place. */
export type SelfTestOperand =
  | { readonly kind: "weight" }
  | { readonly kind: "scratch" }
  | { readonly kind: "input" | "output"; readonly dtype: DType; readonly size: number; readonly seed?: string };

/** One dispatch, and what some elements of its result are in f64. */
export interface SelfTest {
  readonly routine: string;
  /** Index of its profile. Default: 0, the smallest batch. */
  readonly profile?: number;
  /** Its place among the profile's dispatches. */
  readonly dispatch: number;
  /** In the order of the dispatch's views. */
  readonly operands: readonly SelfTestOperand[];
  /** Root mean square of the whole result. */
  readonly scale: number;
  /** Elements of the result, and their values. */
  readonly at: readonly number[];
  readonly expected: readonly number[];
}
