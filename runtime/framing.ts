import { InputError } from "./errors.js";
import type { Preprocess } from "./plan.js";
import type { Area } from "./image-filters.js";

/** Most pixels of a side before a crop, and of a whole result: enough for any photograph, and a mistake cannot take all memory. */
export const maxPixels: number = 2 ** 28;

/** Where the pixels of a model's input come from. */
export interface Frame {
  /** The size that the whole photograph is resized to. */
  readonly width: number;
  readonly height: number;
  /** The part of the resized photograph that the input shows. */
  readonly area: Area;
  /** Where it lies in the input: what is left of it and above, right and below is padding. */
  readonly left: number;
  readonly top: number;
}

interface Extent {
  readonly width: number;
  readonly height: number;
}

/**
 * How a recipe resizes and crops, or pads, a photograph to an input of `height` x `width`.
 * @throws InputError for a photograph whose shape the recipe cannot bring there, and for a recipe without a size.
 */
export function frameOf(image: Extent, recipe: Preprocess, height: number, width: number): Frame {
  const resized = resizedExtent(image, recipe, { height, width });
  const shown = `${resized.width} x ${resized.height} (width x height)`;
  if (![resized.width, resized.height].every((side) => Number.isSafeInteger(side) && side >= 1 && side <= maxPixels)) {
    throw new InputError(`the preprocessing makes this image of ${image.width} x ${image.height} one of ${shown}: it is too long and thin, or preprocess.resize is no size`);
  }
  const left = cropOffset(resized.width - width, recipe.cropOffset);
  const top = cropOffset(resized.height - height, recipe.cropOffset);
  const area = { left: Math.max(0, left), top: Math.max(0, top), width: Math.min(width, resized.width), height: Math.min(height, resized.height) };
  return { width: resized.width, height: resized.height, area, left: Math.max(0, -left), top: Math.max(0, -top) };
}

/** The size of the whole image before the crop: timm's `transforms_imagenet_eval`, torchvision's `Resize`. */
function resizedExtent(image: Extent, { crop, resize }: Preprocess, input: Extent): Extent {
  if (resize === "none") {
    if (image.width === input.width && image.height === input.height) return input;
    throw new InputError(`the image is ${image.width} x ${image.height} (width x height), and the preprocessing resizes nothing: it must be ${input.width} x ${input.height}`);
  }
  const [height, width] = resize;
  if (crop === "squash") return { width, height };
  const ratios = [image.height / height, image.width / width] as const;
  // timm's ResizeKeepRatio: the largest size that fits into the target, or the smallest that covers it.
  if (crop === "border") return scaled(image, Math.max(...ratios));
  if (width !== height) return scaled(image, Math.min(...ratios));
  // torchvision's Resize with one number: the long side is truncated, not rounded.
  return image.width <= image.height
    ? { width, height: Math.trunc((width * image.height) / image.width) }
    : { width: Math.trunc((height * image.width) / image.height), height };
}

const scaled = ({ width, height }: Extent, ratio: number): Extent => ({ width: roundHalfEven(width / ratio), height: roundHalfEven(height / ratio) });

/** The first row or column of a crop in the middle that leaves `margin` out; negative where so many are missing. */
function cropOffset(margin: number, rounding: Preprocess["cropOffset"]): number {
  if (rounding === "floor") return Math.floor(margin / 2);
  // torchvision's CenterCrop: a missing row is put below the image, not above it.
  return margin >= 0 ? roundHalfEven(margin / 2) : Math.ceil(margin / 2);
}

/** Python's `round`. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor % 2) : Math.round(x);
}
