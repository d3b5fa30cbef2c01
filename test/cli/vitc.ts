/** Runs the real command line as a child process, in a folder of its own. */
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { builtMain } from "../tools/built.js";

/** A child that has not ended by then is killed, and its test fails. */
const timeoutMilliseconds = 90_000;

export interface Result {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with all of stderr so far whenever it grows, and a way to signal the child. */
  readonly onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs `vitc ARGS` to its end. */
export async function vitc(args: readonly string[], { cwd, env = {}, onStderr }: RunOptions): Promise<Result> {
  const main = await builtMain();
  const { NO_COLOR: _no, FORCE_COLOR: _force, ...inherited } = process.env;
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [main, ...args], { cwd, env: { ...inherited, ...env }, stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMilliseconds, killSignal: "SIGKILL" });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      onStderr?.(stderr, (signal) => void child.kill(signal));
    });
    child.on("error", fail);
    child.on("close", (code, signal) => done({ code, signal, stdout, stderr }));
  });
}

/** A model small enough to compile in no time. */
export const small = { name: "small", image: 32, patch: 8, dim: 32, depth: 2, heads: 2, classes: 10 };

/** The TypeScript of a spec. */
export const specText = (spec: object = small): string => `import { defineViT } from "vitc";\nexport default defineViT(${JSON.stringify(spec)});\n`;

const folders: string[] = [];
// One listener for all: Node warns of more than ten.
process.on("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A new folder with these files, removed when the process ends. */
export function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "vitc-cli-")));
  folders.push(folder);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

/** Every file below a folder, with its text and its time of modification. */
export function snapshot(folder: string): Map<string, { readonly text: string; readonly modified: number }> {
  const files = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  return new Map(files.map((entry) => join(entry.parentPath, entry.name)).sort().map((path) => [path.slice(folder.length + 1), { text: readFileSync(path, "latin1"), modified: statSync(path).mtimeMs }]));
}
