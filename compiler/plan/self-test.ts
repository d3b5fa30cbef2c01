/** What a package knows of its own kernels: for each routine a dispatch, and what some elements of its result are in f64 for inputs that are made from a seed. */
import type { SelfTest, SelfTestOperand } from "../../runtime/plan.js";
import type { Value } from "../ir/graph.js";
import { elements } from "../ir/ops/op.js";
import { indexGraph } from "./graph-index.js";
import type { Step } from "./lower.js";
import type { CompiledPlan } from "./plan.js";
import { assignStorage, type Storage } from "./precision.js";
import { sample } from "./sample.js";
import { sampledWeights, type SampledWeights } from "./sample-weights.js";
import { roundToHalf, seededValue } from "./seeded.js";

/** Elements that are computed, spread over the result, its first and last among them. Of larger batches, whose kernels are alike, a package has every second. */
const samples = 24;
/** Digits of a value in a package: a hundred times finer than the tolerance of f32. */
const digits = 7;

/**
 * Tests for the steps of a plan, one a routine, those of the first profile first; what another profile does by a routine that was there before is
 * not tested again. Left out are attention maps, relative and differential attention of so many tokens that computing one head takes seconds.
 */
export function selfTests({ graphs, steps, plan: { dtype } }: Pick<CompiledPlan, "graphs" | "steps" | "plan">): SelfTest[] {
  const seen = new Set<string>();
  return graphs.flatMap((graph, profile) => {
    const storage = assignStorage(graph, dtype);
    const index = indexGraph(graph);
    return steps[profile]!.flatMap((step, dispatch) => {
      if (seen.has(step.routine.id)) return [];
      seen.add(step.routine.id);
      const tested = testOf(step, inPlaceOf(step, steps[profile]!), storage, sampledWeights(index), profile === 0 ? 1 : 2);
      return tested ? [{ routine: step.routine.id, ...(profile > 0 && { profile }), dispatch, ...tested }] : [];
    });
  });
}

/** Of a product in several steps the first says whose memory the output takes over, and all read what lies there. */
const inPlaceOf = ({ node }: Step, steps: readonly Step[]): Value | undefined => steps.find((other) => other.node === node)!.inPlace;

function testOf({ node, routine, operands, output, columns }: Step, inPlace: Value | undefined, storage: Storage, weights: SampledWeights, every: number): Pick<SelfTest, "operands" | "scale" | "at" | "expected"> | undefined {
  const nameOf = (value: Value): string => `${routine.id} ${node.inputs.indexOf(value)}`;
  const activation = (value: Value) => {
    const at = seededValue(nameOf(value), value.shape, "activation");
    return { shape: value.shape, at: storage(value) === "f16" ? (i: number) => roundToHalf(at(i)) : at };
  };
  const sampled = sample(node, { activation, weights }, samples, columns);
  if (sampled === undefined) return undefined;
  const described = operands.map((operand): SelfTestOperand => {
    if ("weight" in operand) return { kind: "weight" };
    if ("scratch" in operand) return { kind: "scratch" };
    const { value } = operand;
    const source = value === output ? inPlace : value;
    return { kind: value === output ? "output" : "input", dtype: storage(value), size: elements(value.shape), ...(source && { seed: nameOf(source) }) };
  });
  const isKept = (_: number, i: number): boolean => i % every === 0 || i === sampled.at.length - 1;
  return { operands: described, scale: Number(sampled.scale.toPrecision(4)), at: sampled.at.filter(isKept), expected: sampled.expected.filter(isKept).map((value) => Number(value.toPrecision(digits))) };
}
