/** The kernels that prepare photographs, on the software adapter against the runtime's `preprocess` on the CPU. */
import * as assert from "uvu/assert";
import { preprocess, type ImagePixels, type ImageSpec } from "../../runtime/image.js";
import type { Preprocess } from "../../runtime/plan.js";
import { softwareReason } from "../tools/adapter.js";
import { openKernelDevice } from "../tools/compare-kernels.js";
import { prepareOnDevice } from "../tools/run-image.js";
import { skipAll, suite } from "../tools/suite.js";

const filters = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] as const;
const sides = [[31, 20], [20, 31], [17, 17], [90, 7], [7, 90], [64, 48], [5, 3], [1, 1], [203, 151]] as const;
const shapes = [[3, 16, 16], [3, 15, 22], [1, 21, 13], [3, 33, 9], [1, 1, 1]] as const;
const [mean, std] = [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]];

/** Random pixels, many of them black or white, so that filters overshoot. */
function noise(width: number, height: number, channels: 1 | 3 | 4, seed: number): ImagePixels {
  let state = seed * 2654435761;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return { data: Uint8Array.from({ length: width * height * channels }, () => (next() < 0.3 ? 255 : next() < 0.2 ? 0 : Math.floor(next() * 256))), width, height, channels };
}

const recipe = (change: Partial<Preprocess>): Preprocess => ({ crop: "center", resize: [18, 18], cropOffset: "round", interpolation: "bicubic", rescale: "after", rescaleFactor: 1 / 255, mean, std, normalize: "outside", ...change });

interface Case {
  readonly image: ImagePixels;
  readonly spec: ImageSpec;
}

/** A filter with photographs of every shape, for models of some, cropped, padded and squashed in turns. */
function casesOf(interpolation: Preprocess["interpolation"], rescale: Preprocess["rescale"]): readonly Case[] {
  return sides.flatMap(([width, height], i) => shapes.map((shape, j): Case => {
    const [channels, modelHeight, modelWidth] = shape;
    const crop = (["center", "squash", "border"] as const)[(i + j) % 3]!;
    // From smaller than the model's image, which is padded, to larger.
    const by = [0.7, 1, 1.15, 1.6][(i + 2 * j) % 4]!;
    const resize = [Math.max(1, Math.floor(modelHeight * by)), Math.max(1, Math.floor(modelWidth * by))] as const;
    const image = noise(width, height, ([1, 3, 4] as const)[(i * 2 + j) % 3]!, i * 10 + j);
    return { image, spec: { preprocess: recipe({ interpolation, rescale, crop, resize, cropOffset: i % 2 === 0 ? "round" : "floor", normalize: j === 1 ? "inside" : "outside" }), shape: [channels, modelHeight, modelWidth] } };
  })).filter(({ image, spec }) => {
    // A border around a strip that would be thinner than a pixel is refused, by both.
    const { crop, resize } = spec.preprocess;
    return crop !== "border" || resize === "none" || Math.min(image.width, image.height) / Math.max(image.width / resize[1], image.height / resize[0]) > 0.51;
  });
}

function onHost({ image, spec }: Case): Float32Array {
  const into = new Float32Array(spec.shape[0] * spec.shape[1] * spec.shape[2]);
  preprocess(image, spec, into, 0);
  return into;
}

/** The largest difference; Infinity for a number that is missing. */
const distance = (a: Float32Array, b: Float32Array): number => a.reduce((most, value, i) => Math.max(most, Number.isNaN(value) ? Infinity : Math.abs(value - b[i]!)), 0);

