/**
 * Golden files: committed texts under test/golden that a test compares its output with. `UPDATE=1 npm test` rewrites them, and the
 * reviewer reads the difference.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";

/** Where golden files lie. */
export const goldenRoot: string = fileURLToPath(new URL("../golden", import.meta.url));

/** The paths given to `expectGolden` in this process, for `orphans`. */
export const asserted: Set<string> = new Set();

const shownLines = 8;

/**
 * Compares `text` with the golden file at `path` (relative to test/golden, with forward slashes), or writes it when UPDATE=1.
 * @throws Error showing the first lines that differ, or saying that there is no such file.
 */
export function expectGolden(path: string, text: string, root: string = goldenRoot): void {
  if (path !== posix.normalize(path) || path.startsWith("/") || path.startsWith("..")) throw new Error(`a golden file's path is plain and relative, and this is "${path}"`);
  asserted.add(path);
  const file = join(root, path);
  const golden = readOrUndefined(file);
  if (golden === text) return;
  if (process.env["UPDATE"] === "1") {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return;
  }
  if (golden === undefined) throw new Error(`test/golden/${path} does not exist: write it with UPDATE=1 npm test, and read it before you commit it`);
  throw new Error(`test/golden/${path} differs (rewrite it with UPDATE=1 npm test if the change is meant)\n${firstDifference(golden, text)}`);
}

/** Golden files under `folder` (relative to test/golden) that are not in `used`: nobody would notice if they were wrong. */
export function orphans(folder: string, used: ReadonlySet<string> = asserted, root: string = goldenRoot): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1).replaceAll("\\", "/"))
    .filter((path) => !used.has(path))
    .toSorted();
}

/** The first lines that differ, `-` in the golden file and `+` now, with the line before them. */
function firstDifference(golden: string, text: string): string {
  const [before, now] = [golden.split("\n"), text.split("\n")];
  let first = 0;
  while (first < before.length && before[first] === now[first]) first++;
  const shown = (lines: string[], sign: string): string[] => lines.slice(first, first + shownLines).map((line) => `${sign} ${line.replaceAll("\r", "\\r")}`);
  const context = first > 0 ? [`  ${before[first - 1]}`] : [];
  const counts = before.length === now.length ? [] : [`(${before.length} lines in the golden file, ${now.length} now)`];
  return [`line ${first + 1}:`, ...context, ...shown(before, "-"), ...shown(now, "+"), ...counts].join("\n");
}

function readOrUndefined(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
