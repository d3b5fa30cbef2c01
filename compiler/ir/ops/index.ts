import { batchNorm, conv2d, mapToTokens, tokensToMap } from "./conv.js";
import { addScale, attention, embed, gemm, poolTokens, tokenNorm } from "./fused.js";
import { linear, matmul, mergeHeads, splitHeads } from "./linear.js";
import type { Op } from "./op.js";
import { activation, add, dropout, dropPath, expand, scale } from "./pointwise.js";
import { layerNorm, reduce, softmax } from "./rows.js";
import { concat, sliceTokens, token } from "./tokens.js";
import { foldBatchNormScale, foldBatchNormShift, positionTable } from "./weights.js";

/** Every op of the IR, by the name that nodes carry. */
export const ops = {
  // Primitives: each has a plain f64 `evaluate`, which is its definition.
  conv2d, batchNorm, mapToTokens, tokensToMap,
  linear, matmul, splitHeads, mergeHeads,
  layerNorm, softmax, reduce,
  activation, add, scale, dropout, dropPath, expand,
  concat, sliceTokens, token,
  // Primitives on weights alone: what recipes are made of.
  foldBatchNormScale, foldBatchNormShift, positionTable,
  // Fused: each expands to primitives, which is its definition.
  gemm, attention, embed, tokenNorm, poolTokens, addScale,
} satisfies Record<string, Op<never>>;

export type OpName = keyof typeof ops;

/** The attributes of an op, read off its definition. */
export type AttrsOf<Name extends OpName> = (typeof ops)[Name] extends Op<infer Attrs> ? Attrs : never;
