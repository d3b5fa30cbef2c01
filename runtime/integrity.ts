/**
 * Weights against a hash of the whole file. A model reads a file in ranges, mostly from start to end, and leaves out what it has no use for; a hash
 * needs every byte in order. So bytes are hashed as they pass, ranges that come early are held until those before them are there, and what
 * nobody asks for is read as well. No byte is downloaded twice, unless it was skipped for a long stretch and is wanted after all.
 */
import { VitcError, WeightsError } from "./errors.js";
import { changedFile } from "./resume.js";
import { sha256 } from "./sha256.js";
import { Sha256 } from "./sha256-stream.js";
import { checkRange, fromBytes, quote, readExactly, unreadable, type WeightsSource } from "./source.js";

/** Bytes that are held ahead of the hash. With more of them, what is missing before them is read at once. */
const heldBytes = 32 * 2 ** 20;
/** What is read at once to be hashed alone, and what is hashed before others get a turn: 4 MiB take about 30 milliseconds. */
const pieceBytes = 4 * 2 ** 20;

/** Of a file that does not fit at most these are read for its hash alone. */
const hashedBytes = 16 * 2 ** 20;

/** No list of packed weights or of safetensors files is larger. */
const largestListBytes = 32 * 2 ** 20;

/** A SHA-256 as it was given: 64 hexadecimal digits, or `sha256-` and base64, as pages write it for scripts. */
export interface Expected {
  readonly text: string;
  readonly hex: string;
}

/**
 * Reads a hash; callers may come from JavaScript.
 * @throws VitcError (input)
 */
