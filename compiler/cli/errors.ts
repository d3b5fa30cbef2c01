import { styleText } from "node:util";
import type { Cli } from "./context.js";
import { Interrupted, takesColor } from "./output.js";

/** 0 is success. */
export type ExitCode = 1 | 2 | Interrupted["exitCode"];

/** Errors that are thrown on purpose, for the user to act on. By name: a generated package or an installed vitc has classes of its own. */
const mistakes: ReadonlySet<string> = new Set([
  "UserError", "SpecError", "CheckpointError", "OutputFolderError", "StoreError", "WhereError",
  "VitcError", "AbiError", "AdapterError", "InputError", "WeightsError", "DeviceLostError", "OutOfMemoryError",
]);

/** What the machine refuses is the user's to change, wherever it happens. */
const refusals: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EMFILE", "ENFILE"]);

/** How a line on stderr that tells of an error begins. */
export const errorLabel = (): string => (takesColor(process.stderr) ? styleText(["red", "bold"], "error:", { validateStream: false }) : "error:");

/** 1 for the user's mistake, 2 for a bug of ours, 128 and the signal's number after an interrupt. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof Interrupted) return error.exitCode;
  if (!(error instanceof Error)) return 2;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  // A kernel or a recipe that the runtime finds invalid is one that the compiler should not have made.
  if (mistakes.has(error.name) && code !== "validation") return 1;
  return refusals.has(code) ? 1 : 2;
}

/** Tells the user of an error, on stderr: a mistake by its message alone, a bug with its stack and the request to report it. */
export function reportError(error: unknown, cli: Pick<Cli, "say">): ExitCode {
  const code = exitCodeOf(error);
  if (code === 1 && error instanceof Error) cli.say(`${errorLabel()} ${error.message}`);
  if (code === 2) {
    cli.say(`${errorLabel()} ${error instanceof Error ? error.message : String(error)}`);
    cli.say("This is a bug in vitc, not in what you gave it. Please report it with your spec and these lines:");
    cli.say(`  node ${process.version}, ${process.platform} ${process.arch}, vitc ${process.argv.slice(2).join(" ")}`);
    if (error instanceof Error && error.stack) cli.say(error.stack.replace(/^/gm, "  "));
  }
  return code;
}
