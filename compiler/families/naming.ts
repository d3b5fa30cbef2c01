import type { ResolvedSpec } from "../spec/resolve.js";

/**
 * Names of weight files as data. The types say what `runtime/plan.ts` says to the runtime, which executes the rules; families know no
 * runtime, so they say it again, and the plan holds both together.
 */
export type TensorForm = "same" | "squeezed" | "stacked" | "transposed" | "convolution" | "heads" | "merged" | "rows" | "tokens" | "firstToken" | "zeros";

/** A parameter of the model in timm's words, the file's tensors that make it, and how. See `NamingRule` in `runtime/plan.ts` for the patterns. */
export type NamingRule = readonly [parameter: string, tensors: readonly string[], form?: TensorForm, ...sizes: readonly number[]];

export interface Naming {
  readonly name: string;
  readonly rules: readonly NamingRule[];
  readonly ignored: readonly string[];
}

/** How the files of one ecosystem name and shape the parameters of any model that can come from there. */
export interface FileNaming {
  readonly name: string;
  /** The end of a tensor's name that files of this ecosystem have, and none of those listed after it. */
  readonly sign: string;
  /** Whether a model can come from there, as far as the names of its parameters do not tell. */
  fits(spec: ResolvedSpec): boolean;
  /** Rules for whatever such a model may have; those that the model does not need are left out of its package. */
  rules(spec: ResolvedSpec): readonly NamingRule[];
  /** Tensors that such files hold and that a model may have no use for. One that it does use is used. */
  ignored(spec: ResolvedSpec): readonly string[];
}

/** A trunk of pre-norm blocks with positions that are learned, as most ecosystems know no other. */
export const isPlain = ({ block, rope, attention, position, stem, patchNorm }: ResolvedSpec): boolean =>
  block === "pre" && rope === undefined && !attention.differential && position.kind === "learned" && stem.length === 0 && !patchNorm;

/**
 * Rules for class token and positions of an ecosystem whose table of positions has a row for the class token, [1, 1 + patches, dim]. A model
 * that adds positions to patches alone gets the same tokens with that row added to its class token.
 */
export function tokensAndPositions({ tokens, position, geometry }: ResolvedSpec, classToken: string, positions: string): readonly NamingRule[] {
  const apart = tokens.class && position.kind === "learned" && !position.prefix;
  const [rows, columns] = position.resample?.from ?? geometry.grid;
  const all = 1 + rows * columns;
  return apart
    ? [["cls_token", [classToken, positions], "firstToken", all], ["pos_embed", [positions], "tokens", 1, all]]
    : [["cls_token", [classToken], "squeezed"], ["pos_embed", [positions], "squeezed"]];
}

/** The last norm, wherever the model has it: over all tokens before pooling, or over the class token alone, which is the same for that token. */
export const lastNorm = ({ pool, tokens }: ResolvedSpec, name: string): readonly NamingRule[] =>
  pool === "token" && !tokens.distillation ? [["norm.", [name]], ["fc_norm.", [name]]] : [["norm.", [name]]];

/** Queries, keys and values as layers of their own: weights, and biases where the model has them. `names` end in `.`. */
export function separateQkv({ attention }: ResolvedSpec, names: readonly [query: string, key: string, value: string]): readonly NamingRule[] {
  const [query, , value] = names.map((name) => name.split("|").map((spelling) => `${spelling}bias`).join("|")) as [string, string, string];
  return attention.qkvBias === "qv"
    ? [["blocks.*.attn.qkv.weight", names.map((name) => name.split("|").map((spelling) => `${spelling}weight`).join("|")), "stacked"], ["blocks.*.attn.q_bias", [query]], ["blocks.*.attn.v_bias", [value]]]
    : [["blocks.*.attn.qkv.", names, "stacked"]];
}
