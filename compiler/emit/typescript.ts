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
 * A source file as JavaScript and as declarations. The declarations name nothing but this package and the platform's own types.
 * @throws Error if a file has no declarations without inference: a bug of ours.
 */
export function transpile(morph: TsMorph, path: string, text: string): Outputs {
  const known = transpiled.get(text);
  if (known) return known;
  const { ts } = morph;
  const options = compilerOptions(morph);
  const javascript = ts.transpileModule(text, { fileName: path, compilerOptions: options }).outputText;
  const { outputText: declarations, diagnostics } = ts.transpileDeclaration(text, { fileName: path, compilerOptions: options, reportDiagnostics: true });
  const first = diagnostics?.[0];
  if (first) throw new Error(`${path} has no declarations (a bug of vitc): ${ts.flattenDiagnosticMessageText(first.messageText, "\n")}`);
  const outputs = { javascript, declarations };
  if (path.startsWith("runtime/")) transpiled.set(text, outputs);
  return outputs;
}
