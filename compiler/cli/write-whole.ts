import { randomBytes } from "node:crypto";
import { lstat, open, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, extname, relative, resolve } from "node:path";
import { UserError, type Cli } from "./context.js";

/**
 * The absolute path of a file that an option names, after looking at what would keep it from being written.
 * @param option as the user wrote it: `--html`
 * @param endings what the name may end in, if not in anything; `--html my.ts` would otherwise overwrite a spec.
 * @throws UserError when the name ends in something else, when it is no regular file, or when its folder does not exist or takes no file.
 */
export async function expectWritable(option: string, path: string, endings: readonly string[] | undefined, cwd: string): Promise<string> {
  const file = resolve(cwd, path);
  if (endings?.includes(extname(file).toLowerCase()) === false) throw new UserError(`${option} ${path}: the name must end in ${endings.join(" or ")}`);
  const [there, folder] = await Promise.all([file, dirname(file)].map((name) => stat(name).catch(() => undefined)));
  const shown = relative(cwd, dirname(file)) || ".";
  if (folder === undefined) throw new UserError(`${option} ${path}: there is no folder ${shown}; make it first`);
  if (!folder.isDirectory()) throw new UserError(`${option} ${path}: ${shown} is a file and no folder; name another`);
  if (there && !there.isFile()) throw new UserError(`${option} ${path} is ${there.isDirectory() ? "a folder" : "not a regular file"}: name a file`);
  const fault = await writeFault(file);
  if (fault !== undefined) throw new UserError(`${option} ${path} cannot be written (${fault}): name another file`);
  return file;
}

/** Why a file cannot be written, found by writing an empty one beside it, as `writeWhole` will: permissions alone do not tell. */
export async function writeFault(file: string): Promise<string | undefined> {
  const probe = temporaryFor(file);
  try {
    await writeFile(probe, "", { flag: "wx" });
    return undefined;
  } catch (error) {
    return reasonOf(error);
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}

const temporaryFor = (file: string): string => `${file}.${randomBytes(6).toString("hex")}.tmp`;

/** What a system says of a file, without the name that it was tried under. */
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/, \w+ '.*$/s, "") : String(error));

/**
 * Refuses to replace what the command reads, whatever its name or the links to it, and without --force to replace anything.
 * @param file absolute; nothing need be there.
 * @param reads absolute paths, or URLs, and what each is to the command.
 * @throws UserError naming what is there.
 */
export async function expectReplaceable(option: string, file: string, reads: readonly { readonly file: string; readonly what: string }[], force: boolean | undefined, cwd: string): Promise<void> {
  const entry = await lstat(file).catch(() => undefined);
  if (entry === undefined) return;
  const shown = relative(cwd, file);
  const real = await realOf(file);
  for (const read of reads) {
    if (real === (await realOf(read.file))) throw new UserError(`${option} ${shown} is ${read.what}: name another file`);
  }
  if (force !== true) throw new UserError(`${option} ${shown} is there already: name another file, or replace it with --force`);
}

/** The file behind links, or the reference itself where there is none: a URL of another machine, a link to nothing. */
async function realOf(reference: string): Promise<string> {
  try {
    return await realpath(/^file:/i.test(reference) ? new URL(reference) : reference);
  } catch {
    return reference;
  }
}

/** More than what follows the footer of a page of vitc, which is its script. */
const tailBytes = 64 * 2 ** 10;

/**
 * Looks at what a page would replace: a page of vitc may be written again, anything else is somebody's.
 * @param file absolute; nothing need be there.
 * @throws UserError when the file does not end as the pages of `vitc explain` and `vitc profile` do.
 */
export async function expectOwnPage(option: string, file: string, cwd: string): Promise<void> {
  const info = await stat(file).catch(() => undefined);
  if (info === undefined) return;
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(tailBytes), position: Math.max(0, info.size - tailBytes) });
    if (/<footer>vitc [^<]+, plan <code>[^<]+<\/code><\/footer>/.test(buffer.toString("utf8", 0, bytesRead))) return;
  } finally {
    await handle.close();
  }
  throw new UserError(`${option} ${relative(cwd, file)}: a file that vitc did not write is there already: name another, or replace it with --force`);
}

/**
 * Writes a text under a temporary name first: whatever happens, the file is whole or as it was.
 * @throws UserError when the system refuses; the signal's reason when it is aborted.
 */
export async function writeWhole(file: string, text: string | Uint8Array, { signal }: Pick<Cli, "signal">): Promise<void> {
  const temporary = temporaryFor(file);
  try {
    await onDisk(file, writeFile(temporary, text, { flag: "wx" }));
    signal.throwIfAborted();
    await onDisk(file, rename(temporary, file));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw cause;
  }
}

/** What was fine when it was looked at may be gone by now: that is no bug of ours. */
async function onDisk(file: string, work: Promise<void>): Promise<void> {
  return work.catch((cause: unknown) => {
    throw new UserError(`${file} cannot be written (${reasonOf(cause)})`, { cause });
  });
}
