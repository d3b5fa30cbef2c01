/**
 * The test runner behind `npm test [-- PATTERN...]`. Suites under unit/ and golden/ share a few processes; every other suite has one of its
 * own. The last line is `N passed, N failed, N skipped`; the exit code is 1 when anything failed or nothing ran.
 */
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, styleText } from "node:util";
import { killAll, runInChild, type SuiteResult } from "./pool.js";

// A GPU or a browser per process: more than two at once fight for the same cores.
const mostChildren = 2;
const sharedFolders = new Set(["unit", "golden"]);
const ignoredFolders = new Set(["node_modules", "fixtures", "consumer"]);
const named = (...names: readonly string[]): readonly string[] => names.map((name) => `${name}.test.ts`);
/**
 * Suites of half a minute and more that compile hundreds of kernels, or packages, or run what takes so long, the longest first. Without patterns they run with --long alone, and all others without it, so
 * that `npm test` is a matter of minutes.
 */
const long = named("numerics/gemm", "device/families", "numerics/heads", "numerics/attention", "cli/bench", "package/pack", "device/tune", "browser/page", "package/consumer", "cli/commands", "cli/compile", "cli/pack", "cli/sweep", "device/lost", "browser/bundles", "device/self-test", "unit/memory");
/** What begins last must not end long after the rest. */
const longest = [...long, ...named("browser/parity", "cli/run", "cli/eval", "device/parity")];
const sharedTimeoutMilliseconds = 120_000;
const ownTimeoutMilliseconds = 600_000;

const color = process.stdout.isTTY === true && !process.env["NO_COLOR"];
const paint = (style: "green" | "red" | "yellow" | "dim", text: string): string => (color ? styleText(style, text) : text);

const { values, positionals } = parseArgs({
  options: {
    /** The folder with the suites. */
    root: { type: "string", default: fileURLToPath(new URL("..", import.meta.url)) },
    /** Milliseconds a suite may take. */
    timeout: { type: "string" },
    /** Only the suites that take long. */
    long: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const root = resolve(values.root);
const suites = discover(root);
const patterns = positionals.map((pattern) => new RegExp(pattern));
const isLong = (file: string): boolean => rank(file) < long.length;
const chosen = suites.filter((file) => (patterns.length === 0 ? isLong(file) === values.long : patterns.some((pattern) => pattern.test(nameOf(file))) && (!values.long || isLong(file))));
const timeoutMilliseconds = values.timeout === undefined ? undefined : parseMilliseconds(values.timeout);
const results: SuiteResult[] = [];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    killAll();
    process.exit(130);
  });
}

await runJobs(chosen);
summarize();

/** Every *.test.ts below the folder, sorted. */
function discover(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return ignoredFolders.has(entry.name) ? [] : discover(path);
      return entry.isFile() && entry.name.endsWith(".test.ts") ? [path] : [];
    })
    .toSorted();
}

/** A suite's name as patterns see it: `test/unit/shape.test.ts`. */
function nameOf(file: string): string {
  return join(basename(root), relative(root, file)).replaceAll("\\", "/");
}

/** A suite's place among the longest, or the one behind them. */
function rank(file: string): number {
  const place = longest.indexOf(relative(root, file).replaceAll("\\", "/"));
  return place < 0 ? longest.length : place;
}

async function runJobs(files: readonly string[]): Promise<void> {
  const isShared = (file: string): boolean => sharedFolders.has(relative(root, file).split(/[\\/]/)[0] ?? "");
  const lanes = Math.min(mostChildren, availableParallelism());
  const shared = files.filter(isShared);
  const jobs = [
    ...Array.from({ length: lanes }, (_, lane) => ({ files: shared.filter((_file, index) => index % lanes === lane), timeout: sharedTimeoutMilliseconds })),
    ...files.filter((file) => !isShared(file)).toSorted((a, b) => rank(a) - rank(b)).map((file) => ({ files: [file], timeout: ownTimeoutMilliseconds })),
  ];
  const next = jobs.values();
  const work = async (): Promise<void> => {
    for (const job of next) await runInChild(job.files, { timeoutMilliseconds: timeoutMilliseconds ?? job.timeout, color, report });
  };
  await Promise.all(Array.from({ length: lanes }, work));
}

function parseMilliseconds(text: string): number {
  const milliseconds = Number(text);
  // setTimeout takes no more than 31 bits, and fires at once beyond.
  if (!(milliseconds > 0 && milliseconds < 2 ** 31)) throw new Error(`--timeout is "${text}"; it is a number of milliseconds above 0`);
  return milliseconds;
}

function report(result: SuiteResult): void {
  results.push(result);
  const counts = [`${result.passed} passed`];
  if (result.failed > 0) counts.push(`${result.failed} failed`);
  if (result.skipped > 0) counts.push(`${result.skipped} skipped`);
  const mark = result.failure !== undefined ? paint("red", "fail") : result.passed === 0 ? paint("yellow", "skip") : paint("green", "pass");
  console.log(`${mark}  ${nameOf(result.file)}  ${counts.join(", ")}  ${paint("dim", `${Math.round(result.milliseconds)} ms`)}`);
  if (result.failure !== undefined) console.log(`\n${result.output.trim()}\n\n${paint("red", `${nameOf(result.file)}: ${result.failure}`)}\n`);
}

function summarize(): void {
  const sum = (count: (result: SuiteResult) => number): number => results.reduce((total, result) => total + count(result), 0);
  const [passed, failed, skipped] = [sum((result) => result.passed), sum((result) => result.failed), sum((result) => result.skipped)];
  const skips = results.flatMap((result) => result.skips);
  if (skips.length > 0) console.log(`\nskipped:\n${skips.map((reason) => `  ${reason}`).join("\n")}`);
  const red = results.filter((result) => result.failure !== undefined);
  if (red.length > 0) console.log(`\nfailed:\n${red.map((result) => `  ${nameOf(result.file)}: ${result.failure}`).join("\n")}`);
  if (chosen.length === 0) console.log(suites.length === 0 ? `there is no *.test.ts in ${root}` : `no suite matches ${positionals.join(" or ")}; there are ${suites.length}, for example ${nameOf(suites[0]!)}`);
  else if (passed + failed === 0) console.log("\nno test ran");
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed > 0 || passed + failed === 0 ? 1 : 0;
}
