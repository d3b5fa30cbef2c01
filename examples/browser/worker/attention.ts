/** Attention of one photograph, as shares of patches. */
import { attentionRollout, type Tensor } from "vitc/runtime";
import type { AttentionMap, AttentionSeen, AttentionView, Grid } from "../messages.js";
import type { PackageSpec } from "./packages.js";

/** What is seen of no attention. */
export const nothingSeen: AttentionSeen = { weights: new Float32Array(0), elsewhere: 0, whose: "patch" };

/** The attention maps among a model's outputs, by block. */
export function mapsAmong(outputs: Readonly<Record<string, Tensor>>): readonly AttentionMap[] {
  return Object.entries(outputs).flatMap(([output, { shape }]) => {
    const block = /^blocks\.(\d+)\.attn$/.exec(output)?.[1];
    return block === undefined ? [] : [{ output, block: Number(block), heads: shape[1]! }];
  });
}

/**
 * How the patches lie, as many of them as there are tokens behind the prefix: of all ways to lay them out the one that is nearest to the
 * image's own shape.
 */
export function gridOf(tokens: number, { image: [height, width], tokens: kinds }: PackageSpec): { readonly grid: Grid; readonly prefix: number } {
  const prefix = (kinds.class ? 1 : 0) + (kinds.distillation ? 1 : 0) + kinds.registers;
  const patches = tokens - prefix;
  const ways = Array.from({ length: patches }, (_, i) => i + 1).filter((rows) => patches % rows === 0);
  const off = (rows: number): number => Math.abs(Math.log((rows * rows * width) / (patches * height)));
  const rows = ways.reduce((best, way) => (off(way) < off(best) ? way : best));
  return { grid: { rows, columns: patches / rows }, prefix };
}

/** What one photograph's tokens took from each other. */
export class Attention {
  readonly grid: Grid;
  private readonly prefix: number;
  private readonly tokens: number;
  private readonly classToken: boolean;
  private joined: Tensor | undefined;

  /** @param maps [1, heads, queries, keys], in the order of their blocks; at least one */
  constructor(private readonly maps: ReadonlyMap<number, Tensor>, spec: PackageSpec) {
    this.tokens = [...maps.values()][0]!.shape[2]!;
    this.classToken = spec.tokens.class;
    ({ grid: this.grid, prefix: this.prefix } = gridOf(this.tokens, spec));
  }

  /** The shares of each patch in what a token took: a patch, or the class token, or the patches on average. */
  seen({ of, patch }: AttentionView): AttentionSeen {
    if (of === "nothing") return nothingSeen;
    const row = of === "rollout" ? this.rowOf(this.rollout(), 0, patch) : this.blockRow(of, patch);
    if (row === undefined) return nothingSeen;
    const elsewhere = row.subarray(0, this.prefix).reduce((sum, share) => sum + share, 0);
    return { weights: Float32Array.from(row.subarray(this.prefix)), elsewhere, whose: patch !== undefined ? "patch" : this.classToken ? "class token" : "all patches" };
  }

  private blockRow({ block, head }: { readonly block: number; readonly head: number | "mean" }, patch: number | undefined): Float64Array | undefined {
    const map = this.maps.get(block);
    if (map === undefined) return undefined;
    if (head !== "mean") return this.rowOf(map, head, patch);
    const heads = map.shape[1]!;
    const sum = new Float64Array(this.tokens);
    for (let each = 0; each < heads; each++) this.rowOf(map, each, patch).forEach((share, i) => (sum[i]! += share / heads));
    return sum;
  }

  /** A row of the nth matrix [tokens, tokens]. */
  private rowOf(matrices: Float32Array, nth: number, patch: number | undefined): Float64Array {
    const { tokens, prefix } = this;
    const row = (query: number): Float64Array => Float64Array.from(matrices.subarray((nth * tokens + query) * tokens, (nth * tokens + query + 1) * tokens));
    if (patch !== undefined) return row(prefix + patch);
    if (this.classToken) return row(0);
    const mean = new Float64Array(tokens);
    for (let query = prefix; query < tokens; query++) row(query).forEach((share, i) => (mean[i]! += share / (tokens - prefix)));
    return mean;
  }

  private rollout(): Tensor {
    this.joined ??= attentionRollout([...this.maps.values()]);
    return this.joined;
  }
}
