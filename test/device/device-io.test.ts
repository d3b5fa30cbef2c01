/** Images that are on the device already, results that stay there, and runs among an app's own commands. */
import * as assert from "uvu/assert";
import { InputError } from "../../runtime/errors.js";
import * as platform from "../../runtime/node.js";
import type { ImagePixels } from "../../runtime/image.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom, rejection } from "../tools/loaded.js";
import { recording } from "../tools/recording-device.js";
import { skipAll, suite } from "../tools/suite.js";

// An image of 3 x 36 x 44 values, whose bytes are no multiple of 256.
const spec = { name: "on-device", image: [36, 44], patch: [18, 11], dim: 16, depth: 1, heads: 2, classes: 4, batch: [1, 2], outputs: ["embed"], preprocess: { interpolation: "bicubic", mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] } };
const size = 3 * 36 * 44;
const values = (images: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: images * size }, (_, i) => Math.sin(i * i));
const usage = { copySource: 4, copyDestination: 8, storage: 0x80, mapRead: 1 } as const;
const textureUsage = { copySource: 1, copyDestination: 2 } as const;

function pixels(width: number, height: number, seed: number): ImagePixels & { readonly data: Uint8Array<ArrayBuffer> } {
  let state = seed * 2654435761;
  return { width, height, channels: 4, data: Uint8Array.from({ length: width * height * 4 }, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24) };
}

