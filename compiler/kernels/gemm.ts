import { activationFunction, type ActivationName } from "./activation.js";
import { assemble, elementOf, type Binding, type Launch } from "./kernel.js";
import { loader, type Source } from "./gemm-source.js";
import { empty, lines, range, raw, u32, wgsl, type Wgsl } from "./wgsl.js";

export interface GemmParams {
  /** Where the rows of the left matrix come from; also says how many there are and how long they are. */
  readonly source: Source;
  /** Columns of the result. */
  readonly cols: number;
  readonly bias: boolean;
  readonly activation: ActivationName;
  /** `in-place`: the output already holds the residual. `read`: it is a binding of its own. */
  readonly residual: "none" | "in-place" | "read";
}

/** Columns of packed weights and biases are padded with zeros to a multiple of this, so that no tile reads beyond them. */
export const columnPadding = 8;

/** Rows and columns that one invocation computes, in registers. */
const tile = { rows: 8, cols: 8 } as const;

/** Invocations of a workgroup, across columns and down rows: together a 64 x 64 block. */
const workgroup = [8, 8, 1] as const;

/**
 * Matrix product or convolution: out [rows, cols] = activation(A W + bias) + residual.
 *
 * Family `register`: each invocation keeps an 8 x 8 tile in registers and reads A and W straight from storage; no workgroup memory, no
 * barrier. On software adapters that is the fastest form, because there every load is a gather and only FMAs per load count.
 * W is packed [inner][cols padded], so that a row of it is read as vec4s. Rows beyond the last read the last row and store nothing.
 */
export function gemm(params: GemmParams): Launch {
  const { source, cols, bias, activation, residual } = params;
  const paddedCols = Math.ceil(cols / columnPadding) * columnPadding;
  const left = loader(source);
  const out = elementOf(cols);
  const groups = tile.cols / 4;
  const bindings: Binding[] = [
    { name: "a", access: "read", element: left.element },
    { name: "weight", access: "read", element: "vec4" },
    ...(bias ? [{ name: "bias", access: "read", element: "vec4" } as const] : []),
    ...(residual === "read" ? [{ name: "residual", access: "read", element: out } as const] : []),
    { name: "out", access: "read_write", element: out },
  ];
  const rows = range(tile.rows);
  const columns = range(groups);

  const accumulate = lines([
    ...rows.map((r) => left.load(r)),
    ...range(left.width).flatMap((k) => [
      ...columns.map((c) => raw(`let w${k}_${c} = weight[at + ${k * (paddedCols / 4) + c}u];`)),
      ...rows.flatMap((r) => columns.map((c) => raw(`sum${r}_${c} = fma(vec4<f32>(a${r}${left.width === 1 ? "" : `[${k}]`}), w${k}_${c}, sum${r}_${c});`))),
    ]),
    raw(`at += ${left.width * (paddedCols / 4)}u;`),
  ]);

  const body = wgsl`
    let firstRow = id.y * ${u32(tile.rows)};
    let firstGroup = id.x * ${u32(groups)};
    if (firstRow >= rows || firstGroup >= columnGroups) { return; }
    ${lines(rows.map((r) => raw(`let row${r} = min(firstRow + ${r}u, rows - 1u);`)))}
    ${lines(rows.map((r) => left.prepare(r)))}
    ${lines(rows.flatMap((r) => columns.map((c) => raw(`var sum${r}_${c} = vec4<f32>(0.0);`))))}
    var at = firstGroup;
    ${left.loop(accumulate)}
    ${bias ? lines(columns.map((c) => raw(`let bias${c} = bias[firstGroup + ${c}u];`))) : empty}
    ${lines(rows.flatMap((r) => columns.map((c) => raw(`store(firstRow + ${r}u, firstGroup + ${c}u, ${finish(params, `sum${r}_${c}`, `bias${c}`)});`))))}
  `;

  return {
    kernel: assemble({
      id: gemmId(params),
      bindings,
      workgroupSize: workgroup,
      constants: { rows: u32(source.rows), cols: u32(cols), columnGroups: u32(paddedCols / 4), ...left.constants },
      helpers: [activationFunction(activation), store(params)],
      builtins: raw("@builtin(global_invocation_id) id: vec3<u32>"),
      body,
    }),
    workgroups: [Math.ceil(paddedCols / tile.cols / workgroup[0]), Math.ceil(source.rows / tile.rows / workgroup[1]), 1],
  };
}

function finish({ bias, activation }: GemmParams, sum: string, biasName: string): string {
  const biased = bias ? `${sum} + ${biasName}` : sum;
  return activation === "none" ? biased : `activate(${biased})`;
}

/** Writes four columns of one row, leaving out what is beyond the matrix. */
function store({ cols, residual }: GemmParams): Wgsl {
  const other = residual === "read" ? "residual" : "out";
  if (cols % 4 === 0) {
    const added = residual === "none" ? "value" : `value + ${other}[at]`;
    return wgsl`
      fn store(row: u32, group: u32, value: vec4<f32>) {
        if (row >= rows || group >= cols / 4u) { return; }
        let at = row * (cols / 4u) + group;
        out[at] = ${raw(added)};
      }
    `;
  }
  const added = residual === "none" ? "value[i]" : `value[i] + ${other}[at]`;
  return wgsl`
    fn store(row: u32, group: u32, value: vec4<f32>) {
      if (row >= rows) { return; }
      for (var i = 0u; i < 4u; i++) {
        let col = group * 4u + i;
        if (col < cols) {
          let at = row * cols + col;
          out[at] = ${raw(added)};
        }
      }
    }
  `;
}

function gemmId({ source, cols, bias, activation, residual }: GemmParams): string {
  const parts = [`gemm_m${source.rows}_n${cols}_k${source.inner}`];
  if (source.kind !== "rows") parts.push(`${source.kind}_${source.channels}x${source.height}x${source.width}_k${source.kernel.join("x")}_s${source.stride.join("x")}_p${source.padding.join("x")}`);
  if (bias) parts.push("bias");
  if (activation !== "none") parts.push(activation);
  if (residual !== "none") parts.push(residual === "read" ? "add" : "residual");
  return parts.join("_");
}
