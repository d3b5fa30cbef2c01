/** Downloads that go on after the connection breaks, and how to tell that the file is still the same. */

import { WeightsError } from "./errors.js";
import { abortable, reasonOf, unreadable, withSignal, type WeightsSource } from "./source.js";

/** Milliseconds before each new try: 16 seconds in all, in which a phone changes its network or a server is started again. */
export const usualPauses: readonly number[] = [250, 500, 1000, 2000, 4000, 8000];

/** Milliseconds that a server may send nothing: longer than those of a slow disk or a busy proxy, and shorter than anybody waits. */
export const usualStall = 30_000;

/** The server could not be reached, is too busy, or the connection broke: the same request may succeed a little later. */
export class ConnectionError extends WeightsError {
  constructor(source: string, readonly what: string, cause?: unknown) {
    super([{ kind: "format", message: what }], source, cause === undefined ? undefined : { cause });
  }
}

/** What a server says of a file, as far as it says it. */
export interface FileVersion {
  readonly size: number | undefined;
  /** A strong ETag. Weak ones may differ between the servers behind one address, and stay the same though bytes differ. */
  readonly tag: string | undefined;
  /** Last-Modified. A page sees it from every origin, and the ETag only where the server exposes it. */
  readonly modified: string | undefined;
}

/** @param size of the whole file; of an answer to a range it is not its Content-Length */
export function versionOf({ headers }: Response, size: number | undefined): FileVersion {
  const tag = headers.get("ETag") ?? undefined;
  return { size, tag: tag?.startsWith('"') === true ? tag : undefined, modified: headers.get("Last-Modified") ?? undefined };
}

/** The size of a whole file, when the answer tells it and does not count compressed bytes. */
export function wholeSizeOf({ headers }: Response): number | undefined {
  const size = Number(headers.get("Content-Length") ?? NaN);
  return Number.isSafeInteger(size) && !headers.has("Content-Encoding") ? size : undefined;
}

/** Whether two answers are of the same file; undefined when neither says. */
export function sameVersion(a: FileVersion, b: FileVersion): boolean | undefined {
  if (a.size !== undefined && b.size !== undefined && a.size !== b.size) return false;
  if (a.tag !== undefined && b.tag !== undefined) return a.tag === b.tag;
  return a.modified !== undefined && b.modified !== undefined ? a.modified === b.modified : undefined;
}

/** The error of a file that is another than the one that was opened: bytes of both together would be weights of no model. */
export function changedFile(name: string, how: string): WeightsError {
  return new WeightsError([{ kind: "changed", message: `the file changed while it was read (${how}); load it again` }], name);
}

/** Drops what is kept of a file in which something is wrong. A connection that broke says nothing of what is kept, and values that do not fit little. */
export async function forgetWrong(error: unknown, source: WeightsSource): Promise<void> {
  const broke = error instanceof Error && [error, error.cause].some((each) => each instanceof ConnectionError);
  if (!broke && error instanceof WeightsError && error.problems.some(({ kind }) => kind === "format")) await source.forget?.();
}

/**
 * What is waited for, or an end of the waiting: a connection over which nothing comes is as good as broken, and nobody says so.
 *
 * @param drop lets the connection go
 * @throws ConnectionError after `stall` milliseconds, and the signal's reason when it is aborted
 */
export async function inTime<T>(waiting: Promise<T>, stall: number, name: string, drop: () => void, signal: AbortSignal | undefined): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ConnectionError(name, `the server sent nothing for ${stall / 1000} seconds`));
      drop();
    }, stall);
  });
  return Promise.race([abortable(waiting, signal), silence]).finally(() => clearTimeout(timer));
}

/**
 * `fetch`, broken off when no answer begins in time.
 *
 * @throws as `inTime` and `fetch` do
 */
export function fetchInTime(url: URL, init: RequestInit, stall: number, name: string, signal: AbortSignal | undefined): Promise<Response> {
  const silent = new AbortController();
  return inTime(fetch(url, { ...init, signal: withSignal(signal, silent) }), stall, name, () => silent.abort(), signal);
}

/** Bytes on their way: the first `count` of them are there. */
export interface Arriving {
  readonly bytes: Uint8Array<ArrayBuffer>;
  count: number;
}

/**
 * Does what a broken connection ends again and again, until it is done or has come no further in as many tries as there are pauses.
 *
 * @param work told whether this is the first try
 * @param reached how far it has come
 * @throws WeightsError for the last of the tries and for what no try mends, and the signal's reason when it is aborted
 */
export async function persist<T>(name: string, pauses: readonly number[], signal: AbortSignal | undefined, reached: () => number, work: (first: boolean) => Promise<T>): Promise<T> {
  let tries = 0;
  let before = reached();
  for (let first = true; ; first = false) {
    try {
      return await work(first);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      if (reached() > before) tries = 0;
      before = reached();
      const pause = pauses[tries++];
      if (pause === undefined) throw pauses.length === 0 ? error : unreadable(name, `${error.what}; tried again ${pauses.length} times and came no further`, error);
      let timer: ReturnType<typeof setTimeout> | undefined;
      // A pause that is over for an abort leaves no timer: Node would wait for it.
      await abortable(new Promise((wake) => (timer = setTimeout(wake, pause))), signal).finally(() => clearTimeout(timer));
    }
  }
}

/**
 * Takes the body of an answer, which begins at byte `at` of what is arriving; bytes that are there already are passed over.
 *
 * @param promised what was asked for, for messages
 * @param stall milliseconds that it may stand still
 * @param arrived called after each part
 * @throws ConnectionError when it ends early or stands still, WeightsError when it is longer than asked for, and the signal's reason when it is aborted
 */
export async function fill(arriving: Arriving, at: number, response: Response, name: string, promised: string, stall: number, signal: AbortSignal | undefined, arrived: () => void = () => undefined): Promise<void> {
  const { bytes } = arriving;
  const reader = response.body?.getReader();
  const drop = (): void => void reader?.cancel().catch(() => undefined);
  const next = async (): Promise<Uint8Array | undefined> => reader && (await inTime(reader.read(), stall, name, drop, signal)).value;
  let end = at;
  try {
    for (let part = await next(); part !== undefined; part = await next()) {
      const start = end;
      end += part.length;
      if (end > bytes.length) {
        drop();
        throw unreadable(name, `the server sent more than it was asked for: ${promised}`);
      }
      if (end <= arriving.count) continue;
      bytes.set(part.subarray(arriving.count - start), arriving.count);
      arriving.count = end;
      arrived();
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof WeightsError ? cause : new ConnectionError(name, `the connection broke after ${arriving.count} ${promised} (${reasonOf(cause)})`, cause);
  }
  // Some servers and proxies end the body in good order when they are cut off themselves.
  if (end < bytes.length) throw new ConnectionError(name, `the server sent ${arriving.count} ${promised}`);
}