const reason = await softwareReason();
if (reason) skipAll("images and results on the device", reason);
else {
  const test = suite("images and results on the device");
  const { device } = await platform.requestDevice({ adapter: "software" });
  const definition = definitionOf(spec);
  const calls: string[] = [];
  const model = await loadRandom(definition, { device: recording(device, calls) });
  const all = (outputs: object): number[] => Object.values(outputs as Record<string, Float32Array>).flatMap((output) => [...output]);

  const bufferOf = (data: Float32Array<ArrayBuffer>, flags: number = usage.copySource): GPUBuffer => {
    const buffer = device.createBuffer({ size: data.byteLength, usage: flags | usage.copyDestination });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const textureOf = ({ width, height, data }: ReturnType<typeof pixels>, format: GPUTextureFormat = "rgba8unorm", more: Partial<GPUTextureDescriptor> = {}): GPUTexture => {
    const texture = device.createTexture({ size: [width, height], format, usage: textureUsage.copySource | textureUsage.copyDestination, ...more });
    device.queue.writeTexture({ texture }, data, { bytesPerRow: width * 4 }, [width, height]);
    return texture;
  };
  async function read(buffer: GPUBuffer, offset: number, bytes: number): Promise<number[]> {
    const target = device.createBuffer({ size: bytes, usage: usage.mapRead | usage.copyDestination });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, target, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(1);
    const result = [...new Float32Array(target.getMappedRange().slice(0))];
    target.destroy();
    return result;
  }

  test("a buffer of values, and a part of one, is what the values are in memory", async () => {
    const input = values(5);
    const expected = all(await model.run(input));
    const buffer = bufferOf(input);
    assert.equal(all(await model.run(buffer)), expected);
    assert.equal(all(await model.run({ buffer, shape: [5, 3, 36, 44] })), expected);
    assert.equal(all(await model.run({ buffer, offset: 2 * size * 4, shape: [3, 36, 44] })), all(await model.run(input.slice(2 * size, 3 * size))));
  });

  test("textures of any size are prepared as their pixels are on the CPU, blue first or red first, alone and in lists with pixels", async () => {
    for (const [width, height] of [[44, 36], [130, 70], [31, 97], [64, 64], [3, 2]] as const) {
      const image = pixels(width, height, width);
      const expected = all(await model.run(image));
      assert.equal(all(await model.run(textureOf(image))), expected, `${width} x ${height}`);
      const blueFirst = { ...image, data: image.data.map((_, i, data) => data[i % 4 === 0 ? i + 2 : i % 4 === 2 ? i - 2 : i]!) };
      for (const format of ["bgra8unorm", "bgra8unorm-srgb"] as const) assert.equal(all(await model.run(textureOf(blueFirst, format))), expected, format);
      assert.equal(all(await model.run(textureOf(image, "rgba8unorm-srgb"))), expected);
    }
    const [a, b, c] = [pixels(50, 40, 1), pixels(50, 40, 2), pixels(60, 90, 3)];
    assert.equal(all(await model.run([textureOf(a), b, textureOf(c), textureOf(b), a])), all(await model.run([a, b, c, b, a])));
    assert.not.equal(all(await model.run(textureOf(a))), all(await model.run(textureOf(b))));
  });

  test("gray models, and recipes that rescale first, take textures too", async () => {
    const image = pixels(61, 47, 9);
    const gray = await loadRandom(definitionOf({ ...spec, channels: 1, preprocess: { ...spec.preprocess, mean: [0.5], std: [0.2] } }), { device });
    assert.equal(all(await gray.run(textureOf(image))), all(await gray.run(image)));
    gray.dispose();
    const floats = await loadRandom(definitionOf({ ...spec, preprocess: { ...spec.preprocess, rescale: "before" } }), { device });
    const expected = all(await floats.run(image));
    all(await floats.run(textureOf(image))).forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < 1e-4 * (1 + Math.abs(expected[i]!))));
    floats.dispose();
  });

  test("a stream of textures of one size makes nothing on the device once it has begun, and memory stays flat over sizes", async () => {
    const texture = textureOf(pixels(77, 55, 4));
    const expected = all(await model.run(texture));
    await model.run(texture);
    calls.length = 0;
    for (let i = 0; i < 10; i++) assert.equal(all(await model.run(texture)), expected);
    assert.equal([...new Set(calls)], ["createCommandEncoder"]);
    const after: number[] = [];
    for (let i = 0; i < 12; i++) {
      await model.run(textureOf(pixels(100 + i, 90, i)));
      after.push(model.gpuBytes);
    }
    assert.ok(Math.abs(after[11]! - after[6]!) < 0.1 * after[6]!, after.join());
  });

  test("results stay on the device as they were, whatever the model does, and are another model's input", async () => {
    const input = values(3);
    const expected = await model.run(input);
    const first = await model.runOnDevice(input);
    await model.run(values(1).map((value) => -value));
    for (const [name, tensor] of Object.entries(first)) {
      assert.equal([...tensor.shape], [...expected[name]!.shape]);
      assert.is(tensor.bytes, expected[name]!.byteLength);
      assert.equal(await read(tensor.buffer, tensor.offset, tensor.bytes), [...expected[name]!], name);
    }
    const again = await model.runOnDevice({ buffer: bufferOf(input), shape: [3, 3, 36, 44] });
    assert.equal(await read(again["logits"]!.buffer, 0, again["logits"]!.bytes), [...expected["logits"]!]);
    assert.match((await rejection(model.run(first["logits"]!))).message, /3 x 4 does not fit/);
    for (const tensor of [...Object.values(first), ...Object.values(again)]) tensor.dispose();
    first["logits"]!.dispose();
  });

  test("a run is put among an app's own commands, from its buffer and to its buffers", async () => {
    const input = values(3);
    const expected = await model.run(input);
    const [source, logits] = [bufferOf(input), bufferOf(new Float32Array(32))];
    const embed = bufferOf(new Float32Array(expected["embed"]!.length));
    const encoder = device.createCommandEncoder();
    await model.encode(encoder, { input: source, images: 3, outputs: { logits: { buffer: logits, offset: 16 }, embed } });
    device.queue.submit([encoder.finish()]);
    assert.equal(await read(logits, 0, 80), [0, 0, 0, 0, ...expected["logits"]!, 0, 0, 0, 0]);
    assert.equal(await read(embed, 0, embed.size), [...expected["embed"]!]);
    // One image, by default, and one output alone; a run in between is none of its.
    const one = device.createCommandEncoder();
    await model.encode(one, { input: { buffer: source, offset: size * 4 }, outputs: { logits } });
    const other = all(await model.run(values(2)));
    device.queue.submit([one.finish()]);
    assert.equal(await read(logits, 0, 16), [...(await model.run(input.slice(size, 2 * size)))["logits"]!]);
    assert.equal(all(await model.run(values(2))), other);
  });

  test("wrong buffers, textures and outputs are refused with what to do, and the model goes on", async () => {
    const good = bufferOf(values(1));
    const inputs: readonly (readonly [unknown, RegExp])[] = [
      [device.createBuffer({ size: size * 4, usage: usage.storage }), /no usage COPY_SRC/],
      [bufferOf(new Float32Array(7)), /28 bytes holds no whole number of images of 3 x 36 x 44/],
      [{ buffer: good, shape: [2, 3, 36, 44] }, /do not fit the buffer/],
      [{ buffer: good, offset: 4, shape: [3, 36, 44] }, /do not fit the buffer/],
      [{ buffer: good, offset: 3, shape: [3, 36, 44] }, /multiple of 4/],
      [{ buffer: good, shape: [1, 3, 44, 36] }, /3 x 44 x 36 does not fit/],
      [{ buffer: good, shape: "3,36,44" }, /shape is string/],
      [textureOf(pixels(8, 8, 1), "rgba8unorm", { usage: textureUsage.copyDestination }), /no usage COPY_SRC/],
      [device.createTexture({ size: [8, 8], format: "rgba16float", usage: textureUsage.copySource }), /format is rgba16float/],
      [device.createTexture({ size: [8, 8, 2], format: "rgba8unorm", usage: textureUsage.copySource }), /2 layers/],
    ];
    for (const [input, says] of inputs) {
      const error = await rejection(model.run(input as never));
      assert.instance(error, InputError);
      assert.match(error.message, says);
    }
    const encoder = device.createCommandEncoder();
    const target = bufferOf(new Float32Array(4));
    const ios: readonly (readonly [object, RegExp])[] = [
      [{ input: good, outputs: {} }, /no output is asked for/],
      [{ input: good, outputs: { pooled: target } }, /no output "pooled"; it has embed, logits|no output "pooled"; it has logits, embed/],
      [{ input: good, outputs: { logits: device.createBuffer({ size: 16, usage: usage.storage }) } }, /logits has no usage COPY_DST/],
      [{ input: good, images: 2, outputs: { logits: target } }, /the input has \d+ bytes/],
      [{ input: good, images: 0, outputs: { logits: target } }, /images is 0/],
      [{ input: good, outputs: { logits: { buffer: target, offset: 8 } } }, /logits has 16 bytes, and 16 from 8/],
    ];
    for (const [io, says] of ios) {
      const error = await rejection(model.encode(encoder, io as never));
      assert.instance(error, InputError);
      assert.match(error.message, says);
    }
    // Another device's buffer is seen by the device alone: never a plausible result.
    const { device: stranger } = await platform.requestDevice({ adapter: "software" });
    assert.match((await rejection(model.run(stranger.createBuffer({ size: size * 4, usage: usage.copySource })))).message, /refused/);
    stranger.destroy();
    assert.is((await model.run(good))["logits"]!.length, 4);
    const { images: _, ...plain } = definition;
    const without = await loadRandom(plain, { device });
    assert.match((await rejection(without.run(textureOf(pixels(8, 8, 1))))).message, /compile it again/);
    without.dispose();
  });

  test("kernels that prepare images are built once for runs that come together, and again when they could not be had", async () => {
    let fails = 1;
    const made: string[] = [];
    const images: typeof definition.images = () => (fails-- > 0 ? Promise.reject(new Error("the connection broke")) : definition.images!());
    using other = await loadRandom({ ...definition, images }, { device: recording(device, made) });
    const texture = textureOf(pixels(50, 40, 3));
    assert.match((await rejection(other.run(texture))).message, /the connection broke/);
    made.length = 0;
    const [one, two] = await Promise.all([other.run(texture), other.run(texture)]);
    assert.equal(all(one), all(two));
    assert.is(made.filter((name) => name === "createComputePipelineAsync").length, 2, "rows and columns");
    texture.destroy();
  });

  test("what a model made for images is freed with it", async () => {
    const before = model.gpuBytes;
    assert.ok(before > 0);
    model.dispose();
    assert.is((await rejection(model.run(bufferOf(values(1))))).message.includes("disposed"), true);
  });

  test.after(() => device.destroy());
  test.run();
}
