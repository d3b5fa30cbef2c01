import { batchNorm, conv2d, mapToTokens, normalizeChannels, tokensToMap } from "./conv.js";
import { foldBatchNormScale, foldBatchNormShift, foldNormScale, foldNormShift, foldPixelScale, foldPixelShift } from "./folds.js";
import { addScale, attention, embed, gemm, poolTokens, tokenNorm } from "./fused.js";
import { linear, matmul, mergeHeads, splitHeads } from "./linear.js";
import type { Op } from "./op.js";
import { activation, add, dropout, dropPath, expand, scale, scaleLast } from "./pointwise.js";
import { layerNorm, reduce, softmax, unitVariance } from "./rows.js";
import { asTokens, concat, padTokens, sliceTokens, token } from "./tokens.js";
import { positionTable, scaleChannels, scaleRows, sliceRows, tokenTable } from "./weights.js";

/** Every op of the IR, by the name that nodes carry. */
export const ops = {
  // Primitives: each has a plain f64 `evaluate`, which is its definition.
  conv2d, batchNorm, normalizeChannels, mapToTokens, tokensToMap,
  linear, matmul, splitHeads, mergeHeads,
  layerNorm, unitVariance, softmax, reduce,
  activation, add, scale, scaleLast, dropout, dropPath, expand,
  concat, sliceTokens, padTokens, token, asTokens,
  // Primitives on weights alone: what recipes are made of.
  foldBatchNormScale, foldBatchNormShift, foldNormScale, foldNormShift, foldPixelScale, foldPixelShift,
  scaleRows, scaleChannels, sliceRows, tokenTable, positionTable,
  // Fused: each expands to primitives, which is its definition.
  gemm, attention, embed, tokenNorm, poolTokens, addScale,
} satisfies Record<string, Op<never>>;

export type OpName = keyof typeof ops;

/** The attributes of an op, read off its definition. */
export type AttrsOf<Name extends OpName> = (typeof ops)[Name] extends Op<infer Attrs> ? Attrs : never;
