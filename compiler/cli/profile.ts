import { Command, InvalidArgumentError, Option } from "commander";
import { open } from "node:fs/promises";
import { relative } from "node:path";
import { adapterName } from "../../runtime/device.js";
import type { DType, Plan } from "../../runtime/plan.js";
import { profile, type ProfileResult } from "../measure/profile.js";
import { chromeTrace, traceBeginning } from "../measure/trace.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { table } from "./format.js";
import { profileShape, type ProfileReport } from "./json-bench.js";
import { adapterOption, adapterText, clockOption, digits, expectBatch, microseconds, milliseconds, openPackage, peakNotices, peaksText, percent, randomNotice, runsOption, secondsOption, weightsOption, type MeasuredPackage, type MeasureOptions } from "./measure-options.js";
import { dtypeOption, jsonOption, parseWhole, robustOption } from "./options.js";
import { planFor } from "./run-package.js";
import { expectOwnPage, expectWritable, writeWhole } from "./write-whole.js";

interface Options extends MeasureOptions {
  readonly batch?: number;
  readonly dtype?: DType;
  readonly clock: "auto" | "timestamps" | "wall";
  readonly top?: number;
  readonly trace?: string;
  readonly html?: string;
  readonly force?: boolean;
}

/** `vitc profile PACKAGE`: what each dispatch of a run costs, and what limits it. */
export function profileCommand(cli: Cli): Command {
  return new Command("profile")
    .summary("time each dispatch of a package, and tell what limits it")
    .description("Times each dispatch of a package with the GPU's clock, and tells what limits it: arithmetic, memory, or launching.")
    .argument("<package>", "folder that vitc compile wrote")
    .addOption(weightsOption())
    .addOption(new Option("--batch <size>", "batch size to run (default: the smallest that the package was compiled for)").argParser(parsePositive))
    .addOption(dtypeOption("dtype to run (default: the package's first that the adapter can run)"))
    .addOption(robustOption())
    .addOption(runsOption("how often to time each dispatch"))
    .addOption(secondsOption("or: how long, at least 3 times", 3))
    .addOption(adapterOption())
    .addOption(clockOption("timestamps are the GPU's own; wall submits each launch alone; auto takes timestamps if there are any"))
    .addOption(new Option("--top <n>", "print only the n slowest dispatches").argParser(parsePositive))
    .option("--trace <file.json>", "write a timeline for chrome://tracing and ui.perfetto.dev")
    .option("--html <file.html>", "write a page that shows it all")
    .option("--force", "with --trace or --html: replace a file that vitc did not write")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc profile generated/my-vit --top 10
  $ vitc profile generated/my-vit --batch 8 --html my-vit.html --trace my-vit.json`,
    )
    .action((reference: string, options: Options) => run(cli, reference, options));
}

function parsePositive(text: string): number {
  const value = parseWhole(text);
  if (value < 1) throw new InvalidArgumentError("It must be at least 1.");
  return value;
}

async function run(cli: Cli, reference: string, options: Options): Promise<void> {
  // What can be wrong is looked at before anything is measured.
  const opened = await openPackage(reference, options.weights, cli.cwd);
  const notices = [...randomNotice([opened])];
  const onNotice = (notice: string): void => void (notices.includes(notice) || notices.push(notice));
  const plan = await planFor(opened.found, reference, options, onNotice);
  const batch = options.batch ?? Math.min(...plan.programs.infer.map((each) => each.batch));
  expectBatch(reference, plan, batch);
  const trace = options.trace === undefined ? undefined : await expectWritable("--trace", options.trace, [".json"], cli.cwd);
  const html = options.html === undefined ? undefined : await expectWritable("--html", options.html, [".html", ".htm"], cli.cwd);
  if (options.force !== true) {
    if (trace !== undefined) await expectOwnTrace(trace, cli.cwd);
    if (html !== undefined) await expectOwnPage("--html", html, cli.cwd);
  }
  const line = cli.progress(`Profiling ${plan.name}`);
  const result = await profile({
    subject: { name: reference, plan, load: (loading) => opened.found.load(loading) },
    weights: (await opened.weights(cli.signal)).input,
    batch,
    adapter: options.adapter,
    robust: options.robust === true,
    clock: options.clock,
    runs: options.runs,
    seconds: options.seconds,
    onNotice,
    onProgress: (share, detail) => line.update(share, `(${detail})`),
    signal: cli.signal,
  }).finally(() => line.done());
  notices.push(...peakNotices(result.peaks), ...clockNotice(result));

  const adapter = adapterText(result.adapter);
  if (trace !== undefined) {
    await writeWhole(trace, chromeTrace(plan.name, result, adapter), cli);
  }
  if (html !== undefined) {
    const { profilePage } = await import("../measure/profile-page.js");
    await writeWhole(html, profilePage({ name: plan.name, fingerprint: plan.fingerprint, adapter, version, notices, result }), cli);
  }
  if (options.json === true) cli.json(profileShape, reportOf(opened, plan, options.robust === true, result, notices));
  else {
    for (const notice of notices) cli.say(notice);
    cli.print(text(`${plan.name} in ${plan.dtype}`, adapter, result, options.top));
  }
  for (const file of [trace, html]) if (file !== undefined) cli.say(`wrote ${relative(cli.cwd, file)}`);
}

/** A name that ends in .json may be a spec's or a report's: only what a trace begins with is replaced unasked. */
async function expectOwnTrace(file: string, cwd: string): Promise<void> {
  const there = await open(file, "r").catch(() => undefined);
  if (there === undefined) return;
  try {
    const { buffer, bytesRead } = await there.read({ buffer: Buffer.alloc(traceBeginning.length), position: 0 });
    if (buffer.toString("utf8", 0, bytesRead) === traceBeginning) return;
  } finally {
    await there.close();
  }
  throw new UserError(`--trace ${relative(cwd, file)}: a file that is no trace of vitc is there already: name another, or replace it with --force`);
}

function clockNotice({ clock, emptyMicroseconds }: ProfileResult): readonly string[] {
  if (clock === "timestamps") return [];
  return [`Times are the wall clock's, each launch submitted alone: ${microseconds(emptyMicroseconds)} of each is the way to the adapter and back.`];
}

