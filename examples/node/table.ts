/** Embeddings as CSV: a column with the path, and one for each value. */
import { parse } from "csv-parse";
import { stringify } from "csv-stringify";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { UserError } from "./embedder.js";

export interface EmbeddingRow {
  /** Relative to the table's folder. */
  readonly path: string;
  readonly values: ArrayLike<number>;
}

/** Writes rows as they come. The table is there when all of them are, or stays what it was, also when it is aborted. */
export async function writeTable(file: string, rows: AsyncIterable<EmbeddingRow>, signal: AbortSignal): Promise<void> {
  const draft = `${file}.${process.pid}.part`;
  const lines = async function* (): AsyncGenerator<readonly (string | number)[]> {
    let first = true;
    for await (const { path, values } of rows) {
      if (first) yield ["path", ...Array.from(values, (_, i) => i)];
      first = false;
      // Nine digits tell every f32 apart.
      yield [path, ...Array.from(values, (value) => Number(value.toPrecision(9)))];
    }
  };
  try {
    await pipeline(Readable.from(lines()), stringify(), createWriteStream(draft), { signal });
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    if (error instanceof Error && "code" in error && "syscall" in error) throw new UserError(`${file} cannot be written: ${error.message}`, { cause: error });
    throw error;
  }
}

/** @throws UserError for a file that is not there or no such table, naming the line */
export async function readTable(file: string): Promise<readonly EmbeddingRow[]> {
  const rows: EmbeddingRow[] = [];
  try {
    const records = createReadStream(file).pipe(parse({ from_line: 2, info: true }));
    for await (const { record: [path, ...cells], info } of records as AsyncIterable<{ readonly record: readonly [string, ...string[]]; readonly info: { readonly lines: number } }>) {
      const values = Float64Array.from(cells, (cell) => (cell.trim() === "" ? NaN : Number(cell)));
      if (values.length === 0 || !values.every(Number.isFinite)) throw new UserError(`${file}, line ${info.lines}: a row is a path and numbers`);
      rows.push({ path, values });
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new UserError(`${file} is no table of embeddings: ${why}. \`embed\` writes one`, { cause: error });
  }
  if (rows.length === 0) throw new UserError(`${file} holds no embeddings`);
  return rows;
}
