/**
 * The suite every test file uses: uvu's, plus what the runner needs to know about skips and about tests that were written and never run.
 */
import { suite as uvuSuite, type Test } from "uvu";

// Suites that hold a test and whose run() was not called. uvu itself would exit with success.
const waiting = new Set<string>();

/** A uvu suite. Its file must call `.run()`, or the process ends with exit code 1. */
export function suite(name: string): Test {
  const test = uvuSuite(name);
  const add = (title: string, body: Parameters<Test>[1]): void => {
    waiting.add(name);
    test(title, body);
  };
  const run = (): void => {
    waiting.delete(name);
    test.run();
  };
  return Object.assign(add, test, { run });
}

/** Says on one line that a whole suite cannot run here, and why. The runner collects these lines, counts them and lists them at its end. */
export function skipAll(name: string, reason: string): void {
  console.log(`SKIP ${name}: ${reason.replaceAll(/\s+/g, " ").trim()}`);
}

/** The names of suites that forgot `.run()` since the last call. */
export function takeForgotten(): string[] {
  const names = [...waiting];
  waiting.clear();
  return names;
}

process.on("exit", () => {
  const names = takeForgotten();
  if (names.length === 0) return;
  console.error(`These suites have tests and never call .run(): ${names.join(", ")}`);
  process.exitCode = 1;
});
