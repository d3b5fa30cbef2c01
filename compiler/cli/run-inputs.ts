import { stat } from "node:fs/promises";
import { extname, resolve } from "node:path";
import type { ModelInput, Plan } from "../../runtime/codegen.js";
import { decodeFloats, isFloatType } from "../../runtime/decode.js";
import { InputError } from "../../runtime/errors.js";
import type { ImagePixels } from "../../runtime/image.js";
import { decodeImage, fromPath } from "../../runtime/node.js";
import { readHeader } from "../../runtime/safetensors.js";
import { readExactly } from "../../runtime/source.js";
import { UserError } from "./context.js";
import { some } from "./format.js";

/** Some images, ready for a run. */
export interface Portion {
  /** What each is called in results. */
  readonly names: readonly string[];
  readonly input: ModelInput;
}

/** The images of a run, read a portion at a time: memory holds one portion and what is decoded for the next, however many there are. */
export interface Inputs {
  readonly count: number;
  portions(signal: AbortSignal): AsyncIterable<Portion>;
}

/** An image file that is to be run. */
export interface ImageFile {
  /** What it is called in results. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** Where it was named, for messages: `labels.csv:7`. */
  readonly where?: string;
}

/** Decoded photographs of a portion take no more than this, plus one photograph; so do those that wait for the next, plus those under way. */
const mostDecodedBytes = 512 * 2 ** 20;
/** Photographs that are decoded beside each other at least, while the model runs: what libuv has threads for. */
const decodedAtOnce = 4;

/**
 * What `--input` names: image files, or one safetensors file with `input` [n, channels, height, width].
 * @throws UserError or InputError for files that are not there and for tensors that do not fit the model; WeightsError for a file that is no safetensors.
 */
export async function openInputs(files: readonly string[], plan: Plan, cwd: string): Promise<Inputs> {
  const tensors = files.filter((file) => extname(file) === ".safetensors");
  if (tensors.length === 0) return openImages(files.map((name) => ({ name, path: resolve(cwd, name) })), plan);
  if (files.length > 1) throw new UserError(`--input takes image files, or one safetensors file alone; this is ${some(files)}`);
  return openTensor(files[0]!, plan, cwd);
}

/** As many images as the plan runs at once. */
const largestBatch = (plan: Plan): number => plan.programs.infer.reduce((most, { batch }) => Math.max(most, batch), 1);

/**
 * Image files, decoded portion by portion, the next one while the model runs this one.
 * @throws UserError or InputError for a file that is not there, and for the first if it cannot be decoded; `portions` throws them for the others.
 */
export async function openImages(files: readonly ImageFile[], plan: Plan): Promise<Inputs> {
  // Before minutes of loading and running: decoding says what is wrong with a file that is not there, and with the first in any case.
  for (const [i, file] of files.entries()) {
    const info = await stat(file.path).catch(() => undefined);
    if (i === 0 || info?.isFile() !== true) await decode(file);
  }
  async function* portions(signal: AbortSignal): AsyncGenerator<Portion> {
    const batch = largestBatch(plan);
    let [names, input, decoded]: [string[], ImagePixels[], number] = [[], [], 0];
    for await (const { file, image } of decodeAhead(files, Math.max(decodedAtOnce, batch), signal)) {
      names.push(file.name);
      input.push(image);
      decoded += image.data.byteLength;
      if (names.length < batch && decoded < mostDecodedBytes) continue;
      yield { names, input };
      [names, input, decoded] = [[], [], 0];
    }
    if (names.length > 0) yield { names, input };
  }
  return { count: files.length, portions };
}

/** Photographs in their order, up to `most` of them decoded ahead of need. */
export async function* decodeAhead(files: readonly ImageFile[], most: number, signal: AbortSignal): AsyncGenerator<{ readonly file: ImageFile; readonly image: ImagePixels }> {
  const underWay: Promise<ImagePixels>[] = [];
  let [started, held] = [0, 0];
  const startNext = (): void => {
    const work = decode(files[started++]!).then((image) => {
      held += image.data.byteLength;
      return image;
    });
    // Whoever's turn it is sees the failure; until then nobody has to.
    work.catch(() => undefined);
    underWay.push(work);
  };
  for (const [taken, file] of files.entries()) {
    signal.throwIfAborted();
    while (started < files.length && (underWay.length === 0 || (started - taken < most && held < mostDecodedBytes))) startNext();
    const image = await underWay.shift()!;
    held -= image.data.byteLength;
    // Its place is taken before it is used: then decoding goes on while the model runs.
    if (started < files.length && held < mostDecodedBytes) startNext();
    yield { file, image };
  }
}

/** @throws UserError or InputError, which say where the file was named if anybody said so. */
async function decode({ path, where }: ImageFile): Promise<ImagePixels> {
  try {
    return await decodeImage(path);
  } catch (cause) {
    throw where !== undefined && cause instanceof InputError ? new UserError(`${where}: ${cause.message}`, { cause }) : cause;
  }
}

async function openTensor(file: string, plan: Plan, cwd: string): Promise<Inputs> {
  const source = await fromPath(resolve(cwd, file));
  const { tensors } = await readHeader(source);
  const tensor = tensors.get("input");
  if (!tensor) throw new UserError(`${file} holds no tensor "input", which run reads; it holds ${tensors.size === 0 ? "none at all" : some([...tensors.keys()])}`);
  const [count = 0, ...image] = tensor.shape;
  const wanted = plan.input.shape;
  if (image.length !== wanted.length || image.some((size, i) => size !== wanted[i]) || count < 1) {
    throw new UserError(`${file}: "input" is [${tensor.shape.join(", ")}], and ${plan.name} takes [n, ${wanted.join(", ")}] (images, channels, height, width), n at least 1`);
  }
  const { dtype } = tensor;
  if (!isFloatType(dtype)) throw new UserError(`${file}: "input" is ${dtype}; it must be F32, F16, BF16 or F64`);
  const imageBytes = tensor.bytes / count;
  async function* portions(signal: AbortSignal): AsyncGenerator<Portion> {
    const most = largestBatch(plan);
    for (let start = 0; start < count; start += most) {
      const images = Math.min(most, count - start);
      const values = decodeFloats(dtype as Parameters<typeof decodeFloats>[0], await readExactly(source, tensor!.offset + start * imageBytes, images * imageBytes, signal));
      yield {
        names: Array.from({ length: images }, (_, i) => `${file}[${start + i}]`),
        input: { data: values instanceof Float32Array ? values : Float32Array.from(values), shape: [images, ...wanted] },
      };
    }
  }
  return { count, portions };
}
