import type { DType, Kernel, KernelBinding } from "../../runtime/plan.js";
import { lines, raw, u32, wgsl, type Wgsl } from "./wgsl.js";
import { workgroupBytes } from "./workgroup-memory.js";

/** A kernel with its text. `bindings[i]` is at `@group(0) @binding(i)`. */
export interface WgslKernel extends Kernel {
  readonly code: string;
}

/** A kernel together with how many workgroups cover its output. */
export interface Launch {
  readonly kernel: WgslKernel;
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/** What a binding holds in the shader: `scalar` = array<f32>, `vec4` = array<vec4<f32>>, of f16 where `dtype` says so. */
export interface Binding extends Omit<KernelBinding, "bytes"> {
  /** Numbers that the kernel may touch, from the beginning. */
  readonly length: number;
  readonly element: "scalar" | "vec4";
  /** Default: f32. */
  readonly dtype?: DType;
}

/** The WGSL type of a binding's elements. */
export const elementType = ({ element, dtype = "f32" }: Pick<Binding, "element" | "dtype">): Wgsl => raw(element === "vec4" ? `vec4<${dtype}>` : dtype);

/** Declares storage buffers for bindings, in order. */
export function declare(bindings: readonly Binding[]): Wgsl {
  return lines(bindings.map((binding, i) => raw(`@group(0) @binding(${i}) var<storage, ${binding.access}> ${binding.name}: array<${elementType(binding)}>;`)));
}

export interface KernelParts {
  readonly id: string;
  readonly bindings: readonly Binding[];
  readonly workgroupSize: readonly [number, number, number];
  readonly constants: Readonly<Record<string, Wgsl>>;
  /** Variables of the workgroup's memory, by name: their types. */
  readonly shared?: Readonly<Record<string, Wgsl>>;
  readonly helpers?: readonly Wgsl[];
  readonly builtins: Wgsl;
  readonly body: Wgsl;
  /** What the kernel needs besides f16, which its bindings tell. */
  readonly needs?: KernelNeeds;
}

/** WGSL extensions of a kernel, and what the adapter must have for it to be right. */
export interface KernelNeeds {
  readonly enables: readonly string[];
  readonly features: readonly string[];
  /** Invocations of a subgroup, exactly. */
  readonly subgroupSize?: number;
  /** A shape of matrices that the adapter lists: left [m, k] times right [k, n] of f16, added up in f32. */
  readonly matrix?: readonly [m: number, n: number, k: number];
}

/**
 * Puts a kernel together from its parts: constants, bindings, workgroup memory, helper functions and the body of `main`.
 * @throws WorkgroupMemoryError when its variables take more workgroup memory than every WebGPU device has.
 */
export function assemble(parts: KernelParts): WgslKernel {
  const { id, bindings, workgroupSize, constants, shared = {}, helpers = [], builtins, body, needs } = parts;
  workgroupBytes(id, shared);
  const half = bindings.some(({ dtype }) => dtype === "f16");
  const enables = [...(half ? ["f16"] : []), ...(needs?.enables ?? [])];
  const features = [...(half ? ["shader-f16"] : []), ...(needs?.features ?? [])];
  const variables = Object.entries(shared).map(([name, type]) => raw(`var<workgroup> ${name}: ${type};`));
  const sections = [
    lines(enables.map((name) => raw(`enable ${name};`))),
    lines(Object.entries(constants).map(([name, value]) => raw(`const ${name} = ${value};`))),
    lines([declare(bindings), ...variables]),
    ...helpers,
    wgsl`
      @compute @workgroup_size(${raw(workgroupSize.join(", "))})
      fn main(${builtins}) {
        ${body}
      }
    `,
  ];
  return {
    id,
    bindings: bindings.map(({ name, access, length, dtype }) => ({ name, access, bytes: length * (dtype === "f16" ? 2 : 4) })),
    workgroupSize,
    ...(features.length > 0 && { features }),
    ...(needs?.subgroupSize !== undefined && { subgroupSize: needs.subgroupSize }),
    ...(needs?.matrix && { matrix: needs.matrix }),
    code: `${sections.filter((section) => section !== "").join("\n\n")}\n`,
  };
}

/** Largest count of workgroups along one axis that every WebGPU device takes. */
export const maxWorkgroups = 65535;

/**
 * Covers `count` invocations by workgroups of `size` along x, folding into y what is beyond the limit of an axis.
 * Kernels that use it take their index from `linearIndex`.
 */
export function cover(count: number, size: number): readonly [number, number, number] {
  const groups = Math.ceil(count / size);
  if (groups <= maxWorkgroups) return [groups, 1, 1];
  const rows = Math.ceil(groups / maxWorkgroups);
  return [Math.ceil(groups / rows), rows, 1];
}

export const linearBuiltins: Wgsl = raw("@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>");

/** `index` of this invocation in a launch made by `cover`; returns when it is beyond `count`. */
export const linearIndex = (count: number, size: number): Wgsl => wgsl`
  let index = id.y * groups.x * ${u32(size)} + id.x;
  if (index >= ${u32(count)}) { return; }
`;

/** The element type that a row of this width allows. */
export const elementOf = (width: number): Binding["element"] => (width % 4 === 0 ? "vec4" : "scalar");
