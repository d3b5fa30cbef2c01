import type * as Morph from "ts-morph";
import { runtimeSources } from "./runtime-sources.js";

type TsMorph = typeof Morph;

/** ts-morph takes most of a second to load, so only emission loads it. */
export async function newProject(): Promise<{ project: Morph.Project; morph: TsMorph }> {
  const morph = await import("ts-morph");
  const manipulationSettings = { indentationText: morph.IndentationText.TwoSpaces };
  return { project: new morph.Project({ useInMemoryFileSystem: true, compilerOptions: compilerOptions(morph), manipulationSettings }), morph };
}

/** As strict as a careful user's project, so that the package compiles in theirs. */
function compilerOptions({ ts }: TsMorph): Morph.CompilerOptions {
  return {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.esnext.disposable.d.ts"],
    types: [],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noImplicitOverride: true,
    isolatedModules: true,
    isolatedDeclarations: true,
    declaration: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    paths: { "#platform": ["/package/runtime/web.ts"], "vitc/runtime/codegen": ["/package/runtime/codegen.ts"], "vitc/runtime/node": ["/package/runtime/web.ts"] },
  };
}

/**
 * Type-checks the sources of a package together with the runtime. Node's side of the runtime is left out: it needs Node's types, and the
 * browser's side has the same exports.
 * @throws Error with the first diagnostics.
 */
export function typecheck(project: Morph.Project, sources: ReadonlyMap<string, string>, shared: boolean): void {
  const runtime = shared ? [...runtimeSources()].map(([file, text]) => [`runtime/${file}`, text] as const) : [];
  for (const [path, text] of [...sources, ...runtime]) if (!/^runtime\/node/.test(path)) project.createSourceFile(`/package/${path}`, text, { overwrite: true });
  const diagnostics = project.getPreEmitDiagnostics();
  if (diagnostics.length > 0) throw new Error(`The generated package does not type-check (a bug of vitc):\n${project.formatDiagnosticsWithColorAndContext(diagnostics.slice(0, 5))}`);
}

/** What a source file becomes. */
export interface Outputs {
  readonly javascript: string;
  readonly declarations: string;
}

// The runtime is the same in every package, so a process that compiles many transpiles it once.
const transpiled = new Map<string, Outputs>();

/**
 * Source files as JavaScript and as declarations, by path. Each is taken as it stands, no import is followed, and the declarations name nothing
 * but this package and the platform's own types.
 * @throws Error if a file has no declarations without inference: a bug of ours.
 */
export function transpile(morph: TsMorph, sources: ReadonlyMap<string, string>): ReadonlyMap<string, Outputs> {
  const fresh = new Map([...sources].filter(([, text]) => !transpiled.has(text)));
  const emitted = fresh.size > 0 ? emitAll(morph, fresh) : undefined;
  const outputs = new Map<string, Outputs>();
  for (const [path, text] of sources) {
    const stem = path.slice(0, -".ts".length);
    const made = transpiled.get(text) ?? { javascript: emitted!.get(`${stem}.js`)!, declarations: emitted!.get(`${stem}.d.ts`)! };
    outputs.set(path, made);
    if (path.startsWith("runtime/")) transpiled.set(text, made);
  }
  return outputs;
}

/**
 * What `ts.transpileModule` and `ts.transpileDeclaration` make of every file, by path. Those set up a program and a type checker for each file
 * they are given, which takes several times as long as printing it; here all files share one, in which no import leads anywhere.
 */
function emitAll(morph: TsMorph, sources: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const { ts } = morph;
  const { lib: _lib, paths: _paths, ...options } = compilerOptions(morph);
  const files = new Map([...sources, [bareLibrary, bareLibraryText] as const].map(([path, text]) => [path, ts.createSourceFile(path, text, ts.ScriptTarget.ES2022)]));
  const emitted = new Map<string, string>();
  const program = ts.createProgram([...files.keys()], { ...options, noCheck: true, noLib: true, noResolve: true, suppressOutputPathCheck: true }, {
    getSourceFile: (path) => files.get(path),
    writeFile: (path, text) => void emitted.set(path, text),
    getDefaultLibFileName: () => bareLibrary,
    useCaseSensitiveFileNames: () => true,
    getCanonicalFileName: (path) => path,
    getCurrentDirectory: () => "",
    getNewLine: () => "\n",
    fileExists: (path) => files.has(path),
    readFile: (path) => files.get(path)?.text,
    resolveModuleNameLiterals: (names) => names.map(() => ({ resolvedModule: undefined })),
  });
  const [first] = program.emit().diagnostics;
  if (first) throw new Error(`${first.file?.fileName ?? "a file"} has no declarations (a bug of vitc): ${ts.flattenDiagnosticMessageText(first.messageText, "\n")}`);
  return emitted;
}

/** The types without which TypeScript's checker does not start. */
const bareLibrary = "lib.d.ts";
const bareLibraryText = ["Boolean", "Function", "CallableFunction", "NewableFunction", "IArguments", "Number", "Object", "RegExp", "String", "Array<T>"].map((name) => `interface ${name} {}\n`).join("");
