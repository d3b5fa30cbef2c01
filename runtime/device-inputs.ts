/**
 * Images that are on the device already, or that the browser can put there without their pixels passing through JavaScript: bitmaps, canvases,
 * frames of a video, textures, buffers. They are prepared by the package's own kernels, with the numbers that the CPU gives.
 */
import { bufferUsage, createBuffers, scoped } from "./buffers.js";
import type { ImageKernels, ImageKernelText, ModelDefinition } from "./definition.js";
import { messageOf } from "./device.js";
import { InputError, KernelError, OutOfMemoryError, VitcError } from "./errors.js";
import { sizePasses, type ImagePass } from "./image-passes.js";
import type { ImageSpec } from "./image.js";
import type { Engine } from "./load.js";
import { countImages, elements, describe, isDeviceImage, tagOf, toBatch, type BufferInput, type DeviceBatch, type DeviceImage, type HostInput, type ModelInput, type Photograph } from "./tensor.js";

// WebGPU's flags by value: Node has no globals for them.
const copySource = 0x1;
const textureUsage = copySource | 0x2 /* copyDst */ | 0x10 /* renderAttachment */;
/** Rows of a copy from a texture begin at multiples of it. */
const rowBytes = 256;
/** Sizes of photographs whose buffers are kept: a stream has one, a page a few. */
const keptSizes = 4;
/** Batches that are kept for the next run. */
const keptBatches = 4;

/** What is copied to a texture as it is. */
type Copied = ImageBitmap | HTMLCanvasElement | OffscreenCanvas;

const formats = /^(rgba|bgra)8unorm(-srgb)?$/;

/**
 * Turns what is on the device, or what can be put there, into a batch on the device.
 * @throws InputError naming what was given and what the model takes; OutOfMemoryError
 */
export async function toDeviceBatch(input: Exclude<ModelInput, HostInput>, engine: Engine, images: ModelDefinition["images"]): Promise<DeviceBatch> {
  const { plan } = engine.variant;
  if (tagOf(input) === "GPUBuffer") return fromBuffer({ buffer: input as GPUBuffer }, plan.input.shape);
  if (!Array.isArray(input) && !isDeviceImage(input)) return fromBuffer(input as BufferInput, plan.input.shape);
  if (images === undefined) throw new InputError(`${plan.name} was compiled without kernels that prepare images on the device (it takes ${plan.input.shape[0]} channels, or is of another vitc): compile it again, or give pixels, files or f32 values`);
  const wrong = engine.report?.images?.wrong;
  if (wrong) throw new InputError(`${plan.name}: a self-test found that images which this device prepares have ${wrong.actual} where ${wrong.expected} is right: give pixels, files or f32 values instead`);
  return (await preparerOf(engine, images)).prepare(Array.isArray(input) ? (input as readonly (Photograph | DeviceImage)[]) : [input as DeviceImage]);
}

/** By session, so that all that it holds goes with it. */
const preparers = new WeakMap<object, Promise<Preparer>>();

/** One for each session; what failed, a download of the kernels above all, is tried again by the next run. */
function preparerOf(engine: Engine, images: NonNullable<ModelDefinition["images"]>): Promise<Preparer> {
  const known = preparers.get(engine.session);
  if (known) return known;
  const made = images().then(({ imageKernels }) => Preparer.create(engine, imageKernels));
  preparers.set(engine.session, made);
  made.catch(() => preparers.delete(engine.session));
  return made;
}

function fromBuffer({ buffer, offset = 0, shape: given }: Pick<BufferInput, "buffer" | "offset"> & Partial<BufferInput>, shape: readonly number[]): DeviceBatch {
  const bytes = elements(shape) * 4;
  if ((buffer.usage & bufferUsage.copySource) === 0) throw new InputError("the buffer has no usage COPY_SRC, so that the model cannot read it: create it with GPUBufferUsage.COPY_SRC");
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % 4 !== 0) throw new InputError(`offset is ${offset}; it is a number of bytes, a multiple of 4`);
  if (given !== undefined && !((given as unknown) instanceof Array)) throw new InputError(`shape is ${typeof given}; it must be a list of sizes, [images, ${shape.join(", ")}]`);
  const count = given === undefined ? (buffer.size - offset) / bytes : countImages(given, shape);
  if (!Number.isInteger(count) || count < 1) throw new InputError(`a buffer of ${buffer.size} bytes holds no whole number of images of ${describe(shape)} f32 values = ${bytes} bytes; give { buffer, offset, shape } for a part of it`);
  if (offset + count * bytes > buffer.size) throw new InputError(`${count} images of ${bytes} bytes from ${offset} on do not fit the buffer, which has ${buffer.size} bytes`);
  return { buffer, offset, count, release: () => undefined };
}

