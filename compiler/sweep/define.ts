import { parseSpec } from "../spec/parse.js";
import { nearest, show, SpecError, type SpecIssue } from "../spec/errors.js";
import type { ViTSpec } from "../spec/types.js";
import { specByName } from "../families/index.js";
import type { WeightsInput } from "../../runtime/weights.js";
import type { SweepModel } from "./model.js";

type Fields<T> = { readonly [Key in keyof T & string]-?: NonNullable<T[Key]> };
type IsRecord<T> = T extends readonly unknown[] ? false : T extends object ? true : false;

/** Paths of the fields below `T`: `depth`, `mlp.ratio`, `position.resample.filter`. */
type PathOf<T> = { readonly [Key in keyof Fields<T> & string]: true extends IsRecord<Fields<T>[Key]> ? `${Key}.${PathOf<Extract<Fields<T>[Key], object>>}` : Key }[keyof Fields<T> & string];

/** What stands at a path. */
type At<T, Path extends string> = Path extends `${infer Key}.${infer Rest}` ? (Key extends keyof T ? At<Extract<NonNullable<T[Key]>, object>, Rest> : never) : Path extends keyof T ? Exclude<T[Path], undefined> : never;

/** A field of a spec that a sweep can vary, by its path. Names are made by the sweep, and names of outputs and classes are no numbers. */
export type FieldPath = Exclude<PathOf<Omit<ViTSpec, "name" | "labels" | "outputNames">>, never>;

/** The type of the field at a path. */
export type FieldValue<Path extends FieldPath> = At<ViTSpec, Path>;

/** Values of fields, each by its path. */
export type Axes = { readonly [Path in FieldPath]?: readonly FieldValue<Path>[] };

/** Fields that follow from others. Each sees those that stand before it. */
export type Derived = { readonly [Path in FieldPath]?: (spec: ViTSpec) => FieldValue<Path> };

/** What a constraint may ask of a variant besides its spec. Units as in rows. What needs a plan is worked out when it is asked for. */
export interface StaticColumns {
  readonly tokens: number;
  readonly params: number;
  readonly params_m: number;
  readonly weights_mb: number;
  readonly weights_mb_f32: number;
  readonly weights_mb_f16: number;
  readonly gmacs: number;
  readonly gflops: number;
  readonly attention_share: number;
  readonly activation_mb: number;
  readonly moved_mb: number;
  readonly dispatches: number;
}

interface Common {
  /** Variants that are wanted; those that it is false for have no row. */
  readonly where?: ((spec: ViTSpec, columns: StaticColumns) => boolean) | undefined;
  /** A number for a loaded model, its accuracy on data of yours for example. Needs `weights`, unless random ones will do. */
  readonly metric?: ((model: SweepModel, spec: ViTSpec) => number | Promise<number>) | undefined;
  /** The weight file of a variant. Default: random weights, which are as fast as any. */
  readonly weights?: ((spec: ViTSpec) => WeightsInput | undefined) | undefined;
}

/** Variants of one spec: all combinations of the values of its axes, or some drawn by chance. */
export interface AxesSweep extends Common {
  /** What all variants have in common. */
  readonly base: ViTSpec;
  readonly axes: Axes;
  readonly derive?: Derived | undefined;
  /** So many of all combinations, drawn without putting back, before `where`. The same seed (default 0) draws the same. */
  readonly sample?: { readonly random: number; readonly seed?: number | undefined } | undefined;
}

/** Models to compare as they are: specs, or names such as `timm:vit_base_patch16_224`. */
export interface ModelsSweep extends Common {
  readonly models: readonly (ViTSpec | string)[];
}

export type Sweep = AxesSweep | ModelsSweep;

/** More than anybody waits for; a sample of them says as much. */
export const mostVariants = 1_000_000;

/** Whether something that a module exports is a sweep and no spec. */
export const isSweep = (value: unknown): value is Sweep => typeof value === "object" && value !== null && (Object.hasOwn(value, "axes") || Object.hasOwn(value, "models"));

/**
 * Declares a sweep. Returns it as written, checked as far as no variant is needed for it: one that is refused is a row with its reason.
 * @throws SpecError for a field that is none, with the nearest that is one
 */
export function defineSweep(sweep: Sweep): Sweep {
  const issues = "models" in sweep ? checkModels(sweep) : checkAxes(sweep);
  for (const field of ["where", "metric", "weights"] as const) if (sweep[field] !== undefined && typeof sweep[field] !== "function") issues.push({ field, message: `is ${show(sweep[field])}; it is a function` });
  if (issues.length > 0) throw new SpecError(issues);
  return sweep;
}

