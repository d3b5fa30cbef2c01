/**
 * What `node.ts` is in Node, in a browser: the same names, reached through the `default` export condition.
 */
import { requestBrowserDevice } from "./device.js";
import type { ImagePixels } from "./image.js";
import type { Tuned } from "./plan.js";
import { unreadable, type WeightsSource } from "./source.js";
import type { EncodedImage } from "./tensor.js";
import { decodeImage as decodeOn } from "./web-image.js";

export { requestBrowserDevice as requestDevice } from "./device.js";
export type { AdapterChoice, AdapterInfo, DeviceOptions, OpenedDevice } from "./device.js";

/** Where a software Vulkan driver lies, or why there is none. */
export type SoftwareAdapter = { readonly icd: string; readonly loader: string; readonly source: string } | { readonly reason: string };

/** A browser brings its own software adapter or none: there is no driver to look for. */
export function findSoftwareAdapter(): Promise<SoftwareAdapter> {
  return Promise.resolve({ reason: 'a browser chooses its own drivers; ask requestDevice for adapter: "software"' });
}

/**
 * Node only.
 * @throws WeightsError always.
 */
export function fromPath(path: string | URL): Promise<WeightsSource> {
  return Promise.reject(unreadable(String(path), "fromPath reads files and works in Node only; in a browser use fromUrl, or fromBlob with a chosen file"));
}

/**
 * Decodes a photograph as a model does that is given one, on a device of its own.
 * @throws InputError, AdapterError
 */
export async function decodeImage(source: EncodedImage): Promise<ImagePixels> {
  const { device } = await requestBrowserDevice();
  try {
    return await decodeOn(source, device);
  } finally {
    device.destroy();
  }
}

/** A browser waits for its GPU process by itself. */
export const wait = <T>(work: Promise<T>): Promise<T> => work;

/** `vitc tune` leaves what it measured in a folder of the user's, which no page sees; a package may carry its own. */
export function tuned(_fingerprint: string): Promise<Tuned[]> {
  return Promise.resolve([]);
}
