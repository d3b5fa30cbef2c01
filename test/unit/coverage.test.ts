/** Which nodes of the model each launch computes: passes write down what their nodes stand for, and that is what the kernels compute. */
import * as assert from "uvu/assert";
import { coverage, dispatchNodes } from "../../compiler/explain/coverage.js";
import type { CoveredNode } from "../../compiler/explain/report.js";
import { buildGraph } from "../../compiler/ir/build.js";
import type { Node } from "../../compiler/ir/graph.js";
import { expandNode } from "../../compiler/ir/interpret.js";
import { runPasses } from "../../compiler/passes/index.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { noteFixture, noteNames } from "../tools/fixtures.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("coverage");

/** Every shape of model: the notes' variants, the examples, and outputs of all kinds. */
const specs: readonly ViTSpec[] = [
  ...noteNames.map((name) => noteFixture(name).spec),
  ...exampleSpecs.values(),
  smallSpec({ name: "taps", depth: 3, outputs: ["embed", "blocks.*", "norm", "features"], dropout: { position: 0.1, attention: 0.1, projection: 0.1, path: 0.1 } }),
  smallSpec({ name: "bare", depth: 1, tokens: { class: false }, position: { kind: "none" }, pool: "avg", finalNorm: "none", classes: 0 }),
  smallSpec({ name: "sines", position: { kind: "sincos2d" }, patchNorm: true, finalNorm: "pooled", representation: 4 }),
  smallSpec({ name: "distilled", tokens: { distillation: true }, position: { prefix: false }, layerScale: 0.1, preprocess: { normalize: "inside" } }),
  smallSpec({ name: "maps", outputs: ["blocks.*.attn", "embedding"], tokens: { distillation: true } }),
  smallSpec({ name: "difference", outputs: ["blocks.0.attn"], attention: { differential: true } }),
  smallSpec({ name: "stem", stem: [{ channels: 4, kernel: 3 }], preprocess: { normalize: "inside" }, outputs: ["blocks.1"], classes: 0 }),
];

const launchesOf = (spec: ViTSpec): { readonly built: readonly Node[]; readonly launches: readonly (readonly [Node, readonly CoveredNode[]])[] } => {
  const built = buildGraph(resolve(spec), { batch: 1 });
  const { graph: lowered } = runPasses(built);
  const covers = coverage(built, lowered);
  return { built: built.nodes, launches: dispatchNodes(lowered).map((node, i) => [node, covers[i]!]) };
};

/** Changes of layout, and what is folded into weights: no kernel computes these. */
const layouts = ["mapToTokens", "tokensToMap", "padTokens", "asTokens"];
const folded = (node: Node): readonly string[] => {
  switch (node.op) {
    case "gemm":
      return ["batchNorm", "normalizeChannels", "scaleLast", ...(node.attrs.table ? ["expand", "concat", "add"] : [])];
    case "attention":
    case "attentionMap":
    case "differentialAttention":
      return ["scale", "token"];
    case "embed":
      return node.attrs.prefix === 0 ? ["concat"] : [];
    case "poolTokens":
      return node.attrs.start === 0 ? ["sliceTokens"] : [];
    default:
      return [];
  }
};

/** Ops that a launch computes, in the words of the model as it is built. */
const words = (node: Node, names: readonly string[]): string[] =>
  names.filter((op) => !layouts.includes(op) && !folded(node).includes(op)).map((op) => (op === "unitVariance" ? "layerNorm" : op)).toSorted();

test("a launch covers the nodes that its kernel computes", () => {
  for (const spec of specs) {
    for (const [node, covers] of launchesOf(spec).launches) {
      const names = covers.map(({ op }) => op as string);
      assert.ok(names.length > 0, `${spec.name}: ${node.name} covers nothing`);
      // A copy of several tokens stands for each of them.
      if (node.op === "sliceTokens") assert.ok(names.every((op) => op === "token"), `${spec.name}: ${node.name}`);
      else assert.equal(words(node, names), words(node, expandNode(node).map(({ op }) => op)), `${spec.name}: ${node.name}`);
    }
  }
});

test("every node is covered, besides dropout and those that make weights", () => {
  for (const spec of specs) {
    const { built, launches } = launchesOf(spec);
    const covered = new Set(launches.flatMap(([, covers]) => covers.map(({ op, name }) => `${op} ${name}`)));
    const left = built.filter(({ op, name }) => !["dropout", "dropPath", "positionTable", "differentialFactor"].includes(op) && !covered.has(`${op} ${name}`));
    assert.equal(left.map(({ op, name }) => `${op} ${name}`), [], spec.name);
    assert.not.ok([...covered].some((node) => /^(dropout|dropPath|positionTable|differentialFactor) /.test(node)), spec.name);
  }
});

test("a node that is computed in two places is covered by both", () => {
  const { launches } = launchesOf(smallSpec());
  const of = (name: string): string[] => launches.find(([node]) => node.name === name)![1].map(({ op, name: covered }) => `${op} ${covered}`);
  assert.equal(of("blocks.1.attn.q"), ["layerNorm blocks.1.norm1", "linear blocks.1.attn.qkv"]);
  assert.equal(of("blocks.1.attn.kv"), of("blocks.1.attn.q"));
  assert.equal(of("blocks.1.token"), ["token pool"]);
  assert.equal(of("blocks.1.mlp.fc1"), ["layerNorm blocks.1.norm2", "linear blocks.1.mlp.fc1", "activation blocks.1.mlp.act"]);
  assert.equal(of("patch_embed.proj"), ["conv2d patch_embed.proj", "mapToTokens patch_embed.proj", "expand cls_token", "concat embed", "add pos_embed"]);
  const scaled = launchesOf(smallSpec({ layerScale: 1, dropout: { path: 0.1 } })).launches.find(([node]) => node.name === "blocks.1.mlp.fc2")![1];
  assert.equal(scaled.map(({ name }) => name), ["blocks.1.mlp.fc2", "blocks.1.ls2", "blocks.1.add2"]);
});

test.run();
