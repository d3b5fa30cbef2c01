/** The variants of a sweep, made one at a time: tens of thousands are a number and a way to make the one at an index. */
import { createHash } from "node:crypto";
import { specByName } from "../families/index.js";
import { resolve, type ResolvedSpec } from "../spec/resolve.js";
import type { ViTSpec } from "../spec/types.js";
import { generator } from "../measure/statistics.js";
import type { AxesSweep, ModelsSweep, Sweep } from "./define.js";
import type { Cell } from "./row.js";

/** A variant before it is resolved. */
export interface Variant {
  /** Its place among all combinations, by which shards are cut. */
  readonly index: number;
  readonly name: string;
  /** Its value on every axis. */
  readonly axes: Readonly<Record<string, Cell>>;
  /** What throws says why there is no such variant. */
  spec(): ViTSpec;
}

/** One of `of` parts, from 1 on. */
export interface Shard {
  readonly part: number;
  readonly of: number;
}

export interface Variants {
  /** Names of the axes, in their order. */
  readonly axes: readonly string[];
  /** Of this shard, before `where`. */
  readonly count: number;
  at(position: number): Variant;
}

/** The variants of a sweep or of one shard of it, which takes every `of`-th: the same on every machine. */
export function variantsOf(sweep: Sweep, shard: Shard = { part: 1, of: 1 }): Variants {
  const all = "models" in sweep ? listed(sweep) : combined(sweep);
  const { part, of } = shard;
  return { axes: all.axes, count: Math.max(0, Math.ceil((all.count - (part - 1)) / of)), at: (position) => all.at(position * of + part - 1) };
}

function listed({ models }: ModelsSweep): Variants {
  return {
    axes: [],
    count: models.length,
    at(index) {
      const model = models[index]!;
      const name: unknown = typeof model === "string" ? model : model.name;
      return { index, name: typeof name === "string" ? name : `models[${index}]`, axes: {}, spec: () => (typeof model === "string" ? specByName(model).spec : model) };
    },
  };
}

function combined({ base, axes, derive = {}, sample }: AxesSweep): Variants {
  const entries = Object.entries(axes) as [string, readonly unknown[]][];
  const total = entries.reduce((product, [, values]) => product * values.length, 1);
  const drawn = sample && sample.random < total ? draw(total, sample.random, sample.seed ?? 0) : undefined;
  return {
    axes: entries.map(([path]) => path),
    count: drawn?.length ?? total,
    at(position) {
      const index = drawn?.[position] ?? position;
      // The last axis turns fastest, as the loops would that one writes by hand.
      let rest = index;
      const values = entries.toReversed().map(([path, list]): readonly [string, unknown] => {
        const value = list[rest % list.length];
        rest = Math.floor(rest / list.length);
        return [path, value];
      }).toReversed();
      const name = fitName([base.name, ...values.map(([path, value]) => `${path.split(".").at(-1)!}${nameOf(value)}`)].join("-"));
      return {
        index: position,
        name,
        axes: Object.fromEntries(values.map(([path, value]) => [path, cellOf(value)])),
        spec() {
          const varied = values.reduce((spec, [path, value]) => withField(spec, path, value), { ...base, name });
          return Object.entries(derive).reduce((spec, [path, rule]) => withField(spec, path, rule(spec)), varied);
        },
      };
    },
  };
}

/** Distinct numbers below `total`, in ascending order, so that a table of a sample reads like one of all. */
function draw(total: number, count: number, seed: number): readonly number[] {
  const random = generator(seed);
  const drawn = new Set<number>();
  // Two draws make a number of 53 bits, for products of axes go beyond 2^32.
  const next = (): number => Math.floor(((Math.floor(random() * 2 ** 21) + random()) / 2 ** 21) * total);
  // Where most are wanted, the few that are not are drawn instead.
  const few = Math.min(count, total - count);
  while (drawn.size < few) drawn.add(next());
  return few === count ? [...drawn].sort((a, b) => a - b) : Array.from({ length: total }, (_, i) => i).filter((i) => !drawn.has(i));
}

/** A spec with another value at a path. */
function withField<T extends object>(spec: T, path: string, value: unknown): T {
  const [key, ...rest] = path.split(".") as [string, ...string[]];
  const below: unknown = Reflect.get(spec, key);
  return { ...spec, [key]: rest.length === 0 ? value : withField(typeof below === "object" && below !== null ? below : {}, rest.join("."), value) };
}

/** A value of an axis as it stands in a row. */
export function cellOf(value: unknown): Cell {
  if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") return value;
  if (Array.isArray(value) && value.length > 0 && value.every((side) => typeof side === "number" || typeof side === "string")) return value.join("x");
  return value === undefined || value === null ? null : JSON.stringify(value);
}

/** Values of each axis, as they stand in rows. */
export const axisCells = (sweep: Sweep): ReadonlyMap<string, readonly Cell[]> => new Map("models" in sweep ? [] : Object.entries(sweep.axes).map(([path, values]) => [path, values.map(cellOf)] as const));

/** A value as a part of a name: letters, digits, dots, dashes and underscores. A long one is told from others by a hash. */
function nameOf(value: unknown): string {
  const text = String(cellOf(value));
  return /^[\w.-]{1,24}$/.test(text) ? text : `.${hashOf(text).slice(0, 6)}`;
}

/** As long as a spec's name may be. */
const fitName = (name: string): string => (name.length <= longestName ? name : `${name.slice(0, longestName - 9)}.${hashOf(name).slice(0, 8)}`);
const longestName = 100;

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** A variant with every default filled in, for the one batch size and dtype that it is measured with: the first of its spec's. */
export function resolveVariant(spec: ViTSpec): ResolvedSpec {
  const resolved = resolve(spec);
  return { ...resolved, batch: resolved.batch.slice(0, 1), dtype: resolved.dtype.slice(0, 1) };
}

/** Tells variants apart, whatever sweep they are of. */
export const specHash = (spec: ResolvedSpec): string => hashOf(JSON.stringify(spec));
