import type { z } from "zod";
import type { Cli, ProgressLine } from "./context.js";

/** A step shows itself once it has taken this long. */
const progressDelayMilliseconds = 1000;
/** On a terminal the line is rewritten this often; elsewhere a line is added this often. */
const progressEveryMilliseconds = { terminal: 100, pipe: 5000 };
const terminalColumns = 80;

/** What Ctrl-C (or `kill`) makes of `Cli.signal`. `exitCode` is the shell's: 128 and the signal's number. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  constructor(readonly exitCode: (typeof interrupts)[number][1]) {
    super("interrupted");
  }
}

const interrupts = [["SIGINT", 130], ["SIGTERM", 143]] as const;

/** Whether text on this stream may be coloured: a terminal, unless NO_COLOR (https://no-color.org) is set. FORCE_COLOR colours pipes too. */
export function takesColor(stream: { readonly isTTY?: boolean }): boolean {
  if (process.env["NO_COLOR"]) return false;
  const forced = process.env["FORCE_COLOR"];
  if (forced !== undefined) return forced !== "0" && forced !== "false";
  return stream.isTTY === true && process.env["TERM"] !== "dumb";
}

/** The command line's side of the process: its streams and its interrupts. */
export function processCli(): Cli {
  let controller: AbortController | undefined;
  return {
    cwd: process.cwd(),
    color: takesColor(process.stdout),
    width: process.stdout.isTTY ? process.stdout.columns : undefined,
    print: (text) => void process.stdout.write(`${text}\n`),
    say: (text) => void process.stderr.write(`${text}\n`),
    json: <T>(schema: z.ZodType<T>, value: T) => void process.stdout.write(`${JSON.stringify(schema.parse(value), null, 2)}\n`),
    progress: progressLine,
    // Handlers are installed by the first command that asks: one that never looks at the signal is ended by Ctrl-C at once, as it should be.
    get signal() {
      controller ??= abortOnInterrupt();
      return controller.signal;
    },
  };
}

function abortOnInterrupt(): AbortController {
  const controller = new AbortController();
  for (const [name, exitCode] of interrupts) {
    process.on(name, () => {
      // The second time the user means now.
      if (controller.signal.aborted) process.exit(exitCode);
      controller.abort(new Interrupted(exitCode));
    });
  }
  return controller;
}

/**
 * Runs work that leaves nothing behind and may not come back to the event loop for long (a spec's own code, the compiler), where a handler
 * of Ctrl-C would never be called: until the work is done, Ctrl-C ends the process.
 */
export async function endedByInterrupt<T>(work: () => Promise<T>): Promise<T> {
  const handlers = interrupts.map(([name]) => [name, process.listeners(name)] as const);
  for (const [name] of handlers) process.removeAllListeners(name);
  try {
    return await work();
  } finally {
    for (const [name, listeners] of handlers) for (const listener of listeners) process.on(name, listener);
  }
}

function progressLine(label: string): ProgressLine {
  const stream = process.stderr;
  const terminal = stream.isTTY === true;
  const every = terminal ? progressEveryMilliseconds.terminal : progressEveryMilliseconds.pipe;
  let state = label;
  let shownAt: number | undefined;
  const show = (): void => {
    const now = performance.now();
    if (shownAt !== undefined && now - shownAt < every) return;
    shownAt = now;
    stream.write(terminal ? `\r\u001b[K${state.slice(0, terminalColumns - 1)}` : `${state}\n`);
  };
  const started = performance.now();
  const timer = setTimeout(show, progressDelayMilliseconds);
  return {
    update(share, detail) {
      const percent = `${Math.floor(Math.min(1, Math.max(0, share)) * 100)}%`;
      state = `${label} ${percent}${detail === undefined ? "" : ` ${detail}`}`;
      // The timer's turn may not have come yet, when steps are long and never wait.
      if (performance.now() - started >= progressDelayMilliseconds) show();
    },
    done() {
      clearTimeout(timer);
      if (terminal && shownAt !== undefined) stream.write("\r\u001b[K");
    },
  };
}