const reason = await softwareReason();
if (reason) skipAll("image kernels", reason);
else {
  const test = suite("image kernels");
  const { device } = await openKernelDevice();
  const titled = ({ image, spec: { preprocess: { crop, resize }, shape } }: Case): string => `${image.width} x ${image.height} x ${image.channels}, ${crop} ${resize} to ${shape.join(" x ")}`;

  for (const filter of filters) {
    test(`${filter}: equal to the CPU, number for number`, async () => {
      const cases = casesOf(filter, "after");
      assert.ok(cases.length > 30, `${cases.length} cases`);
      for (const one of cases) assert.is(distance(await prepareOnDevice(device, one.image, one.spec), onHost(one)), 0, titled(one));
    });
    test(`${filter}, rescaled first: near the CPU`, async () => {
      // Numbers of up to 1 in some hundred roundings, divided by a deviation of 0.26.
      for (const one of casesOf(filter, "before")) assert.ok(distance(await prepareOnDevice(device, one.image, one.spec), onHost(one)) < 5e-6, titled(one));
    });
  }

  test("a photograph of a camera's size", async () => {
    const image = noise(1600, 1200, 4, 3);
    for (const rescale of ["after", "before"] as const) {
      const one: Case = { image, spec: { preprocess: recipe({ resize: [256, 256], rescale }), shape: [3, 224, 224] } };
      assert.ok(distance(await prepareOnDevice(device, image, one.spec), onHost(one)) <= (rescale === "after" ? 0 : 5e-6));
    }
  });

  test("a photograph that is not resized", async () => {
    const one: Case = { image: noise(19, 14, 3, 5), spec: { preprocess: recipe({ resize: "none" }), shape: [3, 14, 19] } };
    assert.is(distance(await prepareOnDevice(device, one.image, one.spec), onHost(one)), 0);
  });

  const plain: Case = { image: noise(31, 20, 3, 1), spec: { preprocess: recipe({}), shape: [3, 16, 16] } };
  const padded: Case = { image: noise(31, 20, 4, 1), spec: { preprocess: recipe({ crop: "border", resize: [16, 16] }), shape: [3, 16, 16] } };
  const gray: Case = { image: noise(31, 20, 4, 1), spec: { preprocess: recipe({}), shape: [1, 16, 16] } };
  const floats: Case = { image: noise(31, 20, 3, 1), spec: { preprocess: recipe({ rescale: "before" }), shape: [3, 16, 16] } };
  const mutants: readonly (readonly [title: string, of: Case, kernel: string, from: RegExp, to: string])[] = [
    ["sums that are not rounded", plain, "image_rows_bytes", /vec3<i32>\(2097152\)/, "vec3<i32>(0)"],
    ["no rounding between the passes", plain, "image_columns_bytes", /vec3<i32>\(2097152\)/, "vec3<i32>(2097151 - 4194304)"],
    ["sums that are not clipped", plain, "image_rows_bytes", /clamp\((.*), vec3<i32>\(0\), vec3<i32>\(255\)\)/, "$1"],
    ["the last tap left out", plain, "image_rows_bytes", /i < count/, "i < count - 1u"],
    ["the first tap of a column left out", plain, "image_columns_bytes", /var i = 0u/, "var i = 1u"],
    ["red for blue", plain, "image_rows_bytes", /byte\(at \+ 2u\)/, "byte(at)"],
    ["another channel's values", plain, "image_columns_bytes", /values\[c \* 256u/, "values[0u"],
    ["rows for columns", plain, "image_columns_bytes", /id\.y \* params\.width \+ id\.x/, "id.x * params.width + id.y"],
    ["another padding", padded, "image_columns_bytes", /256u \+ c\]/, "256u]"],
    ["a photograph at the edge", padded, "image_columns_bytes", /id\.y - params\.top/, "id.y"],
    ["alpha for a colour", padded, "image_rows_bytes", /byte\(at \+ 2u\)/, "byte(at + 3u)"],
    ["blue for red", plain, "image_rows_bytes", /params\.swapped != 0u/, "params.swapped == 0u"],
    ["no luma", gray, "image_rows_bytes", /params\.luma != 0u/, "params.luma > 1u"],
    ["no factor", floats, "image_rows_floats", /params\.factor \*/, "0.004 *"],
    ["no mean", floats, "image_columns_floats", /- values\[c \* 2u\]/, ""],
    ["no deviation", floats, "image_columns_floats", /values\[c \* 2u \+ 1u\]/, "values[1]"],
  ];
  for (const [title, of, id, from, to] of mutants) {
    test(`a changed kernel is caught: ${title}`, async () => {
      let changed = false;
      const made = await prepareOnDevice(device, of.image, of.spec, ({ id: kernel, code }) => {
        if (kernel !== id) return code;
        const text = code.replace(from, to);
        changed = text !== code;
        return text;
      });
      assert.ok(changed, `${id} has no ${from}`);
      assert.ok(distance(made, onHost(of)) > 1e-4);
    });
  }

  test.after(() => device.destroy());
  test.run();
}
