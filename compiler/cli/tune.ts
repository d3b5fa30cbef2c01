import { Command, InvalidArgumentError, Option } from "commander";
import { homedir } from "node:os";
import { relative, sep } from "node:path";
import { adapterKey, targetOf } from "../../runtime/choose.js";
import { adapterName } from "../../runtime/device.js";
import type { DType, Plan, Tuned } from "../../runtime/plan.js";
import { openNetwork } from "../measure/tune-network.js";
import { tune, type TuneResult } from "../measure/tune.js";
import { changeOf } from "../measure/tune-decision.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { plural } from "./format.js";
import { tuneShape, type TuneReport } from "./json-tune.js";
import { adapterOption, clockOption, microseconds, openPackage, percent, randomNotice, weightsOption, type MeasureOptions } from "./measure-options.js";
import { dtypeOption, jsonOption } from "./options.js";
import { planFor } from "./run-package.js";
import { addToCache, addToFile, cacheFault, expectTables } from "./tuning-file.js";
import { expectWritable } from "./write-whole.js";

interface Options extends Pick<MeasureOptions, "weights" | "adapter" | "json"> {
  readonly dtype?: DType;
  readonly budget: number;
  readonly clock: "auto" | "timestamps" | "wall";
  readonly out?: string;
  readonly dryRun?: boolean;
}

/** A day; more is a slip of the finger. */
const mostSeconds = 86_400;
const orderSeed = 1;

