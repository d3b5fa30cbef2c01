import { createRequire } from "node:module";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { nearest } from "../spec/errors.js";
import { UserError } from "./context.js";
import { endedByInterrupt } from "./output.js";
import { some } from "./format.js";

/** A spec as its file gives it, not yet checked. */
export interface LoadedSpec {
  readonly spec: unknown;
  /** Absolute path of the file that it is from; of a model that is known by name there is none. */
  readonly file: string | undefined;
  /** What names it among packages: a model's name, or the file's export (`default` for a JSON file too). */
  readonly exportName: string;
  /** What a user should know of a model of another library. */
  readonly notes: readonly string[];
}

const codeExtensions = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

/** Far above any spec: the labels of 21843 classes take half a MiB. */
const largestFileBytes = 16 * 2 ** 20;

/** How commands describe their SPEC argument. */
export const specArgument = "file.ts[#export], file.js or file.json; timm:NAME; or the config.json of timm or transformers, or its folder";

/** Whether a reference names a model of a library, as `timm:vit_base_patch16_224` does. C:\spec.ts is a path. */
export const isModelName = (reference: string): boolean => /^[a-z][a-z0-9_-]+:/i.test(reference);

/**
 * Loads what SPEC names: `file.ts[#export]` (its code runs), or `file.json`. `vitc` in the file means this compiler, wherever the file lies.
 * Without `#export` it is the default export, or else the only one.
 * @param loaded is filled with the files that were read on the way, also when loading fails.
 * @throws UserError for a file, an export or code that cannot be loaded; SpecError as `defineViT` throws it in the file.
 */
