/** Reading the tensors of a weight file in good time: in pieces that neighbours share, several reads under way, bounded memory. */

import type { FileTensor } from "./file-tensors.js";
import { readExactly, type WeightsSource } from "./source.js";
import { ReadBuffers } from "./workspace.js";

/** Bytes that are read at once: the time of a transfer outweighs that of a request, and what is done with is soon given back. */
const extentBytes = 4 * 1024 * 1024;
/** Bytes of ignored tensors that are read along rather than skipped with a request of their own. */
const gapBytes = 64 * 1024;
/** Bytes that are read ahead of need: what a fast line brings while a tensor is packed. What one tensor needs may be more; it is then alone. */
const aheadBytes = 16 * 1024 * 1024;
/** What browsers allow one HTTP/1.1 server. */
const readsAtOnce = 6;

/** A piece of the file. */
interface Extent {
  readonly offset: number;
  readonly bytes: number;
  /** Reads of tensors in it that are still to come; the bytes are dropped after the last. */
  uses: number;
  content: Promise<Uint8Array<ArrayBuffer>> | undefined;
  /** Lets the read begin. */
  begin: () => void;
  /** Gives the bytes' memory back, once they are there. */
  drop: () => void;
}

/** The bytes of a tensor, which lie in one piece or several. */
export interface TensorBytes {
  readonly length: number;
  /** Bytes from `start` to `end`, to be left unchanged; where they lie in several pieces they are put together in the memory that is given. */
  part(start: number, end: number, memory: (size: number) => ArrayBuffer): Uint8Array<ArrayBuffer>;
}

/** Reads each tensor as often as it was announced, in about the announced order. */
export interface ReadAhead {
  /** Bytes that all reads together take from the source. */
  readonly bytes: number;
  /** The bytes of an announced tensor, good until they are released. */
  read(tensor: FileTensor): Promise<TensorBytes>;
  /** Says that one announced use of a tensor is over. */
  release(tensor: FileTensor): void;
}

/**
 * @param uses the tensors in the order of their use; one that is used twice appears twice
 * @param arrived told the bytes of each finished read
 */
export function readAhead(source: WeightsSource, uses: readonly FileTensor[], signal: AbortSignal, arrived: (bytes: number) => void): ReadAhead {
  const extentsOf = cutIntoExtents(uses);
  for (const tensor of uses) for (const extent of extentsOf.get(tensor)!) extent.uses++;
  const queue = [...new Set(uses.flatMap((tensor) => extentsOf.get(tensor)!))];
  const places = new Map(queue.map((extent, i) => [extent, i]));
  const buffers = new ReadBuffers(queue.reduce((most, { bytes }) => Math.max(most, bytes), 0));
  /** How many of the queue have begun, and how many somebody waits for. */
  let started = 0;
  let wanted = 0;
  let held = 0;
  let underWay = 0;
  /** Why the load is over: whatever has not begun is not read any more. */
  let failure: { readonly error: unknown } | undefined;
  /** Whether the source puts bytes into memory that it is given. */
  let fills = true;

  const startMore = (): void => {
    while (started < queue.length && (failure || (underWay < readsAtOnce && (started < wanted || held + queue[started]!.bytes <= aheadBytes)))) {
      const extent = queue[started++]!;
      held += extent.bytes;
      underWay++;
      extent.begin();
    }
  };
  for (const extent of queue) {
    const { offset, bytes } = extent;
    const content = new Promise<void>((begin) => (extent.begin = begin)).then(async () => {
      try {
        if (failure) throw failure.error;
        const buffer = fills ? buffers.take(bytes) : undefined;
        const read = await readExactly(source, offset, bytes, signal, buffer);
        fills = read.buffer === buffer?.buffer;
        if (fills) extent.drop = () => buffers.give(read);
        arrived(bytes);
        return read;
      } catch (error) {
        failure ??= { error };
        throw error;
      } finally {
        underWay--;
        startMore();
      }
    });
    // Whoever needs the bytes sees the failure; until then nobody has to.
    content.catch(() => undefined);
    extent.content = content;
  }

  return {
    bytes: queue.reduce((sum, extent) => sum + extent.bytes, 0),
    async read(tensor) {
      const extents = extentsOf.get(tensor)!;
      wanted = extents.reduce((most, extent) => Math.max(most, places.get(extent)! + 1), wanted);
      startMore();
      const pieces = await Promise.all(extents.map(({ content }) => content!));
      return tensorBytes(pieces, tensor.offset - (extents[0]?.offset ?? 0), tensor.bytes);
    },
    release(tensor) {
      for (const extent of extentsOf.get(tensor)!) {
        if (--extent.uses > 0) continue;
        held -= extent.bytes;
        extent.content = undefined;
        extent.drop();
      }
      startMore();
    },
  };
}

/** `length` bytes, the first of them at `from` of the first piece. */
function tensorBytes(pieces: readonly Uint8Array<ArrayBuffer>[], from: number, length: number): TensorBytes {
  return {
    length,
    part(start, end, memory) {
      if (start === end) return new Uint8Array();
      // All pieces but the last are of one size.
      const size = pieces[0]!.length;
      const [first, last] = [from + start, from + end];
      const begin = Math.floor(first / size);
      if (last <= (begin + 1) * size) return pieces[begin]!.subarray(first - begin * size, last - begin * size);
      const joined = new Uint8Array(memory(end - start), 0, end - start);
      for (let i = begin; i * size < last; i++) {
        const bytes = pieces[i]!.subarray(Math.max(first - i * size, 0), last - i * size);
        joined.set(bytes, Math.max(i * size - first, 0));
      }
      return joined;
    },
  };
}

/** The pieces in which each tensor lies. Those that are less than a gap apart are cut as if they were one. */
function cutIntoExtents(tensors: readonly FileTensor[]): ReadonlyMap<FileTensor, readonly Extent[]> {
  const extents = new Map<FileTensor, readonly Extent[]>();
  const runs: { readonly offset: number; end: number; readonly tensors: FileTensor[] }[] = [];
  for (const tensor of [...new Set(tensors)].sort((a, b) => a.offset - b.offset)) {
    const end = tensor.offset + tensor.bytes;
    const run = runs.at(-1);
    if (run === undefined || tensor.offset - run.end > gapBytes) runs.push({ offset: tensor.offset, end, tensors: [tensor] });
    else {
      run.end = Math.max(run.end, end);
      run.tensors.push(tensor);
    }
  }
  for (const run of runs) {
    const cut = Array.from({ length: Math.ceil((run.end - run.offset) / extentBytes) }, (_, i): Extent => {
      const offset = run.offset + i * extentBytes;
      return { offset, bytes: Math.min(extentBytes, run.end - offset), uses: 0, content: undefined, begin: () => undefined, drop: () => undefined };
    });
    for (const tensor of run.tensors) {
      const place = (at: number): number => Math.floor((at - run.offset) / extentBytes);
      extents.set(tensor, tensor.bytes === 0 ? [] : cut.slice(place(tensor.offset), place(tensor.offset + tensor.bytes - 1) + 1));
    }
  }
  return extents;
}
