/**
 * Weights of a URL in the browser's Cache API, so that a second visit downloads none of them. What is kept are the reads as they were made:
 * a package makes the same ones each time. The API refuses answers to ranges, so each read is an entry of its own under an address that
 * names the URL, the version of the file, and the range.
 */

import { sha256 } from "./sha256.js";
import { changedFile, ConnectionError, fetchInTime, sameVersion, usualStall, versionOf, wholeSizeOf, type FileVersion } from "./resume.js";
import { checkRange, isObject, kindOf, reasonOf, unreadable, type WeightsSource } from "./source.js";
import type { Asking, CacheOption, OpenedUrl, UrlOptions } from "./url.js";

const usualName = "vitc-weights";
/** Of an entry: the SHA-256 of its bytes. */
const digestHeader = "X-SHA-256";

/**
 * A source that reads from the cache what it holds, and keeps the rest as it is read. Whether the file is still the one of the cache, a HEAD
 * request tells, or where the server refuses it the first bytes; entries of other versions are deleted, and all when its `forget` is called.
 *
 * @param open asks the server for the file
 * @throws as `open` does; WeightsError for a `cache` that is no option, and when the file changes meanwhile
 */
export async function openCached(url: URL, name: string, open: (asking?: Asking) => Promise<OpenedUrl>, options: UrlOptions & { readonly cache: CacheOption }): Promise<WeightsSource> {
  const { signal, onNotice: notice = () => undefined } = options;
  const kept = await KeptReads.open(url, name, cacheName(options.cache), notice);
  if (kept === undefined) return (await open()).source;
  const known = await kept.version();
  let unchanged: boolean | undefined;
  let asking: Asking = {};
  let opened: Promise<OpenedUrl> | undefined;
  let version: FileVersion;
  try {
    unchanged = known && (await isUnchanged(url, name, known, options));
    if (known !== undefined && unchanged === true) version = known;
    else {
      // The browser's HTTP cache may hold the file of before.
      if (unchanged === false) asking = { cache: "no-cache" };
      // Without a connection what is kept is used at once.
      const now = await open(known === undefined ? asking : { ...asking, opening: [] });
      // A server that says nothing of the version today could have another file tomorrow.
      if (sameVersion(now.version, now.version) === undefined) {
        if (known !== undefined) await kept.clear();
        notice(`${name} is not kept for the next visit: its server sends neither a strong ETag nor Last-Modified, or hides them from this page (CORS), so a changed file could not be told`);
        return now.source;
      }
      opened = Promise.resolve(now);
      version = known !== undefined && sameVersion(known, now.version) === true ? known : now.version;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (known === undefined || !(error instanceof ConnectionError)) throw error;
    notice(`${error.message}; what an earlier visit kept is used, ${unchanged === false ? "though the file changed since" : "unchecked"}`);
    version = known;
  }
  await kept.use(version, version === known);
  const { size = 0 } = version;
  const current = version;
  const openNow = async (): Promise<OpenedUrl> => {
    const now = await open(asking);
    if (sameVersion(current, now.version) !== true) throw changedFile(name, "it is not the one that was kept");
    return now;
  };
  return {
    name,
    size,
    read: async (offset, length, readSignal) => {
      checkRange(name, size, offset, length);
      if (length === 0) return new Uint8Array(0);
      const found = await kept.get(offset, length);
      if (found !== undefined) return found;
      const opening = (opened ??= openNow());
      // What failed once is tried again by the next read.
      opening.catch(() => {
        if (opened === opening) opened = undefined;
      });
      const bytes = await (await opening).source.read(offset, length, readSignal);
      await kept.put(offset, bytes);
      return bytes;
    },
    forget: () => {
      // What the HTTP cache holds may be what was wrong.
      [opened, asking] = [undefined, { cache: "reload" }];
      return kept.clear(current);
    },
  };
}

/** Callers may come from JavaScript. */
function cacheName(option: unknown): string {
  if (option === true) return usualName;
  if (isObject(option) && typeof option["name"] === "string" && option["name"] !== "") return option["name"];
  throw unreadable("weights", `cache is ${kindOf(option)}; it is true, false or { name } with the name of a cache, "${usualName}" unless given`);
}

/** Asks with HEAD, which brings no bytes, and unlike If-None-Match needs no preflight from another origin. Undefined where the server does not say. @throws ConnectionError when it stays silent: it would be asked for the file in vain */
async function isUnchanged(url: URL, name: string, known: FileVersion, { signal, stall = usualStall }: UrlOptions): Promise<boolean | undefined> {
  try {
    const response = await fetchInTime(url, { method: "HEAD", cache: "no-cache" }, stall, name, signal);
    return response.ok ? sameVersion(known, versionOf(response, wholeSizeOf(response))) : undefined;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ConnectionError) throw error;
    return undefined;
  }
}

