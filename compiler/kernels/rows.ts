import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Binding, type Launch } from "./kernel.js";
import { asFull, asStored, dtypesId, inFull, type InOut } from "./storage.js";
import { f32, lines, raw, spelt, u32, wgsl, type Wgsl } from "./wgsl.js";

export interface LayerNormParams {
  /** Rows of the result. */
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
  /** Row r of the result is row r * step + start of x: 1 and 0 for all rows, `tokens` and an index for one token an image. */
  readonly step: number;
  readonly start: number;
}

/** Rows of a workgroup. Few, so that the rows of one image reach many cores. */
const rowsPerGroup = 16;

/**
 * LayerNorm of rows: x [.., width] -> out [rows, width]. One invocation a row: no barrier, which on software adapters costs more than
 * all the arithmetic (a workgroup that shared a row took half of a whole run there).
 */
export function layerNorm({ rows, width, eps, step, start }: LayerNormParams): Launch {
  const element = elementOf(width);
  const unit = element === "vec4" ? 4 : 1;
  const { statistics, rstd } = rowStatistics(unit, eps);
  const strided = step !== 1 || start !== 0;
  const body = wgsl`
    ${linearIndex(rows, rowsPerGroup)}
    let first = ${raw(strided ? `(index * ${u32(step)} + ${u32(start)})` : "index")} * units;
    ${statistics}
    let rstd = ${rstd};
    for (var i = 0u; i < units; i++) {
      out[index * units + i] = (x[first + i] - mean) * rstd * scale[i] + bias[i];
    }
  `;
  return {
    kernel: assemble({
      id: `layer_norm_r${rows}_w${width}_e${spelt(eps)}${strided ? `_step${step}_start${start}` : ""}`,
      bindings: [
        { name: "x", access: "read", element, length: ((rows - 1) * step + start + 1) * width },
        { name: "scale", access: "read", element, length: width },
        { name: "bias", access: "read", element, length: width },
        { name: "out", access: "read_write", element, length: rows * width },
      ],
      workgroupSize: [rowsPerGroup, 1, 1],
      constants: { units: u32(width / unit), width: f32(width) },
      builtins: linearBuiltins,
      body,
    }),
    workgroups: cover(rows, rowsPerGroup),
  };
}

export interface RmsNormParams extends LayerNormParams {
  /** Default: f32. */
  readonly dtypes?: InOut;
}

