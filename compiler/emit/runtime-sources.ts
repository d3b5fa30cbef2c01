import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of this package: the nearest one above that has its package.json, from `compiler/` as from `dist/compiler/`. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    try {
      const { name } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { name?: string };
      if (name === "vitc") return folder;
    } catch {
      // No package.json here: look further up.
    }
    const parent = dirname(folder);
    if (parent === folder) throw new Error("vitc cannot find its own package.json");
    folder = parent;
  }
}

let cached: ReadonlyMap<string, string> | undefined;

/**
 * The sources of the runtime that a self-contained package carries: whatever the generated code's doors reach by their imports, by file name.
 * They are shipped as TypeScript, so that a package's .ts, .js and .d.ts come from the same text.
 */
export function runtimeSources(): ReadonlyMap<string, string> {
  if (cached) return cached;
  const folder = join(packageRoot(), "runtime");
  const sources = new Map<string, string>();
  const visit = (file: string): void => {
    if (sources.has(file)) return;
    const text = readFileSync(join(folder, file), "utf8");
    sources.set(file, text);
    for (const [, imported] of text.matchAll(/(?:from|import)\s*\(?\s*"\.\/([\w-]+)\.js"/g)) visit(`${imported}.ts`);
  };
  for (const door of ["codegen.ts", "node.ts", "web.ts"]) visit(door);
  cached = new Map([...sources].sort(([a], [b]) => (a < b ? -1 : 1)));
  return cached;
}
