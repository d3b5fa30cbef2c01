import { randomBytes } from "node:crypto";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { IrError } from "../ir/ops/op.js";
import { encode, type EncodeOptions } from "./encode.js";
import type { OnnxModel } from "./model.js";
import { byteLength, type Chunk, type Chunks } from "./wire.js";

/** Gives the values of one parameter, in f32, row-major. They may be changed once the promise is fulfilled. */
export type PutParameter = (name: string, values: Float32Array) => Promise<void>;

export interface WriteOnnxOptions extends Partial<Pick<EncodeOptions, "weights" | "largest">> {
  /** Stops the writing, and leaves nothing behind. */
  readonly signal?: AbortSignal;
}

/** What was written. */
export interface WrittenOnnx {
  /** Of the model's file. */
  readonly bytes: number;
  /** The file with the parameters, if they are not in the model. */
  readonly external?: { readonly path: string; readonly bytes: number };
}

/** The file beside a model that holds its parameters. */
export const externalPath = (path: string): string => `${path}.data`;

/**
 * Writes a model. `fill` gives each parameter once, in any order, and each goes to its place in the file at once: memory holds what `fill`
 * holds. The bytes go to temporary files, which take their names at the end, the model's last: a model of that name is whole, whatever
 * happens, and one that was there stays until then.
 *
 * @throws IrError for parameters that are unknown, misshapen or not given; whatever `fill` throws; Node's error when the disk refuses; and the
 *   signal's reason when it is aborted.
 */
export async function writeOnnx(path: string, model: OnnxModel, fill: (put: PutParameter) => Promise<void>, options: WriteOnnxOptions = {}): Promise<WrittenOnnx> {
  const { signal, weights = "auto", largest } = options;
  const beside = externalPath(path);
  const layout = encode(model, { weights, externalName: basename(beside), ...(largest !== undefined && { largest }) });
  signal?.throwIfAborted();
  const files: TemporaryFile[] = [];
  const create = async (target: string, chunks: Chunks): Promise<void> => void files.push(await TemporaryFile.create(target, chunks));
  try {
    if (layout.external) await create(beside, layout.external);
    await create(path, layout.model);
    const waiting = new Set(files.flatMap((file) => [...file.reserved.keys()]));
    await fill(async (name, values) => {
      signal?.throwIfAborted();
      const file = waiting.delete(name) ? files.find((candidate) => candidate.reserved.has(name)) : undefined;
      if (!file) throw new IrError(`${model.name} awaits no parameter "${name}"`);
      await file.fill(name, values);
    });
    if (waiting.size > 0) throw new IrError(`${model.name}: no values were given for ${[...waiting].slice(0, 5).join(", ")} (${waiting.size} in all)`);
    for (const file of files) await file.finish();
    signal?.throwIfAborted();
    for (const file of files) await file.publish();
  } finally {
    for (const file of files) await file.discard();
  }
  return { bytes: byteLength(layout.model), ...(layout.external && { external: { path: beside, bytes: byteLength(layout.external) } }) };
}

/** Where the bytes of a parameter go. */
interface Place {
  readonly offset: number;
  readonly length: number;
}

/** Node writes at most 2 GiB at a time. */
const mostBytesAtOnce = 2 ** 30;

/** A file in the making, beside the one that it will replace. */
class TemporaryFile {
  readonly reserved = new Map<string, Place>();
  private state: "open" | "closed" | "published" = "open";

  private constructor(
    private readonly target: string,
    private readonly temporary: string,
    private readonly handle: FileHandle,
  ) {}

  /** Writes everything but the parameters. */
  static async create(target: string, chunks: Chunks): Promise<TemporaryFile> {
    const temporary = `${target}.${randomBytes(6).toString("hex")}.tmp`;
    const file = new TemporaryFile(target, temporary, await open(temporary, "wx"));
    try {
      await file.writeKnown(chunks);
    } catch (error) {
      await file.discard();
      throw error;
    }
    return file;
  }

  private async writeKnown(chunks: Chunks): Promise<void> {
    let [offset, start] = [0, 0];
    let run: Uint8Array[] = [];
    const flush = async (): Promise<void> => {
      await this.write(Buffer.concat(run), start);
      run = [];
    };
    for (const chunk of chunks) {
      if (isReserved(chunk)) {
        await flush();
        this.reserved.set(chunk.tensor, { offset, length: chunk.length });
        start = offset + chunk.length;
      } else run.push(chunk);
      offset += chunk.length;
    }
    await flush();
  }

  async fill(name: string, values: Float32Array): Promise<void> {
    const { offset, length } = this.reserved.get(name)!;
    if (values.byteLength !== length) throw new IrError(`"${name}" takes ${length / 4} values, not ${values.length}`);
    await this.write(new Uint8Array(values.buffer, values.byteOffset, length), offset);
  }

  private async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.handle.write(bytes, done, Math.min(bytes.length - done, mostBytesAtOnce), offset + done);
      done += bytesWritten;
    }
  }

  /** What is written is on the disk. */
  async finish(): Promise<void> {
    await this.handle.sync();
    await this.close();
  }

  async publish(): Promise<void> {
    await rename(this.temporary, this.target);
    this.state = "published";
  }

  /** Leaves nothing behind, unless the file is published. */
  async discard(): Promise<void> {
    await this.close();
    if (this.state !== "published") await rm(this.temporary, { force: true });
  }

  private async close(): Promise<void> {
    if (this.state !== "open") return;
    this.state = "closed";
    await this.handle.close();
  }
}

const isReserved = (chunk: Chunk): chunk is Exclude<Chunk, Uint8Array> => "tensor" in chunk;
