import { access, readdir, readFile, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { LoadOptions, Model, Plan, Tensor } from "../../runtime/codegen.js";
import { UserError } from "./context.js";
import { some } from "./format.js";

/** The outputs of any model, by name. */
export type AnyOutputs = Readonly<Record<string, Tensor>>;

/** A generated package, imported. */
export interface ImportedPackage {
  /** Absolute. */
  readonly folder: string;
  readonly plan: Plan;
  load(options: LoadOptions): Promise<Model<AnyOutputs>>;
}

/** What a generated package.json says under `vitc`. */
interface Provenance {
  readonly spec?: unknown;
  readonly files?: unknown;
}

/**
 * Imports a package that `vitc compile` wrote.
 * @throws UserError when the folder is none, lacks files, or does not load, with the command that makes it.
 */
export async function importPackage(reference: string, cwd: string): Promise<ImportedPackage> {
  const folder = resolve(cwd, reference);
  const shown = relative(cwd, folder) || ".";
  await expectFolder(folder, shown);
  const provenance = await readProvenance(folder, shown);
  const again = `compile it again: npx vitc compile ${typeof provenance.spec === "string" ? `${relative(cwd, resolve(folder, provenance.spec)) || "SPEC"}` : "SPEC"} --out ${shown}`;
  await expectFiles(folder, shown, provenance, again);
  const [door, { plan }] = await Promise.all([importFile(folder, "index.js", shown, again), importFile(folder, "plan.js", shown, again)]);
  if (typeof door["load"] !== "function" || !isPlan(plan)) throw new UserError(`${shown} is not a package of this version of vitc (index.js exports no load, or plan.js no plan); ${again}`);
  // What generated code exports is stated by its declarations, which are not at hand for a folder chosen at run time.
  return { folder, plan, load: door["load"] as ImportedPackage["load"] };
}

/**
 * The weights in a package's folder: model.safetensors, or the only file of that kind.
 * @throws UserError when there is none or more than one.
 */
export async function findWeights({ folder }: ImportedPackage, cwd: string): Promise<string> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".safetensors")).sort();
  const chosen = files.includes("model.safetensors") ? "model.safetensors" : files.length === 1 ? files[0] : undefined;
  if (chosen !== undefined) return join(folder, chosen);
  const shown = relative(cwd, folder) || ".";
  if (files.length > 1) throw new UserError(`${shown} holds several weight files (${some(files)}): name one with --weights`);
  throw new UserError(`${shown} holds no weights: name a file or URL with --weights, or put model.safetensors there (\`vitc init-weights SPEC\` makes random ones)`);
}

async function expectFolder(folder: string, shown: string): Promise<void> {
  const info = await stat(folder).catch(() => undefined);
  if (!info) throw new UserError(`there is no folder ${shown}; a package is made by: npx vitc compile SPEC --out ${shown}`);
  if (info.isDirectory()) return;
  const isSpec = /\.([cm]?[jt]s|json)$/.test(shown) && !/(^|[/\\])(index\.[jt]s|package\.json)$/.test(shown);
  throw new UserError(isSpec ? `${shown} is a file, and run takes the package that was compiled from it: npx vitc compile ${shown}, then npx vitc run generated/NAME` : `${shown} is a file: name the package's folder`);
}

async function readProvenance(folder: string, shown: string): Promise<Provenance> {
  const text = await readFile(join(folder, "package.json"), "utf8").catch(() => undefined);
  if (text !== undefined) {
    try {
      const manifest = JSON.parse(text) as { vitc?: unknown } | null;
      if (typeof manifest?.vitc === "object" && manifest.vitc !== null) return manifest.vitc;
    } catch {
      // No JSON: nothing that vitc wrote.
    }
  }
  throw new UserError(`${shown} is not a package of vitc (${text === undefined ? "it has no package.json" : "its package.json does not name vitc"}); a package is made by: npx vitc compile SPEC --out FOLDER`);
}

async function expectFiles(folder: string, shown: string, { files }: Provenance, again: string): Promise<void> {
  const needed = (Array.isArray(files) ? files : ["index.js", "plan.js"]).filter((file): file is string => typeof file === "string" && file.endsWith(".js"));
  const there = await Promise.all(needed.map((file) => access(join(folder, file)).then(() => true, () => false)));
  const missing = needed.filter((_, i) => !there[i]);
  if (missing.length > 0) throw new UserError(`${shown} is incomplete: ${some(missing)} ${missing.length === 1 ? "is" : "are"} missing; ${again}`);
}

async function importFile(folder: string, file: string, shown: string, again: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(join(folder, file)).href)) as Record<string, unknown>;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (/Cannot find package 'vitc'/.test(message)) throw new UserError(`${shown} was compiled with --shared-runtime and finds no vitc to import: npm install vitc where it lies, or compile it without that option`, { cause });
    throw new UserError(`${shown}/${file} does not load (${message}); ${again}`, { cause });
  }
}

function isPlan(value: unknown): value is Plan {
  if (typeof value !== "object" || value === null || !("programs" in value) || !("input" in value)) return false;
  const { programs } = value;
  return typeof programs === "object" && programs !== null && "infer" in programs && Array.isArray(programs.infer);
}
