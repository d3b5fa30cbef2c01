import type { Graph, Value } from "../../compiler/ir/graph.js";
import type { InterpretOptions } from "../../compiler/ir/interpret.js";
import { elements } from "../../compiler/ir/ops/op.js";
import type { Candidate, CandidateLaunch } from "../../compiler/kernels/candidate.js";
import type { WgslKernel } from "../../compiler/kernels/kernel.js";
import { indexGraph } from "../../compiler/plan/graph-index.js";
import { lower, type Step } from "../../compiler/plan/lower.js";
import { WeightStore } from "../../compiler/plan/pack.js";
import type { Storage } from "../../compiler/plan/precision.js";
import { toHalves } from "../../runtime/half.js";
import { packTensor } from "../../runtime/recipe.js";
import type { DType, KernelBinding, PackedTensor } from "../../runtime/plan.js";
import { fromHalves } from "./halves.js";

// WebGPU's flags by value: Node has no globals for them.
const storageUsage = 0x80 | 0x4 | 0x8;
const readback = 0x1 | 0x8;
const mapRead = 0x1;
const computeStage = 0x4;

/** Changes the text of a kernel before it is built. */
export type Mutation = (kernel: WgslKernel) => string;

export interface RunOptions {
  readonly dtype: DType;
  /** How the graph's values are stored. */
  readonly storage: Storage;
  /** Bytes that a binding may have; weights beyond are split. Default: 128 MiB. */
  readonly bindingBytes?: number;
  /** The candidate of each routine; one that has no candidate of that name takes its first. */
  readonly choice?: string;
  readonly mutate?: Mutation;
  /** Counts accesses beyond what kernels declare to touch, and fails when there are any. */
  readonly checkBounds?: boolean;
}

/** The steps of a graph with every candidate, matrix units being emulated. */
export function stepsOf(graph: Graph, { dtype, storage, bindingBytes = 128 * 2 ** 20 }: Pick<RunOptions, "dtype" | "storage" | "bindingBytes">): readonly Step[] {
  return lower(indexGraph(graph), new WeightStore(), { dtype, storage, bindingBytes, keep: (all) => all, emulate: true });
}

/**
 * Runs a lowered graph on a device, one launch after another, each value in a buffer of its own: kernels, packing and launches as a plan has
 * them, without its memory. Results are NaN where no kernel wrote.
 *
 * @returns the graph's outputs by name
 * @throws Error with Dawn's words when it refuses a kernel or a binding; Error for accesses out of bounds
 */
export async function runGraph(device: GPUDevice, graph: Graph, values: InterpretOptions, options: RunOptions): Promise<Map<string, Float32Array>> {
  device.pushErrorScope("validation");
  const results = await run(device, graph, values, options).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  const refused = await device.popErrorScope();
  if (refused) throw new Error(refused.message);
  if (results instanceof Error) throw results;
  return results;
}

