/**
 * The Node side of the runtime: a device of Dawn (npm `webgpu`, an optional peer), the software adapter, and files.
 * Reached through the `node` export condition, so no browser ever sees it; `web.ts` is its counterpart.
 */
import { open, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isMainThread } from "node:worker_threads";
import { adapterName, checkAdapterChoice, describeAdapter, messageOf, openDevice } from "./device.js";
import type { AdapterChoice, AdapterInfo, DeviceOptions, OpenedDevice } from "./device.js";
import { AdapterError, type WeightsError } from "./errors.js";
import { findSoftwareAdapter, hasSystemDriver, hasSystemLoader, namesOwnDriver, openLoader, resolvePackage, swiftShaderPackage } from "./node-software.js";
import { checkRange, unreadable } from "./source.js";
import type { WeightsSource } from "./source.js";

export { findSoftwareAdapter } from "./node-software.js";
export { decodeImage } from "./node-image.js";
export { tuned } from "./node-tuned.js";
export { wait } from "./node-wait.js";
export type { SoftwareAdapter } from "./node-software.js";
export type { AdapterChoice, AdapterInfo, DeviceOptions, OpenedDevice } from "./device.js";

/** The part of npm `webgpu` that is used. Its own types are not named: they would make every user of a package install it. */
interface Dawn {
  create(flags: string[]): GPU;
}

interface Found {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly info: AdapterInfo;
}

// Dawn crashes after a garbage collection that takes the object from create() while its device lives.
const owners = new WeakMap<GPUDevice, GPU>();

/**
 * A device of Dawn, without touching `globalThis`. A software adapter that stands in for a missing GPU says so in `adapter.notice`.
 * @throws AdapterError when `webgpu` cannot be loaded, when no adapter fits (with all that was tried), or when a limit or feature is not there.
 */
export async function requestDevice(options: DeviceOptions = {}): Promise<OpenedDevice> {
  const choice = options.adapter ?? "auto";
  checkAdapterChoice(choice);
  const dawn = await loadDawn();
  const flags = flagsFor(options);
  const tried: string[] = [];
  const found = await findAdapter(dawn, choice, flags, tried);
  if (found === undefined) throw new AdapterError(noAdapter(choice, tried));
  const device = await openDevice(found.adapter, options);
  owners.set(device, found.gpu);
  return { device, adapter: found.info };
}

/**
 * Dawn's flags, of which only the last of a name counts, so features are gathered in one. Without `allow_unsafe_apis` there are no subgroup
 * matrices, and without `vulkan_enable_f16_on_nvidia` no f16 on NVIDIA's GPUs.
 */
function flagsFor({ flags = [], optionalFeatures = [], requiredFeatures = [], robust = true }: DeviceOptions): string[] {
  const wanted = new Set([...optionalFeatures, ...requiredFeatures]);
  const prefix = "enable-dawn-features=";
  const features = [
    ...flags.filter((flag) => flag.startsWith(prefix)).map((flag) => flag.slice(prefix.length)),
    ...(wanted.has("chromium-experimental-subgroup-matrix") ? ["allow_unsafe_apis"] : []),
    ...(wanted.has("shader-f16") ? ["vulkan_enable_f16_on_nvidia"] : []),
    ...(robust ? [] : ["disable_robustness"]),
  ];
  return [...flags.filter((flag) => !flag.startsWith(prefix)), ...(features.length > 0 ? [prefix + features.join(",")] : [])];
}

async function findAdapter(dawn: Dawn, choice: AdapterChoice, flags: readonly string[], tried: string[]): Promise<Found | undefined> {
  switch (choice) {
    case "null":
      return ask(dawn, [...flags, "backend=null"], {}, {});
    case "gpu": {
      const found = await systemAdapter(dawn, flags, {}, tried);
      if (found?.info.software !== true) return found;
      tried.push(`this machine's only adapter is software (${adapterName(found.info)})`);
      return undefined;
    }
    case "auto": {
      const found = await systemAdapter(dawn, flags, {}, tried);
      if (found !== undefined) return found;
      const software = await swiftShader(dawn, flags, tried);
      if (software === undefined) return undefined;
      const notice = `No GPU was found, so this runs on a software adapter (${adapterName(software.info)}), where a CPU runtime such as onnxruntime's CPU provider would be faster.`;
      return { ...software, info: { ...software.info, notice } };
    }
    case "software": {
      // A driver that the user named goes first: this is how a test run under Mesa's lavapipe stays there.
      const fallback = { forceFallbackAdapter: true };
      const own = namesOwnDriver() ? await systemAdapter(dawn, flags, fallback, tried) : undefined;
      return own ?? (await swiftShader(dawn, flags, tried)) ?? (await systemAdapter(dawn, flags, fallback, tried));
    }
    default:
      return choice satisfies never;
  }
}

