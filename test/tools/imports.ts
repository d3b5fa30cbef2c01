/** Who imports whom, read from the syntax of every source file, and held against a table of what is allowed. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import ts from "typescript";

/** Sources that share a law: a folder, or one file. */
export interface Zone {
  /** Other zones that it may import, besides itself. */
  readonly imports?: readonly string[];
  /** Zones of which it may import types alone. */
  readonly types?: readonly string[];
  /** Packages that it may import; `node:*` stands for Node's modules. */
  readonly packages?: readonly string[];
  /** Whether it may print, read arguments and exit. */
  readonly prints?: boolean;
  /** Whether it may use what only Node has. */
  readonly node?: boolean;
}

interface Import {
  readonly from: string;
  /** A path of a source, or a package's name. */
  readonly to: string;
  readonly typeOnly: boolean;
}

interface Source {
  readonly path: string;
  readonly imports: readonly Import[];
  /** Names of the process that it uses: `console`, `process.exit`, `Buffer`. */
  readonly globals: readonly string[];
}

/** Everything in the folders that breaks the laws, one sentence each, with both files of a wrong import. Zones are paths from the root. */
export function violations(root: string, folders: readonly string[], zones: Readonly<Record<string, Zone>>): string[] {
  const sources = folders.flatMap((folder) => sourcesIn(root, folder)).map((path) => readSource(root, path));
  const zoneOf = (path: string): string | undefined =>
    Object.keys(zones)
      .filter((zone) => path === zone || path.startsWith(`${zone}/`))
      .toSorted((a, b) => b.length - a.length)[0];
  const known = new Set(sources.map((source) => source.path));
  const found = sources.flatMap((source) => {
    const zone = zoneOf(source.path);
    if (zone === undefined) return [`${source.path} is in no zone of the import law: give it one`];
    const law = zones[zone]!;
    return [
      ...(/^(utils?|helpers?|misc|common)\.ts$/.test(posix.basename(source.path)) ? [`${source.path}: a file is called by what it holds`] : []),
      ...source.imports.flatMap((imported) => wrongImport(imported, zone, law, zoneOf, known)),
      ...source.globals.flatMap((name) => wrongGlobal(source.path, name, law)),
    ];
  });
  return [...found, ...cycles(sources)];
}

function wrongImport({ from, to, typeOnly }: Import, zone: string, law: Zone, zoneOf: (path: string) => string | undefined, known: ReadonlySet<string>): string[] {
  if (!to.endsWith(".ts")) {
    const allowed = (law.packages ?? []).some((name) => name === to || (name === "node:*" && to.startsWith("node:")));
    return allowed ? [] : [`${from} imports the package ${to}`];
  }
  if (!known.has(to)) return [`${from} imports ${to}, which is not there`];
  const target = zoneOf(to);
  if (target === zone || (target !== undefined && law.imports?.includes(target))) return [];
  if (target !== undefined && law.types?.includes(target)) return typeOnly ? [] : [`${from} imports more than types from ${to}`];
  return [`${from} imports ${to}`];
}

function wrongGlobal(path: string, name: string, law: Zone): string[] {
  const talk = /^(console|process\.(stdin|stdout|stderr|argv|exit|exitCode))$/.test(name);
  if (talk && !law.prints) return [`${path} uses ${name}`];
  return !talk && !law.node ? [`${path} uses ${name}, which only Node has`] : [];
}

/** Circles of imports that are evaluated. Imports of types alone are erased, so they may go round. */
function cycles(sources: readonly Source[]): string[] {
  const edges = new Map(sources.map(({ path, imports }) => [path, imports.filter((i) => !i.typeOnly).map((i) => i.to)]));
  const found: string[] = [];
  const state = new Map<string, "open" | "done">();
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === "open") found.push(`${[...trail.slice(trail.indexOf(path)), path].join(" imports ")}: a cycle`);
    if (state.has(path)) return;
    state.set(path, "open");
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, "done");
  };
  for (const path of edges.keys()) visit(path, []);
  return found;
}

function sourcesIn(root: string, folder: string): string[] {
  let entries;
  try {
    entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".d.ts"))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1).replaceAll("\\", "/"))
    .toSorted();
}

function readSource(root: string, path: string): Source {
  const file = ts.createSourceFile(path, readFileSync(join(root, path), "utf8"), ts.ScriptTarget.Latest, true);
  const imports: Import[] = [];
  const globals = new Set<string>();
  const declared = new Set<string>();
  const add = (specifier: ts.Expression | ts.TypeNode | undefined, typeOnly: boolean): void => {
    const literal = specifier && ts.isLiteralTypeNode(specifier) ? specifier.literal : specifier;
    if (literal && ts.isStringLiteralLike(literal)) imports.push({ from: path, to: resolveSpecifier(path, literal.text), typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, bringsTypesAlone(node.importClause));
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly || (node.exportClause !== undefined && ts.isNamedExports(node.exportClause) && node.exportClause.elements.every((element) => element.isTypeOnly)));
    else if (ts.isImportTypeNode(node)) add(node.argument, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], false);
    else if ((ts.isVariableDeclaration(node) || ts.isBindingElement(node) || ts.isParameter(node)) && ts.isIdentifier(node.name)) declared.add(node.name.text);
    else if (ts.isIdentifier(node)) for (const name of globalNames(node)) globals.add(name);
    ts.forEachChild(node, visit);
  };
  visit(file);
  // A file that declares a name of its own does not mean the global.
  return { path, imports, globals: [...globals].filter((name) => !declared.has(name.split(".")[0]!)) };
}

const bringsTypesAlone = (clause: ts.ImportClause | undefined): boolean =>
  clause !== undefined && (clause.isTypeOnly || (clause.name === undefined && clause.namedBindings !== undefined && ts.isNamedImports(clause.namedBindings) && clause.namedBindings.elements.every((element) => element.isTypeOnly)));

function resolveSpecifier(from: string, specifier: string): string {
  return specifier.startsWith(".") ? posix.join(dirname(from), specifier.replace(/\.js$/, ".ts")) : specifier;
}

/** What an identifier says of the process, unless it is the name of a property or of something declared. */
function globalNames(node: ts.Identifier): string[] {
  const { parent, text } = node;
  const isName = (ts.isPropertyAccessExpression(parent) && parent.name === node) || ("name" in parent && parent.name === node);
  if (isName) return [];
  if (text === "process") return [ts.isPropertyAccessExpression(parent) ? `process.${parent.name.text}` : text];
  return ["console", "Buffer", "NodeJS", "require", "__dirname", "__filename"].includes(text) ? [text] : [];
}
