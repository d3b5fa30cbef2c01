import type { DType } from "../../../runtime/plan.js";
import type { Binding } from "../kernel.js";
import { empty, lines, range, raw, u32, wgsl, type Wgsl } from "../wgsl.js";

/** Keys taken together, so that the running maximum is updated once for all of them. */
export const keysPerStep = 4;

/** Key i of a step; in the last step keys beyond the end read the last one, and their scores are dropped. */
export const clampedKey = (tokens: number, i: number): string => (i === 0 ? "key" : tokens % keysPerStep === 0 ? `(key + ${i}u)` : `min(key + ${i}u, tokens - 1u)`);

export interface RegistersParams {
  /** Numbers of the vector. */
  readonly width: number;
  /** How the buffers that it is read from and stored to count. Vec4s: the width is a multiple of 4. */
  readonly element: Binding["element"];
  readonly outType: DType;
  /** Up to this many vec4s stand in named variables; beyond, in an array, which compiles in bounded time but may leave registers. */
  readonly unrollUpTo: number;
}

/** A head's vector as vec4 registers. The last one is padded with zeros when the head's width is not a multiple of 4. */
export function registers({ width, element: counts, outType, unrollUpTo }: RegistersParams) {
  const chunks = Math.ceil(width / 4);
  const unrolled = chunks <= unrollUpTo;
  const aligned = counts === "vec4";
  // Numbers of the last chunk, and whether it is like the others.
  const tail = width - (chunks - 1) * 4;
  const literal = (c: string) => /^\d/.test(c);
  const element = (c: string, i: number) => (literal(c) ? `${Number(c) * 4 + i}u` : `${c} * 4u + ${i}u`);
  return {
    declare: (name: string): Wgsl => (unrolled ? lines(range(chunks).map((c) => raw(`var ${name}${c}: vec4<f32>;`))) : raw(`var ${name}: array<vec4<f32>, ${chunks}>;`)),
    at: (name: string, c: string): string => (unrolled ? `${name}${c}` : `${name}[${c}]`),
    /** Statements for each chunk: unrolled, or a loop (with the last chunk apart if it is padded). */
    each(statement: (c: string) => Wgsl): Wgsl {
      if (unrolled) return lines(range(chunks).map((c) => statement(String(c))));
      const full = aligned ? chunks : chunks - 1;
      return lines([
        wgsl`
          for (var c = 0u; c < ${u32(full)}; c++) {
            ${statement("c")}
          }
        `,
        aligned ? empty : statement(`${chunks - 1}`),
      ]);
    },
    load(buffer: string, at: string, c: string): string {
      if (aligned) return `vec4<f32>(${buffer}[${at} + ${c}${literal(c) ? "u" : ""}])`;
      const isTail = c === String(chunks - 1);
      const part = (i: number) => (isTail && i >= tail ? "0.0" : `f32(${buffer}[${at} + ${element(c, i)}])`);
      return `vec4<f32>(${range(4).map(part).join(", ")})`;
    },
    store(at: string, c: string, value: string): Wgsl {
      if (aligned) return raw(`out[${at} + ${c}${literal(c) ? "u" : ""}] = vec4<${outType}>(${value});`);
      const isTail = c === String(chunks - 1);
      return wgsl`
        {
          let part = ${raw(value)};
          ${lines(range(isTail ? tail : 4).map((i) => raw(`out[${at} + ${element(c, i)}] = ${outType}(part[${i}]);`)))}
        }
      `;
    },
  };
}
