import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import sharp from "sharp";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { decodeImage } from "../../compiler/cli/decode.js";
import { InputError } from "../../runtime/errors.js";
import { preprocess, resize, type ImagePixels, type Interpolation } from "../../runtime/image.js";
import type { Preprocess } from "../../runtime/plan.js";

const fixtures = fileURLToPath(new URL("../fixtures/preprocess/", import.meta.url));
const interpolations: readonly Interpolation[] = ["nearest", "box", "bilinear", "bicubic", "lanczos"];
const plain: Preprocess = { crop: "squash", cropPct: 1, interpolation: "bicubic", mean: [0, 0, 0], std: [1, 1, 1], normalize: "outside" };

/** As `recipes.json` has them: resize the shortest side or both to `to`, then crop to `crop`. */
interface Recipe {
  readonly resize: "shortest" | "squash";
  readonly to: number;
  readonly filter: "bilinear" | "bicubic";
  readonly crop: number | null;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

interface StoredImage {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly data: string;
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

function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(join(fixtures, name), "utf8")) as T;
}

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
const stored = (image: StoredImage): ImagePixels => ({ ...image, data: bytes(image.data) });

/** Interleaved bytes as torchvision's ToTensor and Normalize make floats of them, each operation rounded to f32. */
function normalize(pixels: ArrayLike<number>, channels: number, mean: readonly number[], std: readonly number[]): Float32Array {
  const plane = pixels.length / channels;
  return Float32Array.from({ length: pixels.length }, (_, at) => {
    const channel = Math.floor(at / plane);
    const unit = Math.fround(pixels[(at % plane) * channels + channel]! / 255);
    return Math.fround(unit - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
  });
}

function assertSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.is(actual.length, expected.length, `${what}: length`);
  let differing = 0;
  let first = -1;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    if (differing++ === 0) first = i;
  }
  assert.is(differing, 0, `${what}: ${differing} of ${expected.length} values differ, first at ${first}: ${actual[first]} instead of ${expected[first]}`);
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
const recipes = readJson<Record<string, Recipe>>("recipes.json");

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
      preprocess(image, { preprocess: { crop, cropPct: side / recipe.to, interpolation, mean, std, normalize: "outside" }, shape: [3, side, side] }, tensor, 0);
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
  preprocess(image, { preprocess: { ...plain, crop: "center", cropPct: 0.9 }, shape: [3, 224, 224] }, tensor, 0);
  assertSame(tensor, normalize(golden.data, 3, [0, 0, 0], [1, 1, 1]), "cat");
});

photographs("resize alone equals the squashed goldens", async () => {
  const image = await decodeImage(join(fixtures, "images", "rocket.jpg"));
  const golden = await decodeImage(join(fixtures, "rocket.siglip-256.png"));
  assertSame(resize(image, 256, 256, "bicubic").data, golden.data, "rocket");
});

photographs.run();

const pillow = suite("Pillow on random pixels");
const cases = readJson<PillowCases>("pillow.json");

for (const interpolation of interpolations) {
  pillow(`resizes with ${interpolation}`, () => {
    const chosen = cases.resize.filter((c) => c.interpolation === interpolation);
    assert.ok(chosen.length >= 5, `only ${chosen.length} cases`);
    for (const c of chosen) {
      const result = resize(stored(c.image), c.width, c.height, interpolation);
      assertSame(result.data, bytes(c.expected), `${c.image.width} x ${c.image.height} x ${c.image.channels} to ${c.width} x ${c.height}`);
      assert.equal([result.width, result.height, result.channels], [c.width, c.height, c.image.channels]);
    }
  });
}

pillow("prepares gray, RGB and RGBA for gray and RGB models, square and not", () => {
  const kinds = new Set<string>();
  for (const c of cases.preprocess) {
    const [channels, height, width] = c.shape;
    kinds.add(`${c.image.channels} to ${channels}, ${c.crop}, ${width === height ? "square" : "oblong"}`);
    const recipe: Preprocess = { crop: c.crop, cropPct: c.cropPct, interpolation: c.interpolation, mean: [0, 0, 0], std: [1, 1, 1], normalize: "outside" };
    const tensor = new Float32Array(channels * height * width);
    preprocess(stored(c.image), { preprocess: recipe, shape: c.shape }, tensor, 0);
    assertSame(tensor, normalize(bytes(c.expected), channels, recipe.mean, recipe.std), JSON.stringify({ ...recipe, shape: c.shape }));
  }
  for (const kind of ["4 to 1", "4 to 3", "3 to 1", "3 to 3", "1 to 1", "1 to 3", "center, oblong", "center, square", "squash, oblong"]) {
    assert.ok([...kinds].some((found) => found.includes(kind)), `no case of ${kind}`);
  }
});

