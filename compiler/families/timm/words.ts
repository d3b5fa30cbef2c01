import { show, SpecError } from "../../spec/errors.js";
import type { Activation, DropoutSpec, NormSpec, Size, ViTSpec } from "../../spec/types.js";
import type { NormLayer } from "./arguments.js";

/** What a model is, without its name and its photographs' way to the input. */
export type ModelSpec = Omit<ViTSpec, "name" | "preprocess">;

/** Refuses an argument that timm knows and a spec cannot say. */
export function refuse(argument: string, message: string): never {
  throw new SpecError([{ field: `model_args.${argument}`, message }]);
}

const norms: Readonly<Record<string, NormSpec["kind"]>> = { layernorm: "layer", layernormfp32: "layer", rmsnorm: "rms", rmsnormfp32: "rms" };

/** timm's name of a norm, with or without an eps (1e-6 for both kinds), as the spec's. */
export function normOf(layer: NormLayer | null, argument: string): Required<NormSpec> {
  const { name, eps } = typeof layer === "string" ? { name: layer || "layernorm", eps: undefined } : (layer ?? { name: "layernorm", eps: undefined });
  // timm reads names without regard to case and underscores.
  const kind = norms[name.replaceAll("_", "").toLowerCase()];
  if (kind === undefined) refuse(argument, `${show(name)} is not a norm that is supported; ${Object.keys(norms).join(", ")} are`);
  return { kind, eps: eps ?? 1e-6 };
}

const activations: Readonly<Record<string, Activation>> = { gelu: "gelu", gelu_tanh: "gelu_tanh", quick_gelu: "quick_gelu", relu: "relu", silu: "silu", swish: "silu" };

/** timm's name of an activation as the spec's. Nothing is gelu. */
export function activationOf(layer: string | null): Activation {
  const activation = activations[(layer || "gelu").toLowerCase()];
  if (activation !== undefined) return activation;
  refuse("act_layer", `${show(layer)} is not an activation that is supported; ${Object.keys(activations).join(", ")} are`);
}

/** The norm in a spec, where it is not the default. */
export const normField = ({ kind, eps }: Required<NormSpec>): NormSpec | undefined => filled({ kind: kind === "layer" ? undefined : kind, eps: eps === 1e-6 ? undefined : eps });

/** int() of Python. */
export const hiddenOf = (dim: number, ratio: number): number => Math.trunc(dim * ratio);

interface Images {
  readonly img_size: Size;
  readonly patch_size: Size;
  readonly dynamic_img_size?: boolean;
  readonly dynamic_img_pad?: boolean;
}

/** Image and patch. Where the patch does not divide the image, timm's convolution leaves out what is over, unless the size is dynamic. */
export function imageAndPatch({ img_size, patch_size, dynamic_img_size, dynamic_img_pad }: Images): Pick<ModelSpec, "image" | "patch" | "patchRemainder"> {
  const [image, patch] = [sizeOf(img_size), sizeOf(patch_size)];
  const [sides, steps] = [pairOf(image), pairOf(patch)];
  const fits = sides.every((side, axis) => side % steps[axis]! === 0);
  if (dynamic_img_pad && !fits) {
    const [below, above] = [Math.floor, Math.ceil].map((round) => show(sides.map((side, axis) => Math.max(1, round(side / steps[axis]!)) * steps[axis]!)));
    refuse("dynamic_img_pad", `true pads an image of ${show(img_size)} to whole patches of ${show(patch_size)}, which is not supported; set img_size to ${below} or ${above}`);
  }
  return { image, patch, ...(!fits && !dynamic_img_size && { patchRemainder: "crop" as const }) };
}

/** A size as a spec writes it: a square as one number. */
export const sizeOf = (size: Size): Size => (typeof size !== "number" && size[0] === size[1] ? size[0] : size);

const pairOf = (size: Size): readonly [number, number] => (typeof size === "number" ? [size, size] : size);

interface Rates {
  readonly pos_drop_rate: number;
  readonly attn_drop_rate: number;
  readonly proj_drop_rate: number;
  readonly drop_path_rate: number;
}

export const dropoutOf = (rates: Rates): DropoutSpec | undefined =>
  filled({ position: rates.pos_drop_rate || undefined, attention: rates.attn_drop_rate || undefined, projection: rates.proj_drop_rate || undefined, path: rates.drop_path_rate || undefined });

/** Without pooling timm gives every token to the head, which a spec does not. */
export function poolOf<Pool extends string>(pool: Pool, classes: number): Exclude<Pool, ""> | "none" {
  if (pool !== "") return pool as Exclude<Pool, "">;
  if (classes > 0) refuse("global_pool", `"" gives every token to a head of ${classes} classes, which is not supported; set num_classes: 0 for the tokens themselves, or a pool`);
  return "none";
}

/** An object without its undefined fields; undefined if nothing is left. */
export function filled<T extends object>(object: T): T | undefined {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return entries.length > 0 ? (Object.fromEntries(entries) as T) : undefined;
}
