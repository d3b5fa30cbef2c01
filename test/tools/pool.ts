/**
 * Runs test files in child processes, so that a crash of a native module is one red suite with its signal and its output, and not the end
 * of the run.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import type { ChildMessage } from "./child.js";

/** What became of one test file. */
export interface SuiteResult {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Why things were skipped, one line each. */
  readonly skips: readonly string[];
  readonly milliseconds: number;
  /** Why the suite is red, or undefined. */
  readonly failure?: string;
  /** All that the suite printed, on stdout and stderr. */
  readonly output: string;
}

export interface PoolOptions {
  /** A suite that takes longer is killed and fails. */
  readonly timeoutMilliseconds: number;
  readonly color: boolean;
  readonly report: (result: SuiteResult) => void;
}

// A suite in an endless loop can print a lot before its time is up. uvu's totals are at the end.
const keptOutputBytes = 2 ** 20;
// How long a process may live after its last test.
const exitGraceMilliseconds = 10_000;

const childFile = fileURLToPath(new URL("child.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");
const running = new Set<ChildProcess>();

/** Runs the files one after another, in one process as long as it survives, and in a new one after a crash. */
export async function runInChild(files: readonly string[], options: PoolOptions): Promise<void> {
  for (let rest = files; rest.length > 0; ) rest = rest.slice(await runOneChild(rest, options));
}

/** Kills every child, for a runner that is interrupted. */
export function killAll(): void {
  for (const child of running) killTree(child);
}

/** Starts a process on the files and reports at least one of them; returns how many. */
async function runOneChild(files: readonly string[], options: PoolOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "vitc-test-"));
  // Appended to by both streams: their lines stay in order, and what was printed before a crash is there.
  const output = openSync(join(folder, "output"), "a+");
  try {
    return await followChild(files, output, options);
  } finally {
    closeSync(output);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function followChild(files: readonly string[], output: number, options: PoolOptions): Promise<number> {
  const child = spawn(process.execPath, ["--import", tsx, childFile, ...files], {
    stdio: ["ignore", output, output, "ipc"],
    // Output is a file, which uvu would not colour. Node warns when both variables are set; undefined leaves one out.
    env: { ...process.env, FORCE_COLOR: options.color ? "1" : undefined, NO_COLOR: options.color ? undefined : "1" },
    // A process group of its own, so that what it started goes with it.
    detached: process.platform !== "win32",
  });
  running.add(child);

  let began = { at: 0, time: performance.now() };
  let overdue: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  const expectWithin = (milliseconds: number, complaint: string): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      overdue = complaint;
      killTree(child);
    }, milliseconds);
  };
  const timeout = `it took longer than ${options.timeoutMilliseconds / 1000} s and was killed`;
  const results: SuiteResult[] = [];
  let reported = 0;
  expectWithin(options.timeoutMilliseconds, timeout);
  child.on("message", (message: ChildMessage) => {
    expectWithin(options.timeoutMilliseconds, timeout);
    if (message.kind === "begin") {
      began = { at: message.at, time: performance.now() };
      return;
    }
    results.push(judge(message.file, message.failure, slice(output, began.at, message.at), performance.now() - began.time));
    began = { at: message.at, time: performance.now() };
    if (results.length === files.length) {
      // The last result waits for the end of the process, which may still crash.
      expectWithin(Math.min(exitGraceMilliseconds, options.timeoutMilliseconds), "its tests ended and its process did not: something is still open, and it was killed");
    } else {
      options.report(results[reported++]!);
    }
  });

  const ending = await endOf(child);
  clearTimeout(timer);
  running.delete(child);

  const last = results.at(-1);
  const fault = overdue ?? ending;
  const tail = (from: number): string => slice(output, from, fstatSync(output).size);
  if (results.length < files.length) {
    results.push(judge(files[results.length]!, overdue ?? `the process ended in the middle of it, ${ending ?? "with exit code 0"}`, tail(began.at), performance.now() - began.time));
  } else if (last !== undefined && fault !== undefined) {
    results[results.length - 1] = { ...last, failed: Math.max(1, last.failed), failure: last.failure ?? overdue ?? `its process ended ${fault} after the tests`, output: last.output + tail(began.at) };
  }
  for (const result of results.slice(reported)) options.report(result);
  return results.length;
}

/** How a child ended, once all its messages are read: undefined when all is well. */
function endOf(child: ChildProcess): Promise<string | undefined> {
  return new Promise((done) => {
    child.on("error", (error) => done(`because it could not start: ${error.message}`));
    child.on("exit", (code, signal) => {
      killTree(child);
      const ending = signal !== null ? `by ${signal}` : code === 0 ? undefined : `with exit code ${code}`;
      if (!child.connected) return done(ending);
      // Messages may still be in the channel, which closes after the last of them.
      const patience = setTimeout(() => done(ending), 2000);
      child.on("disconnect", () => {
        clearTimeout(patience);
        done(ending);
      });
    });
  });
}

/** Makes a result of a suite's output. Holds a suite to what uvu lets pass: no test at all, and tests lost to a hook that threw. */
function judge(file: string, reported: string | undefined, output: string, milliseconds: number): SuiteResult {
  const text = stripVTControlCharacters(output);
  const [, total = 0, passed = 0, skippedTests = 0] = ([...text.matchAll(/^\s*Total: +(\d+)\n\s*Passed: +(\d+)\n\s*Skipped: +(\d+)$/gm)].at(-1) ?? []).map(Number);
  const skips = [...text.matchAll(/^SKIP (.+)$/gm)].map((match) => match[1] ?? "");
  let failure = reported;
  if (passed < total) failure ??= `${total - passed} tests did not run: a before or after hook threw`;
  if (total === 0 && skippedTests === 0 && skips.length === 0) failure ??= "it ran no test: is .run() missing?";
  const skipped = skips.length + skippedTests;
  if (skippedTests > 0) skips.push(`${skippedTests} ${skippedTests === 1 ? "test" : "tests"} of ${file} by test.skip or test.only`);
  const failed = failure === undefined ? 0 : Math.max(1, total - passed);
  return { file, passed, failed, skipped, skips, milliseconds, output, ...(failure === undefined ? {} : { failure }) };
}

function slice(file: number, from: number, to: number): string {
  const start = Math.max(from, to - keptOutputBytes);
  const bytes = Buffer.alloc(Math.max(0, to - start));
  const length = readSync(file, bytes, 0, bytes.length, start);
  return `${start > from ? `(${start - from} bytes left out)\n` : ""}${bytes.toString("utf8", 0, length)}`;
}

function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === "win32") child.kill("SIGKILL");
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // Everything in the group has ended already.
  }
}
