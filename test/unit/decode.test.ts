/** Image files as pixels: those of Pillow, whatever the format. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import * as assert from "uvu/assert";
import { decodeAhead } from "../../compiler/cli/run-inputs.js";
import { decodeImage } from "../../runtime/node.js";
import { InputError } from "../../runtime/errors.js";
import { assertSame, bytesOf, preprocessFixtures as fixtures, readFixture, type StoredImage } from "../tools/pixels.js";
import { suite } from "../tools/suite.js";

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

interface FormatCase {
  readonly file: string;
  /** Pillow's name for what the file holds. */
  readonly mode: string;
  readonly image: StoredImage;
}

const formats = readFixture<{ cases: readonly FormatCase[] }>("formats.json").cases;
const refusedFormats: Readonly<Record<string, RegExp>> = {
  "gray16.png": /gray16\.png has more than 8 bits a channel \(grey16, ushort\).*save it with 8 bits/,
  "gray16.tif": /more than 8 bits a channel \(grey16, ushort\)/,
  "gray-float.tif": /more than 8 bits a channel \(b-w, float\)/,
  "gray-int.tif": /more than 8 bits a channel \(b-w, int\)/,
  "cmyk16.tif": /more than 8 bits a channel \(cmyk, ushort\)/,
  "palette-transparent.gif": /is a GIF with transparent pixels.*save it as PNG/,
};
/** How far decoders of lossy formats may be apart; all else is equal. */
const lossy: Readonly<Record<string, number>> = { "lossy420.avif": 8, "lossy444.avif": 2 };

for (const { file, mode, image } of formats) {
  const path = join(fixtures, "formats", file);
  if (refusedFormats[file]) {
    decoding(`refuses ${file}, which Pillow opens as ${mode}`, () => refusedFile(path, refusedFormats[file]!));
    continue;
  }
  decoding(`${file}, which Pillow opens as ${mode}, has Pillow's pixels`, async () => {
    const made = await decodeImage(path);
    assert.equal([made.width, made.height, made.channels, made.data.length], [image.width, image.height, 3, image.width * image.height * 3]);
    const expected = bytesOf(image.data);
    const allowed = lossy[file];
    if (allowed === undefined) assertSame(made.data, expected, file);
    else expected.forEach((value, i) => assert.ok(Math.abs(value - made.data[i]!) <= allowed, `${file}: byte ${i} is ${made.data[i]} instead of ${value}`));
  });
}

decoding("every mode of Pillow that files have is there", () => {
  assert.equal([...new Set(formats.map(({ mode }) => mode))].sort(), ["1", "CMYK", "F", "I", "I;16", "L", "LA", "P", "RGB", "RGBA"]);
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

decoding("takes bytes, Blobs, Files and file: URLs, and names each in what it refuses", async () => {
  const path = join(fixtures, "images", "rocket-exif6.jpg");
  const bytes = new Uint8Array(readFileSync(path));
  const { data } = await decodeImage(path);
  for (const source of [bytes, bytes.buffer, new Blob([bytes]), new File([bytes], "rocket.jpg"), pathToFileURL(path), pathToFileURL(path).href]) assertSame((await decodeImage(source)).data, data, typeof source);
  const refusals: readonly (readonly [source: Parameters<typeof decodeImage>[0], says: RegExp])[] = [
    [new Uint8Array(8), /^the image \(bytes\) is not an image that can be read/],
    [new ArrayBuffer(0), /^the image \(bytes\) is empty$/],
    [new Blob(["no"]), /^the image \(Blob\) is not an image/],
    [new File(["no"], "no.png"), /^no\.png is not an image/],
    ["https://example.com/cat.jpg", /^https:\/\/example\.com\/cat\.jpg is not a file: fetch it and give the Blob or the bytes/],
  ];
  for (const [source, says] of refusals) {
    const outcome: unknown = await decodeImage(source).catch((error: unknown) => error);
    assert.instance(outcome, InputError);
    assert.match((outcome as InputError).message, says);
  }
});

/** Of the photograph that a reading came to. */
const nameOf = (result: IteratorResult<{ readonly file: { readonly name: string } }, unknown>): string | undefined => (result.done === true ? undefined : result.value.file.name);

decoding("the next photographs are decoded while the first is used, in order and no more than asked for", async () => {
  const small = readFileSync(join(fixtures, "images", "tiny-53x37.png"));
  const files = Array.from({ length: 6 }, (_, i) => ({ name: `${i}`, path: join(folder, `ahead-${i}.png`), where: `labels.csv:${i + 1}` }));
  for (const { path } of files) writeFileSync(path, small);
  const reading = decodeAhead(files, 3, new AbortController().signal);
  assert.is(nameOf(await reading.next()), "0");
  await new Promise((wake) => setTimeout(wake, 1000));
  // Those that were decoded ahead are not missed, the others are.
  for (const { path } of files.slice(1)) rmSync(path);
  for (const name of ["1", "2", "3"]) assert.is(nameOf(await reading.next()), name);
  const outcome: unknown = await reading.next().catch((error: unknown) => error);
  assert.match((outcome as Error).message, /^labels\.csv:5: there is no file .*ahead-4\.png/);

  const stop = new AbortController();
  const aborted = decodeAhead([{ name: "a", path: join(fixtures, "images", "cat.png") }], 3, stop.signal);
  stop.abort();
  assert.is(((await aborted.next().catch((error: unknown) => error)) as Error).name, "AbortError");
});

decoding.run();
