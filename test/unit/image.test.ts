/** Photographs as inputs of models: what Pillow, timm, torchvision and torch make of them. */
import { readdirSync } from "node:fs";
import { basename, extname, join } from "node:path";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { decodeImage } from "../../runtime/node.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { PreprocessSpec } from "../../compiler/spec/types.js";
import { InputError } from "../../runtime/errors.js";
import { preprocess, resize, type ImagePixels, type Interpolation } from "../../runtime/image.js";
import type { Preprocess } from "../../runtime/plan.js";
import { assertSame, bytesOf, pixelsOf, preprocessFixtures as fixtures, readFixture, type StoredImage } from "../tools/pixels.js";
import { suite } from "../tools/suite.js";

const interpolations: readonly Interpolation[] = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"];
const plain: Preprocess = { crop: "squash", resize: [4, 4], cropOffset: "round", interpolation: "bicubic", rescale: "after", rescaleFactor: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1], normalize: "outside" };

/** timm's crop_pct as a size. */
const sizeOf = ([, height, width]: readonly [number, number, number], cropPct: number): [number, number] => [Math.floor(height / cropPct), Math.floor(width / cropPct)];

/** As `recipes.json` has them: resize the shortest side or both to `to`, then crop to `crop`. */
interface Recipe {
  readonly resize: "shortest" | "squash";
  readonly to: number;
  readonly filter: "bilinear" | "bicubic";
  readonly crop: number | null;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Cases that Pillow computed: see the `how` of pillow.json. */
interface PillowCases {
  readonly resize: readonly { image: StoredImage; width: number; height: number; interpolation: Interpolation; expected: string }[];
  readonly preprocess: readonly {
    image: StoredImage;
    shape: [number, number, number];
    crop: Preprocess["crop"];
    cropPct: number;
    interpolation: Preprocess["interpolation"];
    expected: string;
  }[];
}

/** Interleaved bytes as torchvision's ToTensor and Normalize make floats of them, each operation rounded to f32. */
function normalize(pixels: ArrayLike<number>, channels: number, mean: readonly number[], std: readonly number[]): Float32Array {
  const plane = pixels.length / channels;
  return Float32Array.from({ length: pixels.length }, (_, at) => {
    const channel = Math.floor(at / plane);
    const unit = Math.fround(pixels[(at % plane) * channels + channel]! / 255);
    return Math.fround(unit - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
  });
}

function assertRefused(work: () => unknown, ...parts: readonly RegExp[]): void {
  try {
    work();
  } catch (error) {
    assert.instance(error, InputError);
    for (const part of parts) assert.match((error as InputError).message, part);
    return;
  }
  assert.unreachable("nothing was thrown");
}

const photographs = suite("photographs");
const recipes = readFixture<Record<string, Recipe>>("recipes.json");

for (const file of readdirSync(join(fixtures, "images"))) {
  for (const [name, recipe] of Object.entries(recipes)) {
    // JPEG sources are held to equality as well: sharp's decoder gives Pillow's pixels.
    photographs(`${file} under ${name} equals Pillow's pixels and torch's floats`, async () => {
      const image = await decodeImage(join(fixtures, "images", file));
      const golden = await decodeImage(join(fixtures, `${basename(file, extname(file))}.${name}.png`));
      const side = recipe.crop ?? recipe.to;
      const tensor = new Float32Array(3 * side * side);
      const { mean, std, filter: interpolation } = recipe;
      const crop = recipe.resize === "squash" ? "squash" : "center";
      preprocess(image, { preprocess: { ...plain, crop, resize: [recipe.to, recipe.to], interpolation, mean, std }, shape: [3, side, side] }, tensor, 0);
      assertSame(tensor, normalize(golden.data, 3, mean, std), file);
    });
  }
}

photographs("the goldens are all there", () => {
  assert.is(readdirSync(join(fixtures, "images")).length * Object.keys(recipes).length, 32);
});

photographs("timm's 0.9 of 224 is a resize to 248", async () => {
  const image = await decodeImage(join(fixtures, "images", "cat.png"));
  const golden = await decodeImage(join(fixtures, "cat.timm-augreg-224.png"));
  const tensor = new Float32Array(3 * 224 * 224);
  preprocess(image, { preprocess: { ...plain, crop: "center", resize: sizeOf([3, 224, 224], 0.9) }, shape: [3, 224, 224] }, tensor, 0);
  assertSame(tensor, normalize(golden.data, 3, [0, 0, 0], [1, 1, 1]), "cat");
});

photographs("resize alone equals the squashed goldens", async () => {
  const image = await decodeImage(join(fixtures, "images", "rocket.jpg"));
  const golden = await decodeImage(join(fixtures, "rocket.siglip-256.png"));
  assertSame(resize(image, 256, 256, "bicubic").data, golden.data, "rocket");
});

photographs.run();

const pillow = suite("Pillow on random pixels");
const cases = readFixture<PillowCases>("pillow.json");

for (const interpolation of interpolations) {
  pillow(`resizes with ${interpolation}`, () => {
    const chosen = cases.resize.filter((c) => c.interpolation === interpolation);
    // Those of hamming came later: transforms.json has them.
    assert.ok(chosen.length >= 5 || interpolation === "hamming", `only ${chosen.length} cases`);
    for (const c of chosen) {
      const result = resize(pixelsOf(c.image), c.width, c.height, interpolation);
      assertSame(result.data, bytesOf(c.expected), `${c.image.width} x ${c.image.height} x ${c.image.channels} to ${c.width} x ${c.height}`);
      assert.equal([result.width, result.height, result.channels], [c.width, c.height, c.image.channels]);
    }
  });
}

pillow("prepares gray, RGB and RGBA for gray and RGB models, square and not", () => {
  const kinds = new Set<string>();
  for (const c of cases.preprocess) {
    const [channels, height, width] = c.shape;
    kinds.add(`${c.image.channels} to ${channels}, ${c.crop}, ${width === height ? "square" : "oblong"}`);
    const recipe: Preprocess = { ...plain, crop: c.crop, resize: sizeOf(c.shape, c.cropPct), interpolation: c.interpolation };
    const tensor = new Float32Array(channels * height * width);
    preprocess(pixelsOf(c.image), { preprocess: recipe, shape: c.shape }, tensor, 0);
    assertSame(tensor, normalize(bytesOf(c.expected), channels, recipe.mean, recipe.std), JSON.stringify({ ...recipe, shape: c.shape }));
  }
  for (const kind of ["4 to 1", "4 to 3", "3 to 1", "3 to 3", "1 to 1", "1 to 3", "center, oblong", "center, square", "squash, oblong"]) {
    assert.ok([...kinds].some((found) => found.includes(kind)), `no case of ${kind}`);
  }
});

pillow.run();

/** Cases that other libraries computed: see the `how` of each file. */
interface TransformCase {
  readonly by: "timm" | "torchvision";
  readonly image: StoredImage;
  readonly shape: readonly [number, number, number];
  readonly preprocess: PreprocessSpec;
  readonly expected: string;
}

const transforms = suite("timm's and torchvision's transforms");
const transformCases = readFixture<{ cases: readonly TransformCase[] }>("transforms.json").cases;

/** As a spec has it, resolved. */
const resolved = (written: PreprocessSpec, [channels, height, width]: readonly [number, number, number]): Preprocess =>
  resolve({ name: "model", image: [height, width], patch: 1, channels, dim: 8, depth: 1, heads: 1, preprocess: written }).preprocess;

for (const by of ["timm", "torchvision"] as const) {
  for (const crop of ["center", "squash", "border"] as const) {
    const chosen = transformCases.filter((c) => c.by === by && (c.preprocess.crop ?? "center") === crop);
    if (chosen.length === 0) continue;
    transforms(`${by}, ${crop}: ${chosen.length} images, gray and RGB, square and not, every filter`, () => {
      for (const c of chosen) {
        const recipe = { ...resolved(c.preprocess, c.shape), std: c.shape[0] === 1 ? [1] : [1, 1, 1] };
        // Against bytes: what the mean would be taken from.
        const made = new Float32Array(c.shape[0] * c.shape[1] * c.shape[2]);
        preprocess(pixelsOf(c.image), { preprocess: { ...recipe, normalize: "inside", rescaleFactor: 1 }, shape: c.shape }, made, 0);
        const plane = c.shape[1] * c.shape[2];
        const expected = bytesOf(c.expected);
        assertSame(made, Float32Array.from({ length: made.length }, (_, at) => expected[(at % plane) * c.shape[0] + Math.floor(at / plane)]!), JSON.stringify({ ...c.preprocess, shape: c.shape, from: [c.image.width, c.image.height] }));
      }
      const filters = new Set(chosen.map((c) => c.preprocess.interpolation));
      assert.is(filters.size, 6, [...filters].join(", "));
    });
  }
}

transforms("some images are padded, some cropped by an odd number", () => {
  const margins = transformCases.map((c) => {
    const { resize } = resolved(c.preprocess, c.shape);
    return resize === "none" ? 0 : Math.min(resize[0] - c.shape[1], resize[1] - c.shape[2]);
  });
  assert.ok(margins.some((margin) => margin < 0) && margins.some((margin) => margin > 0 && margin % 2 === 1));
});

transforms("rescaled first, images are resized as torch's antialiased interpolate does it, to 1e-5", () => {
  const { cases: floats } = readFixture<{ cases: readonly { image: StoredImage; shape: [number, number, number]; interpolation: Interpolation; expected: string }[] }>("floats.json");
  let largest = 0;
  for (const c of floats) {
    const [channels, height, width] = c.shape;
    const made = new Float32Array(channels * height * width);
    preprocess(pixelsOf(c.image), { preprocess: { ...plain, resize: [height, width], interpolation: c.interpolation, rescale: "before" }, shape: c.shape }, made, 0);
    const expected = new Float32Array(bytesOf(c.expected).buffer);
    assert.is(made.length, expected.length);
    for (let i = 0; i < made.length; i++) largest = Math.max(largest, Math.abs(made[i]! - expected[i]!));
  }
  assert.ok(floats.length >= 20 && largest < 1e-5, `${floats.length} cases differ by up to ${largest}`);
});

transforms.run();

const properties = suite("resize");
const side = fc.integer({ min: 1, max: 40 });

properties("to the same size changes nothing", () => {
  fc.assert(fc.property(side, side, fc.constantFrom(1 as const, 3 as const), fc.constantFrom(...interpolations), fc.infiniteStream(fc.nat(255)), (width, height, channels, interpolation, pixels) => {
    const data = Uint8Array.from(pixels.take(width * height * channels));
    assertSame(resize({ data, width, height, channels }, width, height, interpolation).data, data, "pixels");
  }), { numRuns: 50 });
});

properties("keeps a constant image constant", () => {
  fc.assert(fc.property(side, side, side, side, fc.nat(255), fc.constantFrom(...interpolations), (width, height, toWidth, toHeight, value, interpolation) => {
    const data = new Uint8Array(width * height).fill(value);
    const result = resize({ data, width, height }, toWidth, toHeight, interpolation);
    assertSame(result.data, new Uint8Array(toWidth * toHeight).fill(value), "pixels");
  }), { numRuns: 200 });
});

properties("treats the channels alike", () => {
  fc.assert(fc.property(side, side, side, side, fc.constantFrom(...interpolations), fc.infiniteStream(fc.nat(255)), (width, height, toWidth, toHeight, interpolation, pixels) => {
    const gray = Uint8Array.from(pixels.take(width * height));
    const rgb = Uint8Array.from({ length: gray.length * 3 }, (_, i) => gray[Math.floor(i / 3)]!);
    const one = resize({ data: gray, width, height }, toWidth, toHeight, interpolation).data;
    const three = resize({ data: rgb, width, height }, toWidth, toHeight, interpolation).data;
    assertSame(three, Uint8Array.from({ length: one.length * 3 }, (_, i) => one[Math.floor(i / 3)]!), "pixels");
  }), { numRuns: 50 });
});

properties.run();

const inputs = suite("preprocess");
const target = new Float32Array(3 * 4 * 4);
const prepare = (image: ImagePixels, channels = 3): void => preprocess(image, { preprocess: plain, shape: [channels, 4, 4] }, target, 0);

inputs("takes a browser's ImageData", () => {
  const fromCanvas = (data: ImageData): ImagePixels => data; // It is the type checker that tests this line.
  assert.type(fromCanvas, "function");
  const data = new Uint8ClampedArray(4 * 4 * 4).fill(255).map((value, i) => (i % 4 === 3 ? 7 : value));
  prepare({ data, width: 4, height: 4 });
  assertSame(target, new Float32Array(48).fill(1), "white, whatever its alpha");
});

inputs("writes from the offset on, and nothing else", () => {
  const batch = new Float32Array(3 * 48).fill(-7);
  preprocess({ data: new Uint8Array(48), width: 4, height: 4 }, { preprocess: plain, shape: [3, 4, 4] }, batch, 48);
  assertSame(batch, Float32Array.from({ length: 144 }, (_, i) => (i >= 48 && i < 96 ? 0 : -7)), "batch");
  assertRefused(() => preprocess({ data: new Uint8Array(48), width: 4, height: 4 }, { preprocess: plain, shape: [3, 4, 4] }, batch, 97), /48 floats from 97/, /144/);
});

inputs("computes only the crop of a long strip", () => {
  // Whole, this strip would be 224 x 67 million pixels after the resize.
  const image = { data: new Uint8Array(300_000).fill(51), width: 300_000, height: 1 };
  const tensor = new Float32Array(224 * 224);
  preprocess(image, { preprocess: { ...plain, crop: "center", resize: [224, 224] }, shape: [1, 224, 224] }, tensor, 0);
  assertSame(tensor, new Float32Array(224 * 224).fill(51 / 255), "strip");
});

inputs("refuses images whose size and data disagree, with the numbers", () => {
  assertRefused(() => prepare({ data: new Uint8Array(0), width: 0, height: 4 }), /0 x 4/);
  assertRefused(() => prepare({ data: new Uint8Array(16), width: NaN, height: 4 }), /NaN x 4/);
  assertRefused(() => prepare({ data: new Uint8Array(16), width: 4.5, height: 4 }), /4\.5 x 4/);
  assertRefused(() => prepare({ data: new Uint8Array(50), width: 4, height: 4 }), /50 bytes/, /16 \(gray\), 48 \(RGB\) or 64 \(RGBA\)/);
  assertRefused(() => prepare({ data: new Uint8Array(48), width: 4, height: 4, channels: 4 }), /48 bytes/, /4 channels are 64/);
  assertRefused(() => prepare({ data: new Uint8Array(32), width: 4, height: 4, channels: 2 as 1 }), /channels is 2/);
  assertRefused(() => prepare({ data: new Float32Array(48) as unknown as Uint8Array, width: 4, height: 4 }), /Uint8ClampedArray/);
  assertRefused(() => prepare(undefined as unknown as ImagePixels), /ImageData/);
});

inputs("refuses models that no photograph fits, and recipes that fit no image", () => {
  const image = { data: new Uint8Array(48), width: 4, height: 4 };
  assertRefused(() => prepare(image, 5), /5 channels/, /tensors of shape \[5, 4, 4\]/);
  const recipe = (change: Partial<Preprocess>) => () => preprocess(image, { preprocess: { ...plain, ...change }, shape: [3, 4, 4] }, target, 0);
  assertRefused(recipe({ mean: [0.5] }), /mean undefined/, /channel 1/);
  assertRefused(recipe({ std: [1, 0, 1] }), /std 0 for channel 1/);
  assertRefused(recipe({ resize: [NaN, NaN] }), /NaN x NaN/, /preprocess\.resize/);
  assertRefused(recipe({ resize: [0, 4] }), /4 x 0/, /preprocess\.resize/);
  assertRefused(recipe({ resize: [4e9, 4e9], interpolation: "nearest" }), /4000000000 x 4000000000/, /preprocess\.resize/);
  assertRefused(recipe({ interpolation: "cubic" as "bicubic" }), /"cubic"/, /bicubic/);
});

inputs("refuses a photograph too thin for a border, and one of another size where nothing is resized", () => {
  const strip = { data: new Uint8Array(1000), width: 1000, height: 1 };
  const recipe = (change: Partial<Preprocess>) => () => preprocess(strip, { preprocess: { ...plain, ...change }, shape: [3, 4, 4] }, target, 0);
  assertRefused(recipe({ crop: "border" }), /1000 x 1 one of 4 x 0/, /too long and thin/);
  assertRefused(recipe({ resize: "none" }), /1000 x 1/, /must be 4 x 4/);
  const image = { data: Uint8Array.from({ length: 48 }, (_, i) => i * 5), width: 4, height: 4 };
  preprocess(image, { preprocess: { ...plain, resize: "none", rescaleFactor: 1 }, shape: [3, 4, 4] }, target, 0);
  assertSame(target, normalize(image.data, 3, [0, 0, 0], [1 / 255, 1 / 255, 1 / 255]).map(Math.round), "bytes as they are");
});

inputs("rescales and normalises as the recipe says", () => {
  const image = { data: new Uint8Array(48).fill(200), width: 4, height: 4 };
  const run = (change: Partial<Preprocess>): number => {
    preprocess(image, { preprocess: { ...plain, ...change }, shape: [3, 4, 4] }, target, 0);
    return target[17]!;
  };
  assert.is(run({ rescaleFactor: 1, mean: [0, 100, 0], std: [1, 50, 1] }), 2);
  assert.is(run({ rescaleFactor: 1 / 100, mean: [0, 1, 0] }), 1);
  assert.is(run({ rescaleFactor: 1 / 100, mean: [0, 1, 0], std: [1, 5, 1], normalize: "inside" }), 2, "the model normalises by itself");
  assert.is(run({ rescale: "before", rescaleFactor: 1 / 100, mean: [0, 1, 0], std: [1, 4, 1] }), 0.25);
});

inputs("refuses sizes and filters that resize has not", () => {
  const image = { data: new Uint8Array(48), width: 4, height: 4 };
  assertRefused(() => resize(image, 0, 4, "box"), /0 x 4/);
  assertRefused(() => resize(image, 1e6, 1e6, "box"), /1000000 x 1000000/);
  assertRefused(() => resize(image, 4, 4, "cubic" as "bicubic"), /"cubic"/, /bicubic/);
  assertRefused(() => resize({ data: new Uint8Array(64), width: 4, height: 4 }, 2, 2, "box"), /alpha/);
});

inputs.run();