type Use = "read" | "written" | "cleared";

/** What a cache holds of one URL. Whatever goes wrong with it is said once, and costs no more than the download. */
class KeptReads {
  private folder = "";
  /** What failed once and is not tried again; storage that is full (QuotaExceededError) can still be read. */
  private readonly failed = new Set<Use>();

  private constructor(
    private readonly cache: Cache,
    /** Of all entries of the URL. It goes in as a hash: an address may hold a secret, which should not stay behind. */
    private readonly root: string,
    private readonly name: string,
    private readonly notice: (text: string) => void,
  ) {}

  static async open(url: URL, name: string, cache: string, notice: (text: string) => void): Promise<KeptReads | undefined> {
    try {
      if (!("caches" in globalThis)) throw new Error("there is no Cache API here: browsers have it, on https pages and on localhost");
      const key = (await sha256(new TextEncoder().encode(url.href))).slice(0, 32);
      return new KeptReads(await caches.open(cache), `https://vitc.invalid/weights/${key}/`, name, notice);
    } catch (error) {
      notice(`${name} is not kept for the next visit: ${reasonOf(error)}`);
      return undefined;
    }
  }

  /** The version that was opened last. */
  version(): Promise<FileVersion | undefined> {
    return this.attempt("read", async () => {
      const version: unknown = await (await this.cache.match(`${this.root}version`))?.json();
      return isVersion(version) ? version : undefined;
    });
  }

  /** From now on, entries are of this version; when it is a new one, those of others are deleted. */
  async use(version: FileVersion, known: boolean): Promise<void> {
    const { size, tag = "", modified = "" } = version;
    this.folder = `${this.root}${(await sha256(new TextEncoder().encode(JSON.stringify([size, tag, modified])))).slice(0, 32)}/`;
    if (!known) await this.clear(version);
  }

  /** Deletes all entries; of this version, if one is given, there may be others. */
  async clear(version?: FileVersion): Promise<void> {
    // Where storage is full nothing is written any more, and this makes room.
    await this.attempt("cleared", async () => {
      for (const { url } of await this.cache.keys()) if (url.startsWith(this.root)) await this.cache.delete(url);
    });
    if (version) await this.attempt("written", () => this.cache.put(`${this.root}version`, Response.json(version)));
  }

  /** The bytes of a read; undefined when it was not kept, and when the entry is damaged, which deletes it. */
  get(offset: number, length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.attempt("read", async () => {
      const key = `${this.folder}${offset}-${length}`;
      const entry = await this.cache.match(key);
      if (entry === undefined) return undefined;
      const bytes = new Uint8Array(await entry.arrayBuffer());
      if (bytes.length === length && (await sha256(bytes)) === entry.headers.get(digestHeader)) return bytes;
      await this.cache.delete(key);
      return undefined;
    });
  }

  async put(offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.attempt("written", async () => {
      const headers = { "Content-Type": "application/octet-stream", [digestHeader]: await sha256(bytes) };
      await this.cache.put(`${this.folder}${offset}-${bytes.length}`, new Response(bytes, { headers }));
    });
  }

  private async attempt<T>(what: Use, work: () => Promise<T>): Promise<T | undefined> {
    if (this.failed.has(what)) return undefined;
    try {
      return await work();
    } catch (error) {
      // Several reads under way fail together.
      if (!this.failed.has(what)) this.notice(`${this.name} is kept in part or not at all for the next visit: the browser's cache cannot be ${what} (${reasonOf(error)})`);
      this.failed.add(what);
      return undefined;
    }
  }
}

const isVersion = (value: unknown): value is FileVersion => isObject(value) && Number.isSafeInteger(value["size"]) && [value["tag"], value["modified"]].every((field) => field === undefined || typeof field === "string");
