import { activationFunction } from "../activation.js";
import { elementType } from "../kernel.js";
import { lines, raw, u32, wgsl, type Wgsl } from "../wgsl.js";
import { writesVectors, type GemmParams } from "./params.js";

/**
 * What every family does with a finished sum: `fn finish(row, group, sum)` completes four columns of a row and stores them, leaving out what is
 * beyond the matrix. Where rows are normalised, the sum is already multiplied by its row's scale. `group` counts fours of columns.
 */
export function epilogue(params: GemmParams): Wgsl[] {
  const { source, cols, bias, activation, addend, dtypes } = params;
  const vectors = writesVectors(params);
  const steps: Wgsl[] = [raw("var value = sum;")];
  if (source.kind !== "rows" && source.prefix > 0) steps.push(raw(`value = select(value, vec4<f32>(0.0), row % ${source.tokens}u < ${source.prefix}u);`));
  if (bias) steps.push(raw("value += bias[group];"));
  if (activation !== "none") steps.push(raw("value = activate(value);"));
  // Beyond f16's range a conversion may give anything; what is stored so stays finite.
  if (dtypes.out === "f16" && addend === "none") steps.push(raw("value = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));"));
  const finish = wgsl`
    fn finish(row: u32, group: u32, sum: vec4<f32>) {
      if (row >= ${u32(source.rows)} || group * 4u >= ${u32(cols)}) { return; }
      ${lines(steps)}
      ${vectors ? storeVector(params) : storeScalars(params)}
    }
  `;
  return [activationFunction(activation), finish];
}

function storeVector(params: GemmParams): Wgsl {
  const { within } = params;
  const units = within.cols / 4;
  return lines([raw(`let at = row * ${units}u + ${within.first / 4}u + group;`), raw(`out[at] = ${outType(params)}(value${addition(params, "at", units, "group")});`)]);
}

function storeScalars(params: GemmParams): Wgsl {
  const { within, cols } = params;
  return wgsl`
    for (var i = 0u; i < 4u; i++) {
      let col = group * 4u + i;
      if (col < ${u32(cols)}) {
        let at = row * ${u32(within.cols)} + ${u32(within.first)} + col;
        out[at] = ${raw(outType(params))}(value[i]${raw(addition(params, "at", within.cols, "col"))});
      }
    }
  `;
}

const outType = (params: GemmParams): string => elementType({ element: writesVectors(params) ? "vec4" : "scalar", dtype: params.dtypes.out });

function addition({ addend: kind, source, within }: GemmParams, at: string, units: number, column: string): string {
  switch (kind) {
    case "none":
      return "";
    case "in-place":
      return ` + out[${at}]`;
    case "read":
      return ` + addend[${at}]`;
    case "table":
      return ` + addend[row % ${source.tokens}u * ${units}u + ${(within.first * units) / within.cols}u + ${column}]`;
    default:
      return kind satisfies never;
  }
}
