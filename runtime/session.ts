import { messageOf } from "./device.js";
import { DeviceLostError, OutOfMemoryError, VitcError } from "./errors.js";
import type { Dispatch, Kernel, Plan, Profile, View } from "./plan.js";

// WebGPU's flags by value: Node has no globals for them, and these numbers are part of the standard.
const usage = { mapRead: 0x1, copySource: 0x4, copyDestination: 0x8, storage: 0x80 } as const;
const mapRead = 0x1;
const computeStage = 0x4;

/** A pass this long can trip the watchdog of a slow adapter (Chromium's ends the GPU process), so there it is cut between dispatches. */
const softwarePassFlops = 2e9;

/** A dispatch with its GPU objects. */
interface Recorded {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly dispatch: Dispatch;
}

interface RecordedProfile {
  readonly profile: Profile;
  readonly dispatches: readonly Recorded[];
  /** Byte offset of each output in the readback buffer. */
  readonly readback: readonly number[];
  checked: boolean;
}

export interface SessionOptions {
  readonly device: GPUDevice;
  readonly plan: Plan;
  /** WGSL by kernel id. */
  readonly kernels: Readonly<Record<string, string>>;
  /** Whether the adapter is software. */
  readonly software: boolean;
  /** Called with the number of pipelines built so far. */
  readonly onPipeline?: (built: number, total: number) => void;
}

/**
 * A plan on a device: all buffers, pipelines and bind groups, made once. A run writes the input, replays the recorded dispatches in one
 * compute pass and one submit, and reads the outputs back; it makes no GPU object but the command buffer.
 */
export class Session {
  private constructor(
    private readonly device: GPUDevice,
    private readonly buffers: ReadonlyMap<string, GPUBuffer>,
    private readonly staging: GPUBuffer,
    private readonly profiles: ReadonlyMap<number, RecordedProfile>,
    private readonly software: boolean,
  ) {}

  /**
   * @throws OutOfMemoryError with the bytes asked for; VitcError (validation) when the device refuses a kernel or binding.
   */
  static async create({ device, plan, kernels, software, onPipeline }: SessionOptions): Promise<Session> {
    const profiles = plan.programs.infer;
    const sizes = bufferSizes(plan);
    const { buffers, staging } = await allocate(device, sizes, Math.max(...profiles.map(stagingBytes)));
    try {
      const pipelines = await buildPipelines(device, plan.kernels, kernels, onPipeline);
      device.pushErrorScope("validation");
      const recorded = profiles.map((profile) => [profile.batch, record(device, profile, pipelines, buffers)] as const);
      const error = await device.popErrorScope();
      if (error) throw new VitcError("validation", `The device refused a binding of ${plan.name}: ${error.message}`);
      return new Session(device, buffers, staging, new Map(recorded), software);
    } catch (error) {
      for (const buffer of [...buffers.values(), staging]) buffer.destroy();
      throw error;
    }
  }

  /** Bytes of all GPU buffers that the session holds. */
  get bytes(): number {
    return [...this.buffers.values(), this.staging].reduce((sum, buffer) => sum + buffer.size, 0);
  }

  /** Writes packed weights at a byte offset of weight buffer `buffer`. */
  upload(buffer: number, offset: number, data: Float32Array<ArrayBuffer>): void {
    this.device.queue.writeBuffer(this.buffers.get(`weights.${buffer}`)!, offset, data);
  }

  /**
   * Runs one profile. `input` holds at most `batch` images; missing ones keep what the last run left, and their results mean nothing.
   * `collect` gets each output's values for the whole batch, valid during the call only.
   * @throws DeviceLostError; VitcError if the device refuses the commands.
   */
  async run(batch: number, input: Float32Array, collect: (output: number, values: Float32Array) => void): Promise<void> {
    const recorded = this.profiles.get(batch)!;
    const { profile, readback } = recorded;
    const { device, staging } = this;
    const check = !recorded.checked;
    if (check) device.pushErrorScope("validation");
    device.queue.writeBuffer(this.buffers.get("input")!, 0, input.buffer, input.byteOffset, input.byteLength);
    this.encode(recorded);
    if (check) {
      // The same commands are replayed ever after: what is valid once stays valid.
      const error = await device.popErrorScope();
      if (error) throw new VitcError("validation", `The device refused to run ${profile.dispatches[0]!.label}...: ${error.message}`);
      recorded.checked = true;
    }
    try {
      await staging.mapAsync(mapRead);
    } catch (error) {
      throw new DeviceLostError(`The GPU device was lost during a run (${messageOf(error)}); load the model again`);
    }
    const mapped = staging.getMappedRange();
    profile.outputs.forEach(({ view }, i) => collect(i, new Float32Array(mapped, readback[i]!, view[2] / 4)));
    staging.unmap();
  }

  private encode({ profile, dispatches, readback }: RecordedProfile): void {
    const { device } = this;
    const submit: GPUCommandBuffer[] = [];
    let encoder = device.createCommandEncoder();
    let pass = encoder.beginComputePass();
    let flops = 0;
    for (const { pipeline, bindGroup, dispatch } of dispatches) {
      if (this.software && flops > softwarePassFlops) {
        pass.end();
        device.queue.submit([encoder.finish()]);
        encoder = device.createCommandEncoder();
        pass = encoder.beginComputePass();
        flops = 0;
      }
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...dispatch.workgroups);
      flops += dispatch.flops;
    }
    pass.end();
    profile.outputs.forEach(({ view: [buffer, offset, bytes] }, i) => {
      encoder.copyBufferToBuffer(this.buffers.get(buffer)!, offset, this.staging, readback[i]!, bytes);
    });
    submit.push(encoder.finish());
    device.queue.submit(submit);
  }

  /** Frees the GPU buffers. The device stays. */
  dispose(): void {
    for (const buffer of this.buffers.values()) buffer.destroy();
    this.staging.destroy();
  }
}

