/**
 * Resampling of a part of an image: Pillow's, in integers (libImaging/Resample.c), so that results are equal byte for byte, and PyTorch's
 * antialiased one in floats. Both take the same filters, in two passes, rows first.
 */
import type { Preprocess } from "./plan.js";

/** Pillow's resampling filters; bicubic is Keys' with a = -0.5, lanczos has three lobes. */
export type Interpolation = Preprocess["interpolation"];

/** A rectangle of pixels. */
export interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Pixels to resample. `stride` bytes from pixel to pixel, of which the first `channels` are read: 4 and 3 drop alpha. */
export interface Source {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  readonly stride: number;
  readonly channels: 1 | 3;
}

/** How each pixel of one axis is summed: `counts[i]` source pixels from `firsts[i]` on, with `weights[i * room ...]`, whose sum is 1. */
export interface Taps {
  readonly firsts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float64Array;
  readonly room: number;
}

/** Coefficients are integers in units of 2^-22: 8 bits of pixel, 22 of coefficient and 2 spare (lanczos sums to 1.3 in magnitude) fill an i32. */
const precisionBits = 22;
const one = 1 << precisionBits;
const half = 1 << (precisionBits - 1);

interface Filter {
  /** Half the width, in source pixels when enlarging and in target pixels when reducing. */
  readonly radius: number;
  readonly weight: (x: number) => number;
}

