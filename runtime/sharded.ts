/** Weights in several files of safetensors that a `model.safetensors.index.json` lists, as transformers writes it: they look like one file. */

import { type FileTensor } from "./file-tensors.js";
import { forgetWrong } from "./resume.js";
import { readHeader } from "./safetensors.js";
import { isObject, quote, readExactly, reasonOf, unreadable, type WeightsSource } from "./source.js";
import type { OpenedFile } from "./weight-file.js";

/** Of an index; one of a hundred thousand tensors has less. */
const largestIndexBytes = 32 * 2 ** 20;
/** What is asked of a shard at first: most headers fit. */
const firstBytes = 64 * 1024;
/** Headers that are read at a time. */
const mostAtOnce = 6;

/**
 * Reads an index and the headers of all its shards.
 *
 * @returns undefined when the source is too large to be an index
 * @throws WeightsError for JSON that is no index, for what is wrong with a shard, or what the two say of each other; the signal's reason when it is aborted
 */
export async function openShards(source: WeightsSource, signal: AbortSignal): Promise<OpenedFile | undefined> {
  const index = await readIndex(source, signal);
  if (index === undefined) return undefined;
  if (source.beside === undefined) throw unreadable(source.name, "the files that this index lists lie beside it, and bytes or a Blob do not tell where that is: pass its URL, in Node its path, or a source {name, size, read, beside}");
  const names = [...new Set(index.values())].sort();
  const shards: OpenedFile[] = [];
  for (let first = 0; first < names.length; first += mostAtOnce) {
    shards.push(...(await Promise.all(names.slice(first, first + mostAtOnce).map(async (name) => {
      const shard = await source.beside!(name, firstBytes, signal);
      try {
        return { source: shard, file: await readHeader(shard, signal) };
      } catch (error) {
        await forgetWrong(error, shard);
        throw error;
      }
    }))));
  }
  return join(source.name, names, shards, index);
}

/** The shard of each tensor, or undefined when the source is too large to be an index. */
async function readIndex(source: WeightsSource, signal: AbortSignal): Promise<ReadonlyMap<string, string> | undefined> {
  if (source.size > largestIndexBytes) return undefined;
  let index: unknown;
  try {
    index = JSON.parse(new TextDecoder().decode(await readExactly(source, 0, source.size, signal)));
  } catch (cause) {
    throw unreadable(source.name, `it begins like a list of weight files and is not JSON (${reasonOf(cause)}): it is damaged, or cut short`, cause);
  }
  const map = isObject(index) ? index["weight_map"] : undefined;
  if (!isObject(map)) throw unreadable(source.name, "it is JSON and lists no weight files (weight_map): name the safetensors file, or its index");
  const entries = Object.entries(map);
  for (const [tensor, file] of entries) {
    if (typeof file !== "string" || !/^[^/\\:]+\.safetensors$/.test(file)) throw unreadable(source.name, `${quote(tensor)} is in ${typeof file === "string" ? quote(file) : "no text"}, which is not the name of a safetensors file beside the index`);
  }
  if (entries.length === 0) throw unreadable(source.name, "its weight_map is empty");
  return new Map(entries as [string, string][]);
}

/** Shards one after the other. */
function join(name: string, names: readonly string[], shards: readonly OpenedFile[], index: ReadonlyMap<string, string>): OpenedFile {
  const starts: number[] = [];
  let size = 0;
  const tensors = new Map<string, FileTensor>();
  shards.forEach(({ source, file }, i) => {
    starts.push(size);
    for (const [tensor, found] of file.tensors) {
      if (index.get(tensor) !== names[i]) throw unreadable(name, `${quote(names[i]!)} holds ${quote(tensor)}, which the index ${index.has(tensor) ? `has in ${quote(index.get(tensor)!)}` : "does not list"}: the files are of different models`);
      tensors.set(tensor, { ...found, offset: size + found.offset });
    }
    size += source.size;
  });
  const missing = [...index].find(([tensor]) => !tensors.has(tensor));
  if (missing) throw unreadable(name, `${quote(missing[1])} has no ${quote(missing[0])}, which the index lists: the files are of different models`);
  const source: WeightsSource = {
    name,
    size,
    async read(offset, length, signal, into) {
      const at = starts.findLastIndex((start) => start <= offset);
      const shard = shards[at]!.source;
      const inside = offset - starts[at]!;
      if (inside + length <= shard.size) return shard.read(inside, length, signal, into);
      // No tensor crosses the end of a file, but tensors that lie close are read together.
      const own = shard.size - inside;
      const all = into ?? new Uint8Array(length);
      const [first, rest] = await Promise.all([shard.read(inside, own, signal, all.subarray(0, own)), source.read(offset + own, length - own, signal, all.subarray(own))]);
      all.set(first);
      all.set(rest, own);
      return all;
    },
  };
  return { source, file: { name, tensors, metadata: new Map(), dataOffset: shards.reduce((sum, { file }) => sum + file.dataOffset, 0) } };
}
