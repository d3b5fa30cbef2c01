/** Which Vulkan driver runtimes find that bring a Dawn of their own, so that all compute on the same adapter. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { adapterName } from "../../../runtime/device.js";
import { findSoftwareAdapter, hasSystemLoader, namesOwnDriver } from "../../../runtime/node-software.js";
import { requestDevice } from "../../../runtime/node.js";
import type { Job, Opened } from "./runtime.js";

/** Opened in a process of its own like any runtime, to learn which adapter vitc would take. */
export async function open({ adapter: wish }: Pick<Job, "adapter">): Promise<Opened> {
  const { device, adapter } = await requestDevice({ adapter: wish });
  device.destroy();
  return { version: "", adapter: adapterName(adapter), loadMilliseconds: 0, run: () => Promise.reject(new Error("this finds an adapter and runs nothing")) };
}

/** What every child process is given: without a runtime folder Mesa's drivers complain on stderr. */
export const quiet: Readonly<Record<string, string>> = process.env["XDG_RUNTIME_DIR"] === undefined ? { XDG_RUNTIME_DIR: tmpdir() } : {};

/**
 * Environment variables with which the Vulkan loader leads others to the adapter that vitc takes, `adapter`. vitc itself needs none: it
 * brings SwiftShader and a loader where the machine has neither.
 */
export async function driverEnvironment(adapter: string): Promise<Readonly<Record<string, string>>> {
  if (process.platform !== "linux") return {};
  const software = await findSoftwareAdapter();
  if ("reason" in software) return {};
  // Loaders before 1.3.207 know only the second name.
  const driver = /swiftshader/i.test(adapter) && !namesOwnDriver() ? { VK_DRIVER_FILES: software.icd, VK_ICD_FILENAMES: software.icd } : {};
  // Dawn opens the loader by its bare name.
  const loader = hasSystemLoader() ? {} : { LD_LIBRARY_PATH: [dirname(software.loader), process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":") };
  return { ...driver, ...loader };
}

const drivers: readonly (readonly [library: RegExp, name: string])[] = [
  [/libvk_swiftshader/, "SwiftShader"],
  [/libvulkan_lvp/, "llvmpipe"],
  [/libGLX_nvidia|libnvidia-gl|libnvidia-eglcore/, "NVIDIA"],
  [/libvulkan_radeon/, "AMD (RADV)"],
  [/libvulkan_intel/, "Intel (ANV)"],
];

/** The Vulkan driver that this process has loaded, for runtimes that do not tell their adapter. */
export function loadedDriver(): string {
  if (process.platform !== "linux") return "a GPU that the runtime does not name";
  const maps = readFileSync("/proc/self/maps", "utf8");
  return drivers.find(([library]) => library.test(maps))?.[1] ?? "no Vulkan driver that is known here";
}
