import { Command, InvalidArgumentError, Option } from "commander";
import { stat } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { WeightsError } from "../../runtime/errors.js";
import { fromPath } from "../../runtime/node.js";
import { recipeHash, type PackedVariant, type Reference } from "../../runtime/packed.js";
import type { DType, Plan, WeightRecipe } from "../../runtime/plan.js";
import { openWeights, toSource, uploadWeights, type WeightsSource } from "../../runtime/weights.js";
import { readProvenance } from "../emit/write.js";
import { version } from "../version.js";
import { UserError, type Cli, type ProgressLine } from "./context.js";
import { mebibytes, plural, some } from "./format.js";
import { packShape } from "./json-pack.js";
import { dtypesOption, jsonOption, parseWhole } from "./options.js";
import { cutBuffers, manifestName, mostShards, ShardFolder } from "./pack-shards.js";
import { isUrl, weightsOf } from "./run-model.js";
import { importPackage, planOf, type ImportedPackage } from "./run-package.js";

interface Options {
  readonly weights?: string;
  readonly out?: string;
  readonly dtype?: readonly DType[];
  readonly shardBytes: number;
  readonly allowExtra?: boolean;
  readonly force?: boolean;
  readonly reference: boolean;
  readonly json?: boolean;
}

/** What hosts of static files take, and small enough that several are under way while one is checked. */
const standardShardBytes = 16 * 2 ** 20;
/** Loading holds a shard as a whole. */
const shardLimits = { least: 4096, most: 2 ** 30 } as const;

