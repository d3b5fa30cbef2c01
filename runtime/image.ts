/** From a photograph to the input tensor, with the pixels that Pillow, torchvision, timm and transformers would give. */
import { InputError } from "./errors.js";
import { frameOf, maxPixels, roundHalfEven, type Frame } from "./framing.js";
import type { Preprocess } from "./plan.js";
import { interpolations, passesFor, resampleBytes, resampleFloats, type Interpolation, type Source } from "./image-filters.js";

export type { Interpolation } from "./image-filters.js";

/** Decoded pixels, rows from the top, channels interleaved. A browser's `ImageData` is one. */
export interface ImagePixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  /** Gray, RGB or RGBA. Without it, as many as `data.length` says (4 for `ImageData`). */
  readonly channels?: 1 | 3 | 4;
}

/**
 * Resizes as Pillow's `Image.resize` does, byte for byte.
 *
 * @param image gray or RGB; alpha is refused, because Pillow weighs colours by it and `preprocess` drops it.
 * @param width of the result, in pixels.
 * @param height of the result, in pixels.
 * @returns height x width pixels with the channels of `image`.
 * @throws InputError for an image whose size, data and channels disagree, and for sizes that are not whole and positive.
 */
export function resize(image: ImagePixels, width: number, height: number, interpolation: Interpolation): Required<ImagePixels> {
  const channels = checkImage(image);
  if (channels === 4) throw new InputError("resize takes gray or RGB pixels, not RGBA: drop the alpha channel first");
  checkInterpolation(interpolation);
  if (!isSize(width) || !isSize(height) || width * height > maxPixels) {
    throw new InputError(`cannot resize to ${width} x ${height} (width x height): both must be whole, at least 1, and at most ${maxPixels} pixels together`);
  }
  const source = { data: image.data, width: image.width, height: image.height, stride: channels, channels };
  const data = resampleBytes(source, passesFor(source, width, height, { left: 0, top: 0, width, height }, interpolation));
  return { data, width, height, channels };
}

/** What a photograph is prepared for: the recipe, and the model's input shape without the batch axis. */
export interface ImageSpec {
  readonly preprocess: Preprocess;
  readonly shape: readonly [channels: number, height: number, width: number];
}

/**
 * Prepares one photograph: drops alpha, converts between RGB and gray as the model's channels ask, resizes, crops or pads, and normalizes.
 * The bytes are those of timm's evaluation transform, of torchvision's on a Pillow image and of transformers' processors with Pillow behind
 * them, the floats those of `ToTensor` and `Normalize`. With `rescale: "before"` floats are resized, as PyTorch does, and agree to 1e-5. One
 * difference is meant: for a model image that is not square timm drops the interpolation that its config names and takes bilinear; here the
 * recipe's interpolation holds for every shape.
 *
 * @param into receives channels x height x width values, from `offset` on.
 * @throws InputError for an image whose size, data and channels disagree, or that the recipe does not fit, for models whose channels no
 *   photograph has, and for a recipe or target that does not fit the shape.
 */
export function preprocess(image: ImagePixels, spec: ImageSpec, into: Float32Array, offset: number): void {
  const channels = checkSpec(spec);
  const [, height, width] = spec.shape;
  const recipe = spec.preprocess;
  const plane = height * width;
  if (!(offset >= 0 && offset + channels * plane <= into.length)) {
    throw new InputError(`an image fills ${channels * plane} floats from ${offset} on, and the target holds ${into.length}`);
  }
  const source = readAs(image, channels);
  const frame = frameOf(source, recipe, height, width);
  const passes = passesFor(source, frame.width, frame.height, frame.area, recipe.interpolation);
  const values = imageValues(recipe, channels);
  const floats = recipe.rescale === "before";
  const pixels = floats ? resampleFloats(source, passes, recipe.rescaleFactor) : resampleBytes(source, passes);
  for (let c = 0; c < channels; c++) {
    const target = into.subarray(offset + c * plane, offset + (c + 1) * plane);
    if (frame.area.width * frame.area.height < plane) target.fill(values[values.length - channels + c]!);
    const place = floats ? normalizeFloats : normalizeBytes;
    place(pixels, source.channels, Math.min(c, source.channels - 1), values.subarray(c * (floats ? 2 : 256)), target, width, frame);
  }
}

/** Writes one of `stride` interleaved channels where the frame shows it, each byte as `values` has it. */
function normalizeBytes(pixels: ArrayLike<number>, stride: number, channel: number, values: Float32Array, into: Float32Array, width: number, { area, left, top }: Frame): void {
  for (let y = 0, from = channel; y < area.height; y++) {
    const row = (top + y) * width + left;
    for (let x = 0; x < area.width; x++, from += stride) into[row + x] = values[pixels[from]!]!;
  }
}

/** Likewise of floats, less the mean, which `values` begin with, and divided by the deviation. Both operations round to f32, as torch's do. */
function normalizeFloats(pixels: ArrayLike<number>, stride: number, channel: number, values: Float32Array, into: Float32Array, width: number, { area, left, top }: Frame): void {
  const [mean, std] = [values[0]!, values[1]!];
  for (let y = 0, from = channel; y < area.height; y++) {
    const row = (top + y) * width + left;
    for (let x = 0; x < area.width; x++, from += stride) into[row + x] = Math.fround(pixels[from]! - mean) / std;
  }
}

