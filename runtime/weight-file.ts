/** What kind of weight file a source is: one of safetensors, several that a `model.safetensors.index.json` lists, as transformers writes it, or an .npz. */

import { readHeader, readStart, type SafetensorsFile } from "./safetensors.js";
import type { WeightsSource } from "./source.js";

/** A weight file, or several as one. */
export interface OpenedFile {
  readonly source: WeightsSource;
  readonly file: SafetensorsFile;
}

/**
 * Reads the header of a weight file; of an index those of all its shards, which then look like one file.
 *
 * @throws WeightsError for what is wrong with a file, an index, or what the two say of each other; the signal's reason when it is aborted
 */
export async function openFile(source: WeightsSource, signal: AbortSignal): Promise<OpenedFile> {
  const start = await readStart(source, signal);
  const shards = isJson(start) ? await (await import("./sharded.js")).openShards(source, signal) : undefined;
  if (shards !== undefined) return shards;
  const arrays = isZip(start) ? await (await import("./npz.js")).readNpz(source, signal) : undefined;
  return { source, file: arrays ?? (await readHeader(source, signal, start)) };
}

/** Whether a file begins as JSON does: a brace and seven characters. A safetensors file begins with a number of 8 bytes, the last of them zero. */
export const isJson = (start: Uint8Array): boolean => start.length >= 8 && start[0] === 0x7b && start[7] !== 0;

/** Whether a file begins as zip archives do. */
const isZip = (start: Uint8Array): boolean => start.length > 4 && start[0] === 0x50 && start[1] === 0x4b && start[2] === 3 && start[3] === 4;
