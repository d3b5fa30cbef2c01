/** What self-tests expect: single elements that are computed alone are those of whole results, and large models take little of them. */
import * as assert from "uvu/assert";
import type { SelfTest } from "../../runtime/plan.js";
import { seededValues } from "../../runtime/seeded.js";
import type { Graph, Node, Value } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import { indexGraph, isWeightOp } from "../../compiler/plan/graph-index.js";
import { makePlan, type CompiledPlan } from "../../compiler/plan/plan.js";
import { assignStorage } from "../../compiler/plan/precision.js";
import { roundToHalf as roundedHalf, seededValue } from "../../compiler/plan/seeded.js";
import { selfTests } from "../../compiler/plan/self-test.js";
import { resolve } from "../../compiler/spec/resolve.js";
import vitLarge from "../../specs/vit-large-patch16-224.js";
import { fromHalf, roundToHalf } from "../tools/halves.js";
import * as fc from "fast-check";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, shrink } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("what self-tests expect");

/** A step's whole result, by the whole node and all that makes its weights. */
function wholeResult({ graphs, steps }: CompiledPlan, dtype: "f32" | "f16", { profile = 0, dispatch, routine }: SelfTest): Float64Array {
  const { node } = steps[profile]![dispatch]!;
  const lowered = graphs[profile]!;
  const index = indexGraph(lowered);
  const storage = assignStorage(lowered, dtype);
  const needed = new Set<Value>(node.inputs);
  const nodes: Node[] = [];
  for (const other of lowered.nodes.toReversed()) {
    if (!needed.has(other.output) || !isWeightOp(other)) continue;
    nodes.unshift(other);
    for (const input of other.inputs) needed.add(input);
  }
  const activations = [...new Set(node.inputs)].filter((value) => !index.isWeight(value));
  const graph: Graph = { ...lowered, inputs: activations.map((value, i) => ({ name: `x${i}`, value })), parameters: lowered.parameters.filter(({ value }) => needed.has(value)), nodes: [...nodes, node], outputs: [{ name: "y", value: node.output }] };
  const made = (name: string, value: Value, what: "activation" | "parameter"): Tensor => {
    const data = Float64Array.from(seededValues(name, value.shape, what));
    return { shape: value.shape, data: what === "activation" && storage(value) === "f16" ? data.map(roundedHalf) : data };
  };
  const inputs = Object.fromEntries(graph.inputs.map(({ name, value }) => [name, made(`${routine} ${node.inputs.indexOf(value)}`, value, "activation")]));
  return interpret(graph, { inputs, parameters: (name) => made(name, graph.parameters.find((parameter) => parameter.name === name)!.value, "parameter") }).get("y")!.data;
}

/** Checks a spec's tests, and returns how many elements they have. */
function check(spec: unknown, dtype: "f32" | "f16", bindingBytes?: number): number {
  const compiled = makePlan(resolve(spec), { dtype, bindingBytes });
  const tests = selfTests(compiled);
  assert.equal(tests.map(({ routine }) => routine).toSorted(), compiled.plan.routines.map(({ id }) => id).toSorted());
  for (const each of tests) {
    const { columns } = compiled.steps[each.profile ?? 0]![each.dispatch]!;
    const whole = wholeResult(compiled, dtype, each);
    const own = columns ? whole.filter((_, i) => i % columns.all >= columns.first && i % columns.all < columns.first + columns.cols) : whole;
    const scale = Math.sqrt(own.reduce((sum, value) => sum + value * value, 0) / own.length);
    assert.ok(each.at.length >= Math.min(own.length, 12) / (each.profile === undefined ? 1 : 2), `${each.routine}: ${each.at.length} elements`);
    if (columns) assert.ok(each.at.every((element) => element % columns.all >= columns.first && element % columns.all < columns.first + columns.cols));
    each.at.forEach((element, i) => {
      const error = Math.abs(each.expected[i]! - whole[element]!);
      assert.ok(error <= 1e-6 * (Math.abs(whole[element]!) + scale), `${compiled.plan.name} ${each.routine}: element ${element} is ${each.expected[i]}, and ${whole[element]} in the whole result`);
    });
    assert.ok(each.scale >= scale / 4 && each.scale <= scale * 4, `${each.routine}: scale ${each.scale} of ${scale}`);
  }
  return tests.reduce((sum, { at }) => sum + at.length, 0);
}

