import { Command, InvalidArgumentError, Option } from "commander";
import { adapterName } from "../../runtime/device.js";
import type { DType } from "../../runtime/plan.js";
import { bench, type BenchResult, type BenchSubject } from "../measure/bench.js";
import { summarize } from "../measure/statistics.js";
import { fewestSamples } from "../measure/verdict.js";
import { version } from "../version.js";
import { compare, comparisonText, expectAdapter, expectComparable, readBaseline } from "./baseline.js";
import { UserError, type Cli } from "./context.js";
import { mebibytes, table } from "./format.js";
import { benchShape, type BenchReport } from "./json-bench.js";
import { adapterOption, adapterText, digits, expectBatch, milliseconds, openPackage, peakNotices, peaksText, percent, randomNotice, runsOption, secondsOption, weightsOption, type MeasuredPackage, type MeasureOptions } from "./measure-options.js";
import { decidedText, dtypesOption, jsonOption, robustOption } from "./options.js";
import { planOf } from "./run-package.js";

interface Options extends MeasureOptions {
  readonly batch?: readonly number[];
  readonly dtype?: readonly DType[];
  readonly baseline?: string;
  readonly failOver?: number;
}

type Load = BenchReport["loads"][number];

/** How much slower is too slow, where --fail-over does not say. */
const standardFailOver = 0.1;

