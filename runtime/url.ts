/** Weights behind a URL. */

import { changedFile, ConnectionError, fetchInTime, fill, inTime, persist, sameVersion, usualPauses, usualStall, versionOf, wholeSizeOf, type Arriving, type FileVersion } from "./resume.js";
import { checkRange, fromBlob, fromBytes, quote, reasonOf, unreadable, type WeightsSource } from "./source.js";

/** Asked for first: the header of most models fits, so that one request tells the size and brings the header. */
const firstRequestBytes = 64 * 1024;
/** Tries to reach a file that the user named: a wrong address, which looks like a broken connection, is told after 2 seconds, or 2 minutes where nobody answers (four stalls). */
const namedTries = 3;

/** How the browser keeps weights; see `LoadOptions.cache` of a model. */
export type CacheOption = boolean | { readonly name: string };

export interface UrlOptions {
  /** Stops reads, and a download that goes on behind them. */
  readonly signal?: AbortSignal | undefined;
  /** Keep what is read in the browser's Cache API, by default (true) in the cache "vitc-weights". Default: false. */
  readonly cache?: CacheOption | undefined;
  /** Milliseconds before each try to go on after a connection broke, counted anew when bytes arrive. Default: six, 16 seconds in all; [] gives up at once. The first request of a file that was named makes use of three alone (1.75 seconds). */
  readonly pauses?: readonly number[] | undefined;
  /** Milliseconds that the server may send nothing before the connection counts as broken. Default: 30,000. */
  readonly stall?: number | undefined;
  /** Told why weights are not kept, or kept ones are not checked. */
  readonly onNotice?: ((text: string) => void) | undefined;
}

/** A file that a server gave the first bytes of. */
export interface OpenedUrl {
  readonly source: WeightsSource;
  readonly version: FileVersion;
}

/** How a server is asked for a file. */
export interface Asking {
  /** Milliseconds before each try to get the first answer, as `UrlOptions.pauses`. */
  readonly opening?: readonly number[];
  /** What the browser's HTTP cache may answer. */
  readonly cache?: RequestCache;
}

/**
 * Weights at an http(s), data or blob URL, read with HTTP Range requests. When the server ignores Range, the file is downloaded once
 * and kept in memory, and a read waits until its bytes have arrived. A connection that breaks, or stands still for 30 seconds, is made again and goes on where it stopped; a file
 * that is another by then (ETag, Last-Modified, size) is an error. `signal` aborts all of it.
 *
 * @throws WeightsError when the address is not usable, the server refuses or the file changed, and the signal's reason when it is aborted
 */
export async function fromUrl(address: string | URL, options: UrlOptions = {}): Promise<WeightsSource> {
  return openUrl(parseUrl(address), firstRequestBytes, options, (options.pauses ?? usualPauses).slice(0, namedTries));
}

/** @param firstBytes how much to ask for at first: the whole file where it is to be read whole */
async function openUrl(url: URL, firstBytes: number, options: UrlOptions, opening: readonly number[]): Promise<WeightsSource> {
  const { signal, cache = false, stall = usualStall } = options;
  const name = url.protocol === "data:" ? "weights (data URL)" : url.origin === "null" ? url.href : url.origin + url.pathname;
  if (url.protocol === "data:" || url.protocol === "blob:") return { ...fromBlob(await (await request(url, name, stall, signal, {})).blob()), name };

  const beside: WeightsSource["beside"] = (file, bytes, fileSignal) => openUrl(new URL(file, url), bytes, { ...options, signal: fileSignal }, options.pauses ?? usualPauses);
  const open = (asking?: Asking): Promise<OpenedUrl> => openHttp(url, name, firstBytes, options, { opening, ...asking });
  const source = cache === false ? (await open()).source : await (await import("./url-cache.js")).openCached(url, name, open, { ...options, cache });
  return { ...source, beside };
}