/** What photographs of one size need: nothing of it is made again for the next of that size. */
interface SizeBuffers {
  readonly firstRow: number;
  readonly sourceRows: number;
  readonly pitch: number;
  readonly source: GPUBuffer;
  readonly launches: readonly { readonly pipeline: GPUComputePipeline; readonly bindGroup: GPUBindGroup; readonly workgroups: readonly [x: number, y: number] }[];
  /** For what is not a texture itself; made with the first. */
  texture?: GPUTexture;
  readonly buffers: readonly GPUBuffer[];
}

/** Prepares photographs on a session's device. */
class Preparer {
  private turn: Promise<unknown> = Promise.resolve();
  private readonly sizes = new Map<string, SizeBuffers>();
  private readonly free: GPUBuffer[] = [];
  private readonly out = new Map<"out", GPUBuffer>();
  private readonly spec: ImageSpec;
  private readonly imageBytes: number;

  private constructor(
    private readonly engine: Engine,
    private readonly pipelines: readonly (readonly [ImageKernelText, GPUComputePipeline])[],
  ) {
    const { preprocess, input } = engine.variant.plan;
    this.spec = { preprocess, shape: input.shape as ImageSpec["shape"] };
    this.imageBytes = elements(input.shape) * 4;
  }

  /** @throws KernelError when the device refuses the kernels */
  static async create(engine: Engine, { rows, columns }: ImageKernels): Promise<Preparer> {
    const { device } = engine.opened;
    const build = async (kernel: ImageKernelText): Promise<readonly [ImageKernelText, GPUComputePipeline]> => {
      try {
        return [kernel, await device.createComputePipelineAsync({ label: kernel.id, layout: "auto", compute: { module: device.createShaderModule({ label: kernel.id, code: kernel.code }), entryPoint: "main" } })];
      } catch (error) {
        throw new KernelError(new Map([[kernel.id, messageOf(error)]]));
      }
    };
    return new Preparer(engine, await Promise.all([build(rows), build(columns)]));
  }

  /** One batch after the other: they share buffers. */
  prepare(images: readonly (Photograph | DeviceImage)[]): Promise<DeviceBatch> {
    const batch = this.turn.then(() => this.prepareNow(images));
    this.turn = batch.catch(() => undefined);
    return batch;
  }

  private async prepareNow(images: readonly (Photograph | DeviceImage)[]): Promise<DeviceBatch> {
    const bytes = images.length * this.imageBytes;
    const at = this.free.findIndex(({ size }) => size === bytes);
    const buffer = at >= 0 ? this.free.splice(at, 1)[0]! : await this.make("batch", bytes);
    const release = (): void => {
      // What was put to the queue is done before the next batch is written.
      this.free.push(buffer);
      if (this.free.length > keptBatches) this.drop(this.free.shift()!);
    };
    try {
      for (const [i, image] of images.entries()) await this.place(image, buffer, i * this.imageBytes);
    } catch (error) {
      release();
      throw error;
    }
    return { buffer, offset: 0, count: images.length, release };
  }

  private async place(image: Photograph | DeviceImage, batch: GPUBuffer, offset: number): Promise<void> {
    const { device } = this.engine.opened;
    if (!isDeviceImage(image)) {
      const { data } = await toBatch(image, this.engine.variant.plan, this.engine.decode);
      this.engine.session.checkOpen();
      return device.queue.writeBuffer(batch, offset, data.buffer, data.byteOffset, data.byteLength);
    }
    if (tagOf(image) === "GPUTexture") return this.placeTexture(image as GPUTexture, batch, offset);
    if (/^(ImageBitmap|HTMLCanvasElement|OffscreenCanvas)$/.test(tagOf(image))) return this.placeExternal(image as Copied, batch, offset);
    return this.placeBitmapOf(image as Exclude<DeviceImage, GPUTexture | Copied>, batch, offset);
  }

