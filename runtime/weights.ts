/** From a weight file to weight buffers: find it, check it against the recipe, read, pack and upload it tensor by tensor. */

import type { CheckOptions } from "./check.js";
import { decodeFloats, firstNotFinite, indexAt, isFloatType, type Floats } from "./decode.js";
import { WeightsError } from "./errors.js";
import { equalShapes } from "./folds.js";
import type { PackedTensor, WeightRecipe, WeightSource } from "./plan.js";
import { readAhead, type TensorBytes } from "./readahead.js";
import { packStrips, packTensor, place, type Packed, type PackedPart, type ReadValues, type WriteStrip } from "./recipe.js";
import { elementCount, type FileTensor, type SafetensorsFile } from "./file-tensors.js";
import { quote, withSignal, type WeightsSource } from "./source.js";
import { openFile } from "./weight-file.js";
import { toSource, type WeightsInput } from "./weights-input.js";
import { Workspace } from "./workspace.js";

export type { CheckOptions } from "./check.js";
export { type FileTensor, type SafetensorsFile, type SafetensorsType } from "./file-tensors.js";
export { readHeader } from "./safetensors.js";
export { fromBlob, fromBytes, type WeightsSource } from "./source.js";
export { toSource, type WeightsInput } from "./weights-input.js";

export interface WeightsProgress {
  readonly stage: "weights";
  /** Bytes of the file that have been read, and that will be. */
  readonly loaded: number;
  readonly total: number;
}

