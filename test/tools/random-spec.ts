import * as fc from "fast-check";
import { stemMaps } from "../../compiler/spec/geometry.js";
import type { Size, ViTSpec } from "../../compiler/spec/types.js";

/** A field that a spec may leave out. */
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 2 });
const whole = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const real = (min: number, max: number): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true });
const rate = optional(real(0, 0.9));
const flag = optional(fc.boolean());

/** Choices that do not depend on each other; `assemble` makes them fit. */
const choices = fc.record({
  name: fc.stringMatching(/^[a-z][a-z0-9._-]{0,8}$/),
  labelled: fc.boolean(),
  patch: fc.tuple(whole(1, 3), whole(1, 3)),
  grid: fc.tuple(whole(1, 3), whole(1, 3)),
  remainder: fc.tuple(whole(0, 2), whole(0, 2)),
  square: fc.boolean(),
  patchRemainder: optional(fc.constantFrom("refuse" as const, "crop" as const)),
  channels: optional(whole(1, 4)),
  stem: optional(fc.array(fc.record({ channels: whole(1, 4), kernel: whole(1, 4), stride: optional(whole(1, 2)) }), { maxLength: 2 })),
  patchNorm: flag,
  patchBias: flag,
  patchResample: optional(fc.record({
    patch: fc.option(fc.oneof(whole(1, 4), fc.tuple(whole(1, 4), whole(1, 4))), { nil: undefined, freq: 4 }),
    filter: optional(fc.constantFrom("bilinear" as const, "bicubic" as const)),
    antialias: flag,
  })),
  perHead: whole(1, 5),
  depth: whole(1, 3),
  heads: whole(1, 3),
  headDim: optional(whole(1, 6)),
  mlp: optional(fc.record({
    size: optional(fc.oneof(fc.record({ ratio: real(1, 4) }), fc.record({ hidden: whole(1, 20) }))),
    activation: optional(fc.constantFrom("gelu" as const, "gelu_tanh" as const, "quick_gelu" as const, "relu" as const, "silu" as const)),
    gate: optional(fc.constantFrom("none" as const, "split" as const, "packed" as const, "packedLast" as const)),
    norm: flag,
    bias: flag,
  })),
  attention: optional(fc.record({
    qkvBias: optional(fc.constantFrom(true as const, false as const, "qv" as const)),
    scale: optional(real(0.01, 2)),
    projBias: flag,
    qkNorm: flag,
    norm: flag,
    gate: flag,
    relative: flag,
    relativeResample: optional(fc.record({
      grid: fc.option(fc.oneof(whole(1, 4), fc.tuple(whole(1, 4), whole(1, 4))), { nil: undefined, freq: 4 }),
      filter: optional(fc.constantFrom("geometric" as const, "bilinear" as const)),
    })),
    differential: flag,
  })),
  tokens: optional(fc.record({ class: flag, distillation: flag, registers: optional(whole(0, 3)) })),
  position: optional(fc.record({
    kind: optional(fc.constantFrom("learned" as const, "sincos2d" as const, "sincos1d" as const, "none" as const)),
    prefix: flag,
    temperature: optional(real(1, 1e5)),
    resample: optional(fc.record({
      grid: fc.option(fc.oneof(whole(1, 4), fc.tuple(whole(1, 4), whole(1, 4))), { nil: undefined, freq: 8 }),
      filter: optional(fc.constantFrom("bilinear" as const, "bicubic" as const)),
      antialias: flag,
      corners: flag,
      offset: optional(real(-0.4, 0.4)),
    })),
  })),
  rope: optional(fc.record({
    kind: fc.constantFrom("axial" as const, "mixed" as const, "dinov3" as const),
    temperature: optional(real(1, 1e4)),
    order: fc.option(fc.constantFrom("ij" as const, "xy" as const), { nil: undefined, freq: 4 }),
    reference: optional(fc.oneof(whole(1, 5), fc.tuple(whole(1, 5), whole(1, 5)))),
    offset: optional(real(-1, 1)),
  })),
  norm: optional(fc.record({ kind: optional(fc.constantFrom("layer" as const, "rms" as const)), eps: optional(real(1e-8, 1e-2)) })),
  preNorm: flag,
  block: optional(fc.constantFrom("pre" as const, "post" as const, "parallel" as const, "parallelThings" as const)),
  layerScale: optional(real(-2, 2)),
  finalNorm: optional(fc.constantFrom("tokens" as const, "pooled" as const, "none" as const)),
  // Most of these poolings have fields or graphs of their own, so they are left out less often than other fields.
  pool: fc.option(fc.constantFrom("token" as const, "avg" as const, "max" as const, "avgmax" as const, "tokenavg" as const, "map" as const, "none" as const), { nil: undefined, freq: 4 }),
  poolPrefix: flag,
  mapPool: fc.option(fc.record({ heads: optional(whole(1, 3)), hidden: optional(whole(1, 9)) }), { nil: undefined, freq: 4 }),
  representation: optional(whole(0, 7)),
  classes: fc.option(whole(0, 7), { nil: undefined, freq: 8 }),
  headBias: flag,
  dropout: optional(fc.record({ position: rate, attention: rate, projection: rate, path: rate })),
  outputs: optional(fc.uniqueArray(fc.constantFrom("embed", "blocks.0", "blocks.*", "blocks.0.attn", "blocks.*.attn", "norm", "tokens", "features", "logits_cls", "logits_dist", "embedding"))),
  renamed: optional(whole(1, 3)),
  preprocess: optional(fc.record({
    crop: optional(fc.constantFrom("center" as const, "squash" as const, "border" as const)),
    cropPct: optional(real(0.05, 1)),
    resize: optional(fc.oneof(whole(1, 40), fc.tuple(whole(1, 40), whole(1, 40)), fc.constant("none" as const))),
    cropOffset: optional(fc.constantFrom("round" as const, "floor" as const)),
    interpolation: optional(fc.constantFrom("nearest" as const, "box" as const, "bilinear" as const, "hamming" as const, "bicubic" as const, "lanczos" as const)),
    rescale: optional(fc.constantFrom("after" as const, "before" as const)),
    rescaleFactor: optional(real(0.001, 2)),
    mean: optional(real(-1, 1)),
    std: optional(real(0.1, 2)),
    list: fc.boolean(),
    normalize: optional(fc.constantFrom("outside" as const, "inside" as const)),
  })),
  dtype: optional(fc.constantFrom("f32" as const, "f16" as const, ["f16", "f32"] as const)),
  batch: optional(fc.oneof(whole(1, 3), fc.uniqueArray(whole(1, 4), { minLength: 1, maxLength: 3 }).map((sizes) => sizes.toSorted((a, b) => a - b)))),
});

