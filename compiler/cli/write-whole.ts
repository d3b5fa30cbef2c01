import { randomBytes } from "node:crypto";
import { open, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, extname, relative, resolve } from "node:path";
import { UserError, type Cli } from "./context.js";

/**
 * The absolute path of a file that an option names, after looking at what would keep it from being written.
 * @param option as the user wrote it: `--html`
 * @param endings what the name may end in, if not in anything; `--html my.ts` would otherwise overwrite a spec.
 * @throws UserError when the name ends in something else, when it is no regular file, or when its folder does not exist.
 */
export async function expectWritable(option: string, path: string, endings: readonly string[] | undefined, cwd: string): Promise<string> {
  const file = resolve(cwd, path);
  if (endings?.includes(extname(file).toLowerCase()) === false) throw new UserError(`${option} ${path}: the name must end in ${endings.join(" or ")}`);
  const [there, folder] = await Promise.all([file, dirname(file)].map((name) => stat(name).catch(() => undefined)));
  if (folder?.isDirectory() !== true) throw new UserError(`${option} ${path}: there is no folder ${relative(cwd, dirname(file)) || "."}; make it first`);
  if (there && !there.isFile()) throw new UserError(`${option} ${path} is ${there.isDirectory() ? "a folder" : "not a regular file"}: name a file`);
  return file;
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

/** Writes a text under a temporary name first: whatever happens, the file is whole or as it was. */
export async function writeWhole(file: string, text: string, { signal }: Pick<Cli, "signal">): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await writeFile(temporary, text, { flag: "wx" });
    signal.throwIfAborted();
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
}
