import type { Kernel, KernelBinding } from "../../runtime/plan.js";
import { lines, raw, u32, wgsl, type Wgsl } from "./wgsl.js";

/** A kernel with its text. `bindings[i]` is at `@group(0) @binding(i)`. */
export interface WgslKernel extends Kernel {
  readonly code: string;
}

/** A kernel together with how many workgroups cover its output. */
export interface Launch {
  readonly kernel: WgslKernel;
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/** What a binding holds in the shader: `scalar` = array<f32>, `vec4` = array<vec4<f32>>. */
export interface Binding extends KernelBinding {
  readonly element: "scalar" | "vec4";
}

/** Declares storage buffers for bindings, in order. */
export function declare(bindings: readonly Binding[]): Wgsl {
  return lines(bindings.map(({ name, access, element }, i) => raw(`@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${element === "vec4" ? "vec4<f32>" : "f32"}>;`)));
}

/** Puts a kernel together from its parts: constants, bindings, helper functions and the body of `main`. */
export function assemble(options: {
  readonly id: string;
  readonly bindings: readonly Binding[];
  readonly workgroupSize: readonly [number, number, number];
  readonly constants: Readonly<Record<string, Wgsl>>;
  readonly helpers?: readonly Wgsl[];
  readonly builtins: Wgsl;
  readonly body: Wgsl;
}): WgslKernel {
  const { id, bindings, workgroupSize, constants, helpers = [], builtins, body } = options;
  const code = wgsl`
    ${lines(Object.entries(constants).map(([name, value]) => raw(`const ${name} = ${value};`)))}

    ${declare(bindings)}

    ${raw(helpers.filter((helper) => helper !== "").join("\n\n"))}

    @compute @workgroup_size(${raw(workgroupSize.join(", "))})
    fn main(${builtins}) {
      ${body}
    }
  `;
  return { id, bindings: bindings.map(({ name, access }) => ({ name, access })), workgroupSize, code: `${code}\n` };
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
