import { ops } from "./ops/index.js";
import { IrError, sameShape, type Op, type Shape } from "./ops/op.js";
import type { Graph, Node, Value } from "./graph.js";

// Nodes never change and most survive a pass, so what depends on the node alone is checked once.
const wellShaped = new WeakSet<Node>();

/**
 * Checks what every graph must hold: each input is defined before it is read, each shape is what its op infers, each output exists,
 * no name of an input, parameter or output occurs twice.
 * @throws IrError naming the node and, in a pipeline, the pass that broke it.
 */
export function verify(graph: Graph, after: string): void {
  const fail = (message: string): never => {
    throw new IrError(`${graph.name}, after ${after}: ${message}`);
  };
  const defined = new Set<Value>();
  for (const { name, value } of [...graph.inputs, ...graph.parameters]) {
    if (defined.has(value)) fail(`${name} is defined twice`);
    defined.add(value);
  }
  for (const node of graph.nodes) {
    for (const input of node.inputs) if (!defined.has(input)) fail(`${node.name} (${node.op}) reads %${input.id} before it is defined`);
    if (defined.has(node.output)) fail(`${node.name} (${node.op}) defines %${node.output.id} again`);
    if (!wellShaped.has(node)) checkShape(node, fail);
    defined.add(node.output);
  }
  for (const { name, value } of graph.outputs) if (!defined.has(value)) fail(`output ${name} is never computed`);
  for (const named of [graph.inputs, graph.parameters, graph.outputs]) {
    const names = new Set(named.map((n) => n.name));
    if (names.size !== named.length) fail(`two of ${named.map((n) => n.name).join(", ")} share a name`);
  }
}

function checkShape(node: Node, fail: (message: string) => never): void {
  let shape: Shape;
  try {
    shape = (ops[node.op] as Op<unknown>).infer(node.inputs.map((input) => input.shape), node.attrs);
  } catch (error) {
    return fail(`${node.name} (${node.op}): ${(error as Error).message}`);
  }
  if (!sameShape(shape, node.output.shape)) fail(`${node.name} (${node.op}) has shape ${node.output.shape}, its op infers ${shape}`);
  wellShaped.add(node);
}
