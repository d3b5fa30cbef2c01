import { nearest, show, SpecError } from "../../spec/errors.js";
import type { Size } from "../../spec/types.js";
import { checked } from "../check.js";
import { beitArguments, evaArguments, visionTransformerArguments, type BeitArguments, type EvaArguments, type VisionTransformerArguments } from "./arguments.js";
import { contrastiveModels } from "./models-contrastive.js";
import { evaModels } from "./models-eva.js";
import { plainModels } from "./models-plain.js";
import { registerModels } from "./models-registers.js";
import type { TimmGroup, TimmPixels, TimmRow } from "./table.js";

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
  throw new SpecError([{ field: "architecture", message: `${show(name)} is not a plain ViT of timm; ${near ? `did you mean "${near}"?` : `the ${timmNames.length} known names are like "vit_base_patch16_224"`}` }]);
}

/**
 * What timm takes with a model's name where no tag is named: its default weights.
 * @throws SpecError for an unknown name, with the nearest known one.
 */
export function timmWeights(name: string): TimmWeights {
  const [, , image, pixels, crop_pct, num_classes, tag, other] = entryOf(name).row;
  return { tag, input_size: [3, image, image], ...pixels, crop_pct, crop_mode: "center", interpolation: "bicubic", num_classes, ...other };
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

/** The image of a model's default weights, a size as a spec has it. */
export const timmImage = (name: string): Size => entryOf(name).row[2];
