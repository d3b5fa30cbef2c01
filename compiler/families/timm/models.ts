import { nearest, show, SpecError } from "../../spec/errors.js";
import { checked } from "../check.js";
import { beitArguments, evaArguments, visionTransformerArguments, type BeitArguments, type EvaArguments, type VisionTransformerArguments } from "./arguments.js";
import { contrastiveModels } from "./models-contrastive.js";
import { evaModels } from "./models-eva.js";
import { plainModels } from "./models-plain.js";
import { registerModels } from "./models-registers.js";
import type { TimmGroup, TimmPixels, TimmRow } from "./table.js";
import { timmTags } from "./tags.js";

/** A class of timm and all arguments of its constructor, defaults filled in. */
export type TimmModel =
  | { readonly class: "VisionTransformer" | "VisionTransformerDistilled"; readonly args: VisionTransformerArguments }
  | { readonly class: "Eva"; readonly args: EvaArguments }
  | { readonly class: "Beit"; readonly args: BeitArguments };

/** What timm keeps with a file of weights, as far as it says something about the model and its photographs. */
export interface TimmWeights extends TimmPixels {
  readonly tag: string;
  /** Channels, height and width. */
  readonly input_size: readonly [channels: number, height: number, width: number];
  readonly crop_pct: number;
  readonly crop_mode: string;
  readonly interpolation: string;
  readonly num_classes: number;
}

const entries: ReadonlyMap<string, { readonly group: TimmGroup; readonly row: TimmRow }> = new Map(
  [...plainModels, ...contrastiveModels, ...registerModels, ...evaModels].flatMap((group) => Object.entries(group.models).map(([name, row]) => [name, { group, row }] as const)),
);

/** The names of all models, sorted. */
export const timmNames: readonly string[] = [...entries.keys()].sort();

/** @throws SpecError with the nearest name. */
function entryOf(name: string): { readonly group: TimmGroup; readonly row: TimmRow } {
  const entry = entries.get(name);
  if (entry) return entry;
  const near = nearest(name, timmNames);
  throw new SpecError([{ field: "architecture", message: `${show(name)} is not a plain ViT of timm; ${near ? `did you mean "${near}"?` : `the ${timmNames.length} known names are like "vit_base_patch16_224"; vitc list timm shows them`}` }]);
}

/**
 * What timm says of a model's weights with a tag, or of its default weights where none is named.
 * @throws SpecError for an unknown name or tag, with the nearest known one.
 */
export function timmWeights(name: string, tag?: string): TimmWeights {
  const [, , image, pixels, crop_pct, num_classes, usual, other] = entryOf(name).row;
  const weights: TimmWeights = { tag: usual, input_size: [3, image, image], ...pixels, crop_pct, crop_mode: "center", interpolation: "bicubic", num_classes, ...other };
  if (tag === undefined || tag === usual) return weights;
  const [, differs] = timmTags[name]?.find(([tags]) => tags.split(" ").includes(tag)) ?? unknownTag(name, tag);
  const { pixels: own, ...rest } = differs ?? {};
  return { ...weights, tag, ...own, ...rest };
}

/** The tags of a model's weights, its default ones first. */
export const timmTagsOf = (name: string): readonly string[] => [entryOf(name).row[6], ...(timmTags[name] ?? []).flatMap(([tags]) => tags.split(" "))];

function unknownTag(name: string, tag: string): never {
  const known = timmTagsOf(name);
  const near = nearest(tag, known);
  throw new SpecError([{ field: "architecture", message: `${show(`${name}.${tag}`)}: ${show(tag)} is no tag of ${name}'s weights; ${near ? `did you mean ${show(near)}? K` : "k"}nown ${known.length === 1 ? "is" : "are"} ${known.join(", ")}; of weights of your own, compile the config.json` }]);
}

/**
 * A model's class and arguments, as its entry point calls the constructor.
 *
 * @param given arguments that take the place of the entry point's: image, channels and classes of the weights, a config's `model_args`.
 * @throws SpecError for an unknown name, and for arguments that timm does not know or whose values it has no use for.
 */
export function timmModel(name: string, given: Readonly<Record<string, unknown>>): TimmModel {
  const { group, row: [size, patch_size] } = entryOf(name);
  const args = { ...size, patch_size, ...group.args, ...given };
  const named = { at: "model_args", field: `an argument of timm's ${group.class}` };
  switch (group.class) {
    case "VisionTransformer":
    case "VisionTransformerDistilled":
      return { class: group.class, args: checked(visionTransformerArguments, args, named) };
    case "Eva":
      return { class: group.class, args: checked(evaArguments, args, named) };
    case "Beit":
      return { class: group.class, args: checked(beitArguments, args, named) };
    default:
      return group satisfies never;
  }
}