/** `vitc tune PACKAGE`: which kernels are the fastest on this adapter, measured. */
export function tuneCommand(cli: Cli): Command {
  return new Command("tune")
    .summary("measure which kernels are the fastest on this adapter")
    .description("Measures the ways to do each routine of a package inside of the whole network, the most expensive routine first, and keeps what is faster beyond the noise and right. Loading the package on this machine goes by the result from then on; with --out it becomes a file for vitc compile --tuning.")
    .argument("<package>", "folder that vitc compile wrote")
    .addOption(weightsOption())
    .addOption(dtypeOption("dtype to tune (default: the package's first that the adapter can run)"))
    .addOption(new Option("--budget <s>", "begin nothing new after this many seconds").argParser(parseSeconds).default(120))
    .addOption(adapterOption())
    .addOption(clockOption("timestamps are the GPU's own, around each routine; wall judges by whole runs; auto takes timestamps if there are any"))
    .option("--out <file.json>", "add the result to this table instead of this machine's own")
    .option("--dry-run", "write nothing")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc tune generated/my-vit
  $ vitc tune generated/my-vit --dtype f16 --out tuning.json
  $ vitc compile my.ts --tuning tuning.json    the package carries the table`,
    )
    .action((reference: string, options: Options) => run(cli, reference, options));
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || !(seconds > 0 && seconds <= mostSeconds)) throw new InvalidArgumentError(`It must be a number of seconds above 0, at most ${mostSeconds}.`);
  return seconds;
}

async function run(cli: Cli, reference: string, options: Options): Promise<void> {
  // What can be wrong is looked at before anything is measured.
  const opened = await openPackage(reference, options.weights, cli.cwd);
  const out = options.out === undefined ? undefined : await expectWritable("--out", options.out, [".json"], cli.cwd);
  if (out !== undefined) await expectTables(out, cli.cwd);
  const notices = [...randomNotice([opened])];
  const onNotice = (notice: string): void => void (notices.includes(notice) || notices.push(notice));
  const { signal } = cli;
  const line = cli.progress(`Tuning ${opened.found.plan.name}`);
  try {
    const plan = await planFor(opened.found, reference, options, onNotice);
    const fault = out !== undefined || options.dryRun === true ? undefined : await cacheFault(plan.fingerprint);
    if (fault !== undefined) onNotice(notKept(fault));
    const { input: weights } = await opened.weights(signal);
    line.update(0, "(loading)");
    const { network, adapter, clock, dispose } = await openNetwork({ subject: { name: reference, plan, load: (loading) => opened.found.load(loading) }, weights, adapter: options.adapter, clock: options.clock, onNotice, signal });
    try {
      const began = performance.now();
      const result = await tune(network, { seconds: options.budget, seed: orderSeed, signal, onProgress: (share, detail) => line.update(share, `(${detail})`) });
      const seconds = (performance.now() - began) / 1000;
      const found = tableOf(plan, adapterKey(adapter), result);
      const measured = result.routines.some((routine) => routine.measured);
      const file = options.dryRun === true || !measured || fault !== undefined ? undefined : await write(cli, plan, found, out, onNotice);
      if (result.outOfTime) onNotice(`The budget of ${options.budget} s was spent before all was measured: give more with --budget.`);
      if (result.combined !== undefined) onNotice(`All switches together are wrong, so nothing is switched: ${result.combined}`);
      const report: TuneReport = {
        ...{ vitc: version, package: reference, name: plan.name, fingerprint: plan.fingerprint, dtype: plan.dtype, weights: opened.weightsName },
        adapter: { name: adapterName(adapter), software: adapter.software, key: adapterKey(adapter), target: targetOf(adapter) },
        ...{ notices, clock, seconds, budgetSeconds: options.budget, outOfTime: result.outOfTime },
        routines: result.routines.map((routine) => ({ ...routine, chosen: result.choices[routine.id]! })),
        batches: result.batches,
        combined: result.combined ?? null,
        choices: found.choices,
        file: file ?? null,
      };
      line.done();
      if (options.json === true) return cli.json(tuneShape, report);
      for (const notice of notices) cli.say(notice);
      cli.print(text(report));
      cli.say(file === undefined ? `wrote nothing${options.dryRun === true ? " (--dry-run)" : measured ? "" : ": nothing was measured"}` : `wrote ${shown(file, cli.cwd)}`);
    } finally {
      dispose();
    }
  } finally {
    line.done();
  }
}

/**
 * What was measured, as a table. A table of this machine goes before one that the package carries, so what that one decides and was not
 * measured now is in it as well.
 */
function tableOf(plan: Plan, adapter: string, { routines, choices }: TuneResult): Tuned {
  const carried = plan.tuned.find((known) => known.adapter === adapter)?.choices ?? {};
  return { adapter, choices: Object.fromEntries(routines.filter(({ id, measured }) => measured || Object.hasOwn(carried, id)).map(({ id }) => [id, choices[id]!])) };
}

/** Where it was written, if it was. What was measured is told in any case; the exit code is 1 if a file that was asked for is not written. */
async function write(cli: Cli, plan: Plan, found: Tuned, out: string | undefined, onNotice: (notice: string) => void): Promise<string | undefined> {
  try {
    if (out === undefined) return await addToCache(plan.fingerprint, found, cli);
    await addToFile(out, found, cli);
    return out;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    onNotice(out === undefined ? notKept(error.message) : error.message);
    if (out !== undefined) process.exitCode = 1;
    return undefined;
  }
}

const notKept = (fault: string): string => `This machine's cache cannot keep the result (${fault}): loading does not go by it. Set XDG_CACHE_HOME to a folder that can be written, or write a table with --out.`;

/** A file as a person names it. */
function shown(file: string, cwd: string): string {
  const below = relative(cwd, file);
  if (!below.startsWith("..")) return below;
  const home = homedir();
  return file.startsWith(home + sep) ? `~${file.slice(home.length)}` : file;
}

function text({ name, dtype, adapter, clock, seconds, routines, batches }: TuneReport): string {
  const measured = routines.filter((routine) => routine.measured);
  const switched = measured.filter(({ chosen, untuned }) => chosen !== untuned);
  const runs = batches.map(({ batch, untuned, tuned, ratio, interval: { low, high }, kept }) => `batch ${batch}: a run takes ${microseconds(untuned)} untuned, ${microseconds(tuned)} tuned, ${changeOf(ratio)} (95 % interval ${changeOf(low)} to ${changeOf(high)})${kept ? "" : ": not faster, so it stays untuned"}`);
  const alone = routines.filter(({ alternatives }) => alternatives.length === 0).length;
  const rest = new Map<string, number>();
  for (const { measured: was, alternatives } of routines) if (!was && alternatives.length > 0) rest.set(alternatives[0]!.reason, (rest.get(alternatives[0]!.reason) ?? 0) + 1);
  return [
    `${name} in ${dtype} on ${adapter.name}${adapter.software ? " (software)" : ""}, judged by ${clock === "timestamps" ? "GPU timestamps of each routine" : "the wall clock, whole runs"}`,
    ...measured.map(routineText),
    [
      `${plural(measured.length, "routine")} measured in ${seconds.toFixed(0)} s, ${switched.length} switched`,
      ...[...rest].map(([reason, count]) => `${plural(count, "routine")} not measured: ${reason}`),
      ...(alone > 0 ? [`${plural(alone, "routine")} can be done in one way alone`] : []),
      ...runs,
    ].join("\n"),
  ].join("\n\n");
}

/** A routine with its ways: `>` before the one to take. */
function routineText({ id, share, untuned, chosen, alternatives }: TuneReport["routines"][number]): string {
  const mark = (name: string): string => (name === chosen ? "  > " : "    ");
  const said = ({ verdict, reason }: (typeof alternatives)[number]): string => (verdict === "switched" || verdict === "slower" ? reason : `${verdict}, ${reason}`);
  return [`${percent(share)}  ${id}`, `${mark(untuned)}${untuned}`, ...alternatives.map((way) => `${mark(way.name)}${way.name}: ${said(way)}`)].join("\n");
}
