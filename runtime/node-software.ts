/**
 * A software Vulkan driver for machines without a GPU: where it comes from, and how it is unpacked once into a cache folder.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, constants, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { access, lstat, mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { constants as osConstants, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createBrotliDecompress } from "node:zlib";
import { messageOf } from "./device.js";
import { userCache } from "./node-tuned.js";

/** Where a software Vulkan driver lies (its ICD manifest and the Vulkan loader to use with it), or why there is none. */
export type SoftwareAdapter = { readonly icd: string; readonly loader: string; readonly source: string } | { readonly reason: string };

/** The npm package whose `bin/` holds SwiftShader, a Vulkan loader and a headless Chromium for Linux x64. */
export const swiftShaderPackage: string = "@sparticuz/chromium@147.0.0";

const systemLoader = "libvulkan.so.1";
const icdName = "vk_swiftshader_icd.json";
const debianFolder = "/usr/lib/chromium";

/**
 * Looks for SwiftShader: in `VITC_SWIFTSHADER` (its folder or its ICD json; when set, nothing else is tried), in the npm package
 * `@sparticuz/chromium`, and where Debian's chromium keeps it. Unpacks the package's copy on the first call. Never throws.
 */
export async function findSoftwareAdapter(): Promise<SoftwareAdapter> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { reason: `the software adapter (SwiftShader) is packed for Linux x64, and this is ${process.platform} ${process.arch}` };
  }
  const named = process.env["VITC_SWIFTSHADER"];
  if (named !== undefined && named !== "") return fromVariable(resolve(named));

  const tried: string[] = [];
  const binaries = chromiumBinaries();
  if (binaries === undefined) {
    tried.push("@sparticuz/chromium is not installed");
  } else {
    try {
      const folder = await unpack("swiftshader", [{ path: join(binaries, "swiftshader.tar.br") }], [icdName, systemLoader, "libvk_swiftshader.so"]);
      return { icd: join(folder, icdName), loader: join(folder, systemLoader), source: `@sparticuz/chromium (${folder})` };
    } catch (error) {
      tried.push(`@sparticuz/chromium did not unpack: ${messageOf(error)}`);
    }
  }
  const icd = join(debianFolder, icdName);
  if (!existsSync(icd)) tried.push(`${icd} is not there`);
  else if (hasSystemLoader()) return { icd, loader: systemLoader, source: `Debian's chromium (${icd})` };
  else tried.push(`${icd} needs the Vulkan loader ${systemLoader} (Debian: apt install libvulkan1)`);
  return { reason: tried.join("; ") };
}

function fromVariable(path: string): SoftwareAdapter {
  const folder = existsSync(path) && statSync(path).isDirectory();
  const icd = folder ? join(path, icdName) : path;
  const fault = manifestFault(icd);
  if (fault !== undefined) return { reason: `VITC_SWIFTSHADER names ${path}, and ${fault}; it must be a Vulkan driver's ICD json, or a folder with ${icdName}` };
  const beside = join(dirname(icd), systemLoader);
  if (existsSync(beside)) return { icd, loader: beside, source: `VITC_SWIFTSHADER (${icd})` };
  if (hasSystemLoader()) return { icd, loader: systemLoader, source: `VITC_SWIFTSHADER (${icd})` };
  return { reason: `VITC_SWIFTSHADER names ${icd}, and there is no Vulkan loader: put ${systemLoader} beside it, or install it (Debian: apt install libvulkan1)` };
}

function manifestFault(icd: string): string | undefined {
  try {
    const manifest: unknown = JSON.parse(readFileSync(icd, "utf8"));
    return typeof manifest === "object" && manifest !== null && "ICD" in manifest ? undefined : `${icd} has no "ICD" entry`;
  } catch (error) {
    return messageOf(error);
  }
}

// ---------------------------------------------------------------------------------------------------- the loader

let systemLoaderFound: boolean | undefined;

/** Whether the system has a Vulkan loader, other than one that `openLoader` brought in. */
export function hasSystemLoader(): boolean {
  systemLoaderFound ??= openLibrary(systemLoader) === undefined;
  return systemLoaderFound;
}

/** Loads a Vulkan loader for Dawn to find. Returns why it could not be loaded, or undefined. */
export function openLoader(path: string): string | undefined {
  // Asked now, because afterwards the system's name resolves to this one.
  hasSystemLoader();
  return openLibrary(path);
}

/** Whether a Vulkan driver is installed where the loader looks by default, or named by the user. */
export function hasSystemDriver(): boolean {
  if (namesOwnDriver()) return true;
  return ["/etc", "/usr/local/share", "/usr/share"].some((root) => {
    try {
      return readdirSync(`${root}/vulkan/icd.d`).some((name) => name.endsWith(".json"));
    } catch {
      return false;
    }
  });
}

/** Whether the user chose Vulkan drivers through the loader's own variables. */
export function namesOwnDriver(): boolean {
  return Boolean(process.env["VK_DRIVER_FILES"] ?? process.env["VK_ICD_FILENAMES"]);
}

