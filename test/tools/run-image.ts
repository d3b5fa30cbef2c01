/** The kernels that prepare photographs, run as a host is to run them. */
import { imageColumns, imageRows, type ImageKernel } from "../../compiler/kernels/image.js";
import { imagePasses } from "../../runtime/image-passes.js";
import type { ImagePixels, ImageSpec } from "../../runtime/image.js";

// WebGPU's flags by value: Node has no globals for them.
const storage = 0x80 | 0x4 | 0x8;
const readback = 0x1 | 0x8;
const mapRead = 0x1;

/** Numbers on either side of a buffer's part that a kernel is bound to: what it reads there shows, and what it writes there is found. */
const guard = 64;
const guardValue = -123.25;

const pipelines = new WeakMap<GPUDevice, Map<string, GPUComputePipeline>>();

/**
 * Prepares a photograph on a device.
 * @param mutate changes the text of a kernel before it is built.
 * @returns the model's image, [channels, height, width]; NaN where nothing was written.
 * @throws Error when a kernel wrote beyond the image, and with Dawn's words when it refuses something.
 */
export async function prepareOnDevice(device: GPUDevice, image: ImagePixels, spec: ImageSpec, mutate: (kernel: ImageKernel) => string = ({ code }) => code): Promise<Float32Array> {
  const { arithmetic, source, stripBytes, rows, columns } = imagePasses(image, spec, guard);
  const count = spec.shape.reduce((product, n) => product * n, 1);
  const made: GPUBuffer[] = [];
  const bufferOf = (data: ArrayBufferView<ArrayBufferLike> | number): GPUBuffer => {
    const size = typeof data === "number" ? data : data.byteLength;
    const buffer = device.createBuffer({ size, usage: storage });
    made.push(buffer);
    if (typeof data !== "number") device.queue.writeBuffer(buffer, 0, new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice());
    return buffer;
  };
  device.pushErrorScope("validation");
  try {
    const expected = new Float32Array(count + 2 * guard).fill(guardValue);
    expected.fill(NaN, guard, guard + count);
    const [strip, out] = [bufferOf(stripBytes), bufferOf(expected)];
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const launches = [
      [imageRows(arithmetic), [bufferOf(rows.params), bufferOf(source), bufferOf(rows.taps), strip], rows.invocations],
      [imageColumns(arithmetic), [bufferOf(columns.params), strip, bufferOf(columns.taps), bufferOf(columns.values), out], columns.invocations],
    ] as const;
    for (const [kernel, buffers, [x, y]] of launches) {
      const pipeline = await pipelineOf(device, kernel.id, mutate(kernel));
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })) }));
      pass.dispatchWorkgroups(Math.ceil(x / kernel.workgroupSize[0]), Math.ceil(y / kernel.workgroupSize[1]));
    }
    pass.end();
    const target = device.createBuffer({ size: out.size, usage: readback });
    made.push(target);
    encoder.copyBufferToBuffer(out, 0, target, 0, out.size);
    device.queue.submit([encoder.finish()]);
    const refused = await device.popErrorScope();
    if (refused) throw new Error(refused.message);
    await target.mapAsync(mapRead);
    const result = new Float32Array(target.getMappedRange().slice(0));
    if ([...result.subarray(0, guard), ...result.subarray(guard + count)].some((value) => value !== guardValue)) throw new Error("a kernel wrote beyond the image");
    return result.slice(guard, guard + count);
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}

async function pipelineOf(device: GPUDevice, id: string, code: string): Promise<GPUComputePipeline> {
  const known = pipelines.get(device) ?? new Map<string, GPUComputePipeline>();
  pipelines.set(device, known);
  const pipeline = known.get(code) ?? (await device.createComputePipelineAsync({ label: id, layout: "auto", compute: { module: device.createShaderModule({ label: id, code }), entryPoint: "main" } }));
  known.set(code, pipeline);
  return pipeline;
}
