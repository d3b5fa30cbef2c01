import { Command, InvalidArgumentError, Option } from "commander";
import type { EstimateOptions } from "../../runtime/codegen.js";
import { adapterName } from "../../runtime/device.js";
import type { DType } from "../../runtime/plan.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { estimateShape, type EstimateReport } from "./json-estimate.js";
import { adapterOption, digits, milliseconds } from "./measure-options.js";
import { dtypeOption, jsonOption, parseWhole } from "./options.js";
import { importPackage, planOf } from "./run-package.js";

interface Options {
  readonly adapter: "auto" | "gpu" | "software";
  readonly batch: number;
  readonly dtype?: DType;
  readonly fast?: number;
  readonly slow?: number;
  readonly json?: boolean;
}

/** `vitc estimate PACKAGE`: what a run will take here, and whether that is worth a download. */
export function estimateCommand(cli: Cli): Command {
  return new Command("estimate")
    .summary("tell what a package will take here, without its weights")
    .description("Tells how long a run of a package will take on this adapter and what there is to download and to hold, before there are any weights: the heaviest kernels are timed on made-up values, which takes about a second, and a cost model tells the rest. `vitc bench` measures.")
    .argument("<package>", "folder that vitc compile wrote")
    .addOption(new Option("--batch <n>", "images of a run").default(1).argParser(parseBatch))
    .addOption(dtypeOption("dtype to expect (default: the package's first that the adapter can run)"))
    .addOption(adapterOption())
    .addOption(new Option("--fast <ms>", "milliseconds an image below which it is fast (default: 33, thirty images a second)").argParser(parseMilliseconds))
    .addOption(new Option("--slow <ms>", "milliseconds an image above which it is slow, as is every software adapter (default: 1000)").argParser(parseMilliseconds))
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc estimate generated/my-vit\n  $ vitc estimate generated/my-vit --batch 8 --fast 10 --json")
    .action((reference: string, options: Options) => run(cli, reference, options));
}

function parseBatch(text: string): number {
  const batch = parseWhole(text);
  if (batch < 1 || batch > 100_000) throw new InvalidArgumentError("It must be from 1 to 100000.");
  return batch;
}

function parseMilliseconds(text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || !(value > 0)) throw new InvalidArgumentError("It must be a number of milliseconds above 0.");
  return value;
}

async function run(cli: Cli, reference: string, { adapter, batch, dtype, fast, slow, json }: Options): Promise<void> {
  if (fast !== undefined && slow !== undefined && slow < fast) throw new UserError(`--slow ${slow} is below --fast ${fast}: what is slow takes longer than what is fast`);
  const found = await importPackage(reference, cli.cwd);
  // Refused here, with a command line's words.
  if (dtype !== undefined) planOf(found, reference, dtype);
  if (found.estimate === undefined) throw new UserError(`${reference} has no estimate: an earlier vitc compiled it. Compile it again: npx vitc compile SPEC --out ${reference}`);
  const progress = cli.progress("Probing the adapter");
  const options: EstimateOptions = { adapter, batch, dtype: dtype ?? "auto", thresholds: thresholdsOf(fast, slow), signal: cli.signal };
  const { adapter: on, ...estimate } = await found.estimate(options).finally(() => progress.done());
  const { name, fingerprint } = planOf(found, reference, estimate.dtype);
  const report: EstimateReport = { vitc: version, package: reference, name, fingerprint, adapter: { name: adapterName(on), software: on.software }, imagesPerSecond: (1000 * batch) / estimate.milliseconds, ...estimate };
  if (json === true) return cli.json(estimateShape, report);
  if (on.notice !== undefined) cli.say(on.notice);
  cli.print(text(report));
}

/** One that is given moves the other out of its way. */
function thresholdsOf(fast: number | undefined, slow: number | undefined): NonNullable<EstimateOptions["thresholds"]> {
  return {
    ...(fast !== undefined && { fast, slow: slow ?? Math.max(fast, 1000) }),
    ...(slow !== undefined && { slow, fast: fast ?? Math.min(slow, 1000 / 30) }),
  };
}

/** `10.5 s (6.08 s to 18.5 s)`: a time and its band, in one unit. */
export function timeText({ ms, low, high }: { readonly ms: number; readonly low: number; readonly high: number }): string {
  const [own, least, most] = [ms, low, high].map((value) => milliseconds(value, high));
  return `${own} (${least} to ${most})`;
}

function text({ name, dtype, batch, adapter, milliseconds: ms, low, high, imagesPerSecond, megabytes: { download, gpu }, verdict, reason }: EstimateReport): string {
  const rows: readonly (readonly [string, string])[] = [
    [verdict, reason],
    ["run", `${timeText({ ms, low, high })}, ${digits(imagesPerSecond)} images/s`],
    ["download", `${digits(download.f32)} MB of weights if the file holds f32, ${digits(download.f16)} MB if f16`],
    ["GPU memory", `${digits(gpu)} MB`],
  ];
  return [`${name} in ${dtype}, batch ${batch}, on ${adapter.name}${adapter.software ? " (software)" : ""}`, "", ...rows.map(([what, said]) => `${what.padEnd(10)}  ${said}`)].join("\n");
}
