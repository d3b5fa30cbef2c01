import { isWeightOp, type Graph, type Node, type Value } from "../ir/graph.js";
import { IrError } from "../ir/ops/op.js";

export { isWeightOp } from "../ir/graph.js";

/** Look-ups on a graph that is no longer changed. */
export interface GraphIndex {
  readonly graph: Graph;
  parameterName(value: Value): string | undefined;
  producer(value: Value): Node | undefined;
  /** Whether a value depends on parameters alone. */
  isWeight(value: Value): boolean;
  /** Position of the last node that reads a value; the number of nodes for outputs of the graph. */
  lastUse(value: Value): number;
}

export function indexGraph(graph: Graph): GraphIndex {
  const parameters = new Map(graph.parameters.map(({ name, value }) => [value, name]));
  const producers = new Map(graph.nodes.map((node) => [node.output, node]));
  const uses = new Map<Value, number>();
  graph.nodes.forEach((node, i) => node.inputs.forEach((input) => uses.set(input, i)));
  graph.outputs.forEach(({ value }) => uses.set(value, graph.nodes.length));
  return {
    graph,
    parameterName: (value) => parameters.get(value),
    producer: (value) => producers.get(value),
    isWeight(value) {
      const node = producers.get(value);
      return node ? isWeightOp(node) : parameters.has(value);
    },
    lastUse: (value) => uses.get(value) ?? -1,
  };
}

export function expectWeightOp(index: GraphIndex, value: Value): Node {
  const node = index.producer(value);
  if (!node || !isWeightOp(node)) throw new IrError(`${node?.name ?? `%${value.id}`} is not made of parameters alone`);
  return node;
}
