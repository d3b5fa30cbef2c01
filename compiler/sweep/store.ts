/**
 * Rows on disk: a JSON object a line, appended the moment it is known. A line is one write to a file that is open for appending, so that
 * processes can share a file; what a crash or a full disk tore is skipped by whoever reads, and ended by whoever writes next.
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import type { Row } from "./row.js";

/** A file of rows that cannot be used, or that could not be written. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/** What a file of rows holds. */
export interface StoredRows {
  readonly rows: readonly Row[];
  /** Lines that are no rows, by their numbers from 1: torn by a crash or a full disk, or not ours. */
  readonly torn: readonly number[];
}

const newline = 0x0a;

/** What a measurement is of: rows that agree in this are of one thing, and the latest counts. */
export const keyOf = ({ spec_hash, plan_hash, adapter, dtype, batch, robust, version }: Row): string => JSON.stringify([spec_hash, plan_hash, adapter, dtype, batch, robust, version]);

/** The rows in a text, in its order, duplicates and all. */
export function parseRows(text: string): StoredRows {
  const rows: Row[] = [];
  const torn: number[] = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const row = rowOf(line);
    if (row === undefined) torn.push(i + 1);
    else rows.push(row);
  });
  return { rows, torn };
}

function rowOf(line: string): Row | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const flat = Object.values(value).every((cell) => cell === null || ["number", "string", "boolean"].includes(typeof cell));
  const named = (["name", "spec_hash", "version"] as const).every((key) => typeof Reflect.get(value, key) === "string");
  return flat && named ? ({ ...value, pareto: null } as unknown as Row) : undefined;
}

/** One row a key: the latest, in the place of the first. */
export function latestRows(rows: readonly Row[]): readonly Row[] {
  const latest = new Map<string, Row>();
  for (const row of rows) {
    const known = latest.get(keyOf(row));
    // Files that were joined may hold an older row behind a newer one.
    if (known === undefined || (known.measured_at ?? "") <= (row.measured_at ?? "")) latest.set(keyOf(row), row);
  }
  return [...latest.values()];
}

/** A file of rows, open for reading what others append and for appending. */
export class Store {
  private read = 0;
  private line = 0;

  private constructor(
    readonly path: string,
    private readonly file: number,
  ) {}

  /** Opens or makes the file. @throws StoreError when that cannot be, or when it is something else than rows. */
  static open(path: string): Store {
    let file: number;
    try {
      // `a+`, but never following into a pipe or a device, which would be waited on for ever.
      file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK, 0o644);
    } catch (cause) {
      throw new StoreError(`rows cannot be kept in ${path}: ${reasonOf(cause)}`, { cause });
    }
    if (!fstatSync(file).isFile()) {
      closeSync(file);
      throw new StoreError(`rows cannot be kept in ${path}: it is not a regular file`);
    }
    return new Store(path, file);
  }

  /** The lines that were appended since the last call, by this process or another. */
  take(): StoredRows {
    const { size } = fstatSync(this.file);
    if (size < this.read) throw new StoreError(`${this.path} has become shorter while it was in use; start again`);
    const bytes = Buffer.alloc(size - this.read);
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(this.file, bytes, done, bytes.length - done, this.read + done);
      if (count === 0) break;
      done += count;
    }
    // A line that another process has not finished is read the next time; at the first reading it may be one that nobody will finish.
    const end = this.read === 0 ? bytes.length : bytes.lastIndexOf(newline) + 1;
    this.read += end;
    const { rows, torn } = parseRows(bytes.toString("utf8", 0, end));
    const before = this.line;
    for (let i = 0; i < end; i++) if (bytes[i] === newline) this.line++;
    return { rows, torn: torn.map((number) => before + number) };
  }

  /**
   * Appends a row, and returns when it is on the disk.
   * @throws StoreError when not all of it could be written; rows before it are safe.
   */
  append(row: Row): void {
    const { pareto: _shown, ...kept } = row;
    // A line that was torn is ended first; an empty line costs nothing where it was not.
    const bytes = Buffer.from(`${this.endsTorn() ? "\n" : ""}${JSON.stringify(kept)}\n`);
    const failure = (reason: string, cause?: unknown): StoreError => new StoreError(`the row of ${row.name} could not be written to ${this.path}: ${reason}; rows before it are safe: make room, and run the same command again to go on`, { cause });
    try {
      const written = writeSync(this.file, bytes);
      fsyncSync(this.file);
      if (written < bytes.length) throw failure(`the disk took ${written} of ${bytes.length} bytes`);
    } catch (cause) {
      throw cause instanceof StoreError ? cause : failure(reasonOf(cause), cause);
    }
  }

  private endsTorn(): boolean {
    const { size } = fstatSync(this.file);
    if (size === 0) return false;
    const last = Buffer.alloc(1);
    readSync(this.file, last, 0, 1, size - 1);
    return last[0] !== newline;
  }

  close(): void {
    closeSync(this.file);
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
