/** What a package knows of its own kernels: for each routine a dispatch, and what some elements of its result are in f64 for inputs that are made from a seed. */
import type { DType, SelfTest, SelfTestOperand } from "../../runtime/plan.js";
import type { Graph, Node, Value } from "../ir/graph.js";
import { interpret } from "../ir/interpret.js";
import { elements, type Tensor } from "../ir/ops/op.js";
import { indexGraph, isWeightOp, type GraphIndex } from "./graph-index.js";
import type { Step } from "./lower.js";
import { assignStorage } from "./precision.js";
import { roundToHalf, seededValues } from "./seeded.js";

/** Elements that are looked at, spread over the result, its first and last among them. */
const samples = 24;

/**
 * Tests for the steps of a plan's first profile, one a routine. Products whose weights are split into several steps are left out.
 */
export function selfTests(graph: Graph, steps: readonly Step[], dtype: DType): SelfTest[] {
  const index = indexGraph(graph);
  const storage = assignStorage(graph, dtype);
  const stepsOf = new Map<Node, number>();
  for (const { node } of steps) stepsOf.set(node, (stepsOf.get(node) ?? 0) + 1);
  const seen = new Set<string>();
  return steps.flatMap((step, dispatch) => {
    const { node, routine, operands, output, inPlace } = step;
    if (seen.has(routine.id) || stepsOf.get(node) !== 1) return [];
    seen.add(routine.id);
    const inputs = new Map<Value, Tensor>();
    const nameOf = (value: Value): string => `${routine.id} ${node.inputs.indexOf(value)}`;
    const valuesOf = (value: Value): Tensor => {
      const data = Float64Array.from(seededValues(nameOf(value), value.shape, "activation"));
      return { shape: value.shape, data: storage(value) === "f16" ? data.map(roundToHalf) : data };
    };
    for (const value of node.inputs) if (!index.isWeight(value)) inputs.set(value, valuesOf(value));
    const piece = pieceOf(index, node);
    const exact = interpret(piece, {
      inputs: Object.fromEntries(piece.inputs.map(({ name, value }) => [name, inputs.get(value)!])),
      parameters: (name) => {
        const { value } = piece.parameters.find((parameter) => parameter.name === name)!;
        return { shape: value.shape, data: Float64Array.from(seededValues(name, value.shape, "parameter")) };
      },
    }).get("y")!;
    const size = exact.data.length;
    const at = [...new Set(Array.from({ length: samples }, (_, i) => Math.floor((i * (size - 1)) / (samples - 1))))];
    const described = operands.map((operand): SelfTestOperand => {
      if ("weight" in operand) return { kind: "weight" };
      if ("scratch" in operand) return { kind: "scratch" };
      const source = operand.value === output ? inPlace : operand.value;
      const { value } = operand;
      return { kind: value === output ? "output" : "input", dtype: storage(value), size: elements(value.shape), ...(source && { seed: nameOf(source) }) };
    });
    const scale = Math.sqrt(exact.data.reduce((sum, value) => sum + value * value, 0) / size);
    return [{ routine: routine.id, dispatch, operands: described, scale: Number(scale.toPrecision(4)), at, expected: at.map((i) => Number(exact.data[i]!.toPrecision(9))) }];
  });
}

/** A node with all that makes its weights. */
function pieceOf(index: GraphIndex, node: Node): Graph {
  const { graph } = index;
  const needed = new Set<Value>(node.inputs);
  const nodes: Node[] = [];
  for (const other of graph.nodes.toReversed()) {
    if (!needed.has(other.output) || !isWeightOp(other)) continue;
    nodes.unshift(other);
    for (const input of other.inputs) needed.add(input);
  }
  const activations = [...new Set(node.inputs)].filter((value) => !index.isWeight(value));
  return {
    ...graph,
    inputs: activations.map((value, i) => ({ name: `x${i}`, value })),
    parameters: graph.parameters.filter(({ value }) => needed.has(value)),
    nodes: [...nodes, node],
    outputs: [{ name: "y", value: node.output }],
  };
}
