/** Image files in Chromium: Pillow's pixels, through the browser's own decoder, and the same answers as in Node. */
import { readdirSync, writeFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import * as assert from "uvu/assert";
import cifar10 from "../../specs/vit-cifar10.js";
import { decodeImage, requestDevice } from "../../runtime/node.js";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath, worstError } from "../tools/fixtures.js";
import { importPackage, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { assertSame, bytesOf, preprocessFixtures as fixtures, readFixture, type StoredImage } from "../tools/pixels.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

/** In a page: decodes the files at URLs, and prepares them by recipes; bytes come back as base64. */
const inPage = `async ({ runtime, urls, recipes }) => {
  const { decodeImage } = await import(runtime + "/web-image.js");
  const { preprocess } = await import(runtime + "/image.js");
  const base64 = (bytes) => { let text = ""; for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192)); return btoa(text); };
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const results = [];
  for (const url of urls) {
    try {
      const image = await decodeImage(new File([await (await fetch(url)).blob()], url.split("/").at(-1)), device);
      const prepared = recipes.map(({ side, preprocess: recipe }) => {
        const values = new Float32Array(3 * side * side);
        preprocess(image, { preprocess: recipe, shape: [3, side, side] }, values, 0);
        return base64(Uint8Array.from(values));
      });
      results.push({ width: image.width, height: image.height, data: base64(image.data), prepared });
    } catch (error) {
      results.push({ error: error.name + ": " + error.message });
    }
  }
  device.destroy();
  return results;
}`;

interface InPage extends Partial<StoredImage> {
  readonly prepared?: readonly string[];
  readonly error?: string;
}

interface Recipe {
  readonly resize: "shortest" | "squash";
  readonly to: number;
  readonly filter: "bilinear" | "bicubic";
  readonly crop: number | null;
}

/** Bytes as the floats they are: means and deviations are held in Node, by the same code. */
const recipes = Object.entries(readFixture<Record<string, Recipe>>("recipes.json")).map(([name, { resize, to, filter, crop }]) => ({
  name,
  side: crop ?? to,
  preprocess: { crop: resize === "squash" ? "squash" : "center", resize: [to, to], cropOffset: "round", interpolation: filter, rescale: "after", rescaleFactor: 1, mean: [0, 0, 0], std: [1, 1, 1], normalize: "outside" },
}));

const { cases } = readFixture<{ cases: readonly { readonly file: string; readonly mode: string; readonly image: StoredImage }[] }>("formats.json");
const refused: readonly (readonly [files: RegExp, says: RegExp])[] = [
  [/\.tif$/, /is TIFF, which browsers do not read/],
  [/^(cmyk|ycck)\.jpg$/, /is in CMYK, whose colours differ between browsers/],
  [/^gray16\.png$/, /has more than 8 bits a channel/],
  [/^palette-transparent\.gif$/, /is a GIF with transparent pixels/],
];

const found = await findChromium();
if ("reason" in found) skipAll("photographs in Chromium", found.reason);
else {
  const test = suite("photographs in Chromium");
  const root = temporaryFolder("browser-photographs");
  writeFileSync(join(root, "index.html"), "<!doctype html><title>photographs</title>");
  await writeCompiled(join(root, "model"), cifar10);
  writeFileSync(join(root, "notes.jpg"), "not a photograph");
  writeFileSync(join(root, "cut.png"), Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13));
  const server = await serve({ "/": root, "/fixtures/": fixturePath("") });
  const browser = await launch(found);
  const page = await browser.newPage();
  await page.goto(`${server.url}/`);
  const decoded = (urls: readonly string[], by: typeof recipes = []): Promise<readonly InPage[]> =>
    page.evaluate(`(${inPage})(${JSON.stringify({ runtime: "/model/runtime", urls, recipes: by })})`) as Promise<readonly InPage[]>;

  test("files of every format have Pillow's pixels, or are refused with the reason", async () => {
    const results = await decoded(cases.map(({ file }) => `/fixtures/preprocess/formats/${file}`));
    let equal = 0;
    cases.forEach(({ file, image }, i) => {
      const { width, height, data, error } = results[i]!;
      const [, says] = refused.find(([files]) => files.test(file)) ?? [];
      if (says !== undefined) return void assert.match(error ?? "decoded", says, file);
      assert.is(error, undefined, file);
      assert.equal([width, height], [image.width, image.height], file);
      assertSame(bytesOf(data!), bytesOf(image.data), file);
      equal++;
    });
    assert.ok(equal > 40, `${equal} formats`);
  });

  const photographs = readdirSync(join(fixtures, "images"));

  test("photographs under every recipe have Pillow's pixels: JPEG, EXIF, gray and alpha", async () => {
    const results = await decoded(photographs.map((file) => `/fixtures/preprocess/images/${file}`), recipes);
    for (const [i, file] of photographs.entries()) {
      const { prepared, error } = results[i]!;
      assert.is(error, undefined, file);
      for (const [r, { name, side }] of recipes.entries()) {
        const { data } = await decodeImage(join(fixtures, `${basename(file, extname(file))}.${name}.png`));
        const planes = Uint8Array.from({ length: data.length }, (_, at) => data[(at % (side * side)) * 3 + Math.floor(at / (side * side))]!);
        assertSame(bytesOf(prepared![r]!), planes, `${file} under ${name}`);
      }
    }
  });

  test("what is no image is refused by name", async () => {
    const [notes, cut] = await decoded(["/notes.jpg", "/cut.png"]);
    assert.match(notes!.error ?? "", /^InputError: notes\.jpg is not an image that can be read/);
    assert.match(cut!.error ?? "", /^InputError: cut\.png cannot be decoded/);
  });

  test("a photograph larger than a piece is put together as it was", async () => {
    const said = (await page.evaluate(`(async () => {
      const { decodeImage } = await import("/model/runtime/web-image.js");
      const device = await (await navigator.gpu.requestAdapter()).requestDevice();
      const canvas = new OffscreenCanvas(2500, 2100);
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(2500, 2100);
      for (let i = 0; i < pixels.data.length; i++) pixels.data[i] = i % 4 === 3 ? 255 : (i * 7 + (i >> 9) + (i >> 17)) & 255;
      context.putImageData(pixels, 0, 0);
      const image = await decodeImage(await canvas.convertToBlob({ type: "image/png" }), device);
      let differing = 0;
      for (let i = 0; i < image.width * image.height; i++) for (let c = 0; c < 3; c++) if (image.data[i * 3 + c] !== pixels.data[i * 4 + c]) differing++;
      device.destroy();
      return [image.width, image.height, differing];
    })()`)) as readonly number[];
    assert.equal(said, [2500, 2100, 0]);
  });

  test("a model takes a Blob, bytes and ImageData beside each other, and a path is refused with what to give", async () => {
    const file = "vit-cifar10/photos/cat-04.png";
    const { logits, refusal } = (await page.evaluate(`(async () => {
      const { load } = await import("/model/index.js");
      const model = await load({ weights: new URL("/fixtures/vit-cifar10/model.safetensors", location.href), onNotice: () => {} });
      const blob = await (await fetch("/fixtures/${file}")).blob();
      const bitmap = await createImageBitmap(blob);
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      const { logits } = await model.run([blob, await blob.arrayBuffer(), context.getImageData(0, 0, bitmap.width, bitmap.height), new Uint8Array(await blob.arrayBuffer())]);
      const refusal = await model.run("cat-04.png").then(() => "", (error) => error.name + ": " + error.message);
      model.dispose();
      return { logits: [...logits], refusal };
    })()`)) as { readonly logits: readonly number[]; readonly refusal: string };
    assert.match(refusal, /^InputError: cat-04\.png is a name: in a browser fetch it, and give the Blob or the bytes/);
    const { device } = await requestDevice({ adapter: "software" });
    const model = await (await importPackage(join(root, "model"))).load({ weights: fixturePath("vit-cifar10/model.safetensors"), device, onNotice: () => {} });
    const { logits: expected } = await model.run(fixturePath(file));
    model.dispose();
    device.destroy();
    for (let i = 0; i < 4; i++) assert.ok(worstError(logits.slice(i * 10, i * 10 + 10), expected!) <= 1e-5, `image ${i}`);
  });

  test.after(async () => {
    await browser.close();
    await server.close();
  });
  test.run();
}
