/** preprocessor_config.json as a recipe: against the tensors that transformers' own processors make of photographs. */
import { createHash } from "node:crypto";
import * as assert from "uvu/assert";
import { decodeImage } from "../../runtime/node.js";
import { imageFrom, preprocessFrom } from "../../compiler/families/preprocess.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { Size } from "../../compiler/spec/types.js";
import { preprocess } from "../../runtime/image.js";
import type { Preprocess } from "../../runtime/plan.js";
import { bytesOf, preprocessFixtures as fixtures, readFixture } from "../tools/pixels.js";
import { suite } from "../tools/suite.js";

/** What a processor made of a photograph: the hash of the tensor's bytes where it is to be equal, or every n-th of its values. */
interface Result {
  readonly shape: readonly [number, number, number];
  readonly sha256?: string;
  readonly every?: number;
  readonly values?: string;
}

interface Case {
  readonly name: string;
  readonly processor: string;
  readonly config: unknown;
  readonly results: Readonly<Record<string, Result>>;
}

const { cases } = readFixture<{ cases: readonly Case[] }>("processors.json");

/** The recipe as a package has it. */
const recipeOf = (config: unknown): { readonly preprocess: Preprocess; readonly image: readonly [number, number] } =>
  resolve({ name: "model", image: imageFrom(config), patch: 1, dim: 8, depth: 1, heads: 1, preprocess: preprocessFrom(config) });

const test = suite("preprocessor_config.json");

for (const { name, processor, config, results } of cases) {
  test(`${name}: the tensors of ${processor}`, async () => {
    const recipe = recipeOf(config);
    for (const [file, { shape, sha256, every, values }] of Object.entries(results)) {
      assert.equal([3, ...recipe.image], shape, file);
      const made = new Float32Array(shape[0] * shape[1] * shape[2]);
      preprocess(await decodeImage(`${fixtures}images/${file}`), { preprocess: recipe.preprocess, shape }, made, 0);
      if (sha256 !== undefined) assert.is(createHash("sha256").update(new Uint8Array(made.buffer)).digest("hex"), sha256, file);
      else {
        const expected = new Float32Array(bytesOf(values!).buffer);
        assert.is(expected.length, Math.ceil(made.length / every!), file);
        // They are divided by deviations of 0.14 and more, which is what the errors of pixels are divided by too.
        expected.forEach((value, i) => assert.ok(Math.abs(value - made[i * every!]!) < 1e-5 / 0.14, `${file}: value ${i * every!} is ${made[i * every!]} instead of ${value}`));
      }
    }
  });
}

test("another filter, offset or order would be seen", async () => {
  // The photographs are rich enough: each change of a recipe changes some tensor.
  const { config, results } = cases.find(({ name }) => name === "DeiTImageProcessor, odd sizes")!;
  const { preprocess: recipe } = recipeOf(config);
  const hashes = async (change: Partial<Preprocess>): Promise<readonly boolean[]> => Promise.all(Object.entries(results).map(async ([file, { shape, sha256 }]) => {
    const made = new Float32Array(shape[0] * shape[1] * shape[2]);
    preprocess(await decodeImage(`${fixtures}images/${file}`), { preprocess: { ...recipe, ...change }, shape }, made, 0);
    return createHash("sha256").update(new Uint8Array(made.buffer)).digest("hex") === sha256;
  }));
  assert.ok((await hashes({})).every((equal) => equal));
  for (const change of [{ interpolation: "lanczos" }, { cropOffset: "round" }, { rescale: "before" }, { resize: [110, 98] }] as const) assert.ok((await hashes(change)).some((equal) => !equal), JSON.stringify(change));
});

test("says nothing that is a default", () => {
  assert.equal(preprocessFrom({ image_processor_type: "ViTImageProcessor" }), { crop: "squash", resize: 224, interpolation: "bilinear", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });
  assert.equal(preprocessFrom({ image_processor_type: "DINOv3ViTImageProcessorFast", do_normalize: false }), { crop: "squash", resize: 224, interpolation: "bilinear", rescale: "before", mean: 0, std: 1 });
  assert.equal(preprocessFrom({ image_processor_type: "ViTImageProcessor", do_resize: false, size: { height: 32, width: 48 }, do_rescale: false }), { resize: "none", rescaleFactor: 1, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });
});

