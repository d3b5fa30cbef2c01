import { bufferUsage as usage, createBuffers, scoped, type BufferRequest } from "./buffers.js";
import { messageOf } from "./device.js";
import { DeviceLostError, KernelError, VitcError } from "./errors.js";
import { launchesOf, type Chosen } from "./choose.js";
import type { Dispatch, Kernel, Launch, Plan, Profile, View } from "./plan.js";
import type { Packed } from "./recipe.js";

// WebGPU's flags by value, as those of buffers.
const mapRead = 0x1;
const computeStage = 0x4;

/** A pass this long can trip the watchdog of a slow adapter (Chromium's ends the GPU process), so there it is cut between dispatches. */
export const softwarePassFlops = 2e9;

/** Uploads wait for the device after this many bytes. */
const uploadBytes = 64 * 2 ** 20;

/** A launch with its GPU objects. */
export interface Recorded {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: Launch["workgroups"];
  /** Of its dispatch, in the last launch of one. */
  readonly flops: number;
}

interface RecordedProfile {
  readonly profile: Profile;
  readonly launches: readonly Recorded[];
  /** The parts of a staging buffer that its outputs are copied to. */
  readonly staged: readonly Range[];
  /** Whether the device has accepted its commands once. */
  checked: boolean;
}

/** Returns what it is given, and may do something for the time until it is settled. */
export type Wait = <T>(work: Promise<T>) => Promise<T>;

const justWait: Wait = (work) => work;

/** Bytes of a buffer. */
export interface Range {
  readonly offset: number;
  readonly bytes: number;
}

/** Bytes of a buffer on the device, to copy from or to. */
export interface BufferRange extends Range {
  readonly buffer: GPUBuffer;
}

export interface SessionOptions {
  readonly device: GPUDevice;
  readonly plan: Plan;
  /** WGSL by kernel id. */
  readonly kernels: Readonly<Record<string, string>>;
  /** Whether the adapter is software. */
  readonly software: boolean;
  /** Waits for the device in the way that suits the platform. Default: as promises do. */
  readonly wait?: Wait | undefined;
  /** Called with the number of pipelines built so far. */
  readonly onPipeline?: (built: number, total: number) => void;
}

/**
 * A plan on a device: all buffers, pipelines and bind groups, made once, by `create` and `choose`. A run writes the input, replays the recorded dispatches in one
 * compute pass and one submit, and reads the outputs back; it makes no GPU object but the command buffer. Outputs and images that are on the
 * device already are copied there, in the same submit.
 */
export class Session {
  private readonly device: GPUDevice;
  private readonly software: boolean;
  /** Waits for the device in the way that suits the platform. */
  readonly wait: Wait;
  /** What `keep` took. */
  readonly extras: Set<GPUBuffer | GPUTexture> = new Set();
  private uploading = 0;
  private disposed = false;
  private readonly pipelines = new Map<string, BuiltPipeline>();
  private profiles: ReadonlyMap<number, RecordedProfile> = new Map();

  private constructor(
    private readonly options: SessionOptions,
    private readonly buffers: ReadonlyMap<string, GPUBuffer>,
    private readonly staging: GPUBuffer,
  ) {
    this.device = options.device;
    this.software = options.software;
    this.wait = options.wait ?? justWait;
  }

  /**
   * Makes the buffers. Nothing runs before `choose` has said how.
   * @throws OutOfMemoryError with the bytes asked for.
   */
  static async create(options: SessionOptions): Promise<Session> {
    const { device, plan } = options;
    const sizes = [...bufferSizes(plan)];
    const [staging, ...made] = await createBuffers(device, [stagingOf(plan), ...sizes.map(([label, bytes]) => ({ label, bytes, usage: usage.storage | usage.copyDestination | usage.copySource }))]);
    return new Session(options, new Map(sizes.map(([name], i) => [name, made[i]!])), staging!);
  }

  /**
   * More buffers that outputs can be copied to for reading, for runs that are under way at once. Whoever asked for them destroys them.
   * @throws OutOfMemoryError
   */
  createStaging(count: number): Promise<GPUBuffer[]> {
    return createBuffers(this.device, Array.from({ length: count }, () => stagingOf(this.options.plan)));
  }

