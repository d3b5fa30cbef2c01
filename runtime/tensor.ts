import { InputError } from "./errors.js";
import type { ImagePixels, preprocess } from "./image.js";
import type { Plan } from "./plan.js";

/** f32 values of shape [images, ...Shape], row-major, with that shape beside them. */
export type Tensor<Shape extends readonly number[] = readonly number[]> = Float32Array<ArrayBuffer> & {
  readonly shape: readonly [images: number, ...shape: Shape];
};

/** Values that are preprocessed already, with their shape: [images, channels, height, width], or [channels, height, width] for one. */
export interface TensorInput {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** An image file: a Blob (a File is one) or its bytes; in Node also a path, or a file: URL. It is decoded to the pixels that Pillow gives. */
export type EncodedImage = Blob | ArrayBuffer | Uint8Array | string | URL;

/** One photograph: an image file, or pixels (`ImageData`, or anything with data, width, height). */
export type Photograph = EncodedImage | ImagePixels;

/**
 * An image that the browser or the device holds: it is prepared on the device, with the numbers that its pixels have on the CPU, and never read
 * back. Colours are taken as they are, alpha is dropped. A texture of the model's own device is 2-d, `rgba8unorm` or `bgra8unorm` (`-srgb` or
 * not), with usage COPY_SRC. Leave it as it is, and open, until the run is settled.
 */
export type DeviceImage = ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas | HTMLVideoElement | VideoFrame | GPUTexture;

/**
 * f32 values on the model's own device, as `TensorInput` has them in memory, from byte `offset` (default 0) on. The buffer has usage COPY_SRC; it
 * is read when the run has its turn. Values that are not finite make every result of the run meaningless, and nobody looks.
 */
export interface BufferInput {
  readonly buffer: GPUBuffer;
  readonly offset?: number;
  readonly shape: readonly number[];
}

/** What can be given without a device: photographs, or f32 values that are preprocessed already. */
export type HostInput = Photograph | readonly Photograph[] | Float32Array | TensorInput;

/**
 * What `run` takes: one photograph or several, which are resized and normalised by the spec's recipe; or f32 values that are preprocessed
 * already, bare (any number of images) or with their shape. Both may be on the device.
 */
export type ModelInput = HostInput | DeviceImage | readonly (Photograph | DeviceImage)[] | GPUBuffer | BufferInput;

/** A batch of f32 values, [count, channels, height, width], in memory. */
export interface HostBatch {
  readonly data: Float32Array;
  readonly count: number;
}

/** Or on the device, from byte `offset` on, until it is released. */
export interface DeviceBatch {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly count: number;
  release(): void;
}

export type Batch = HostBatch | DeviceBatch;

/** Pixels of an image file. */
export type DecodeImage = (source: EncodedImage) => Promise<ImagePixels>;

/**
 * Turns what the user gave into a batch, at once unless there are files to decode or it is the first photograph. All of it is taken when this is called.
 * @throws InputError naming what was given and what the model takes; for files the promise is rejected with it.
 */
export function toBatch(input: HostInput, plan: Plan, decode: DecodeImage): HostBatch | Promise<HostBatch> {
  const shape = plan.input.shape;
  const size = elements(shape);
  // Values that say their own shape, as the results of a model do, are held to it.
  if (input instanceof Float32Array && "shape" in input) return fromTensor({ data: input, shape: input.shape as readonly number[] }, shape);
  if (input instanceof Float32Array) {
    if (input.length === 0 || input.length % size !== 0) throw new InputError(`${input.length} values are no whole number of images; one image is ${describe(shape)} = ${size} values`);
    return { data: finite(input), count: input.length / size };
  }
  if (Array.isArray(input)) return fromImages(input as readonly Photograph[], plan, decode);
  if (isEncoded(input)) return fromImages([input], plan, decode);
  if (typeof input !== "object" || input === null) throw new InputError(`${input === null ? "null" : typeof input} is not an image; give a file as a Blob or bytes, pixels {data, width, height}, a list of them, or a Float32Array of ${describe(shape)} values`);
  return "shape" in input ? fromTensor(input, shape) : fromImages([input as ImagePixels], plan, decode);
}

function fromTensor({ data, shape: given }: TensorInput, shape: readonly number[]): HostBatch {
  const count = countImages(given, shape);
  if (!(data instanceof Float32Array) || data.length !== count * elements(shape)) {
    throw new InputError(`${data instanceof Float32Array ? `${data.length} values` : "data that is no Float32Array"} for a shape of ${describe(given)}, which has ${count * elements(shape)}`);
  }
  return { data: finite(data), count };
}

/**
 * How many images of `shape` a tensor's shape stands for.
 * @throws InputError when it is no shape of such images
 */
export function countImages(given: readonly number[], shape: readonly number[]): number {
  if (!((given as unknown) instanceof Array)) throw new InputError(`shape is ${typeof given}; it must be a list of sizes, [images, ${shape.join(", ")}]`);
  const single = given.length === shape.length;
  const image = single ? given : given.slice(1);
  const count = single ? 1 : (given[0] ?? 0);
  if (image.length !== shape.length || image.some((n, i) => n !== shape[i])) {
    throw new InputError(`an input of ${describe(given)} does not fit this model, which takes images of ${describe(shape)} (channels x height x width)`);
  }
  if (!Number.isInteger(count) || count < 1) throw new InputError(`${count} images; give at least 1`);
  return count;
}

/** WGSL may assume that no number is infinite or NaN, so one such value makes every result meaningless, not only its own. */
function finite(data: Float32Array): Float32Array {
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new InputError(`value ${bad} of the input is ${data[bad]}; all must be finite`);
  return data;
}

/** By their names: a page's frames and a polyfill have classes of their own. */
const deviceImages = /^(ImageBitmap|HTMLImageElement|HTMLCanvasElement|OffscreenCanvas|HTMLVideoElement|VideoFrame|GPUTexture)$/;

/** The name of an object's class, or "". */
export function tagOf(value: unknown): string {
  const tag: unknown = typeof value === "object" && value !== null && Symbol.toStringTag in value ? value[Symbol.toStringTag] : "";
  return typeof tag === "string" ? tag : "";
}

export const isDeviceImage = (value: unknown): value is DeviceImage => deviceImages.test(tagOf(value));

/** Whether an input needs no device to become a batch. What is no input at all counts as such. */
export function isHostInput(input: ModelInput): input is HostInput {
  if (Array.isArray(input)) return !input.some(isDeviceImage);
  return !isDeviceImage(input) && tagOf(input) !== "GPUBuffer" && !(typeof input === "object" && input !== null && "buffer" in input && tagOf(input.buffer) === "GPUBuffer");
}

function isEncoded(value: unknown): value is EncodedImage {
  return typeof value === "string" || value instanceof Uint8Array || value instanceof ArrayBuffer || value instanceof Blob || value instanceof URL;
}

/** The code for photographs comes with the first: models that are given tensors do without. */
let prepare: typeof preprocess | undefined;

function fromImages(images: readonly Photograph[], plan: Plan, decode: DecodeImage): HostBatch | Promise<HostBatch> {
  if (images.length === 0) throw new InputError("no images; give at least 1");
  const prepared = prepare;
  if (prepared === undefined) {
    const taken = Array.from(images, copyOf);
    return import("./image.js").then((module) => {
      prepare = module.preprocess;
      return fromImages(taken, plan, decode);
    });
  }
  const [channels, height, width] = plan.input.shape as readonly [number, number, number];
  const size = channels * height * width;
  const data = new Float32Array(images.length * size);
  const batch: HostBatch = { data, count: images.length };
  const place = (image: ImagePixels, i: number): void => prepared(image, { preprocess: plan.preprocess, shape: [channels, height, width] }, data, i * size);
  const files: (readonly [index: number, file: EncodedImage])[] = [];
  // Not forEach, which skips the holes of a sparse list.
  for (let i = 0; i < images.length; i++) {
    const image = images[i]!;
    if (isEncoded(image)) files.push([i, copyOf(image) as EncodedImage]);
    else place(image, i);
  }
  return files.length === 0 ? batch : placeFiles(files, place, decode).then(() => batch);
}

/** What the caller may write to is copied; what is no image is left for whoever says so. */
function copyOf(image: Photograph): Photograph {
  if (image instanceof ArrayBuffer) return image.slice(0);
  // Not slice(), by which Node's Buffer gives the same memory.
  if (image instanceof Uint8Array) return new Uint8Array(image);
  const { data, width, height, channels } = (image ?? {}) as Partial<ImagePixels>;
  return ArrayBuffer.isView(data) ? ({ data: new Uint8Array(data), width, height, ...(channels !== undefined && { channels }) } as ImagePixels) : image;
}

/** One after the other: memory holds the pixels of one photograph, however many there are. */
async function placeFiles(files: readonly (readonly [index: number, file: EncodedImage])[], place: (image: ImagePixels, index: number) => void, decode: DecodeImage): Promise<void> {
  for (const [index, file] of files) place(await decode(file), index);
}

export const elements = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

export const describe = (shape: readonly number[]): string => shape.join(" x ");

/** Puts a shape beside values. */
export function withShape(data: Float32Array<ArrayBuffer>, shape: readonly number[]): Tensor {
  return Object.defineProperty(data, "shape", { value: Object.freeze(shape), enumerable: false }) as Tensor;
}
