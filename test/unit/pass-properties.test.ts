/** All passes on random models and on the examples: declared outputs stay what they were. Wrong passes show that this can fail. */
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import type { Graph, Value } from "../../compiler/ir/graph.js";
import { passes, runPasses } from "../../compiler/passes/index.js";
import { rewrite, type Pass } from "../../compiler/passes/pass.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { distance, passTolerance } from "../tools/distance.js";
import { randomSpec } from "../tools/random-spec.js";
import { drawn, schemaFields } from "../tools/schema.js";
import { exampleSpecs, shrink, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("passes on any model");

/** The largest change that any pass of the list makes to the outputs of a model, and which pass it was. */
function largestChange(spec: ViTSpec, list: readonly Pass[] = passes): { readonly change: number; readonly pass: string } {
  const resolved = resolve(spec);
  let before = buildGraph(resolved, { batch: Math.max(...resolved.batch) });
  let worst = { change: 0, pass: "none" };
  runPasses(before, list, (pass, after) => {
    const change = after === before ? 0 : distance(before, after);
    if (!(change <= worst.change)) worst = { change, pass: pass.name };
    before = after;
  });
  return worst;
}

const runs = { numRuns: 200, seed: Number(process.env["SEED"] ?? 1) };

test("every pass leaves the outputs of 200 random models as they were", () => {
  fc.assert(
    fc.property(randomSpec, (spec) => {
      const { change, pass } = largestChange(spec);
      assert.ok(change <= passTolerance, `${pass} changes an output by ${change}`);
    }),
    runs,
  );
});

for (const [name, spec] of exampleSpecs) {
  test(`every pass leaves the outputs of ${name} as they were, shrunk`, () => {
    const { change, pass } = largestChange(shrink(spec));
    assert.ok(change <= passTolerance, `${pass} changes an output by ${change}`);
  });
}

test("the 200 random models draw every field of the schema, and every choice", () => {
  const specs = fc.sample(randomSpec, runs);
  const fields = schemaFields();
  assert.ok(fields.length > 50);
  const missing = fields.flatMap(({ path, values }) => {
    const seen = new Set(specs.flatMap((spec) => drawn(spec, path)));
    if (seen.size === 0) return [path];
    return values.filter((value) => !seen.has(value)).map((value) => `${path}: ${value}`);
  });
  assert.equal(missing, []);
  assert.equal(drawn(specs[0], "no.such.field"), []);
});

test("the random models reach every pass and every lowered op", () => {
  const [fired, reached] = [new Set<string>(), new Set<string>()];
  for (const spec of fc.sample(randomSpec, runs)) {
    const { graph: lowered, events } = runPasses(buildGraph(resolve(spec), { batch: 1 }));
    for (const event of events) if (event.fired) fired.add(event.pass);
    for (const node of lowered.nodes) reached.add(node.op);
  }
  // Every sum of these models is absorbed; lower-products says nothing of linear layers, and speaks for convolutions.
  assert.equal(passes.map((pass) => pass.name).filter((name) => !fired.has(name)), ["lower-sums"]);
  assert.equal([...reached].sort(), ["addScale", "attention", "embed", "foldBatchNormScale", "foldBatchNormShift", "gemm", "layerNorm", "poolTokens", "positionTable", "token", "tokenNorm"]);
});

const wrong: readonly (readonly [title: string, pass: Pass, spec: ViTSpec])[] = [
  ["an activation of another kind", mutant((node, emit) => (node.op === "gemm" && node.attrs.activation === "gelu" ? emit("gemm", { ...node.attrs, activation: "gelu_tanh" }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a residual that adds the branch's own input", mutant((node, emit) => (node.op === "gemm" && node.attrs.residual && node.name.endsWith("attn.proj") ? emit("gemm", node.attrs, node.inputs.with(-1, node.inputs[0]!), node.name) : undefined)), smallSpec()],
  ["an attention with another scale", mutant((node, emit) => (node.op === "attention" ? emit("attention", { ...node.attrs, scale: node.attrs.scale * (1 + 1e-6) }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a norm with another eps", mutant((node, emit) => (node.op === "layerNorm" ? emit("layerNorm", { eps: node.attrs.eps * 1.001 }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a norm of the wrong token", mutant((node, emit) => (node.op === "tokenNorm" ? emit("tokenNorm", { ...node.attrs, index: 1 }, node.inputs, node.name) : undefined)), smallSpec()],
  ["pooling that takes the class token along", mutant((node, emit) => (node.op === "poolTokens" ? emit("poolTokens", { ...node.attrs, start: 0 }, node.inputs, node.name) : undefined)), smallSpec({ pool: "avg" })],
  ["a bias left out", mutant((node, emit) => (node.op === "gemm" && node.attrs.bias && !node.attrs.residual ? emit("gemm", { ...node.attrs, bias: false }, node.inputs.slice(0, 2), node.name) : undefined)), smallSpec()],
  ["positions left out", mutant((node, emit) => (node.op === "embed" ? emit("embed", { ...node.attrs, position: "none" }, node.inputs.slice(0, -1), node.name) : undefined)), smallSpec()],
];

type Emit = Parameters<Parameters<typeof rewrite>[1]>[1]["emit"];

/** A pass that does what it should not. */
function mutant(visit: (node: Graph["nodes"][number], emit: Emit) => Value | undefined): Pass {
  return { name: "mutant", why: "To be caught.", run: (g) => rewrite(g, (node, { emit }) => visit(node, emit)) };
}

for (const [title, pass, spec] of wrong) {
  test(`a pass that makes ${title} is caught`, () => {
    const { change, pass: culprit } = largestChange(spec, [...passes, pass]);
    assert.ok(change > passTolerance, `the change is ${change}`);
    assert.is(culprit, "mutant");
  });
}

test.run();
