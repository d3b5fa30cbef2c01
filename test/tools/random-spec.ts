import * as fc from "fast-check";
import { stemMaps } from "../../compiler/spec/geometry.js";
import type { Size, ViTSpec } from "../../compiler/spec/types.js";

/** A field that a spec may leave out. */
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 2 });
const whole = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const real = (min: number, max: number): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true });
const rate = optional(real(0, 0.9));

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
  patchNorm: optional(fc.boolean()),
  patchBias: optional(fc.boolean()),
  perHead: whole(1, 5),
  depth: whole(1, 3),
  heads: whole(1, 3),
  headDim: optional(whole(1, 6)),
  mlp: optional(fc.record({ size: optional(fc.oneof(fc.record({ ratio: real(1, 4) }), fc.record({ hidden: whole(1, 20) }))), activation: optional(fc.constantFrom("gelu" as const, "gelu_tanh" as const, "quick_gelu" as const, "relu" as const, "silu" as const)), bias: optional(fc.boolean()) })),
  attention: optional(fc.record({ qkvBias: optional(fc.boolean()), scale: optional(real(0.01, 2)), projBias: optional(fc.boolean()) })),
  tokens: optional(fc.record({ class: optional(fc.boolean()), distillation: optional(fc.boolean()) })),
  position: optional(fc.record({ kind: optional(fc.constantFrom("learned" as const, "sincos2d" as const, "sincos1d" as const, "none" as const)), prefix: optional(fc.boolean()), temperature: optional(real(1, 1e5)) })),
  norm: optional(fc.record({ kind: optional(fc.constant("layer" as const)), eps: optional(real(1e-8, 1e-2)) })),
  layerScale: optional(real(-2, 2)),
  finalNorm: optional(fc.constantFrom("tokens" as const, "pooled" as const, "none" as const)),
  pool: optional(fc.constantFrom("token" as const, "avg" as const, "max" as const)),
  representation: optional(whole(0, 7)),
  classes: fc.option(whole(0, 7), { nil: undefined, freq: 8 }),
  dropout: optional(fc.record({ position: rate, attention: rate, projection: rate, path: rate })),
  outputs: optional(fc.uniqueArray(fc.constantFrom("embed", "blocks.0", "blocks.*", "norm", "features", "logits_cls", "logits_dist"))),
  preprocess: optional(fc.record({ crop: optional(fc.constantFrom("center" as const, "squash" as const)), cropPct: optional(real(0.05, 1)), interpolation: optional(fc.constantFrom("bilinear" as const, "bicubic" as const, "lanczos" as const, "nearest" as const)), mean: optional(real(-1, 1)), std: optional(real(0.1, 2)), list: fc.boolean(), normalize: optional(fc.constantFrom("outside" as const, "inside" as const)) })),
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
  const { heads, headDim, stem, channels, classes, depth } = chosen;
  const tokens = fitTokens(chosen);
  const distilled = tokens?.distillation === true;
  const pool = distilled ? (chosen.pool && "token") : (tokens?.class ?? true) ? chosen.pool : chosen.pool === "max" ? "max" : "avg";
  const finalNorm = distilled && chosen.finalNorm === "pooled" ? "none" : chosen.finalNorm;
  const position = fitPosition(chosen);
  const [height, width] = ([0, 1] as const).map((axis) => fitSide(chosen, chosen.square ? 0 : axis)) as [number, number];
  const patch = chosen.square ? chosen.patch[0] : chosen.patch;
  const offered = new Set(["embed", "blocks.0", "blocks.*", ...((finalNorm ?? "tokens") === "tokens" ? ["norm"] : []), ...(distilled ? ["logits_cls", "logits_dist"] : ["features"])]);
  const perChannel = (value: number | undefined, list: boolean) => (list && value !== undefined ? Array.from({ length: channels ?? 3 }, (_, i) => value + i / 10) : value);
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
    dim: fitDim(chosen),
    depth,
    heads,
    headDim,
    mlp: chosen.mlp && { ...chosen.mlp.size, activation: chosen.mlp.activation, bias: chosen.mlp.bias },
    attention: chosen.attention,
    tokens,
    position,
    norm: chosen.norm,
    layerScale: chosen.layerScale,
    finalNorm,
    pool,
    representation: distilled ? chosen.representation && 0 : chosen.representation,
    classes,
    dropout: chosen.dropout,
    outputs: chosen.outputs?.filter((name) => offered.has(name)),
    preprocess: chosen.preprocess && {
      crop: chosen.preprocess.crop,
      cropPct: chosen.preprocess.cropPct,
      interpolation: chosen.preprocess.interpolation,
      mean: perChannel(chosen.preprocess.mean, chosen.preprocess.list),
      std: perChannel(chosen.preprocess.std, chosen.preprocess.list),
      normalize: chosen.preprocess.normalize,
    },
    dtype: chosen.dtype,
    batch: chosen.batch,
  };
}

/** A distillation token has a class token beside it. */
function fitTokens({ tokens }: Choices): ViTSpec["tokens"] {
  return tokens?.distillation === true && tokens.class === false ? { ...tokens, class: true } : tokens;
}

/** Fields of learned positions for learned positions, and of fixed ones for fixed ones. */
function fitPosition({ position }: Choices): ViTSpec["position"] {
  if (!position) return undefined;
  const { kind, prefix, temperature } = position;
  const fixed = kind === "sincos1d" || kind === "sincos2d";
  return { kind, prefix: fixed || kind === "none" ? undefined : prefix, temperature: fixed ? temperature : undefined };
}

/** A width that heads divide unless they have their own, and that fixed positions can fill. */
function fitDim({ position, heads, headDim, perHead }: Choices): number {
  const divisor = { sincos2d: 4, sincos1d: 2, learned: 1, none: 1 }[position?.kind ?? "learned"];
  return headDim === undefined ? heads * divisor * Math.ceil(perHead / divisor) : divisor * perHead;
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
