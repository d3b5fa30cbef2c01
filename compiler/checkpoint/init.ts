/** Initial weights: for models that are to be trained, and for running a model before any checkpoint exists. */
import { RandomStream, randomState } from "../ir/random.js";
import { CheckpointError, type TensorShape } from "./safetensors.js";

/**
 * Whose rules fill the tensors; all are timm's, and named by its tensor names.
 * - `notes`: `_init_vit_weights` of timm 0.5.4 in its default form.
 * - `timm`: `VisionTransformer.init_weights("")` of timm 1.0.
 * - `jax`: `_init_vit_weights` of timm 0.5.4 in its jax form, which follows google-research/vision_transformer.
 */
export type InitScheme = "notes" | "timm" | "jax";

export interface InitOptions {
  /** A whole number from 0 to 2^53 - 1. */
  readonly seed: number;
  readonly scheme: InitScheme;
  /** Value of LayerScale's factors, which the spec gives. Default: 1e-5, timm's own. */
  readonly layerScale?: number | undefined;
  /** Base of the wavelengths that learned rotary positions start from, which the spec gives. Default: 10, timm's own. */
  readonly temperature?: number | undefined;
}

/** The distribution of a tensor's elements. */
type Distribution =
  | { readonly kind: "constant"; readonly value: number }
  /** Uniform in [-bound, bound). */
  | { readonly kind: "uniform"; readonly bound: number }
  /** Mean 0, cut at `cut` times `std` on both sides by drawing again. */
  | { readonly kind: "normal"; readonly std: number; readonly cut: number }
  /** The first half of the elements by one distribution, the rest by another. */
  | { readonly kind: "halves"; readonly first: Distribution; readonly second: Distribution }
  /** Frequencies [2, turns, 2 quarter]: for each turn, wavelengths of two axes at right angles, turned together by a random angle. */
  | { readonly kind: "turned"; readonly turns: number; readonly quarter: number; readonly temperature: number };

/** What a tensor is in the model. */
type Role =
  | "position" | "class" | "distillation" | "register" | "linear" | "convolution" | "norm" | "runningMean" | "runningVariance" | "layerScale"
  | "bias" | "relative" | "lambda" | "latent" | "frequencies";

interface Parameter extends TensorShape {
  readonly role: Role;
  readonly part: "weight" | "bias";
  /** Which of its outputs gate the others of an MLP. */
  readonly gate?: "all" | "secondHalf" | undefined;
}

/** The elements of the largest tensor that is made: 2 GiB, several times the largest of any ViT. */
const MAX_ELEMENTS = 2 ** 29;

const zeros: Distribution = { kind: "constant", value: 0 };
const ones: Distribution = { kind: "constant", value: 1 };

/** The standard deviation of a standard normal cut at 2; dividing by it restores the variance that the cut takes. */
const CUT_NORMAL_STD = 0.87962566103423978;

/** A block, an attention in one (a parallel block's parts are its own) and an MLP in one. */
const [block, attention, mlp] = ["blocks\\.\\d+", "(attn|attns\\.\\d+\\.attn)", "(mlp|ffns\\.\\d+\\.mlp)"];

