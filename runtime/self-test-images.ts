/** Photographs that the device prepares against what the CPU makes of them, which is the same to the last bit, or nearly. */
import { bufferUsage, createBuffers } from "./buffers.js";
import type { ModelDefinition } from "./definition.js";
import type { ImageSpec } from "./image.js";
import type { Engine } from "./load.js";
import { seededValues } from "./seeded.js";
import type { SelfTestDifference } from "./self-test.js";

// WebGPU's flags by value: Node has no globals for them.
const textureUsage = 0x1 /* copySrc */ | 0x2; /* copyDst */
const mapRead = 0x1;
/** Recipes that resize floats leave a few roundings; a pixel that is off by one byte is off by more. */
const tolerance = 1e-4;

/**
 * Prepares made-up pictures, `rounds` of them, from a texture.
 * @returns the first value of the model's input that is wrong
 * @throws as runs on textures do
 */
export async function wrongImage(engine: Engine, images: NonNullable<ModelDefinition["images"]>, rounds: number): Promise<SelfTestDifference | undefined> {
  const { session, opened: { device }, variant: { plan: { preprocess: recipe, input } } } = engine;
  const [{ toDeviceBatch }, { preprocess }] = await Promise.all([import("./device-inputs.js"), import("./image.js")]);
  const shape = input.shape as ImageSpec["shape"];
  // Resized in both directions, by different factors where the recipe lets it.
  const [height, width] = [1.3, 1.6].map((factor, i) => (recipe.resize === "none" ? shape[i + 1]! : Math.ceil(shape[i + 1]! * factor))) as [number, number];
  const expected = new Float32Array(shape[0] * shape[1] * shape[2]);
  const texture = device.createTexture({ label: "self-test", size: [width, height], format: "rgba8unorm", usage: textureUsage });
  const [staging] = await createBuffers(device, [{ label: "self-test", bytes: expected.byteLength, usage: mapRead | bufferUsage.copyDestination }]);
  try {
    for (let round = 0; round < rounds; round++) {
      // Another picture each time: what no kernel writes is not taken for a result.
      const data = Uint8Array.from(seededValues(`image ${round}`, [height, width, 4], "activation"), (value) => 128 * (value + 1));
      preprocess({ data, width, height, channels: 4 }, { preprocess: recipe, shape }, expected, 0);
      device.queue.writeTexture({ texture }, data, { bytesPerRow: 4 * width }, [width, height]);
      const batch = await toDeviceBatch(texture, engine, images);
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(batch.buffer, batch.offset, staging!, 0, expected.byteLength);
      device.queue.submit([encoder.finish()]);
      batch.release();
      await session.wait(staging!.mapAsync(mapRead));
      const actual = new Float32Array(staging!.getMappedRange());
      const element = expected.findIndex((value, i) => !(Math.abs(actual[i]! - value) <= tolerance * (1 + Math.abs(value))));
      const wrong = element < 0 ? undefined : { round, element, expected: expected[element]!, actual: actual[element]! };
      staging!.unmap();
      if (wrong) return wrong;
    }
    return undefined;
  } finally {
    texture.destroy();
    staging!.destroy();
  }
}