/** Asks for the first bytes, and reads the rest as the server allows. */
async function openHttp(url: URL, name: string, firstBytes: number, { signal, pauses = usualPauses, stall = usualStall }: UrlOptions, { opening = pauses, cache = "default" }: Asking): Promise<OpenedUrl> {
  const ask: Ask = (askSignal, range) => request(url, name, stall, askSignal, { cache }, range);
  const askFirst = (range?: AskedRange): Promise<Response> => persist(name, opening, signal, () => 0, () => ask(signal, range));
  const response = await askFirst([0, firstBytes]);
  if (response.status === 416) return { source: fromBytes(new Uint8Array(0), name), version: versionOf(response, 0) };
  if (response.status === 200) return download(ask, response, name, { pauses, stall, signal });
  const size = sizeOf(response);
  if (size === undefined) {
    // Another origin hides Content-Range unless it lists it in Access-Control-Expose-Headers; without it the size is unknown.
    await discard(response);
    return download(ask, await askFirst(), name, { pauses, stall, signal });
  }
  const version = versionOf(response, size);

  const readRange = async (offset: number, bytes: Uint8Array<ArrayBuffer>, readSignal: AbortSignal | undefined, answer?: Response): Promise<Uint8Array<ArrayBuffer>> => {
    const { length } = bytes;
    const arriving: Arriving = { bytes, count: 0 };
    await persist(name, pauses, readSignal, () => arriving.count, async (first) => {
      const from = offset + arriving.count;
      // No If-Range: from another origin it needs a preflight that many servers refuse, and each answer tells by itself which file it is of.
      const part = (first ? answer : undefined) ?? (await ask(readSignal, [from, length - arriving.count]));
      const sizeNow = sizeOf(part);
      if (part.status !== 206 || sizeNow !== size || sameVersion(version, versionOf(part, size)) === false) {
        await discard(part);
        throw changedFile(name, `status ${part.status}, ${sizeNow === size ? "the same size, another ETag or date" : `${sizeNow ?? "unknown"} bytes instead of ${size}`}`);
      }
      const range = part.headers.get("Content-Range");
      if (range?.startsWith(`bytes ${from}-`) !== true) {
        await discard(part);
        throw unreadable(name, `asked for bytes from ${from}, the server sent ${quote(range ?? "none")}`);
      }
      await fill(arriving, arriving.count, part, name, `of ${length} bytes from byte ${offset}`, stall, readSignal);
    });
    return bytes;
  };

  const first = await readRange(0, new Uint8Array(Math.min(size, firstBytes)), signal, response);
  const source: WeightsSource = {
    name,
    size,
    read: async (offset, length, readSignal, into) => {
      checkRange(name, size, offset, length);
      if (length === 0) return new Uint8Array(0);
      if (offset + length <= first.length) return first.subarray(offset, offset + length);
      return readRange(offset, into ?? new Uint8Array(length), readSignal);
    },
  };
  return { source, version };
}

function parseUrl(address: string | URL): URL {
  let url: URL;
  try {
    url = new URL(address);
  } catch (cause) {
    throw unreadable("weights", `${quote(String(address))} is not a complete URL`, cause);
  }
  if (url.protocol === "file:") throw unreadable(url.href, "file URLs work in Node, through the Node entry of the package; in a browser pass a File or the bytes");
  if (!/^(https?|data|blob):$/.test(url.protocol)) throw unreadable(url.protocol, "expected an http, https, data or blob URL");
  if (url.username !== "" || url.password !== "") {
    throw unreadable(url.origin + url.pathname, "fetch refuses addresses with a user name or password; pass a source whose read() sends the header that the server wants");
  }
  return url;
}

type AskedRange = readonly [offset: number, length: number];
type Ask = (signal: AbortSignal | undefined, range?: AskedRange) => Promise<Response>;

/** Fetches the whole URL or a range of it; every answer that brings no bytes is an error, except 416: an empty file, or one that is shorter now. */
async function request(url: URL, name: string, stall: number, signal: AbortSignal | undefined, init: RequestInit, range?: AskedRange): Promise<Response> {
  let response: Response;
  try {
    const headers: HeadersInit = range === undefined ? {} : { Range: `bytes=${range[0]}-${range[0] + range[1] - 1}` };
    response = await fetchInTime(url, { ...init, headers }, stall, name, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof ConnectionError) throw cause;
    throw new ConnectionError(name, `could not be fetched (${reasonOf(cause)}); from a page, the server must also allow this origin (CORS)`, cause);
  }
  const { status } = response;
  if (status === 200 || ((status === 206 || status === 416) && range !== undefined)) return response;
  await discard(response);
  const what = `the server answered ${status} ${response.statusText}`.trimEnd() + adviceFor(status);
  throw isBusy(status) ? new ConnectionError(name, what) : unreadable(name, what);
}

