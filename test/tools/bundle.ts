/** What a page downloads: a module and all that it reaches, as a bundler leaves it, compressed as a server sends it. */
import { gzipSync } from "node:zlib";
import { build, type Metafile } from "esbuild";

export interface Download {
  /** Bytes (gzip -9) of what is there before anything runs: the module and its static imports. */
  readonly first: number;
  /** Bytes of all chunks, with those that are imported when they are needed. */
  readonly all: number;
  /** Bytes of the first download and of the chunks that hold these modules, named by the end of their path. */
  with(...modules: readonly string[]): number;
}

/** Bundles a module for browsers, minified and split, and weighs the chunks. */
export async function weigh(entry: string): Promise<Download> {
  const { outputFiles, metafile } = await build({ entryPoints: [entry], bundle: true, minify: true, splitting: true, format: "esm", platform: "browser", target: "es2022", outdir: "/", write: false, metafile: true, logLevel: "silent" });
  const bytes = new Map(outputFiles.map(({ path, contents }) => [path.slice(path.lastIndexOf("/") + 1), gzipSync(contents, { level: 9 }).length]));
  const chunks = new Map(Object.entries(metafile.outputs).map(([path, chunk]) => [path.slice(path.lastIndexOf("/") + 1), chunk]));
  const [main] = [...chunks].find(([, { entryPoint }]) => entryPoint !== undefined && entry.endsWith(entryPoint.replace(/^(\.\.\/)+/, "")))!;
  const weight = (names: Iterable<string>): number => [...names].reduce((sum, name) => sum + bytes.get(name)!, 0);
  const first = reached(chunks, [main]);
  const holding = (module: string): string => {
    const found = [...chunks].find(([, { inputs }]) => Object.keys(inputs).some((path) => path.endsWith(module)));
    if (found === undefined) throw new Error(`no chunk holds ${module}`);
    return found[0];
  };
  return { first: weight(first), all: weight(bytes.keys()), with: (...modules) => weight(reached(chunks, [main, ...modules.map(holding)])) };
}

/** Chunks and what they import at once. */
function reached(chunks: ReadonlyMap<string, Metafile["outputs"][string]>, names: readonly string[], found = new Set<string>()): ReadonlySet<string> {
  for (const name of names) {
    if (found.has(name)) continue;
    found.add(name);
    const imports = chunks.get(name)!.imports.filter(({ kind, external }) => kind === "import-statement" && external !== true);
    reached(chunks, imports.map(({ path }) => path.slice(path.lastIndexOf("/") + 1)), found);
  }
  return found;
}
