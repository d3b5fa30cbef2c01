/** What the tests of photographs share: stored pixels, and how they are compared. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import type { ImagePixels } from "../../runtime/image.js";

export const preprocessFixtures = fileURLToPath(new URL("../fixtures/preprocess/", import.meta.url));

/** Pixels in a JSON file: rows of interleaved bytes, in base64. */
export interface StoredImage {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly data: string;
}

/** A JSON file of the fixtures. */
export const readFixture = <T>(name: string): T => JSON.parse(readFileSync(`${preprocessFixtures}${name}`, "utf8")) as T;

export const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
export const pixelsOf = (image: StoredImage): ImagePixels => ({ ...image, data: bytesOf(image.data) });

/** Fails unless all values are the same, and says how many are not. */
export function assertSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.is(actual.length, expected.length, `${what}: length`);
  let differing = 0;
  let first = -1;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    if (differing++ === 0) first = i;
  }
  assert.is(differing, 0, `${what}: ${differing} of ${expected.length} values differ, first at ${first}: ${actual[first]} instead of ${expected[first]}`);
}
