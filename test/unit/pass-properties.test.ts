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
  // lower-products says nothing of linear layers, and speaks for convolutions.
  assert.equal(passes.map((pass) => pass.name).filter((name) => !fired.has(name)), []);
  assert.equal([...reached].sort(), ["addScale", "attention", "attentionMap", "concatRows", "differentialAttention", "differentialFactor", "embed", "foldBatchNormScale", "foldBatchNormShift", "foldNormScale", "foldNormShift", "foldPixelScale", "foldPixelShift", "gated", "gemm", "l2Normalize", "layerNorm", "multiply", "normalizeChannels", "poolTokens", "positionTable", "prepareHeads", "queryValueBias", "resamplePatch", "resampleRelative", "resampleTable", "rmsNorm", "rotaryTable", "scaleChannels", "scaleRows", "sliceColumns", "sliceRows", "sliceTokens", "token", "tokenNorm", "tokenTable", "weightLinear"]);
});

const wrong: readonly (readonly [title: string, pass: Pass, spec: ViTSpec])[] = [
  ["an activation of another kind", mutant((node, emit) => (node.op === "gemm" && node.attrs.activation === "gelu" ? emit("gemm", { ...node.attrs, activation: "gelu_tanh" }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a residual that adds the branch's own input", mutant((node, emit) => (node.op === "gemm" && node.attrs.residual && node.name.endsWith("attn.proj") ? emit("gemm", node.attrs, node.inputs.with(-1, node.inputs[0]!), node.name) : undefined)), smallSpec()],
  ["an attention with another scale", mutant((node, emit) => (node.op === "attention" ? emit("attention", { ...node.attrs, scale: node.attrs.scale * (1 + 1e-6) }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a map with another scale", mutant((node, emit) => (node.op === "attentionMap" ? emit("attentionMap", { ...node.attrs, scale: node.attrs.scale * (1 + 1e-6) }, node.inputs, node.name) : undefined)), smallSpec({ outputs: ["blocks.1.attn"] })],
  ["a map that subtracts too much", mutant((node, emit) => (node.op === "attentionMap" ? emit("attentionMap", node.attrs, [node.inputs[0]!, emit("scaleRows", { start: 0, end: 1, factor: 1 + 1e-6 }, [node.inputs[1]!], "more")], node.name) : undefined)), smallSpec({ attention: { differential: true }, outputs: ["blocks.0.attn"] })],
  ["a norm with another eps", mutant((node, emit) => (node.op === "layerNorm" ? emit("layerNorm", { eps: node.attrs.eps * 2 }, node.inputs, node.name) : undefined)), smallSpec({ pool: "avg" })],
  ["a product that normalises with another eps", mutant((node, emit) => (node.op === "gemm" && node.attrs.norm ? emit("gemm", { ...node.attrs, norm: { eps: node.attrs.norm.eps * 1.001 } }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a norm of the wrong token", mutant((node, emit) => (node.op === "tokenNorm" ? emit("tokenNorm", { ...node.attrs, index: 1 }, node.inputs, node.name) : undefined)), smallSpec({ classes: 0, outputs: ["blocks.1"] })],
  ["a folded norm whose weights are not centred", mutant((node, emit) => (node.op === "foldNormScale" ? emit("foldNormScale", { centre: false }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a folded norm without its shift", mutant((node, emit) => (node.op === "gemm" && node.attrs.norm ? emit("gemm", { ...node.attrs, bias: false }, node.inputs.toSpliced(2, 1), node.name) : undefined)), smallSpec()],
  ["a scale on the rows of the keys and values too", mutant((node, emit) => (node.op === "scaleRows" ? emit("scaleRows", { ...node.attrs, end: node.inputs[0]!.shape[0]! }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a scale on the rows of the keys and not of the queries' bias", mutant((node, emit) => (node.op === "scaleRows" && node.inputs[0]!.shape.length === 1 ? emit("scaleRows", { ...node.attrs, start: node.attrs.start + 1 }, node.inputs, node.name) : undefined)), smallSpec()],
  ["values of the rows that make keys", mutant((node, emit) => (node.op === "sliceRows" && node.attrs.start > 0 ? emit("sliceRows", { start: 0, end: node.attrs.end - node.attrs.start }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a tail of the wrong token", mutant((node, emit) => (node.op === "token" ? emit("token", { index: 1 }, node.inputs, node.name) : undefined)), smallSpec()],
  ["a tail whose heads read each other's tokens", mutant((node, emit) => (node.op === "token" ? emit("token", { index: 1 - node.attrs.index }, node.inputs, node.name) : undefined)), smallSpec({ tokens: { distillation: true }, outputs: ["logits_cls"] })],
  ["a tail of tokens one further", mutant((node, emit) => (node.op === "sliceTokens" ? emit("sliceTokens", { start: node.attrs.start + 1, end: node.attrs.end + 1 }, node.inputs, node.name) : undefined)), smallSpec({ tokens: { distillation: true } })],
  ["factors of channels left out", mutant((node) => (node.op === "scaleChannels" ? node.inputs[0] : undefined)), smallSpec({ layerScale: 0.1 })],
  ["pixels that are shifted and not scaled", mutant((node) => (node.op === "foldPixelScale" ? node.inputs[0] : undefined)), smallSpec({ preprocess: { normalize: "inside" } })],
  ["a shift by a mean that is not divided", mutant((node, emit) => (node.op === "foldPixelShift" ? emit("foldPixelShift", { ...node.attrs, std: node.attrs.std.map(() => 1) }, node.inputs, node.name) : undefined)), smallSpec({ preprocess: { normalize: "inside" } })],
  ["pooling that takes the class token along", mutant((node, emit) => (node.op === "poolTokens" ? emit("poolTokens", { ...node.attrs, start: 0 }, node.inputs, node.name) : undefined)), smallSpec({ pool: "avg" })],
  ["a bias left out", mutant((node, emit) => (node.op === "gemm" && node.attrs.bias && !node.attrs.residual ? emit("gemm", { ...node.attrs, bias: false }, node.inputs.slice(0, 2), node.name) : undefined)), smallSpec()],
  ["positions left out", mutant((node, emit) => (node.op === "embed" ? emit("embed", { ...node.attrs, position: "none" }, node.inputs.slice(0, -1), node.name) : undefined)), smallSpec({ patchNorm: true })],
  ["a table without positions", mutant((node, emit) => (node.op === "tokenTable" ? emit("tokenTable", { ...node.attrs, positions: "none" }, node.inputs.toSpliced(node.attrs.prefix, 1), node.name) : undefined)), smallSpec()],
  ["a table shifted by one token", mutant((node, emit) => (node.op === "gemm" && node.attrs.table ? emit("gemm", node.attrs, node.inputs.with(-1, shifted(node.inputs.at(-1)!, emit)), node.name) : undefined)), smallSpec()],
];

type Emit = Parameters<Parameters<typeof rewrite>[1]>[1]["emit"];

/** A table of tokens with the first at the end. */
function shifted(table: Value, emit: Emit): Value {
  const part = (start: number, end: number): Value => emit("sliceTokens", { start, end }, [table], "shifted");
  return emit("concat", { axis: 1 }, [part(1, table.shape[1]!), part(0, 1)], "shifted");
}

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
