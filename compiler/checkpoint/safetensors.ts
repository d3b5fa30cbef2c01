/** Writes weight files in the safetensors format (https://huggingface.co/docs/safetensors): a JSON header, then the tensors. */
import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";

/** A weight file that cannot be made: a name, shape or value that the format or the model has no place for, or a failed write. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
}

export interface TensorShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A tensor of f32, row-major. */
export interface NamedTensor extends TensorShape {
  readonly data: Float32Array;
}

export interface WriteOptions {
  /** Strings for the header's `__metadata__`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Stops the writing between two tensors, and leaves nothing behind. */
  readonly signal?: AbortSignal;
}

/**
 * The file as bytes, tensors in the order given, for files that fit in memory twice.
 *
 * @throws CheckpointError for a name given twice or reserved, and for data that does not fill its shape.
 */
export function writeSafetensors(tensors: Iterable<NamedTensor>, metadata?: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const list = [...tensors];
  const header = makeHeader(list, metadata);
  const file = new Uint8Array(list.reduce((bytes, tensor) => bytes + byteLength(tensor), header.length));
  file.set(header);
  let offset = header.length;
  for (const tensor of list) {
    file.set(toBytes(tensor, tensor.data), offset);
    offset += byteLength(tensor);
  }
  return file;
}

/**
 * Writes the file tensor by tensor, so that memory holds one tensor at a time. The bytes go to a temporary file beside `path`,
 * which takes the name at the end: a file of that name is whole, whatever happens, and one that was there stays until then.
 *
 * @param produce is called once for each tensor, in order.
 * @throws CheckpointError for a name given twice or reserved, for data that does not fill its shape, and when the disk refuses;
 *   whatever `produce` throws; and the signal's reason when it is aborted.
 */
export async function writeSafetensorsFile(
  path: string,
  tensors: readonly TensorShape[],
  produce: (name: string) => Float32Array,
  options: WriteOptions = {},
): Promise<void> {
  const header = makeHeader(tensors, options.metadata);
  options.signal?.throwIfAborted();
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await onDisk(path, open(temporary, "wx"));
  try {
    try {
      await onDisk(path, file.writeFile(header));
      for (const tensor of tensors) {
        options.signal?.throwIfAborted();
        await onDisk(path, file.writeFile(toBytes(tensor, produce(tensor.name))));
      }
      await onDisk(path, file.sync());
    } finally {
      await file.close();
    }
    options.signal?.throwIfAborted();
    await onDisk(path, rename(temporary, path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The length of the header in 8 bytes, then the header, padded with spaces so that the tensors begin at a multiple of 8. */
function makeHeader(tensors: readonly TensorShape[], metadata: Readonly<Record<string, string>> | undefined): Uint8Array {
  const seen = new Set<string>();
  // Joined by hand: an object would move names like "0" to the front.
  const fields = metadata === undefined ? [] : [`"__metadata__":${JSON.stringify(metadata)}`];
  let end = 0;
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    if (name === "__metadata__") throw new CheckpointError(`no tensor can be named "__metadata__": safetensors keeps that name for itself`);
    if (seen.has(name)) throw new CheckpointError(`tensor "${name}" is given twice`);
    seen.add(name);
    const start = end;
    end += byteLength(tensor);
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype: "F32", shape, data_offsets: [start, end] })}`);
  }
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, 8);
  return header;
}

function byteLength({ name, shape }: TensorShape): number {
  const elements = shape.reduce((product, size) => product * size, 1);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || !Number.isSafeInteger(elements * 4)) {
    throw new CheckpointError(`tensor "${name}" has the shape [${shape.join(", ")}]: sizes must be whole numbers`);
  }
  return elements * 4;
}

/** The tensor's bytes in place. The format is little-endian, as is every platform that Node and WebGPU share. */
function toBytes(tensor: TensorShape, data: Float32Array): Uint8Array {
  if (data.byteLength !== byteLength(tensor)) {
    throw new CheckpointError(`tensor "${tensor.name}" of shape [${tensor.shape.join(", ")}] takes ${byteLength(tensor) / 4} values, not ${data.length}`);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Waits for the disk, and says which file it was writing when it refuses. */
async function onDisk<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    const reason = missing ? "its folder does not exist" : cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(`cannot write ${path}: ${reason}`, { cause });
  }
}