  /**
   * Says how each routine is done, by its id: builds the pipelines that are new and records the profiles. Weights and buffers stay. Not while
   * a run is under way.
   * @throws KernelError with all the kernels that the device refuses; VitcError (validation) when it refuses a binding. Then the session does
   * what it did before.
   */
  async choose(chosen: ReadonlyMap<string, Chosen>): Promise<void> {
    const { device, plan, kernels, onPipeline } = this.options;
    const used = new Set([...chosen.values()].flatMap(({ choice }) => choice.launches.map(({ kernel }) => kernel)));
    const missing = plan.kernels.filter(({ id }) => used.has(id) && !this.pipelines.has(id));
    const { built, refused } = await this.wait(buildPipelines(device, missing, kernels, onPipeline));
    for (const [id, pipeline] of built) this.pipelines.set(id, pipeline);
    if (refused.size > 0) throw new KernelError(refused);
    const [recorded, error] = await scoped(device, ["validation"], () => plan.programs.infer.map((profile) => [profile.batch, record(device, profile, chosen, this.pipelines, this.buffers)] as const));
    if (error) throw new VitcError("validation", `The device refused a binding of ${plan.name}: ${error.message}`);
    this.profiles = new Map(recorded);
  }

  /**
   * Work that goes on after `dispose` would use buffers that are gone, and the device, which may be the app's, would raise errors that nobody expects.
   * @throws VitcError (disposed)
   */
  checkOpen(): void {
    if (this.disposed) throw new VitcError("disposed", `${this.options.plan.name} was disposed; load it again`);
  }

  /**
   * Takes what was made for its runs, to be counted and freed with it.
   * @throws VitcError (disposed) when it comes too late, and is freed at once
   */
  keep(resources: readonly (GPUBuffer | GPUTexture)[]): void {
    for (const resource of resources) {
      if (this.disposed) resource.destroy();
      else this.extras.add(resource);
    }
    this.checkOpen();
  }

  /** Bytes of all GPU buffers and textures that the session holds. */
  get bytes(): number {
    // Its textures have four bytes a pixel.
    return [...this.buffers.values(), this.staging, ...this.extras].reduce((sum, resource) => sum + ("size" in resource ? resource.size : resource.width * resource.height * 4), 0);
  }

  /** Writes packed weights at a byte offset of weight buffer `buffer`. Resolves when more may come: copies under way are bounded. */
  upload(buffer: number, offset: number, data: Packed | Uint8Array<ArrayBuffer>): Promise<void> | void {
    this.device.queue.writeBuffer(this.buffers.get(`weights.${buffer}`)!, offset, data);
    this.uploading += data.byteLength;
    if (this.uploading < uploadBytes) return;
    this.uploading = 0;
    // Until the queue has run, the device keeps a copy of everything that was written.
    return this.wait(this.device.queue.onSubmittedWorkDone());
  }

  /**
   * Runs one profile. `input` holds at most `batch` images; missing ones keep what the last run left, and their results mean nothing.
   * `collect` gets each output's values for the whole batch, valid during the call only. Runs must not overlap.
   * @throws DeviceLostError; VitcError if the device refuses the commands.
   */
  async run(batch: number, input: Float32Array | BufferRange, collect: (output: number, values: Float32Array) => void): Promise<void> {
    await this.submit(batch, input);
    await this.read(batch, collect);
  }

  /**
   * Puts one profile to the device's queue, and does not wait for it. Submits must not overlap; once this is settled the next may come, since
   * the queue does all in order. Outputs are copied to `to`: a staging buffer, which `read` must have read before, or a range for each output.
   * @throws VitcError if the device refuses the commands, or after `dispose`.
   */
  async submit(batch: number, input: Float32Array | BufferRange, to: GPUBuffer | readonly (BufferRange | undefined)[] = this.staging): Promise<void> {
    this.checkOpen();
    const recorded = this.profiles.get(batch)!;
    const targets = "length" in to ? to : recorded.staged.map((range) => ({ ...range, buffer: to }));
    const ownMemory = input instanceof Float32Array && !("length" in to);
    const replay = (): void => {
      if (input instanceof Float32Array) this.device.queue.writeBuffer(this.buffers.get("input")!, 0, input.buffer, input.byteOffset, input.byteLength);
      this.encodeAndSubmit(recorded, input, targets);
    };
    // The same commands are replayed ever after: what is valid once stays valid. Buffers of others are looked at each time.
    if (recorded.checked && ownMemory) return replay();
    const [, error] = await scoped(this.device, ["validation"], replay);
    if (error) throw new VitcError("validation", `The device refused to run ${recorded.profile.dispatches[0]!.label}...: ${error.message}`);
    recorded.checked ||= ownMemory;
  }

