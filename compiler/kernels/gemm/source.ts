import type { Binding } from "../kernel.js";
import { lines, raw, u32, wgsl, type Wgsl } from "../wgsl.js";

/** Rows of the left matrix of a gemm: `rows` of them, each `inner` long, `tokens` an image. */
export type Source = RowSource | WindowSource;

export interface RowSource {
  readonly kind: "rows";
  readonly rows: number;
  readonly inner: number;
  readonly tokens: number;
}

/**
 * Windows of a picture, one a row, as a convolution reads them. `image`: stored [batch, channels, height, width], a window's values in the
 * order channel, y, x. `map`: stored [batch, height, width, channels], in the order y, x, channel. Packed weights have the same order.
 */
export interface WindowSource {
  readonly kind: "image" | "map";
  readonly rows: number;
  readonly inner: number;
  readonly tokens: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly kernel: readonly [height: number, width: number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  /** Windows down and across. */
  readonly grid: readonly [number, number];
  /** Rows in front of each image's windows, whose product counts as zero. */
  readonly prefix: number;
}

/** How a gemm reads its left matrix. */
export interface Loader {
  readonly element: Binding["element"];
  /** Consecutive values of a row that one load brings: 1 or 4. */
  readonly width: 1 | 4;
  readonly constants: Readonly<Record<string, Wgsl>>;
  /** Statements before the loop, for row r of the tile (`row<r>` is its index). */
  prepare(r: number | string): Wgsl;
  /** The loop over the inner dimension, around `body`. */
  loop(body: Wgsl): Wgsl;
  /** Statements in the loop that define `a<r>`, the next values of row r: f32 or vec4<f32> by `width`. */
  load(r: number | string): Wgsl;
  /** `fn left(row: u32, k: u32) -> vec4<f32>`: values k to k + 3 of a row, zeros beyond its end; k is a multiple of 4. */
  readonly random: Wgsl;
}

export function loader(source: Source): Loader {
  return source.kind === "rows" ? rowLoader(source) : windowLoader(source);
}

function rowLoader({ inner }: RowSource): Loader {
  const width = inner % 4 === 0 ? 4 : 1;
  const at = (i: number): string => (i === 0 ? "k" : `k + ${i}u`);
  return {
    element: width === 4 ? "vec4" : "scalar",
    width,
    constants: { steps: u32(inner / width) },
    prepare: (r) => raw(`let base${r} = row${r} * steps;`),
    loop: (body) => wgsl`
      for (var k = 0u; k < steps; k++) {
        ${body}
      }
    `,
    load: (r) => raw(`let a${r} = ${width === 4 ? "vec4<f32>" : "f32"}(a[base${r} + k]);`),
    random:
      width === 4
        ? wgsl`
          fn left(row: u32, k: u32) -> vec4<f32> {
            return select(vec4<f32>(0.0), vec4<f32>(a[row * steps + min(k / 4u, steps - 1u)]), k < steps * 4u);
          }
        `
        : wgsl`
          fn left(row: u32, k: u32) -> vec4<f32> {
            return vec4<f32>(${raw([0, 1, 2, 3].map((i) => `left_at(row, ${at(i)})`).join(", "))});
          }

          fn left_at(row: u32, k: u32) -> f32 {
            return select(0.0, f32(a[row * steps + min(k, steps - 1u)]), k < steps);
          }
        `,
  };
}

function windowLoader(source: WindowSource): Loader {
  const { kind, channels, height, width, kernel, stride, padding, grid, prefix, tokens, inner } = source;
  const padded = padding[0] > 0 || padding[1] > 0;
  const image = kind === "image";
  // Four neighbours in memory are four steps of the inner dimension if they are four channels of a map, or four pixels of an unpadded image whose rows and strides keep them aligned.
  const vector = image ? !padded && [kernel[1], stride[1], width].every((n) => n % 4 === 0) : channels % 4 === 0;
  const w = vector ? 4 : 1;
  const [rowStride, columnStride, channelStride] = image ? [width, 1, height * width] : [width * channels, channels, 1];
  const unit = (elements: number) => u32(elements / w);
  const across = grid[1];

  // Rows of prefix tokens read the first window, and their product is dropped.
  const prepare = (r: number | string): Wgsl => {
    const position = prefix > 0 ? `max(row${r} % ${tokens}u, ${prefix}u) - ${prefix}u` : `row${r} % ${tokens}u`;
    const place = [
      raw(`let window${r} = ${position};`),
      raw(`let y${r} = window${r} / ${across}u * ${stride[0]}u;`),
      raw(`let x${r} = window${r} % ${across}u * ${stride[1]}u;`),
    ];
    const terms = [`row${r} / ${tokens}u * ${unit(channels * height * width)}`, `y${r} * ${unit(rowStride)}`];
    // An unaligned column stride occurs only where loads are scalar, where one element is one unit.
    terms.push(columnStride % w === 0 ? `x${r} * ${unit(columnStride)}` : `x${r} / ${w}u`);
    return lines([...place, raw(`let base${r} = ${terms.join(" + ")};`)]);
  };

  // Inside the picture, y + i - padding is in [0, height). Outside, the index is meaningless: element 0 is read instead, then dropped.
  // The conditions are joined by & and not &&, whose branches made SwiftShader compile for minutes.
  const shift = (padding[0] * rowStride + padding[1] * columnStride) / w;
  const zero = vector ? "vec4<f32>(0.0)" : "0.0";
  const load = (r: number | string): Wgsl =>
    padded
      ? lines([
          raw(`let inside${r} = (y${r} + i >= ${padding[0]}u) & (y${r} + i < ${height + padding[0]}u) & (x${r} + j >= ${padding[1]}u) & (x${r} + j < ${width + padding[1]}u);`),
          raw(`let a${r} = select(${zero}, a[select(0u, base${r} + offset - ${shift}u, inside${r})], inside${r});`),
        ])
      : raw(`let a${r} = a[base${r} + offset];`);

  const offset = image
    ? `let offset = c * ${unit(channelStride)} + i * ${unit(rowStride)} + j${vector ? " / 4u" : ""};`
    : `let offset = i * ${unit(rowStride)} + j * ${unit(columnStride)} + c;`;
  const loop = (body: Wgsl) => {
    const inner = lines([raw(offset), body]);
    return image
      ? wgsl`
        for (var c = 0u; c < ${u32(channels)}; c++) {
          for (var i = 0u; i < ${u32(kernel[0])}; i++) {
            for (var j = 0u; j < ${u32(kernel[1])}; j += ${u32(w)}) {
              ${inner}
            }
          }
        }
      `
      : wgsl`
        for (var i = 0u; i < ${u32(kernel[0])}; i++) {
          for (var j = 0u; j < ${u32(kernel[1])}; j++) {
            for (var c = 0u; c < ${u32(channels / w)}; c++) {
              ${inner}
            }
          }
        }
      `;
  };

  // The loop's variables from one index, for families that do not walk the inner dimension in order.
  const [area, line] = image ? [kernel[0] * kernel[1], kernel[1]] : [kernel[1] * channels, channels];
  const names = image ? ["c", "i", "j"] : ["i", "j", "c"];
  const unravel = lines([
    raw(`let ${names[0]} = k / ${area}u;`),
    raw(`let ${names[1]} = k % ${area}u / ${line}u;`),
    raw(`let ${names[2]} = k % ${line}u${!image && vector ? " / 4u" : ""};`),
    raw(offset),
  ]);
  const random = vector
    ? wgsl`
      fn left(row_: u32, first: u32) -> vec4<f32> {
        let k = min(first, ${u32(inner - 4)});
        ${prepare("_")}
        ${unravel}
        ${load("_")}
        return select(vec4<f32>(0.0), a_, first < ${u32(inner)});
      }
    `
    : wgsl`
      fn left(row: u32, k: u32) -> vec4<f32> {
        return vec4<f32>(left_at(row, k), left_at(row, k + 1u), left_at(row, k + 2u), left_at(row, k + 3u));
      }

      fn left_at(row_: u32, first: u32) -> f32 {
        let k = min(first, ${u32(inner - 1)});
        ${prepare("_")}
        ${unravel}
        ${load("_")}
        return select(0.0, a_, first < ${u32(inner)});
      }
    `;
  return { element: vector ? "vec4" : "scalar", width: w, constants: {}, prepare, loop, load, random };
}
