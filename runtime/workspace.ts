/**
 * Memory that loading uses again from tensor to tensor. New arrays for each would be let go of by the collector, and that comes late: hundreds of
 * megabytes would wait for it.
 */

/** One piece of memory for each use, as large as the largest that was asked for. */
export class Workspace {
  readonly #kept = new Map<string, ArrayBuffer>();

  /** @param stripBytes of a packed matrix that are made at once, of one that has more than twice as many */
  constructor(readonly stripBytes: number = 8 * 1024 * 1024) {}

  /** At least `bytes` bytes, with whatever this use left in them: what was taken for it before is given up. */
  take(use: string, bytes: number): ArrayBuffer {
    const kept = this.#kept.get(use);
    if (kept !== undefined && kept.byteLength >= bytes) return kept;
    const memory = new ArrayBuffer(bytes);
    this.#kept.set(use, memory);
    return memory;
  }
}

/** Buffers for reads that the source may put bytes in; those that come back are used again. All are as large as the largest read. */
export class ReadBuffers {
  readonly #spare: ArrayBuffer[] = [];

  constructor(private readonly size: number) {}

  /** A buffer of `bytes` bytes, at most the size. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#spare.pop() ?? new ArrayBuffer(this.size), 0, bytes);
  }

  /** Takes a buffer back after what was read is used. */
  give({ buffer }: Uint8Array<ArrayBuffer>): void {
    this.#spare.push(buffer);
  }
}