pillow.run();

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
  preprocess(image, { preprocess: { ...plain, crop: "center" }, shape: [1, 224, 224] }, tensor, 0);
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
  assertRefused(recipe({ cropPct: 2 }), /2 x 2/, /cropPct/);
  assertRefused(recipe({ cropPct: NaN }), /cropPct/);
  assertRefused(recipe({ cropPct: 1e-12, interpolation: "nearest" }), /cropPct too small/);
});

inputs("refuses sizes and filters that resize has not", () => {
  const image = { data: new Uint8Array(48), width: 4, height: 4 };
  assertRefused(() => resize(image, 0, 4, "box"), /0 x 4/);
  assertRefused(() => resize(image, 1e6, 1e6, "box"), /1000000 x 1000000/);
  assertRefused(() => resize(image, 4, 4, "cubic" as "bicubic"), /"cubic"/, /bicubic/);
  assertRefused(() => resize({ data: new Uint8Array(64), width: 4, height: 4 }, 2, 2, "box"), /alpha/);
});

inputs.run();

const decoding = suite("decodeImage");
const folder = mkdtempSync(join(tmpdir(), "vitc-decode-"));
decoding.after(() => rmSync(folder, { recursive: true }));

const refusedFile = async (path: string, ...parts: readonly RegExp[]): Promise<void> => {
  const outcome: unknown = await decodeImage(path).catch((error: unknown) => error);
  assert.instance(outcome, InputError);
  for (const part of parts) assert.match((outcome as InputError).message, part);
};

decoding("turns by EXIF, and makes gray and RGBA RGB", async () => {
  const turned = await decodeImage(join(fixtures, "images", "rocket-exif6.jpg"));
  assert.equal([turned.width, turned.height, turned.channels, turned.data.length], [320, 214, 3, 320 * 214 * 3]);
  assert.is((await decodeImage(join(fixtures, "images", "camera-gray.png"))).data.length, 256 * 256 * 3);
  assert.is((await decodeImage(join(fixtures, "images", "cat-rgba.png"))).data.length, 150 * 100 * 3);
});

decoding("takes the stored values, whatever the colour profile says", async () => {
  const path = join(fixtures, "images", "tiny-53x37.png");
  const { data: values } = await decodeImage(path);
  await sharp(path).withIccProfile("p3").png().toFile(join(folder, "p3.png"));
  const { data: p3 } = await decodeImage(join(folder, "p3.png"));
  // Display P3's numbers for the same colours are others; a decoder that heeds the profile would turn them back.
  const far = p3.filter((value, i) => Math.abs(value - values[i]!) > 4).length;
  assert.ok(far > p3.length / 10, `only ${far} of ${p3.length} values are P3's`);
});

decoding("refuses CMYK and 16 bits", async () => {
  const source = sharp(join(fixtures, "images", "tiny-53x37.png"));
  await source.clone().toColourspace("cmyk").jpeg().toFile(join(folder, "cmyk.jpg"));
  await source.clone().toColourspace("rgb16").png().toFile(join(folder, "deep.png"));
  await source.clone().toColourspace("grey16").png().toFile(join(folder, "deep-gray.png"));
  await refusedFile(join(folder, "cmyk.jpg"), /cmyk\.jpg is a CMYK image/, /save it as RGB/);
  await refusedFile(join(folder, "deep.png"), /more than 8 bits/);
  await refusedFile(join(folder, "deep-gray.png"), /more than 8 bits/);
});

decoding("refuses what is no image, naming the file", async () => {
  writeFileSync(join(folder, "notes.jpg"), "not a photograph");
  writeFileSync(join(folder, "cut.png"), readFileSync(join(fixtures, "images", "cat.png")));
  truncateSync(join(folder, "cut.png"), 20_000);
  await refusedFile(join(folder, "notes.jpg"), /notes\.jpg is not an image/);
  await refusedFile(join(folder, "cut.png"), /cut\.png cannot be decoded/);
  await refusedFile(join(folder, "absent.png"), /there is no file .*absent\.png/);
  await refusedFile(folder, /is a folder/);
});

decoding.run();
