/** Bitmaps, canvases, frames and image elements in Chromium: prepared on the device, with the numbers that their pixels have on the CPU. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import cifar10 from "../../specs/vit-cifar10.js";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath } from "../tools/fixtures.js";
import { temporaryFolder, writeCompiled } from "../tools/packages.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

/** In a page: what a model makes of an image in each form, and of its pixels. */
const inPage = `async ({ url }) => {
  const { load } = await import("/model/index.js");
  const model = await load({ weights: new URL("/fixtures/vit-cifar10/model.safetensors", location.href), onNotice: () => {} });
  const blob = await (await fetch(url)).blob();
  const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const offscreen = new OffscreenCanvas(width, height);
  const context = offscreen.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const element = new Image();
  element.src = url;
  const rgba = new VideoFrame(pixels.data.buffer, { format: "RGBX", codedWidth: width, codedHeight: height, timestamp: 0 });
  const drawn = new VideoFrame(offscreen, { timestamp: 0 });
  const forms = { file: blob, pixels, bitmap, offscreen, canvas, element, rgba, drawn };
  const logits = {};
  for (const [name, form] of Object.entries(forms)) logits[name] = [...(await model.run(form)).logits];
  logits.list = [...(await model.run([bitmap, pixels, canvas, blob])).logits];
  const many = [];
  for await (const outputs of model.runMany([bitmap, offscreen, pixels])) many.push([...outputs.logits]);
  logits.many = many.flat();
  const [classes] = await model.classify(bitmap, { top: 2 });
  const refused = {};
  bitmap.close();
  rgba.close();
  const broken = new Image();
  broken.src = "/nothing.png";
  const empty = document.createElement("video");
  for (const [name, form] of Object.entries({ bitmap, rgba, broken, empty })) refused[name] = await model.run(form).then(() => "", (error) => error.name + ": " + error.message);
  logits.after = [...(await model.run(canvas)).logits];
  // How often an image was read back: never.
  model.dispose();
  return { logits, classes, refused };
}`;

interface Seen {
  readonly logits: Readonly<Record<string, readonly number[]>>;
  readonly classes: readonly { readonly label: string; readonly index: number; readonly probability: number }[];
  readonly refused: Readonly<Record<string, string>>;
}

const found = await findChromium();
if ("reason" in found) skipAll("frames in Chromium", found.reason);
else {
  const test = suite("frames in Chromium");
  const root = temporaryFolder("browser-frames");
  writeFileSync(join(root, "index.html"), "<!doctype html><title>frames</title>");
  await writeCompiled(join(root, "model"), cifar10);
  const server = await serve({ "/": root, "/fixtures/": fixturePath("") });
  const browser = await launch(found);
  const page = await browser.newPage();
  await page.goto(`${server.url}/`);
  const see = (url: string): Promise<Seen> => page.evaluate(`(${inPage})(${JSON.stringify({ url })})`) as Promise<Seen>;

  for (const url of ["/fixtures/vit-cifar10/photos/cat-04.png", "/photograph.png"]) {
    test(`every form of ${url.split("/").at(-1)} is its pixels, bit by bit, alone, in lists and in streams`, async () => {
      if (url === "/photograph.png") await makePhotograph();
      const { logits, classes } = await see(url);
      for (const name of ["file", "bitmap", "offscreen", "canvas", "element", "rgba", "drawn", "after"]) assert.equal(logits[name], logits["pixels"], name);
      assert.equal(logits["many"], [logits["pixels"], logits["pixels"], logits["pixels"]].flat());
      // Of several images other kernels may do the work.
      logits["list"]!.forEach((value, i) => assert.ok(Math.abs(value - logits["pixels"]![i % 10]!) < 1e-5));
      const best = logits["pixels"]!.indexOf(Math.max(...logits["pixels"]!));
      assert.equal([classes.length, classes[0]!.index], [2, best]);
    });
  }

  test("what is closed, broken or has no picture yet is refused, and the model goes on", async () => {
    const { refused } = await see("/fixtures/vit-cifar10/photos/cat-04.png");
    assert.match(refused["bitmap"]!, /^InputError: the ImageBitmap is 0 x 0: it is closed/);
    assert.match(refused["rgba"]!, /^InputError: the VideoFrame/);
    assert.match(refused["broken"]!, /^InputError: the HTMLImageElement .*nothing\.png cannot be read/);
    assert.match(refused["empty"]!, /^InputError: the HTMLVideoElement has no picture yet/);
  });

  /** A larger one of many colours, which is scaled down, with rows that are no multiple of 256 bytes. */
  async function makePhotograph(): Promise<void> {
    const bytes = (await page.evaluate(`(async () => {
      const canvas = new OffscreenCanvas(203, 151);
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(203, 151);
      for (let i = 0; i < pixels.data.length; i++) pixels.data[i] = i % 4 === 3 ? 255 : (i * 7 + (i >> 5) * 13 + (i >> 9)) & 255;
      context.putImageData(pixels, 0, 0);
      return [...new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer())];
    })()`)) as readonly number[];
    writeFileSync(join(root, "photograph.png"), Uint8Array.from(bytes));
  }

  test.after(async () => {
    await browser.close();
    await server.close();
  });
  test.run();
}
