import { Command } from "commander";
import { readdir, readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import type { DType, Tuned } from "../../runtime/plan.js";
import type { PackageFiles } from "../emit/emit.js";
import type { Provenance } from "../emit/package-files.js";
import { UserError, type Cli } from "./context.js";
import { exitCodeOf } from "./errors.js";
import { plural, some } from "./format.js";
import type { CheckReport } from "./json.js";
import { isModelName, loadSpec } from "./load-spec.js";
import { jsonOption, withOverrides } from "./options.js";
import { readTuning, tuningFor } from "./tuning-file.js";

type Checked = CheckReport["packages"][number];

/** `vitc check [DIR...]`: is each package what compiling its spec gives? */
export function checkCommand(cli: Cli): Command {
  return new Command("check")
    .summary("tell whether generated packages are up to date")
    .description("Compiles the spec of each package again, in memory, and compares every file byte for byte. Exit code 1 if a package is stale.")
    .argument("[dir...]", "packages (default: those in ./generated)")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc check\n  $ vitc check web/model --json")
    .action(async (dirs: readonly string[], options: { readonly json?: boolean }) => {
      const folders = dirs.length > 0 ? dirs : await generatedFolders(cli.cwd);
      const { readProvenance } = await import("../emit/write.js");
      const packages: Checked[] = [];
      const progress = cli.progress("Checking");
      try {
        for (const [i, folder] of folders.entries()) {
          progress.update(i / folders.length, folder);
          const provenance = await readProvenance(resolve(cli.cwd, folder));
          if (provenance === undefined) throw new UserError(`${folder} is not a package of vitc: it has no package.json with a "vitc" entry`);
          packages.push(await checkPackage(cli, folder, provenance));
          // Lets Ctrl-C in: compiling never waits for anything.
          await new Promise((turn) => setImmediate(turn));
          cli.signal.throwIfAborted();
        }
      } finally {
        progress.done();
      }
      const stale = packages.some(({ status }) => status !== "fresh");
      if (stale) process.exitCode = 1;
      if (options.json === true) return cli.json((await import("./json.js")).jsonShapes.check, { stale, packages });
      for (const checked of packages) cli.print(describe(checked));
    });
}

/** The folders of ./generated that hold a package. An empty answer is a mistake: a check of nothing would pass for ever. */
async function generatedFolders(cwd: string): Promise<string[]> {
  const entries = await readdir(join(cwd, "generated"), { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) throw new UserError(`there is no folder generated in ${cwd}: name the packages, as \`vitc check web/model\``);
  const { readProvenance } = await import("../emit/write.js");
  const folders: string[] = [];
  for (const { name } of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!name.startsWith(".") && (await readProvenance(join(cwd, "generated", name)))) folders.push(join("generated", name));
  }
  if (folders.length === 0) throw new UserError("there is no package of vitc in ./generated: compile one with `vitc compile SPEC`, or name the packages");
  return folders;
}

async function checkPackage(cli: Cli, dir: string, provenance: Provenance): Promise<Checked> {
  const folder = resolve(cli.cwd, dir);
  const reference = isModelName(provenance.spec) ? provenance.spec : relative(cli.cwd, resolve(folder, provenance.spec));
  const { batch, image, patch, sharedRuntime } = provenance;
  // Resolving the spec says what is wrong with a dtype.
  const dtype = provenance.dtype as readonly DType[] | undefined;
  const tuning = provenance.tuning === undefined ? undefined : relative(cli.cwd, resolve(folder, provenance.tuning));
  const chosen = [...(batch ? ["--batch", batch.join(",")] : []), ...(image ? ["--image", image.join("x")] : []), ...(patch ? ["--patch", patch.join("x")] : []), ...(dtype ? ["--dtype", dtype.join(",")] : []), ...(tuning === undefined ? [] : ["--tuning", tuning]), ...(sharedRuntime ? ["--shared-runtime"] : [])];
  const command = ["npx vitc compile", reference, "--out", dir, ...chosen].join(" ");
  const nothing = { changed: [], missing: [], extra: [] };
  try {
    const { spec } = await loadSpec(reference, cli.cwd);
    const { compile } = await import("../compile.js");
    const tuned = tuning === undefined ? undefined : await tuningOf(withOverrides(spec, { batch, dtype, image, patch }), tuning, cli.cwd);
    // What the type check would say was said when the package was made.
    const { files } = await compile(spec, { batch, dtype, image, patch, sharedRuntime, typecheck: false, source: provenance.spec, tuned, tuning: provenance.tuning });
    const compared = await compare(folder, files, provenance);
    const fresh = Object.values(compared).every((paths) => paths.length === 0);
    return { folder: dir, spec: reference, status: fresh ? "fresh" : "stale", ...compared, command };
  } catch (error) {
    if (exitCodeOf(error) !== 1 || !(error instanceof Error)) throw error;
    return { folder: dir, spec: reference, status: "broken", ...nothing, problem: error.message, command };
  }
}

/** The part of a table that a package of a spec carries. */
async function tuningOf(spec: unknown, path: string, cwd: string): Promise<readonly Tuned[]> {
  const [{ planVariants }, { resolve: resolveSpec }] = await Promise.all([import("../compile.js"), import("../spec/resolve.js")]);
  const plans = planVariants(resolveSpec(spec)).map(({ plan }) => plan);
  return tuningFor(plans, await readTuning(path, cwd), path).tables;
}

async function compare(folder: string, files: PackageFiles, provenance: Provenance): Promise<Pick<Checked, "changed" | "missing" | "extra">> {
  const [changed, missing]: [string[], string[]] = [[], []];
  for (const [path, text] of files) {
    const found = await readFile(join(folder, path)).catch(() => undefined);
    if (found === undefined) missing.push(path);
    else if (!found.equals(Buffer.from(text))) changed.push(path);
  }
  const extra: string[] = [];
  for (const path of provenance.files) {
    const isThere = !files.has(path) && (await readFile(join(folder, path)).then(() => true, () => false));
    if (isThere) extra.push(path);
  }
  return { changed: changed.sort(), missing: missing.sort(), extra: extra.sort() };
}

function describe({ folder, status, changed, missing, extra, problem, command }: Checked): string {
  if (status === "fresh") return `${folder}: fresh`;
  const lists = [["changed", changed], ["missing", missing], ["no longer made", extra]] as const;
  const differences = lists.filter(([, paths]) => paths.length > 0).map(([what, paths]) => `  ${plural(paths.length, "file")} ${what}: ${some(paths)}`);
  return [`${folder}: ${status}`, ...(problem === undefined ? differences : [`  ${problem}`]), `  regenerate with: ${command}`].join("\n");
}