/** Bytes of each buffer. Profiles share arenas by name, each as large as the largest needs it. */
function bufferSizes(plan: Plan): Map<string, number> {
  const sizes = new Map<string, number>();
  const atLeast = (name: string, bytes: number) => sizes.set(name, Math.max(bytes, sizes.get(name) ?? 0));
  plan.weightBuffers.forEach((bytes, i) => atLeast(`weights.${i}`, bytes));
  for (const profile of plan.programs.infer) {
    atLeast("input", profile.input[2]);
    for (const { name, bytes } of profile.arenas) atLeast(name, bytes);
  }
  return sizes;
}

/** The outputs of a profile one after the other, each at a multiple of 8 bytes. */
function readbackOffsets(profile: Profile): { offsets: readonly number[]; bytes: number } {
  let bytes = 0;
  const offsets = profile.outputs.map(({ view }) => {
    const offset = bytes;
    bytes += Math.ceil(view[2] / 8) * 8;
    return offset;
  });
  return { offsets, bytes };
}

const stagingBytes = (profile: Profile): number => readbackOffsets(profile).bytes;

async function allocate(device: GPUDevice, sizes: ReadonlyMap<string, number>, staging: number): Promise<{ buffers: Map<string, GPUBuffer>; staging: GPUBuffer }> {
  const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, staging);
  const made: GPUBuffer[] = [];
  const make = (label: string, size: number, flags: number): GPUBuffer => {
    const buffer = device.createBuffer({ label, size: Math.ceil(size / 4) * 4, usage: flags });
    made.push(buffer);
    return buffer;
  };
  device.pushErrorScope("validation");
  device.pushErrorScope("out-of-memory");
  const buffers = new Map([...sizes].map(([name, bytes]) => [name, make(name, bytes, usage.storage | usage.copyDestination | usage.copySource)] as const));
  const readback = make("readback", staging, usage.mapRead | usage.copyDestination);
  const [outOfMemory, invalid] = [await device.popErrorScope(), await device.popErrorScope()];
  if (outOfMemory ?? invalid) {
    for (const buffer of made) buffer.destroy();
    const mib = (total / 2 ** 20).toFixed(1);
    if (outOfMemory) throw new OutOfMemoryError(`The GPU could not allocate ${mib} MiB in ${made.length} buffers: ${outOfMemory.message}`, total);
    throw new VitcError("limits", `The device refused ${made.length} buffers of ${mib} MiB in all: ${invalid!.message}`);
  }
  return { buffers, staging: readback };
}

async function buildPipelines(device: GPUDevice, kernels: readonly Kernel[], code: Readonly<Record<string, string>>, onPipeline: SessionOptions["onPipeline"]): Promise<Map<string, GPUComputePipeline>> {
  const layouts = new Map<string, GPUBindGroupLayout>();
  let built = 0;
  const build = async ({ id, bindings }: Kernel): Promise<readonly [string, GPUComputePipeline]> => {
    const signature = bindings.map(({ access }) => access).join();
    let layout = layouts.get(signature);
    if (!layout) {
      const entries = bindings.map(({ access }, binding) => ({ binding, visibility: computeStage, buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) } }));
      layout = device.createBindGroupLayout({ label: signature, entries });
      layouts.set(signature, layout);
    }
    const module = device.createShaderModule({ label: id, code: code[id]! });
    try {
      const pipeline = await device.createComputePipelineAsync({ label: id, layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module, entryPoint: "main" } });
      onPipeline?.(++built, kernels.length);
      return [id, pipeline];
    } catch (error) {
      throw new VitcError("validation", `The device refused kernel ${id}: ${messageOf(error)}`, { cause: error });
    }
  };
  return new Map(await Promise.all(kernels.map(build)));
}

function record(device: GPUDevice, profile: Profile, pipelines: ReadonlyMap<string, GPUComputePipeline>, buffers: ReadonlyMap<string, GPUBuffer>): RecordedProfile {
  const groups = new Map<string, GPUBindGroup>();
  const bindGroup = (pipeline: GPUComputePipeline, { label, kernel, views }: Dispatch): GPUBindGroup => {
    const key = JSON.stringify([kernel, views]);
    let group = groups.get(key);
    if (!group) {
      const resource = ([buffer, offset, size]: View) => ({ buffer: buffers.get(buffer)!, offset, size });
      group = device.createBindGroup({ label, layout: pipeline.getBindGroupLayout(0), entries: views.map((view, binding) => ({ binding, resource: resource(view) })) });
      groups.set(key, group);
    }
    return group;
  };
  const dispatches = profile.dispatches.map((dispatch): Recorded => {
    const pipeline = pipelines.get(dispatch.kernel)!;
    return { pipeline, bindGroup: bindGroup(pipeline, dispatch), dispatch };
  });
  return { profile, dispatches, readback: readbackOffsets(profile).offsets, checked: false };
}