  /**
   * Waits for the outputs that a `submit` copies to a staging buffer. `collect` is called as by `run`.
   * @throws DeviceLostError, also after `dispose`
   */
  async read(batch: number, collect: (output: number, values: Float32Array) => void, staging: GPUBuffer = this.staging): Promise<void> {
    const { profile } = this.profiles.get(batch)!;
    try {
      this.checkOpen();
      await this.wait(staging.mapAsync(mapRead));
      this.checkOpen();
    } catch (error) {
      // Mapping fails when the device goes away or the session is disposed, and the model knows which.
      throw new DeviceLostError(`The results could not be read back: ${messageOf(error) || "the device is gone"}`);
    }
    try {
      const mapped = staging.getMappedRange();
      profile.outputs.forEach(({ view, readback }, i) => collect(i, new Float32Array(mapped, readback, view[2] / 4)));
    } finally {
      staging.unmap();
    }
  }

  /** The launches of a profile, in order. */
  recorded(batch: number): readonly Recorded[] {
    return this.profiles.get(batch)!.launches;
  }

  /** Puts one profile into an encoder of somebody's, outside of passes: images come from `input`, each output goes to its range of `targets`. */
  encode(encoder: GPUCommandEncoder, batch: number, input: BufferRange, targets: readonly (BufferRange | undefined)[]): void {
    const recorded = this.profiles.get(batch)!;
    this.copyInput(encoder, input);
    const pass = encoder.beginComputePass();
    for (const launch of recorded.launches) dispatch(pass, launch);
    pass.end();
    this.copyOutputs(encoder, recorded, targets);
  }

  private copyInput(encoder: GPUCommandEncoder, { buffer, offset, bytes }: BufferRange): void {
    encoder.copyBufferToBuffer(buffer, offset, this.buffers.get("input")!, 0, bytes);
  }

  private copyOutputs(encoder: GPUCommandEncoder, { profile }: RecordedProfile, targets: readonly (BufferRange | undefined)[]): void {
    profile.outputs.forEach(({ view: [source, from] }, i) => {
      const target = targets[i];
      if (target) encoder.copyBufferToBuffer(this.buffers.get(source)!, from, target.buffer, target.offset, target.bytes);
    });
  }

  private encodeAndSubmit(recorded: RecordedProfile, input: Float32Array | BufferRange, targets: readonly (BufferRange | undefined)[]): void {
    const { device } = this;
    let encoder = device.createCommandEncoder();
    if (!(input instanceof Float32Array)) this.copyInput(encoder, input);
    let pass = encoder.beginComputePass();
    let flops = 0;
    for (const launch of recorded.launches) {
      if (this.software && flops > softwarePassFlops) {
        pass.end();
        device.queue.submit([encoder.finish()]);
        encoder = device.createCommandEncoder();
        pass = encoder.beginComputePass();
        flops = 0;
      }
      dispatch(pass, launch);
      flops += launch.flops;
    }
    pass.end();
    this.copyOutputs(encoder, recorded, targets);
    device.queue.submit([encoder.finish()]);
  }

  /**
   * Runs the launches of one dispatch, whose kernels are built, on other buffers than its own, whole and in the order of its views; returns the
   * bytes of `output`.
   * @throws VitcError (validation), DeviceLostError
   */
  async runDispatch(launches: readonly Launch[], operands: readonly GPUBuffer[], output: GPUBuffer, staging: GPUBuffer): Promise<ArrayBuffer> {
    this.checkOpen();
    const { device } = this;
    const [, error] = await scoped(device, ["validation"], () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const { kernel, workgroups, bind } of launches) {
        const { pipeline, bindings } = this.pipelines.get(kernel)!;
        const bound = bind ? bind.map((i) => operands[i]!) : operands.slice(0, bindings);
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, device.createBindGroup({ label: kernel, layout: pipeline.getBindGroupLayout(0), entries: bound.map((buffer, binding) => ({ binding, resource: { buffer } })) }));
        pass.dispatchWorkgroups(...workgroups);
      }
      pass.end();
      encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
      device.queue.submit([encoder.finish()]);
    });
    if (error) throw new VitcError("validation", `The device refused a dispatch: ${error.message}`);
    try {
      await this.wait(staging.mapAsync(mapRead));
    } catch (cause) {
      throw new DeviceLostError(`The results could not be read back: ${messageOf(cause) || "the device is gone"}`);
    }
    const bytes = staging.getMappedRange().slice(0);
    staging.unmap();
    return bytes;
  }

  /** Frees the GPU buffers. The device stays. */
  dispose(): void {
    this.disposed = true;
    for (const buffer of this.buffers.values()) buffer.destroy();
    this.staging.destroy();
    for (const extra of this.extras) extra.destroy();
    this.extras.clear();
  }
}

