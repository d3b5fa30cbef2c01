import { GraphBuilder, type Graph, type Node, type Value } from "./graph.js";
import { ops } from "./ops/index.js";
import { IrError, sameShape, type Op, type Primitive, type Tensor } from "./ops/op.js";
import { RandomStream, randomState } from "./random.js";

export interface InterpretOptions {
  /** Model inputs by name. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Parameters by their names in the checkpoint. */
  readonly parameters: (name: string) => Tensor;
  /** Evaluates dropout, DropPath and batch norm as in training. Each node draws from its own stream, by seed and name. */
  readonly training?: { readonly seed: number };
}

/**
 * Runs a graph in f64: the oracle of every pass and kernel. Fused ops are expanded to their primitives and those are evaluated.
 * @returns the declared outputs by name.
 * @throws IrError if an input or parameter is missing or misshapen.
 */
export function interpret(graph: Graph, options: InterpretOptions): Map<string, Tensor> {
  const values = new Map<Value, Tensor>();
  const bind = (name: string, value: Value, tensor: Tensor | undefined) => {
    if (!tensor) throw new IrError(`${name} is not given`);
    if (!sameShape(tensor.shape, value.shape)) throw new IrError(`${name} has shape [${tensor.shape}], the graph wants [${value.shape}]`);
    values.set(value, tensor);
  };
  for (const { name, value } of graph.inputs) bind(name, value, options.inputs[name]);
  for (const { name, value } of graph.parameters) bind(name, value, options.parameters(name));

  const primitives = graph.nodes.flatMap(expandNode);
  const lastUse = new Map<Value, Node>();
  for (const node of primitives) for (const input of node.inputs) lastUse.set(input, node);
  const kept = new Set(graph.outputs.map((output) => output.value));
  for (const node of primitives) {
    const op = ops[node.op] as Primitive<unknown>;
    const stream = options.training && new RandomStream(randomState(options.training.seed, `${node.op} ${node.name}`));
    const random = stream && (() => stream.uniform());
    values.set(node.output, op.evaluate(node.inputs.map((input) => values.get(input)!), node.attrs, { random }));
    for (const input of node.inputs) if (lastUse.get(input) === node && !kept.has(input)) values.delete(input);
  }
  return new Map(graph.outputs.map(({ name, value }) => [name, values.get(value)!]));
}

/** A node as primitives: itself, or what it expands to, with the last one writing the node's own output. */
export function expandNode(node: Node): readonly Node[] {
  const op = ops[node.op] as Op<unknown>;
  if (!("expand" in op)) return [node];
  const builder = new GraphBuilder(node.name);
  const result = op.expand(builder, node.inputs, node.attrs, node.name);
  const nodes = builder.build().nodes.flatMap(expandNode);
  return nodes.map((n) => (n.output === result ? { ...n, output: node.output } : n));
}
