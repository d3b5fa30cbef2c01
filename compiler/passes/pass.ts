import { isWeightOp, makeNode, originsOf, type Graph, type Node, type NodeOf, type Value } from "../ir/graph.js";
import type { AttrsOf, OpName } from "../ir/ops/index.js";

/** One rewrite of the graph. It must leave every declared output of `interpret` as it was. */
export interface Pass {
  readonly name: string;
  /** Why it is there, in a sentence; shown by `vitc explain`. */
  readonly why: string;
  run(graph: Graph, log: PassLog): Graph;
}

/** What a pass did or declined at a node, and why. */
export interface PassEvent {
  readonly pass: string;
  readonly node: string;
  readonly fired: boolean;
  readonly reason: string;
}

export type PassLog = (node: string, fired: boolean, reason: string) => void;

/** What a rewrite sees besides the node. */
export interface Rewriter {
  /** The node that computes a value, in the graph as rewritten so far; undefined for inputs and parameters. */
  producer<Name extends OpName>(value: Value | undefined, op: Name): NodeOf<Name> | undefined;
  /** How many nodes and outputs read a value. */
  uses(value: Value): number;
  isOutput(value: Value): boolean;
  /** Nodes of the graph before the rewrite that read a value. */
  readers(value: Value): readonly Node[];
  /** Whether a value depends on parameters alone. */
  isWeight(value: Value): boolean;
  /** Adds a node. `from` are the nodes that it computes from now on, in whole or in part: the visited one unless it is said otherwise. */
  emit<Name extends OpName>(op: Name, attrs: AttrsOf<Name>, inputs: readonly Value[], name: string, from?: readonly Node[]): Value;
  /** Makes an output of the graph another value, which is the same; the nodes that still read the old one keep it. */
  replaceOutput(value: Value, by: Value): void;
  /** Adds a node that differs from another in its inputs alone, and so perhaps in its shape. */
  emitWith(node: Node, inputs: readonly Value[]): Value;
}

/**
 * Visits the nodes in order, their inputs already rewritten. A visit returns the value to use instead of the node's output, or undefined
 * to keep the node. Nodes that nothing reads any more are dropped.
 */
export function rewrite(graph: Graph, visit: (node: Node, rewriter: Rewriter) => Value | undefined): Graph {
  const replaced = new Map<Value, Value>();
  const producers = new Map<Value, Node>();
  const outputs = new Set(graph.outputs.map((output) => output.value));
  // Most passes ask about few nodes or none, so who reads what is found out when first asked.
  let known: Map<Value, Node[]> | undefined;
  const readers = (value: Value): readonly Node[] => (known ??= readersOf(graph)).get(value) ?? [];
  // Uses are counted before the rewrite; a replacement inherits those of what it replaces.
  const original = new Map<Value, Value>();
  const origin = (value: Value) => original.get(value) ?? value;
  const emitted = new Set<Value>();
  const returned = new Map<Value, Value>();
  const parameters = new Set(graph.parameters.map(({ value }) => value));
  let given: Map<Value, Node> | undefined;
  let nodes: Node[] = [];
  let visited: Node | undefined;

  const rewriter: Rewriter = {
    producer<Name extends OpName>(value: Value | undefined, op: Name) {
      const node = value && producers.get(value);
      return node?.op === op ? (node as unknown as NodeOf<Name>) : undefined;
    },
    uses: (value) => readers(origin(value)).length + (outputs.has(origin(value)) ? 1 : 0),
    isOutput: (value) => outputs.has(origin(value)),
    readers: (value) => readers(origin(value)),
    isWeight(value) {
      const node = producers.get(value) ?? (given ??= new Map(graph.nodes.map((n) => [n.output, n]))).get(value);
      return node ? isWeightOp(node) : parameters.has(value);
    },
    replaceOutput: (value, by) => void returned.set(value, by),
    emitWith: (node, inputs) => rewriter.emit(node.op, node.attrs as never, inputs, node.name, [node]),
    emit(op, attrs, inputs, name, from = visited ? [visited] : []) {
      const node = makeNode(op, attrs, inputs, name, [...new Set(from.flatMap(originsOf))]);
      nodes.push(node);
      producers.set(node.output, node);
      emitted.add(node.output);
      return node.output;
    },
  };

  for (const node of graph.nodes) {
    const inputs = node.inputs.some((input) => replaced.has(input)) ? node.inputs.map((input) => replaced.get(input) ?? input) : node.inputs;
    const current = inputs === node.inputs ? node : { ...node, inputs };
    visited = current;
    const replacement = visit(current, rewriter);
    if (replacement) {
      replaced.set(node.output, replacement);
      // Only what this rewrite made takes over the uses; a value of the graph has its own.
      if (emitted.has(replacement) && !original.has(replacement)) original.set(replacement, node.output);
    } else {
      nodes.push(current);
      producers.set(current.output, current);
    }
  }
  if (replaced.size + returned.size === 0) return graph;
  const renamed = graph.outputs.map(({ name, value }) => ({ name, value: returned.get(value) ?? replaced.get(value) ?? value }));
  nodes = live(nodes, renamed.map((output) => output.value));
  return { ...graph, nodes, outputs: renamed };
}

function readersOf(graph: Graph): Map<Value, Node[]> {
  const readers = new Map<Value, Node[]>();
  for (const node of graph.nodes)
    for (const input of node.inputs) {
      const list = readers.get(input);
      if (list) list.push(node);
      else readers.set(input, [node]);
    }
  return readers;
}

/** The nodes that some output depends on. */
function live(nodes: readonly Node[], outputs: readonly Value[]): Node[] {
  const needed = new Set(outputs);
  const kept: Node[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    if (!needed.has(node.output)) continue;
    kept.push(node);
    for (const input of node.inputs) needed.add(input);
  }
  return kept.reverse();
}
