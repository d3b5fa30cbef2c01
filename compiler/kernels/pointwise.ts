import type { DType } from "../../runtime/plan.js";
import { activationFunction, type ActivationName } from "./activation.js";
import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Binding, type Launch } from "./kernel.js";
import { asFull, asStored, dtypesId, type InOut } from "./storage.js";
import { lines, range, raw, u32, wgsl, type Wgsl } from "./wgsl.js";

const workgroup = 64;

export interface GatedParams {
  readonly rows: number;
  readonly hidden: number;
  /** Of the gate. */
  readonly activation: ActivationName;
  /** Whether the gate is the first half of a row, or the second. */
  readonly gateFirst: boolean;
  readonly dtypes: InOut;
}

/**
 * The gate of a packed projection x [rows, 2 hidden] -> out [rows, hidden]: activation(gate) * values, each a half of a row. One invocation
 * four columns, whatever `hidden` is: an activation of four numbers takes as long as one of a single number.
 */
export function gated({ rows, hidden, activation, gateFirst, dtypes }: GatedParams): Launch {
  const element = elementOf(hidden);
  const units = Math.ceil(hidden / 4);
  const count = rows * units;
  const x: Binding = { name: "x", access: "read", element, dtype: dtypes.in, length: 2 * rows * hidden };
  const out: Binding = { name: "out", access: "read_write", element, dtype: dtypes.out, length: rows * hidden };
  const result = `${activation === "none" ? "gate" : "activate(gate)"} * values`;
  const [gateAt, valuesAt] = gateFirst ? ["first", "second"] : ["second", "first"];
  // Columns beyond the row read the last one, and are not stored.
  const column = (i: number): string => (i === 0 ? "column" : `min(column + ${i}u, ${hidden - 1}u)`);
  const four = (at: string): Wgsl => raw(`vec4<f32>(${range(4).map((i) => asFull(`x[${at} + ${column(i)}]`, x)).join(", ")})`);
  const vectors = wgsl`
    let first = index / units * ${u32(2 * units)} + index % units;
    let second = first + units;
    let gate = ${asFull(`x[${gateAt}]`, x)};
    let values = ${asFull(`x[${valuesAt}]`, x)};
    out[index] = ${asStored(result, out)};
  `;
  const scalars = wgsl`
    let row = index / units;
    let column = index % units * 4u;
    let first = row * ${u32(2 * hidden)};
    let second = first + ${u32(hidden)};
    let gate = ${four(gateAt!)};
    let values = ${four(valuesAt!)};
    let result = ${raw(result)};
    let at = row * ${u32(hidden)} + column;
    out[at] = ${asStored("result.x", out)};
    ${lines(range(4).slice(1).map((i) => raw(`if (column + ${i}u < ${hidden}u) { out[at + ${i}u] = ${asStored(`result[${i}]`, out)}; }`)))}
  `;
  return {
    kernel: assemble({
      id: `gated_r${rows}_h${hidden}_${activation}_${gateFirst ? "first" : "second"}${dtypesId(dtypes.in, dtypes.out)}`,
      bindings: [x, out],
      workgroupSize: [workgroup, 1, 1],
      constants: { units: u32(units) },
      helpers: activation === "none" ? [] : [activationFunction(activation)],
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(count, workgroup)}
        ${element === "vec4" ? vectors : scalars}
      `,
    }),
    workgroups: cover(count, workgroup),
  };
}

export interface MultiplyParams {
  readonly count: number;
  readonly dtypes: { readonly a: DType; readonly b: DType; readonly out: DType };
}

/** out = a * b, elementwise. */
export function multiply({ count, dtypes }: MultiplyParams): Launch {
  const element = elementOf(count);
  const units = element === "vec4" ? count / 4 : count;
  const a: Binding = { name: "a", access: "read", element, dtype: dtypes.a, length: count };
  const b: Binding = { name: "b", access: "read", element, dtype: dtypes.b, length: count };
  const out: Binding = { name: "out", access: "read_write", element, dtype: dtypes.out, length: count };
  return {
    kernel: assemble({
      id: `multiply_${count}${dtypesId(dtypes.a, dtypes.b, dtypes.out)}`,
      bindings: [a, b, out],
      workgroupSize: [workgroup, 1, 1],
      constants: {},
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(units, workgroup)}
        out[index] = ${asStored(`${asFull("a[index]", a)} * ${asFull("b[index]", b)}`, out)};
      `,
    }),
    workgroups: cover(units, workgroup),
  };
}