  /**
   * An image element becomes the bitmap that a file of the same bytes is decoded to; its own pixels would be those of a colour profile. Frames of
   * videos become bitmaps because Chromium's GPU process ended when a software adapter copied them as they are; the browser makes them where the
   * frame is.
   */
  private async placeBitmapOf(image: HTMLImageElement | HTMLVideoElement | VideoFrame, batch: GPUBuffer, offset: number): Promise<void> {
    const tag = tagOf(image);
    if ("videoWidth" in image && image.videoWidth === 0) throw new InputError(`the ${tag} has no picture yet: wait for its loadeddata event`);
    let bitmap: ImageBitmap;
    try {
      if ("decode" in image) await image.decode();
      bitmap = await createImageBitmap(image, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    } catch (cause) {
      throw new InputError(`the ${tag} ${"currentSrc" in image ? image.currentSrc.slice(0, 100) : ""} cannot be read: ${messageOf(cause)}; one of another origin needs crossorigin="anonymous"`.replace("  ", " "), { cause });
    }
    try {
      await this.placeExternal(bitmap, batch, offset);
    } finally {
      bitmap.close();
    }
  }

  private async placeExternal(source: Copied, batch: GPUBuffer, offset: number): Promise<void> {
    const { width, height } = source;
    const tag = tagOf(source);
    const { device } = this.engine.opened;
    const most = device.limits.maxTextureDimension2D;
    if (!(width >= 1 && height >= 1)) throw new InputError(`the ${tag} is ${width} x ${height}: it is closed, or has no picture yet`);
    if (width > most || height > most) throw new InputError(`the ${tag} is ${width} x ${height}, and this device has textures of up to ${most}: give the file as a Blob, which goes in pieces, or draw it smaller`);
    const size = await this.sizeOf(width, height, false);
    const texture = (size.texture ??= await this.makeTexture(width, height));
    await this.encode(size, texture, batch, offset, () => {
      try {
        device.queue.copyExternalImageToTexture({ source }, { texture, premultipliedAlpha: false, colorSpace: "srgb" }, [width, height]);
      } catch (cause) {
        throw new InputError(`the ${tag} cannot be read: ${messageOf(cause)}`, { cause });
      }
    });
  }

  private async placeTexture(texture: GPUTexture, batch: GPUBuffer, offset: number): Promise<void> {
    const { width, height, format, dimension, sampleCount, usage, depthOrArrayLayers } = texture;
    if (!formats.test(format)) throw new InputError(`the texture's format is ${format}; a model takes rgba8unorm and bgra8unorm, and their -srgb`);
    if (dimension !== "2d" || sampleCount !== 1 || depthOrArrayLayers !== 1) throw new InputError(`the texture is ${dimension} with ${sampleCount} samples and ${depthOrArrayLayers} layers; a model takes a plain 2-d one`);
    if ((usage & copySource) === 0) throw new InputError("the texture has no usage COPY_SRC, so that the model cannot read it: create it with GPUTextureUsage.COPY_SRC");
    await this.encode(await this.sizeOf(width, height, format.startsWith("bgra")), texture, batch, offset, () => undefined);
  }

  /** Puts the work for one photograph to the queue, behind `before`. */
  private async encode({ firstRow, sourceRows, pitch, source, launches }: SizeBuffers, texture: GPUTexture, batch: GPUBuffer, offset: number, before: () => void): Promise<void> {
    const { device } = this.engine.opened;
    const out = this.out.get("out")!;
    const [, error] = await scoped(device, ["validation"], () => {
      before();
      const encoder = device.createCommandEncoder();
      encoder.copyTextureToBuffer({ texture, origin: [0, firstRow] }, { buffer: source, bytesPerRow: pitch * 4 }, [texture.width, sourceRows]);
      const pass = encoder.beginComputePass();
      for (const { pipeline, bindGroup, workgroups } of launches) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindGroup);
        pass.dispatchWorkgroups(...workgroups);
      }
      pass.end();
      encoder.copyBufferToBuffer(out, 0, batch, offset, this.imageBytes);
      device.queue.submit([encoder.finish()]);
    });
    if (error) throw new InputError(`the device refused to prepare the image: ${error.message}`);
  }

  private async sizeOf(width: number, height: number, swapped: boolean): Promise<SizeBuffers> {
    const key = `${width} x ${height} ${swapped}`;
    const known = this.sizes.get(key);
    this.sizes.delete(key);
    const size = known ?? (await this.makeSize(width, height, swapped));
    this.sizes.set(key, size);
    if (this.sizes.size > keptSizes) {
      const [oldest, { buffers, texture }] = this.sizes.entries().next().value!;
      this.sizes.delete(oldest);
      for (const resource of texture ? [...buffers, texture] : buffers) this.drop(resource);
    }
    return size;
  }

  private async makeSize(width: number, height: number, swapped: boolean): Promise<SizeBuffers> {
    const { device } = this.engine.opened;
    const pitch = (Math.ceil((width * 4) / rowBytes) * rowBytes) / 4;
    const { firstRow, sourceRows, stripBytes, rows, columns } = sizePasses({ width, height, stride: 4, pitch, swapped }, this.spec);
    const sourceBytes = pitch * sourceRows * 4;
    const most = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    if (Math.max(sourceBytes, stripBytes) > most) throw new InputError(`an image of ${width} x ${height} takes ${Math.max(sourceBytes, stripBytes)} bytes on the device, which binds ${most} at most: give the file as a Blob, or draw it smaller`);
    if (!this.out.has("out")) this.out.set("out", await this.make("prepared", this.imageBytes));
    const data = [rows.params, rows.taps, columns.params, columns.taps, columns.values];
    const made = await createBuffers(device, [sourceBytes, stripBytes, ...data.map(({ byteLength }) => byteLength)].map((bytes) => ({ label: "image", bytes, usage: bufferUsage.storage | bufferUsage.copyDestination })));
    this.engine.session.keep(made);
    const [source, strip, ...held] = made as [GPUBuffer, GPUBuffer, ...GPUBuffer[]];
    data.forEach((values, i) => device.queue.writeBuffer(held[i]!, 0, values));
    const bound = [[held[0]!, source, held[1]!, strip], [held[2]!, strip, held[3]!, held[4]!, this.out.get("out")!]];
    const launches = [rows, columns].map(({ invocations: [x, y] }: ImagePass, i) => {
      const [{ workgroupSize }, pipeline] = this.pipelines[i]!;
      const entries = bound[i]!.map((buffer, binding) => ({ binding, resource: { buffer } }));
      return { pipeline, bindGroup: device.createBindGroup({ label: "image", layout: pipeline.getBindGroupLayout(0), entries }), workgroups: [Math.ceil(x / workgroupSize[0]), Math.ceil(y / workgroupSize[1])] as const };
    });
    return { firstRow, sourceRows, pitch, source, launches, buffers: made };
  }

  private async makeTexture(width: number, height: number): Promise<GPUTexture> {
    const [texture, invalid, outOfMemory] = await scoped(this.engine.opened.device, ["validation", "out-of-memory"], () =>
      this.engine.opened.device.createTexture({ label: "image", size: [width, height], format: "rgba8unorm", usage: textureUsage }),
    );
    const error = outOfMemory ?? invalid;
    if (error) texture.destroy();
    if (outOfMemory) throw new OutOfMemoryError(`The GPU could not allocate ${((width * height * 4) / 2 ** 20).toFixed(1)} MiB for an image of ${width} x ${height}: ${outOfMemory.message}`, width * height * 4);
    if (error) throw new VitcError("limits", `The device refused a texture of ${width} x ${height}: ${error.message}`);
    this.engine.session.keep([texture]);
    return texture;
  }

  private async make(label: string, bytes: number): Promise<GPUBuffer> {
    const [buffer] = await createBuffers(this.engine.opened.device, [{ label, bytes, usage: bufferUsage.storage | bufferUsage.copySource | bufferUsage.copyDestination }]);
    this.engine.session.keep([buffer!]);
    return buffer!;
  }

  private drop(resource: GPUBuffer | GPUTexture): void {
    this.engine.session.extras.delete(resource);
    resource.destroy();
  }
}
