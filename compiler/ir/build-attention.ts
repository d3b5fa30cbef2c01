import type { Value } from "./graph.js";
import type { ModelBuilder } from "./model-builder.js";

/** Queries, keys and values side by side [B, N, 3 heads headDim], and where the names of what belongs to them begin. */
interface Projected {
  readonly qkv: Value;
  /** `blocks.0.attn.`, or `blocks.0.` in a parallel block, which has no attention of its own. */
  readonly prefix: string;
  readonly block: number;
}

/**
 * Multi-head self-attention of x [B, N, D], in the order of timm's `Attention` and `EvaAttention`: projection, norms of queries and keys, rotary
 * positions, softmax, a norm over the heads, a gate, projection.
 */
export function attention(g: ModelBuilder, x: Value, name: string, block: number): Value {
  const { heads, headDim, dim, attention: parts, dropout } = g.spec;
  const width = heads * headDim;
  const weight = g.parameter(`${name}.qkv.weight`, [3 * width, dim]);
  const bias = qkvBias(g, name, width);
  const qkv = g.node("linear", {}, bias ? [x, weight, bias] : [x, weight], `${name}.qkv`); //         [B, N, 3 heads headDim]
  let merged = mixed(g, { qkv, prefix: `${name}.`, block }); //                                       [B, N, heads headDim]
  if (parts.norm) merged = g.norm(merged, `${name}.norm`);
  if (parts.gate) {
    const gate = g.activation(g.linear(x, `${name}.gate`, width, parts.qkvBias !== false), "sigmoid", `${name}.gate.act`);
    merged = g.node("multiply", {}, [merged, gate], `${name}.gated`);
  }
  return g.dropout(g.linear(merged, `${name}.proj`, dim, parts.projBias), dropout.projection, `${name}.proj_drop`);
}

function qkvBias(g: ModelBuilder, name: string, width: number): Value | undefined {
  const { qkvBias } = g.spec.attention;
  if (qkvBias === "qv") return g.node("queryValueBias", {}, [g.parameter(`${name}.q_bias`, [width]), g.parameter(`${name}.v_bias`, [width])], `${name}.qkv.bias`);
  return qkvBias ? g.parameter(`${name}.qkv.bias`, [3 * width]) : undefined;
}

/** What the heads make of queries, keys and values, side by side: [B, N, heads headDim]. */
export function mixed(g: ModelBuilder, { qkv, prefix, block }: Projected): Value {
  const { heads, attention: parts, dropout, rope, geometry } = g.spec;
  const table = rotaryTable(g, block);
  // Of differential attention queries and keys have twice as many heads, each half as wide.
  const [q, k] = ([0, 1] as const).map((part) => {
    const letter = "qk"[part]!;
    const split = g.node("splitHeads", { heads: parts.differential ? 2 * heads : heads, part }, [qkv], `${prefix}${letter}`);
    const normed = parts.qkNorm ? g.norm(split, `${prefix}${letter}_norm`) : split;
    return table ? g.node("rotate", { pairs: rope?.kind === "dinov3" ? "halves" : "neighbours", prefix: geometry.prefix }, [normed, table], `${prefix}${letter}_rope`) : normed;
  }) as [Value, Value];
  const v = g.node("splitHeads", { heads, part: 2 }, [qkv], `${prefix}v`); //                                 [B, heads, N, headDim]
  const scaled = g.node("scale", { factor: parts.scale }, [q], `${prefix}scale`);
  let scores = g.node("matmul", { transposeB: true }, [scaled, k], `${prefix}scores`); //                     [B, heads, N, N]
  if (parts.relative) scores = g.node("add", {}, [scores, relativeBias(g, prefix)], `${prefix}relative`);
  let weights = g.dropout(g.node("softmax", {}, [scores], `${prefix}softmax`), dropout.attention, `${prefix}attn_drop`);
  if (parts.differential) weights = g.node("headDifference", {}, [weights, differentialFactor(g, prefix, block)], `${prefix}difference`);
  g.tap(prefix.endsWith("attn.") ? prefix.slice(0, -1) : `${prefix}attn`, weights); //                        [B, heads, N, N]
  let out = g.node("matmul", { transposeB: false }, [weights, v], `${prefix}mix`); //                         [B, heads, N, headDim]
  if (parts.differential) {
    // timm's DiffAttention: a norm of each head, whatever the spec's norm is, and what the factor's initial value leaves.
    out = g.norm(out, `${prefix}sub_norm`, { kind: "rms", eps: 1e-5 });
    out = g.node("scale", { factor: 1 - initialFactor(block) }, [out], `${prefix}sub_norm.scale`);
  }
  return g.node("mergeHeads", {}, [out], `${prefix}merge`);
}

/** By what queries and keys of patches are turned, which is timm's rotary embeddings: one table for all blocks, unless each has learned its own. */
function rotaryTable(g: ModelBuilder, block: number): Value | undefined {
  const { rope, depth, heads, headDim, geometry } = g.spec;
  if (!rope) return undefined;
  const own = rope.kind === "mixed";
  const attrs = { ...rope, grid: geometry.grid, headDim, block: own ? block : 0 };
  return g.once(own ? `rope.${block}` : "rope", (name) => g.node("rotaryTable", attrs, own ? [g.once("rope.freqs", (freqs) => g.parameter(freqs, [2, depth, heads, headDim / 2]))] : [], name));
}

function relativeBias(g: ModelBuilder, prefix: string): Value {
  const { grid: [rows, columns], prefix: tokens } = g.geometry;
  const { heads, attention: { relativeResample: resample } } = g.spec;
  const name = `${prefix}relative_position_bias_table`;
  const [oldRows, oldColumns] = resample?.from ?? [rows, columns];
  let table = g.parameter(name, [(2 * oldRows - 1) * (2 * oldColumns - 1) + 3, heads]);
  // A weight file may have it for another grid.
  if (resample) table = g.node("resampleRelative", { to: [rows, columns], ...resample }, [table], `${name}.resampled`);
  return g.node("relativeBias", { grid: [rows, columns], prefix: tokens }, [table], `${prefix}relative_position_bias`);
}

/** What a block's factor of differential attention starts from; blocks count from 0, as in timm. */
const initialFactor = (block: number): number => 0.8 - 0.6 * Math.exp(-0.3 * block);

function differentialFactor(g: ModelBuilder, prefix: string, block: number): Value {
  const parameters = ["q1", "k1", "q2", "k2"].map((name) => g.parameter(`${prefix}lambda_${name}`, [g.spec.headDim / 2]));
  return g.node("differentialFactor", { initial: initialFactor(block) }, parameters, `${prefix}lambda`);
}
