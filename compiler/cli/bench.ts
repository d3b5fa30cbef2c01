import { Command, InvalidArgumentError, Option } from "commander";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { adapterName } from "../../runtime/device.js";
import { bench, type BenchResult, type BenchSubject } from "../measure/bench.js";
import { summarize } from "../measure/statistics.js";
import { compareTimes } from "../measure/verdict.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { mebibytes, table } from "./format.js";
import { benchShape, type BenchReport } from "./json-bench.js";
import { adapterOption, adapterText, digits, dtypeOption, expectBatch, milliseconds, openPackage, peakNotices, peaksText, percent, randomNotice, runsOption, secondsOption, weightsOption, type MeasuredPackage, type MeasureOptions } from "./measure-options.js";
import { jsonOption } from "./options.js";

interface Options extends MeasureOptions {
  readonly batch?: readonly number[];
  readonly baseline?: string;
  readonly failOver: number;
}

type Case = BenchReport["cases"][number];
type Compared = NonNullable<BenchReport["comparison"]>;

/** `vitc bench PACKAGE...`: how fast packages load and run, and whether they became slower. */
export function benchCommand(cli: Cli): Command {
  return new Command("bench")
    .summary("measure how fast packages load and run")
    .description("Measures how fast packages load and run, and how near that is to what the adapter can do. Several packages take turns, so that whatever else the machine does meets all of them.")
    .argument("<package...>", "folders that vitc compile wrote")
    .addOption(weightsOption())
    .addOption(new Option("--batch <sizes>", "batch sizes to run, as 1,8 (default: all that the package was compiled for)").argParser(parseBatches))
    .addOption(dtypeOption())
    .addOption(runsOption("runs of each package and batch size"))
    .addOption(secondsOption("or: how long to run each, at least 3 times", 10))
    .addOption(adapterOption())
    .option("--baseline <file>", "compare with what --json printed before; exit code 1 if anything became slower")
    .addOption(new Option("--fail-over <share>", "with --baseline: how much slower is too slow").argParser(parseShare).default(0.1, "10%"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc bench generated/my-vit
  $ vitc bench generated/a generated/b --batch 1 --runs 50
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
  const baseline = options.baseline === undefined ? undefined : await readBaseline(options.baseline, cli.cwd);
  const packages: MeasuredPackage[] = [];
  for (const name of names) packages.push(await openPackage(name, options.weights, cli.cwd));
  for (const found of packages) for (const batch of options.batch ?? []) expectBatch(found, batch);
  const notices = [...randomNotice(packages)];
  const line = cli.progress("Measuring");
  const result = await bench({
    subjects: packages.map((found) => subjectOf(found, options.batch)),
    adapter: options.adapter,
    runs: options.runs,
    seconds: options.seconds,
    onAdapter: (adapter) => {
      if (baseline) expectAdapter(options.baseline!, baseline, adapterName(adapter));
    },
    onNotice: (notice) => void (notices.includes(notice) || notices.push(notice)),
    onProgress: (share, detail) => line.update(share, `(${detail})`),
    signal: cli.signal,
  }).finally(() => line.done());
  notices.push(...peakNotices(result.peaks));

  const measured = reportOf(result, packages, notices);
  const comparison = baseline && compare(options.baseline!, baseline, measured, options.failOver);
  const report: BenchReport = { ...measured, comparison: comparison ?? null };
  if (comparison?.failed) process.exitCode = 1;
  if (options.json === true) return cli.json(benchShape, report);
  for (const notice of notices) cli.say(notice);
  cli.print(text(report, adapterText(result.adapter)));
}

function subjectOf({ name, found, weights }: MeasuredPackage, batches: readonly number[] | undefined): BenchSubject {
  return { name, plan: found.plan, batches: batches ?? found.plan.programs.infer.map(({ batch }) => batch), load: (options) => found.load(options), weights };
}

function reportOf({ adapter, startMilliseconds, peaks, subjects }: BenchResult, packages: readonly MeasuredPackage[], notices: readonly string[]): Omit<BenchReport, "comparison"> {
  const { compute, memory } = peaks;
  return {
    vitc: version,
    adapter: { name: adapterName(adapter), software: adapter.software },
    notices: [...notices],
    startMilliseconds,
    peaks,
    loads: subjects.map(({ subject, load, plannedBytes, allocatedBytes }, i) => {
      const { device, pipelines, weights, firstRun } = load;
      return { package: subject.name, name: subject.plan.name, weights: packages[i]!.weightsName, milliseconds: { device, pipelines, weights, firstRun: [...firstRun], total: device + pipelines + weights + (firstRun[0] ?? 0) }, plannedBytes, allocatedBytes };
    }),
    cases: subjects.flatMap(({ subject, cases }) =>
      cases.map(({ batch, flops, bytes, samples }): Case => {
        const times = summarize(samples);
        const [flopRate, byteRate] = [flops, bytes].map((amount) => (amount * 1000) / times.p50) as [number, number];
        return { package: subject.name, name: subject.plan.name, fingerprint: subject.plan.fingerprint, dtype: "f32", batch, milliseconds: times, imagesPerSecond: (batch * 1000) / times.p50, flops, bytes, flopRate, byteRate, computeShare: flopRate / compute.rate, memoryShare: byteRate / memory.rate, samples: [...samples] };
      }),
    ),
  };
}

// ---------------------------------------------------------------------------------------------------- baseline

async function readBaseline(path: string, cwd: string): Promise<BenchReport> {
  const text = await readFile(resolve(cwd, path), "utf8").catch((cause: unknown) => {
    throw new UserError(`--baseline ${path} cannot be read (${cause instanceof Error ? cause.message : String(cause)}); make one with: npx vitc bench PACKAGE --json > ${path}`, { cause });
  });
  try {
    return benchShape.parse(JSON.parse(text));
  } catch (cause) {
    throw new UserError(`--baseline ${path} is not what this version's \`vitc bench --json\` prints; make it again with: npx vitc bench PACKAGE --json > ${path}`, { cause });
  }
}

/** @throws UserError when the baseline was measured on another adapter: that would compare machines and not packages. */
function expectAdapter(path: string, { adapter }: BenchReport, now: string): void {
  if (adapter.name !== now) throw new UserError(`--baseline ${path} was measured on ${adapter.name}, and this is ${now}: measure the baseline on this machine, or choose its adapter with --adapter`);
}

function compare(path: string, before: BenchReport, now: Omit<BenchReport, "comparison">, allowed: number): Compared {
  const reliable = before.peaks.compute.reliable && now.peaks.compute.reliable;
  const machine = reliable ? before.peaks.compute.rate / now.peaks.compute.rate : 1;
  const cases = now.cases.map(({ name, dtype, batch, samples }): Compared["cases"][number] => {
    const known = before.cases.find((candidate) => candidate.name === name && candidate.dtype === dtype && candidate.batch === batch);
    if (known === undefined || known.samples.length === 0) return { name, dtype, batch, verdict: "new", ratio: null, interval: null, reason: "the baseline has no such case" };
    const { kind, ratio, interval, reason } = compareTimes({ before: known.samples, after: samples, allowed, machine });
    return { name, dtype, batch, verdict: kind, ratio, interval, reason };
  });
  return { baseline: path, allowed, failed: cases.some(({ verdict }) => verdict === "slower"), cases };
}

// -------------------------------------------------------------------------------------------------------- text

function text({ peaks, startMilliseconds, loads, cases, comparison }: BenchReport, adapter: string): string {
  const loading = table([
    ["package", "device", "pipelines", "weights", "first run", "in all", "GPU memory", "planned"],
    ...loads.map(({ package: folder, milliseconds: { device, pipelines, weights, firstRun, total }, plannedBytes, allocatedBytes }) => [folder, ...[device, pipelines, weights, firstRun[0] ?? 0, total].map(milliseconds), mebibytes(allocatedBytes), mebibytes(plannedBytes)]),
  ]);
  const running = table([
    ["package", "batch", "runs", "p50", "p95", "min", "images/s", "GFLOP/s", "of peak", "GB/s"],
    ...cases.map(({ package: folder, batch, milliseconds: { count, p50, p95, min }, imagesPerSecond, flopRate, computeShare, byteRate }) => [folder, String(batch), String(count), milliseconds(p50), milliseconds(p95), milliseconds(min), digits(imagesPerSecond), digits(flopRate / 1e9), percent(computeShare), digits(byteRate / 1e9)]),
  ]);
  const compared = comparison && [`against ${comparison.baseline}`, ...comparison.cases.map(({ name, batch, verdict, reason }) => `  ${name}, batch ${batch}: ${verdict === "slower" ? "SLOWER" : verdict}, ${reason}`)].join("\n");
  return [`${adapter}, found in ${milliseconds(startMilliseconds)}; ${peaksText(peaks)}`, loading, running, ...(compared ? [compared] : [])].join("\n\n");
}