/** An adapter of the drivers that are installed here. */
async function systemAdapter(dawn: Dawn, flags: readonly string[], request: GPURequestAdapterOptions, tried: string[]): Promise<Found | undefined> {
  if (process.platform === "linux" && !hasSystemLoader()) {
    // Dawn would complain on stderr about the missing loader, on every call.
    if (!hasSystemDriver()) {
      tried.push("this machine has neither the Vulkan loader (libvulkan.so.1) nor a Vulkan driver");
      return undefined;
    }
    // Containers are often given a GPU's driver and no loader; the software adapter's loader works with any driver.
    const lender = await findSoftwareAdapter();
    const failure = "reason" in lender ? lender.reason : openLoader(lender.loader);
    if (failure !== undefined) {
      tried.push(`this machine has a Vulkan driver and no Vulkan loader (Debian: apt install libvulkan1), and none could be borrowed: ${failure}`);
      return undefined;
    }
  }
  const found = await ask(dawn, flags, request, {});
  if (found === undefined) tried.push(`the installed drivers offer no ${request.forceFallbackAdapter === true ? "software " : ""}adapter that Dawn accepts`);
  return found;
}

/** SwiftShader, through variables that the Vulkan loader reads. */
async function swiftShader(dawn: Dawn, flags: readonly string[], tried: string[]): Promise<Found | undefined> {
  const software = await findSoftwareAdapter();
  if ("reason" in software) {
    tried.push(software.reason);
    return undefined;
  }
  const failure = openLoader(software.loader);
  if (failure !== undefined) {
    tried.push(`the Vulkan loader of ${software.source} did not load: ${failure}`);
    return undefined;
  }
  // Loaders before 1.3.207 know only the second name.
  const found = await ask(dawn, flags, {}, { VK_DRIVER_FILES: software.icd, VK_ICD_FILENAMES: software.icd });
  if (found?.info.software === true) return found;
  const hint = isMainThread ? "" : "; this is a worker thread, whose environment is a copy that drivers do not see: start it with `env: SHARE_ENV`, or ask on the main thread";
  tried.push(found === undefined ? `${software.source} gave no adapter${hint}` : `${software.source} is not software but ${adapterName(found.info)}`);
  return undefined;
}

/** Asks a new Dawn instance for an adapter. Drivers are looked up while `requestAdapter` is called, so the variables are set no longer than that. */
async function ask(dawn: Dawn, flags: readonly string[], request: GPURequestAdapterOptions, variables: Readonly<Record<string, string>>): Promise<Found | undefined> {
  // Without a runtime folder Mesa's drivers complain on stderr.
  const quiet = process.platform === "linux" ? { XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] ?? tmpdir() } : {};
  try {
    const { gpu, answer } = withVariables({ ...quiet, ...variables }, () => {
      const instance = dawn.create([...flags]);
      return { gpu: instance, answer: instance.requestAdapter({ powerPreference: "high-performance", ...request }) };
    });
    const adapter = await answer;
    return adapter === null ? undefined : { gpu, adapter, info: describeAdapter(adapter.info) };
  } catch (cause) {
    throw new AdapterError(`Dawn refused ${flags.length === 0 ? "to start" : `the flags ${flags.join(", ")}`}: ${messageOf(cause)}`, { cause });
  }
}