/** `vitc bench PACKAGE...`: how fast packages load and run, and whether they became slower. */
export function benchCommand(cli: Cli): Command {
  return new Command("bench")
    .summary("measure how fast packages load and run")
    .description("Measures how fast packages load and run, and how near that is to what the adapter can do. Several packages and dtypes take turns, so that whatever else the machine does meets all of them.")
    .argument("<package...>", "folders that vitc compile wrote")
    .addOption(weightsOption())
    .addOption(new Option("--batch <sizes>", "batch sizes to run, as 1,8 (default: all that the package was compiled for)").argParser(parseBatches))
    .addOption(dtypesOption("dtypes to run, as f32,f16 (default: all that the package was compiled for)"))
    .addOption(robustOption())
    .addOption(runsOption("runs of each package, dtype and batch size"))
    .addOption(secondsOption(`or: how long to run each, at least ${fewestSamples} times`, 10))
    .addOption(adapterOption())
    .option("--baseline <file>", "compare with what --json printed before; exit code 1 if anything became slower, or nothing could be compared")
    .addOption(new Option("--fail-over <share>", `with --baseline: how much slower is too slow (default: ${standardFailOver * 100}%)`).argParser(parseShare))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc bench generated/my-vit
  $ vitc bench generated/a generated/b --batch 1 --runs 50
  $ vitc bench generated/my-vit --dtype f32,f16
  $ vitc bench generated/my-vit --json > before.json
  $ vitc bench generated/my-vit --baseline before.json --fail-over 5%`,
    )
    .action((references: readonly string[], options: Options) => run(cli, references, options));
}

function parseBatches(text: string): readonly number[] {
  if (!/^[1-9]\d{0,5}(,[1-9]\d{0,5})*$/.test(text)) throw new InvalidArgumentError("Write whole numbers from 1 on with commas between them, as 1,8.");
  return [...new Set(text.split(",").map(Number))];
}

function parseShare(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const share = match ? Number(match[1]) / (match[2] === "%" ? 100 : 1) : NaN;
  if (!(share >= 0 && share <= 10)) throw new InvalidArgumentError("Write a share from 0% to 1000%, as 10% or 0.1.");
  return share;
}

async function run(cli: Cli, references: readonly string[], options: Options): Promise<void> {
  const names = [...new Set(references)];
  // What can be wrong is looked at before anything is measured.
  if (options.baseline === undefined && options.failOver !== undefined) throw new UserError("--fail-over says how much slower than a baseline is too slow, and there is none: add --baseline FILE, or leave it out");
  if (options.baseline !== undefined && options.runs !== undefined && options.runs < fewestSamples) throw new UserError(`--runs ${options.runs} with --baseline: a change is told from noise with ${fewestSamples} runs at least, better 20 (--runs 20)`);
  const baseline = options.baseline === undefined ? undefined : await readBaseline(options.baseline, cli.cwd);
  const packages: MeasuredPackage[] = [];
  for (const name of names) packages.push(await openPackage(name, options.weights, cli.cwd));
  const subjects = packages.flatMap((opened) => subjectsOf(opened, options));
  const robust = options.robust === true;
  if (baseline) expectComparable(baseline, subjects.flatMap(({ name: folder, plan: { name, fingerprint, dtype }, batches }) => batches.map((batch) => ({ package: folder, name, fingerprint, dtype, robust, batch }))), cli.cwd);
  const notices = [...randomNotice(packages)];
  const line = cli.progress("Measuring");
  const result = await bench({
    subjects,
    adapter: options.adapter,
    robust,
    runs: options.runs,
    seconds: options.seconds,
    onAdapter: (adapter) => {
      if (baseline) expectAdapter(baseline, adapterName(adapter));
    },
    onNotice: (notice) => void (notices.includes(notice) || notices.push(notice)),
    onProgress: (share, detail) => line.update(share, `(${detail})`),
    signal: cli.signal,
  }).finally(() => line.done());
  notices.push(...peakNotices(result.peaks));

  const measured = reportOf(result, packages, robust, notices);
  const comparison = baseline && compare(baseline, measured, options.failOver ?? standardFailOver, cli.cwd);
  const report: BenchReport = { ...measured, comparison: comparison ?? null };
  if (comparison?.failed) process.exitCode = 1;
  if (options.json === true) return cli.json(benchShape, report);
  for (const notice of notices) cli.say(notice);
  cli.print(text(report, adapterText(result.adapter)));
}

/** One a dtype. @throws UserError for a dtype or batch size that the package was not compiled for. */
function subjectsOf({ name, found, weights }: MeasuredPackage, { dtype: wanted, batch: batches }: Options): readonly BenchSubject[] {
  return (wanted ?? found.plans.map(({ dtype }) => dtype)).map((dtype) => {
    const plan = planOf(found, name, dtype);
    for (const batch of batches ?? []) expectBatch(name, plan, batch);
    return { name, plan, batches: batches ?? plan.programs.infer.map(({ batch }) => batch), load: (options) => found.load(options), weights };
  });
}

function reportOf({ adapter, startMilliseconds, peaks, subjects }: BenchResult, packages: readonly MeasuredPackage[], robust: boolean, notices: readonly string[]): Omit<BenchReport, "comparison"> {
  const { compute, memory } = peaks;
  const report: Omit<BenchReport, "comparison"> = { vitc: version, adapter: { name: adapterName(adapter), software: adapter.software }, notices: [...notices], startMilliseconds, peaks, loads: [], cases: [], unavailable: [] };
  for (const result of subjects) {
    const { name: folder, plan: { name, fingerprint, dtype } } = result.subject;
    const row = { package: folder, name, dtype, robust };
    if (result.unavailable !== undefined) {
      report.unavailable.push({ ...row, reason: result.unavailable });
      continue;
    }
    const { load: { device, pipelines, weights, reading, firstRun }, plannedBytes, allocatedBytes, decided, cases } = result;
    const weightsName = packages.find((opened) => opened.name === folder)!.weightsName;
    report.loads.push({ ...row, weights: weightsName, milliseconds: { device, pipelines, weights, reading, firstRun: [...firstRun], total: device + pipelines + weights + (firstRun[0] ?? 0) }, plannedBytes, allocatedBytes, decided });
    for (const { batch, flops, bytes, samples } of cases) {
      const times = summarize(samples);
      const [flopRate, byteRate] = [flops, bytes].map((amount) => (amount * 1000) / times.p50) as [number, number];
      report.cases.push({ ...row, fingerprint, batch, milliseconds: times, imagesPerSecond: (batch * 1000) / times.p50, flops, bytes, flopRate, byteRate, computeShare: flopRate / compute.rate, memoryShare: byteRate / memory.rate, samples: [...samples] });
    }
  }
  return report;
}

// -------------------------------------------------------------------------------------------------------- text

function text({ peaks, startMilliseconds, loads, cases, unavailable, comparison }: BenchReport, adapter: string): string {
  const checked = [...loads, ...unavailable].some(({ robust }) => robust) ? ", every index checked" : "";
  const loading = table([
    ["package", "dtype", "device", "pipelines", "weights", "reading", "first run", "in all", "kernels by"],
    ...loads.map(({ package: folder, dtype, milliseconds: { device, pipelines, weights, reading, firstRun, total }, decided }) => [folder, dtype, ...[device, pipelines, weights, reading, firstRun[0] ?? 0, total].map(milliseconds), decidedText(decided)]),
  ]);
  const running = table([
    ["package", "dtype", "batch", "runs", "p50", "p95", "min", "images/s", "GFLOP/s", "of peak", "GB/s", "of peak", "GPU memory"],
    ...cases.map(({ package: folder, dtype, batch, milliseconds: { count, p50, p95, min }, imagesPerSecond, flopRate, computeShare, byteRate, memoryShare }) => [folder, dtype, String(batch), String(count), milliseconds(p50), milliseconds(p95), milliseconds(min), digits(imagesPerSecond), digits(flopRate / 1e9), percent(computeShare), digits(byteRate / 1e9), percent(memoryShare), memoryText(loads, folder, dtype)]),
  ]);
  const lacking = unavailable.map(({ package: folder, dtype, reason }) => `${folder}, ${dtype}, was not measured: ${reason}`).join("\n");
  const compared = comparison && comparisonText(comparison);
  return [`${adapter}, found in ${milliseconds(startMilliseconds)}${checked}; ${peaksText(peaks)}`, loading, running, lacking, compared ?? ""].filter((part) => part !== "").join("\n\n");
}

/** What a model holds, and what its plan asks for where that is something else. */
function memoryText(loads: readonly Load[], folder: string, dtype: DType): string {
  const { allocatedBytes, plannedBytes } = loads.find((load) => load.package === folder && load.dtype === dtype)!;
  return `${mebibytes(allocatedBytes)}${allocatedBytes === plannedBytes ? "" : ` (${mebibytes(plannedBytes)} planned)`}`;
}
