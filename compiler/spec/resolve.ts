import { SpecError } from "./errors.js";
import { stemMaps, type Geometry, type Pair } from "./geometry.js";
import { expandOutputs } from "./outputs.js";
import { parseSpec } from "./parse.js";
import { checkRules } from "./rules.js";
import type { Activation, DType, PatchResampleSpec, PreprocessSpec, RelativeResampleSpec, ResampleSpec, Size } from "./types.js";

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
  readonly patchResample: ResolvedPatchResample | undefined;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly headDim: number;
  readonly mlp: { readonly hidden: number; readonly activation: Activation; readonly gate: "none" | "split" | "packed" | "packedLast"; readonly norm: boolean; readonly bias: boolean };
  readonly attention: {
    readonly qkvBias: boolean | "qv";
    readonly scale: number;
    readonly projBias: boolean;
    readonly qkNorm: boolean;
    readonly norm: boolean;
    readonly gate: boolean;
    readonly relative: boolean;
    readonly relativeResample: ResolvedRelativeResample | undefined;
    readonly differential: boolean;
  };
  readonly tokens: { readonly class: boolean; readonly distillation: boolean; readonly registers: number };
  readonly position: { readonly kind: "learned" | "sincos2d" | "sincos1d" | "none"; readonly prefix: boolean; readonly temperature: number; readonly resample: ResolvedResample | undefined };
  readonly rope: ResolvedRope | undefined;
  readonly norm: { readonly kind: "layer" | "rms"; readonly eps: number };
  readonly preNorm: boolean;
  readonly block: "pre" | "post" | "parallel" | "parallelThings";
  /** Initial value of LayerScale; undefined where there is none. */
  readonly layerScale: number | undefined;
  readonly finalNorm: "tokens" | "pooled" | "none";
  readonly pool: "token" | "avg" | "max" | "avgmax" | "tokenavg" | "map" | "none";
  readonly poolPrefix: boolean;
  readonly mapPool: { readonly heads: number; readonly hidden: number };
  readonly representation: number;
  readonly classes: number;
  readonly headBias: boolean;
  readonly dropout: { readonly position: number; readonly attention: number; readonly projection: number; readonly path: number };
  /** Requested outputs, wildcards expanded, in the order of the computation. */
  readonly outputs: readonly string[];
  readonly outputNames: Readonly<Record<string, string>>;
  readonly preprocess: {
    readonly crop: "center" | "squash" | "border";
    /** The size before the crop, whether the spec says it by `resize` or by `cropPct`. */
    readonly resize: Pair | "none";
    readonly cropOffset: "round" | "floor";
    readonly interpolation: "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";
    readonly rescale: "after" | "before";
    readonly rescaleFactor: number;
    readonly mean: readonly number[];
    readonly std: readonly number[];
    readonly normalize: "outside" | "inside";
  };
  readonly batch: readonly number[];
  /** In the order of preference. */
  readonly dtype: readonly DType[];
  readonly geometry: Geometry;
}

/** How the weight file's table of positions becomes the model's. */
export interface ResolvedResample {
  /** Its grid. */
  readonly from: Pair;
  readonly filter: "bilinear" | "bicubic";
  readonly antialias: boolean;
  readonly corners: boolean;
  readonly offset: number;
}

/** How the weight file's tables of relative positions become the model's. */
export interface ResolvedRelativeResample {
  /** Their grid. */
  readonly from: Pair;
  readonly filter: "geometric" | "bilinear";
}

/** How the weight file's patch embedding becomes the model's. */
export interface ResolvedPatchResample {
  /** Its patch. */
  readonly from: Pair;
  readonly filter: "bilinear" | "bicubic";
  readonly antialias: boolean;
}

/** Rotary positions with defaults filled in. */
export interface ResolvedRope {
  readonly kind: "axial" | "mixed" | "dinov3";
  readonly temperature: number;
  readonly order: "ij" | "xy";
  /** The grid whose coordinates are used; the model's own unless the spec says another. */
  readonly reference: Pair;
  readonly offset: number;
}

/**
 * Fills in defaults, derives geometry and checks the rules between fields.
 * @throws SpecError listing every broken rule.
 */
