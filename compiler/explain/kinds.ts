import type { Node } from "../ir/graph.js";
import type { DispatchKind } from "./report.js";

/** What the dispatches of a node mostly do. */
export function kindOf(node: Node): DispatchKind {
  switch (node.op) {
    case "gemm":
      return node.attrs.source.kind === "rows" ? "matmul" : "convolution";
    case "attention":
    case "differentialAttention":
    case "attentionMap":
    case "prepareHeads":
      return "attention";
    case "embed":
      return node.op;
    case "layerNorm":
    case "rmsNorm":
    case "tokenNorm":
    case "l2Normalize":
    case "normalizeChannels":
      return "norm";
    case "poolTokens":
    case "token":
    case "sliceTokens":
      return "pool";
    default:
      return "sum";
  }
}
