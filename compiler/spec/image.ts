import { SpecError } from "./errors.js";
import { stemMaps } from "./geometry.js";
import type { PreprocessSpec, Size, ViTSpec } from "./types.js";

/** Images or patches of another size than a spec's own. */
export interface Sizes {
  readonly image?: Size | undefined;
  readonly patch?: Size | undefined;
}

/**
 * A spec for images or patches of another size, for the weight file that it is for already: learned positions, tables of relative positions and the
 * patch embedding are resampled from their old sizes by the spec's rules or else timm's (antialiased bicubic, `geometric`); a resize before the
 * crop grows with the image. Everything else stays.
 */
export function withSizes(spec: ViTSpec, { image = spec.image, patch = spec.patch }: Sizes): ViTSpec {
  const [from, to] = [pair(spec.image), pair(image)];
  const resized = !same(from, to);
  const repatched = !same(pair(spec.patch), pair(patch));
  if (!resized && !repatched) return spec;
  const { attention, position, patchResample, preprocess } = spec;
  const learned = (position?.kind ?? "learned") === "learned";
  return {
    ...spec,
    image: short(to),
    patch: short(pair(patch)),
    ...(learned && { position: { ...position, resample: { ...position?.resample, grid: position?.resample?.grid ?? gridOf(spec) } } }),
    ...(attention?.relative === true && { attention: { ...attention, relativeResample: { ...attention.relativeResample, grid: attention.relativeResample?.grid ?? gridOf(spec) } } }),
    ...(repatched && { patchResample: { ...patchResample, patch: patchResample?.patch ?? spec.patch } }),
    ...(preprocess && resized && { preprocess: resizedRecipe(preprocess, from, to) }),
  };
}

/**
 * Rows and columns of patches.
 * @throws SpecError for a patch that is larger than what it is cut from: such a spec has no grid to resample from.
 */
function gridOf({ image, patch, channels = 3, stem = [] }: ViTSpec): Size {
  const [, height, width] = stemMaps([channels, ...pair(image)], stem.map((layer) => ({ ...layer, stride: layer.stride ?? 1 }))).at(-1)!;
  const [rows, columns] = pair(patch);
  if (rows > height || columns > width) throw new SpecError([{ field: "patch", message: `${rows} x ${columns} is larger than the ${height} x ${width} that it is cut from; use a smaller one` }]);
  return short([Math.floor(height / rows), Math.floor(width / columns)]);
}

function resizedRecipe({ resize, ...recipe }: PreprocessSpec, from: Pair, to: Pair): PreprocessSpec {
  if (resize === undefined || resize === "none") return { ...recipe, ...(resize !== undefined && { resize }) };
  const [height, width] = pair(resize).map((side, axis) => Math.round((side * to[axis]!) / from[axis]!)) as [number, number];
  return { ...recipe, resize: height === width ? height : [height, width] };
}

type Pair = readonly [height: number, width: number];

const pair = (size: Size): Pair => (typeof size === "number" ? [size, size] : [size[0], size[1]]);

const same = (a: Pair, b: Pair): boolean => a.every((side, axis) => side === b[axis]);

/** One number for a square. */
const short = (size: Pair): Size => (size[0] === size[1] ? size[0] : size);
