/**
 * Memory that loading uses again from tensor to tensor. New arrays for each would be let go of by the collector, and that comes late: hundreds of
 * megabytes would wait for it.
 */

/** One piece of memory for each use, as large as the largest that was asked for. */
export class Workspace {
  readonly #kept = new Map<string, ArrayBuffer>();

  /** At least `bytes` bytes, with whatever this use left in them: what was taken for it before is given up. */
  take(use: string, bytes: number): ArrayBuffer {
    const kept = this.#kept.get(use);
    if (kept !== undefined && kept.byteLength >= bytes) return kept;
    const memory = new ArrayBuffer(bytes);
    this.#kept.set(use, memory);
    return memory;
  }
}

/**
 * Buffers for reads that the source may put bytes in; those that come back are used again. A new one is made only when none that is back is large
 * enough, so there are no more than reads go on at once, and a few smaller ones.
 */
export class ReadBuffers {
  /** From the smallest to the largest. */
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];

  /** @param least how large a buffer is at least, so that most reads fit in any */
  constructor(private readonly least: number) {}

  /** A buffer of `bytes` bytes. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const fitting = this.#spare.findIndex(({ length }) => length >= bytes);
    const [whole = new Uint8Array(Math.max(bytes, this.least))] = fitting < 0 ? [] : this.#spare.splice(fitting, 1);
    return whole.subarray(0, bytes);
  }

  /** Takes a buffer back after what was read is used; a source that returned memory of its own keeps it from being of use. */
  give(buffer: Uint8Array<ArrayBuffer>, returned: Uint8Array<ArrayBuffer>): void {
    if (returned.buffer !== buffer.buffer) return;
    this.#spare.push(new Uint8Array(buffer.buffer));
    this.#spare.sort((a, b) => a.length - b.length);
  }
}
