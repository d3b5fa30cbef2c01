import { ops, type AttrsOf, type OpName } from "./ops/index.js";
import type { Op, Shape } from "./ops/op.js";

/** A tensor in the graph: an input, a parameter, or the output of one node. Identity is the object. */
export interface Value {
  readonly id: number;
  readonly shape: Shape;
}

/** A named weight of the model, by its name in the checkpoint. */
export interface Parameter {
  readonly name: string;
  readonly value: Value;
}

export interface NodeOf<Name extends OpName> {
  readonly op: Name;
  readonly attrs: AttrsOf<Name>;
  readonly inputs: readonly Value[];
  readonly output: Value;
  /** Where in the model, in the checkpoint's words: `blocks.3.mlp.fc1`. */
  readonly name: string;
  /** What it computes of the graph as it was built: the outputs of those nodes. Absent in a node that no pass has made. */
  readonly origins?: readonly Value[];
}

/** One operation. A union over the ops, so that `node.op` narrows `node.attrs`. */
export type Node = { [Name in OpName]: NodeOf<Name> }[OpName];

export interface Named {
  readonly name: string;
  readonly value: Value;
}

/** A model as a list of nodes in the order of computation. Graphs are never changed: a pass makes a new one. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly Named[];
  readonly parameters: readonly Parameter[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly Named[];
}

let nextId = 0;

export const newValue = (shape: Shape): Value => ({ id: nextId++, shape });

/** Makes a node of an op; its output's shape is inferred (and its inputs' checked) by the op. */
export function makeNode<Name extends OpName>(op: Name, attrs: AttrsOf<Name>, inputs: readonly Value[], name: string, origins?: readonly Value[]): Node {
  const infer = ops[op].infer as (inputs: readonly Shape[], attrs: AttrsOf<Name>) => Shape;
  const shape = infer(inputs.map((input) => input.shape), attrs);
  // The union over ops cannot be built generically; op and attrs are tied by this function's signature.
  return { op, attrs, inputs, output: newValue(shape), name, ...(origins && { origins }) } as unknown as Node;
}

/** The outputs of the nodes that a node computes, in the graph as it was built: its own, unless a pass made it of others. */
export const originsOf = (node: Node): readonly Value[] => node.origins ?? [node.output];

/** Whether a node makes a weight of weights. */
export function isWeightOp(node: Node): boolean {
  const op: Op<never> = ops[node.op];
  return "weights" in op && op.weights === true;
}

/** Builds a graph node by node. */
export class GraphBuilder {
  private readonly inputs: Named[] = [];
  private readonly parameters: Parameter[] = [];
  private readonly nodes: Node[] = [];
  private readonly outputs: Named[] = [];

  constructor(private readonly name: string) {}

  input(name: string, shape: Shape): Value {
    const value = newValue(shape);
    this.inputs.push({ name, value });
    return value;
  }

  parameter(name: string, shape: Shape): Value {
    const value = newValue(shape);
    this.parameters.push({ name, value });
    return value;
  }

  node<Name extends OpName>(op: Name, attrs: AttrsOf<Name>, inputs: readonly Value[], name: string): Value {
    const node = makeNode(op, attrs, inputs, name);
    this.nodes.push(node);
    return node.output;
  }

  output(name: string, value: Value): void {
    this.outputs.push({ name, value });
  }

  build(): Graph {
    return { name: this.name, inputs: this.inputs, parameters: this.parameters, nodes: this.nodes, outputs: this.outputs };
  }
}
