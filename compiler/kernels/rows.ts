import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Launch } from "./kernel.js";
import { empty, f32, raw, u32, wgsl, type Wgsl } from "./wgsl.js";

export interface LayerNormParams {
  /** Rows of the result. */
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
  /** Row r of the result is row r * step + start of x: 1 and 0 for all rows, `tokens` and an index for one token an image. */
  readonly step: number;
  readonly start: number;
}

/** Invocations that share a row. */
const lanes = 64;

/**
 * LayerNorm of rows: x [.., width] -> out [rows, width]. One workgroup a row.
 * Two passes, not E[x²] - E[x]²: the residual stream of a ViT carries outliers that cancel in f32.
 */
export function layerNorm({ rows, width, eps, step, start }: LayerNormParams): Launch {
  const element = elementOf(width);
  const unit = element === "vec4" ? 4 : 1;
  const zero = unit === 4 ? "vec4<f32>(0.0)" : "0.0";
  const total = (name: string): Wgsl => raw(unit === 4 ? `dot(${name}, vec4<f32>(1.0))` : name);
  const strided = step !== 1 || start !== 0;
  const body = wgsl`
    let row = group.y * groups.x + group.x;
    if (row >= rows) { return; }
    let first = ${raw(strided ? `(row * ${u32(step)} + ${u32(start)})` : "row")} * units;
    var sum = ${raw(zero)};
    for (var i = lane; i < units; i += lanes) { sum += x[first + i]; }
    let mean = row_sum(lane, ${total("sum")}) / width;
    var squares = ${raw(zero)};
    for (var i = lane; i < units; i += lanes) {
      let centred = x[first + i] - mean;
      squares += centred * centred;
    }
    let rstd = inverseSqrt(row_sum(lane, ${total("squares")}) / width + ${f32(eps)});
    for (var i = lane; i < units; i += lanes) {
      out[row * units + i] = (x[first + i] - mean) * rstd * scale[i] + bias[i];
    }
  `;
  return {
    kernel: assemble({
      id: `layer_norm_r${rows}_w${width}_e${String(eps).replace(/[^0-9a-z]/gi, "_")}${strided ? `_step${step}_start${start}` : ""}`,
      bindings: [
        { name: "x", access: "read", element },
        { name: "scale", access: "read", element },
        { name: "bias", access: "read", element },
        { name: "out", access: "read_write", element },
      ],
      workgroupSize: [lanes, 1, 1],
      constants: { rows: u32(rows), units: u32(width / unit), width: f32(width), lanes: u32(lanes) },
      helpers: [rowSum],
      builtins: raw("@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32"),
      body,
    }),
    workgroups: cover(rows, 1),
  };
}

/** The sum of one value a lane, given to all lanes. The row is the workgroup's, so the early return before it is uniform. */
const rowSum: Wgsl = wgsl`
  var<workgroup> partial: array<f32, ${raw(String(lanes))}>;

  fn row_sum(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half /= 2u) {
      if (lane < half) { partial[lane] += partial[lane + half]; }
      workgroupBarrier();
    }
    let total = partial[0];
    workgroupBarrier();
    return total;
  }
`;

export interface PoolParams {
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  readonly kind: "avg" | "max";
  /** The first token that counts. */
  readonly start: number;
}

const workgroup = 64;

/** Mean or maximum over tokens start.. of x [batch, tokens, width] -> out [batch, width]. One invocation four columns. */
export function pool({ batch, tokens, width, kind, start }: PoolParams): Launch {
  const element = elementOf(width);
  const units = element === "vec4" ? width / 4 : width;
  const count = batch * units;
  const body = wgsl`
    ${linearIndex(count, workgroup)}
    let first = index / units * tokens * units + index % units;
    var result = x[first + ${u32(start)} * units];
    for (var token = ${u32(start + 1)}; token < tokens; token++) {
      let value = x[first + token * units];
      ${raw(kind === "avg" ? "result += value;" : "result = max(result, value);")}
    }
    out[index] = result${kind === "avg" ? raw(` / ${f32(tokens - start)}`) : empty};
  `;
  return {
    kernel: assemble({
      id: `pool_${kind}_b${batch}_t${tokens}_w${width}_from${start}`,
      bindings: [
        { name: "x", access: "read", element },
        { name: "out", access: "read_write", element },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: { tokens: u32(tokens), units: u32(units) },
      builtins: linearBuiltins,
      body,
    }),
    workgroups: cover(count, workgroup),
  };
}

export interface TokenParams {
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  readonly index: number;
}

/** Token `index` of x [batch, tokens, width] -> out [batch, width]. */
export function token({ batch, tokens, width, index: which }: TokenParams): Launch {
  const element = elementOf(width);
  const units = element === "vec4" ? width / 4 : width;
  const count = batch * units;
  return {
    kernel: assemble({
      id: `token_b${batch}_t${tokens}_w${width}_i${which}`,
      bindings: [
        { name: "x", access: "read", element },
        { name: "out", access: "read_write", element },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: { tokens: u32(tokens), units: u32(units) },
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(count, workgroup)}
        out[index] = x[(index / units * tokens + ${u32(which)}) * units + index % units];
      `,
    }),
    workgroups: cover(count, workgroup),
  };
}
