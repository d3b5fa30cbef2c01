/** What kind of image some bytes are, by their first ones: what a browser would not say, and Pillow treats each in its way. */
import { InputError } from "./errors.js";

/** An image file as far as it decides about its colours. */
export interface ImageKind {
  /** Undefined for what is none of them. */
  readonly format: "JPEG" | "PNG" | "WebP" | "GIF" | "AVIF" | "TIFF" | undefined;
  /** What makes it a file that browsers and Pillow read differently. */
  readonly unlike?: "CMYK" | "more than 8 bits a channel";
}

/**
 * Refuses what browsers cannot read, or turn into other pixels than Pillow.
 * @throws InputError
 */
export function checkKind(name: string, { format, unlike }: ImageKind): void {
  if (format === undefined) throw new InputError(`${name} is not an image that can be read; in a browser it must be JPEG, PNG, WebP, GIF or AVIF`);
  if (format === "TIFF") throw new InputError(`${name} is TIFF, which browsers do not read: save it as PNG first`);
  if (unlike === "CMYK") throw new InputError(`${name} is in CMYK, whose colours differ between browsers: save it in RGB first`);
  if (unlike !== undefined) throw new InputError(`${name} has ${unlike}, of which there is no one way to make 8: save it with 8 bits a channel first`);
}

/** Tells kinds of images apart. */
export function sniff(bytes: Uint8Array): ImageKind {
  if (startsWith(bytes, 0, 0xff, 0xd8, 0xff)) return { format: "JPEG", ...(componentsOfJpeg(bytes) === 4 && { unlike: "CMYK" }) };
  if (startsWith(bytes, 0, 0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10)) {
    // Behind the signature, length and name of the first chunk, width and height: bits of a channel, and what is coded. 0 is gray without alpha.
    return { format: "PNG", ...(bytes[24] === 16 && bytes[25] === 0 && { unlike: "more than 8 bits a channel" }) };
  }
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP") return { format: "WebP" };
  if (/^GIF8[79]a$/.test(text(bytes, 0, 6))) return { format: "GIF" };
  if (startsWith(bytes, 0, 0x49, 0x49, 42, 0) || startsWith(bytes, 0, 0x4d, 0x4d, 0, 42)) return { format: "TIFF" };
  if (text(bytes, 4, 8) === "ftyp" && /avi[fs]/.test(text(bytes, 8, 64))) {
    // How AV1 is coded: a bit of the third byte behind the box's name says that samples have 10 or 12 bits.
    const box = text(bytes, 0, 4096).indexOf("av1C");
    return { format: "AVIF", ...(box >= 0 && ((bytes[box + 6] ?? 0) & 0x40) !== 0 && { unlike: "more than 8 bits a channel" }) };
  }
  return { format: undefined };
}

/** How many components the frame of a JPEG has: the first segment of kind SOF says so. */
function componentsOfJpeg(bytes: Uint8Array): number | undefined {
  for (let at = 2; at + 9 < bytes.length; ) {
    const marker = bytes[at + 1]!;
    // Bytes that fill up, and markers that stand alone.
    if (bytes[at] !== 0xff) return undefined;
    if (marker === 0xff) at += 1;
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2;
    // SOF0 to SOF15 but for DHT, JPG and DAC, which lie among them.
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return bytes[at + 9];
    else at += 2 + bytes[at + 2]! * 256 + bytes[at + 3]!;
  }
  return undefined;
}

const startsWith = (bytes: Uint8Array, from: number, ...wanted: readonly number[]): boolean => wanted.every((byte, i) => bytes[from + i] === byte);

const text = (bytes: Uint8Array, from: number, to: number): string => String.fromCharCode(...bytes.subarray(from, to));