test("compiler and runtime make the same numbers, and round alike", () => {
  for (const [name, shape, what] of [["a", [2, 3, 5], "activation"], ["norm.weight", [7], "parameter"], ["fc.weight", [4, 9], "parameter"], ["bn.running_var", [3], "parameter"], ["b.bias", [5], "parameter"]] as const) {
    const made = seededValues(name, shape, what);
    assert.equal([...made], Array.from(made, (_, i) => seededValue(name, shape, what)(i)));
  }
  for (let word = 1; word < 0x7c00; word += 37) {
    const [low, high] = [fromHalf(word), fromHalf(word + 1)];
    for (const value of [low, (low + high) / 2, low + (high - low) * 0.49, low + (high - low) * 0.51]) if (Number.isFinite(high)) assert.is(roundedHalf(-value), roundToHalf(-value));
  }
});

for (const dtype of ["f32", "f16"] as const) {
  test(`every routine of the examples, shrunk, has a test in ${dtype}, whose elements are those of the whole result`, () => {
    for (const spec of exampleSpecs.values()) assert.ok(check(shrink(spec), dtype) > 100);
  });
  test(`and so has every routine of 60 random specs in ${dtype}`, () => {
    for (const spec of fc.sample(randomSpec, { numRuns: 60, seed: 7 })) check(spec, dtype);
  });
}

test("several images at once: rows, windows, queries and maps of each", () => {
  const spec = { name: "batched", image: 16, patch: 8, dim: 16, depth: 2, heads: 2, classes: 5, batch: [3], outputs: ["blocks.0.attn"] };
  check(spec, "f32");
  check({ ...spec, stem: [{ channels: 4, kernel: 3, stride: 1 }] }, "f32");
});

test("every batch of a package: its routines have tests of their own, and what it shares with a smaller one has one test", () => {
  const spec = { name: "batches", image: 16, patch: 8, dim: 16, depth: 2, heads: 2, classes: 5, outputs: ["blocks.0.attn"], mlp: { gate: "packed", norm: true }, norm: { kind: "rms" } };
  for (const dtype of ["f32", "f16"] as const) {
    check({ ...spec, batch: [1, 4, 9] }, dtype);
    const [alone, both] = [[1], [1, 4]].map((batch) => selfTests(makePlan(resolve({ ...spec, batch }), { dtype })));
    assert.equal(both!.slice(0, alone!.length), alone);
    assert.ok(both!.slice(alone!.length).every(({ profile, at, operands }) => profile === 1 && at.at(-1)! === (operands.find(({ kind }) => kind === "output") as { size: number }).size - 1));
  }
});

test("products that are split over several bindings: each part in its own columns, what is updated in place in all of them", () => {
  const spec = { name: "split", image: 16, patch: 8, dim: 64, depth: 2, heads: 2, classes: 300, batch: [1, 3] };
  // Half of fc2's 256 rows and 64 columns.
  const { steps } = makePlan(resolve(spec), { bindingBytes: 32768 });
  assert.ok(steps[0]!.filter(({ columns, node }) => columns && node.op === "gemm" && node.attrs.residual).length > 2);
  check(spec, "f32", 32768);
  check(spec, "f16", 16384);
});

test("ViT-L: every routine is tested, within 3 KB gzip, and computing them takes a second of the processor at most", () => {
  const compiled = makePlan(resolve(vitLarge));
  const before = process.cpuUsage();
  const tests = selfTests(compiled);
  const { user } = process.cpuUsage(before);
  assert.is(tests.length, compiled.plan.routines.length);
  assert.ok(JSON.stringify(tests).length < 12_000, `${JSON.stringify(tests).length} bytes`);
  assert.ok(user < 1e6, `${user / 1000} ms`);
});

test.run();
