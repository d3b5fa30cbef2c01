/** What a package knows of its own kernels: for each routine a dispatch, and what some elements of its result are in f64 for inputs that are made from a seed. */
import type { DType, SelfTest, SelfTestOperand } from "../../runtime/plan.js";
import type { Graph, Node, Value } from "../ir/graph.js";
import { elements } from "../ir/ops/op.js";
import { indexGraph } from "./graph-index.js";
import type { Step } from "./lower.js";
import { assignStorage } from "./precision.js";
import { sample } from "./sample.js";
import { sampledWeights } from "./sample-weights.js";
import { roundToHalf, seededValue } from "./seeded.js";

/** Elements that are looked at, spread over the result, its first and last among them. */
const samples = 24;
/** Digits of a value in a package: a hundred times finer than the tolerance of f32. */
const digits = 7;

/**
 * Tests for the steps of a plan's first profile, one a routine. Products whose weights are split into several steps are left out, and so are
 * attention maps, relative and differential attention of so many tokens that computing one head takes seconds.
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
    const nameOf = (value: Value): string => `${routine.id} ${node.inputs.indexOf(value)}`;
    const activation = (value: Value) => {
      const at = seededValue(nameOf(value), value.shape, "activation");
      return { shape: value.shape, at: storage(value) === "f16" ? (i: number) => roundToHalf(at(i)) : at };
    };
    const sampled = sample(node, { activation, weights: sampledWeights(index) }, samples);
    if (sampled === undefined) return [];
    const described = operands.map((operand): SelfTestOperand => {
      if ("weight" in operand) return { kind: "weight" };
      if ("scratch" in operand) return { kind: "scratch" };
      const source = operand.value === output ? inPlace : operand.value;
      const { value } = operand;
      return { kind: value === output ? "output" : "input", dtype: storage(value), size: elements(value.shape), ...(source && { seed: nameOf(source) }) };
    });
    return [{ routine: routine.id, dispatch, operands: described, scale: Number(sampled.scale.toPrecision(4)), at: sampled.at, expected: sampled.expected.map((value) => Number(value.toPrecision(digits))) }];
  });
}