async function run(device: GPUDevice, graph: Graph, values: InterpretOptions, options: RunOptions): Promise<Map<string, Float32Array>> {
  const { storage, choice, mutate = ({ code }) => code, checkBounds = false } = options;
  const made: GPUBuffer[] = [];
  const create = (data: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>): GPUBuffer => {
    const buffer = upload(device, data);
    made.push(buffer);
    return buffer;
  };
  const stored = (value: Value, data: Float32Array<ArrayBuffer>): GPUBuffer => create(storage(value) === "f16" ? toHalves(data) : data);
  try {
    const buffers = new Map<Value, GPUBuffer>(graph.inputs.map(({ name, value }) => [value, stored(value, Float32Array.from(values.inputs[name]!.data))]));
    const weights = new Map<PackedTensor, GPUBuffer>();
    const violations = checkBounds ? create(new Float32Array(2)) : undefined;
    for (const { routine, operands, output, inPlace } of stepsOf(graph, options)) {
      for (const operand of operands) if ("weight" in operand) weights.set(operand.weight, create(await pack(operand.weight, values)));
      // The later columns of a product that is split go where the first ones are.
      if (!buffers.has(output)) buffers.set(output, inPlace ? buffers.get(inPlace)! : stored(output, new Float32Array(elements(output.shape)).fill(NaN)));
      const bound = operands.map((operand) => ("weight" in operand ? weights.get(operand.weight)! : "scratch" in operand ? create(new Float32Array(operand.scratch / 4).fill(NaN)) : buffers.get(operand.value)!));
      const candidate = routine.candidates.find(({ name }) => name === choice) ?? routine.candidates[0]!;
      for (const launch of candidate.launches) await dispatch(device, launch, mutate(launch.kernel), bound, violations);
    }
    if (violations) await demandNone(device, violations);
    const results = new Map<string, Float32Array>();
    for (const { name, value } of graph.outputs) {
      const bytes = await read(device, buffers.get(value)!);
      results.set(name, storage(value) === "f16" ? fromHalves(new Uint16Array(bytes.buffer, 0, elements(value.shape))) : bytes);
    }
    return results;
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}

/** A storage buffer that holds these numbers. */
export function upload(device: GPUDevice, data: Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>): GPUBuffer {
  const buffer = device.createBuffer({ size: Math.ceil(data.byteLength / 4) * 4, usage: storageUsage });
  // Writes are of whole words.
  const bytes = new Uint8Array(buffer.size);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  device.queue.writeBuffer(buffer, 0, bytes);
  return buffer;
}

/** @throws Error when accesses beyond what kernels declare were counted. */
export async function demandNone(device: GPUDevice, violations: GPUBuffer): Promise<void> {
  const [count] = new Uint32Array((await read(device, violations)).buffer);
  if (count !== 0) throw new Error(`${count} accesses out of bounds`);
}

/** Whether the device has what a candidate's kernels need. */
export const runsOn = ({ features }: GPUDevice, { launches }: Candidate): boolean => launches.every(({ kernel }) => (kernel.features ?? []).every((feature) => features.has(feature)));

/** Names of the candidates that the device can run, of all the steps of a graph. */
export function choicesOf(device: GPUDevice, graph: Graph, options: RunOptions): readonly string[] {
  return [...new Set(stepsOf(graph, options).flatMap(({ routine }) => routine.candidates.filter((candidate) => runsOn(device, candidate)).map(({ name }) => name)))];
}

const pack = (tensor: PackedTensor, values: InterpretOptions) => packTensor(tensor, (source) => Promise.resolve(Float32Array.from(values.parameters(source.names[0]!).data)));

// Building a pipeline takes most of the time on a software adapter, and many tests use the same kernels.
const pipelines = new WeakMap<GPUDevice, Map<string, GPUComputePipeline>>();

async function pipelineOf(device: GPUDevice, id: string, bindings: readonly Access[], code: string): Promise<GPUComputePipeline> {
  const known = pipelines.get(device) ?? new Map<string, GPUComputePipeline>();
  pipelines.set(device, known);
  const pipeline = known.get(code) ?? (await device.createComputePipelineAsync({ label: id, layout: layoutOf(device, bindings), compute: { module: device.createShaderModule({ label: id, code }), entryPoint: "main" } }));
  known.set(code, pipeline);
  return pipeline;
}

type Access = Pick<KernelBinding, "access">;

/** The layout that a kernel declares, whether or not its text uses every binding. */
export function layoutOf(device: GPUDevice, bindings: readonly Access[]): GPUPipelineLayout {
  const entries = bindings.map(({ access }, binding) => ({ binding, visibility: computeStage, buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) } }));
  return device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
}

/** Launches a kernel on buffers, its text being `text`; counts violations where there is a buffer for them. */
export async function dispatch(device: GPUDevice, { kernel, workgroups, bind }: CandidateLaunch, text: string, operands: readonly GPUBuffer[], violations: GPUBuffer | undefined): Promise<void> {
  const { code, bindings } = violations ? countViolations(kernel, text) : { code: text, bindings: kernel.bindings };
  const pipeline = await pipelineOf(device, kernel.id, bindings, code);
  const bound = [...(bind ? bind.map((i) => operands[i]!) : operands.slice(0, kernel.bindings.length)), ...(violations ? [violations] : [])];
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: bound.map((buffer, binding) => ({ binding, resource: { buffer } })) }));
  pass.dispatchWorkgroups(...workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** A kernel that also counts, in a binding of its own, each access beyond the bytes that the kernel declares for a binding. */
export function countViolations({ bindings }: WgslKernel, code: string): { readonly code: string; readonly bindings: readonly Access[] } {
  let text = code;
  const checks: string[] = [];
  for (const { name, bytes } of bindings) {
    const type = new RegExp(`> ${name}: array<(vec4<)?(f16|f32)`).exec(code);
    if (!type) throw new Error(`${name} is declared in another way`);
    const count = bytes / ((type[1] ? 4 : 1) * (type[2] === "f16" ? 2 : 4));
    checks.push(`fn within_${name}(index: u32) -> u32 { if (index >= ${count}u) { atomicAdd(&violations[0], 1u); } return min(index, ${count - 1}u); }`);
    text = wrapIndices(text, name);
  }
  const declaration = `@group(0) @binding(${bindings.length}) var<storage, read_write> violations: array<atomic<u32>>;`;
  const at = text.indexOf("@group(0)");
  return { code: `${text.slice(0, at)}${declaration}\n${checks.join("\n")}\n${text.slice(at)}`, bindings: [...bindings, { access: "read_write" }] };
}

/** `name[index]` as `name[within_name(index)]`, wherever it stands. */
function wrapIndices(code: string, name: string): string {
  let result = "";
  let rest = code;
  for (;;) {
    const match = new RegExp(`(?<![\\w.])${name}\\[`).exec(rest);
    if (!match) return result + rest;
    const start = match.index + match[0].length;
    let [depth, end] = [1, start];
    for (; depth > 0; end++) depth += rest[end] === "[" ? 1 : rest[end] === "]" ? -1 : 0;
    const index = wrapIndices(rest.slice(start, end - 1), name);
    result += `${rest.slice(0, start)}within_${name}(${index})]`;
    rest = rest.slice(end);
  }
}

export async function read(device: GPUDevice, source: GPUBuffer): Promise<Float32Array<ArrayBuffer>> {
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