/**
 * Loads a shared library into this process for good, so that a later `dlopen` by its bare name finds it: Dawn opens `libvulkan.so.1`.
 * Returns why it could not be loaded, or undefined.
 */
function openLibrary(path: string): string | undefined {
  const noDelete = 0x1000; // RTLD_NODELETE of glibc, which Node's constants leave out: Node closes what is not an addon.
  try {
    process.dlopen({ exports: {} }, path, osConstants.dlopen.RTLD_NOW | noDelete);
    return undefined;
  } catch (error) {
    const message = messageOf(error);
    // It is loaded; it is just not a Node addon.
    return message.includes("did not self-register") ? undefined : message;
  }
}

// ----------------------------------------------------------------------------------------------------- unpacking

/** The folder with the packed binaries of `@sparticuz/chromium`, seen from this module or else from the working directory. */
export function chromiumBinaries(): string | undefined {
  const entry = resolvePackage("@sparticuz/chromium");
  if (entry === undefined) return undefined;
  // The package's `exports` hide bin/, so it is found by walking up from the entry point.
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, "bin", "swiftshader.tar.br"))) return join(folder, "bin");
  }
  return undefined;
}

/** The files from which npm packages are looked up, in this order. */
let lookups: readonly (() => string)[] = [() => import.meta.url, () => join(process.cwd(), "index.js")];

/** From now on looks npm packages up as these files would: `vitc doctor` answers for packages elsewhere. */
export function lookUpFrom(files: readonly string[]): void {
  lookups = files.map((file) => () => file);
}

/** The entry file of an npm package, seen from this module or else from the working directory (`lookUpFrom` names others). */
export function resolvePackage(name: string): string | undefined {
  for (const from of lookups) {
    try {
      return createRequire(from()).resolve(name);
    } catch {
      // Not installed as seen from here.
    }
  }
  return undefined;
}

/** A brotli-compressed tar archive, or with `file` a single compressed executable that gets this name. */
export interface Packed {
  readonly path: string;
  readonly file?: string;
}

/**
 * Unpacks archives side by side into one cache folder and returns it. The folder's name holds the sha256 of what is in it, and it appears
 * by a rename: it is whole or absent, and processes may race. `expected` are files that must be there, or the folder is made anew.
 * @throws Error when the archives cannot be read, `tar` fails, or no folder is writable.
 */
export async function unpack(name: string, archives: readonly Packed[], expected: readonly string[]): Promise<string> {
  const cache = await cacheFolder();
  const hash = createHash("sha256");
  for (const { path, file } of archives) {
    hash.update(`${file ?? "tar"}\n`);
    for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) hash.update(piece);
  }
  const folder = join(cache, `${name}-${hash.digest("hex").slice(0, 16)}`);
  const isWhole = () => expected.every((file) => existsSync(join(folder, file)));
  if (isWhole()) return folder;

  const draft = await mkdtemp(join(cache, `.${name}-`));
  try {
    for (const packed of archives) await unpackOne(packed, draft);
    await rename(draft, folder).catch(async () => {
      // Another process was faster, and its folder is as good; or a cleaner of temporary files has taken a part of an old one.
      if (isWhole()) return;
      await rm(folder, { recursive: true, force: true });
      await rename(draft, folder);
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  if (!isWhole()) throw new Error(`${archives.map((packed) => packed.path).join(", ")} should hold ${expected.join(", ")}`);
  return folder;
}

async function unpackOne(packed: Packed, folder: string): Promise<void> {
  // An archive goes through a file and not a pipe: tar stops reading at the end mark, and a broken pipe would look like a broken archive.
  const target = join(folder, packed.file ?? ".archive.tar");
  await pipeline(createReadStream(packed.path), createBrotliDecompress(), createWriteStream(target, { mode: 0o755 }));
  if (packed.file !== undefined) return;
  // The archive's user ids mean nothing here, and root's tar would apply them.
  await promisify(execFile)("tar", ["-x", "--no-same-owner", "-C", folder, "-f", target]);
  await rm(target);
}

/** The user's cache folder for this project, or a private one among the temporary files where there is no writable home. */
async function cacheFolder(): Promise<string> {
  const home = join(userCache(), "vitc");
  const user = process.getuid?.() ?? 0;
  const temporary = join(tmpdir(), `vitc-${user}`);
  const failures: string[] = [];
  for (const folder of [home, temporary]) {
    try {
      // One level at a time: Node's recursive mkdir never returns where a system refuses to make folders, as below /proc.
      await makeFolder(dirname(folder));
      await makeFolder(folder);
      await access(folder, constants.W_OK | constants.X_OK);
      // Anyone may have made a folder or link of this name in a shared temporary folder, and native code is loaded from it.
      const info = folder === temporary ? await lstat(folder) : await stat(folder);
      if (!info.isDirectory() || (folder === temporary && info.uid !== user)) throw new Error(`${folder} is not a folder of this user`);
      return folder;
    } catch (error) {
      failures.push(messageOf(error));
    }
  }
  throw new Error(`no writable cache folder: ${failures.join("; ")}; set XDG_CACHE_HOME to one`);
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  });
}
