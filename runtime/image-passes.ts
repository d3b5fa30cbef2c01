import { frameOf } from "./framing.js";
import { checkImage, checkSpec, imageValues, type ImagePixels, type ImageSpec } from "./image.js";
import { passesFor, toFixed, type Taps } from "./image-filters.js";

/** What a kernel of an image is bound to, and how many invocations it has at least. */
export interface ImagePass {
  /** The struct `Params` of the kernel, word by word. */
  readonly params: Uint32Array<ArrayBuffer>;
  /** A row a column or row of the result: the first pixel, how many, their weights. */
  readonly taps: Int32Array<ArrayBuffer>;
  readonly invocations: readonly [x: number, y: number];
}

/** What the kernels of compiler/kernels/image.ts are bound to besides a photograph and the model's input, for photographs of one size. */
export interface SizePasses {
  /** Which of the kernels: `floats` for recipes that rescale before they resize. */
  readonly arithmetic: "bytes" | "floats";
  /** The rows of the photograph that are read: the first, and how many. */
  readonly firstRow: number;
  readonly sourceRows: number;
  /** Of the buffer between the kernels. */
  readonly stripBytes: number;
  readonly rows: ImagePass;
  readonly columns: ImagePass & { readonly values: Float32Array<ArrayBuffer> };
}

/** How pixels lie in memory. */
export interface PixelLayout {
  readonly width: number;
  readonly height: number;
  /** Bytes of a pixel. */
  readonly stride: 1 | 3 | 4;
  /** Pixels from a row to the next; default: its width. */
  readonly pitch?: number;
  /** Whether blue comes first. */
  readonly swapped?: boolean;
}

/** One photograph for the kernels. */
export interface ImagePasses extends SizePasses {
  /** The rows of the photograph that are read, in whole words. */
  readonly source: Uint8Array;
}

/**
 * What the device needs to prepare a photograph as `preprocess` does it.
 *
 * @param offset of the model's image in the binding that is written, in floats.
 * @throws InputError as `preprocess` does.
 */
export function imagePasses(image: ImagePixels, spec: ImageSpec, offset = 0): ImagePasses {
  const stride = checkImage(image);
  const passes = sizePasses({ width: image.width, height: image.height, stride }, spec, offset);
  const { firstRow, sourceRows } = passes;
  return { ...passes, source: wholeWords(image.data, firstRow * image.width * stride, (firstRow + sourceRows) * image.width * stride) };
}

/**
 * The same for any photograph of a size.
 *
 * @throws InputError as `preprocess` does.
 */
export function sizePasses({ width: sourceWidth, height: sourceHeight, stride, pitch = sourceWidth, swapped = false }: PixelLayout, spec: ImageSpec, offset = 0): SizePasses {
  const channels = checkSpec(spec);
  const [, height, width] = spec.shape;
  const recipe = spec.preprocess;
  const size = { width: sourceWidth, height: sourceHeight };
  const frame = frameOf(size, recipe, height, width);
  const { across, down, firstRow, rows } = passesFor(size, frame.width, frame.height, frame.area, recipe.interpolation);
  const { area } = frame;
  const floats = recipe.rescale === "before";
  const rowsParams = Uint32Array.of(area.width, rows, pitch, stride, across.room, channels === 1 && stride > 1 ? 1 : 0, 0, swapped ? 1 : 0);
  new Float32Array(rowsParams.buffer)[6] = recipe.rescaleFactor;
  return {
    arithmetic: floats ? "floats" : "bytes",
    firstRow,
    sourceRows: rows,
    stripBytes: area.width * rows * (floats ? 16 : 4),
    rows: { params: rowsParams, taps: packTaps(across, 0, floats), invocations: [area.width, rows] },
    columns: {
      params: Uint32Array.of(width, height, channels, offset, frame.left, frame.top, area.width, area.height, down.room),
      taps: packTaps(down, firstRow, floats),
      invocations: [width, height],
      values: imageValues(recipe, channels),
    },
  };
}

/** The bytes from `start` to `end`, in a copy where they are no whole number of words. */
function wholeWords(data: Uint8Array | Uint8ClampedArray, start: number, end: number): Uint8Array {
  const words = Math.ceil((end - start) / 4) * 4;
  if (words === end - start) return new Uint8Array(data.buffer, data.byteOffset + start, words);
  const copy = new Uint8Array(words);
  copy.set(data.subarray(start, end));
  return copy;
}

function packTaps(taps: Taps, before: number, floats: boolean): Int32Array<ArrayBuffer> {
  const { firsts, counts, room } = taps;
  const weights = floats ? new Int32Array(Float32Array.from(taps.weights).buffer) : toFixed(taps);
  const packed = new Int32Array(firsts.length * (room + 2));
  for (let i = 0; i < firsts.length; i++) {
    packed.set([firsts[i]! - before, counts[i]!], i * (room + 2));
    packed.set(weights.subarray(i * room, (i + 1) * room), i * (room + 2) + 2);
  }
  return packed;
}