test("knows the size of the tensors, whatever the model's", () => {
  const of = (config: object): Size => imageFrom({ image_processor_type: "BitImageProcessor", ...config });
  assert.is(of({}), 224);
  assert.is(of({ size: 518, crop_size: 518 }), 518);
  assert.equal(of({ size: { shortest_edge: 256 }, crop_size: { height: 224, width: 196 } }), [224, 196]);
  assert.equal(imageFrom({ image_processor_type: "ViTImageProcessor", do_resize: false, size: [32, 48] }), [32, 48]);
});

test("takes the processor of the model where the file names none", () => {
  assert.equal(preprocessFrom({ size: 224, resample: 2 }, "vit"), preprocessFrom({ image_processor_type: "ViTImageProcessor" }));
  assert.equal(preprocessFrom({}, "dinov2_with_registers"), preprocessFrom({ image_processor_type: "BitImageProcessor" }));
  // Null is no answer.
  assert.equal(preprocessFrom({ image_processor_type: "CLIPImageProcessor", size: null, do_resize: null, crop_size: null, image_mean: null, resample: null }), preprocessFrom({ feature_extractor_type: "CLIPFeatureExtractor" }));
});

const mistakes: readonly (readonly [title: string, config: unknown, sentence: RegExp])[] = [
  ["no processor", {}, /^preprocessor_config\.image_processor_type: is missing, and no model_type is given/],
  ["a processor of another kind", { image_processor_type: "DetrImageProcessor" }, /image_processor_type: "DetrImageProcessor" is not a processor that is known; did you mean "DeiTImageProcessor"\? Known are ViTImageProcessor, /],
  ["a feature extractor of another kind", { feature_extractor_type: "Wav2Vec2FeatureExtractor" }, /feature_extractor_type: "Wav2Vec2FeatureExtractor" is not/],
  ["patches by aspect", { image_processor_type: "Siglip2ImageProcessor" }, /Siglip2ImageProcessor" gives as many patches/],
  ["windows", { image_processor_type: "SamImageProcessor" }, /SamImageProcessor" pads/],
  ["no config", 7, /^preprocessor_config: 7 is not an object/],
  ["a size as text", { image_processor_type: "ViTImageProcessor", size: "224" }, /^preprocessor_config\.size: "224" is not a size that is supported; write a number, /],
  ["a longest edge", { image_processor_type: "ViTImageProcessor", size: { shortest_edge: 256, longest_edge: 512 } }, /^preprocessor_config\.size: \{"shortest_edge":256,"longest_edge":512\} is not a size/],
  ["a filter that Pillow has not", { image_processor_type: "ViTImageProcessor", resample: 6 }, /^preprocessor_config\.resample: 6 is/],
  ["sides of any length", { image_processor_type: "SiglipImageProcessor", size: 384 }, /size: a shortest_edge of 384 without do_center_crop leaves the other side/],
  ["photographs as they come", { image_processor_type: "CLIPImageProcessor", do_resize: false }, /do_resize: false is not supported with do_center_crop/],
  ["photographs of every size", { image_processor_type: "CLIPImageProcessor", do_resize: false, do_center_crop: false }, /do_resize: false leaves photographs of every size/],
  ["padding", { image_processor_type: "ViTImageProcessor", do_pad: true }, /do_pad: true pads images/],
  ["channels last", { image_processor_type: "ViTImageProcessor", data_format: "channels_last" }, /data_format: "channels_last" is not supported/],
  ["a crop without a size", { image_processor_type: "ViTImageProcessor", do_center_crop: true }, /crop_size: is missing, and ViTImageProcessor has no default/],
  ["an aspect kept", { image_processor_type: "DPTImageProcessor", keep_aspect_ratio: true, ensure_multiple_of: 14, size: 518 }, /keep_aspect_ratio: true makes images of other sizes/],
  ["a multiple of another size", { image_processor_type: "DPTImageProcessor", ensure_multiple_of: 14 }, /ensure_multiple_of: 14 does not divide the size 384 x 384/],
  ["a share of a squashed size", { image_processor_type: "ConvNextImageProcessor", size: { height: 224, width: 224 } }, /size: must be a number or \{ shortest_edge \}/],
];

for (const [title, config, sentence] of mistakes) {
  test(`refuses ${title}`, () => {
    try {
      preprocessFrom(config);
    } catch (error) {
      assert.instance(error, SpecError);
      assert.match((error as SpecError).message, sentence);
      return;
    }
    assert.unreachable("nothing was thrown");
  });
}

test.run();
