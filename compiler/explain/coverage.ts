import { isWeightOp, originsOf, type Graph, type Node, type Value } from "../ir/graph.js";
import type { CoveredNode } from "./report.js";

/** The nodes of a lowered graph that become dispatches, in their order. */
export const dispatchNodes = (lowered: Graph): readonly Node[] => lowered.nodes.filter((node) => !isWeightOp(node));

/** Nothing computes these at inference. */
const absent = (node: Node): boolean => node.op === "dropout" || node.op === "dropPath";

/**
 * Which nodes of the graph as built each dispatch of the lowered graph computes, in the order of the built graph. Passes write down what
 * their nodes stand for. A node may be computed in several places, each for its own readers; what was folded into weights belongs to the
 * dispatch that reads them, and a change of layout that is gone to whoever makes its input, or reads it where that is a weight. Dropout is
 * left out, and so are nodes that only make weights.
 */
export function coverage(built: Graph, lowered: Graph): readonly (readonly CoveredNode[])[] {
  const dispatches = dispatchNodes(lowered);
  const computedBy = new Map<Value, readonly number[]>();
  dispatches.forEach((node, i) => originsOf(node).forEach((origin) => computedBy.set(origin, [...(computedBy.get(origin) ?? []), i])));
  const nodes = built.nodes.filter((node) => !isWeightOp(node));
  for (const { inputs, output } of nodes) computedBy.set(output, computedBy.get(output) ?? computedBy.get(inputs[0]!) ?? []);
  const readBy = new Map<Value, readonly number[]>();
  for (const { inputs, output } of nodes.toReversed()) {
    const own = computedBy.get(output)!;
    const places = own.length > 0 ? own : (readBy.get(output) ?? []);
    computedBy.set(output, places);
    for (const input of inputs) readBy.set(input, [...new Set([...(readBy.get(input) ?? []), ...places])]);
  }
  const covers: CoveredNode[][] = dispatches.map(() => []);
  for (const node of nodes) if (!absent(node)) for (const place of computedBy.get(node.output)!) covers[place]!.push({ name: node.name, op: node.op });
  return covers;
}