/** `vitc pack PACKAGE --weights FILE`: does once what loading does with a weight file each time. */
export function packCommand(cli: Cli): Command {
  return new Command("pack")
    .summary("pack a weight file for a package, so that it loads faster")
    .description("Does once what a package does with a weight file at each load, and writes the result: shards, which loading uploads as they are, and weights.json, which load and --weights take instead of the file. They are good for this package and for later compiles that lay weights out alike.")
    .argument("<package>", "folder that vitc compile wrote")
    .option("-w, --weights <file|url>", "weight file (default: model.safetensors in the package, or the only one there)")
    .option("--out <folder>", "where to write (default: packed in the package)")
    .addOption(dtypesOption("dtypes to pack, as f32,f16 (default: all that the package was compiled for)"))
    .addOption(new Option("--shard-bytes <n>", "bytes of the largest shard").argParser(parseShardBytes).default(standardShardBytes))
    .option("--allow-extra", "ignore tensors of the weight file that the model does not use")
    .option("--no-reference", "leave out what a whole run should give, which self-tests compare: larger models take a run here for it")
    .option("--force", "replace the weights.json that is there, and its shards")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc pack generated/my-vit --weights my.safetensors
  $ vitc run generated/my-vit --weights generated/my-vit/packed/weights.json --input cat.jpg
  $ vitc pack generated/my-vit --weights my.safetensors --out public/my-vit --shard-bytes 8388608`,
    )
    .action((reference: string, options: Options) => pack(cli, reference, options));
}

function parseShardBytes(text: string): number {
  const bytes = parseWhole(text);
  if (bytes < shardLimits.least || bytes > shardLimits.most) throw new InvalidArgumentError(`It must be from ${shardLimits.least} to ${shardLimits.most} (1 GiB).`);
  return bytes;
}

/** A variant of the package, to be packed. */
interface Wanted {
  readonly plan: Plan;
  readonly recipe: WeightRecipe;
}

async function pack(cli: Cli, reference: string, options: Options): Promise<void> {
  const found = await importPackage(reference, cli.cwd);
  const wanted = await wantedOf(found, reference, options);
  const folder = resolve(cli.cwd, options.out ?? join(found.folder, "packed"));
  const shown = relative(cli.cwd, join(folder, manifestName));
  await expectFree(folder, shown, options, cli.cwd);
  const weights = await weightsOf(options.weights, found, cli.cwd);
  // What is still being read when this ends, a download above all, is stopped.
  const stop = new AbortController();
  const signal = AbortSignal.any([cli.signal, stop.signal]);

  const notices: string[] = [];
  const line = cli.progress(`Packing ${basename(weights)}`);
  let variants: readonly PackedVariant[];
  let ignored: readonly string[] = [];
  let removed: readonly string[];
  let whole: Reference | undefined;
  try {
    const source = await openSource(weights, signal);
    // Refused before anything is written.
    await openWeights(wanted[0]!.recipe, source, { allowExtra: options.allowExtra, signal });
    const shards = await ShardFolder.create(folder);
    try {
      const packed: PackedVariant[] = [];
      for (const [i, each] of wanted.entries()) {
        try {
          const result = await packVariant(shards, each, source, { ...options, signal, line, share: (done) => (i + done) / wanted.length });
          packed.push(result.variant);
          ignored = result.ignored;
        } catch (error) {
          // As loading does, which takes the next dtype; what was asked for by name is refused instead.
          if (options.dtype !== undefined || !isBeyondDtype(error) || (packed.length === 0 && i === wanted.length - 1)) throw error;
          notices.push(`${each.plan.dtype} is not packed: ${error.message}`);
        }
      }
      variants = packed;
      if (options.reference) {
        line.update(1, "(a run, for self-tests)");
        const made = await (await import("./reference.js")).referenceOf(found, weights, source, { allowExtra: options.allowExtra, signal });
        if (typeof made === "string") notices.push(`self-tests will compare no whole run: ${made}`);
        else whole = made;
      }
      removed = await shards.publish({ vitc: version, name: found.plan.name, variants, ...(whole && { reference: whole }) }, signal);
    } finally {
      await shards.discard();
    }
  } catch (error) {
    cli.signal.throwIfAborted();
    throw isDiskError(error) ? new UserError(`cannot write ${relative(cli.cwd, folder)}: ${error.message}`, { cause: error }) : error;
  } finally {
    stop.abort();
    line.done();
  }

  const bytes = variants.flatMap(({ shards }) => shards).reduce((sum, shard) => sum + shard.bytes, 0);
  if (options.json === true) return cli.json(packShape, { name: found.plan.name, package: found.folder, weights, file: join(folder, manifestName), bytes, variants, reference: whole ? { output: whole.output, by: whole.by } : null, ignored, notices, removed });
  for (const notice of notices) cli.say(notice);
  if (ignored.length > 0) cli.say(`${plural(ignored.length, "tensor")} of the weight file ${ignored.length === 1 ? "is" : "are"} not used: ${some(ignored)}`);
  if (removed.length > 0) cli.say(`removed ${plural(removed.length, "shard")} of the weights before`);
  cli.print(`${shown}: ${found.plan.name} in ${variants.map(({ dtype }) => dtype).join(" and ")}, ${plural(variants.flatMap(({ shards }) => shards).length, "shard")}, ${mebibytes(bytes)}; keep them together`);
}

/** @throws UserError for a dtype that the package was not compiled for, for a package of another vitc, and for shards that would be too many. */
async function wantedOf(found: ImportedPackage, name: string, { dtype, shardBytes }: Options): Promise<readonly Wanted[]> {
  const provenance = await readProvenance(found.folder);
  // Its runtime may read a recipe otherwise than this one.
  if (provenance !== undefined && provenance.version !== version) throw new UserError(`${name} was compiled by vitc ${provenance.version}, and this is ${version}, which may pack otherwise: compile it again`);
  const plans: readonly Plan[] = dtype === undefined ? found.plans : dtype.map((each) => planOf(found, name, each));
  const shards = plans.reduce((sum, { weightBuffers }) => sum + cutBuffers(weightBuffers, shardBytes).length, 0);
  if (shards > mostShards) throw new UserError(`--shard-bytes ${shardBytes} makes ${shards.toLocaleString("en-US")} shards, and ${mostShards.toLocaleString("en-US")} is the most: take larger ones`);
  return Promise.all(plans.map(async (plan) => ({ plan, recipe: await importRecipe(found, name, plan) })));
}

async function importRecipe({ folder, plan: first }: ImportedPackage, name: string, plan: Plan): Promise<WeightRecipe> {
  const file = plan === first ? "weights.js" : `weights-${plan.dtype}.js`;
  const { recipe } = (await import(pathToFileURL(join(folder, file)).href)) as { recipe?: WeightRecipe };
  if (!Array.isArray(recipe?.tensors)) throw new UserError(`${name}/${file} exports no recipe: compile the package again`);
  return recipe;
}

/** @throws UserError when something is where the manifest is to be, or the folder is none. */
async function expectFree(folder: string, shown: string, { out, force }: Options, cwd: string): Promise<void> {
  const [there, manifest] = await Promise.all([folder, join(folder, manifestName)].map((path) => stat(path).catch(() => undefined)));
  if (there?.isDirectory() === false) throw new UserError(`--out ${out ?? relative(cwd, folder)} is a file: name a folder`);
  if (manifest?.isFile() === false) throw new UserError(`${shown} is ${manifest.isDirectory() ? "a folder" : "not a regular file"}: name another folder with --out`);
  if (manifest !== undefined && force !== true) throw new UserError(`${shown} is there already: name another folder with --out, or replace it with --force`);
}

const openSource = (weights: string, signal: AbortSignal): Promise<WeightsSource> => (isUrl(weights) ? toSource(weights, { signal }) : fromPath(weights));

interface PackOptions extends Options {
  readonly signal: AbortSignal;
  readonly line: ProgressLine;
  /** The share of all work that a share of this variant is. */
  share(done: number): number;
}

async function packVariant(shards: ShardFolder, { plan, recipe }: Wanted, source: WeightsSource, { shardBytes, allowExtra, signal, line, share }: PackOptions): Promise<{ readonly variant: PackedVariant; readonly ignored: readonly string[] }> {
  const opened = await openWeights(recipe, source, { allowExtra, signal });
  const drafts = await shards.begin(plan, await recipeHash(recipe), shardBytes);
  const { ignored } = await uploadWeights(opened, {
    allowExtra,
    signal,
    onProgress: ({ loaded, total }) => line.update(share(loaded / Math.max(1, total)), `(${plan.dtype})`),
    upload: (buffer, offset, data) => drafts.write(buffer, offset, data),
  });
  return { variant: await drafts.finish(signal), ignored };
}

/** Whether f32 could hold what this error is about. */
const isBeyondDtype = (error: unknown): error is WeightsError => error instanceof WeightsError && error.problems.every(({ kind }) => kind === "range");

/** Node's error when an operation on a file fails. */
const isDiskError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && "syscall" in error && "code" in error;
