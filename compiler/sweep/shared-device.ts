/** A device on which models share what they can: pipelines of equal kernels, and memory, since they run one after the other. */
import type { DType } from "../../runtime/plan.js";

/** Buffers of models that may be one. A buffer that is read back is mapped whole, so only equal sizes are. */
const sharable = /^(input|readback|arena\.\d+|weights\.\d+)$/;

interface Shared {
  readonly buffer: GPUBuffer;
  users: number;
}

export class SharedDevice {
  private readonly modules = new Map<string, GPUShaderModule>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  private readonly pipelineLayouts = new Map<string, GPUPipelineLayout>();
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>();
  private readonly names = new Map<object, number>();
  private readonly buffers = new Map<string, Shared>();
  /** Pipelines that the device has built so far. */
  built = 0;
  /** Bytes of all buffers that models hold now, each counted once. */
  get bytes(): number {
    return [...this.live].reduce((sum, { buffer }) => sum + buffer.size, 0);
  }
  private readonly live = new Set<Shared>();

  constructor(readonly device: GPUDevice) {}

  /**
   * The device as a model of a dtype sees it. Its weights lie where those of the other models of that dtype lie: a model's own are there until
   * another one is loaded, and times do not depend on which numbers they are. Those of f16 are never shared: vectors of f32 among them would be
   * read as numbers that f16 does not have.
   */
  view(dtype: DType): GPUDevice {
    const own: Readonly<Record<string, unknown>> = {
      createShaderModule: (descriptor: GPUShaderModuleDescriptor) => this.once(this.modules, descriptor.code, () => this.device.createShaderModule(descriptor)),
      createBindGroupLayout: (descriptor: GPUBindGroupLayoutDescriptor) => this.once(this.layouts, JSON.stringify(descriptor.entries), () => this.device.createBindGroupLayout(descriptor)),
      createPipelineLayout: (descriptor: GPUPipelineLayoutDescriptor) => this.once(this.pipelineLayouts, [...descriptor.bindGroupLayouts].map((layout) => this.nameOf(layout!)).join(), () => this.device.createPipelineLayout(descriptor)),
      createComputePipelineAsync: (descriptor: GPUComputePipelineDescriptor) => this.pipeline(descriptor),
      createBuffer: (descriptor: GPUBufferDescriptor) => this.buffer(descriptor, dtype),
    };
    return new Proxy(this.device, {
      get(of, key): unknown {
        if (typeof key === "string" && Object.hasOwn(own, key)) return own[key];
        const value: unknown = Reflect.get(of, key, of);
        return typeof value === "function" ? (...args: unknown[]): unknown => Reflect.apply(value, of, args) : value;
      },
    });
  }

  private once<T extends object>(known: Map<string, T>, key: string, make: () => T): T {
    const found = known.get(key) ?? make();
    known.set(key, found);
    return found;
  }

  /** A number for an object, by which it can be a part of a key. */
  private nameOf(object: object): number {
    const name = this.names.get(object) ?? this.names.size;
    this.names.set(object, name);
    return name;
  }

  private pipeline(descriptor: GPUComputePipelineDescriptor): Promise<GPUComputePipeline> {
    const { layout, compute: { module } } = descriptor;
    if (layout === "auto") return this.device.createComputePipelineAsync(descriptor);
    const key = `${this.nameOf(module)} ${this.nameOf(layout)}`;
    const known = this.pipelines.get(key);
    if (known !== undefined) return known;
    const made = this.device.createComputePipelineAsync(descriptor);
    this.pipelines.set(key, made);
    made.then(
      () => void this.built++,
      () => void this.pipelines.delete(key),
    );
    return made;
  }

  private buffer(descriptor: GPUBufferDescriptor, dtype: DType): GPUBuffer {
    const { label = "", size, usage } = descriptor;
    const weights = label.startsWith("weights.");
    if (!sharable.test(label) || (weights && dtype === "f16")) return this.device.createBuffer(descriptor);
    const key = label === "readback" ? `${label} ${size}` : `${label} ${usage}`;
    const known = this.buffers.get(key);
    if (known !== undefined && known.users > 0 && known.buffer.size >= size) {
      known.users++;
      return known.buffer;
    }
    // Whoever holds a smaller one keeps it; those that come from now on share this one.
    const shared: Shared = { buffer: this.device.createBuffer(descriptor), users: 1 };
    const destroy = shared.buffer.destroy.bind(shared.buffer);
    Object.defineProperty(shared.buffer, "destroy", {
      value: (): undefined => {
        if (--shared.users > 0) return;
        this.live.delete(shared);
        if (this.buffers.get(key) === shared) this.buffers.delete(key);
        destroy();
      },
    });
    this.buffers.set(key, shared);
    this.live.add(shared);
    return shared.buffer;
  }
}
