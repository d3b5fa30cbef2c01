import type { Graph } from "../ir/graph.js";
import { verify } from "../ir/verify.js";
import { foldBatchNorm } from "./fold-batch-norm.js";
import { foldNorm } from "./fold-norm.js";
import { foldPixels } from "./fold-pixels.js";
import { foldLayerScale, foldSoftmaxScale } from "./fold-scales.js";
import { fuseAttention } from "./fuse-attention.js";
import { foldEmbed, fuseEmbed } from "./fuse-embed.js";
import { fuseActivation, fuseResidual } from "./fuse-epilogue.js";
import { fuseMean, fusePool, fuseTokenNorm, lowerSums } from "./fuse-tokens.js";
import { inference } from "./inference.js";
import { lowerProducts } from "./lower-products.js";
import { narrowNorm, narrowTail } from "./narrow-tail.js";
import { packGates } from "./pack-gates.js";
import type { Pass, PassEvent } from "./pass.js";
import { splitSums } from "./split-sums.js";

/** The passes in their order. Each line says why it stands where it stands. */
export const passes: readonly Pass[] = [
  inference, //         first: nothing below has to see through a dropout
  foldBatchNorm, //     while convolutions are still convolutions
  foldPixels, //        after batch norms, which want a convolution without a bias
  packGates, //         while linear layers still are, and before products take in the gate's activation
  lowerProducts, //     from here on every matrix product is a gemm
  fuseAttention, //     needs nothing but the primitives
  splitSums, //         before scales and residuals, which take single products
  foldLayerScale, //    before residuals, which would end the product it scales
  fuseActivation, //    before residuals: the epilogue applies the activation first
  fuseEmbed, //         before residuals, so that adding a position table is not taken for one
  foldEmbed, //         takes what the pass before it put together
  fuseMean, //          before residuals, which would take its sum and leave the factor alone
  fuseResidual,
  narrowNorm, //        so that the tail ends in single tokens
  narrowTail, //        after all nodes have their final form, and before norms and scales disappear in weights that it would cut
  foldNorm, //          after the tail, whose norms are those of single tokens
  foldSoftmaxScale, //  after the tail, whose queries have a product of their own, and after norms: a shift is cheaper to scale than its weight
  fuseTokenNorm, //     of the norms that no product took
  fusePool,
  lowerSums, //         last: what no fusion took
];

export interface Lowered {
  readonly graph: Graph;
  readonly events: readonly PassEvent[];
}

/** Runs passes over a graph, verifying it after each. `observe` sees the graph after every pass. */
export function runPasses(graph: Graph, list: readonly Pass[] = passes, observe?: (pass: Pass, graph: Graph) => void): Lowered {
  const events: PassEvent[] = [];
  let current = graph;
  verify(current, "build");
  for (const pass of list) {
    const before = current;
    current = pass.run(current, (node, fired, reason) => events.push({ pass: pass.name, node, fired, reason }));
    // A pass that finds nothing returns the graph it was given, which is verified.
    if (current !== before) verify(current, pass.name);
    observe?.(pass, current);
  }
  return { graph: current, events };
}