/** Each pattern names tensors by what they are. The stem counts its layers, so that its norms are known by the rank of their weight. */
const roles: readonly (readonly [pattern: RegExp, role: Role | "stem"])[] = [
  [/^pos_embed$/, "position"],
  [/^cls_token$/, "class"],
  [/^dist_token$/, "distillation"],
  [/^reg_token$/, "register"],
  [/^patch_embed\.proj\.(weight|bias)$/, "convolution"],
  [/^patch_embed\.backbone\.\d+\.(weight|bias)$/, "stem"],
  [/^patch_embed\.backbone\.\d+\.running_mean$/, "runningMean"],
  [/^patch_embed\.backbone\.\d+\.running_var$/, "runningVariance"],
  [/^(patch_embed\.norm|norm_pre|norm|fc_norm|attn_pool\.norm)\.(weight|bias)$/, "norm"],
  [new RegExp(`^${block}\\.(norm[12]|in_norm|(attns|ffns)\\.\\d+\\.norm|${mlp}\\.norm|${attention}\\.norm|(${attention}\\.)?(q_norm|k_norm|sub_norm))\\.(weight|bias)$`), "norm"],
  [new RegExp(`^${block}\\.(${attention}\\.(qkv|proj|gate)|${mlp}\\.(fc1|fc1_g|fc1_x|fc2)|in_proj|attn_out_proj|mlp_out_proj|out_proj)\\.(weight|bias)$`), "linear"],
  [new RegExp(`^${block}\\.(ls[12]?|(attns|ffns)\\.\\d+\\.ls)\\.gamma$`), "layerScale"],
  [new RegExp(`^${block}\\.(mlp_bias|${attention}\\.[qv]_bias)$`), "bias"],
  [new RegExp(`^${block}\\.(${attention}\\.)?relative_position_bias_table$`), "relative"],
  [new RegExp(`^${block}\\.(${attention}\\.)?lambda_[qk][12]$`), "lambda"],
  [/^rope\.freqs$/, "frequencies"],
  [/^attn_pool\.latent$/, "latent"],
  [/^attn_pool\.(q|kv|proj|mlp\.fc[12])\.(weight|bias)$/, "linear"],
  [/^(pre_logits\.fc|head|head_dist)\.(weight|bias)$/, "linear"],
];

/** Ranks of a weight, by role; tokens and positions are [1, count, dim]. */
const ranks: Readonly<Record<Role, number>> = {
  position: 3, class: 3, distillation: 3, register: 3, linear: 2, convolution: 4, norm: 1, runningMean: 1, runningVariance: 1, layerScale: 1,
  bias: 1, relative: 2, lambda: 1, latent: 3, frequencies: 4,
};

/**
 * Prepares the initial values of a model's parameters. A tensor's values depend on the seed, the scheme, its name, its shape and what the
 * spec says of them alone (and a gated MLP's first layer on the width of its second): not on the order of the calls or the machine.
 *
 * @param parameters every parameter, by its timm name; a bias needs its weight among them, which tells what it belongs to.
 * @returns a function from a parameter's name to its values, row-major, in a new array at each call.
 * @throws CheckpointError for names that no rule knows and shapes that do not fit their rule, all of them in one message, and for a
 *   seed that is not a whole number. The returned function throws it for a name that is not among the parameters.
 */
export function initialize(parameters: readonly TensorShape[], options: InitOptions): (name: string) => Float32Array<ArrayBuffer> {
  const { seed, scheme, layerScale = 1e-5, temperature = 10 } = options;
  if (!Number.isSafeInteger(seed) || seed < 0) throw new CheckpointError(`seed is ${seed}: it must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  if (!Object.hasOwn(schemes, scheme)) throw new CheckpointError(`init scheme "${scheme}" is not one of ${Object.keys(schemes).join(", ")}`);

  const shapes = new Map(parameters.map((parameter) => [parameter.name, parameter.shape]));
  const plans = new Map<string, { count: number; distribution: Distribution }>();
  const problems: string[] = [];
  for (const { name, shape } of parameters) {
    if (plans.has(name)) problems.push(`"${name}" is given twice`);
    const parameter = classify(name, shape, shapes);
    if (typeof parameter === "string") problems.push(parameter);
    else plans.set(name, { count: elements(shape), distribution: schemes[scheme](parameter, weightShape(parameter, shapes), { layerScale, temperature }) });
  }
  if (problems.length > 0) throw new CheckpointError(`no initial weights:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);

  return (name) => {
    const plan = plans.get(name);
    if (plan === undefined) throw new CheckpointError(`"${name}" is not a parameter of this model, which has ${plans.size}, from "${parameters[0]?.name}" on`);
    return fill(plan.count, plan.distribution, new RandomStream(randomState(seed, name)));
  };
}

