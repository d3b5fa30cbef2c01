import { stat } from "node:fs/promises";
import { extname, resolve } from "node:path";
import type { ModelInput, Plan } from "../../runtime/codegen.js";
import { decodeFloats, isFloatType } from "../../runtime/decode.js";
import { InputError } from "../../runtime/errors.js";
import type { ImagePixels } from "../../runtime/image.js";
import { decodeImage, fromPath } from "../../runtime/node.js";
import { DecoderError } from "../../runtime/node-image.js";
import { readHeader } from "../../runtime/safetensors.js";
import { readExactly } from "../../runtime/source.js";
import { UserError, type Cli } from "./context.js";
import { plural, some } from "./format.js";

/** Some images, ready for a run. */
export interface Portion {
  /** What each is called in results. */
  readonly names: readonly string[];
  /** Which of all images these are. */
  readonly places: readonly number[];
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

/** Told of an image that cannot be read, and which of all it is; it is then left out. */
export type SkipImage = (file: ImageFile, error: Error, place: number) => void;

/** The images that `--skip-broken` left out. */
export class SkippedImages {
  private readonly byPlace = new Map<number, { readonly input: string; readonly error: string }>();

  constructor(private readonly cli: Cli) {}

  /** Says each image that is left out. */
  readonly skip: SkipImage = ({ name }, { message }, place) => {
    this.byPlace.set(place, { input: name, error: message });
    this.cli.say(`left out: ${message}`);
  };

  get count(): number {
    return this.byPlace.size;
  }

  /** In the order of the images, as `--json` has them. */
  get list(): readonly { readonly input: string; readonly error: string }[] {
    return [...this.byPlace].sort(([a], [b]) => a - b).map(([, each]) => each);
  }
}

/** Decoded photographs of a portion take no more than this, plus one photograph; so do those that wait for the next, plus those under way. */
const mostDecodedBytes = 512 * 2 ** 20;
/** Photographs that are decoded beside each other at least, while the model runs: what libuv has threads for. */
const decodedAtOnce = 4;

/**
 * What `--input` names: image files, or one safetensors file with `input` [n, channels, height, width].
 * @param skip see `openImages`
 * @throws UserError or InputError for files that are not there and for tensors that do not fit the model; WeightsError for a file that is no safetensors.
 */
export async function openInputs(files: readonly string[], plan: Plan, cwd: string, skip?: SkipImage): Promise<Inputs> {
  const tensors = files.filter((file) => extname(file) === ".safetensors");
  if (tensors.length > 0 && skip) throw new UserError(`--skip-broken is about image files, and ${tensors[0]} holds tensors`);
  if (tensors.length === 0) return openImages(files.map((name) => ({ name, path: resolve(cwd, name) })), plan, skip);
  if (files.length > 1) throw new UserError(`--input takes image files, or one safetensors file alone; this is ${some(files)}`);
  return openTensor(files[0]!, plan, cwd);
}

/** As many images as the plan runs at once. */
const largestBatch = (plan: Plan): number => plan.programs.infer.reduce((most, { batch }) => Math.max(most, batch), 1);

/**
 * Image files, decoded portion by portion, the next one while the model runs this one.
 * @param skip told of each that cannot be read, which is then left out; without it the first such file ends the run
 * @throws UserError or InputError for a file that is not there, and for the first if it cannot be decoded; `portions` throws them for the others.
 * With `skip`, UserError when none can be read.
 */
export async function openImages(files: readonly ImageFile[], plan: Plan, skip?: SkipImage): Promise<Inputs> {
  // Before minutes of loading and running: decoding says what is wrong with a file that is not there, and with the first in any case.
  const kept: { readonly file: ImageFile; readonly place: number }[] = [];
  for (const [place, file] of files.entries()) {
    const info = await stat(file.path).catch(() => undefined);
    if (kept.length > 0 && info?.isFile() === true) kept.push({ file, place });
    else {
      const read = await decodeOrFail(file, skip);
      if ("image" in read) kept.push({ file, place });
      else skip!(file, read.error, place);
    }
  }
  if (kept.length === 0) throw new UserError(files.length === 1 ? "the only image cannot be read" : `none of ${plural(files.length, "image")} can be read`);
  async function* portions(signal: AbortSignal): AsyncGenerator<Portion> {
    const batch = largestBatch(plan);
    let [names, places, input, decoded]: [string[], number[], ImagePixels[], number] = [[], [], [], 0];
    for await (const { file, image, at } of decodeAhead(kept.map(({ file }) => file), Math.max(decodedAtOnce, batch), signal, skip && ((file, error, at) => skip(file, error, kept[at]!.place)))) {
      names.push(file.name);
      places.push(kept[at]!.place);
      input.push(image);
      decoded += image.data.byteLength;
      if (names.length < batch && decoded < mostDecodedBytes) continue;
      yield { names, places, input };
      [names, places, input, decoded] = [[], [], [], 0];
    }
    if (names.length > 0) yield { names, places, input };
  }
  return { count: kept.length, portions };
}

/** Photographs in their order, up to `most` of them decoded ahead of need; without those that `skip` is told of. */
export async function* decodeAhead(files: readonly ImageFile[], most: number, signal: AbortSignal, skip?: SkipImage): AsyncGenerator<{ readonly file: ImageFile; readonly image: ImagePixels; readonly at: number }> {
  const underWay: Promise<Read>[] = [];
  let [started, held] = [0, 0];
  const startNext = (): void => {
    const work = decodeOrFail(files[started++]!, skip).then((read) => {
      if ("image" in read) held += read.image.data.byteLength;
      return read;
    });
    // Whoever's turn it is sees the failure; until then nobody has to.
    work.catch(() => undefined);
    underWay.push(work);
  };
  for (const [at, file] of files.entries()) {
    signal.throwIfAborted();
    while (started < files.length && (underWay.length === 0 || (started - at < most && held < mostDecodedBytes))) startNext();
    const read = await underWay.shift()!;
    if ("error" in read) {
      skip!(file, read.error, at);
      continue;
    }
    const { image } = read;
    held -= image.data.byteLength;
    // Its place is taken before it is used: then decoding goes on while the model runs.
    if (started < files.length && held < mostDecodedBytes) startNext();
    yield { file, image, at };
  }
}

/** A photograph, or why there is none. */
type Read = { readonly image: ImagePixels } | { readonly error: Error };

/** Reads a photograph; where one that cannot be read is to be left out, the error is returned. */
async function decodeOrFail(file: ImageFile, skip: SkipImage | undefined): Promise<Read> {
  try {
    return { image: await decode(file) };
  } catch (error) {
    if (skip === undefined || !isOfTheFile(error)) throw error;
    return { error };
  }
}

/** Not of the machine: without a decoder, or with too many open files, every image would seem broken. */
function isOfTheFile(error: unknown): error is Error {
  const cause = error instanceof UserError ? error.cause : error;
  const code = cause instanceof Error ? (cause.cause as NodeJS.ErrnoException | undefined)?.code : undefined;
  return cause instanceof InputError && !(cause instanceof DecoderError) && !["EMFILE", "ENFILE", "ENOMEM"].includes(code ?? "");
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
        places: Array.from({ length: images }, (_, i) => start + i),
        input: { data: values instanceof Float32Array ? values : Float32Array.from(values), shape: [images, ...wanted] },
      };
    }
  }
  return { count, portions };
}
