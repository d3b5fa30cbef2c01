/** Reading the tensors of a weight file in good time: neighbours in one read, several reads under way, bounded memory. */

import type { FileTensor } from "./file-tensors.js";
import { readExactly, type WeightsSource } from "./source.js";
import { ReadBuffers } from "./workspace.js";

/** Neighbours are read together up to this size: above it the time of a transfer outweighs that of a request. */
const extentBytes = 4 * 1024 * 1024;
/** Bytes of ignored tensors that are read along rather than skipped with a request of their own. */
const gapBytes = 64 * 1024;
/** Bytes that are read ahead of need: what a fast line brings while a tensor is packed. A single tensor may be larger; it is then alone. */
const aheadBytes = 16 * 1024 * 1024;
/** What browsers allow one HTTP/1.1 server. */
const readsAtOnce = 6;

/** Neighbouring tensors that are read at once. */
interface Extent {
  readonly offset: number;
  bytes: number;
  /** Reads that are still to come; the bytes are dropped after the last. */
  uses: number;
  content: Promise<Uint8Array<ArrayBuffer>> | undefined;
  /** Gives the bytes' memory back, once they are there. */
  drop: () => void;
}

/** Reads each tensor as often as it was announced, in about the announced order. */
export interface ReadAhead {
  /** Bytes that all reads together take from the source. */
  readonly bytes: number;
  /** The bytes of an announced tensor: a view, to be left unchanged. */
  read(tensor: FileTensor): Promise<Uint8Array<ArrayBuffer>>;
  /** Says that one announced use of a tensor is over. */
  release(tensor: FileTensor): void;
}

/**
 * @param uses the tensors in the order of their use; one that is used twice appears twice
 * @param arrived told the bytes of each finished read
 */
export function readAhead(source: WeightsSource, uses: readonly FileTensor[], signal: AbortSignal, arrived: (bytes: number) => void): ReadAhead {
  const extentOf = groupNeighbours(uses);
  for (const tensor of uses) extentOf.get(tensor)!.uses++;
  const queue = [...new Set(uses.map((tensor) => extentOf.get(tensor)!))];
  const largest = queue.reduce((most, { bytes }) => Math.max(most, bytes), 0);
  const buffers = new ReadBuffers([...[extentBytes, aheadBytes].filter((size) => size < largest), largest]);
  let started = 0;
  let held = 0;
  let underWay = 0;

  const startNext = (): void => {
    const extent = queue[started++]!;
    held += extent.bytes;
    underWay++;
    const buffer = buffers.take(extent.bytes);
    extent.content = readExactly(source, extent.offset, extent.bytes, signal, buffer).then((content) => {
      underWay--;
      extent.drop = () => buffers.give(buffer, content);
      arrived(extent.bytes);
      startAhead();
      return content;
    });
    // Whoever needs the bytes sees the failure; until then nobody has to.
    extent.content.catch(() => undefined);
  };
  const startAhead = (): void => {
    while (started < queue.length && underWay < readsAtOnce && held + queue[started]!.bytes <= aheadBytes) startNext();
  };

  return {
    bytes: queue.reduce((sum, extent) => sum + extent.bytes, 0),
    async read(tensor) {
      const extent = extentOf.get(tensor)!;
      while (extent.content === undefined) startNext();
      startAhead();
      const content = await extent.content;
      return content.subarray(tensor.offset - extent.offset, tensor.offset - extent.offset + tensor.bytes);
    },
    release(tensor) {
      const extent = extentOf.get(tensor)!;
      if (--extent.uses > 0) return;
      held -= extent.bytes;
      extent.content = undefined;
      extent.drop();
      startAhead();
    },
  };
}

function groupNeighbours(tensors: readonly FileTensor[]): Map<FileTensor, Extent> {
  const extents = new Map<FileTensor, Extent>();
  let extent: Extent | undefined;
  for (const tensor of [...new Set(tensors)].sort((a, b) => a.offset - b.offset)) {
    const end = tensor.offset + tensor.bytes;
    const fits = extent !== undefined && tensor.offset - (extent.offset + extent.bytes) <= gapBytes && end - extent.offset <= extentBytes;
    if (extent === undefined || !fits) extent = { offset: tensor.offset, bytes: tensor.bytes, uses: 0, content: undefined, drop: () => undefined };
    extent.bytes = end - extent.offset;
    extents.set(tensor, extent);
  }
  return extents;
}