/** Finds what a tensor is, or says why it cannot be initialized. */
function classify(name: string, shape: readonly number[], shapes: ReadonlyMap<string, readonly number[]>): Parameter | string {
  const found = roles.find(([pattern]) => pattern.test(name))?.[1];
  if (found === undefined) return `"${name}" [${shape.join(", ")}]: no rule knows this name; timm's names are expected (blocks.0.attn.qkv.weight, norm.bias, ...)`;
  const part = name.endsWith(".bias") ? "bias" : "weight";
  const weight = part === "bias" ? shapes.get(weightName(name)) : shape;
  if (weight === undefined) return `"${name}" [${shape.join(", ")}]: its weight "${weightName(name)}" is missing, without which the bias cannot be told apart`;
  const role = found === "stem" ? (weight.length === 1 ? "norm" : "convolution") : found;
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 1) || elements(shape) > MAX_ELEMENTS) {
    return `"${name}" [${shape.join(", ")}]: sizes must be whole and at least 1, and at most ${MAX_ELEMENTS} values in all`;
  }
  const rank = part === "bias" ? 1 : ranks[role];
  if (shape.length !== rank) return `"${name}" [${shape.join(", ")}]: it must have ${rank} ${rank === 1 ? "axis" : "axes"}, not ${shape.length}`;
  if (part === "bias" && (weight.length !== ranks[role] || weight[0] !== shape[0])) {
    return `"${name}" [${shape.join(", ")}]: it does not fit its weight of shape [${weight.join(", ")}]`;
  }
  return { name, shape, role, part, gate: gateOf(name, weight, shapes) };
}

/** Of a gated MLP: a layer of its own, or the second half of one that has twice as many outputs as the next takes. */
function gateOf(name: string, weight: readonly number[], shapes: ReadonlyMap<string, readonly number[]>): Parameter["gate"] {
  if (/\.fc1_g\.(weight|bias)$/.test(name)) return "all";
  const next = /\.fc1\.(weight|bias)$/.test(name) ? shapes.get(name.replace(/\.fc1\.(weight|bias)$/, ".fc2.weight")) : undefined;
  return next !== undefined && weight[0] === 2 * (next[1] ?? 0) ? "secondHalf" : undefined;
}

function weightName(biasName: string): string {
  return biasName.replace(/bias$/, "weight");
}

