import { assemble, cover, linearBuiltins, linearIndex, type Binding, type Launch } from "./kernel.js";
import { lines, range, raw, u32, wgsl } from "./wgsl.js";

const workgroup = 64;

/** Independent chains of multiply-adds, enough to hide the latency of one on every GPU of today. */
const chains = 8;
/** Multiply-adds of each chain in one turn of the loop, so that the loop itself costs next to nothing. */
const unrolled = 4;
/** Loads under way at once in the bandwidth probe. */
const loads = 4;

export interface ProbeParams {
  /** A GPU needs enough to fill it; a software adapter spends most of its time on starting them if there are many. */
  readonly invocations: number;
}

/** Floating point operations of one invocation of `fmaProbe` in one step; a multiply-add of a vec4 counts eight. */
export const fmaProbeFlops: number = chains * unrolled * 8;

/** A binding of so many elements. */
const read = (name: string, element: Binding["element"], count: number): Binding => ({ name, access: "read", element, length: count * (element === "vec4" ? 4 : 1) });
const write = (name: string, element: Binding["element"], count: number): Binding => ({ ...read(name, element, count), access: "read_write" });

/**
 * Multiply-adds in registers: out[i] = the end of `control[0]` steps that begin with data[i].
 * The steps are read from memory, so one pipeline measures any amount of work. Factors lie in (0.25, 0.75): nothing grows or becomes denormal.
 */
export function fmaProbe({ invocations }: ProbeParams): Launch {
  const chain = (i: number) => raw(`x${i} = fma(x${i}, scale, shift);`);
  return {
    kernel: assemble({
      id: `probe_fma_${invocations}`,
      bindings: [read("control", "scalar", 1), read("data", "vec4", invocations), write("out", "vec4", invocations)],
      workgroupSize: [workgroup, 1, 1],
      constants: {},
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(invocations, workgroup)}
        let steps = u32(control[0]);
        let start = data[index];
        let scale = start * 0.25 + 0.5;
        let shift = start.wzyx;
        ${lines(range(chains).map((i) => raw(`var x${i} = start + ${i + 1}.0;`)))}
        for (var step = 0u; step < steps; step++) {
          ${lines(range(unrolled).flatMap(() => range(chains).map(chain)))}
        }
        out[index] = ${raw(range(chains).map((i) => `x${i}`).join(" + "))};
      `,
    }),
    workgroups: cover(invocations, workgroup),
  };
}

/** Reads all `count` vec4s of data `control[0]` times: out[i] = the sum of every `invocations`-th, from the i-th on. */
export function readProbe({ count, invocations }: ProbeParams & { readonly count: number }): Launch {
  if (count % (invocations * loads) !== 0) throw new RangeError(`${count} is no multiple of ${invocations * loads}`);
  return {
    kernel: assemble({
      id: `probe_read_${count}_${invocations}`,
      bindings: [read("control", "scalar", 1), read("data", "vec4", count), write("out", "vec4", invocations)],
      workgroupSize: [workgroup, 1, 1],
      constants: { count: u32(count), stride: u32(invocations) },
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(invocations, workgroup)}
        let steps = u32(control[0]);
        ${lines(range(loads).map((i) => raw(`var sum${i} = vec4<f32>(0.0);`)))}
        for (var step = 0u; step < steps; step++) {
          for (var at = index; at < count; at += ${u32(loads)} * stride) {
            ${lines(range(loads).map((i) => raw(`sum${i} += data[at + ${i}u * stride];`)))}
          }
        }
        out[index] = ${raw(range(loads).map((i) => `sum${i}`).join(" + "))};
      `,
    }),
    workgroups: cover(invocations, workgroup),
  };
}

/**
 * data[i] = four hashed values in [-1, 1). Zeros, and values that share their high bits, are compressed by some GPUs and read faster than memory is.
 * The hash is lowbias32 of Ellis and Wellons (https://nullprogram.com/blog/2018/07/31/).
 */
export function fillProbe({ count }: { readonly count: number }): Launch {
  return {
    kernel: assemble({
      id: `probe_fill_${count}`,
      bindings: [write("data", "vec4", count)],
      workgroupSize: [workgroup, 1, 1],
      constants: {},
      helpers: [
        wgsl`
          fn hash(key: vec4<u32>) -> vec4<u32> {
            var x = key;
            x = (x ^ (x >> vec4<u32>(16u))) * 0x7feb352du;
            x = (x ^ (x >> vec4<u32>(15u))) * 0x846ca68bu;
            return x ^ (x >> vec4<u32>(16u));
          }
        `,
      ],
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(count, workgroup)}
        let bits = hash(vec4<u32>(index * 4u) + vec4<u32>(0u, 1u, 2u, 3u));
        data[index] = vec4<f32>(bits >> vec4<u32>(8u)) * ${raw("1.1920929e-7")} - 1.0;
      `,
    }),
    workgroups: cover(count, workgroup),
  };
}

/** Next to nothing, for what a dispatch costs by itself: one workgroup that adds 1 to one value, so that each waits for the one before. */
export function emptyProbe(): Launch {
  return {
    kernel: assemble({
      id: "probe_empty",
      bindings: [write("out", "scalar", 1)],
      workgroupSize: [1, 1, 1],
      constants: {},
      builtins: raw("@builtin(global_invocation_id) id: vec3<u32>"),
      body: wgsl`
        out[id.x] = fract(out[id.x] + 0.5);
      `,
    }),
    workgroups: [1, 1, 1],
  };
}