export async function loadSpec(reference: string, cwd: string, loaded: Set<string> = new Set()): Promise<LoadedSpec> {
  if (isModelName(reference)) {
    const { specByName } = await import("../families/index.js");
    return { ...specByName(reference), file: undefined, exportName: reference };
  }
  const { file, exportName } = await locate(reference, cwd);
  loaded.add(file);
  const extension = extname(file);
  if (extension === ".json") {
    if (exportName !== undefined) throw new UserError(`${reference}: a JSON file has no exports; leave out #${exportName}`);
    return { ...(await readJson(file, cwd, loaded)), file, exportName: "default" };
  }
  if (!codeExtensions.includes(extension)) throw new UserError(`${reference} is not a spec: its name ends in ${extension === "" ? "nothing" : `"${extension}"`}, and a spec is ${codeExtensions.join(", ")} or .json`);
  const exports = await importModule(file, cwd, loaded);
  const name = exportName ?? onlyExport(exports, reference);
  if (!Object.hasOwn(exports, name)) {
    const known = Object.keys(exports).sort();
    const near = nearest(name, known);
    throw new UserError(`${relative(cwd, file)} has no export "${name}"; ${near ? `did you mean #${near}?` : known.length > 0 ? `it has ${some(known)}` : "it has none at all"}`);
  }
  return { spec: exports[name], file, exportName: name, notes: [] };
}

/** The file of a reference. A `#` may be part of its name: what exists is meant. */
async function locate(reference: string, cwd: string): Promise<{ file: string; exportName: string | undefined }> {
  const whole = resolve(cwd, reference);
  if (await isThere(join(whole, "config.json"))) return { file: await regularFile(join(whole, "config.json"), join(reference, "config.json")), exportName: undefined };
  if (await isThere(whole)) return { file: await regularFile(whole, reference), exportName: undefined };
  const hash = reference.lastIndexOf("#");
  const [path, exportName] = hash > 0 ? [reference.slice(0, hash), reference.slice(hash + 1)] : [reference, undefined];
  if (exportName === "") throw new UserError(`${reference}: the name of an export belongs after #; without # the default export is meant`);
  const file = resolve(cwd, path);
  if (!(await isThere(file))) throw new UserError(await missing(path, file));
  if ((await stat(file)).isDirectory() && (await isThere(join(file, "config.json")))) return { file: await regularFile(join(file, "config.json"), join(path, "config.json")), exportName };
  return { file: await regularFile(file, path), exportName };
}

const isThere = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

async function regularFile(file: string, shown: string): Promise<string> {
  const entry = await stat(file);
  if (entry.isDirectory()) throw new UserError(`${shown} is a folder without a config.json; name the spec's file in it`);
  // A pipe would be waited on for ever.
  if (!entry.isFile()) throw new UserError(`${shown} is not a regular file`);
  if (entry.size > largestFileBytes) throw new UserError(`${shown} has ${entry.size} bytes, and a spec has at most ${largestFileBytes}: is it the right file?`);
  return file;
}

async function missing(path: string, file: string): Promise<string> {
  const folder = dirname(file);
  const [, model] = /^timm\/([\w.]+)$/.exec(path) ?? [];
  if (model !== undefined) return `there is no folder ${path}; timm's model of this name is timm:${model}`;
  const names = await readdir(folder).catch(() => undefined);
  if (names === undefined) return `there is no file ${path}: its folder does not exist`;
  const candidates = names.filter((name) => name.endsWith(".json") || codeExtensions.includes(extname(name)));
  const wanted = basename(file);
  // `specs/vit` is more likely a forgotten ending than a misspelling of something shorter.
  const near = candidates.find((name) => basename(name, extname(name)) === wanted) ?? nearest(wanted, candidates);
  return `there is no file ${path}${near ? `; did you mean ${path.slice(0, path.length - wanted.length)}${near}?` : ""}`;
}

// --------------------------------------------------------------------------------------------------------- JSON

/** A spec, or the config.json of another library as one; the preprocessor_config.json beside it says how photographs are prepared. */
async function readJson(file: string, cwd: string, loaded: Set<string>): Promise<{ readonly spec: unknown; readonly notes: readonly string[] }> {
  const value = await parseJson(file, cwd);
  const { configKind, specOfConfig } = await import("../families/index.js");
  if (configKind(value) === undefined) return { spec: value, notes: [] };
  const beside = join(dirname(file), "preprocessor_config.json");
  if (!(await isThere(beside))) return specOfConfig(value);
  loaded.add(beside);
  return specOfConfig(value, { processor: await parseJson(await regularFile(beside, relative(cwd, beside)), cwd) });
}

async function parseJson(file: string, cwd: string): Promise<unknown> {
  try {
    return JSON.parse((await readFile(file, "utf8")).replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new UserError(`${relative(cwd, file)} is not JSON: ${reasonOf(cause)}`, { cause });
  }
}

// --------------------------------------------------------------------------------------------------------- code

async function importModule(file: string, cwd: string, loaded: Set<string>): Promise<Record<string, unknown>> {
  const [{ createJiti }, vitc] = await Promise.all([import("jiti"), import("../index.js")]);
  // What the spec imports is found in Node's cache of modules, which jiti keeps: to watch it, and to read it anew the next time.
  const { cache } = createRequire(import.meta.url);
  const before = new Set(Object.keys(cache));
  // No cache on disk: it would lie in the user's node_modules, or in a temporary folder that others may write to.
  const jiti = createJiti(file, { fsCache: false, interopDefault: false, virtualModules: { vitc } });
  const source = await readFile(file, "utf8");
  // Always transpiled: Node would import plain JavaScript itself, and never read it again. What such a file imports is still Node's.
  const evaluate = async (): Promise<unknown> => jiti.evalModule(source, { id: file, filename: file, ext: extname(file), async: true, forceTranspile: true });
  try {
    const exports = await endedByInterrupt(() => settled(evaluate(), file, cwd));
    // What CommonJS exports as a whole is what an import of it calls the default.
    return typeof exports === "object" && exports !== null && "__esModule" in exports ? { ...exports } : { default: exports };
  } catch (cause) {
    throw isError(cause, "SpecError") || cause instanceof UserError ? cause : new UserError(`${relative(cwd, file)} cannot be loaded: ${describe(cause, cwd)}`, { cause });
  } finally {
    for (const path of Object.keys(cache)) {
      if (before.has(path) || path.includes("/node_modules/")) continue;
      loaded.add(path);
      delete cache[path];
    }
  }
}

/** A module that awaits what never happens leaves Node with nothing to do, and Node would end without a word. */
async function settled<T>(work: Promise<T>, file: string, cwd: string): Promise<T> {
  let idle: (() => void) | undefined;
  const never = new Promise<never>((_, fail) => {
    idle = () => fail(new UserError(`${relative(cwd, file)} never finishes loading: it awaits something that never happens`));
    process.once("beforeExit", idle);
  });
  try {
    return await Promise.race([work, never]);
  } finally {
    if (idle) process.off("beforeExit", idle);
  }
}

/** Across copies of the package, where `instanceof` does not hold. */
const isError = (error: unknown, name: string): error is Error => error instanceof Error && error.name === name;

/** A message and where it happened: the first place on the stack that is the user's. */
function describe(error: unknown, cwd: string): string {
  if (!(error instanceof Error)) return `it throws ${String(error)}`;
  // Node lists who required a missing module; the parser puts the place on a line of its own.
  const [said = "", importer] = error.message.split(/\nRequire stack:\n- /);
  const message = said.replace(/^ParseError: /, "").split(/\s*\n\s*/).filter((line) => line !== "").join(", ").replaceAll(`${cwd}/`, "");
  const place = importer === undefined ? placeOf(error, cwd) : `imported by ${relative(cwd, importer.split("\n")[0]!)}`;
  return `${error.name === "Error" ? "" : `${error.name}: `}${message}${place === undefined || message.includes(place) ? "" : ` (${place})`}`;
}

function placeOf(error: Error, cwd: string): string | undefined {
  for (const line of (error.stack ?? "").split("\n")) {
    const [, file, row, column] = /(?:\(|at |file:\/\/)((?:\/|[A-Za-z]:[\\/]).*?):(\d+):(\d+)\)?$/.exec(line) ?? [];
    if (file !== undefined && !file.includes("node_modules") && !isOurs(file)) return `${relative(cwd, file)}:${row}:${column}`;
  }
  return undefined;
}

const ownFolder = resolve(import.meta.dirname, "..");
const isOurs = (path: string): boolean => path.startsWith(`${ownFolder}/`) || path.startsWith(`${ownFolder}\\`);

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function onlyExport(exports: Record<string, unknown>, reference: string): string {
  if (Object.hasOwn(exports, "default")) return "default";
  const specs = Object.keys(exports).filter((name) => typeof exports[name] === "object" && exports[name] !== null && !Array.isArray(exports[name])).sort();
  if (specs.length === 1) return specs[0]!;
  if (specs.length === 0) throw new UserError(`${reference} exports no spec; write \`export default defineViT({ ... })\``);
  throw new UserError(`${reference} has several exports and no default one: name one, for example ${specs.slice(0, 3).map((name) => `${reference}#${name}`).join(" or ")}${specs.length > 3 ? ` (of ${specs.length})` : ""}`);
}
