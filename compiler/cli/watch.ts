import { watch as watchFolder, type FSWatcher } from "node:fs";
import { dirname, join } from "node:path";
import type { Cli } from "./context.js";
import { exitCodeOf, reportError } from "./errors.js";
import { plural } from "./format.js";

/** Editors write a file in several steps. */
const settleMilliseconds = 100;

/**
 * Runs `work` now, and again whenever one of the files that it loaded changes, until Ctrl-C, which is how a watch ends well. The user's
 * mistakes are printed and the watch goes on.
 * @param work fills the set with the files it read, also when it fails.
 * @throws what `work` throws, when it is not the user's mistake or when it failed before it knew any file.
 */
export async function watch(cli: Cli, work: (loaded: Set<string>) => Promise<void>): Promise<void> {
  const changes = new Changes(cli.signal);
  try {
    while (!cli.signal.aborted) {
      const loaded = new Set<string>();
      try {
        await work(loaded);
      } catch (error) {
        if (cli.signal.aborted) return;
        if (exitCodeOf(error) !== 1 || changes.add(loaded) === 0) throw error;
        reportError(error, cli);
      }
      cli.say(`Watching ${plural(changes.add(loaded), "file")}; Ctrl-C ends`);
      await changes.next();
    }
  } finally {
    changes.close();
  }
}

/** Changes of a growing set of files, none of them missed while nobody waits. */
class Changes {
  private readonly files = new Set<string>();
  // Folders, not files: an editor that saves by renaming leaves the watch of a file on the old one.
  private readonly folders = new Map<string, FSWatcher>();
  private timer: NodeJS.Timeout | undefined;
  private changed = false;
  private failure: Error | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly signal: AbortSignal) {
    signal.addEventListener("abort", () => this.wake?.(), { once: true });
  }

  /** Watches these files too. Returns how many are watched. */
  add(files: Iterable<string>): number {
    for (const file of files) {
      this.files.add(file);
      const folder = dirname(file);
      if (this.folders.has(folder)) continue;
      const watcher = watchFolder(folder, (_, name) => {
        if (name === null || this.files.has(join(folder, name))) this.settle();
      });
      watcher.on("error", (error) => {
        this.failure = error;
        this.wake?.();
      });
      this.folders.set(folder, watcher);
    }
    return this.files.size;
  }

  /** Waits until a file has changed since the last call and been left alone for a moment, or the signal is aborted. */
  async next(): Promise<void> {
    while (!this.changed && !this.signal.aborted) {
      if (this.failure) throw this.failure;
      await new Promise<void>((wake) => (this.wake = wake));
    }
    this.changed = false;
  }

  close(): void {
    clearTimeout(this.timer);
    for (const watcher of this.folders.values()) watcher.close();
  }

  private settle(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.changed = true;
      this.wake?.();
    }, settleMilliseconds);
  }
}