type Choices = typeof choices extends fc.Arbitrary<infer T> ? T : never;

/**
 * Any valid spec that is small enough for the interpreter: a few tokens, a few channels, up to three blocks, and every field of the
 * schema left out or drawn.
 */
export const randomSpec: fc.Arbitrary<ViTSpec> = choices.map(assemble);

function assemble(chosen: Choices): ViTSpec {
  const { heads, stem, channels, depth } = chosen;
  const attention = fitAttention(chosen);
  const rope = fitRope(chosen, attention);
  const tokens = fitTokens(chosen, attention);
  const distilled = tokens?.distillation === true;
  const pool = fitPool(chosen, tokens);
  const position = fitPosition(chosen);
  const widths = fitWidths(chosen, { rope, attention });
  const classes = pool === "none" ? chosen.classes && 0 : chosen.classes;
  const finalNorm = chosen.finalNorm === "pooled" && (distilled || pool === "none" || pool === "tokenavg" || pool === "map") ? "none" : chosen.finalNorm;
  const [height, width] = ([0, 1] as const).map((axis) => fitSide(chosen, chosen.square ? 0 : axis)) as [number, number];
  const patch = chosen.square ? chosen.patch[0] : chosen.patch;
  const offered = new Set(["embed", "blocks.0", "blocks.*", "blocks.0.attn", "blocks.*.attn", "tokens", ...((finalNorm ?? "tokens") === "tokens" ? ["norm"] : []), ...(distilled ? ["logits_cls", "logits_dist"] : []), ...(pool === "none" ? [] : ["features", "embedding"])]);
  const outputs = chosen.outputs?.filter((name) => offered.has(name));
  const main = pool === "none" ? "tokens" : classes === 0 ? "features" : "logits";
  return {
    name: chosen.name,
    labels: chosen.labelled && classes ? Array.from({ length: classes }, (_, i) => `class ${i}`) : undefined,
    image: chosen.square ? height : [height, width],
    patch: patch satisfies Size,
    patchRemainder: chosen.patchRemainder,
    channels,
    stem,
    patchNorm: chosen.patchNorm,
    patchBias: chosen.patchBias,
    patchResample: chosen.patchResample,
    dim: widths.dim,
    depth,
    heads,
    headDim: widths.headDim,
    mlp: fitMlp(chosen),
    attention,
    tokens,
    position,
    rope,
    norm: chosen.norm,
    preNorm: chosen.preNorm,
    block: chosen.block,
    layerScale: chosen.block === "post" ? undefined : chosen.layerScale,
    finalNorm,
    pool,
    poolPrefix: pool === "avg" || pool === "max" || pool === "avgmax" || pool === "map" ? chosen.poolPrefix : undefined,
    mapPool: pool === "map" ? fitMapPool(chosen, widths.dim) : undefined,
    representation: distilled || pool === "none" ? chosen.representation && 0 : chosen.representation,
    classes,
    headBias: chosen.headBias,
    dropout: chosen.dropout,
    outputs,
    outputNames: chosen.renamed === undefined ? undefined : Object.fromEntries([...new Set([main, ...(outputs ?? []).filter((name) => name !== "blocks.*" && !name.endsWith(".attn"))])].slice(0, chosen.renamed).map((name, i) => [name, `output_${i}.x`])),
    preprocess: fitPreprocess(chosen),
    dtype: chosen.dtype,
    batch: chosen.batch,
  };
}