/** The shape that fans are counted on: a bias has those of its weight. */
function weightShape({ name, shape, part }: Parameter, shapes: ReadonlyMap<string, readonly number[]>): readonly number[] {
  return part === "weight" ? shape : (shapes.get(weightName(name)) ?? shape);
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** What the spec says of values, beside the shapes. */
interface Starts {
  readonly layerScale: number;
  readonly temperature: number;
}

/** How a scheme fills a tensor, by the shape of its weight and what the spec starts it from. */
type Rules = (parameter: Parameter, weight: readonly number[], starts: Starts) => Distribution;

/** The rules of each scheme, where they differ from `common`. What is younger than 0.5.4 has the rules of 1.0 in all. */
const schemes: Readonly<Record<InitScheme, Rules>> = {
  notes: (parameter, weight, starts) => (parameter.role === "class" ? truncatedNormal(0.02) : common(parameter, weight, starts)),
  timm: common,
  jax: (parameter, weight, starts) => {
    const { name, role, part } = parameter;
    if (role === "class") return zeros;
    if (role === "convolution") return part === "bias" ? zeros : lecunNormal(weight);
    if (role !== "linear") return common(parameter, weight, starts);
    if (name.startsWith("head")) return zeros;
    if (name.startsWith("pre_logits")) return part === "bias" ? zeros : lecunNormal(weight);
    const plain = part === "weight" ? xavierUniform(weight) : name.includes("mlp") ? normal(1e-6) : zeros;
    return gated(parameter, plain);
  },
};

/** The rules of `timm`, which the others change in part. */
function common(parameter: Parameter, weight: readonly number[], { layerScale, temperature }: Starts): Distribution {
  const { role, part } = parameter;
  switch (role) {
    case "position":
    case "distillation":
      return truncatedNormal(0.02);
    case "class":
    case "register":
      return normal(1e-6);
    case "linear":
      return gated(parameter, part === "bias" ? zeros : truncatedNormal(0.02));
    case "convolution":
      return torchDefault(weight);
    case "norm":
      return part === "bias" ? zeros : ones;
    case "runningMean":
    case "bias":
    case "relative":
      return zeros;
    case "runningVariance":
      return ones;
    case "layerScale":
      return { kind: "constant", value: layerScale };
    case "lambda":
      return normal(0.1);
    case "latent":
      return { kind: "normal", std: (weight[2] ?? 1) ** -0.5, cut: 2 };
    case "frequencies":
      return { kind: "turned", turns: (weight[1] ?? 0) * (weight[2] ?? 0), quarter: (weight[3] ?? 0) / 2, temperature };
    default:
      return role satisfies never;
  }
}

/** What gates starts near open: timm's `GluMlp.init_weights` and `SwiGLU.init_weights`. */
function gated({ part, gate }: Parameter, plain: Distribution): Distribution {
  const open = part === "bias" ? ones : normal(1e-6);
  return gate === "all" ? open : gate === "secondHalf" ? { kind: "halves", first: plain, second: open } : plain;
}

function normal(std: number): Distribution {
  return { kind: "normal", std, cut: Infinity };
}

/** timm's `trunc_normal_`, which cuts at the values -2 and 2, not at two deviations: at a std of 0.02 nothing is cut in practice. */
function truncatedNormal(std: number): Distribution {
  return { kind: "normal", std, cut: 2 / std };
}

/** `variance_scaling_` of jax and timm with fan-in and a truncated normal, cut at two deviations: variance 1 / fanIn after the cut. */
function lecunNormal(weight: readonly number[]): Distribution {
  return { kind: "normal", std: Math.sqrt(1 / fanIn(weight)) / CUT_NORMAL_STD, cut: 2 };
}

function xavierUniform(weight: readonly number[]): Distribution {
  return { kind: "uniform", bound: Math.sqrt(6 / (fanIn(weight) + (weight[0] ?? 0))) };
}

/** PyTorch's own for a convolution's weight and bias: kaiming uniform with a = sqrt 5, which comes to 1 / sqrt(fanIn). */
function torchDefault(weight: readonly number[]): Distribution {
  return { kind: "uniform", bound: 1 / Math.sqrt(fanIn(weight)) };
}

/** Inputs of one output: [out, in] and [out, in, height, width]. */
function fanIn(weight: readonly number[]): number {
  return elements(weight.slice(1));
}

function fill(count: number, distribution: Distribution, random: RandomStream): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  switch (distribution.kind) {
    case "constant":
      return values.fill(distribution.value);
    case "uniform":
      for (let i = 0; i < count; i++) values[i] = (2 * random.uniform() - 1) * distribution.bound;
      return values;
    case "normal":
      for (let i = 0; i < count; i++) values[i] = random.truncatedNormal(distribution.cut) * distribution.std;
      return values;
    case "halves":
      values.set(fill(Math.ceil(count / 2), distribution.first, random));
      values.set(fill(Math.floor(count / 2), distribution.second, random), Math.ceil(count / 2));
      return values;
    case "turned":
      return turnedFrequencies(values, distribution, random);
    default:
      return distribution satisfies never;
  }
}

/** timm's `init_random_2d_freqs`: x, then y, of vectors of falling length, and of those at right angles to them. */
function turnedFrequencies(values: Float32Array<ArrayBuffer>, { turns, quarter, temperature }: Extract<Distribution, { readonly kind: "turned" }>, random: RandomStream): Float32Array<ArrayBuffer> {
  for (let turn = 0; turn < turns; turn++) {
    const angle = 2 * Math.PI * random.uniform();
    for (let i = 0; i < 2 * quarter; i++) {
      const length = temperature ** (-(i % quarter) / quarter);
      const turned = i < quarter ? angle : angle + Math.PI / 2;
      values[turn * 2 * quarter + i] = length * Math.cos(turned);
      values[(turns + turn) * 2 * quarter + i] = length * Math.sin(turned);
    }
  }
  return values;
}
