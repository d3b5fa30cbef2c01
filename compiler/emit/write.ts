import { randomBytes } from "node:crypto";
import { chmod, copyFile, link, lstat, mkdir, readdir, readFile, readlink, realpath, rename, rm, rmdir, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { PackageFiles } from "./emit.js";
import type { Provenance } from "./package-files.js";

/** A folder that a package cannot be written to: it holds somebody's files, it is not a folder, or the disk refuses. */
export class OutputFolderError extends Error {
  override readonly name = "OutputFolderError";
}

/** What writing a package came to. Paths are relative to the package, with slashes, sorted. */
export interface WrittenPackage {
  /** Files that are new or have a new text. */
  readonly changed: readonly string[];
  /** Files of the package before that it no longer has. */
  readonly removed: readonly string[];
  /** Files that vitc did not write and that stay where they were, for example weights. */
  readonly kept: readonly string[];
}

/**
 * Writes a package's files to the folder `out`, whole or not at all: into a folder beside it, which then takes its place. Whatever happens
 * on the way, `out` stays as it was. Files in it that vitc did not write are carried over, files of an earlier compile that the package no
 * longer has are dropped, and when nothing changes nothing is touched, not even a time of modification.
 * @throws OutputFolderError when `out` is a file, holds files and no package of vitc, has somebody's file where one of the package's must
 *   go, or when the disk refuses; the signal's reason when it is aborted.
 */
export async function writePackage(files: PackageFiles, out: string, signal?: AbortSignal): Promise<WrittenPackage> {
  return onDisk(out, async () => {
    const folder = await located(out);
    await clearLeftovers(folder);
    const old = await examine(folder, out);
    const plan = await compare(files, folder, old, out);
    if (plan.changed.length > 0 || plan.removed.length > 0) await replace(folder, files, plan, old.mode, signal);
    return { changed: plan.changed, removed: plan.removed, kept: plan.kept };
  });
}

/**
 * Asks before a compile what `writePackage` would refuse after it.
 * @throws OutputFolderError when `out` is a file, or holds files and no package of vitc.
 */
export async function checkOutputFolder(out: string): Promise<void> {
  await onDisk(out, async () => examine(await located(out), out));
}

/** What a generated package says about its making, or undefined when the folder has no package.json of vitc. */
export async function readProvenance(folder: string): Promise<Provenance | undefined> {
  let manifest: unknown;
  try {
    manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  } catch {
    return undefined;
  }
  const vitc = typeof manifest === "object" && manifest !== null && "vitc" in manifest ? manifest.vitc : undefined;
  if (typeof vitc !== "object" || vitc === null) return undefined;
  const { version, spec, sharedRuntime, batch, dtype, image, patch, tuning, files } = vitc as Partial<Record<keyof Provenance, unknown>>;
  return {
    version: typeof version === "string" ? version : "",
    spec: typeof spec === "string" ? spec : "",
    sharedRuntime: sharedRuntime === true,
    ...(Array.isArray(batch) && { batch: batch.filter((size) => typeof size === "number") }),
    ...(Array.isArray(dtype) && { dtype: dtype.filter((name) => typeof name === "string") }),
    ...(isSize(image) && { image }),
    ...(isSize(patch) && { patch }),
    ...(typeof tuning === "string" && { tuning }),
    files: Array.isArray(files) ? files.filter((file) => typeof file === "string") : [],
  };
}

const isSize = (value: unknown): value is readonly [number, number] => Array.isArray(value) && value.length === 2 && value.every((side) => typeof side === "number");

// ------------------------------------------------------------------------------------------------- what is there

interface Existing {
  /** Every file and link below the folder; empty when there is no folder. */
  readonly entries: readonly string[];
  /** Those that an earlier compile wrote. */
  readonly ours: ReadonlySet<string>;
  /** The folder's permissions, when it is there. */
  readonly mode: number | undefined;
}

interface Changes extends WrittenPackage {
  readonly unchanged: readonly string[];
}

/** The folder behind links, so that a link to a package keeps being one. */
async function located(out: string): Promise<string> {
  const path = resolve(out);
  const entry = await entryAt(path);
  if (entry === undefined) return path;
  const target = await realpath(path).catch(() => undefined);
  if (target === undefined) throw new OutputFolderError(`${out} is a link to something that is not there: choose another folder with --out, or remove the link`);
  return target;
}

async function examine(folder: string, out: string): Promise<Existing> {
  const entry = await entryAt(folder);
  if (entry === undefined) return { entries: [], ours: new Set(), mode: undefined };
  if (!entry.isDirectory()) throw new OutputFolderError(`${out} is a file, and a package is a folder: choose another with --out`);
  const provenance = await readProvenance(folder);
  if (provenance === undefined) {
    const names = await readdir(folder);
    if (names.length > 0) {
      const shown = `${names.slice(0, 3).join(", ")}${names.length > 3 ? " ..." : ""}`;
      throw new OutputFolderError(`${out} holds files that vitc did not write (${shown}), and no package.json of vitc: choose another folder with --out, or empty this one`);
    }
  }
  return { entries: await filesBelow(folder), ours: new Set(provenance?.files), mode: entry.mode };
}

async function filesBelow(folder: string, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    const path = `${prefix}${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesBelow(folder, `${path}/`)));
    else found.push(path);
  }
  return found.sort();
}

async function compare(files: PackageFiles, folder: string, old: Existing, out: string): Promise<Changes> {
  const present = new Set(old.entries);
  const parents = new Set(old.entries.flatMap((path) => parentsOf(path)));
  const [changed, unchanged]: [string[], string[]] = [[], []];
  for (const [path, text] of files) {
    const same = present.has(path) && (await readFile(join(folder, path))).equals(Buffer.from(text));
    const blocked = parents.has(path) || parentsOf(path).some((parent) => present.has(parent)) || (present.has(path) && !same && !old.ours.has(path));
    if (blocked) throw new OutputFolderError(`${out} has something of yours at ${path}, where the package has a file: move it away, or choose another folder with --out`);
    (same ? unchanged : changed).push(path);
  }
  const others = old.entries.filter((path) => !files.has(path));
  return { changed: changed.sort(), unchanged, removed: others.filter((path) => old.ours.has(path)), kept: others.filter((path) => !old.ours.has(path)) };
}

const parentsOf = (path: string): string[] => path.split("/").slice(0, -1).map((_, i, parts) => parts.slice(0, i + 1).join("/"));

async function entryAt(path: string) {
  return lstat(path).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
}

// -------------------------------------------------------------------------------------------------- the exchange

async function replace(folder: string, files: PackageFiles, { changed, unchanged, kept }: Changes, mode: number | undefined, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const madeParents = await makeFolders(dirname(folder));
  const draft = join(dirname(folder), `${leftoverPrefix(folder)}${process.pid}-${randomBytes(6).toString("hex")}`);
  const aside = `${draft}.old`;
  let placed = false;
  try {
    await mkdir(draft);
    const within = new Set(["."]);
    const makeParent = async (path: string): Promise<void> => {
      const parent = dirname(path);
      if (within.has(parent)) return;
      within.add(parent);
      await mkdir(join(draft, parent), { recursive: true });
    };
    for (const path of changed) {
      signal?.throwIfAborted();
      await makeParent(path);
      await writeFile(join(draft, path), files.get(path)!);
    }
    // What stays the same is linked, not moved: until the exchange it has to be in both folders.
    for (const path of [...unchanged, ...kept]) {
      signal?.throwIfAborted();
      await makeParent(path);
      await carry(join(folder, path), join(draft, path));
    }
    if (mode !== undefined) await chmod(draft, mode & 0o7777);
    signal?.throwIfAborted();
    if (mode !== undefined) await rename(folder, aside);
    try {
      await rename(draft, folder);
    } catch (error) {
      if (mode !== undefined) await rename(aside, folder);
      throw error;
    }
    placed = true;
  } finally {
    await rm(placed ? aside : draft, { recursive: true, force: true });
    if (!placed) for (const parent of madeParents.toReversed()) await rmdir(parent).catch(() => undefined);
  }
}

/** A second name for a file, or a copy where the disk has no links. */
async function carry(from: string, to: string): Promise<void> {
  const entry = await lstat(from);
  if (entry.isSymbolicLink()) return symlink(await readlink(from), to);
  try {
    await link(from, to);
  } catch (error) {
    if (!["EPERM", "EXDEV", "EMLINK", "ENOTSUP", "ENOSYS", "EACCES"].includes(codeOf(error) ?? "")) throw error;
    await copyFile(from, to);
    await utimes(to, entry.atime, entry.mtime);
  }
}

/**
 * Makes a folder and those above it that are missing, one by one: Node's recursive mkdir never returns where a system refuses to make any, as below /proc.
 * @returns those it made, the outermost first.
 * @throws OutputFolderError when a file is in the way; the system's error when it refuses.
 */
export async function makeFolders(folder: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = folder; ; at = dirname(at)) {
    const entry = await stat(at).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    });
    if (entry?.isDirectory() === false) throw new OutputFolderError(`${at} is a file, and a folder is needed there: choose another`);
    if (entry !== undefined) break;
    missing.unshift(at);
  }
  for (const path of missing) {
    await mkdir(path).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
  }
  return missing;
}

const leftoverPrefix = (folder: string): string => `.${basename(folder)}.vitc-`;

/** A leftover younger than this may belong to a process that this one cannot see, as in another container. */
const leftoverAgeMilliseconds = 60_000;

/**
 * Clears away what a killed process left beside the folder. If it was killed between the two renames of the exchange, the old package is
 * put back first.
 */
async function clearLeftovers(folder: string): Promise<void> {
  const parent = dirname(folder);
  const names = await readdir(parent).catch(() => []);
  const prefix = leftoverPrefix(folder);
  for (const name of names.filter((candidate) => candidate.startsWith(prefix))) {
    const owner = /^(\d+)-[0-9a-f]{12}(\.old)?$/.exec(name.slice(prefix.length));
    if (owner === null || isRunning(Number(owner[1]))) continue;
    const path = join(parent, name);
    const isOldPackage = owner[2] !== undefined;
    if (isOldPackage && (await entryAt(folder)) === undefined) await rename(path, folder);
    else if (Date.now() - ((await entryAt(path))?.mtimeMs ?? Infinity) > leftoverAgeMilliseconds) await rm(path, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** Says in the user's words what the disk refuses. */
async function onDisk<T>(out: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = refusal(cause);
    throw reason === undefined ? cause : new OutputFolderError(`cannot write ${out}: ${reason}`, { cause });
  }
}

/** Why the disk refuses, for a person; undefined for errors that are not the disk's. */
function refusal(error: unknown): string | undefined {
  const code = codeOf(error);
  if (code === undefined || !(error instanceof Error) || !("syscall" in error)) return undefined;
  const known: Readonly<Record<string, string>> = {
    EACCES: "permission is denied",
    EPERM: "permission is denied",
    EROFS: "the disk is read-only",
    ENOSPC: "the disk is full",
    EDQUOT: "the disk quota is used up",
    EBUSY: "the folder is in use, for example as a mount point; write to a folder below it",
    ENOENT: "a folder on its path cannot be made",
    ENOTDIR: "a part of its path is a file",
    ENAMETOOLONG: "the name is too long",
  };
  return known[code] ?? error.message;
}

const codeOf = (error: unknown): string | undefined => (error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined);