function adviceFor(status: number): string {
  if (status === 404 || status === 410) return ": no file is there; check the address";
  if (status === 401 || status === 403) return ": it wants credentials; download the file and pass its bytes, or pass a source whose read() sends them";
  return isBusy(status) ? ": try again later" : "";
}

const isBusy = (status: number): boolean => status === 429 || status >= 500;

/** The whole size in `Content-Range: bytes 0-99/1234`, when the server tells. */
function sizeOf(response: Response): number | undefined {
  const total = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  return total === undefined || !Number.isSafeInteger(Number(total)) ? undefined : Number(total);
}

/**
 * Keeps the body in memory while it arrives; a read waits until it has its bytes. Without a length, or with one that counts compressed
 * bytes, the body is awaited whole. After the connection broke it is sent from the start, and what is here already is passed over.
 */
async function download(ask: Ask, response: Response, name: string, { pauses, stall, signal }: { readonly pauses: readonly number[]; readonly stall: number; readonly signal: AbortSignal | undefined }): Promise<OpenedUrl> {
  const size = wholeSizeOf(response);
  const version = versionOf(response, size);
  const answer = async (first: boolean): Promise<Response> => {
    if (first) return response;
    const again = await ask(signal);
    const sizeNow = wholeSizeOf(again);
    if (sizeNow === size && sameVersion(version, versionOf(again, sizeNow)) !== false) return again;
    await discard(again);
    throw changedFile(name, sizeNow === size ? "the same size, another ETag or date" : `${sizeNow ?? "unknown"} bytes instead of ${size ?? "unknown"}`);
  };
  if (size === undefined) {
    const all = await persist(name, pauses, signal, () => 0, async (first) => {
      const body = await answer(first);
      try {
        return await wholeBody(body, name, stall, signal);
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof ConnectionError) throw cause;
        throw new ConnectionError(name, `the connection broke during the download (${reasonOf(cause)})`, cause);
      }
    });
    return { source: fromBytes(all, name), version: { ...version, size: all.byteLength } };
  }
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(size);
  } catch (cause) {
    await discard(response);
    throw unreadable(name, `the server ignores Range and promises ${size} bytes, more than fit in memory; use a server that supports Range`, cause);
  }
  const arriving: Arriving = { bytes, count: 0 };
  const waiting = new Set<() => void>();
  let failure: unknown;
  const wakeAll = (): void => waiting.forEach((wake) => wake());
  persist(name, pauses, signal, () => arriving.count, async (first) => fill(arriving, 0, await answer(first), name, `of ${size} bytes`, stall, signal, wakeAll)).catch((cause: unknown) => {
    failure = cause;
    wakeAll();
  });
  const read: WeightsSource["read"] = (offset, length) =>
    new Promise((resolve, reject) => {
      checkRange(name, size, offset, length);
      const settle = (): void => {
        if (arriving.count >= offset + length) resolve(bytes.subarray(offset, offset + length));
        else if (failure !== undefined) reject(failure);
        else return;
        waiting.delete(settle);
      };
      waiting.add(settle);
      settle();
    });
  return { source: { name, size, read }, version };
}

/** A body whose length nobody told. */
async function wholeBody({ body }: Response, name: string, stall: number, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const reader = body?.getReader();
  const next = async (): Promise<Uint8Array<ArrayBuffer> | undefined> => reader && (await inTime(reader.read(), stall, name, () => void reader.cancel().catch(() => undefined), signal)).value;
  for (let part = await next(); part !== undefined; part = await next()) parts.push(part);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Lets the connection go when the body is of no use. A body that fails while it is dropped has no one left to tell. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}
