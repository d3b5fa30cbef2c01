/**
 * From a photograph to the input tensor, with the pixels that Pillow, torchvision and timm would give.
 * Resizing is Pillow's integer arithmetic (libImaging/Resample.c), so results are equal byte for byte, not merely close.
 */
import { InputError } from "./errors.js";
import type { Preprocess } from "./plan.js";

/** Decoded pixels, rows from the top, channels interleaved. A browser's `ImageData` is one. */
export interface ImagePixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  /** Gray, RGB or RGBA. Without it, as many as `data.length` says (4 for `ImageData`). */
  readonly channels?: 1 | 3 | 4;
}

/** Pillow's resampling filters; bicubic is Keys' with a = -0.5, lanczos has three lobes. */
export type Interpolation = Preprocess["interpolation"] | "box";

/** Coefficients are integers in units of 2^-22: 8 bits of pixel, 22 of coefficient and 2 spare fill an i32. */
const PRECISION_BITS = 22;
const ONE = 1 << PRECISION_BITS;
const HALF = 1 << (PRECISION_BITS - 1);

/** Most pixels of a result of `resize`, and longest side before a crop: enough for any photograph, and a mistake cannot take all memory. */
const MAX_PIXELS = 2 ** 28;

interface Filter {
  /** Half the width, in source pixels when enlarging and in target pixels when reducing. */
  readonly radius: number;
  readonly weight: (x: number) => number;
}

