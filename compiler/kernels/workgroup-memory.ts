import type { Wgsl } from "./wgsl.js";

/** Bytes of workgroup memory that every WebGPU device has: `maxComputeWorkgroupStorageSize`. */
export const maxWorkgroupBytes = 16384;

/** A kernel whose workgroup memory is too large, or not known: the mistake of a template, or of what lets its tile be a candidate. */
export class WorkgroupMemoryError extends Error {
  override readonly name = "WorkgroupMemoryError";
}

/**
 * Bytes of workgroup memory that a kernel's variables take, by name their types, as WebGPU counts them.
 * @throws WorkgroupMemoryError when they take more than `maxWorkgroupBytes`, or are of a type whose size is not known here.
 */
export function workgroupBytes(id: string, variables: Readonly<Record<string, Wgsl>>): number {
  const sizes = Object.entries(variables).map(([name, type]) => {
    const layout = layoutOf(type);
    if (layout === undefined) throw new WorkgroupMemoryError(`${id}: the size of ${type}, the type of ${name}, is not known; use f32, u32, i32, f16, a vector of them, or an array of those with a number for its length`);
    // Each variable counts in multiples of 16 bytes.
    return { name, bytes: roundUp(layout.bytes, 16) };
  });
  const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > maxWorkgroupBytes) throw new WorkgroupMemoryError(`${id} takes ${total} bytes of workgroup memory (${sizes.map(({ name, bytes }) => `${name} ${bytes}`).join(", ")}); every device has ${maxWorkgroupBytes}, use a smaller tile`);
  return total;
}

const scalarBytes: ReadonlyMap<string, number> = new Map([["f32", 4], ["u32", 4], ["i32", 4], ["f16", 2]]);

/** Size and alignment of a WGSL type in bytes, or undefined for one that no kernel here keeps in workgroup memory. */
function layoutOf(type: string): { readonly bytes: number; readonly align: number } | undefined {
  const scalar = scalarBytes.get(type);
  if (scalar !== undefined) return { bytes: scalar, align: scalar };
  const vector = /^vec([234])<(\w+)>$/.exec(type);
  if (vector) {
    const lane = scalarBytes.get(vector[2]!);
    const lanes = Number(vector[1]);
    // A vec3 is aligned like a vec4.
    return lane === undefined ? undefined : { bytes: lanes * lane, align: (lanes === 3 ? 4 : lanes) * lane };
  }
  const array = /^array<(.+), (\d+)>$/.exec(type);
  const element = array ? layoutOf(array[1]!) : undefined;
  return element && { bytes: Number(array![2]) * roundUp(element.bytes, element.align), align: element.align };
}

const roundUp = (bytes: number, multiple: number): number => Math.ceil(bytes / multiple) * multiple;