/** Runs `action`, which must be synchronous, with environment variables that the rest of the process never sees. */
function withVariables<T>(variables: Readonly<Record<string, string>>, action: () => T): T {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    return action();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

async function loadDawn(): Promise<Dawn> {
  const entry = resolvePackage("webgpu");
  if (entry === undefined) throw new AdapterError("The npm package webgpu (Dawn for Node) is not installed: npm install webgpu");
  try {
    return (await import(pathToFileURL(entry).href)) as Dawn;
  } catch (cause) {
    throw new AdapterError(`The npm package webgpu is installed and did not load: ${messageOf(cause)}\n${whyDawnFails(cause)}`, { cause });
  }
}

function whyDawnFails(cause: unknown): string {
  if (cause instanceof Error && "code" in cause && cause.code === "MODULE_NOT_FOUND") {
    return `It holds binaries for Linux, macOS and Windows on x64 and arm64; this is ${process.platform} ${process.arch}. If the file should be there, install it again: npm install webgpu`;
  }
  return process.platform === "linux" ? "Its binary needs glibc 2.34 and libstdc++ with GLIBCXX_3.4.30 or newer, as Debian 12, Ubuntu 22.04 or Fedora 36 have them (Alpine's musl will not do)" : "Install it again: npm install webgpu";
}

function noAdapter(choice: AdapterChoice, tried: readonly string[]): string {
  const wanted = { auto: "No adapter", gpu: "No GPU adapter", software: "No software adapter", null: "No null adapter" }[choice];
  const ways: string[] = [];
  if (choice !== "software") ways.push("a GPU driver");
  if (choice !== "gpu" && process.platform === "linux") {
    ways.push("Mesa 25 or newer (Debian 13: apt install mesa-vulkan-drivers)");
    if (process.arch === "x64") ways.push(`SwiftShader (npm install --save-dev ${swiftShaderPackage})`);
  }
  const fix = ways.length > 0 ? `\nInstall ${ways.join(", or ")}.` : "";
  return `${wanted} was found:\n${tried.map((line) => `  - ${line}`).join("\n")}${fix} \`vitc doctor\` shows what this machine has.`;
}

// --------------------------------------------------------------------------------------------------------- files

// A read is cut into pieces so that an abort takes effect soon; 16 MiB is far above the size where the pieces would cost anything.
const pieceBytes = 16 * 2 ** 20;

/**
 * A weight file on disk. The file is opened for each read, so there is nothing to close.
 * @throws WeightsError when there is no such file, when it is not a regular file, or when it cannot be read.
 */
export async function fromPath(path: string | URL): Promise<WeightsSource> {
  if (path instanceof URL && path.protocol !== "file:") throw unreadable(path.href, "not a file: URL; fromPath reads files, and fromUrl reads http");
  const file = path instanceof URL || /^file:/i.test(path) ? fileURLToPath(path) : path;
  const size = await sizeOf(file);
  return { name: file, size, read: (offset, length, signal, into) => readRange(file, size, offset, length, signal, into), beside: (name) => fromPath(join(dirname(file), name)) };
}

async function sizeOf(file: string): Promise<number> {
  const info = await stat(file).catch((error: unknown) => {
    throw fileFault(file, error);
  });
  if (info.isDirectory()) throw unreadable(file, "this is a folder; name the weight file in it, for example model.safetensors");
  if (!info.isFile()) throw unreadable(file, "this is not a regular file");
  // Opened once now, so that a file without read permission is refused here and not in the middle of loading.
  await (await openFile(file)).close();
  return info.size;
}

async function readRange(file: string, size: number, offset: number, length: number, signal: AbortSignal | undefined, into: Uint8Array<ArrayBuffer> | undefined): Promise<Uint8Array<ArrayBuffer>> {
  signal?.throwIfAborted();
  checkRange(file, size, offset, length);
  const bytes = into ?? new Uint8Array(length);
  const handle = await openFile(file);
  try {
    for (let done = 0; done < length; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, pieceBytes), offset + done);
      if (bytesRead === 0) throw unreadable(file, `it ends after ${offset + done} bytes and had ${size} when it was opened; load again once it is written`);
      done += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

async function openFile(file: string): ReturnType<typeof open> {
  return open(file, "r").catch((error: unknown) => {
    throw fileFault(file, error);
  });
}

function fileFault(file: string, error: unknown): WeightsError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return unreadable(file, `no such file (the working directory is ${process.cwd()})`, error);
  if (code === "EACCES" || code === "EPERM") return unreadable(file, "permission to read it is denied", error);
  return unreadable(file, messageOf(error), error);
}
