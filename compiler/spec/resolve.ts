import { SpecError } from "./errors.js";
import { stemMaps, type Geometry, type Pair } from "./geometry.js";
import { expandOutputs } from "./outputs.js";
import { parseSpec } from "./parse.js";
import { checkRules } from "./rules.js";
import type { Activation, DType, Size } from "./types.js";

export type { Geometry, Pair } from "./geometry.js";

/** A spec with every default filled in and every derived size computed. The compiler reads only this. */
export interface ResolvedSpec {
  readonly name: string;
  readonly labels: readonly string[];
  readonly image: Pair;
  readonly patch: Pair;
  readonly channels: number;
  readonly stem: readonly { readonly channels: number; readonly kernel: number; readonly stride: number }[];
  readonly patchNorm: boolean;
  readonly patchBias: boolean;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly headDim: number;
  readonly mlp: { readonly hidden: number; readonly activation: Activation; readonly bias: boolean };
  readonly attention: { readonly qkvBias: boolean; readonly scale: number; readonly projBias: boolean };
  readonly tokens: { readonly class: boolean; readonly distillation: boolean };
  readonly position: { readonly kind: "learned" | "sincos2d" | "sincos1d" | "none"; readonly prefix: boolean; readonly temperature: number };
  readonly norm: { readonly kind: "layer"; readonly eps: number };
  /** Initial value of LayerScale; undefined where there is none. */
  readonly layerScale: number | undefined;
  readonly finalNorm: "tokens" | "pooled" | "none";
  readonly pool: "token" | "avg" | "max";
  readonly representation: number;
  readonly classes: number;
  readonly dropout: { readonly position: number; readonly attention: number; readonly projection: number; readonly path: number };
  /** Requested outputs, wildcards expanded, in the order of the computation. */
  readonly outputs: readonly string[];
  readonly preprocess: {
    readonly crop: "center" | "squash";
    readonly cropPct: number;
    readonly interpolation: "bilinear" | "bicubic" | "lanczos" | "nearest";
    readonly mean: readonly number[];
    readonly std: readonly number[];
    readonly normalize: "outside" | "inside";
  };
  readonly batch: readonly number[];
  /** In the order of preference. */
  readonly dtype: readonly DType[];
  readonly geometry: Geometry;
}

/**
 * Fills in defaults, derives geometry and checks the rules between fields.
 * @throws SpecError listing every broken rule.
 */
export function resolve(input: unknown): ResolvedSpec {
  const spec = parseSpec(input);
  const channels = spec.channels ?? 3;
  const tokens = { class: spec.tokens?.class ?? true, distillation: spec.tokens?.distillation ?? false };
  const stem = (spec.stem ?? []).map(({ channels, kernel, stride }) => ({ channels, kernel, stride: stride ?? 1 }));
  const image = pair(spec.image);
  const patch = pair(spec.patch);
  const map = stemMaps([channels, ...image], stem).at(-1)!;
  const grid: Pair = [Math.floor(map[1] / patch[0]), Math.floor(map[2] / patch[1])];
  const prefix = (tokens.class ? 1 : 0) + (tokens.distillation ? 1 : 0);
  const headDim = spec.headDim ?? spec.dim / spec.heads;
  const classes = spec.classes ?? 1000;
  const representation = spec.representation ?? 0;
  const resolved: ResolvedSpec = {
    name: spec.name,
    labels: spec.labels ?? [],
    image,
    patch,
    channels,
    stem,
    patchNorm: spec.patchNorm ?? false,
    patchBias: spec.patchBias ?? true,
    dim: spec.dim,
    depth: spec.depth,
    heads: spec.heads,
    headDim,
    mlp: { hidden: spec.mlp?.hidden ?? Math.trunc(spec.dim * (spec.mlp?.ratio ?? 4)), activation: spec.mlp?.activation ?? "gelu", bias: spec.mlp?.bias ?? true },
    attention: { qkvBias: spec.attention?.qkvBias ?? true, scale: spec.attention?.scale ?? headDim ** -0.5, projBias: spec.attention?.projBias ?? true },
    tokens,
    position: { kind: spec.position?.kind ?? "learned", prefix: spec.position?.prefix ?? true, temperature: spec.position?.temperature ?? 10000 },
    norm: { kind: "layer", eps: spec.norm?.eps ?? 1e-6 },
    layerScale: spec.layerScale,
    finalNorm: spec.finalNorm ?? "tokens",
    pool: spec.pool ?? "token",
    representation,
    classes,
    dropout: {
      position: spec.dropout?.position ?? 0,
      attention: spec.dropout?.attention ?? 0,
      projection: spec.dropout?.projection ?? 0,
      path: spec.dropout?.path ?? 0,
    },
    outputs: expandOutputs(spec.outputs ?? [], spec.depth),
    preprocess: {
      crop: spec.preprocess?.crop ?? "center",
      cropPct: spec.preprocess?.cropPct ?? 0.9,
      interpolation: spec.preprocess?.interpolation ?? "bicubic",
      mean: perChannel(spec.preprocess?.mean ?? 0.5, channels),
      std: perChannel(spec.preprocess?.std ?? 0.5, channels),
      normalize: spec.preprocess?.normalize ?? "outside",
    },
    batch: typeof spec.batch === "number" ? [spec.batch] : (spec.batch ?? [1]),
    dtype: typeof spec.dtype === "string" ? [spec.dtype] : (spec.dtype ?? ["f32"]),
    geometry: { map, grid, patches: grid[0] * grid[1], prefix, tokens: prefix + grid[0] * grid[1], features: representation || spec.dim },
  };
  const issues = checkRules(resolved, spec);
  if (issues.length > 0) throw new SpecError(issues);
  return resolved;
}

const pair = (size: Size): Pair => (typeof size === "number" ? [size, size] : [size[0], size[1]]);

const perChannel = (value: number | readonly number[], channels: number): readonly number[] =>
  typeof value === "number" ? Array.from({ length: channels }, () => value) : value;