const filters: Readonly<Record<Exclude<Interpolation, "nearest">, Filter>> = {
  box: { radius: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { radius: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { radius: 2, weight: bicubic },
  lanczos: { radius: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function bicubic(signed: number): number {
  const a = -0.5;
  const x = Math.abs(signed);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Pixels that passed the checks. `stride` bytes from pixel to pixel, of which the first `channels` are read: 4 and 3 drop alpha. */
interface Source {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  readonly stride: number;
  readonly channels: 1 | 3;
}

interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** How each pixel of one axis is summed: `counts[i]` source pixels from `firsts[i]` on, with `weights[i * room ...]`. */
interface Taps {
  readonly firsts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Int32Array;
  readonly room: number;
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
  if (interpolation !== "nearest" && !Object.hasOwn(filters, interpolation)) {
    throw new InputError(`interpolation "${String(interpolation)}" is not one of nearest, ${Object.keys(filters).join(", ")}`);
  }
  if (!isSize(width) || !isSize(height) || width * height > MAX_PIXELS) {
    throw new InputError(`cannot resize to ${width} x ${height} (width x height): both must be whole, at least 1, and at most ${MAX_PIXELS} pixels together`);
  }
  const source = { data: image.data, width: image.width, height: image.height, stride: channels, channels };
  const data = resizeWindow(source, width, height, { left: 0, top: 0, width, height }, interpolation);
  return { data, width, height, channels };
}

/**
 * Prepares one photograph: drops alpha, converts between RGB and gray as the model's channels ask, resizes, crops the centre and
 * normalizes. The bytes are those of timm's evaluation transform on a Pillow image, the floats those of torchvision's `ToTensor`
 * and `Normalize`. One difference is meant: for a model image that is not square timm drops the interpolation that its config
 * names and takes bilinear; here the recipe's interpolation holds for every shape.
 *
 * @param spec the recipe, and the model's input shape without the batch axis.
 * @param into receives channels x height x width values, from `offset` on.
 * @throws InputError for an image whose size, data and channels disagree, for models whose channels no photograph has, and for a
 *   recipe or target that does not fit the shape.
 */
export function preprocess(
  image: ImagePixels,
  spec: { readonly preprocess: Preprocess; readonly shape: readonly [channels: number, height: number, width: number] },
  into: Float32Array,
  offset: number,
): void {
  const [channels, height, width] = spec.shape;
  if (channels !== 1 && channels !== 3) {
    throw new InputError(`the model takes ${channels} channels, and an image can only be made gray (1) or RGB (3): give it tensors of shape [${spec.shape.join(", ")}]`);
  }
  const plane = height * width;
  if (!(offset >= 0 && offset + channels * plane <= into.length)) {
    throw new InputError(`an image fills ${channels * plane} floats from ${offset} on, and the target holds ${into.length}`);
  }
  const source = readAs(image, channels);
  const { interpolation } = spec.preprocess;
  // A model that normalises by itself takes pixel / 255.
  const inside = spec.preprocess.normalize === "inside";
  const { mean, std } = inside ? { mean: spec.preprocess.mean.map(() => 0), std: spec.preprocess.std.map(() => 1) } : spec.preprocess;
  const resized = resizedSize(source, spec.preprocess, height, width);
  const window = cropCentre(resized, height, width);
  const pixels = resizeWindow(source, resized.width, resized.height, window, interpolation);

  for (let c = 0; c < channels; c++) {
    const values = normalized(mean[c], std[c], c);
    const first = Math.min(c, source.channels - 1);
    for (let i = 0; i < plane; i++) into[offset + c * plane + i] = values[pixels[i * source.channels + first]!]!;
  }
}

/** The tensor value of each of the 256 bytes. Every operation rounds to f32, as torch's do. */
function normalized(mean: number | undefined, std: number | undefined, channel: number): Float32Array {
  if (mean === undefined || std === undefined || !Number.isFinite(mean) || !Number.isFinite(std) || std === 0) {
    throw new InputError(`the preprocessing has mean ${mean} and std ${std} for channel ${channel}: it needs a finite mean and a finite std other than 0`);
  }
  const values = new Float32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    values[byte] = Math.fround(Math.fround(byte / 255) - Math.fround(mean)) / Math.fround(std);
  }
  return values;
}

/** The size that the whole image is resized to, before the crop: timm's `transforms_imagenet_eval`. */
function resizedSize(image: Source, recipe: Preprocess, modelHeight: number, modelWidth: number): { width: number; height: number } {
  const height = Math.floor(modelHeight / recipe.cropPct);
  const width = Math.floor(modelWidth / recipe.cropPct);
  if (recipe.crop === "squash") return { width, height };
  if (width === height) {
    // torchvision's Resize with one number: the long side is truncated, not rounded.
    return image.width <= image.height
      ? { width, height: Math.trunc((width * image.height) / image.width) }
      : { width: Math.trunc((height * image.width) / image.height), height };
  }
  // timm's ResizeKeepRatio: the smallest size that covers the target.
  const ratio = Math.min(image.height / height, image.width / width);
  return { width: roundHalfEven(image.width / ratio), height: roundHalfEven(image.height / ratio) };
}

/** The middle `height` x `width` of an image: torchvision's CenterCrop. */
function cropCentre(image: { width: number; height: number }, height: number, width: number): Window {
  if (Math.max(image.width, image.height) > MAX_PIXELS) {
    throw new InputError(`the preprocessing resizes to ${image.width} x ${image.height} (width x height) before it crops: the image is too long and thin, or cropPct too small`);
  }
  // Written so that a NaN, from a recipe without cropPct, is refused as well.
  if (!(image.width >= width && image.height >= height)) {
    throw new InputError(`the preprocessing resizes to ${image.width} x ${image.height}, which ${width} x ${height} (width x height) cannot be cropped from: cropPct must be above 0 and at most 1`);
  }
  return { left: roundHalfEven((image.width - width) / 2), top: roundHalfEven((image.height - height) / 2), width, height };
}

/** Python's `round`. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
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

/** Returns the channels of a well-formed image. */
function checkImage(image: ImagePixels): 1 | 3 | 4 {
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

/**
 * The part `window` of the image resized to `width` x `height`. Each pixel depends on its own taps alone, so nothing outside the
 * window is computed: a strip of 10000 x 1 pixels costs no more than a photograph.
 */
function resizeWindow(source: Source, width: number, height: number, window: Window, interpolation: Interpolation): Uint8ClampedArray {
  const across = makeTaps(source.width, width, window.left, window.width, interpolation);
  const down = makeTaps(source.height, height, window.top, window.height, interpolation);
  const firstRow = down.firsts[0]!;
  const last = window.height - 1;
  const rows = down.firsts[last]! + down.counts[last]! - firstRow;
  const strip = resizeRows(source, across, firstRow, rows);
  return resizeColumns(strip, window.width * source.channels, down, firstRow);
}

/** Taps of the pixels `start` to `start + count` of an axis resized from `from` to `to` pixels. */
function makeTaps(from: number, to: number, start: number, count: number, interpolation: Interpolation): Taps {
  const scale = from / to;
  if (from === to || interpolation === "nearest") return makeSingleTaps(scale, start, count);
  const filter = filters[interpolation];
  // Reducing widens the filter, which is what keeps it free of aliasing.
  const filterScale = Math.max(scale, 1);
  const support = filter.radius * filterScale;
  const room = Math.min(Math.ceil(support) * 2 + 1, from);
  const taps = { firsts: new Int32Array(count), counts: new Int32Array(count), weights: new Int32Array(count * room), room };
  const row = new Float64Array(room);
  for (let i = 0; i < count; i++) {
    const middle = (start + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - support + 0.5));
    const end = Math.min(from, Math.trunc(middle + support + 0.5));
    let sum = 0;
    for (let x = 0; x < end - first; x++) {
      // By the reciprocal, as Pillow does: a division would differ in the last bit.
      row[x] = filter.weight((x + first - middle + 0.5) * (1 / filterScale));
      sum += row[x]!;
    }
    for (let x = 0; x < end - first; x++) {
      const weight = (sum === 0 ? row[x]! : row[x]! / sum) * ONE;
      taps.weights[i * room + x] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    taps.firsts[i] = first;
    taps.counts[i] = end - first;
  }
  return taps;
}

/** One source pixel for each target pixel: nearest, and any filter on an axis that keeps its size. */
function makeSingleTaps(scale: number, start: number, count: number): Taps {
  const taps = { firsts: new Int32Array(count), counts: new Int32Array(count).fill(1), weights: new Int32Array(count).fill(ONE), room: 1 };
  // Pillow adds the scale up from pixel to pixel, and a product would round differently.
  let position = scale * 0.5;
  for (let i = 0; i < start + count; i++, position += scale) {
    if (i >= start) taps.firsts[i - start] = position;
  }
  return taps;
}

/** Horizontal pass, rounded to bytes: [rows, taps, channels] from the rows `firstRow` on of the source. */
function resizeRows({ data, width, stride, channels }: Source, taps: Taps, firstRow: number, rows: number): Uint8ClampedArray {
  const { firsts, counts, weights, room } = taps;
  const columns = firsts.length;
  const out = new Uint8ClampedArray(rows * columns * channels);
  let to = 0;
  for (let y = 0; y < rows; y++) {
    const row = (firstRow + y) * width;
    for (let x = 0; x < columns; x++) {
      const from = (row + firsts[x]!) * stride;
      const tapEnd = x * room + counts[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        for (let tap = x * room, at = from + c; tap < tapEnd; tap++, at += stride) sum = (sum + Math.imul(data[at]!, weights[tap]!)) | 0;
        out[to++] = sum >> PRECISION_BITS;
      }
    }
  }
  return out;
}

/** Vertical pass over rows of `rowLength` bytes, of which the first is row `firstRow` of the source. */
function resizeColumns(strip: Uint8ClampedArray, rowLength: number, taps: Taps, firstRow: number): Uint8ClampedArray {
  const { firsts, counts, weights, room } = taps;
  const out = new Uint8ClampedArray(firsts.length * rowLength);
  // A whole row is summed at a time, so that memory is read in order.
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < firsts.length; y++) {
    sums.fill(HALF);
    for (let tap = 0; tap < counts[y]!; tap++) {
      const from = (firsts[y]! + tap - firstRow) * rowLength;
      const weight = weights[y * room + tap]!;
      for (let i = 0; i < rowLength; i++) sums[i] = (sums[i]! + Math.imul(strip[from + i]!, weight)) | 0;
    }
    for (let i = 0; i < rowLength; i++) out[y * rowLength + i] = sums[i]! >> PRECISION_BITS;
  }
  return out;
}
