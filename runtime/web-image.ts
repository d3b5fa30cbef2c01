/**
 * Photographs in a browser, decoded by the browser itself to the pixels that Pillow gives. A canvas cannot be asked for them: it multiplies
 * colours by alpha and divides again, and some browsers add noise. A texture can, and a model has a device.
 */
import { messageOf } from "./device.js";
import { DeviceLostError, InputError } from "./errors.js";
import type { ImagePixels } from "./image.js";
import { checkKind, sniff } from "./image-kind.js";
import type { EncodedImage } from "./tensor.js";

/** Of a side of the pieces that pixels are read back in: any device's textures are as large. */
const tile = 2048;
/** WebGPU's flags, whose names TypeScript's own declarations leave out. */
const textureUsage = { copySrc: 1, copyDst: 2, renderAttachment: 16 } as const;
const bufferUsage = { mapRead: 1, copyDst: 8 } as const;
const mapRead = 1;
/** Rows of a copy to a buffer begin at multiples of it. */
const rowBytes = 256;

/**
 * Decodes a photograph (JPEG, PNG, WebP, GIF or AVIF) as Pillow's `exif_transpose` and `convert("RGB")` do: turned by its EXIF orientation,
 * colour profile ignored, alpha dropped without blending, gray repeated, palettes looked up. Of animations it is the first frame.
 *
 * @param source a Blob (a File is one), or the bytes of a file.
 * @param device reads the pixels back.
 * @returns RGB pixels, three channels.
 * @throws InputError for what is no image of these formats; for those of more than 8 bits, for CMYK and for GIFs with transparent pixels, which
 *   browsers turn into other colours than Pillow. DeviceLostError.
 */
export async function decodeImage(source: EncodedImage, device: GPUDevice): Promise<ImagePixels> {
  if (typeof source === "string" || source instanceof URL) throw new InputError(`${String(source).slice(0, 100)} is a name: in a browser fetch it, and give the Blob or the bytes`);
  const blob = source instanceof Blob ? source : new Blob([source as Uint8Array<ArrayBuffer> | ArrayBuffer]);
  const name = "name" in blob && typeof blob.name === "string" ? blob.name : "the image";
  const kind = sniff(new Uint8Array(await blob.arrayBuffer()));
  checkKind(name, kind);
  const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none", imageOrientation: "from-image" }).catch((cause: unknown) => {
    throw new InputError(`${name} cannot be decoded: ${messageOf(cause)}`, { cause });
  });
  try {
    return await readBack(bitmap, device, (alpha) => {
      if (kind.format === "GIF" && alpha !== 255) throw new InputError(`${name} is a GIF with transparent pixels, whose colours differ between decoders: save it as PNG first`);
    });
  } finally {
    bitmap.close();
  }
}

/** The colours of a bitmap, by pieces. */
async function readBack(bitmap: ImageBitmap, device: GPUDevice, expectAlpha: (alpha: number) => void): Promise<ImagePixels> {
  const { width, height } = bitmap;
  const data = new Uint8Array(width * height * 3);
  const [columns, rows] = [Math.min(width, tile), Math.min(height, tile)];
  const stride = Math.ceil((columns * 4) / rowBytes) * rowBytes;
  const texture = device.createTexture({ label: "photograph", size: [columns, rows], format: "rgba8unorm", usage: textureUsage.copySrc | textureUsage.copyDst | textureUsage.renderAttachment });
  const buffer = device.createBuffer({ label: "photograph", size: stride * rows, usage: bufferUsage.copyDst | bufferUsage.mapRead });
  try {
    for (let top = 0; top < height; top += rows) {
      for (let left = 0; left < width; left += columns) {
        const size = [Math.min(columns, width - left), Math.min(rows, height - top)] as const;
        device.queue.copyExternalImageToTexture({ source: bitmap, origin: [left, top] }, { texture, premultipliedAlpha: false, colorSpace: "srgb" }, size);
        const encoder = device.createCommandEncoder();
        encoder.copyTextureToBuffer({ texture }, { buffer, bytesPerRow: stride }, size);
        device.queue.submit([encoder.finish()]);
        await buffer.mapAsync(mapRead).catch((cause: unknown) => {
          throw new DeviceLostError(`The photograph could not be read back: ${messageOf(cause) || "the device is gone"}`, { cause });
        });
        const pixels = new Uint8Array(buffer.getMappedRange());
        for (let y = 0; y < size[1]; y++) {
          let to = ((top + y) * width + left) * 3;
          for (let from = y * stride, end = from + size[0] * 4; from < end; from += 4) {
            expectAlpha(pixels[from + 3]!);
            data[to++] = pixels[from]!;
            data[to++] = pixels[from + 1]!;
            data[to++] = pixels[from + 2]!;
          }
        }
        buffer.unmap();
      }
    }
  } finally {
    texture.destroy();
    buffer.destroy();
  }
  return { data, width, height, channels: 3 };
}