/**
 * What resized pixels become: the value of each of the 256 bytes of each channel, or for a recipe that rescales before it resizes the mean and
 * deviation of each channel; then the padding of each channel. Padding is black, and with borders the mean colour.
 * @throws InputError for a mean that is missing or not finite, and for a deviation that is 0 as well.
 */
export function imageValues(recipe: Preprocess, channels: number): Float32Array<ArrayBuffer> {
  const perChannel = recipe.rescale === "before" ? 2 : 256;
  const values = new Float32Array(channels * (perChannel + 1));
  for (let c = 0; c < channels; c++) {
    const [mean, std] = statistics(recipe, c);
    const valueOf = (byte: number): number => Math.fround(Math.fround(byte * recipe.rescaleFactor) - mean) / std;
    if (perChannel === 2) values.set([mean, std], 2 * c);
    else for (let byte = 0; byte < 256; byte++) values[c * 256 + byte] = valueOf(byte);
    const border = Math.min(255, Math.max(0, roundHalfEven(255 * recipe.mean[c]!)));
    values[channels * perChannel + c] = valueOf(recipe.crop === "border" ? border : 0);
  }
  return values;
}

/** The mean and deviation of a channel, rounded to f32; a model that normalises by itself takes rescaled pixels. */
function statistics({ mean: means, std: stds, normalize }: Preprocess, channel: number): readonly [mean: number, std: number] {
  const [mean, std] = [means[channel], stds[channel]];
  if (mean === undefined || std === undefined || !Number.isFinite(mean) || !Number.isFinite(std) || Math.fround(std) === 0) {
    throw new InputError(`the preprocessing has mean ${mean} and std ${std} for channel ${channel}: it needs a finite mean and a finite std other than 0`);
  }
  return normalize === "inside" ? [0, 1] : [Math.fround(mean), Math.fround(std)];
}

/**
 * Returns the channels of a model that photographs can be prepared for.
 * @throws InputError for others, and for a recipe with a filter that is not known.
 */
export function checkSpec({ shape, preprocess: { interpolation } }: ImageSpec): 1 | 3 {
  const [channels] = shape;
  if (channels !== 1 && channels !== 3) {
    throw new InputError(`the model takes ${channels} channels, and an image can only be made gray (1) or RGB (3): give it tensors of shape [${shape.join(", ")}]`);
  }
  checkInterpolation(interpolation);
  return channels;
}

function checkInterpolation(interpolation: Interpolation): void {
  if (!interpolations.includes(interpolation)) throw new InputError(`interpolation "${String(interpolation)}" is not one of ${interpolations.join(", ")}`);
}

/** Checks an image and presents it with one channel, or with one or three for an RGB model: gray is repeated after resizing. */
function readAs(image: ImagePixels, channels: 1 | 3): Source {
  const stride = checkImage(image);
  const { data, width, height } = image;
  if (stride === 1) return { data, width, height, stride, channels: 1 };
  if (channels === 3) return { data, width, height, stride, channels: 3 };
  const gray = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < gray.length; i++, at += stride) {
    // Pillow's convert("L"): ITU-R 601-2 luma in 16-bit fixed point.
    gray[i] = (data[at]! * 19595 + data[at + 1]! * 38470 + data[at + 2]! * 7471 + 0x8000) >> 16;
  }
  return { data: gray, width, height, stride: 1, channels: 1 };
}

/**
 * Returns the channels of a well-formed image.
 * @throws InputError when it is none, and when its size, data and channels disagree.
 */
export function checkImage(image: ImagePixels): 1 | 3 | 4 {
  // By tag, so that arrays of another realm (a frame, a worker's polyfill, vm) are known too.
  const kind: unknown = image?.data?.[Symbol.toStringTag];
  if (kind !== "Uint8Array" && kind !== "Uint8ClampedArray") {
    throw new InputError("an image is {data, width, height} with data in a Uint8Array or Uint8ClampedArray: ImageData, or decoded pixels");
  }
  const { data, width, height, channels } = image;
  if (!isSize(width) || !isSize(height)) {
    throw new InputError(`the image is ${width} x ${height} (width x height): both must be whole and at least 1`);
  }
  const pixels = width * height;
  const found = channels ?? ([4, 3, 1] as const).find((count) => data.length === pixels * count);
  if (found === undefined) {
    throw new InputError(`image.data holds ${data.length} bytes, and ${width} x ${height} pixels are ${pixels} (gray), ${pixels * 3} (RGB) or ${pixels * 4} (RGBA)`);
  }
  if (found !== 1 && found !== 3 && found !== 4) {
    throw new InputError(`image.channels is ${String(found)}: it must be 1 (gray), 3 (RGB) or 4 (RGBA)`);
  }
  if (data.length !== pixels * found) {
    throw new InputError(`image.data holds ${data.length} bytes, and ${width} x ${height} pixels of ${found} channels are ${pixels * found}`);
  }
  return found;
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}