export function parseIntegrity(text: unknown): Expected {
  if (typeof text === "string") {
    const given = text.trim();
    if (/^[0-9a-f]{64}$/i.test(given)) return { text: given, hex: given.toLowerCase() };
    const base64 = /^sha256-([A-Za-z0-9+/]{43})=$/.exec(given)?.[1];
    if (base64 !== undefined) return { text: given, hex: Array.from(atob(`${base64}=`), (letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("") };
  }
  throw new VitcError("input", `integrity is ${typeof text === "string" ? quote(text) : typeof text}; it is the SHA-256 of the weight file, as 64 hexadecimal digits (sha256sum FILE) or "sha256-" and base64 (openssl dgst -sha256 -binary FILE | base64)`);
}

/** @throws WeightsError when a file's hash, in hexadecimal, is another than it should be, and what was kept of the file is dropped; both are named in the notation of `expected` */
async function checkHash(source: WeightsSource, found: string, { text, hex }: Expected): Promise<void> {
  if (found === hex) return;
  await source.forget?.();
  const shown = text.startsWith("sha256-") ? `sha256-${btoa(found.replace(/../g, (pair) => String.fromCharCode(parseInt(pair, 16))))}` : found;
  throw new WeightsError([{ kind: "integrity", message: `its SHA-256 is ${shown}, and ${text} is expected: it was changed or is another file, and is not used` }], source.name);
}

/**
 * A list of weight files as it was when its hash was taken.
 * @throws WeightsError when the hash is another, and the signal's reason when it is aborted
 */
export async function verifiedList(source: WeightsSource, expected: Expected, signal: AbortSignal): Promise<WeightsSource> {
  if (source.size > largestListBytes) throw unreadable(source.name, `it begins like a list of weight files and has ${source.size} bytes, which none has`);
  const bytes = await readExactly(source, 0, source.size, signal);
  await checkHash(source, await sha256(bytes), expected);
  // A source of the user's may be an object of a class, whose methods no spread takes along.
  return { ...fromBytes(bytes, source.name), ...(source.beside && { beside: source.beside.bind(source) }) };
}

/** A part of the file that was read once. */
interface Piece {
  readonly offset: number;
  readonly length: number;
  /** Of its bytes, so that a second read is held to the first. */
  readonly digest: string;
  /** Until it is hashed. */
  bytes: Uint8Array<ArrayBuffer> | undefined;
}

/** A source whose bytes are hashed as they are read. */
export interface Verified {
  readonly source: WeightsSource;
  /**
   * Reads what was left out, and compares. Before it is settled nothing that was read may be trusted.
   * @throws WeightsError when the hash is another, and the signal's reason when it is aborted
   */
  finish(signal: AbortSignal): Promise<void>;
  /**
   * Tells why the file does not fit: it is another one, if it is. What is kept of one that is too large to find out is dropped. Other errors are left alone.
   * @throws WeightsError that it is another, or what does not fit and that the hash was not checked; the signal's reason when it is aborted
   */
  misfit(error: unknown, signal: AbortSignal): Promise<void>;
}

export function verified(source: WeightsSource, expected: Expected): Verified {
  const { name, size } = source;
  const hash = new Sha256();
  const pieces: Piece[] = [];
  /** How far the hash is, and what is held beyond. */
  let [front, held] = [0, 0];
  let turn: Promise<unknown> = Promise.resolve();

  /** Notes bytes that were read; those that are known must be what they were. */
  const note = async (offset: number, bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal | undefined): Promise<void> => {
    const end = offset + bytes.length;
    let at = offset;
    for (const piece of pieces.filter((known) => known.offset < end && known.offset + known.length > offset).sort((a, b) => a.offset - b.offset)) {
      await add(at, bytes.subarray(at - offset, piece.offset - offset));
      const [from, to] = [Math.max(offset, piece.offset), Math.min(end, piece.offset + piece.length)];
      const again = to - from === piece.length ? bytes.subarray(from - offset, to - offset) : await readExactly(source, piece.offset, piece.length, signal);
      const same = (await sha256(again)) === piece.digest && (to - from === piece.length || again.subarray(from - piece.offset, to - piece.offset).every((byte, i) => byte === bytes[from - offset + i]));
      if (!same) {
        await source.forget?.();
        throw changedFile(name, "a range that was read twice has other bytes");
      }
      at = to;
    }
    await add(at, bytes.subarray(at - offset));
  };

  const add = async (offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> => {
    if (bytes.length === 0) return;
    pieces.push({ offset, length: bytes.length, digest: await sha256(bytes), bytes });
    held += bytes.length;
  };

  /** Hashes what is there, and reads what is missing in between as long as more is held than may be, or up to `upTo`. */
  const advance = async (upTo: number, signal: AbortSignal | undefined): Promise<void> => {
    for (;;) {
      const next = pieces.find(({ offset }) => offset === front);
      if (next !== undefined) {
        for (let at = 0; at < next.length; at += pieceBytes) {
          hash.update(next.bytes!.subarray(at, at + pieceBytes));
          if (next.length > pieceBytes) await new Promise((wake) => setTimeout(wake, 0));
        }
        front += next.length;
        held -= next.length;
        next.bytes = undefined;
      } else if (front < upTo || held > heldBytes) {
        const end = pieces.reduce((least, { offset }) => (offset > front ? Math.min(least, offset) : least), size);
        await add(front, await readExactly(source, front, Math.min(end - front, pieceBytes), signal));
      } else return;
    }
  };

  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };

  const finish = (signal: AbortSignal): Promise<void> =>
    inTurn(async () => {
      await advance(size, signal);
      await checkHash(source, Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, "0")).join(""), expected);
    });

  return {
    source: {
      name,
      size,
      async read(offset, length, signal) {
        checkRange(name, size, offset, length);
        const bytes = await readExactly(source, offset, length, signal);
        await inTurn(async () => {
          signal?.throwIfAborted();
          await note(offset, bytes, signal);
          await advance(0, signal);
        });
        return bytes;
      },
    },
    finish,
    misfit: async (error, signal) => {
      if (!(error instanceof WeightsError) || error.problems.some(({ kind }) => kind === "format" || kind === "changed")) return;
      if (size <= hashedBytes) {
        try {
          return await finish(signal);
        } catch (cause) {
          signal.throwIfAborted();
          if (cause instanceof WeightsError && cause.problems.some(({ kind }) => kind === "integrity")) throw cause;
        }
      }
      await source.forget?.();
      throw new WeightsError(error.problems, `${name} (its hash was not checked, which takes the whole file)`, { cause: error });
    },
  };
}
