import { SpecError } from "./errors.js";
import { stemMaps } from "./geometry.js";
import type { PreprocessSpec, Size, ViTSpec } from "./types.js";

/**
 * A spec for images of another size. Learned positions are resampled from the grid of the old size, by the spec's rule or else timm's
 * (antialiased bicubic); a resize before the crop grows with the image. Everything else stays.
 * @throws SpecError for models with tables of relative positions, which are for one grid
 */
export function withImage(spec: ViTSpec, image: Size): ViTSpec {
  const [from, to] = [pair(spec.image), pair(image)];
  if (from.every((side, axis) => side === to[axis])) return spec;
  if (spec.attention?.relative === true) throw new SpecError([{ field: "image", message: `${to.join(" x ")} is not the size of the model's tables of relative positions, ${from.join(" x ")}; leave --image out` }]);
  const { position, preprocess } = spec;
  const learned = (position?.kind ?? "learned") === "learned";
  return {
    ...spec,
    image,
    ...(learned && { position: { ...position, resample: { grid: gridOf(spec), ...position?.resample } } }),
    ...(preprocess && { preprocess: resized(preprocess, from, to) }),
  };
}

/** Rows and columns of patches. */
function gridOf({ image, patch, channels = 3, stem = [] }: ViTSpec): Size {
  const [, height, width] = stemMaps([channels, ...pair(image)], stem.map((layer) => ({ ...layer, stride: layer.stride ?? 1 }))).at(-1)!;
  const [rows, columns] = pair(patch);
  return [Math.floor(height / rows), Math.floor(width / columns)];
}

function resized({ resize, ...recipe }: PreprocessSpec, from: Pair, to: Pair): PreprocessSpec {
  if (resize === undefined || resize === "none") return { ...recipe, ...(resize !== undefined && { resize }) };
  const [height, width] = pair(resize).map((side, axis) => Math.round((side * to[axis]!) / from[axis]!)) as [number, number];
  return { ...recipe, resize: height === width ? height : [height, width] };
}

type Pair = readonly [height: number, width: number];

const pair = (size: Size): Pair => (typeof size === "number" ? [size, size] : [size[0], size[1]]);