export interface LoadOptions extends CheckOptions {
  readonly onProgress?: ((progress: WeightsProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Writes packed values, a tensor or a strip of one, f16 as words, at a byte offset of a weight buffer. Their memory is used again afterwards: copy what is kept. */
  readonly upload: (buffer: number, offset: number, data: Packed) => void | Promise<void>;
  /** Gives each tensor in one piece. Default: of a large one strips, one after another, so that it is never there whole. */
  readonly whole?: boolean;
}

export interface LoadedWeights {
  /** Name of the source. */
  readonly source: string;
  /** Bytes that were read. */
  readonly bytes: number;
  /** Names of the tensors that the model does not use: those that files of its kind are known to hold, and with `allowExtra` any others. */
  readonly ignored: readonly string[];
}

/** A page stays responsive when nothing keeps it busy for longer, and an abort gets its turn. */
const busyMilliseconds = 50;

/** A weight file that fits a recipe, before its values are read. */
export interface OpenedWeights {
  readonly source: WeightsSource;
  readonly file: SafetensorsFile;
  /** The recipe's, restated in the names of the file. */
  readonly tensors: readonly PackedTensor[];
  /** Names of the file's tensors that none of these reads. */
  readonly ignored: readonly string[];
  /** Stops whatever is still being read, a download above all. */
  close(): void;
}

/**
 * Finds a weight file, reads its header and checks every tensor of the recipe against it. No value is read yet.
 *
 * @throws WeightsError with everything that is wrong with the file; the signal's reason when it is aborted
 */
export async function openWeights(recipe: WeightRecipe, input: WeightsInput, options: CheckOptions & { readonly signal?: AbortSignal | undefined } = {}): Promise<OpenedWeights> {
  const stop = new AbortController();
  const signal = withSignal(options.signal, stop);
  try {
    signal.throwIfAborted();
    const { source, file } = await openFile(await toSource(input, { signal }), signal);
    const fitted = holdsAll(recipe, file) ? { tensors: recipe.tensors, ignored: [] } : (await import("./check.js")).fitted(recipe, file, options);
    return { source, file, ...fitted, close: () => stop.abort() };
  } catch (error) {
    stop.abort();
    options.signal?.throwIfAborted();
    throw error;
  }
}

/** Whether a file has the tensors of a recipe and no others, by the model's own names: then there is neither a naming to find nor anything to check. */
function holdsAll({ tensors }: WeightRecipe, file: SafetensorsFile): boolean {
  const used = new Set<FileTensor>();
  const fits = tensors.every(({ sources }) =>
    sources.every(({ names, shape }) => {
      const found = names.map((name) => file.tensors.get(name)).find((tensor) => tensor !== undefined);
      if (found === undefined || !isFloatType(found.dtype) || !equalShapes(found.shape, shape)) return false;
      used.add(found);
      return true;
    }),
  );
  return fits && used.size === file.tensors.size;
}

/**
 * Loads an opened weight file into weight buffers: each tensor is read, packed and uploaded, in the file's order, so that a file is read from
 * start to end. The file is closed in the end.
 *
 * @throws WeightsError when a value is not finite or the file cannot be read; the signal's reason when it is aborted
 */
export async function uploadWeights(opened: OpenedWeights, options: LoadOptions): Promise<LoadedWeights> {
  // What is still under way when loading ends, a failed load above all, is stopped.
  const stop = new AbortController();
  const signal = withSignal(options.signal, stop);
  const { source, file, tensors, ignored } = opened;
  try {
    signal.throwIfAborted();
    const bytes = await loadTensors(tensors, source, file, signal, options);
    return { source: source.name, bytes, ignored };
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    stop.abort();
    opened.close();
  }
}

/** Opens a weight file and loads it: see `openWeights` and `uploadWeights`. Nothing is uploaded when the check fails. */
export async function loadWeights(recipe: WeightRecipe, input: WeightsInput, options: LoadOptions): Promise<LoadedWeights> {
  return uploadWeights(await openWeights(recipe, input, options), options);
}

async function loadTensors(tensors: readonly PackedTensor[], source: WeightsSource, file: SafetensorsFile, signal: AbortSignal, options: LoadOptions): Promise<number> {
  // What is made of a large tensor goes together, wherever the vectors lie that are put into it.
  const largest = ({ sources }: PackedTensor): FileTensor | undefined => {
    const read = sources.map((wanted) => resolve(wanted, file));
    return read.find(({ bytes }) => bytes === Math.max(...read.map((each) => each.bytes)));
  };
  const parts = !options.whole && tensors.some(joinsLarge) ? await splitJoined(tensors) : tensors;
  const ordered = parts.map((tensor) => ({ tensor, first: largest(tensor)?.offset ?? source.size })).sort((a, b) => a.first - b.first);
  const uses = ordered.flatMap(({ tensor }) => tensor.sources.map((wanted) => resolve(wanted, file)));

  let loaded = file.dataOffset;
  const report = (): void => options.onProgress?.({ stage: "weights", loaded, total });
  const reads = readAhead(source, uses, signal, (bytes) => {
    loaded += bytes;
    report();
  });
  const total = file.dataOffset + reads.bytes;
  report();

  const workspace = new Workspace();
  let rested = performance.now();
  for (const { tensor } of ordered) {
    const read = async (wanted: WeightSource, i: number): Promise<ReadValues> => valuesOf(wanted, file, await reads.read(resolve(wanted, file)), (use, size) => workspace.take(`${use} of source ${i}`, size));
    const write: WriteStrip = async (data, at) => {
      await place(tensor, data, at, options.upload);
      if (performance.now() - rested > busyMilliseconds) {
        await new Promise((wake) => setTimeout(wake, 0));
        rested = performance.now();
      }
      signal.throwIfAborted();
    };
    await (options.whole ? write(await packTensor(tensor, read, workspace), 0) : packStrips(tensor, read, write, workspace));
    for (const wanted of tensor.sources) reads.release(resolve(wanted, file));
  }
  return total;
}

/** Elements of a tensor of which no two should be in memory: 16 MB of f32. */
const largeElements = 2 ** 22;

const joinsLarge = ({ sources }: PackedTensor): boolean => sources.filter(({ shape }) => elementCount(shape) >= largeElements).length > 1;

async function splitJoined(tensors: readonly PackedTensor[]): Promise<readonly PackedPart[]> {
  const { partsOf } = await import("./joined.js");
  return tensors.flatMap((tensor) => (joinsLarge(tensor) ? partsOf(tensor) : [tensor]));
}

/** The elements of a tensor of the file, decoded when they are read: of two-byte types f32 takes twice the memory. */
function valuesOf(wanted: WeightSource, file: SafetensorsFile, bytes: TensorBytes, memory: (use: string, size: number) => ArrayBuffer): ReadValues {
  const { dtype } = resolve(wanted, file);
  if (!isFloatType(dtype)) throw new TypeError(`"${wanted.names[0]}" has dtype ${dtype}, which the check refuses`);
  const length = elementCount(wanted.shape);
  const size = bytes.length / Math.max(1, length);
  const decode = (use: string, start: number, end: number): Floats => {
    const values = decodeFloats(dtype, bytes.part(start * size, end * size, (room) => memory(`${use}, as read,`, room)), (room) => memory(use, room));
    const position = firstNotFinite(values);
    if (position < 0) return values;
    const tensor = wanted.names.find((name) => file.tensors.has(name)) ?? "";
    const message = `${quote(tensor)} holds ${values[position]} at ${indexAt(start + position, wanted.shape)}: the training run diverged, or the file is damaged`;
    throw new WeightsError([{ kind: "value", tensor, message }], file.name);
  };
  return { length, part: (start, end) => decode("part", start, end), whole: () => decode("whole", 0, length) };
}

/** The file's tensor for a source that passed the check. */
function resolve({ names }: WeightSource, file: SafetensorsFile): FileTensor {
  for (const name of names) {
    const tensor = file.tensors.get(name);
    if (tensor !== undefined) return tensor;
  }
  throw new WeightsError([{ kind: "missing", tensor: names[0] ?? "", message: `${quote(names[0] ?? "")} is missing` }], file.name);
}