const filters: Readonly<Record<Exclude<Interpolation, "nearest">, Filter>> = {
  box: { radius: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { radius: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { radius: 1, weight: hamming },
  bicubic: { radius: 2, weight: bicubic },
  lanczos: { radius: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

export const interpolations: readonly Interpolation[] = ["nearest", ...(Object.keys(filters) as Interpolation[])];

function hamming(signed: number): number {
  const x = Math.abs(signed);
  if (x === 0) return 1;
  if (x >= 1) return 0;
  const angle = x * Math.PI;
  return (Math.sin(angle) / angle) * (0.54 + 0.46 * Math.cos(angle));
}

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

/** Taps of the pixels `start` to `start + count` of an axis resized from `from` to `to` pixels. */
export function makeTaps(from: number, to: number, start: number, count: number, interpolation: Interpolation): Taps {
  const scale = from / to;
  if (from === to || interpolation === "nearest") return makeSingleTaps(scale, start, count);
  const filter = filters[interpolation];
  // Reducing widens the filter, which is what keeps it free of aliasing.
  const filterScale = Math.max(scale, 1);
  const support = filter.radius * filterScale;
  const room = Math.min(Math.ceil(support) * 2 + 1, from);
  const taps = { firsts: new Int32Array(count), counts: new Int32Array(count), weights: new Float64Array(count * room), room };
  for (let i = 0; i < count; i++) {
    const middle = (start + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - support + 0.5));
    const end = Math.min(from, Math.trunc(middle + support + 0.5));
    const row = taps.weights.subarray(i * room, i * room + end - first);
    let sum = 0;
    for (let x = 0; x < row.length; x++) {
      // By the reciprocal, as Pillow does: a division would differ in the last bit.
      row[x] = filter.weight((x + first - middle + 0.5) * (1 / filterScale));
      sum += row[x]!;
    }
    if (sum !== 0) for (let x = 0; x < row.length; x++) row[x]! /= sum;
    taps.firsts[i] = first;
    taps.counts[i] = end - first;
  }
  return taps;
}

/** One source pixel for each target pixel: nearest, and any filter on an axis that keeps its size. */
function makeSingleTaps(scale: number, start: number, count: number): Taps {
  const taps = { firsts: new Int32Array(count), counts: new Int32Array(count).fill(1), weights: new Float64Array(count).fill(1), room: 1 };
  // Pillow adds the scale up from pixel to pixel, and a product would round differently.
  let position = scale * 0.5;
  for (let i = 0; i < start + count; i++, position += scale) {
    if (i >= start) taps.firsts[i - start] = position;
  }
  return taps;
}

/** The weights as Pillow's integers. */
export function toFixed({ weights }: Taps): Int32Array {
  return Int32Array.from(weights, (weight) => Math.trunc(weight * one + (weight < 0 ? -0.5 : 0.5)));
}

/** Taps of both axes for a part of a resized image, and the rows of the source that they read. */
export interface Passes {
  readonly across: Taps;
  readonly down: Taps;
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * What computes the part `area` of an image of `source`'s size resized to `width` x `height`. Each pixel depends on its own taps alone, so
 * nothing outside the area is computed: a strip of 10000 x 1 pixels costs no more than a photograph.
 */
export function passesFor(source: { readonly width: number; readonly height: number }, width: number, height: number, area: Area, interpolation: Interpolation): Passes {
  const across = makeTaps(source.width, width, area.left, area.width, interpolation);
  const down = makeTaps(source.height, height, area.top, area.height, interpolation);
  const firstRow = down.firsts[0]!;
  const last = area.height - 1;
  return { across, down, firstRow, rows: down.firsts[last]! + down.counts[last]! - firstRow };
}

/** The passes on bytes, as Pillow has them: [rows, columns, channels], rounded to bytes between the passes too. */
export function resampleBytes(source: Source, passes: Passes): Uint8ClampedArray {
  return sumColumns(sumRows(source, passes), passes.across.firsts.length * source.channels, passes);
}

function sumRows({ data, width, stride, channels }: Source, { across, firstRow, rows }: Passes): Uint8ClampedArray {
  const { firsts, counts, room } = across;
  const weights = toFixed(across);
  const columns = firsts.length;
  const out = new Uint8ClampedArray(rows * columns * channels);
  let to = 0;
  for (let y = 0; y < rows; y++) {
    const row = (firstRow + y) * width;
    for (let x = 0; x < columns; x++) {
      const from = (row + firsts[x]!) * stride;
      const tapEnd = x * room + counts[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = half;
        for (let tap = x * room, at = from + c; tap < tapEnd; tap++, at += stride) sum = (sum + Math.imul(data[at]!, weights[tap]!)) | 0;
        out[to++] = sum >> precisionBits;
      }
    }
  }
  return out;
}

function sumColumns(strip: Uint8ClampedArray, rowLength: number, { down, firstRow }: Passes): Uint8ClampedArray {
  const { firsts, counts, room } = down;
  const weights = toFixed(down);
  const out = new Uint8ClampedArray(firsts.length * rowLength);
  // A whole row is summed at a time, so that memory is read in order.
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < firsts.length; y++) {
    sums.fill(half);
    for (let tap = 0; tap < counts[y]!; tap++) {
      const from = (firsts[y]! + tap - firstRow) * rowLength;
      const weight = weights[y * room + tap]!;
      for (let i = 0; i < rowLength; i++) sums[i] = (sums[i]! + Math.imul(strip[from + i]!, weight)) | 0;
    }
    for (let i = 0; i < rowLength; i++) out[y * rowLength + i] = sums[i]! >> precisionBits;
  }
  return out;
}

/**
 * The passes on pixel * factor in floats, as PyTorch's antialiased `interpolate` has them: [rows, columns, channels], neither rounded to bytes
 * nor clipped. Sums are f64 and rounded to f32 after each pass.
 */
export function resampleFloats({ data, width, stride, channels }: Source, { across, down, firstRow, rows }: Passes, factor: number): Float32Array {
  const columns = across.firsts.length;
  const values = Float32Array.from({ length: 256 }, (_, byte) => byte * Math.fround(factor));
  const rowLength = columns * channels;
  const strip = new Float32Array(rows * rowLength);
  for (let y = 0, to = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const from = ((firstRow + y) * width + across.firsts[x]!) * stride;
      const tapEnd = x * across.room + across.counts[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let tap = x * across.room, at = from + c; tap < tapEnd; tap++, at += stride) sum += values[data[at]!]! * across.weights[tap]!;
        strip[to++] = sum;
      }
    }
  }
  const out = new Float32Array(down.firsts.length * rowLength);
  const sums = new Float64Array(rowLength);
  for (let y = 0; y < down.firsts.length; y++) {
    sums.fill(0);
    for (let tap = 0; tap < down.counts[y]!; tap++) {
      const from = (down.firsts[y]! + tap - firstRow) * rowLength;
      const weight = down.weights[y * down.room + tap]!;
      for (let i = 0; i < rowLength; i++) sums[i]! += strip[from + i]! * weight;
    }
    out.set(sums, y * rowLength);
  }
  return out;
}
