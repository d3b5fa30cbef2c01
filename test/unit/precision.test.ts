/** What an f16 plan stores as f16: matrices and what is only ever an operand of a product. Everything that is carried on stays f32. */
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import type { DType } from "../../runtime/plan.js";
import { isWeightOp, type Graph, type GraphBuilder, type Node, type Value } from "../../compiler/ir/graph.js";
import { last } from "../../compiler/ir/ops/op.js";
import { makePlan, type CompiledPlan } from "../../compiler/plan/plan.js";
import { assignStorage, bytesOfValue, type Storage } from "../../compiler/plan/precision.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { randomSpec } from "../tools/random-spec.js";
import { graph, product } from "../tools/rewrites.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("precision");

const plans = (dtype: DType): ReadonlyMap<string, CompiledPlan> => new Map([...exampleSpecs].map(([name, spec]) => [name, makePlan(resolve(spec), { dtype })]));
const [single, half] = [plans("f32"), plans("f16")];

/** Between products: what they do to a number happens in f32, and then it is an operand. */
const between = ["attention", "differentialAttention", "prepareHeads", "gated"];

/** Whether a node reads rows as one side of a product whose sums are f32, as attention maps do, which are f32 themselves. Rows that it normalises are no such thing, and windows are read as f32. */
const isOperand = (node: Node, input: number): boolean => between.includes(node.op) || node.op === "attentionMap" || (node.op === "gemm" && input === 0 && node.attrs.source.kind === "rows" && !node.attrs.norm);

/** Values stored as f16 that should not be, by the rule alone, and those stored as f32 for no reason. */
function misplaced({ inputs, outputs, nodes }: Graph, storage: Storage): string[] {
  const found: string[] = [];
  const ends = new Set([...inputs, ...outputs].map(({ value }) => value));
  for (const { name, value } of [...inputs, ...outputs]) if (storage(value) !== "f32") found.push(`${name} is an end of the model`);
  for (const node of nodes.filter((one) => !isWeightOp(one))) {
    const { output, name, op } = node;
    const reads = nodes.flatMap((reader) => reader.inputs.flatMap((input, i) => (input === output ? [isOperand(reader, i)] : [])));
    const carriedOn = !between.includes(op) && (op !== "gemm" || node.attrs.residual || node.attrs.table === true);
    if (storage(output) === "f16" && (carriedOn || reads.includes(false))) found.push(`${name} is carried on in f16`);
    if (storage(output) === "f32" && !carriedOn && !ends.has(output) && !reads.includes(false)) found.push(`${name} is only an operand and f32`);
  }
  return found;
}

test("in every example what is carried on is f32, and what is only an operand is f16", () => {
  for (const [name, { lowered }] of half) {
    assert.equal(misplaced(lowered, assignStorage(lowered, "f16")), [], name);
    // The rule sees what breaks it.
    assert.ok(misplaced(lowered, () => "f16").some((fault) => /mlp\.fc2 is carried on/.test(fault)), name);
    assert.ok(misplaced(lowered, () => "f32").some((fault) => /mlp\.fc1 is only an operand/.test(fault)), name);
  }
});

test("100 random models keep to the same", () => {
  fc.assert(
    fc.property(randomSpec, (spec) => {
      const { lowered } = makePlan(resolve(spec), { dtype: "f16" });
      assert.equal(misplaced(lowered, assignStorage(lowered, "f16")), []);
    }),
    { numRuns: 100, seed: Number(process.env["SEED"] ?? 1) },
  );
});

