/** Whether a weight file has what a recipe reads, and what to say where it has not. */

import { floatTypes, isFloatType } from "./decode.js";
import { WeightsError, type WeightProblem } from "./errors.js";
import { followNaming, type Followed } from "./naming.js";
import type { PackedTensor, WeightRecipe } from "./plan.js";
import type { SafetensorsFile } from "./safetensors.js";
import { quote } from "./source.js";

export interface CheckOptions {
  /** Ignore tensors of the file that the model does not use, instead of refusing the file. */
  readonly allowExtra?: boolean | undefined;
}

/** Missing tensors that get a suggestion, and names that are compared for it: the search is quadratic. */
const suggestions = { missing: 20, names: 2000 };

/**
 * Compares the whole recipe with the whole file, in the names that the file has: missing tensors with the nearest name the file holds, wrong
 * shapes, wrong dtypes, and tensors that the model does not use and that its ecosystem does not know. Of a tensor's alternative names the first
 * that the file holds counts; others are extra.
 *
 * @returns every problem, missing tensors first, or before them whose names the file has when it is of another kind of model; empty when the
 * file fits
 */
export function checkTensors(recipe: WeightRecipe, file: SafetensorsFile, options: CheckOptions = {}): WeightProblem[] {
  return checkFollowed(followNaming(recipe, file.tensors), file, options);
}

/**
 * A recipe restated in the names of a file, and the names of tensors that it does not read.
 * @throws WeightsError with everything that is wrong with the file
 */
export function fitted(recipe: WeightRecipe, file: SafetensorsFile, options: CheckOptions): { readonly tensors: readonly PackedTensor[]; readonly ignored: readonly string[] } {
  const followed = followNaming(recipe, file.tensors);
  const problems = checkFollowed(followed, file, options);
  if (problems.length > 0) throw new WeightsError(problems, followed.naming === undefined ? file.name : `${file.name}, read by the names of ${followed.naming}`);
  return { tensors: followed.tensors, ignored: extraNames(followed, file) };
}

/** `checkTensors` with a recipe that is in the file's names already. */
function checkFollowed(followed: Followed, file: SafetensorsFile, options: CheckOptions = {}): WeightProblem[] {
  // An empty tensor, of no register tokens for example, is nothing that the model could use.
  const extra = extraNames(followed, file).filter((name) => !followed.ignores(name) && file.tensors.get(name)!.bytes > 0);
  const candidates = extra.slice(0, suggestions.names);
  const missing: WeightProblem[] = [];
  const unfit: WeightProblem[] = [];
  const distinct = new Map(followed.tensors.flatMap(({ sources }) => sources).map((wanted) => [JSON.stringify([wanted.names, wanted.shape]), wanted]));
  for (const { names, shape } of distinct.values()) {
    const tensor = names.find((name) => file.tensors.has(name));
    const found = tensor === undefined ? undefined : file.tensors.get(tensor);
    if (tensor === undefined || found === undefined) {
      const near = missing.length < suggestions.missing ? nearest(names, candidates) : undefined;
      missing.push({ kind: "missing", tensor: names[0] ?? "", message: describeMissing(names, shape, near, file) });
      continue;
    }
    if (!isFloatType(found.dtype)) {
      unfit.push({ kind: "dtype", tensor, message: `${quote(tensor)} has dtype ${found.dtype}; weights are ${floatTypes.join(", ")}` });
    }
    if (found.shape.length !== shape.length || found.shape.some((extent, axis) => extent !== shape[axis])) {
      unfit.push({ kind: "shape", tensor, message: `${quote(tensor)} has shape ${shapeText(found.shape)}, the model needs ${shapeText(shape)}` });
    }
  }
  const unused = (options.allowExtra ? [] : extra).map((tensor): WeightProblem => {
    const { shape } = file.tensors.get(tensor)!;
    return { kind: "extra", tensor, message: `${quote(tensor)} ${shapeText(shape)} is not used by the model; allowExtra: true (--allow-extra on the command line) ignores such tensors` };
  });
  const stranger = followed.stranger === undefined ? [] : [{ kind: "format", message: `its tensors have the names of ${followed.stranger}, and this model is of another kind: compile a package from the config of the file` } as const];
  return [...stranger, ...missing, ...unfit, ...unused];
}

function describeMissing(names: readonly string[], shape: readonly number[], near: string | undefined, file: SafetensorsFile): string {
  const [name, ...others] = names.map(quote);
  const alternatives = others.length === 0 ? "" : ` (or ${others.join(", ")})`;
  const found = near === undefined ? undefined : file.tensors.get(near);
  const suggestion = near === undefined || found === undefined ? "" : `; the nearest unused name in the file is ${quote(near)} ${shapeText(found.shape)}`;
  return `${name}${alternatives} ${shapeText(shape)} is missing${suggestion}`;
}

/** Tensors of the file that no source resolves to. */
function extraNames({ tensors }: Followed, file: SafetensorsFile): string[] {
  const used = new Set(tensors.flatMap(({ sources }) => sources.map(({ names }) => names.find((name) => file.tensors.has(name)))));
  return [...file.tensors.keys()].filter((name) => !used.has(name));
}

/** The candidate with the fewest edits from any of the names, if fewer than half of the name would change. */
function nearest(names: readonly string[], candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let fewest = Infinity;
  for (const name of names) {
    for (const candidate of candidates) {
      const limit = Math.min(fewest, Math.ceil(name.length / 2));
      const edits = editDistance(name, candidate, limit);
      if (edits < limit) [best, fewest] = [candidate, edits];
    }
  }
  return best;
}

/** Insertions, deletions and substitutions between two texts (Levenshtein); `limit` or more is reported as Infinity. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return Infinity;
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substituted, previous[j]! + 1, current[j - 1]! + 1));
    }
    if (Math.min(...current) >= limit) return Infinity;
    previous = current;
  }
  return previous[b.length]!;
}

function shapeText(shape: readonly number[]): string {
  const shown = shape.slice(0, 8).join(", ");
  return shape.length > 8 ? `[${shown}, … ${shape.length} axes]` : `[${shown}]`;
}