export function resolve(input: unknown): ResolvedSpec {
  const spec = parseSpec(input);
  const channels = spec.channels ?? 3;
  const tokens = { class: spec.tokens?.class ?? true, distillation: spec.tokens?.distillation ?? false, registers: spec.tokens?.registers ?? 0 };
  const stem = (spec.stem ?? []).map(({ channels, kernel, stride }) => ({ channels, kernel, stride: stride ?? 1 }));
  const image = pair(spec.image);
  const patch = pair(spec.patch);
  const map = stemMaps([channels, ...image], stem).at(-1)!;
  const grid: Pair = [Math.floor(map[1] / patch[0]), Math.floor(map[2] / patch[1])];
  const prefix = (tokens.class ? 1 : 0) + (tokens.distillation ? 1 : 0) + tokens.registers;
  const headDim = spec.headDim ?? spec.dim / spec.heads;
  const pool = spec.pool ?? "token";
  const classes = spec.classes ?? (pool === "none" ? 0 : 1000);
  const hidden = spec.mlp?.hidden ?? Math.trunc(spec.dim * (spec.mlp?.ratio ?? 4));
  const gate = spec.mlp?.gate ?? "none";
  const differential = spec.attention?.differential ?? false;
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
    patchResample: patchResampleOf(spec.patchResample, patch),
    dim: spec.dim,
    depth: spec.depth,
    heads: spec.heads,
    headDim,
    mlp: {
      hidden,
      activation: spec.mlp?.activation ?? (gate === "none" ? "gelu" : "silu"),
      gate,
      norm: spec.mlp?.norm ?? false,
      bias: spec.mlp?.bias ?? true,
    },
    attention: {
      qkvBias: spec.attention?.qkvBias ?? true,
      // The heads of differential attention are two, each half as wide.
      scale: spec.attention?.scale ?? (differential ? headDim / 2 : headDim) ** -0.5,
      projBias: spec.attention?.projBias ?? true,
      qkNorm: spec.attention?.qkNorm ?? false,
      norm: spec.attention?.norm ?? false,
      gate: spec.attention?.gate ?? false,
      relative: spec.attention?.relative ?? false,
      relativeResample: relativeResampleOf(spec.attention?.relativeResample, grid),
      differential,
    },
    tokens,
    position: { kind: spec.position?.kind ?? "learned", prefix: spec.position?.prefix ?? true, temperature: spec.position?.temperature ?? 10000, resample: resampleOf(spec.position?.resample, grid) },
    rope: spec.rope && {
      kind: spec.rope.kind,
      temperature: spec.rope.temperature ?? (spec.rope.kind === "dinov3" ? 100 : 10000),
      order: spec.rope.order ?? "ij",
      reference: spec.rope.reference === undefined ? grid : pair(spec.rope.reference),
      offset: spec.rope.offset ?? 0,
    },
    norm: { kind: spec.norm?.kind ?? "layer", eps: spec.norm?.eps ?? 1e-6 },
    preNorm: spec.preNorm ?? false,
    block: spec.block ?? "pre",
    layerScale: spec.layerScale,
    finalNorm: spec.finalNorm ?? "tokens",
    pool,
    poolPrefix: spec.poolPrefix ?? false,
    mapPool: { heads: spec.mapPool?.heads ?? spec.heads, hidden: spec.mapPool?.hidden ?? hidden },
    representation,
    classes,
    headBias: spec.headBias ?? true,
    dropout: {
      position: spec.dropout?.position ?? 0,
      attention: spec.dropout?.attention ?? 0,
      projection: spec.dropout?.projection ?? 0,
      path: spec.dropout?.path ?? 0,
    },
    outputs: expandOutputs(spec.outputs ?? [], { depth: spec.depth, block: spec.block ?? "pre" }),
    outputNames: spec.outputNames ?? {},
    preprocess: {
      crop: spec.preprocess?.crop ?? "center",
      resize: resizeOf(spec.preprocess ?? {}, image),
      cropOffset: spec.preprocess?.cropOffset ?? "round",
      interpolation: spec.preprocess?.interpolation ?? "bicubic",
      rescale: spec.preprocess?.rescale ?? "after",
      rescaleFactor: spec.preprocess?.rescaleFactor ?? 1 / 255,
      mean: perChannel(spec.preprocess?.mean ?? 0.5, channels),
      std: perChannel(spec.preprocess?.std ?? 0.5, channels),
      normalize: spec.preprocess?.normalize ?? "outside",
    },
    batch: typeof spec.batch === "number" ? [spec.batch] : (spec.batch ?? [1]),
    dtype: typeof spec.dtype === "string" ? [spec.dtype] : (spec.dtype ?? ["f32"]),
    geometry: { map, grid, patches: grid[0] * grid[1], prefix, tokens: prefix + grid[0] * grid[1], features: representation || (pool === "tokenavg" ? 2 : 1) * spec.dim },
  };
  const issues = checkRules(resolved, spec);
  if (issues.length > 0) throw new SpecError(issues);
  return resolved;
}

/** A rule with nothing to do is none. */
function resampleOf(written: ResampleSpec | undefined, grid: Pair): ResolvedResample | undefined {
  if (written?.grid === undefined) return undefined;
  const { filter = "bicubic", corners = false, antialias = !corners, offset = 0 } = written;
  const from = pair(written.grid);
  return same(from, grid) && offset === 0 ? undefined : { from, filter, antialias, corners, offset };
}

function relativeResampleOf(written: RelativeResampleSpec | undefined, grid: Pair): ResolvedRelativeResample | undefined {
  const from = pair(written?.grid ?? grid);
  return same(from, grid) ? undefined : { from, filter: written?.filter ?? "geometric" };
}

function patchResampleOf(written: PatchResampleSpec | undefined, patch: Pair): ResolvedPatchResample | undefined {
  const from = pair(written?.patch ?? patch);
  return same(from, patch) ? undefined : { from, filter: written?.filter ?? "bicubic", antialias: written?.antialias ?? true };
}

const same = (a: Pair, b: Pair): boolean => a[0] === b[0] && a[1] === b[1];

const pair = (size: Size): Pair => (typeof size === "number" ? [size, size] : [size[0], size[1]]);

/** The size before the crop: timm's floor(size / crop_pct), unless the spec says another. */
function resizeOf({ resize, cropPct = 0.9 }: PreprocessSpec, image: Pair): Pair | "none" {
  if (resize === undefined) return [Math.floor(image[0] / cropPct), Math.floor(image[1] / cropPct)];
  return resize === "none" ? resize : pair(resize);
}

const perChannel = (value: number | readonly number[], channels: number): readonly number[] =>
  typeof value === "number" ? Array.from({ length: channels }, () => value) : value;
