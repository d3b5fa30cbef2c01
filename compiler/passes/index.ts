import type { Graph } from "../ir/graph.js";
import { verify } from "../ir/verify.js";
import { foldBatchNorm } from "./fold-batch-norm.js";
import { fuseAttention } from "./fuse-attention.js";
import { fuseActivation, fuseResidual } from "./fuse-epilogue.js";
import { fuseEmbed, fuseMean, fusePool, lowerSums, narrowNorm } from "./fuse-tokens.js";
import { inference } from "./inference.js";
import { lowerProducts } from "./lower-products.js";
import type { Pass, PassEvent } from "./pass.js";

/** The passes in their order. Each line says why it stands where it stands. */
export const passes: readonly Pass[] = [
  inference, //       first: nothing below has to see through a dropout
  foldBatchNorm, //   while convolutions are still convolutions
  lowerProducts, //   from here on every matrix product is a gemm
  fuseAttention, //   needs nothing but the primitives
  fuseActivation, //  before residuals: the epilogue applies the activation first
  fuseEmbed, //       before residuals, so that adding a position table is not taken for one
  fuseMean, //        before residuals, which would take its sum and leave the factor alone
  fuseResidual,
  narrowNorm, //      after all readers of the last norm have their final form
  fusePool,
  lowerSums, //       last: what no fusion took
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
