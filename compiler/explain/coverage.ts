import type { Graph, Node, Value } from "../ir/graph.js";
import { isWeightOp } from "../plan/graph-index.js";
import type { CoveredNode } from "./report.js";

/** The nodes of a lowered graph that become dispatches, in their order. */
export const dispatchNodes = (lowered: Graph): readonly Node[] => lowered.nodes.filter((node) => !isWeightOp(node));

/**
 * Which nodes of the graph as built each dispatch of the lowered graph computes.
 *
 * Passes keep no history, so it is read off what survives them: parameters (a node is computed where its weights are read), values, names,
 * and the order of the computation. Dropout is left out, for nothing computes it, and so are nodes that only make weights.
 */
export function coverage(built: Graph, lowered: Graph): readonly (readonly CoveredNode[])[] {
  const dispatches = dispatchNodes(lowered);
  const index = indexDispatches(lowered, dispatches);
  const computedBy = new Map<Value, readonly number[]>();
  const covers: CoveredNode[][] = dispatches.map(() => []);
  for (const node of built.nodes) {
    if (isWeightOp(node)) continue;
    const inputs = node.inputs.flatMap((input) => computedBy.get(input) ?? []);
    if (node.op === "dropout" || node.op === "dropPath") {
      computedBy.set(node.output, inputs);
      continue;
    }
    const places = placesOf(node, inputs, built, index);
    computedBy.set(node.output, places);
    for (const place of places) covers[place]!.push({ name: node.name, op: node.op });
  }
  return covers;
}

interface DispatchIndex {
  readonly dispatches: readonly Node[];
  /** Dispatches that read a parameter, directly or through what is made of it. */
  readonly byWeight: ReadonlyMap<Value, readonly number[]>;
  readonly byOutput: ReadonlyMap<Value, number>;
  readonly byName: ReadonlyMap<string, readonly number[]>;
}

function indexDispatches(lowered: Graph, dispatches: readonly Node[]): DispatchIndex {
  const producers = new Map(lowered.nodes.map((node) => [node.output, node]));
  const byWeight = new Map<Value, number[]>();
  const byName = new Map<string, number[]>();
  const add = <Key>(map: Map<Key, number[]>, key: Key, i: number): void => {
    const list = map.get(key);
    if (!list) map.set(key, [i]);
    else if (!list.includes(i)) list.push(i);
  };
  const visit = (value: Value, i: number): void => {
    const node = producers.get(value);
    if (node && !isWeightOp(node)) return;
    add(byWeight, value, i);
    node?.inputs.forEach((input) => visit(input, i));
  };
  const images = new Set(lowered.inputs.map(({ value }) => value));
  dispatches.forEach((node, i) => {
    add(byName, node.name, i);
    for (const input of node.inputs) if (!images.has(input)) visit(input, i);
  });
  return { dispatches, byWeight, byName, byOutput: new Map(dispatches.map((node, i) => [node.output, i])) };
}

function placesOf(node: Node, inputs: readonly number[], built: Graph, index: DispatchIndex): readonly number[] {
  const readers = [...new Set(node.inputs.flatMap((input) => index.byWeight.get(input) ?? []))];
  if (readers.length > 0) return readers;
  const kept = index.byOutput.get(node.output);
  if (kept !== undefined) return [kept];
  const named = index.byName.get(node.name);
  if (named) return named;
  // A fused attention is named after its scope, and takes all in there that has no dispatch of its own.
  const scope = index.byName.get(node.name.slice(0, node.name.lastIndexOf(".")))?.filter((i) => index.dispatches[i]!.op === "attention");
  if (scope && scope.length > 0) return scope;
  // What is left was taken into an epilogue: the first dispatch that can know all its operands.
  const several = node.inputs.map((input) => index.byOutput.get(input)).every((i) => i === undefined) && new Set(inputs).size > 1 && node.inputs.length === 1;
  if (several) return readBy(node, inputs, built, index);
  const first = Math.max(0, ...inputs);
  for (let i = first; i < index.dispatches.length; i++) if (inputs.every((input) => dependsOn(i, input, index))) return [i];
  return [first];
}

/** A node that was computed in several places: those that the node's own readers read. */
function readBy(node: Node, places: readonly number[], built: Graph, index: DispatchIndex): readonly number[] {
  const readers = built.nodes.filter((other) => other.inputs.includes(node.output)).flatMap((other) => other.inputs.flatMap((input) => index.byWeight.get(input) ?? []));
  const read = new Set(readers.flatMap((i) => index.dispatches[i]!.inputs.map((input) => index.byOutput.get(input))));
  const chosen = places.filter((place) => read.has(place));
  return chosen.length > 0 ? chosen : places;
}

/** Whether dispatch `i` is `j` or needs its result. */
function dependsOn(i: number, j: number, index: DispatchIndex): boolean {
  const seen = new Set([i]);
  for (const at of seen) {
    if (at === j) return true;
    for (const input of index.dispatches[at]!.inputs) {
      const producer = index.byOutput.get(input);
      // The order is topological: nothing before `j` can need it.
      if (producer !== undefined && producer >= j) seen.add(producer);
    }
  }
  return false;
}
