import type { z } from "zod";

/** What every command gets: where to print, and when to stop. Only files of cli/ see it. */
export interface Cli {
  /** Folder that relative paths are read from. */
  readonly cwd: string;
  /** Results, on stdout. */
  print(text: string): void;
  /** Talk (progress, notices, what was written where), on stderr. */
  say(text: string): void;
  /** A result as JSON on stdout, checked against its documented shape first. */
  json<T>(schema: z.ZodType<T>, value: T): void;
  /** A step that may take long: shows itself on stderr once it has taken a second. */
  progress(label: string): ProgressLine;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Whether stdout takes colours (a terminal, and no NO_COLOR). */
  readonly color: boolean;
  /** Columns of the terminal that stdout is; undefined for a pipe or a file, where nothing is cut. */
  readonly width: number | undefined;
}

export interface ProgressLine {
  /** Share done, 0 to 1, and what is being done now. */
  update(share: number, detail?: string): void;
  done(): void;
}

/** The user's mistake: its message is printed without a stack, and the exit code is 1. */
export class UserError extends Error {
  override readonly name = "UserError";
}
