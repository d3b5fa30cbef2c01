/** Models that are known by name or described by another library's config, as specs. */
import { SpecError } from "../spec/errors.js";
import type { ViTSpec } from "../spec/types.js";
import { transformersSpec } from "./hf/index.js";
import { timmConfigSpec, timmSpec } from "./timm/index.js";

export { transformersTypes } from "./hf/index.js";
export { listTimm, type TimmEntry, type TimmTag } from "./timm/index.js";

/** A model of another library as a spec. */
export interface FamilySpec {
  readonly spec: ViTSpec;
  /** What a user should know: what is left out, or was not said and is taken for the usual. */
  readonly notes: readonly string[];
}

/**
 * The spec behind a name such as `timm:vit_small_patch14_reg4_dinov2`, with the tag of its weights or without. `hf-hub:timm/NAME.TAG`, as timm
 * calls the same files, means the same.
 * @throws SpecError for an unknown library, model or tag, with the nearest known one
 */
export function specByName(reference: string): FamilySpec {
  const colon = reference.indexOf(":");
  const [library, name] = [reference.slice(0, colon), reference.slice(colon + 1)];
  const hub = ["hf", "hf-hub", "hf_hub", "huggingface", "transformers"].includes(library);
  if (library === "timm" || (hub && name.startsWith("timm/"))) return { spec: timmSpec(name.replace(/^timm\//, "")), notes: [] };
  throw new SpecError([{ field: reference, message: hub ? "models of transformers are compiled from their config.json: name the folder, or the file" : `${library} is not a library whose models are known by name; write timm:NAME, or the path of a config.json` }]);
}

/** Whose config.json an object is, by the fields that only one library writes. */
export function configKind(config: unknown): "timm" | "transformers" | undefined {
  if (typeof config !== "object" || config === null || Array.isArray(config)) return undefined;
  if (Object.hasOwn(config, "model_type") || Object.hasOwn(config, "architectures")) return "transformers";
  return Object.hasOwn(config, "architecture") || Object.hasOwn(config, "pretrained_cfg") ? "timm" : undefined;
}

/**
 * The spec of a model as the config.json of timm or transformers describes it.
 * @param processor the parsed preprocessor_config.json beside it, if there is one
 * @param name of the package. Default: what the config says
 * @throws SpecError for what a spec cannot say, with the reason
 */
export function specOfConfig(config: unknown, { processor, name }: { readonly processor?: unknown; readonly name?: string } = {}): FamilySpec {
  if (configKind(config) === "timm") return { spec: timmConfigSpec(config, name), notes: [] };
  return transformersSpec(config, { processor, name });
}
