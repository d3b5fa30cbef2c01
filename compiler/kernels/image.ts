/**
 * Photographs resized, cropped or padded and normalised on the device: two kernels for every photograph, whose sizes are data. The host computes
 * what they need (`imagePasses` of runtime/image-passes.ts) and sees to it that no index leaves a binding.
 */
import type { Kernel } from "../../runtime/plan.js";
import { lines, raw, wgsl, type Wgsl } from "./wgsl.js";

/**
 * `bytes` is Pillow's integer arithmetic, equal to the CPU's result bit for bit: pixels are rounded to bytes after either pass. `floats` rescales
 * first and rounds nothing, as PyTorch does; it agrees with the CPU to a few f32 roundings.
 */
export type ImageArithmetic = "bytes" | "floats";

/** A kernel whose bindings are as long as the photograph needs: `bindings[i]`, of storage buffers, is at `@group(0) @binding(i)`. */
export interface ImageKernel extends Pick<Kernel, "id" | "workgroupSize"> {
  readonly bindings: readonly { readonly name: string; readonly access: "read" | "read_write" }[];
  readonly code: string;
}

/** Invocations of a workgroup: columns and rows of what a kernel writes. */
const side = 8;

/** Bits behind the point of a weight, as Pillow has them. */
const precisionBits = 22;

/**
 * The horizontal pass: an invocation a pixel of the strip, which has the columns of the result and those rows of the photograph that the vertical
 * pass reads.
 *
 * Bindings: `params`, see the struct; `source`, the bytes of those rows, `stride` a pixel; `taps`, a row of `room` + 2 a column: the first pixel, how
 * many, their weights (integers in units of 2^-22, or the bits of an f32); `strip`, [rows, columns], RGB packed into a u32, or in three numbers of
 * a vec4 with `floats`. Gray is repeated; where `swapped` is not 0 blue comes first; where
 * `luma` is not 0 RGB is made gray before.
 */
export function imageRows(arithmetic: ImageArithmetic): ImageKernel {
  const floats = arithmetic === "floats";
  return imageKernel({
    id: `image_rows_${arithmetic}`,
    fields: ["columns: u32", "rows: u32", "width: u32", "stride: u32", "room: u32", "luma: u32", "factor: f32", "swapped: u32"],
    bindings: { source: "u32", taps: "i32", strip: floats ? "vec4<f32>" : "u32" },
    helpers: wgsl`
      fn byte(at: u32) -> u32 {
        return (source[at / 4u] >> (at % 4u * 8u)) & 255u;
      }

      fn pixel(index: u32) -> vec3<u32> {
        let at = index * params.stride;
        if (params.stride == 1u) { return vec3<u32>(byte(at)); }
        var rgb = vec3<u32>(byte(at), byte(at + 1u), byte(at + 2u));
        if (params.swapped != 0u) { rgb = rgb.zyx; }
        // Pillow's convert("L").
        if (params.luma != 0u) { return vec3<u32>((rgb.x * 19595u + rgb.y * 38470u + rgb.z * 7471u + 32768u) >> 16u); }
        return rgb;
      }
    `,
    columns: raw("params.columns"),
    rows: raw("params.rows"),
    body: wgsl`
      let row = id.y * params.width;
      ${sum("pixel(row + first + i)", "id.x", floats, "params.factor * ")}
      strip[id.y * params.columns + id.x] = ${raw(floats ? "vec4<f32>(sum, 0.0)" : "bytes.x | (bytes.y << 8u) | (bytes.z << 16u)")};
    `,
  });
}

/**
 * The vertical pass, an invocation a pixel of the model's image: sums the strip, normalises, and pads where the photograph does not reach.
 *
 * Bindings: `params`, see the struct: the strip becomes `areaWidth` x `areaHeight` pixels at `left`, `top` of the image, which begins at `offset`;
 * `strip`; `taps` as before, a row each; `values`, for `bytes` 256 f32 a channel, for `floats` mean and deviation of each channel, then the
 * padding of each; `out`, f32 [channels, height, width] from `offset` on.
 */
