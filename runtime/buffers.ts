/** GPU buffers, made with what the device says about them. */
import { OutOfMemoryError, VitcError } from "./errors.js";

/** WebGPU's flags by value: Node has no globals for them, and these numbers are part of the standard. */
export const bufferUsage = { mapRead: 0x1, copySource: 0x4, copyDestination: 0x8, storage: 0x80 } as const;

/** A buffer to make. `bytes` is rounded up to whole words. */
export interface BufferRequest {
  readonly label: string;
  readonly bytes: number;
  readonly usage: number;
}

/**
 * Runs `work` inside error scopes and returns what it gave and the first error. The stack of scopes belongs to the device, which others may
 * use at the same time: so nothing is awaited between push and pop.
 */
export async function scoped<Result>(device: GPUDevice, filters: readonly GPUErrorFilter[], work: () => Result): Promise<[result: Result, ...errors: (GPUError | null)[]]> {
  for (const filter of filters) device.pushErrorScope(filter);
  let errors: Promise<GPUError | null>[] = [];
  try {
    const result = work();
    errors = filters.map(() => device.popErrorScope());
    return [result, ...(await Promise.all(errors)).reverse()];
  } finally {
    if (errors.length === 0) for (const _ of filters) void device.popErrorScope();
  }
}

/**
 * Makes buffers, all or none.
 * @throws OutOfMemoryError with the bytes asked for; VitcError (limits) when the device refuses one.
 */
export async function createBuffers(device: GPUDevice, requests: readonly BufferRequest[]): Promise<GPUBuffer[]> {
  const made: GPUBuffer[] = [];
  const total = requests.reduce((sum, { bytes }) => sum + bytes, 0);
  const [, invalid, outOfMemory] = await scoped(device, ["validation", "out-of-memory"], () => {
    for (const { label, bytes, usage } of requests) made.push(device.createBuffer({ label, size: Math.ceil(bytes / 4) * 4, usage }));
  });
  if (outOfMemory ?? invalid) {
    for (const buffer of made) buffer.destroy();
    const mib = (total / 2 ** 20).toFixed(1);
    if (outOfMemory) throw new OutOfMemoryError(`The GPU could not allocate ${mib} MiB in ${made.length} buffers: ${outOfMemory.message}`, total);
    throw new VitcError("limits", `The device refused ${made.length} buffers of ${mib} MiB in all: ${invalid!.message}`);
  }
  return made;
}