/** RMSNorm of rows: x [.., width] and scale [width] -> out [rows, width]. One invocation a row, as `layerNorm`. */
export function rmsNorm({ rows, width, eps, step, start, dtypes = inFull }: RmsNormParams): Launch {
  const element = elementOf(width);
  const unit = element === "vec4" ? 4 : 1;
  const strided = step !== 1 || start !== 0;
  const x: Binding = { name: "x", access: "read", element, dtype: dtypes.in, length: ((rows - 1) * step + start + 1) * width };
  const out: Binding = { name: "out", access: "read_write", element, dtype: dtypes.out, length: rows * width };
  const value = asFull("x[first + i]", x);
  return {
    kernel: assemble({
      id: `rms_norm_r${rows}_w${width}_e${spelt(eps)}${strided ? `_step${step}_start${start}` : ""}${dtypesId(dtypes.in, dtypes.out)}`,
      bindings: [x, { name: "scale", access: "read", element, length: width }, out],
      workgroupSize: [rowsPerGroup, 1, 1],
      constants: { units: u32(width / unit), width: f32(width) },
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(rows, rowsPerGroup)}
        let first = ${raw(strided ? `(index * ${u32(step)} + ${u32(start)})` : "index")} * units;
        var squares = 0.0;
        for (var i = 0u; i < units; i++) {
          let value = ${value};
          squares += ${raw(unit === 4 ? "dot(value, value)" : "value * value")};
        }
        let factor = inverseSqrt(squares / width + ${f32(eps)});
        for (var i = 0u; i < units; i++) {
          out[index * units + i] = ${asStored(`${value} * factor * scale[i]`, out)};
        }
      `,
    }),
    workgroups: cover(rows, rowsPerGroup),
  };
}

/** Rows x [rows, width] divided by their lengths -> out [rows, width]; what is shorter than 1e-12 is divided by that. One invocation a row. */
export function l2Normalize({ rows, width }: { readonly rows: number; readonly width: number }): Launch {
  const element = elementOf(width);
  const unit = element === "vec4" ? 4 : 1;
  // Numbers are divided by the largest first, whose square may be beyond f32, or too small for it.
  const largest = raw(unit === 4 ? "max(max(most.x, most.y), max(most.z, most.w))" : "most");
  return {
    kernel: assemble({
      id: `l2_normalize_r${rows}_w${width}`,
      bindings: [
        { name: "x", access: "read", element, length: rows * width },
        { name: "out", access: "read_write", element, length: rows * width },
      ],
      workgroupSize: [rowsPerGroup, 1, 1],
      constants: { units: u32(width / unit) },
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(rows, rowsPerGroup)}
        let first = index * units;
        var most = abs(x[first]);
        for (var i = 1u; i < units; i++) { most = max(most, abs(x[first + i])); }
        let largest = max(${largest}, 1e-30);
        var squares = 0.0;
        for (var i = 0u; i < units; i++) {
          let value = x[first + i] / largest;
          squares += ${raw(unit === 4 ? "dot(value, value)" : "value * value")};
        }
        let factor = 1.0 / max(sqrt(squares), 1e-12 / largest);
        for (var i = 0u; i < units; i++) { out[first + i] = x[first + i] / largest * factor; }
      `,
    }),
    workgroups: cover(rows, rowsPerGroup),
  };
}

export interface RowScalesParams {
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
}