/** One of the two ways to say what is resized, and means and deviations for each channel or for all. */
function fitPreprocess({ preprocess, channels }: Choices): ViTSpec["preprocess"] {
  if (!preprocess) return undefined;
  const { list, mean, std, cropPct, ...rest } = preprocess;
  const perChannel = (value: number | undefined) => (list && value !== undefined ? Array.from({ length: channels ?? 3 }, (_, i) => value + i / 10) : value);
  return { ...rest, cropPct: rest.resize === undefined ? cropPct : undefined, mean: perChannel(mean), std: perChannel(std) };
}

/** What a parallel block has no place for is left out, and differential attention where it has no meaning. */
function fitAttention({ attention, block }: Choices): ViTSpec["attention"] {
  if (!attention) return undefined;
  const parallel = block === "parallel";
  const differential = attention.differential && block !== "post" && block !== "parallelThings";
  return {
    ...attention,
    qkvBias: parallel && attention.qkvBias === "qv" ? false : attention.qkvBias,
    norm: attention.norm && !parallel,
    gate: attention.gate && !parallel,
    relative: attention.relative && !differential,
    relativeResample: attention.relative && !differential ? attention.relativeResample : undefined,
    differential,
  };
}

/** Fields of axial positions for axial ones. */
function fitRope({ rope }: Choices, attention: ViTSpec["attention"]): ViTSpec["rope"] {
  if (!rope || attention?.differential === true) return undefined;
  return rope.kind === "axial" ? rope : { kind: rope.kind, temperature: rope.temperature };
}

function fitMlp({ mlp, block }: Choices): ViTSpec["mlp"] {
  if (!mlp) return undefined;
  const { size, gate, norm, ...rest } = mlp;
  return { ...size, ...rest, gate: block === "parallel" ? gate && "none" : gate, norm: norm && block !== "parallel" };
}

/** A distillation token has a class token beside it, and a table of distances has a row for no token but that one. */
function fitTokens({ tokens }: Choices, attention: ViTSpec["attention"]): ViTSpec["tokens"] {
  if (!tokens) return undefined;
  const one = attention?.relative === true;
  const distillation = tokens.distillation && !one;
  return { class: distillation === true && tokens.class === false ? true : tokens.class, distillation, registers: one ? tokens.registers && 0 : tokens.registers };
}

/** Pooling that reads a class token only where there is one. */
function fitPool({ pool }: Choices, tokens: ViTSpec["tokens"]): ViTSpec["pool"] {
  if (tokens?.distillation === true) return pool && "token";
  if (tokens?.class ?? true) return pool;
  return pool === undefined || pool === "token" ? "avg" : pool === "tokenavg" ? "avgmax" : pool;
}

/** Heads that divide the width. */
function fitMapPool({ mapPool, heads }: Choices, dim: number): ViTSpec["mapPool"] {
  const fits = dim % (mapPool?.heads ?? heads) === 0;
  return fits ? mapPool : { ...mapPool, heads: 1 };
}

/** Fields of learned positions for learned positions, and of fixed ones for fixed ones. */
function fitPosition({ position }: Choices): ViTSpec["position"] {
  if (!position) return undefined;
  const { kind, prefix, temperature, resample } = position;
  const fixed = kind === "sincos1d" || kind === "sincos2d";
  if (fixed || kind === "none") return { kind, temperature: fixed ? temperature : undefined };
  return { kind, prefix, resample: resample && { ...resample, corners: resample.corners && !resample.antialias } };
}

/** A width that heads divide unless they have their own, which fixed positions can fill, and heads that can be turned or halved. */
function fitWidths({ position, heads, headDim, perHead }: Choices, { rope, attention }: Pick<ViTSpec, "rope" | "attention">): { readonly dim: number; readonly headDim: number | undefined } {
  const multiple = (of: number, value: number): number => of * Math.ceil(value / of);
  const ofWidth = { sincos2d: 4, sincos1d: 2, learned: 1, none: 1 }[position?.kind ?? "learned"];
  const ofHead = rope ? 4 : attention?.differential === true ? 2 : 1;
  if (headDim === undefined) return { dim: heads * multiple(Math.max(ofWidth, ofHead), perHead), headDim };
  return { dim: ofWidth * perHead, headDim: multiple(ofHead, headDim) };
}

/** A side of the image from which the stem leaves a number of whole patches, and a remainder if that is cropped. */
function fitSide({ patch, grid, remainder, stem, patchRemainder }: Choices, axis: 0 | 1): number {
  const layers = (stem ?? []).map(({ channels, kernel, stride }) => ({ channels, kernel, stride: stride ?? 1 }));
  const left = patchRemainder === "crop" ? remainder[axis] % patch[axis] : 0;
  const wanted = patch[axis] * grid[axis] + left;
  for (let side = 1; ; side++) {
    const [, size] = stemMaps([1, side, side], layers).at(-1)!;
    // Sides grow by at most one, so no multiple of the patch is passed over.
    if (size >= wanted && (patchRemainder === "crop" || size % patch[axis] === 0)) return side;
  }
}
