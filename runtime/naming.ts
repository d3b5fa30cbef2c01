/** The names in a weight file: whose they are, and the recipe restated in them. */

import { formed, type Formed } from "./forms.js";
import type { Naming, PackedTensor, TensorForm, WeightRecipe, WeightSource, WeightStep } from "./plan.js";
import type { FileTensor } from "./file-tensors.js";
import { renumbered } from "./steps.js";

/** A recipe in the words of a file. */
export interface Followed {
  readonly tensors: readonly PackedTensor[];
  /** Whose names the file has: `transformers ViT`. Undefined where they are the model's own, or nobody's that is known. */
  readonly naming: string | undefined;
  /** Whose they seem to be, when what the model needs is not there: those of another kind of model. */
  readonly stranger: string | undefined;
  /** Whether such files hold a tensor of this name that is of no use to the model. */
  ignores(name: string): boolean;
}

type File = ReadonlyMap<string, FileTensor>;

/** A parameter by one rule, with its block's number and ending written in: tensors in all their spellings, and what is made of them. */
interface Candidate {
  readonly tensors: readonly (readonly string[])[];
  readonly form: TensorForm;
  readonly sizes: readonly number[];
}

/** What stands before the names of a trunk in a file, and what may stand before those around it: `model.vit.`, and `` or `model.`. */
interface Around {
  readonly prefix: string;
  readonly outer: readonly string[];
}

/** A naming, tried on a file. */
interface Attempt extends Around {
  readonly naming: Naming;
  readonly chosen: ReadonlyMap<string, Candidate>;
  /** The spelling that most names of the file have. */
  readonly spelling: number;
  readonly missing: number;
  readonly extra: number;
}

/** A file that has tensors for less of the parameters is read by the model's own names: what it has is chance. */
const leastFound = 1 / 4;
/** Parameters whose names tell what a file puts before them: more than one, because any may be missing. */
const anchors = 3;
const prefixesTried = 16;

/**
 * Restates a recipe in the names of a file. Of the recipe's namings, and of what the file may put before its names, the one counts that leaves
 * the fewest parameters without tensors, then the fewest tensors without use. Where most parameters have none, the names stay the model's own.
 */
export function followNaming(recipe: WeightRecipe, file: File): Followed {
  const { tensors, namings } = recipe;
  const shapes = new Map(tensors.flatMap(({ sources }) => sources).map(({ names, shape }) => [names[0] ?? "", shape]));
  let best: Attempt | undefined;
  for (const attempt of attempts(namings ?? [], [...shapes.keys()], file)) {
    if (best === undefined || attempt.missing < best.missing || (attempt.missing === best.missing && attempt.extra < best.extra)) best = attempt;
    if (best.missing === 0 && best.extra === 0) break;
  }
  const stranger = best === undefined || best.missing === 0 ? undefined : strangerOf(recipe, file);
  if (best === undefined || best.missing > (1 - leastFound) * shapes.size) return { tensors, naming: undefined, stranger, ignores: () => false };
  const { naming, prefix, chosen } = best;
  const parts = new Map([...chosen].map(([name, candidate]) => [name, partOf(candidate, shapes.get(name)!, best, file)]));
  const ignored = naming.ignored.map((pattern) => anywhere(pattern, best));
  return {
    tensors: tensors.map((tensor) => restated(tensor, parts)),
    naming: naming === namings?.[0] && prefix === "" ? undefined : naming.name,
    stranger,
    ignores: (name) => ignored.some((known) => known.test(name)),
  };
}

/** Each naming with each prefix that the file may have, the model's own names first. */
function* attempts(namings: readonly Naming[], parameters: readonly string[], file: File): Generator<Attempt> {
  for (const naming of namings) {
    const candidates = candidatesOf(naming, parameters);
    const own = naming === namings[0] ? [""] : [];
    for (const prefix of [...new Set([...own, ...prefixesIn(file, candidates)])].slice(0, prefixesTried)) yield tryNaming(naming, prefix, candidates, file);
  }
}

/** Whose names the file has, if that is an ecosystem whose models cannot be this one. */
function strangerOf({ namings = [], signs = [] }: WeightRecipe, file: File): string | undefined {
  const names = [...file.keys()];
  const [whose] = signs.find(([, ending]) => {
    const sign = expression(ending, "(?:.*[./])?");
    return names.some((name) => sign.test(name));
  }) ?? [];
  return namings.some(({ name }) => name === whose) ? undefined : whose;
}

// ---------------------------------------------------------------------------------------------------------- patterns

/** What names of a pattern look like behind `head`, itself an expression; the last group is how an open one goes on. */
function expression(pattern: string, head = ""): RegExp {
  const text = literal(pattern).replaceAll("\\*", "(\\d+)");
  return new RegExp(`^${head}${text}${pattern === "" || /[./]$/.test(pattern) ? "(.+)" : "()"}$`);
}

const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/** A pattern of tensors in a file: behind the trunk's prefix, or around the trunk. */
const anywhere = (pattern: string, { prefix, outer }: Around): RegExp =>
  pattern.startsWith("~") ? expression(pattern.slice(1), literal(prefix)) : expression(pattern, `(?:${outer.map(literal).join("|")})`);

