import type { Graph, Value } from "./graph.js";

/**
 * The graph as text, one node a line: `%2 = linear(%1, $head.weight, $head.bias) : [1, 10]  // head`.
 * Values are numbered in the order of the text, so equal graphs print equally.
 */
export function print(graph: Graph): string {
  const names = new Map<Value, string>();
  for (const { name, value } of graph.parameters) names.set(value, `$${name}`);
  for (const { name, value } of graph.inputs) names.set(value, `%${name}`);
  const lines = graph.inputs.map(({ name, value }) => `input %${name} : ${shape(value)}`);
  graph.nodes.forEach((node, i) => {
    names.set(node.output, `%${i}`);
    const inputs = node.inputs.map((input) => names.get(input) ?? `%undefined${input.id}`).join(", ");
    lines.push(`%${i} = ${node.op}(${inputs})${attributes(node.attrs)} : ${shape(node.output)}  // ${node.name}`);
  });
  for (const { name, value } of graph.outputs) lines.push(`output ${name} = ${names.get(value) ?? "undefined"} : ${shape(value)}`);
  return `${lines.join("\n")}\n`;
}

const shape = (value: Value): string => `[${value.shape.join(", ")}]`;

function attributes(attrs: object): string {
  const entries = Object.entries(attrs);
  return entries.length === 0 ? "" : ` {${entries.map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value).replaceAll('"', "") : value}`).join(", ")}}`;
}
