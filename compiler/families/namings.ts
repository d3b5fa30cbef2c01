/** Whose weight files a model can be loaded from. */
import type { ResolvedSpec } from "../spec/resolve.js";
import { openAiClip, transformersClip, transformersSiglip } from "./names/contrastive.js";
import { bigVision, googleVit, torchvision } from "./names/others.js";
import { metaDinov2, metaDinov3, openClip, timm } from "./names/timm.js";
import { transformersBeit, transformersDinov2, transformersDinov3, transformersViT } from "./names/transformers.js";
import type { FileNaming, Naming } from "./naming.js";

/** In the order in which they are preferred where a file fits several: timm's, which are the model's own, and others. */
const all: readonly FileNaming[] = [timm, metaDinov2, metaDinov3, openClip, transformersViT, transformersDinov2, transformersDinov3, transformersBeit, transformersClip, transformersSiglip, torchvision, openAiClip, googleVit, bigVision];

/** In the order in which signs are looked for: what a file has of a later one does not count. */
const signs: readonly (readonly [name: string, ending: string])[] = [
  ["a Swin Transformer", "layers.*.blocks.*.attn.qkv.weight"],
  ...[transformersDinov2, transformersDinov3, transformersBeit, transformersViT, transformersClip, transformersSiglip, torchvision, openClip, openAiClip, googleVit, bigVision, metaDinov3, metaDinov2, timm].map(({ name, sign }) => [name, sign] as const),
  ["a ConvNeXt", "stages.*.blocks.*.conv_dw.weight"],
  ["a ResNet", "layer1.*.conv1.weight"],
  ["a text model", "embeddings.word_embeddings.weight"],
  ["a language model", "embed_tokens.weight"],
];

/** What a package says about names of weight files: those it can be loaded from, and how to tell others. */
export interface Namings {
  readonly namings: readonly Naming[];
  readonly signs: readonly (readonly [name: string, ending: string])[];
}

/**
 * The namings that can fill every one of a model's parameters, each with no more rules than those take.
 * @param parameters names as the graph has them
 */
export function namingsOf(spec: ResolvedSpec, parameters: readonly string[]): Namings {
  const namings = all.flatMap((naming): Naming[] => {
    if (!naming.fits(spec)) return [];
    const rules = naming.rules(spec).map((rule) => ({ rule, makes: parameters.filter(standsFor(rule[0])) }));
    const made = new Set(rules.flatMap(({ makes }) => makes));
    if (parameters.some((name) => !made.has(name))) return [];
    return [{ name: naming.name, rules: rules.filter(({ makes }) => makes.length > 0).map(({ rule }) => rule), ignored: naming.ignored(spec) }];
  });
  return { namings, signs };
}

/** Whether a name is one that a pattern of parameters stands for: `*` is a number, and one that ends in a dot, or is empty, goes on with any text. */
function standsFor(pattern: string): (name: string) => boolean {
  const text = pattern.split("*").map((part) => part.replaceAll(".", "\\.")).join("\\d+");
  const whole = new RegExp(`^${text}${pattern === "" || pattern.endsWith(".") ? ".+" : ""}$`);
  return (name) => whole.test(name);
}
