/** A size, height first. */
export type Pair = readonly [height: number, width: number];

/** A picture of numbers. */
export type MapShape = readonly [channels: number, height: number, width: number];

/** Sizes that follow from the spec. */
export interface Geometry {
  /** The map that patches are cut from: [channels, height, width] after the stem, or of the image. */
  readonly map: MapShape;
  /** Patches down and across. */
  readonly grid: Pair;
  readonly patches: number;
  /** Prefix tokens: class, distillation and registers. */
  readonly prefix: number;
  /** prefix + patches. */
  readonly tokens: number;
  /** Width of what the head reads: representation, or dim (twice, if two vectors are pooled). */
  readonly features: number;
}

interface Convolution {
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
}

/** The image and the map after each layer of the stem. With padding floor(kernel / 2) a side never shrinks below 1. */
export function stemMaps(image: MapShape, stem: readonly Convolution[]): MapShape[] {
  const maps = [image];
  for (const layer of stem) {
    const [, height, width] = maps[maps.length - 1]!;
    maps.push([layer.channels, convolved(height, layer), convolved(width, layer)]);
  }
  return maps;
}

/** Output size of a convolution with padding floor(kernel / 2). */
const convolved = (size: number, { kernel, stride }: Convolution): number => Math.floor((size + 2 * Math.floor(kernel / 2) - kernel) / stride) + 1;
