import { assemble, cover, elementOf, linearBuiltins, linearIndex, type Binding, type Launch } from "./kernel.js";
import { empty, f32, lines, range, raw, spelt, u32, wgsl } from "./wgsl.js";

export interface EmbedParams {
  readonly batch: number;
  readonly patches: number;
  readonly width: number;
  /** Prefix tokens. */
  readonly prefix: number;
  /** How many of them each binding holds, in order. Default: one each. */
  readonly parts?: readonly number[];
  /** Which tokens the position table covers. */
  readonly position: "all" | "patches" | "none";
}

const workgroup = 64;

/** Prefix tokens in front of patches [batch, patches, width], plus positions -> out [batch, prefix + patches, width]. */
export function embed({ batch, patches, width, prefix, parts = range(prefix).map(() => 1), position }: EmbedParams): Launch {
  const element = elementOf(width);
  const units = element === "vec4" ? width / 4 : width;
  const count = batch * (prefix + patches) * units;
  const read = (name: string, tokens: number): Binding => ({ name, access: "read", element, length: tokens * width });
  const covers = position === "all" ? "true" : `token >= ${prefix}u`;
  const table = position === "all" ? "token" : `(token - ${prefix}u)`;
  const body = wgsl`
    ${linearIndex(count, workgroup)}
    let column = index % units;
    let token = index / units % ${u32(prefix + patches)};
    let image = index / (units * ${u32(prefix + patches)});
    var value = patches[(image * ${u32(patches)} + max(token, ${u32(prefix)}) - ${u32(prefix)}) * units + column];
    ${lines(parts.map((tokens, i) => raw(prefixLine(i, tokens, parts.slice(0, i).reduce((sum, before) => sum + before, 0)))))}
    ${position === "none" ? empty : raw(position === "all" ? `value += position[${table} * units + column];` : `if (${covers}) { value += position[${table} * units + column]; }`)}
    out[index] = value;
  `;
  const split = parts.every((tokens) => tokens === 1) ? "" : `_${parts.join("_")}`;
  return {
    kernel: assemble({
      id: `embed_b${batch}_t${prefix}${split}p${patches}_w${width}_position_${position}`,
      bindings: [read("patches", batch * patches), ...parts.map((tokens, i) => read(`prefix${i}`, tokens)), ...(position === "none" ? [] : [read("position", (position === "all" ? prefix : 0) + patches)]), { ...read("out", batch * (prefix + patches)), access: "read_write" }],
      workgroupSize: [workgroup, 1, 1],
      constants: { units: u32(units) },
      builtins: linearBuiltins,
      body,
    }),
    workgroups: cover(count, workgroup),
  };
}

/** Takes the value of a prefix token from binding `i`, which holds `tokens` of them, `first` and those behind it. */
function prefixLine(i: number, tokens: number, first: number): string {
  if (tokens === 1) return `if (token == ${first}u) { value = prefix${i}[column]; }`;
  const inside = first === 0 ? `token < ${tokens}u` : `token >= ${first}u && token < ${first + tokens}u`;
  return `if (${inside}) { value = prefix${i}[${first === 0 ? "token" : `(token - ${first}u)`} * units + column]; }`;
}

export interface AddScaleParams {
  readonly count: number;
  readonly factor: number;
}

/** out = (a + b) * factor, elementwise. */
export function addScale({ count, factor }: AddScaleParams): Launch {
  const element = elementOf(count);
  const units = element === "vec4" ? count / 4 : count;
  return {
    kernel: assemble({
      id: `add_scale_${count}_by_${spelt(Math.fround(factor))}`,
      bindings: [
        { name: "a", access: "read", element, length: count },
        { name: "b", access: "read", element, length: count },
        { name: "out", access: "read_write", element, length: count },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: {},
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(units, workgroup)}
        out[index] = (a[index] + b[index]) * ${f32(factor)};
      `,
    }),
    workgroups: cover(units, workgroup),
  };
}

export interface NormalizeParams {
  readonly batch: number;
  /** Values of one channel of one image. */
  readonly plane: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** (x - mean) / std of each channel of x [batch, channels, height, width]. */
export function normalizeChannels({ batch, plane, mean, std }: NormalizeParams): Launch {
  const channels = mean.length;
  const element = elementOf(plane);
  const units = element === "vec4" ? plane / 4 : plane;
  const count = batch * channels * units;
  const text = [...mean, ...std].map((value) => spelt(Math.fround(value))).join("_");
  return {
    kernel: assemble({
      id: `normalize_b${batch}_${plane}_${text}`,
      bindings: [
        { name: "x", access: "read", element, length: batch * channels * plane },
        { name: "out", access: "read_write", element, length: batch * channels * plane },
      ],
      workgroupSize: [workgroup, 1, 1],
      constants: {},
      builtins: linearBuiltins,
      body: wgsl`
        ${linearIndex(count, workgroup)}
        let channel = index / ${u32(units)} % ${u32(channels)};
        var mean = ${f32(mean[0]!)};
        var factor = ${f32(1 / std[0]!)};
        ${lines(range(channels - 1).map((c) => raw(`if (channel == ${c + 1}u) { mean = ${f32(mean[c + 1]!)}; factor = ${f32(1 / std[c + 1]!)}; }`)))}
        out[index] = (x[index] - mean) * factor;
      `,
    }),
    workgroups: cover(count, workgroup),
  };
}