/** Puts a launch into a pass. */
export function dispatch(pass: GPUComputePassEncoder, { pipeline, bindGroup, workgroups }: Recorded): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(...workgroups);
}

/** A buffer that the outputs of any profile fit in. */
const stagingOf = (plan: Plan): BufferRequest => ({ label: "readback", bytes: Math.max(...plan.programs.infer.map((profile) => profile.readbackBytes)), usage: usage.mapRead | usage.copyDestination });

/** Bytes of each buffer. Profiles share arenas by name, each as large as the largest needs it. */
export function bufferSizes(plan: Plan): Map<string, number> {
  const sizes = new Map<string, number>();
  const atLeast = (name: string, bytes: number) => sizes.set(name, Math.max(bytes, sizes.get(name) ?? 0));
  plan.weightBuffers.forEach((bytes, i) => atLeast(`weights.${i}`, bytes));
  for (const profile of plan.programs.infer) {
    atLeast("input", profile.input[2]);
    for (const { name, bytes } of profile.arenas) atLeast(name, bytes);
  }
  return sizes;
}

/** A pipeline, and how many bindings its kernel has. */
export interface BuiltPipeline {
  readonly pipeline: GPUComputePipeline;
  readonly bindings: number;
}

/** Builds kernels side by side, and says of those that the device refuses why. */
export async function buildPipelines(device: GPUDevice, kernels: readonly Kernel[], code: Readonly<Record<string, string>>, onPipeline: SessionOptions["onPipeline"]): Promise<{ readonly built: ReadonlyMap<string, BuiltPipeline>; readonly refused: ReadonlyMap<string, string> }> {
  const layouts = new Map<string, GPUPipelineLayout>();
  const layoutOf = ({ bindings }: Kernel): GPUPipelineLayout => {
    const signature = bindings.map(({ access }) => access).join();
    const entries = bindings.map(({ access }, binding) => ({ binding, visibility: computeStage, buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) } }));
    const layout = layouts.get(signature) ?? device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ label: signature, entries })] });
    layouts.set(signature, layout);
    return layout;
  };
  const built = new Map<string, BuiltPipeline>();
  const refused = new Map<string, string>();
  let done = 0;
  const build = async (kernel: Kernel): Promise<void> => {
    const { id } = kernel;
    const [module, error] = await scoped(device, ["validation"], () => device.createShaderModule({ label: id, code: code[id]! }));
    try {
      if (error) throw new Error(error.message);
      built.set(id, { pipeline: await device.createComputePipelineAsync({ label: id, layout: layoutOf(kernel), compute: { module, entryPoint: "main" } }), bindings: kernel.bindings.length });
    } catch (reason) {
      refused.set(id, messageOf(reason));
    }
    onPipeline?.(++done, kernels.length);
  };
  await Promise.all(kernels.map(build));
  return { built, refused };
}

function record(device: GPUDevice, profile: Profile, chosen: ReadonlyMap<string, Chosen>, pipelines: ReadonlyMap<string, BuiltPipeline>, buffers: ReadonlyMap<string, GPUBuffer>): RecordedProfile {
  const groups = new Map<string, GPUBindGroup>();
  const bindGroup = (pipeline: GPUComputePipeline, { label, views }: Dispatch, { kernel, bind }: Launch, bindings: number): GPUBindGroup => {
    const bound = bind ? bind.map((i) => views[i]!) : views.slice(0, bindings);
    const key = JSON.stringify([kernel, bound]);
    let group = groups.get(key);
    if (!group) {
      const resource = ([buffer, offset, size]: View) => ({ buffer: buffers.get(buffer)!, offset, size });
      group = device.createBindGroup({ label, layout: pipeline.getBindGroupLayout(0), entries: bound.map((view, binding) => ({ binding, resource: resource(view) })) });
      groups.set(key, group);
    }
    return group;
  };
  const launches = launchesOf(profile, chosen).map(({ dispatch, launch, last }): Recorded => {
    const { pipeline, bindings } = pipelines.get(launch.kernel)!;
    return { pipeline, bindGroup: bindGroup(pipeline, dispatch, launch, bindings), workgroups: launch.workgroups, flops: last ? dispatch.flops : 0 };
  });
  const staged = profile.outputs.map(({ view, readback }) => ({ offset: readback, bytes: view[2] }));
  return { profile, launches, staged, checked: false };
}
