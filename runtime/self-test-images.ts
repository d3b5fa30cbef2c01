/** A photograph that the device prepares beside what the CPU makes of it, which is the same to the last bit, or nearly. */
import { bufferUsage, createBuffers } from "./buffers.js";
import type { ModelDefinition } from "./definition.js";
import type { ImageSpec } from "./image.js";
import type { Engine } from "./load.js";
import { seededValues } from "./seeded.js";
import { elements } from "./tensor.js";

/**
 * Prepares a made-up picture from a texture, and in memory.
 * @returns the model's input by both
 * @throws as runs on textures do
 */
export async function preparedTwice(engine: Engine, images: ModelDefinition["images"], name: string): Promise<{ readonly actual: Float32Array; readonly expected: Float32Array }> {
  const { session, opened: { device }, variant: { plan } } = engine;
  const [{ toDeviceBatch }, { preprocess }] = await Promise.all([import("./device-inputs.js"), import("./image.js")]);
  const spec = { preprocess: plan.preprocess, shape: plan.input.shape as ImageSpec["shape"] };
  // Resized in both directions, by different factors where the recipe lets it.
  const sideOf = (axis: number, factor: number): number => Math.ceil(plan.input.shape[axis]! * (spec.preprocess.resize === "none" ? 1 : factor));
  const [height, width] = [sideOf(1, 1.3), sideOf(2, 1.6)];
  const data = Uint8Array.from(seededValues(name, [height, width, 4], "activation"), (value) => 128 * (value + 1));
  const expected = new Float32Array(elements(plan.input.shape));
  preprocess({ data, width, height, channels: 4 }, spec, expected, 0);
  const [staging] = await createBuffers(device, [{ label: name, bytes: expected.byteLength, usage: bufferUsage.mapRead | bufferUsage.copyDestination }]);
  const texture = device.createTexture({ label: name, size: [width, height], format: "rgba8unorm", usage: 0x1 /* copySrc */ | 0x2 /* copyDst */ });
  try {
    device.queue.writeTexture({ texture }, data, { bytesPerRow: 4 * width }, [width, height]);
    const { buffer, release } = await toDeviceBatch(texture, engine, images);
    try {
      return { actual: new Float32Array(await session.runDispatch([], [], buffer, staging!)), expected };
    } finally {
      release();
    }
  } finally {
    texture.destroy();
    staging!.destroy();
  }
}
