/** Photographs in Node: decoded by the npm package sharp, an optional peer, to the pixels that Pillow gives. */
import { stat } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { messageOf } from "./device.js";
import { InputError } from "./errors.js";
import type { ImagePixels } from "./image.js";
import { resolvePackage } from "./node-software.js";
import type { EncodedImage } from "./tensor.js";

/** The part of sharp that is used. Its own types are not named: they would make every user of a package install it. */
interface Sharp {
  metadata(): Promise<Metadata>;
  rotate(): Sharp;
  removeAlpha(): Sharp;
  pipelineColourspace(space: string): Sharp;
  toColourspace(space: string): Sharp;
  raw(): Sharp;
  toBuffer(options: { readonly resolveWithObject: true }): Promise<{ readonly data: Uint8Array; readonly info: { readonly width: number; readonly height: number } }>;
}

type OpenSharp = (input: string | Uint8Array, options: { readonly ignoreIcc: boolean }) => Sharp;

interface Metadata {
  readonly format?: string;
  readonly compression?: string;
  readonly space?: string;
  readonly depth?: string;
  readonly hasAlpha?: boolean;
}

/** What sharp calls the formats that are taken. It reads others too: an SVG has no pixels of its own, so what came out would be a guess. */
const formats: ReadonlySet<string | undefined> = new Set(["jpeg", "png", "webp", "gif", "tiff"]);

/**
 * Decodes a photograph (JPEG, PNG, WebP, GIF, TIFF or AVIF) as Pillow's `exif_transpose` and `convert("RGB")` do, pixel for pixel: turned by its
 * EXIF orientation, colour profile ignored, alpha dropped without blending, gray repeated, palettes looked up, the high byte taken of 16 bits,
 * CMYK by Pillow's formula. Of animations it is the first frame. AVIF alone differs by some steps where colours are stored at half the size,
 * which decoders enlarge in their own ways.
 *
 * @param source a path, a file: URL, a Blob, or the bytes of a file.
 * @returns RGB pixels, three channels.
 * @throws InputError when sharp is not installed; when the file is absent, no image or of another format; for gray of more than 8 bits and
 *   numbers that are no bytes, of which Pillow makes white; and for GIFs with transparent pixels, whose colours get lost.
 */
export async function decodeImage(source: EncodedImage): Promise<ImagePixels> {
  const { name, content } = await contentOf(source);
  // sharp says so itself, but as a mistake of the caller's.
  if (content.length === 0) throw new InputError(`${name} is empty`);
  const image = (await loadSharp())(content, { ignoreIcc: true });
  const metadata = await image.metadata().catch((cause: unknown) => {
    throw new InputError(`${name} is not an image that can be read: ${reason(cause)}`);
  });
  checkKind(name, metadata);
  const cmyk = metadata.space === "cmyk";
  const turned = image.rotate();
  // Without a say in the pipeline's colours sharp would convert to sRGB and back.
  const decoded = cmyk ? turned.pipelineColourspace("cmyk").toColourspace("cmyk") : (metadata.format === "gif" ? turned : turned.removeAlpha()).toColourspace("srgb");
  const { data, info } = await decoded.raw().toBuffer({ resolveWithObject: true }).catch((cause: unknown) => {
    throw new InputError(`${name} cannot be decoded: ${reason(cause)}`);
  });
  const { width, height } = info;
  const pixels = width * height;
  if (cmyk) return { data: fromCmyk(data), width, height, channels: 3 };
  if (data.length === pixels * 4) return { data: opaque(name, data), width, height, channels: 3 };
  return { data, width, height, channels: 3 };
}

/** What messages call a photograph, and what sharp reads. */
async function contentOf(source: EncodedImage): Promise<{ readonly name: string; readonly content: string | Uint8Array }> {
  if (source instanceof Blob) return { name: "name" in source && typeof source.name === "string" ? source.name : "the image (Blob)", content: new Uint8Array(await source.arrayBuffer()) };
  if (source instanceof ArrayBuffer) return { name: "the image (bytes)", content: new Uint8Array(source) };
  if (source instanceof Uint8Array) return { name: "the image (bytes)", content: source };
  const url = source instanceof URL ? source : /^(https?|data|blob|file):/i.test(source) ? new URL(source) : undefined;
  if (url !== undefined && url.protocol !== "file:") throw new InputError(`${url.href.slice(0, 100)} is not a file: fetch it and give the Blob or the bytes`);
  const path = url === undefined ? (source as string) : fileURLToPath(url);
  await checkFile(path);
  return { name: path, content: path };
}

let opened: Promise<OpenSharp> | undefined;

/** sharp loads a native library, and most programs never see a photograph. */
function loadSharp(): Promise<OpenSharp> {
  return (opened ??= importSharp());
}

/** Photographs cannot be decoded here, whatever is wrong or right with them. */
export class DecoderError extends InputError {}

async function importSharp(): Promise<OpenSharp> {
  const entry = resolvePackage("sharp");
  if (entry === undefined) throw new DecoderError("photographs are decoded by the npm package sharp, which is not installed: npm install sharp, or give pixels {data, width, height}");
  try {
    return ((await import(pathToFileURL(entry).href)) as { readonly default: OpenSharp }).default;
  } catch (cause) {
    throw new DecoderError(`the npm package sharp is installed and did not load: ${messageOf(cause)}`, { cause });
  }
}

/** Refuses what Pillow does not read, or reads in a way that nobody wants. */
function checkKind(name: string, { format, compression, space, depth, hasAlpha }: Metadata): void {
  const isAvif = format === "heif" && compression === "av1";
  if (!formats.has(format) && !isAvif) {
    throw new InputError(`${name} is ${format?.toUpperCase() ?? "of an unknown format"}; an image file must be JPEG, PNG, WebP, GIF, TIFF or AVIF`);
  }
  if (depth === "uchar") return;
  // Pillow opens these with 8 bits: the high bytes.
  if (depth === "ushort" && space === "rgb16" && !isAvif) return;
  if (depth === "ushort" && space === "grey16" && hasAlpha && format === "png") return;
  throw new InputError(`${name} has more than 8 bits a channel (${space}, ${depth}), of which there is no one way to make 8: save it with 8 bits a channel first`);
}

/** RGB from CMYK, without a colour profile: Pillow's `cmyk2rgb`. */
function fromCmyk(data: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const light = 255 - data[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = data[from + c]! * light + 128;
      rgb[to++] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return rgb;
}

/** RGB from RGBA without transparent pixels. A GIF's have a colour in Pillow, and none in other decoders. */
function opaque(name: string, data: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    if (data[from + 3] !== 255) throw new InputError(`${name} is a GIF with transparent pixels, whose colours differ between decoders: save it as PNG first`);
    for (let c = 0; c < 3; c++) rgb[to++] = data[from + c]!;
  }
  return rgb;
}

async function checkFile(path: string): Promise<void> {
  const file = await stat(path).catch((cause: unknown) => {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") throw new InputError(`there is no file ${path}`);
    throw new InputError(`${path} cannot be opened: ${reason(cause)}`, { cause });
  });
  // A pipe or a device would be waited on for ever.
  if (!file.isFile()) throw new InputError(`${path} is ${file.isDirectory() ? "a folder" : "not a regular file"}: name an image file`);
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message.trim() : String(cause);
}
