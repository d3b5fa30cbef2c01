import { stat } from "node:fs/promises";
import { InputError } from "../../runtime/errors.js";
import type { ImagePixels } from "../../runtime/image.js";

/** What sharp calls the formats that are taken. It reads others too: an SVG has no pixels of its own, so what came out would be a guess. */
const formats: ReadonlySet<string | undefined> = new Set(["jpeg", "png", "webp", "gif", "tiff"]);

/**
 * Reads an image file (JPEG, PNG, WebP, GIF, TIFF or AVIF) as Pillow does: turned by its EXIF orientation, colour profile ignored, alpha dropped
 * without blending. Gray files come out as RGB.
 *
 * @returns RGB pixels, three channels.
 * @throws InputError when the file is absent, no image or of another format, and for CMYK and for more than 8 bits a channel, where decoders disagree.
 */
export async function decodeImage(path: string): Promise<ImagePixels> {
  await checkFile(path);
  // sharp loads a native library, and most commands never see an image.
  const { default: sharp } = await import("sharp");
  const image = sharp(path, { ignoreIcc: true });
  const metadata = await image.metadata().catch((cause: unknown) => {
    throw new InputError(`${path} is not an image that can be read: ${reason(cause)}`);
  });
  const isAvif = metadata.format === "heif" && metadata.compression === "av1";
  if (!formats.has(metadata.format) && !isAvif) {
    throw new InputError(`${path} is ${metadata.format?.toUpperCase() ?? "of an unknown format"}; an image file must be JPEG, PNG, WebP, GIF, TIFF or AVIF`);
  }
  if (metadata.space === "cmyk") {
    throw new InputError(`${path} is a CMYK image, whose conversion to RGB differs between decoders: save it as RGB first`);
  }
  if (metadata.depth !== "uchar") {
    throw new InputError(`${path} has more than 8 bits a channel (${metadata.space}, ${metadata.depth}): save it with 8 bits a channel first`);
  }
  const { data, info } = await image.rotate().removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true }).catch((cause: unknown) => {
    throw new InputError(`${path} cannot be decoded: ${reason(cause)}`);
  });
  return { data, width: info.width, height: info.height, channels: 3 };
}

async function checkFile(path: string): Promise<void> {
  const file = await stat(path).catch((cause: unknown) => {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") throw new InputError(`there is no file ${path}`);
    throw new InputError(`${path} cannot be opened: ${reason(cause)}`);
  });
  // A pipe or a device would be waited on for ever.
  if (!file.isFile()) throw new InputError(`${path} is ${file.isDirectory() ? "a folder" : "not a regular file"}: name an image file`);
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message.trim() : String(cause);
}
