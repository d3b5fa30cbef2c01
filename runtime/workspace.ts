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
 * Buffers for reads that the source may put bytes in; those that come back are used again. They are of few sizes, so that a new one is made only when
 * more reads go on at once than before.
 */
export class ReadBuffers {
  readonly #spare = new Map<number, Uint8Array<ArrayBuffer>[]>();

  /** @param sizes of the buffers, from the smallest to that of the largest read */
  constructor(private readonly sizes: readonly number[]) {}

  /** A buffer of `bytes` bytes. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const size = this.sizes.find((each) => each >= bytes) ?? bytes;
    return (this.#spare.get(size)?.pop() ?? new Uint8Array(size)).subarray(0, bytes);
  }

  /** Takes a buffer back after what was read is used; a source that returned memory of its own keeps it from being of use. */
  give(buffer: Uint8Array<ArrayBuffer>, returned: Uint8Array<ArrayBuffer>): void {
    if (returned.buffer !== buffer.buffer) return;
    const whole = new Uint8Array(buffer.buffer);
    const spare = this.#spare.get(whole.length);
    if (spare) spare.push(whole);
    else this.#spare.set(whole.length, [whole]);
  }
}
