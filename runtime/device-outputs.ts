/** Results that stay on the device, and runs that are part of an app's own commands. */
import { bufferUsage, createBuffers } from "./buffers.js";
import { InputError } from "./errors.js";
import type { Engine } from "./load.js";
import type { TensorSpec } from "./plan.js";
import { chunksOf, type Chunk } from "./batches.js";
import type { BufferRange } from "./session.js";
import { elements, type Batch, type Tensor } from "./tensor.js";

/**
 * An output on the model's device: f32 values of `shape` [images, ...] from byte `offset` on. The buffer is this output's alone, whatever the
 * model does next, until it is disposed; its usage is STORAGE, COPY_SRC and COPY_DST. It can be given to another model's `run`.
 */
export interface DeviceTensor<Shape extends readonly number[] = readonly number[]> extends Disposable {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
  readonly shape: readonly [images: number, ...shape: Shape];
  /** Frees the buffer. Work that was put to the queue before is still done with it. */
  dispose(): void;
}

/** Every output, on the device. Each is disposed by itself. */
export type DeviceOutputs<Outputs extends object> = { readonly [Name in keyof Outputs]: Outputs[Name] extends Tensor<infer Shape> ? DeviceTensor<Shape> : never };

/** Bytes of a buffer of the app's; without `offset` from its start. */
export interface BufferAt {
  readonly buffer: GPUBuffer;
  readonly offset?: number;
}

/** Where a run that is encoded reads and writes. */
export interface EncodeIO<Names extends string = string> {
  /** f32 values [images, channels, height, width], in a buffer with usage COPY_SRC. */
  readonly input: GPUBuffer | BufferAt;
  /** Default: 1. */
  readonly images?: number;
  /** Where to write f32 values [images, ...], in buffers with usage COPY_DST. Outputs that are not named are not copied. */
  readonly outputs: { readonly [Name in Names]?: GPUBuffer | BufferAt };
}

/** Runs a batch, and leaves what comes out on the device. */
export async function runOnDevice(engine: Engine, batch: Batch): Promise<Readonly<Record<string, DeviceTensor>>> {
  const { session, variant: { plan }, opened: { device } } = engine;
  const requests = plan.outputs.map(({ name, shape }) => ({ label: name, bytes: batch.count * elements(shape) * 4, usage: bufferUsage.storage | bufferUsage.copySource | bufferUsage.copyDestination }));
  const buffers = await createBuffers(device, requests);
  try {
    for (const chunk of chunksOf(plan, batch)) await session.submit(chunk.batch, chunk.input, plan.outputs.map((output, i) => rangeOf(output, chunk, { buffer: buffers[i]! })));
  } catch (error) {
    for (const buffer of buffers) buffer.destroy();
    throw error;
  }
  return Object.fromEntries(
    plan.outputs.map(({ name, shape }, i): [string, DeviceTensor] => {
      const buffer = buffers[i]!;
      const dispose = (): void => buffer.destroy();
      return [name, { buffer, offset: 0, bytes: requests[i]!.bytes, shape: [batch.count, ...shape], dispose, [Symbol.dispose]: dispose }];
    }),
  );
}

/**
 * Puts a run into an encoder of the app's.
 * @throws InputError for buffers that lack a usage or are too small, and for outputs that the model does not have. An encoder inside a pass tells
 * nobody: its `finish` is what fails.
 */
export function encodeRun({ session, variant: { plan } }: Engine, encoder: GPUCommandEncoder, { input, images = 1, outputs }: EncodeIO): void {
  if (!Number.isSafeInteger(images) || images < 1) throw new InputError(`images is ${String(images)}; it is a whole number of at least 1`);
  const unknown = Object.keys(outputs).find((name) => !plan.outputs.some((output) => output.name === name));
  if (unknown !== undefined) throw new InputError(`${plan.name} has no output ${JSON.stringify(unknown)}; it has ${plan.outputs.map(({ name }) => name).join(", ")}`);
  const source = bufferAt("the input", input, images * elements(plan.input.shape) * 4, "COPY_SRC");
  const targets = plan.outputs.map(({ name, shape }) => outputs[name] && bufferAt(name, outputs[name], images * elements(shape) * 4, "COPY_DST"));
  if (targets.every((target) => target === undefined)) throw new InputError(`no output is asked for; ${plan.name} has ${plan.outputs.map(({ name }) => name).join(", ")}`);
  for (const chunk of chunksOf(plan, { ...source, count: images, release: () => undefined })) {
    session.encode(encoder, chunk.batch, chunk.input as BufferRange, plan.outputs.map((output, i) => targets[i] && rangeOf(output, chunk, targets[i])));
  }
}

/** The bytes of a chunk's values in a buffer that holds the whole batch's. */
function rangeOf({ shape }: TensorSpec, { first, images }: Chunk, { buffer, offset = 0 }: BufferAt): BufferRange {
  const width = elements(shape) * 4;
  return { buffer, offset: offset + first * width, bytes: images * width };
}

function bufferAt(what: string, given: GPUBuffer | BufferAt, bytes: number, needed: "COPY_SRC" | "COPY_DST"): { readonly buffer: GPUBuffer; readonly offset: number } {
  const { buffer, offset = 0 } = "buffer" in given ? given : { buffer: given };
  const flag = needed === "COPY_SRC" ? bufferUsage.copySource : bufferUsage.copyDestination;
  if ((buffer.usage & flag) === 0) throw new InputError(`the buffer of ${what} has no usage ${needed}: create it with GPUBufferUsage.${needed}`);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % 4 !== 0) throw new InputError(`the offset of ${what} is ${offset}; it is a number of bytes, a multiple of 4`);
  if (offset + bytes > buffer.size) throw new InputError(`the buffer of ${what} has ${buffer.size} bytes, and ${bytes} from ${offset} on are needed`);
  return { buffer, offset };
}

