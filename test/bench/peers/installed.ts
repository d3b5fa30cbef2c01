/** The peers' npm packages, which are installed apart from vitc's own: `npm --prefix test/bench ci`. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const modules = fileURLToPath(new URL("../node_modules", import.meta.url));

/**
 * The folder of a peer's package. `inside`: the package whose own copy is meant, where there is one.
 * @throws Error naming the command that installs it.
 */
export function packageFolder(name: string, { inside }: { readonly inside?: string } = {}): string {
  const own = inside === undefined ? undefined : join(modules, inside, "node_modules", name);
  const folder = own !== undefined && existsSync(own) ? own : join(modules, name);
  if (!existsSync(folder)) throw new Error(`${name} is not installed; npm --prefix test/bench ci installs it`);
  return folder;
}

export function packageVersion(name: string): string {
  return (JSON.parse(readFileSync(join(packageFolder(name), "package.json"), "utf8")) as { readonly version: string }).version;
}

/**
 * Imports a peer's package as `Module`, the part of it that is used: its own types are there only when it is installed.
 * @throws Error naming the command that installs it, or what importing it throws.
 */
export async function importPeer<Module>(name: string): Promise<Module> {
  packageFolder(name);
  const module = (await import(name)) as Module & { readonly default?: Module };
  // A CommonJS module whose exports Node cannot see is all in its default export.
  return module.default ?? module;
}

/** The version of npm `webgpu`, Dawn for Node, which vitc and some peers run on. */
export function webgpuVersion(): string {
  const manifest = join(dirname(fileURLToPath(import.meta.resolve("webgpu"))), "package.json");
  return (JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string }).version;
}

/** npm `webgpu` as a page's `navigator.gpu`, for libraries that were written for pages. */
export async function provideNavigatorGpu(): Promise<void> {
  const { create, globals } = (await import("webgpu")) as { create(flags: string[]): GPU; readonly globals: object };
  Object.assign(globalThis, globals);
  const gpu = create([]);
  // Node has a navigator from version 21 on, and its properties cannot be assigned.
  if (!("navigator" in globalThis)) Object.defineProperty(globalThis, "navigator", { value: { userAgent: `Node.js/${process.versions.node}`, hardwareConcurrency: 1 }, configurable: true });
  // The global keeps the object alive: Dawn crashes once it is collected.
  Object.defineProperty(globalThis.navigator, "gpu", { value: gpu, configurable: true });
}

/** The adapter that a page's code is given, by its most telling name. */
export async function navigatorAdapterName(): Promise<string> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("Dawn finds no adapter");
  const { description, vendor, architecture, device } = adapter.info;
  return description || [vendor, architecture, device].filter((part) => part !== "").join(" ");
}
