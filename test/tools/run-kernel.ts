import type { Graph, Value } from "../../compiler/ir/graph.js";
import type { InterpretOptions } from "../../compiler/ir/interpret.js";
import { elements } from "../../compiler/ir/ops/op.js";
import type { WgslKernel } from "../../compiler/kernels/kernel.js";
import { indexGraph } from "../../compiler/plan/graph-index.js";
import { lower, type Operand, type Step } from "../../compiler/plan/lower.js";
import { WeightStore } from "../../compiler/plan/pack.js";
import { packTensor } from "../../runtime/recipe.js";
import type { KernelBinding, PackedTensor } from "../../runtime/plan.js";

// WebGPU's flags by value: Node has no globals for them.
const storage = 0x80 | 0x4 | 0x8;
const readback = 0x1 | 0x8;
const mapRead = 0x1;
const computeStage = 0x4;

/** Changes the text of a kernel before it is built. */
export type Mutation = (kernel: WgslKernel) => string;

/**
 * Runs a lowered graph on a device, one kernel after another, each value in a buffer of its own: kernels, packing and launches as a plan has
 * them, without its memory. Results are NaN where no kernel wrote.
 *
 * @returns the graph's outputs by name
 * @throws Error with Dawn's words when it refuses a kernel or a binding
 */
export async function runGraph(device: GPUDevice, graph: Graph, values: InterpretOptions, mutate: Mutation = ({ code }) => code): Promise<Map<string, Float32Array>> {
  device.pushErrorScope("validation");
  const results = await run(device, graph, values, mutate).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  const refused = await device.popErrorScope();
  if (refused) throw new Error(refused.message);
  if (results instanceof Error) throw results;
  return results;
}

async function run(device: GPUDevice, graph: Graph, values: InterpretOptions, mutate: Mutation): Promise<Map<string, Float32Array>> {
  const made: GPUBuffer[] = [];
  const create = (data: Float32Array<ArrayBuffer>): GPUBuffer => {
    const buffer = device.createBuffer({ size: data.byteLength, usage: storage });
    device.queue.writeBuffer(buffer, 0, data);
    made.push(buffer);
    return buffer;
  };
  try {
    const buffers = new Map<Value, GPUBuffer>(graph.inputs.map(({ name, value }) => [value, create(Float32Array.from(values.inputs[name]!.data))]));
    const weights = new Map<PackedTensor, GPUBuffer>();
    for (const step of lower(indexGraph(graph), new WeightStore())) {
      for (const operand of step.operands) if ("weight" in operand) weights.set(operand.weight, create(await pack(operand.weight, values)));
      const { output, inPlace } = step;
      buffers.set(output, inPlace ? buffers.get(inPlace)! : create(new Float32Array(elements(output.shape)).fill(NaN)));
      await dispatch(device, step, mutate(step.kernel), (operand) => ("weight" in operand ? weights.get(operand.weight)! : buffers.get(operand.value)!));
    }
    const results = new Map<string, Float32Array>();
    for (const { name, value } of graph.outputs) results.set(name, await read(device, buffers.get(value)!));
    return results;
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}

const pack = (tensor: PackedTensor, values: InterpretOptions): Promise<Float32Array<ArrayBuffer>> =>
  packTensor(tensor, (source) => Promise.resolve(Float32Array.from(values.parameters(source.names[0]!).data)));

// Building a pipeline takes most of the time on a software adapter, and many tests use the same kernels.
const pipelines = new WeakMap<GPUDevice, Map<string, GPUComputePipeline>>();

async function pipelineOf(device: GPUDevice, { id, bindings }: WgslKernel, code: string): Promise<GPUComputePipeline> {
  const known = pipelines.get(device) ?? new Map<string, GPUComputePipeline>();
  pipelines.set(device, known);
  const pipeline = known.get(code) ?? (await device.createComputePipelineAsync({ label: id, layout: layoutOf(device, bindings), compute: { module: device.createShaderModule({ label: id, code }), entryPoint: "main" } }));
  known.set(code, pipeline);
  return pipeline;
}

/** The layout that a kernel declares, whether or not its text uses every binding. */
export function layoutOf(device: GPUDevice, bindings: readonly KernelBinding[]): GPUPipelineLayout {
  const entries = bindings.map(({ access }, binding) => ({ binding, visibility: computeStage, buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) } }));
  return device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
}

async function dispatch(device: GPUDevice, { kernel, operands, workgroups }: Step, code: string, bufferOf: (operand: Operand) => GPUBuffer): Promise<void> {
  const pipeline = await pipelineOf(device, kernel, code);
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: operands.map((operand, binding) => ({ binding, resource: { buffer: bufferOf(operand) } })) }));
  pass.dispatchWorkgroups(...workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

async function read(device: GPUDevice, source: GPUBuffer): Promise<Float32Array> {
  const target = device.createBuffer({ size: source.size, usage: readback });
  try {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, source.size);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(mapRead);
    return new Float32Array(target.getMappedRange().slice(0));
  } finally {
    target.destroy();
  }
}
