/** What users give as weights, as a source of bytes. */

import { fromBlob, fromBytes, kindOf, quote, unreadable, type WeightsSource } from "./source.js";
import type { UrlOptions } from "./url.js";

/** What can be loaded as weights. A string is an http(s), data or blob URL. */
export type WeightsInput = ArrayBuffer | Uint8Array | Blob | URL | string | WeightsSource;

/**
 * The source behind whatever the user gave: bytes, a Blob, a URL, or an object that is a source already. The options are for URLs.
 *
 * @throws WeightsError when the value is none of these or the URL cannot be read, and the signal's reason when it is aborted
 */
export async function toSource(input: WeightsInput, options: UrlOptions = {}): Promise<WeightsSource> {
  const value: unknown = input;
  if (value instanceof ArrayBuffer || value instanceof Uint8Array) return fromBytes(value);
  if (value instanceof Blob) return fromBlob(value);
  if (value instanceof URL || (typeof value === "string" && /^(https?|data|blob):/i.test(value))) return (await import("./url.js")).fromUrl(value, options);
  if (typeof value === "string") {
    const text = quote(value);
    throw unreadable("weights", `${text} is not a URL. Paths work in Node: pass fromPath(${text}). In a browser pass new URL(${text}, location.href), a File or the bytes`);
  }
  if (isSource(value)) return value;
  throw unreadable("weights", `expected bytes (ArrayBuffer or Uint8Array), a Blob, a URL or a source {name, size, read}, got ${kindOf(value)}`);
}

function isSource(value: unknown): value is WeightsSource {
  if (typeof value !== "object" || value === null || !("name" in value && "size" in value && "read" in value)) return false;
  const { name, size, read } = value;
  return typeof name === "string" && typeof size === "number" && Number.isSafeInteger(size) && size >= 0 && typeof read === "function";
}
