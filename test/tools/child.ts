/**
 * The process that runs test files, one after another: `node --import tsx child.ts FILE...`, started by run.ts with an IPC channel and with
 * its output going to a file. It reports where each suite's output begins and ends in that file, so the runner can tell them apart
 * even after a crash.
 */
import { fstatSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** What the child tells the runner. `at` is a byte offset in the output file. */
export type ChildMessage =
  | { readonly kind: "begin"; readonly file: string; readonly at: number }
  | { readonly kind: "end"; readonly file: string; readonly at: number; readonly failure?: string };

declare global {
  // uvu's queue is its only interface for a runner. A defined UVU_DEFER leaves the start of the tests to exec().
  var UVU_DEFER: number | undefined;
  var UVU_INDEX: number | undefined;
  var UVU_QUEUE: unknown[][];
}

globalThis.UVU_DEFER = 1;
globalThis.UVU_INDEX = 0;
const { exec } = await import("uvu");
const { takeForgotten } = await import("./suite.js");

for (const file of process.argv.slice(2)) {
  await tell({ kind: "begin", file, at: outputBytes() });
  const failure = await runFile(file);
  await tell({ kind: "end", file, at: outputBytes(), ...(failure === undefined ? {} : { failure }) });
}
// The runner reads each suite's result from its messages and output; uvu's own exit code holds only the last one.
process.exitCode = 0;
process.disconnect();

async function runFile(file: string): Promise<string | undefined> {
  process.exitCode = 0;
  globalThis.UVU_QUEUE.length = 0;
  globalThis.UVU_QUEUE.push([null]);
  try {
    await import(pathToFileURL(file).href);
    await exec();
  } catch (error) {
    console.error(error);
    return "it threw outside of a test";
  }
  const forgotten = takeForgotten();
  if (forgotten.length > 0) return `.run() is missing for ${forgotten.join(", ")}`;
  return process.exitCode === 0 ? undefined : "a test failed";
}

/** Sends a message and waits until it is on its way: a crash right after must not swallow it. */
function tell(message: ChildMessage): Promise<void> {
  return new Promise((done, fail) => {
    if (process.send === undefined) throw new Error("child.ts is started by run.ts: use npm test");
    process.send(message, (error: Error | null) => (error === null ? done() : fail(error)));
  });
}

/** Output is a file, where writes are synchronous and in order, so its size is the place the next line goes. */
function outputBytes(): number {
  return fstatSync(1).size;
}
