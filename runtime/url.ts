/** Weights behind a URL. */

import { WeightsError } from "./errors.js";
import { checkRange, fromBlob, fromBytes, quote, reasonOf, unreadable, type WeightsSource } from "./source.js";

/** Asked for first: the header of most models fits, so that one request tells the size and brings the header. */
const firstRequestBytes = 64 * 1024;

/**
 * Weights at an http(s), data or blob URL, read with HTTP Range requests. When the server ignores Range, the file is downloaded once
 * and kept in memory, and a read waits until its bytes have arrived. `signal` aborts that download too.
 *
 * @throws WeightsError when the address is not usable or the server refuses, and the signal's reason when it is aborted
 */
export async function fromUrl(address: string | URL, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<WeightsSource> {
  return openUrl(parseUrl(address), firstRequestBytes, signal);
}

/** @param firstBytes how much to ask for at first: the whole file where it is to be read whole */
async function openUrl(url: URL, firstBytes: number, signal: AbortSignal | undefined): Promise<WeightsSource> {
  const name = url.protocol === "data:" ? "weights (data URL)" : url.origin === "null" ? url.href : url.origin + url.pathname;
  if (url.protocol === "data:" || url.protocol === "blob:") return { ...fromBlob(await (await request(url, name, signal)).blob()), name };

  const beside: WeightsSource["beside"] = (file, bytes, fileSignal) => openUrl(new URL(file, url), bytes, fileSignal);
  const response = await request(url, name, signal, [0, firstBytes]);
  if (response.status === 416) return fromBytes(new Uint8Array(0), name);
  if (response.status === 200) return { ...(await download(response, name, signal)), beside };
  const size = sizeOf(response);
  if (size === undefined) {
    // Another origin hides Content-Range unless it lists it in Access-Control-Expose-Headers; without it the size is unknown.
    await discard(response);
    return { ...(await download(await request(url, name, signal), name, signal)), beside };
  }
  const first = await bodyOf(response, name, 0, Math.min(size, firstBytes), signal);
  return {
    name,
    size,
    read: async (offset, length, readSignal) => {
      checkRange(name, size, offset, length);
      if (length === 0) return new Uint8Array(0);
      if (offset + length <= first.length) return first.subarray(offset, offset + length);
      const part = await request(url, name, readSignal, [offset, length]);
      const sizeNow = sizeOf(part);
      if (part.status !== 206 || sizeNow !== size || changed(response, part)) {
        await discard(part);
        throw unreadable(name, `the file changed while it was read (status ${part.status}, ${sizeNow ?? "unknown"} bytes instead of ${size}); load it again`);
      }
      return bodyOf(part, name, offset, length, readSignal);
    },
    beside,
  };
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

/** Fetches the whole URL or a range of it; every answer that brings no bytes is an error, except 416 (an empty file) to the first range. */
async function request(url: URL, name: string, signal: AbortSignal | undefined, range?: readonly [offset: number, length: number]): Promise<Response> {
  let response: Response;
  try {
    const headers: HeadersInit = range === undefined ? {} : { Range: `bytes=${range[0]}-${range[0] + range[1] - 1}` };
    response = await fetch(url, { headers, signal: signal ?? null });
  } catch (cause) {
    signal?.throwIfAborted();
    throw unreadable(name, `could not be fetched (${reasonOf(cause)}); from a page, the server must also allow this origin (CORS)`, cause);
  }
  const empty = response.status === 416 && range?.[0] === 0;
  if (response.status === 200 || (response.status === 206 && range !== undefined) || empty) return response;
  await discard(response);
  throw unreadable(name, `the server answered ${response.status} ${response.statusText}`.trimEnd() + adviceFor(response.status));
}

function adviceFor(status: number): string {
  if (status === 404 || status === 410) return ": no file is there; check the address";
  if (status === 401 || status === 403) return ": it wants credentials; download the file and pass its bytes, or pass a source whose read() sends them";
  return status === 429 || status >= 500 ? ": try again later" : "";
}

/** The whole size in `Content-Range: bytes 0-99/1234`, when the server tells. */
function sizeOf(response: Response): number | undefined {
  const total = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  return total === undefined || !Number.isSafeInteger(Number(total)) ? undefined : Number(total);
}

/** Weak tags may differ between the servers behind one address, so only strong ones tell. */
function changed(before: Response, now: Response): boolean {
  const [a, b] = [before.headers.get("ETag"), now.headers.get("ETag")];
  return a !== null && b !== null && a.startsWith('"') && b.startsWith('"') && a !== b;
}

/** The bytes of an answer to a range, never more than were asked for. */
async function bodyOf(response: Response, name: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const range = response.headers.get("Content-Range");
  if (range !== null && !range.startsWith(`bytes ${offset}-`)) {
    await discard(response);
    throw unreadable(name, `asked for bytes from ${offset}, the server sent ${quote(range)}`);
  }
  const bytes = new Uint8Array(length);
  await fill(bytes, response, name, `of ${length} bytes from byte ${offset}`, signal, () => undefined);
  return bytes;
}

/**
 * Keeps the body in memory while it arrives; a read waits until it has its bytes. Without a length, or with one that counts compressed
 * bytes, the body is awaited whole.
 */
async function download(response: Response, name: string, signal: AbortSignal | undefined): Promise<WeightsSource> {
  const size = Number(response.headers.get("Content-Length") ?? NaN);
  if (!Number.isSafeInteger(size) || response.headers.has("Content-Encoding")) {
    try {
      return fromBytes(await response.arrayBuffer(), name);
    } catch (cause) {
      signal?.throwIfAborted();
      throw unreadable(name, `the connection broke during the download (${reasonOf(cause)})`, cause);
    }
  }
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(size);
  } catch (cause) {
    await discard(response);
    throw unreadable(name, `the server ignores Range and promises ${size} bytes, more than fit in memory; use a server that supports Range`, cause);
  }
  const waiting = new Set<() => void>();
  let received = 0;
  let failure: unknown;
  const wakeAll = (): void => waiting.forEach((wake) => wake());
  fill(bytes, response, name, `of ${size} bytes`, signal, (count) => {
    received = count;
    wakeAll();
  }).catch((cause: unknown) => {
    failure = cause;
    wakeAll();
  });
  return {
    name,
    size,
    read: (offset, length) =>
      new Promise((resolve, reject) => {
        checkRange(name, size, offset, length);
        const settle = (): void => {
          if (received >= offset + length) resolve(bytes.subarray(offset, offset + length));
          else if (failure !== undefined) reject(failure);
          else return;
          waiting.delete(settle);
        };
        waiting.add(settle);
        settle();
      }),
  };
}

/** Fills `bytes` with the body, telling after each part how much has arrived. A body that is shorter or longer is an error. */
async function fill(
  bytes: Uint8Array<ArrayBuffer>,
  response: Response,
  name: string,
  promised: string,
  signal: AbortSignal | undefined,
  arrived: (count: number) => void,
): Promise<void> {
  const reader = response.body?.getReader();
  let count = 0;
  try {
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      if (count + part.value.length > bytes.length) {
        await reader?.cancel();
        throw unreadable(name, `the server sent more than it was asked for: ${promised}`);
      }
      bytes.set(part.value, count);
      count += part.value.length;
      arrived(count);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof WeightsError ? cause : unreadable(name, `the connection broke after ${count} ${promised} (${reasonOf(cause)})`, cause);
  }
  if (count < bytes.length) throw unreadable(name, `the server sent ${count} ${promised}`);
}

/** Lets the connection go when the body is of no use. A body that fails while it is dropped has no one left to tell. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}