/** The rules for each parameter, in their order. */
function candidatesOf({ rules }: Naming, parameters: readonly string[]): ReadonlyMap<string, readonly Candidate[]> {
  const compiled = rules.map(([pattern, tensors, form = "same", ...sizes]) => ({ known: expression(pattern), tensors, form, sizes }));
  return new Map(
    parameters.map((name) => [
      name,
      compiled.flatMap(({ known, tensors, form, sizes }): Candidate[] => {
        const [, ...groups] = known.exec(name) ?? [];
        const rest = groups.pop();
        if (rest === undefined) return [];
        const written = (pattern: string): string => {
          let block = 0;
          return pattern.replaceAll("*", () => groups[block++] ?? "") + rest;
        };
        return [{ tensors: tensors.map((spellings) => spellings.split("|").map(written)), form, sizes }];
      }),
    ]),
  );
}

/** What the file has before the trunk's names. */
function prefixesIn(file: File, candidates: ReadonlyMap<string, readonly Candidate[]>): string[] {
  const first = (name: string): string[] => candidates.get(name)?.flatMap(({ tensors }) => tensors.flat()).filter((spelling) => spelling.startsWith("~")) ?? [];
  const endings = ["patch_embed.proj.weight", ...candidates.keys()].map(first).filter((spellings) => spellings.length > 0).slice(0, anchors).flat();
  const prefixes = endings.flatMap((ending) => [...file.keys()].filter((name) => name.endsWith(ending.slice(1))).map((name) => name.slice(0, name.length - ending.length + 1)));
  return prefixes.filter((prefix) => prefix === "" || /[./]$/.test(prefix));
}

// ------------------------------------------------------------------------------------------------------------ trying

function tryNaming(naming: Naming, prefix: string, candidates: ReadonlyMap<string, readonly Candidate[]>, file: File): Attempt {
  const outer = [...prefix.matchAll(/[./]/g)].map(({ index }) => prefix.slice(0, index + 1));
  const around: Around = { prefix, outer: ["", ...outer.slice(0, -1)] };
  const chosen = new Map<string, Candidate>();
  const used = new Set<string>();
  const spelled: number[] = [];
  let missing = 0;
  for (const [name, [first = { tensors: [[name]], form: "same", sizes: [] } as const, ...others]] of candidates) {
    const whole = [first, ...others].find(({ tensors }) => tensors.every((spellings) => foundIn(file, spellings, around) !== undefined));
    if (whole === undefined) missing++;
    const candidate = whole ?? first;
    chosen.set(name, candidate);
    for (const spellings of candidate.tensors) {
      const found = foundIn(file, spellings, around);
      if (found === undefined) continue;
      used.add(found.name);
      if (spellings.length > 1) spelled[found.spelling] = (spelled[found.spelling] ?? 0) + 1;
    }
  }
  const ignored = naming.ignored.map((pattern) => anywhere(pattern, around));
  const extra = [...file.keys()].filter((name) => !used.has(name) && !ignored.some((known) => known.test(name))).length;
  return { naming, ...around, chosen, missing, extra, spelling: spelled.reduce((most, count, i) => (count > (spelled[most] ?? 0) ? i : most), 0) };
}

function foundIn(file: File, spellings: readonly string[], around: Around): { readonly name: string; readonly spelling: number } | undefined {
  for (const [spelling, text] of spellings.entries()) {
    const name = namesOf(text, around).find((candidate) => file.has(candidate));
    if (name !== undefined) return { name, spelling };
  }
  return undefined;
}

/** Names that a spelling may stand for, the likeliest first. Blocks have been written without the prefix that the rest of the trunk has. */
const namesOf = (spelling: string, { prefix, outer }: Around): readonly string[] =>
  spelling.startsWith("~") ? [prefix, ...outer].map((head) => head + spelling.slice(1)) : outer.map((head) => head + spelling);

// --------------------------------------------------------------------------------------------------------- restating

/** A parameter as a little recipe of its own. */
interface Part {
  readonly sources: readonly WeightSource[];
  readonly steps: readonly WeightStep[];
}

/** What a parameter is read from, by the names in the file, or those that are missing there. */
function partOf({ tensors, form, sizes }: Candidate, shape: readonly number[], attempt: Attempt, file: File): Part {
  const names = tensors.map((spellings) => foundIn(file, spellings, attempt)?.name ?? namesOf(spellings[Math.min(attempt.spelling, spellings.length - 1)] ?? "", attempt)[0] ?? "");
  const { shapes, steps }: Formed = formed(form, sizes, shape, names.map((name) => file.get(name)?.shape));
  return { sources: names.map((name, i) => ({ names: [name], shape: shapes[i] ?? shape })), steps };
}

/** A packed tensor of parameters, made of the file's tensors: the steps of the parts come first. */
function restated(tensor: PackedTensor, parts: ReadonlyMap<string, Part>): PackedTensor {
  const own = tensor.sources.map((source): Part => parts.get(source.names[0] ?? "") ?? { sources: [source], steps: [] });
  const sources = own.flatMap((part) => part.sources);
  const steps: WeightStep[] = [];
  let before = 0;
  // The register that each source of the tensor has become.
  const results = own.map((part) => {
    const [first, next] = [before, sources.length + steps.length];
    const register = (of: number): number => (of < part.sources.length ? first + of : next + of - part.sources.length);
    steps.push(...part.steps.map((step) => renumbered(step, register)));
    before += part.sources.length;
    return register(part.sources.length + part.steps.length - 1);
  });
  const next = sources.length + steps.length;
  steps.push(...tensor.steps.map((step) => renumbered(step, (of) => results[of] ?? next + of - results.length)));
  return { ...tensor, sources, steps };
}