/** Mean and 1 / sqrt(variance + eps) of each row of x [rows, width] -> out [rows, 2], for products that normalise their rows. */
export function rowScales({ rows, width, eps }: RowScalesParams): Launch {
  const element = elementOf(width);
  const unit = element === "vec4" ? 4 : 1;
  const { statistics, rstd } = rowStatistics(unit, eps);
  return {
    kernel: assemble({
      id: `row_scales_r${rows}_w${width}_e${spelt(eps)}`,
      bindings: [
        { name: "x", access: "read", element, length: rows * width },
        { name: "out", access: "read_write", element: "scalar", length: 2 * rows },
      ],
      workgroupSize: [rowsPerGroup, 1, 1],
      constants: { units: u32(width / unit), width: f32(width) },
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(rows, rowsPerGroup)}
        let first = index * units;
        ${statistics}
        out[2u * index] = mean;
        out[2u * index + 1u] = ${rstd};
      `,
    }),
    workgroups: cover(rows, rowsPerGroup),
  };
}

/**
 * Text that leaves `mean` and `squares`, the sum of squared deviations in each lane, of the row of x whose first element is `first`; and the
 * expression of 1 / sqrt(variance + eps) behind it. The kernel has the constants `units` and `width`.
 * Two passes, not E[x²] - E[x]²: the residual stream of a ViT carries outliers that cancel in f32. Squares overflow f32 where rows are
 * spread wider than 1e18 / sqrt(width), as they do in PyTorch's f32.
 */
function rowStatistics(unit: 1 | 4, eps: number): { readonly statistics: Wgsl; readonly rstd: Wgsl } {
  // The neutral start of a sum in the element type, and how its lanes become one number.
  const zero = raw(unit === 4 ? "vec4<f32>(0.0)" : "0.0");
  const total = (name: string): Wgsl => raw(unit === 4 ? `dot(${name}, vec4<f32>(1.0))` : name);
  const statistics = wgsl`
    var sum = ${zero};
    for (var i = 0u; i < units; i++) { sum += x[first + i]; }
    let mean = ${total("sum")} / width;
    var squares = ${zero};
    for (var i = 0u; i < units; i++) {
      let centred = x[first + i] - mean;
      squares += centred * centred;
    }
  `;
  return { statistics, rstd: wgsl`inverseSqrt(${total("squares")} / width + ${f32(eps)})` };
}

export interface PoolParams {
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  /** `avgmax`: half of the sum of mean and maximum. `tokenavg`: token 0, and behind it the mean. */
  readonly kind: "avg" | "max" | "avgmax" | "tokenavg";
  /** The first token that counts. */
  readonly start: number;
}

const workgroup = 64;

/**
 * Mean or maximum over tokens start.. of x [batch, tokens, width] -> out [batch, width], or [batch, 2 width] for `tokenavg`. One invocation
 * four columns.
 */
export function pool({ batch, tokens, width, kind, start }: PoolParams): Launch {
  const element = elementOf(width);
  const units = element === "vec4" ? width / 4 : width;
  const count = batch * units;
  const { declare, add, result } = poolSteps(kind, f32(tokens - start));
  const store =
    kind === "tokenavg"
      ? wgsl`
        let at = index + index / units * units;
        out[at] = x[first];
        out[at + units] = ${result};
      `
      : wgsl`out[index] = ${result};`;
  const body = wgsl`
    ${linearIndex(count, workgroup)}
    let first = index / units * tokens * units + index % units;
    ${declare(wgsl`x[first + ${u32(start)} * units]`)}
    for (var token = ${u32(start + 1)}; token < tokens; token++) {
      let value = x[first + token * units];
      ${add}
    }
    ${store}
  `;
  return {
    kernel: assemble({
      id: `pool_${kind}_b${batch}_t${tokens}_w${width}_from${start}`,
      bindings: [
        { name: "x", access: "read", element, length: batch * tokens * width },
        { name: "out", access: "read_write", element, length: batch * width * (kind === "tokenavg" ? 2 : 1) },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: { tokens: u32(tokens), units: u32(units) },
      builtins: linearBuiltins,
      body,
    }),
    workgroups: cover(count, workgroup),
  };
}

/** What is kept of the tokens so far: from the first of them, with one more `value`, and what it comes to. `count`: how many they are. */
function poolSteps(kind: PoolParams["kind"], count: Wgsl): { readonly declare: (first: Wgsl) => Wgsl; readonly add: Wgsl; readonly result: Wgsl } {
  switch (kind) {
    case "avg":
    case "tokenavg":
      return { declare: (first) => wgsl`var result = ${first};`, add: raw("result += value;"), result: wgsl`result / ${count}` };
    case "max":
      return { declare: (first) => wgsl`var result = ${first};`, add: raw("result = max(result, value);"), result: raw("result") };
    case "avgmax":
      return {
        declare: (first) => lines([wgsl`var sum = ${first};`, raw("var largest = sum;")]),
        add: lines([raw("sum += value;"), raw("largest = max(largest, value);")]),
        result: wgsl`0.5 * (sum / ${count} + largest)`,
      };
    default:
      return kind satisfies never;
  }
}

export interface TokensParams {
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  readonly start: number;
  readonly end: number;
}

/** Tokens start to end of x [batch, tokens, width] -> out [batch, end - start, width]. */
export function sliceTokens({ batch, tokens, width, start, end }: TokensParams): Launch {
  const element = elementOf(width);
  const units = element === "vec4" ? width / 4 : width;
  const taken = (end - start) * units;
  const count = batch * taken;
  return {
    kernel: assemble({
      id: `tokens_b${batch}_t${tokens}_w${width}_${start}to${end}`,
      bindings: [
        { name: "x", access: "read", element, length: batch * tokens * width },
        { name: "out", access: "read_write", element, length: batch * (end - start) * width },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: { units: u32(units) },
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(count, workgroup)}
        out[index] = x[index / ${u32(taken)} * ${u32(tokens)} * units + ${u32(start)} * units + index % ${u32(taken)}];
      `,
    }),
    workgroups: cover(count, workgroup),
  };
}