function reportOf({ name, weightsName }: MeasuredPackage, plan: Plan, robust: boolean, { adapter, batch, clock, replays, peaks, emptyMicroseconds, microseconds: sum, wholeRun, kinds, dispatches, timeline }: ProfileResult, notices: readonly string[]): ProfileReport {
  return {
    vitc: version,
    package: name,
    name: plan.name,
    fingerprint: plan.fingerprint,
    dtype: plan.dtype,
    robust,
    batch,
    weights: weightsName,
    adapter: { name: adapterName(adapter), software: adapter.software },
    notices: [...notices],
    clock,
    replays,
    peaks,
    emptyMicroseconds,
    microseconds: sum,
    wholeRunMilliseconds: wholeRun,
    kinds: [...kinds],
    dispatches: dispatches.map((dispatch, i) => ({ ...dispatch, launches: [...dispatch.launches], beginMicroseconds: timeline[i]!.begin, endMicroseconds: timeline[i]!.end })),
  };
}

function text(name: string, adapter: string, { batch, clock, replays, peaks, microseconds: sum, wholeRun, dispatches, kinds, emptyMicroseconds }: ProfileResult, top: number | undefined): string {
  const shown = top === undefined ? dispatches : [...dispatches].sort((a, b) => b.microseconds - a.microseconds).slice(0, top);
  const rows = table([
    ["dispatch", "kind", "time", "share", "MFLOPs", "MB", "GFLOP/s", "GB/s", "bound by", "reach", "choice"],
    ...shown.map(({ label, kind, microseconds: time, share, flops, bytes, flopRate, byteRate, bound, reach, choice, launches }) => [label, kind, microseconds(time), percent(share), digits(flops / 1e6), digits(bytes / 1e6), digits(flopRate / 1e9), digits(byteRate / 1e9), bound, percent(reach), `${choice}${launches.length > 1 ? ` (sum of ${launches.length} launches)` : ""}`]),
  ]);
  const totals = table([
    ["kind", "dispatches", "time", "share", "GFLOP/s", "GB/s"],
    ...kinds.map(({ kind, dispatches: number, microseconds: time, share, flops, bytes }) => [kind, String(number), microseconds(time), percent(share), digits(time > 0 ? flops / time / 1e3 : 0), digits(time > 0 ? bytes / time / 1e3 : 0)]),
  ]);
  const left = dispatches.length - shown.length;
  return [
    `${name}, batch ${batch}, on ${adapter}; ${peaksText(peaks)}`,
    `${dispatches.length} dispatches take ${microseconds(sum)} (medians of ${replays}, ${clock === "timestamps" ? "GPU timestamps" : "wall clock"}; an empty launch ${microseconds(emptyMicroseconds)}); a whole run takes ${milliseconds(wholeRun.p50)}`,
    left > 0 ? `${rows}\n... and ${left} faster` : rows,
    totals,
  ].join("\n\n");
}
