import { differentialFactor, headDifference, queryValueBias, relativeBias, rotaryTable, rotate } from "./attention-parts.js";
import { batchNorm, conv2d, mapToTokens, normalizeChannels, tokensToMap } from "./conv.js";
import { foldBatchNormScale, foldBatchNormShift, foldNormScale, foldNormShift, foldPixelScale, foldPixelShift } from "./folds.js";
import { addScale, attention, embed, gemm, poolTokens, tokenNorm } from "./fused.js";
import { attentionMap, differentialAttention, gated, prepareHeads } from "./fused-parts.js";
import { linear, matmul, mergeHeads, splitHeads } from "./linear.js";
import type { Op } from "./op.js";
import { activation, add, dropout, dropPath, expand, multiply, scale, scaleLast } from "./pointwise.js";
import { resamplePatch } from "./resample-patch.js";
import { resampleRelative } from "./resample-relative.js";
import { resampleTable } from "./resample.js";
import { l2Normalize, layerNorm, reduce, rmsNorm, softmax, unitVariance } from "./rows.js";
import { asTokens, concat, padTokens, sliceLast, sliceTokens, token } from "./tokens.js";
import { concatRows, positionTable, scaleChannels, scaleRows, sliceColumns, sliceRows, tokenTable, weightLinear } from "./weights.js";

/** Every op of the IR, by the name that nodes carry. */
export const ops = {
  // Primitives: each has a plain f64 `evaluate`, which is its definition.
  conv2d, batchNorm, normalizeChannels, mapToTokens, tokensToMap,
  linear, matmul, splitHeads, mergeHeads,
  layerNorm, rmsNorm, unitVariance, l2Normalize, softmax, reduce, rotate, headDifference,
  activation, add, multiply, scale, scaleLast, dropout, dropPath, expand,
  concat, sliceTokens, sliceLast, padTokens, token, asTokens,
  // Primitives on weights alone: what recipes are made of.
  foldBatchNormScale, foldBatchNormShift, foldNormScale, foldNormShift, foldPixelScale, foldPixelShift,
  scaleRows, scaleChannels, sliceRows, sliceColumns, concatRows, weightLinear, tokenTable, positionTable, resampleTable, resampleRelative, resamplePatch,
  rotaryTable, relativeBias, queryValueBias, differentialFactor,
  // Fused: each expands to primitives, which is its definition.
  gemm, attention, differentialAttention, attentionMap, prepareHeads, gated, embed, tokenNorm, poolTokens, addScale,
} satisfies Record<string, Op<never>>;

export type OpName = keyof typeof ops;

/** The attributes of an op, read off its definition. */
export type AttrsOf<Name extends OpName> = (typeof ops)[Name] extends Op<infer Attrs> ? Attrs : never;