test("ViT-B/16 in f16, dispatch by dispatch", () => {
  const { lowered, steps } = half.get("vit-base-patch16-224")!;
  const storage = assignStorage(lowered, "f16");
  const stored = Object.fromEntries(steps[0]!.map(({ label, output }) => [label, storage(output)]));
  for (let i = 0; i < 11; i++)
    assert.equal(
      ["attn.qkv", "attn", "attn.proj", "mlp.fc1", "mlp.fc2"].map((part) => stored[`blocks.${i}.${part}`]),
      // q, k and v; what goes into the projection; the stream; what goes into the second layer; the stream.
      ["f16", "f16", "f32", "f16", "f32"],
    );
  assert.equal(["token", "attn.kv", "attn.q", "attn", "attn.proj", "mlp.fc1", "mlp.fc2"].map((part) => stored[`blocks.11.${part}`]), ["f32", "f16", "f16", "f16", "f32", "f16", "f32"]);
  assert.equal([stored["patch_embed.proj"], stored["head"]], ["f32", "f32"]);
});

test("norms and pools read and write f32", () => {
  for (const changes of [{ pool: "avg" }, { pool: "max" }, { outputs: ["norm"] }, { patchNorm: true }, { classes: 0 }, { finalNorm: "pooled", pool: "avg" }, { tokens: { distillation: true } }] as const) {
    const { lowered } = makePlan(resolve(smallSpec(changes)), { dtype: "f16" });
    const storage = assignStorage(lowered, "f16");
    const plain = lowered.nodes.filter((node) => ["layerNorm", "tokenNorm", "poolTokens", "embed", "token", "sliceTokens", "addScale"].includes(node.op));
    assert.ok(plain.length > 0);
    for (const { name, inputs, output } of plain) assert.equal([...inputs, output].map(storage), [...inputs, output].map(() => "f32"), `${JSON.stringify(changes)}: ${name}`);
  }
});

test("inputs and outputs of an f16 plan are the f32 plan's", () => {
  const more = [smallSpec({ outputs: ["blocks.*", "norm", "embed"] }), smallSpec({ tokens: { distillation: true }, outputs: ["logits_cls"] })];
  const pairs = [...[...single].map(([name, compiled]) => [compiled, half.get(name)!] as const), ...more.map((spec) => (["f32", "f16"] as const).map((dtype) => makePlan(resolve(spec), { dtype })))];
  for (const [{ plan: a }, { plan: b }] of pairs as readonly (readonly [CompiledPlan, CompiledPlan])[]) {
    assert.equal([a.dtype, b.dtype], ["f32", "f16"]);
    assert.equal([b.input, b.outputs], [a.input, a.outputs]);
    const ends = ({ programs }: CompiledPlan["plan"]) => programs.infer.map(({ input, outputs, readbackBytes }) => [input[2], outputs.map(({ view }) => view[2]), readbackBytes]);
    assert.equal(ends(b), ends(a));
  }
});

/** A product of x with a weight of its own. */
const times = (b: GraphBuilder, x: Value, name: string, changes: object = {}): Value => b.node("gemm", { ...product, ...changes }, [x, b.parameter(name, [4, last(x.shape)])], name);

test("a value that is also returned, pooled, normalised or added stays f32", () => {
  const stored = (make: (b: GraphBuilder) => Record<string, Value>): DType => {
    const made = graph(make);
    const node = made.nodes.find(({ name }) => name === "hidden")!;
    return assignStorage(made, "f16")(node.output);
  };
  const hidden = (b: GraphBuilder): Value => times(b, b.input("x", [1, 3, 4]), "hidden");
  assert.is(stored((b) => ({ y: times(b, hidden(b), "out") })), "f16");
  assert.is(stored((b) => {
    const value = hidden(b);
    return { y: times(b, value, "out"), z: times(b, value, "other") };
  }), "f16");
  const also: Readonly<Record<string, (b: GraphBuilder, value: Value) => Record<string, Value>>> = {
    returned: (b, value) => ({ y: times(b, value, "out"), tap: value }),
    pooled: (b, value) => ({ y: times(b, value, "out"), pool: b.node("poolTokens", { kind: "avg", start: 0 }, [value], "pool") }),
    normalised: (b, value) => ({ y: times(b, value, "out", { norm: { eps: 1e-6 } }) }),
    added: (b, value) => ({ y: b.node("gemm", { ...product, residual: true }, [value, b.parameter("w", [4, 4]), value], "out") }),
    picked: (b, value) => ({ y: times(b, b.node("token", { index: 0 }, [value], "token"), "out") }),
  };
  for (const [how, make] of Object.entries(also)) assert.is(stored((b) => make(b, hidden(b))), "f32", how);
  // What adds to the stream writes it in f32, whoever reads it.
  const onto = { residual: (b: GraphBuilder) => b.input("stream", [1, 3, 4]), table: (b: GraphBuilder) => b.parameter("table", [1, 3, 4]) };
  for (const [how, addend] of Object.entries(onto))
    assert.is(stored((b) => ({ y: times(b, b.node("gemm", { ...product, [how]: true }, [b.input("x", [1, 3, 4]), b.parameter("w", [4, 4]), addend(b)], "hidden"), "out") })), "f32", how);
});

