/** What the configs of transformers' models have in common. */
import { z } from "zod";
import { nearest, show, SpecError } from "../../spec/errors.js";
import type { Activation, ViTSpec } from "../../spec/types.js";

/** A model's config.json in the words of a spec; its name, labels and preprocessing are added to it. */
export type Trunk = Omit<ViTSpec, "name" | "labels" | "preprocess">;

/** What the config of a family becomes, and what a user should know about it. */
export interface Built {
  readonly spec: Trunk;
  readonly notes: readonly string[];
}

export interface BuildOptions {
  /** Whether a base model has the pooler that its class has by default. */
  readonly pooler: boolean;
}

const whole = z.number().int();
export const count = whole.min(1);
export const size = z.union([count, z.tuple([count, count])]);
export const epsilon = z.number().positive();

/** What every config has. Fields that do not decide the graph are let through. */
export const anyConfig = {
  model_type: z.string(),
  architectures: z.array(z.string()).nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  num_labels: whole.min(0).nullish(),
  _name_or_path: z.string().nullish(),
  output_attentions: z.boolean().nullish(),
  output_hidden_states: z.boolean().nullish(),
};

/** What every encoder has, with the defaults that most classes have. */
export const encoder = {
  ...anyConfig,
  hidden_size: count.default(768),
  num_hidden_layers: count.default(12),
  num_attention_heads: count.default(12),
  head_dim: count.nullish(),
  hidden_act: z.string().default("gelu"),
  image_size: size.default(224),
  patch_size: size.default(16),
  num_channels: count.default(3),
};

export type Encoder = z.output<z.ZodObject<typeof encoder>>;

/** The parts of a spec that `encoder` decides. */
export function trunk(config: Encoder): Pick<ViTSpec, "image" | "patch" | "patchRemainder" | "channels" | "dim" | "depth" | "heads" | "headDim"> {
  const { image_size, patch_size, num_channels, hidden_size, num_hidden_layers, num_attention_heads, head_dim } = config;
  const [image, patch] = [image_size, patch_size].map((side) => (typeof side === "number" ? [side, side] : side)) as [[number, number], [number, number]];
  // A convolution leaves over what does not fill a patch.
  const crops = image.some((side, axis) => side % patch[axis]! !== 0);
  return {
    image: image_size,
    patch: patch_size,
    ...(crops && { patchRemainder: "crop" }),
    channels: num_channels,
    dim: hidden_size,
    depth: num_hidden_layers,
    heads: num_attention_heads,
    ...(head_dim && head_dim * num_attention_heads !== hidden_size && { headDim: head_dim }),
  };
}

/** Names in transformers' ACT2FN that a spec has, some of them for the same function computed in another way. */
const activations: Readonly<Record<string, Activation>> = {
  gelu: "gelu", gelu_python: "gelu", gelu_new: "gelu_tanh", gelu_fast: "gelu_tanh", gelu_accurate: "gelu_tanh", gelu_pytorch_tanh: "gelu_tanh", gelu_python_tanh: "gelu_tanh",
  quick_gelu: "quick_gelu", relu: "relu", silu: "silu", swish: "silu",
}; // prettier-ignore

/** @throws SpecError for a function that a spec does not have. */
export function activation(name: string, field = "hidden_act"): Activation {
  const known = Object.hasOwn(activations, name) ? activations[name] : undefined;
  if (known !== undefined) return known;
  const near = nearest(name, Object.keys(activations));
  throw new SpecError([{ field: `config.${field}`, message: `${show(name)} is not supported${near ? `; did you mean ${show(near)}?` : "."} Supported are ${Object.keys(activations).join(", ")}` }]);
}

/** How many classes a head has: transformers leaves out what says so when there are two. */
export const classesOf = ({ id2label, num_labels }: Pick<Encoder, "id2label" | "num_labels">): number => (id2label ? Object.keys(id2label).length : (num_labels ?? 2));

/** The names of classes, unless they are those that transformers makes up. */
export function labelsOf({ id2label }: Pick<Encoder, "id2label">): readonly string[] | undefined {
  if (!id2label) return undefined;
  const names = Object.entries(id2label).sort(([a], [b]) => Number(a) - Number(b)).map(([, name]) => name);
  return names.length === 0 || names.every((name, i) => name === `LABEL_${i}`) ? undefined : names;
}

/** A head that classifies what is pooled. Without classes transformers hands the pooled vector on, by the same name. */
export const classifier = (config: Encoder): Pick<ViTSpec, "classes" | "outputNames"> => {
  const classes = classesOf(config);
  return classes > 0 ? { classes } : { classes, outputNames: { features: "logits" } };
};

/** A base model: all tokens, and one vector beside them. */
export const tokensAndPooled = { classes: 0, outputs: ["tokens"], outputNames: { tokens: "last_hidden_state", features: "pooler_output" } } as const satisfies Partial<ViTSpec>;

/** A base model that pools nothing. */
export const tokensAlone = { pool: "none", classes: 0, outputNames: { tokens: "last_hidden_state" } } as const satisfies Partial<ViTSpec>;

/** The heads of a family by the name of transformers' class; the first is the base model, which a config that names none stands for. */
export type Heads<Config> = Readonly<Record<string, (config: Config, options: BuildOptions) => Partial<Trunk>>>;

/** Endings of classes that no spec can say, each with what they make. */
const beyond: readonly (readonly [ending: RegExp, what: string])[] = [
  [/ForMaskedImageModeling$|ForMaskedLM$/, "predicts masked patches"],
  [/ForPreTraining$/, "is for training"],
  [/Backbone$/, "returns feature maps of several blocks; a spec returns blocks as tokens: compile the base model, and add outputs such as blocks.3"],
  [/For(SemanticSegmentation|UniversalSegmentation)$/, "segments"],
  [/ForObjectDetection$/, "finds objects"],
  [/ForDepthEstimation$/, "estimates depth"],
  [/Text(Model|ModelWithProjection|Config)$/, "reads text"],
];

/**
 * What the class that `architectures` names adds to a trunk.
 * @throws SpecError for a class that is none of the family, or that a spec cannot say.
 */
export function headOf<Config extends Pick<Encoder, "architectures" | "model_type">>(config: Config, heads: Heads<Config>, options: BuildOptions): { readonly head: Partial<Trunk>; readonly notes: readonly string[] } {
  const known = Object.keys(heads);
  const named = config.architectures?.[0];
  const name = named ?? known[0]!;
  const head = Object.hasOwn(heads, name) ? heads[name] : undefined;
  if (head) return { head: head(config, options), notes: named === undefined ? [`config.json names no architecture: it is taken for a ${name}`] : [] };
  const [, what] = beyond.find(([ending]) => ending.test(name)) ?? [];
  const near = nearest(name, known);
  const fix = what ? `${show(name)} ${what}, and a spec is an encoder of images` : `${show(name)} is not a model of ${show(config.model_type)} that is known${near ? `; did you mean ${show(near)}?` : ""}`;
  throw new SpecError([{ field: "config.architectures", message: `${fix} (known: ${known.join(", ")})` }]);
}