function checkModels({ models, ...rest }: ModelsSweep): SpecIssue[] {
  const both = ["base", "axes", "derive", "sample"].filter((field) => Object.hasOwn(rest, field));
  if (both.length > 0) return [{ field: "models", message: `stands beside ${both.join(", ")}; models are taken as they are: leave one of both out` }];
  if (!Array.isArray(models) || models.length === 0) return [{ field: "models", message: `is ${show(models)}; it is a list of specs and names, ["timm:vit_tiny_patch16_224"] for example` }];
  const wrong = models.flatMap((model: unknown, i) => (typeof model === "string" || (typeof model === "object" && model !== null) ? [] : [{ field: `models[${i}]`, message: `is ${show(model)}; a model is a spec, or a name such as "timm:vit_tiny_patch16_224"` }]));
  if (wrong.length > 0) return wrong;
  // A name that there is no model of is a row with its reason, beside what can be compared.
  const refused = models.map((model, i): SpecIssue[] => (typeof model === "string" ? issuesOf(model).map(({ field, message }) => ({ field: `models[${i}]`, message: `${field}: ${message}` })) : []));
  return refused.every((issues) => issues.length > 0) ? refused.flat() : [];
}

function issuesOf(name: string): readonly SpecIssue[] {
  try {
    specByName(name);
    return [];
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return error.issues;
  }
}

function checkAxes({ base, axes, derive = {}, sample }: AxesSweep): SpecIssue[] {
  const issues: SpecIssue[] = [];
  if (typeof axes !== "object" || axes === null || Array.isArray(axes) || Object.keys(axes).length === 0) return [{ field: "axes", message: `is ${show(axes)}; it has the values of one field at least: { depth: [6, 12] }` }];
  try {
    parseSpec(base);
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    issues.push(...error.issues.map(({ field, message }) => ({ field: `base.${field}`, message })));
  }
  for (const [path, values] of Object.entries(axes) as [string, unknown][]) {
    issues.push(...checkPath("axes", path));
    if (!Array.isArray(values) || values.length === 0) issues.push({ field: `axes.${path}`, message: `is ${show(values)}; it is a list of values, of one at least` });
    else if (new Set(values.map((value) => JSON.stringify(value))).size < values.length) issues.push({ field: `axes.${path}`, message: `${show(values)} has a value twice` });
  }
  for (const [path, rule] of Object.entries(derive) as [string, unknown][]) {
    issues.push(...checkPath("derive", path));
    if (typeof rule !== "function") issues.push({ field: `derive.${path}`, message: `is ${show(rule)}; it is a function of the spec: (spec) => spec.dim / 64` });
    if (Object.hasOwn(axes, path)) issues.push({ field: `derive.${path}`, message: "is an axis too; a field is one or the other" });
  }
  if (sample !== undefined && !(Number.isSafeInteger(sample.random) && sample.random >= 1 && sample.random <= mostVariants)) issues.push({ field: "sample.random", message: `is ${show(sample.random)}; it is a whole number from 1 to ${mostVariants}` });
  if (sample?.seed !== undefined && !Number.isSafeInteger(sample.seed)) issues.push({ field: "sample.seed", message: `is ${show(sample.seed)}; it is a whole number` });
  if (issues.length === 0 && sample === undefined) {
    const count = Object.values(axes).reduce((product, values) => product * values.length, 1);
    if (count > mostVariants) issues.push({ field: "axes", message: `have ${count.toExponential(1)} combinations, and a sweep at most ${mostVariants}; draw some of them: sample: { random: 1000 }` });
  }
  return issues;
}

/** Fields that a path may begin with. A test holds them to the schema; what stands below one is checked when a variant is made. */
export const sweptFields: readonly string[] = [
  ...["image", "patch", "patchRemainder", "channels", "stem", "patchNorm", "patchBias", "patchResample", "dim", "depth", "heads", "headDim", "mlp", "attention", "tokens", "position", "rope", "norm", "preNorm", "block", "layerScale"],
  ...["finalNorm", "pool", "poolPrefix", "mapPool", "representation", "classes", "headBias", "dropout", "outputs", "preprocess", "batch", "dtype"],
];

function checkPath(where: string, path: string): SpecIssue[] {
  const first = path.split(".")[0]!;
  if (sweptFields.includes(first) && /^\w+(\.\w+){0,2}$/.test(path)) return [];
  const near = nearest(first, sweptFields);
  return [{ field: `${where}.${path}`, message: `is no field of a spec that can be swept${near === undefined ? `; those are ${sweptFields.join(", ")}` : `; did you mean ${near}${path.slice(first.length)}?`}` }];
}
