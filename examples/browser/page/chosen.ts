/** Packages from a folder of the user's: their modules go to the service worker, their weights stay files. */
import type { Chosen } from "../messages.js";

/** What a choice came to: a package, perhaps one whose weights are still to be chosen. */
export type ChosenPackage = Chosen;

const cachePrefix = "vitc-page-package-";
const oldAfter = 24 * 60 * 60 * 1000;

interface Provenance {
  readonly sharedRuntime?: boolean;
  readonly files?: readonly string[];
}

/**
 * Makes a folder that `vitc compile` wrote importable.
 * @throws Error saying what the folder lacks, for a person
 */
export async function chooseFolder(files: readonly File[]): Promise<Chosen> {
  // `my-vit/kernels/a.js`: the first part is the chosen folder itself.
  const inFolder = new Map(files.map((file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]));
  const folder = files[0]?.webkitRelativePath.split("/")[0] ?? "the folder";
  const manifest = inFolder.get("package.json");
  const { name, vitc } = await readManifest(manifest, folder);
  if (vitc.sharedRuntime === true) throw new Error(`${folder} was compiled with --shared-runtime, so its runtime is not in it: compile it without, then choose it again`);
  const modules = (vitc.files ?? []).filter((path) => path.endsWith(".js") || path === "spec.json");
  const missing = modules.filter((path) => !inFolder.has(path));
  if (missing.length > 0) throw new Error(`${folder} lacks ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ` and ${missing.length - 3} more` : ""} of the files that vitc wrote: compile it again`);
  const address = await serveModules(modules.map((path) => [path, inFolder.get(path)!] as const));
  return { kind: "chosen", name: name ?? folder, address, weights: weightsAmong(inFolder) };
}

async function readManifest(manifest: File | undefined, folder: string): Promise<{ readonly name: string | undefined; readonly vitc: Provenance }> {
  const refused = new Error(`${folder} is no package of vitc: choose the folder that vitc compile wrote, with its package.json and index.js`);
  if (manifest === undefined) throw refused;
  try {
    const { name, vitc } = JSON.parse(await manifest.text()) as { readonly name?: unknown; readonly vitc?: unknown };
    if (typeof vitc !== "object" || vitc === null) throw refused;
    return { name: typeof name === "string" ? name : undefined, vitc };
  } catch {
    throw refused;
  }
}

/** The weight file of a folder, then those beside it: packed weights before lists of shards before single files. */
export function weightsAmong(files: ReadonlyMap<string, File>): readonly File[] {
  const paths = [...files.keys()];
  const single = paths.filter((path) => path.endsWith(".safetensors") && !path.includes("/"));
  const first = paths.find((path) => /(^|\/)weights\.json$/.test(path)) ?? paths.find((path) => path.endsWith(".safetensors.index.json")) ?? single.find((path) => path === "model.safetensors") ?? (single.length === 1 ? single[0] : undefined);
  if (first === undefined) return [];
  const folder = first.slice(0, first.lastIndexOf("/") + 1);
  const beside = paths.filter((path) => path !== first && path.startsWith(folder) && !path.slice(folder.length).includes("/") && /\.(safetensors|bin)$/.test(path));
  return [first, ...beside].map((path) => files.get(path)!);
}

/** Weights that were chosen by themselves: a list of others, if there is one, goes first. */
export function orderWeights(files: readonly File[]): readonly File[] {
  return files.toSorted((a, b) => Number(b.name.endsWith(".json")) - Number(a.name.endsWith(".json")));
}

async function serveModules(modules: readonly (readonly [path: string, file: File])[]): Promise<string> {
  if (!("serviceWorker" in navigator)) throw new Error("this browser window has no service workers, which chosen packages need: leave private browsing, or serve the page from https or localhost");
  await navigator.serviceWorker.register(new URL("service-worker.js", document.baseURI));
  await navigator.serviceWorker.ready;
  await forgetOld();
  const id = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const address = new URL(`chosen/${id}/`, document.baseURI).href;
  const cache = await caches.open(`${cachePrefix}${id}`);
  // A page that is kept for going back (persisted) comes back with its package; if it never does, forgetOld clears up.
  addEventListener("pagehide", ({ persisted }) => void (persisted || caches.delete(`${cachePrefix}${id}`)));
  await Promise.all(modules.map(async ([path, file]) => cache.put(`${address}${path}`, new Response(await file.text(), { headers: { "content-type": path.endsWith(".json") ? "application/json" : "text/javascript" } }))));
  return address;
}

/** Modules of pages that ended without a word. */
async function forgetOld(): Promise<void> {
  for (const name of await caches.keys()) {
    if (!name.startsWith(cachePrefix)) continue;
    const made = Number(name.slice(cachePrefix.length).split("-")[0]);
    if (!(Date.now() - made < oldAfter)) await caches.delete(name);
  }
}
