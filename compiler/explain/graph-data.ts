import type { Graph, Value } from "../ir/graph.js";

/** A graph as plain data. Values are called as `print` calls them: `%input`, `$head.weight`, and `%2` for the output of node 2. */
export interface GraphData {
  readonly name: string;
  /** Where in the compiler it was taken: `build`, a pass, or `lowered`. */
  readonly stage: string;
  readonly inputs: readonly NamedShape[];
  readonly parameters: readonly NamedShape[];
  readonly nodes: readonly NodeData[];
  readonly outputs: readonly { readonly name: string; readonly value: string; readonly shape: readonly number[] }[];
}

interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

interface NodeData {
  /** Of its output. */
  readonly value: string;
  /** Where in the model. */
  readonly name: string;
  readonly op: string;
  readonly attrs: Readonly<Record<string, unknown>>;
  readonly inputs: readonly string[];
  readonly shape: readonly number[];
}

export function graphData(graph: Graph, stage: string): GraphData {
  const names = new Map<Value, string>([
    ...graph.parameters.map(({ name, value }) => [value, `$${name}`] as const),
    ...graph.inputs.map(({ name, value }) => [value, `%${name}`] as const),
    ...graph.nodes.map(({ output }, i) => [output, `%${i}`] as const),
  ]);
  const shapeOf = ({ name, value }: { readonly name: string; readonly value: Value }): NamedShape => ({ name, shape: value.shape });
  return {
    name: graph.name,
    stage,
    inputs: graph.inputs.map(shapeOf),
    parameters: graph.parameters.map(shapeOf),
    nodes: graph.nodes.map(({ name, op, attrs, inputs, output }) => ({ value: names.get(output)!, name, op, attrs: { ...attrs }, inputs: inputs.map((input) => names.get(input)!), shape: output.shape })),
    outputs: graph.outputs.map(({ name, value }) => ({ name, value: names.get(value)!, shape: value.shape })),
  };
}