test("an f32 plan stores nothing as f16 and asks for no feature of it; an f16 plan asks for it where it does", () => {
  for (const [name, { lowered, plan, recipe }] of single) {
    const storage = assignStorage(lowered, "f32");
    assert.ok(lowered.nodes.every(({ output }) => storage(output) === "f32"), name);
    assert.ok(recipe.tensors.every(({ dtype }) => dtype === "f32"), name);
    assert.ok(plan.kernels.every(({ features = [] }) => !features.includes("shader-f16")), name);
  }
  for (const [name, { kernels }] of half)
    for (const { id, code, features = [] } of kernels) {
      assert.is(features.includes("shader-f16"), /\bf16\b/.test(code), `${name}: ${id}`);
      assert.is(/^enable f16;$/m.test(code), /\bf16\b/.test(code), `${name}: ${id}`);
    }
});

test("matrices are half as large in f16, and vectors and tables are not touched", () => {
  for (const [name, { recipe, plan }] of half) {
    const whole = single.get(name)!;
    // A matrix is [rows, columns]; vectors have one axis, tables of tokens three.
    for (const { name: tensor, shape, dtype } of recipe.tensors) assert.is(dtype, shape.length === 2 ? "f16" : "f32", `${name}: ${tensor}`);
    assert.equal(recipe.tensors.map((tensor) => [tensor.name, tensor.shape, tensor.steps]), whole.recipe.tensors.map((tensor) => [tensor.name, tensor.shape, tensor.steps]), name);
    const bytes = (of: CompiledPlan["plan"]): number => of.weightBuffers.reduce((sum, size) => sum + size, 0);
    const ratio = bytes(plan) / bytes(whole.plan);
    assert.ok(ratio >= 0.5 && ratio < 0.54, `${name}: ${ratio}`);
  }
});

test("what is stored as f16 takes half the memory, in whole words", () => {
  const [a, b] = [single, half].map((all) => all.get("vit-base-patch16-224")!.plan.programs.infer[0]!);
  const taken = (profile: typeof a): number[] => profile!.dispatches.find(({ label }) => label === "blocks.0.mlp.fc1")!.views.map((view) => view[2]);
  // The stream and the bias as they were, the matrix and the hidden layer halved, the scales of rows as they were.
  assert.equal(taken(b), taken(a).map((bytes, i) => (i === 1 || i === 3 ? bytes / 2 : bytes)));
  // Nine numbers of f16 are 18 bytes, and no binding has 18.
  const odd = { id: 0, shape: [3, 3] };
  assert.is(bytesOfValue(odd, () => "f16"), 20);
  assert.is(bytesOfValue(odd, () => "f32"), 36);
  const { plan } = makePlan(resolve(smallSpec({ dim: 3, heads: 1, pool: "avg", mlp: { hidden: 5 } })), { dtype: "f16" });
  assert.equal(plan.programs.infer.flatMap(({ dispatches }) => dispatches.flatMap(({ label, views }) => views.filter((view) => view[2] % 4 !== 0).map((view) => `${label} ${view.join(" ")}`))), []);
});

test.run();
