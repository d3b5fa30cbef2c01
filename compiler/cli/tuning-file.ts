/** Tables of measured choices on disk: what `vitc tune` leaves for `load` and for `vitc compile`. */
import { mkdir, readFile, rmdir, stat } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { tuned, tunedFile } from "../../runtime/node-tuned.js";
import type { Plan, Tuned } from "../../runtime/plan.js";
import { UserError, type Cli } from "./context.js";
import { plural, some } from "./format.js";
import { tuningTablesShape } from "./json-tune.js";
import { writeFault, writeWhole } from "./write-whole.js";

/**
 * The tables of a file that `vitc tune --out` wrote.
 * @throws UserError when it cannot be read or holds something else.
 */
export async function readTuning(path: string, cwd: string): Promise<readonly Tuned[]> {
  const text = await readFile(resolve(cwd, path), "utf8").catch((cause: unknown) => {
    throw new UserError(`--tuning ${path} cannot be read (${cause instanceof Error ? cause.message : String(cause)}); make one with: npx vitc tune PACKAGE --out ${path}`, { cause });
  });
  const tables = parse(text);
  if (tables === undefined) throw new UserError(`--tuning ${path} is not what vitc tune writes; make it again with: npx vitc tune PACKAGE --out ${path}`);
  return tables;
}

/**
 * Refuses to replace what is no table.
 * @param file absolute; nothing need be there.
 * @throws UserError when something else is there.
 */
export async function expectTables(file: string, cwd: string): Promise<void> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw new UserError(`--out ${relative(cwd, file)}: what is there cannot be read (${cause instanceof Error ? cause.message : String(cause)}): name another file`, { cause });
  });
  if (text !== undefined && parse(text) === undefined) throw new UserError(`--out ${relative(cwd, file)}: a file that vitc tune did not write is there already: name another`);
}

/**
 * Writes a table into a file of tables, whole or not at all. Those of other adapters stay, and so do other plans' choices on this one: ids say
 * what a routine does, so plans share a table.
 */
export async function addToFile(file: string, table: Tuned, cli: Pick<Cli, "signal">): Promise<void> {
  const known = parse(await readFile(file, "utf8").catch(() => "[]")) ?? [];
  const before = known.find(({ adapter }) => adapter === table.adapter)?.choices ?? {};
  await writeTables(file, known, { ...table, choices: { ...before, ...table.choices } }, cli);
}

/**
 * Leaves a table where `load` finds it on this machine. Those of other adapters stay, and so do routines that were measured before on this one:
 * a short budget reaches a part of them only.
 * @returns the file.
 * @throws UserError when the system refuses.
 */
export async function addToCache(fingerprint: string, table: Tuned, cli: Pick<Cli, "signal">): Promise<string> {
  const file = tunedFile(fingerprint);
  // What cannot be read is of no use to anybody: it is written anew.
  const known = await tuned(fingerprint).catch(() => []);
  const before = known.find(({ adapter }) => adapter === table.adapter)?.choices ?? {};
  await makeFolders(dirname(file)).catch((cause: unknown) => {
    throw new UserError(`${dirname(file)} cannot be made (${cause instanceof Error ? cause.message : String(cause)})`, { cause });
  });
  await writeTables(file, known, { ...table, choices: { ...before, ...table.choices } }, cli);
  return file;
}

/** Why a plan's table cannot be left on this machine, if it cannot. Leaves nothing behind. */
export async function cacheFault(fingerprint: string): Promise<string | undefined> {
  const file = tunedFile(fingerprint);
  const made: string[] = [];
  try {
    await makeFolders(dirname(file), made);
    return await writeFault(file);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    // Another process may have put something there meanwhile, and it stays.
    for (const folder of made.reverse()) await rmdir(folder).catch(() => undefined);
  }
}

/**
 * Makes a folder and those above it, one level at a time: Node's recursive mkdir never returns where a system refuses to make folders, as below /proc.
 * @param made gets those that were not there, the outer ones first.
 */
async function makeFolders(folder: string, made: string[] = []): Promise<void> {
  if (await isFolder(folder)) return;
  if (dirname(folder) !== folder) await makeFolders(dirname(folder), made);
  try {
    await mkdir(folder);
    made.push(folder);
  } catch (error) {
    // Another process was faster.
    if (!(await isFolder(folder))) throw error;
  }
}

const isFolder = async (path: string): Promise<boolean> => stat(path).then((info) => info.isDirectory(), () => false);

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

async function writeTables(file: string, known: readonly Tuned[], table: Tuned, cli: Pick<Cli, "signal">): Promise<void> {
  const tables = [...known.filter(({ adapter }) => adapter !== table.adapter), table].map(({ adapter, choices }) => ({ adapter, choices: sorted(choices) }));
  await writeWhole(file, `${JSON.stringify(tables, null, 2)}\n`, cli);
}

const sorted = (choices: Tuned["choices"]): Tuned["choices"] => Object.fromEntries(Object.entries(choices).sort(([a], [b]) => (a < b ? -1 : 1)));

/**
 * The part of tables that is about some plans, for a package to carry, and what is to be said about the rest.
 * @param plans one a dtype
 */
export function tuningFor(plans: readonly Plan[], tables: readonly Tuned[], path: string): { readonly tables: readonly Tuned[]; readonly notices: readonly string[] } {
  const ways = new Map(plans.flatMap(({ routines }) => routines.map(({ id, choices }) => [id, new Set(choices.map(({ name }) => name))] as const)));
  const gone = [...new Set(tables.flatMap(({ choices }) => Object.entries(choices)).filter(([id, name]) => ways.get(id)?.has(name) === false).map(([id, name]) => `${id} by ${name}`))];
  const fitting = tables
    .map(({ adapter, choices }) => ({ adapter, choices: Object.fromEntries(Object.entries(choices).filter(([id, name]) => ways.get(id)?.has(name))) }))
    .filter(({ choices }) => Object.keys(choices).length > 0);
  const notices = [
    ...(fitting.length === 0 && gone.length === 0 ? [`--tuning ${path} measures no routine of this model: nothing of it is used; measure this model with: npx vitc tune PACKAGE --out ${path}`] : []),
    ...(gone.length > 0 ? [`--tuning ${path}: ${plural(gone.length, "measured way")} ${gone.length === 1 ? "is" : "are"} not there any more (${some(gone, 3)})${fitting.length === 0 ? ", so nothing of it is used" : ""}: tune again with: npx vitc tune PACKAGE --out ${path}`] : []),
  ];
  return { tables: fitting, notices };
}

function parse(text: string): readonly Tuned[] | undefined {
  try {
    return tuningTablesShape.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
