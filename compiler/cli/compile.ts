import { Command } from "commander";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import type { DType, Tuned } from "../../runtime/plan.js";
import type { Package } from "../compile.js";
import type { CompiledPlan } from "../plan/plan.js";
import type { WrittenPackage } from "../emit/write.js";
import { UserError, type Cli } from "./context.js";
import { gigaflops, mebibytes, plural, some, table } from "./format.js";
import { loadSpec, specArgument, type LoadedSpec } from "./load-spec.js";
import { batchOption, dtypesOption, imageOption, jsonOption, patchOption, withOverrides } from "./options.js";
import { endedByInterrupt } from "./output.js";
import { readTuning, tuningFor } from "./tuning-file.js";

interface Options {
  readonly out?: string;
  readonly batch?: readonly number[];
  readonly dtype?: readonly DType[];
  readonly image?: readonly [number, number];
  readonly patch?: readonly [number, number];
  readonly tuning?: string;
  readonly sharedRuntime?: boolean;
  readonly typecheck: boolean;
  readonly watch?: boolean;
  readonly json?: boolean;
}

/** `vitc compile SPEC`: a spec to a package on disk. */
export function compileCommand(cli: Cli): Command {
  return new Command("compile")
    .summary("compile a spec to a package")
    .description("Compiles a spec to a TypeScript package that runs the model on WebGPU, in Node and in browsers.")
    .argument("<spec>", specArgument)
    .option("-o, --out <dir>", "the package's folder (default: generated/<name of the spec>)")
    .addOption(batchOption())
    .addOption(dtypesOption())
    .addOption(imageOption())
    .addOption(patchOption())
    .option("--tuning <file>", "carry the measured choices of this table, which vitc tune --out writes")
    .option("--shared-runtime", "import vitc/runtime instead of carrying a copy of it")
    .option("--no-typecheck", "write the package without type-checking it, which is faster")
    .option("-w, --watch", "compile again whenever the spec, or what it imports, changes")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Files in the folder that vitc did not write (weights, say) are kept. A folder
that holds somebody's files and no package of vitc is left alone.

Examples:
  $ vitc compile my.ts
  $ vitc compile specs/models.ts#tiny --out web/model --batch 1,8
  $ vitc compile my.ts --dtype f16,f32 --tuning tuning.json
  $ vitc compile timm:vit_small_patch14_reg4_dinov2 --image 224
  $ vitc compile timm:flexivit_small --patch 24 --image 240
  $ vitc compile ./clip-vit-base-patch32
  $ vitc compile my.ts --watch`,
    )
    .action(async (reference: string, options: Options) => {
      if (options.watch !== true) return compileOnce(cli, reference, options);
      const { watch } = await import("./watch.js");
      await watch(cli, (loaded) => compileOnce(cli, reference, options, loaded));
    });
}

async function compileOnce(cli: Cli, reference: string, options: Options, loaded?: Set<string>): Promise<void> {
  const source = await loadSpec(reference, cli.cwd, loaded);
  const [{ compile, planVariants }, { resolve: resolveSpec }, { checkOutputFolder, writePackage }] = await Promise.all([import("../compile.js"), import("../spec/resolve.js"), import("../emit/write.js")]);
  const spec = resolveSpec(withOverrides(source.spec, options));
  const { name } = spec;
  const out = resolve(cli.cwd, options.out ?? join("generated", name));
  refuseOwnFolder(out, cli.cwd, reference);
  await checkOutputFolder(out);
  const tables = options.tuning === undefined ? undefined : await readTuning(options.tuning, cli.cwd);
  if (options.tuning !== undefined) loaded?.add(resolve(cli.cwd, options.tuning));
  // Said at once: the type check blocks the process for seconds, in which nothing else can be shown.
  cli.say(options.typecheck ? `Compiling ${name}, with a type check of some seconds (--no-typecheck skips it)` : `Compiling ${name}`);
  for (const note of source.notes) cli.say(note);
  const origin = originOf(source, out);
  const tuning = tables && { path: options.tuning!, ...tuningFor(planVariants(spec).map(({ plan }) => plan), tables, options.tuning!) };
  const compiled = await endedByInterrupt(() =>
    compile(source.spec, {
      ...{ batch: options.batch, dtype: options.dtype, image: options.image, patch: options.patch, sharedRuntime: options.sharedRuntime, typecheck: options.typecheck, source: origin },
      ...(tuning && { tuned: tuning.tables, tuning: relative(out, resolve(cli.cwd, tuning.path)).split(sep).join("/") }),
    }),
  );
  for (const notice of tuning?.notices ?? []) cli.say(notice);
  const written = await writePackage(compiled.files, out, cli.signal);
  await report(cli, out, origin, compiled, written, options.json === true);
}

/** How a package names its spec: `../../specs/my.ts`, with `#export` unless it is the default; or `timm:NAME`. */
export function originOf({ file, exportName }: LoadedSpec, out: string): string {
  if (file === undefined) return exportName;
  const path = relative(out, file).split(sep).join("/");
  return exportName === "default" ? path : `${path}#${exportName}`;
}

/** The folder is replaced by a new one, and a shell that stands in it would be left in a folder that is no more. */
function refuseOwnFolder(out: string, cwd: string, reference: string): void {
  const below = relative(out, cwd);
  if (below === ".." || below.startsWith(`..${sep}`) || isAbsolute(below)) return;
  const parent = resolve(out, "..");
  throw new UserError(`${out} is the folder you are in, and compiling replaces it: run this from outside, for example from ${parent}:\n  cd ${parent} && vitc compile ${relative(parent, resolve(cwd, reference))} --out ${relative(parent, out)}`);
}

async function report(cli: Cli, out: string, origin: string, { plan, variants, files, recipe }: Package, written: WrittenPackage, json: boolean): Promise<void> {
  const arenaBytes = (arenas: readonly { readonly bytes: number }[]): number => arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  const weightBytes = (weights: readonly number[]): number => weights.reduce((sum, bytes) => sum + bytes, 0);
  if (json) {
    const planned = ({ plan: { fingerprint, kernels, weightBuffers, programs } }: CompiledPlan) => ({
      ...{ fingerprint, kernels: kernels.length, weightBytes: weightBytes(weightBuffers) },
      profiles: programs.infer.map(({ batch, dispatches, flops, bytes, arenas }) => ({ batch, dispatches: dispatches.length, flops, bytes, arenaBytes: arenaBytes(arenas) })),
    });
    const [{ jsonShapes }, { parametersOf }] = await Promise.all([import("./json.js"), import("../plan/needs.js")]);
    return cli.json(jsonShapes.compile, {
      name: plan.name,
      spec: origin,
      out,
      files: files.size,
      changed: [...written.changed],
      removed: [...written.removed],
      kept: [...written.kept],
      parameters: parametersOf(recipe),
      ...planned(variants[0]),
      variants: variants.map((variant) => {
        const { dtype, routines, tuned } = variant.plan;
        // A table is of all dtypes; only what is about this plan counts.
        const own = (choices: Tuned["choices"]): number => routines.filter(({ id }) => Object.hasOwn(choices, id)).length;
        return { dtype, ...planned(variant), routines: routines.length, tuned: tuned.map(({ adapter, choices }) => ({ adapter, routines: own(choices) })).filter((carried) => carried.routines > 0) };
      }),
    });
  }
  const { changed, removed, kept } = written;
  const what = changed.length + removed.length === 0 ? "nothing changed" : `${changed.length} written${removed.length > 0 ? `, ${removed.length} removed` : ""}`;
  cli.print(`${relative(cli.cwd, out) || "."}: ${plural(files.size, "file")}, ${what}${kept.length > 0 ? `; kept ${some(kept, 3)}` : ""}`);
  cli.print(table([
    ["dtype", "batch", "dispatches", "kernels", "work", "weights", "arenas"],
    ...variants.flatMap(({ plan: { dtype, kernels, weightBuffers, programs } }) => programs.infer.map(({ batch, dispatches, flops, arenas }) => [dtype, String(batch), String(dispatches.length), String(kernels.length), gigaflops(flops), mebibytes(weightBytes(weightBuffers)), mebibytes(arenaBytes(arenas))])),
  ]));
}