export function imageColumns(arithmetic: ImageArithmetic): ImageKernel {
  const floats = arithmetic === "floats";
  return imageKernel({
    id: `image_columns_${arithmetic}`,
    fields: ["width: u32", "height: u32", "channels: u32", "offset: u32", "left: u32", "top: u32", "areaWidth: u32", "areaHeight: u32", "room: u32"],
    bindings: { strip: floats ? "vec4<f32>" : "u32", taps: "i32", values: "f32", out: "f32" },
    helpers: floats
      ? wgsl`
        fn pixel(index: u32) -> vec3<f32> {
          return strip[index].xyz;
        }
      `
      : wgsl`
        fn pixel(index: u32) -> vec3<u32> {
          return (vec3<u32>(strip[index]) >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u);
        }
      `,
    columns: raw("params.width"),
    rows: raw("params.height"),
    body: wgsl`
      let at = params.offset + id.y * params.width + id.x;
      let plane = params.width * params.height;
      // Left of the area and above it these wrap round, and are beyond it too.
      let x = id.x - params.left;
      let y = id.y - params.top;
      if (x >= params.areaWidth || y >= params.areaHeight) {
        for (var c = 0u; c < params.channels; c++) { out[at + c * plane] = values[params.channels * ${raw(floats ? "2u" : "256u")} + c]; }
        return;
      }
      ${sum("pixel((first + i) * params.areaWidth + x)", "y", floats, "")}
      for (var c = 0u; c < params.channels; c++) {
        out[at + c * plane] = ${raw(floats ? "(sum[c] - values[c * 2u]) / values[c * 2u + 1u]" : "values[c * 256u + bytes[c]]")};
      }
    `,
  });
}

/** `sum` of the pixels under the taps of `index`, and of bytes `bytes`, the sum rounded and clipped. */
function sum(pixel: string, index: string, floats: boolean, factor: string): Wgsl {
  return wgsl`
    let tap = ${raw(index)} * (params.room + 2u);
    let first = u32(taps[tap]);
    let count = u32(taps[tap + 1u]);
    var sum = ${raw(floats ? "vec3<f32>()" : `vec3<i32>(${2 ** (precisionBits - 1)})`)};
    for (var i = 0u; i < count; i++) {
      sum += ${raw(floats ? `${factor}vec3<f32>(${pixel}) * bitcast<f32>(taps[tap + 2u + i])` : `vec3<i32>(${pixel}) * taps[tap + 2u + i]`)};
    }
    ${raw(floats ? "" : `let bytes = vec3<u32>(clamp(sum >> vec3<u32>(${precisionBits}u), vec3<i32>(0), vec3<i32>(255)));`)}
  `;
}

interface Parts {
  readonly id: string;
  /** Of the struct that `params` is. */
  readonly fields: readonly string[];
  /** Their element types, in order behind `params`; the last is written. */
  readonly bindings: Readonly<Record<string, string>>;
  readonly helpers: Wgsl;
  readonly columns: Wgsl;
  readonly rows: Wgsl;
  readonly body: Wgsl;
}

function imageKernel({ id, fields, bindings, helpers, columns, rows, body }: Parts): ImageKernel {
  const names = Object.keys(bindings);
  const accesses = names.map((name, i) => ({ name, access: i === names.length - 1 ? ("read_write" as const) : ("read" as const) }));
  const code = wgsl`
    struct Params {
      ${lines(fields.map((field) => raw(`${field},`)))}
    }

    @group(0) @binding(0) var<storage, read> params: Params;
    ${lines(accesses.map(({ name, access }, i) => raw(`@group(0) @binding(${i + 1}) var<storage, ${access}> ${name}: array<${bindings[name]}>;`)))}

    ${helpers}

    @compute @workgroup_size(${raw(`${side}, ${side}`)})
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      if (id.x >= ${columns} || id.y >= ${rows}) { return; }
      ${body}
    }
  `;
  return { id, bindings: [{ name: "params", access: "read" }, ...accesses], workgroupSize: [side, side, 1], code: `${code}\n` };
}
