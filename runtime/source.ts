/** Where weights come from: anything that can hand out byte ranges. Paths of files are read by `node.ts`, with the same interface. */

import { WeightsError } from "./errors.js";

/** A weight file behind a reader of byte ranges. */
export interface WeightsSource {
  /** What messages call it: a file name or an address. */
  readonly name: string;
  /** Bytes of the whole file. */
  readonly size: number;
  /**
   * Reads exactly `length` bytes from byte `offset`. The result may be a view of memory the source keeps: do not write to it. Or the bytes are put
   * `into` what is given, of that length, which is then the result: who reads much gives the same memory again.
   *
   * @throws WeightsError when the bytes cannot be had, and the signal's reason when it is aborted
   */
  read(offset: number, length: number, signal?: AbortSignal, into?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * A file beside this one, of which the first `bytes` bytes are wanted first. Weights in several files need it, for those that a list names.
   *
   * @throws WeightsError when there is no such file, and the signal's reason when it is aborted
   */
  readonly beside?: (file: string, bytes: number, signal?: AbortSignal) => Promise<WeightsSource>;
  /** Called when bytes were found to be wrong: what is kept of the file is dropped, so that a next read takes them from where they came from. */
  readonly forget?: () => Promise<void>;
}

/** A WeightsError about the file as a whole. */
export function unreadable(source: string, message: string, cause?: unknown): WeightsError {
  return new WeightsError([{ kind: "format", message }], source, cause === undefined ? undefined : { cause });
}

/** Weights that are in memory already. The bytes are not copied: leave them alone until the model is loaded. */
export function fromBytes(bytes: ArrayBuffer | Uint8Array, name = "weights (bytes)"): WeightsSource {
  const all = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  return {
    name,
    size: all.byteLength,
    read: async (offset, length) => {
      checkRange(name, all.byteLength, offset, length);
      const part = all.subarray(offset, offset + length);
      // WebGPU refuses views of shared memory, which another thread could change during an upload.
      return ownsItsMemory(part) ? part : new Uint8Array(part);
    },
  };
}

/** Weights in a Blob or in a File that the user picked. Ranges are read when they are needed. */
export function fromBlob(blob: Blob): WeightsSource {
  const name = "name" in blob && typeof blob.name === "string" ? blob.name : "weights (Blob)";
  return {
    name,
    size: blob.size,
    read: async (offset, length) => {
      checkRange(name, blob.size, offset, length);
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        throw unreadable(name, `bytes ${offset} to ${offset + length} could not be read (${reasonOf(cause)}); pick the file again if it changed`, cause);
      }
    },
  };
}

/**
 * Reads from any source, holding it to its contract: exactly `length` bytes, and a prompt rejection when the signal is aborted.
 *
 * @throws WeightsError when the source gives something else, and the signal's reason when it is aborted
 */
export async function readExactly(source: WeightsSource, offset: number, length: number, signal?: AbortSignal, into?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  signal?.throwIfAborted();
  let bytes: unknown;
  try {
    bytes = await abortable(source.read(offset, length, signal, into), signal);
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof WeightsError ? cause : unreadable(source.name, `bytes ${offset} to ${offset + length} could not be read (${reasonOf(cause)})`, cause);
  }
  if (bytes instanceof Uint8Array && bytes.length === length && ownsItsMemory(bytes)) return bytes;
  const got = bytes instanceof Uint8Array ? `${bytes.length} bytes` : kindOf(bytes);
  throw unreadable(source.name, `asked for ${length} bytes at byte ${offset}, got ${got}`);
}

/** A text from a weight file, fit to print: quoted, on one line and not endless. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 119)}…` : text);
}

function ownsItsMemory(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer;
}

/** What a wrong value is, for a message. */
export function kindOf(value: unknown): string {
  return typeof value === "object" && value !== null ? `an object of type ${value.constructor?.name ?? "Object"}` : String(value).slice(0, 80);
}

/**
 * Refuses a range outside the file.
 *
 * @throws WeightsError
 */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= size) return;
  throw unreadable(name, `bytes ${offset} to ${offset + length} were asked for, the file has ${size}`);
}

/** Aborted by whoever gave the signal, if anybody did, and by `stop`. */
export const withSignal = (signal: AbortSignal | undefined, stop: AbortController): AbortSignal => (signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]));

/** Rejects with the signal's reason as soon as it is aborted, whatever the promise does afterwards. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    const stop = (): void => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    // Taken off before anybody goes on: whoever reads next would add one more, and Node warns of more than ten.
    const ended = <Value>(settle: (value: Value) => void) => (value: Value): void => {
      signal.removeEventListener("abort", stop);
      settle(value);
    };
    Promise.resolve(promise).then(ended(resolve), ended(reject));
  });
}

/** The reason in words. fetch says only "fetch failed" and keeps the reason in `cause`. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

/** Whether something that was parsed has fields. */
export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a file begins as JSON does: a brace and seven characters. A safetensors file begins with a number of 8 bytes, the last of them zero. */
export const isJson = (start: Uint8Array): boolean => start.length >= 8 && start[0] === 0x7b && start[7] !== 0;
