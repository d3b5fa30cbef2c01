import { messageOf } from "./device.js";
import { DeviceLostError, KernelError, OutOfMemoryError, VitcError } from "./errors.js";
import { launchesOf, type Chosen } from "./choose.js";
import type { Dispatch, Kernel, Launch, Plan, Profile, View } from "./plan.js";
import type { Packed } from "./recipe.js";

// WebGPU's flags by value: Node has no globals for them, and these numbers are part of the standard.
const usage = { mapRead: 0x1, copySource: 0x4, copyDestination: 0x8, storage: 0x80 } as const;
const mapRead = 0x1;
const computeStage = 0x4;

/** A pass this long can trip the watchdog of a slow adapter (Chromium's ends the GPU process), so there it is cut between dispatches. */
const softwarePassFlops = 2e9;

/** Uploads wait for the device after this many bytes. */
const uploadBytes = 64 * 2 ** 20;

/** A launch with its GPU objects. */
interface Recorded {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: Launch["workgroups"];
  /** Of its dispatch, in the last launch of one. */
  readonly flops: number;
}

interface RecordedProfile {
  readonly profile: Profile;
  readonly launches: readonly Recorded[];
  /** Whether the device has accepted its commands once. */
  checked: boolean;
}

/** Returns what it is given, and may do something for the time until it is settled. */
export type Wait = <T>(work: Promise<T>) => Promise<T>;

const justWait: Wait = (work) => work;

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
 * compute pass and one submit, and reads the outputs back; it makes no GPU object but the command buffer.
 */
export class Session {
  private readonly device: GPUDevice;
  private readonly software: boolean;
  private readonly wait: Wait;
  private uploading = 0;
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
    const { buffers, staging } = await allocate(device, bufferSizes(plan), Math.max(...plan.programs.infer.map((profile) => profile.readbackBytes)));
    return new Session(options, buffers, staging);
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

  /** Bytes of all GPU buffers that the session holds. */
  get bytes(): number {
    return [...this.buffers.values(), this.staging].reduce((sum, buffer) => sum + buffer.size, 0);
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
  async run(batch: number, input: Float32Array, collect: (output: number, values: Float32Array) => void): Promise<void> {
    const recorded = this.profiles.get(batch)!;
    const { profile } = recorded;
    const { staging } = this;
    const replay = (): void => {
      this.device.queue.writeBuffer(this.buffers.get("input")!, 0, input.buffer, input.byteOffset, input.byteLength);
      this.encode(recorded);
    };
    if (recorded.checked) replay();
    else {
      // The same commands are replayed ever after: what is valid once stays valid.
      const [, error] = await scoped(this.device, ["validation"], replay);
      if (error) throw new VitcError("validation", `The device refused to run ${profile.dispatches[0]!.label}...: ${error.message}`);
      recorded.checked = true;
    }
    try {
      await this.wait(staging.mapAsync(mapRead));
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

  private encode({ profile, launches }: RecordedProfile): void {
    const { device } = this;
    let encoder = device.createCommandEncoder();
    let pass = encoder.beginComputePass();
    let flops = 0;
    for (const { pipeline, bindGroup, workgroups, flops: more } of launches) {
      if (this.software && flops > softwarePassFlops) {
        pass.end();
        device.queue.submit([encoder.finish()]);
        encoder = device.createCommandEncoder();
        pass = encoder.beginComputePass();
        flops = 0;
      }
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...workgroups);
      flops += more;
    }
    pass.end();
    for (const { view: [buffer, offset, bytes], readback } of profile.outputs) encoder.copyBufferToBuffer(this.buffers.get(buffer)!, offset, this.staging, readback, bytes);
    device.queue.submit([encoder.finish()]);
  }

  /** Frees the GPU buffers. The device stays. */
  dispose(): void {
    for (const buffer of this.buffers.values()) buffer.destroy();
    this.staging.destroy();
  }
}

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

/**
 * Runs `work` inside error scopes and returns what it gave and the first error. The stack of scopes belongs to the device, which others may
 * use at the same time: so nothing is awaited between push and pop.
 */
export async function scoped<Result>(device: GPUDevice, filters: readonly ("validation" | "out-of-memory")[], work: () => Result): Promise<[result: Result, ...errors: ({ readonly message: string } | null)[]]> {
  for (const filter of filters) device.pushErrorScope(filter);
  let errors: Promise<GPUError | null>[] = [];
  try {
    const result = work();
    errors = filters.map(() => device.popErrorScope());
    return [result, ...(await Promise.all(errors)).reverse()];
  } finally {
    if (errors.length === 0) for (const _ of filters) void device.popErrorScope();
  }
}

async function allocate(device: GPUDevice, sizes: ReadonlyMap<string, number>, staging: number): Promise<{ buffers: Map<string, GPUBuffer>; staging: GPUBuffer }> {
  const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, staging);
  const made: GPUBuffer[] = [];
  const make = (label: string, size: number, flags: number): GPUBuffer => {
    const buffer = device.createBuffer({ label, size: Math.ceil(size / 4) * 4, usage: flags });
    made.push(buffer);
    return buffer;
  };
  const [{ buffers, readback }, invalid, outOfMemory] = await scoped(device, ["validation", "out-of-memory"], () => ({
    buffers: new Map([...sizes].map(([name, bytes]) => [name, make(name, bytes, usage.storage | usage.copyDestination | usage.copySource)] as const)),
    readback: make("readback", staging, usage.mapRead | usage.copyDestination),
  }));
  if (outOfMemory ?? invalid) {
    for (const buffer of made) buffer.destroy();
    const mib = (total / 2 ** 20).toFixed(1);
    if (outOfMemory) throw new OutOfMemoryError(`The GPU could not allocate ${mib} MiB in ${made.length} buffers: ${outOfMemory.message}`, total);
    throw new VitcError("limits", `The device refused ${made.length} buffers of ${mib} MiB in all: ${invalid!.message}`);
  }
  return { buffers, staging: readback };
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
  return { profile, launches, checked: false };
}
