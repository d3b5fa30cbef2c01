/** The passes around tokens, pooling and heads on small graphs: what they make of them, and what they leave alone. */
import * as assert from "uvu/assert";
import type { GraphBuilder, Graph, Value } from "../../compiler/ir/graph.js";
import { fuseEmbed, fuseMean, fusePool, lowerSums, narrowNorm } from "../../compiler/passes/fuse-tokens.js";
import { runPasses } from "../../compiler/passes/index.js";
import { distance, passTolerance } from "../tools/distance.js";
import { expectDeclined, expectRewrite, graph } from "../tools/rewrites.js";
import { suite } from "../tools/suite.js";

const test = suite("passes around tokens");

/** Patches with a class token and positions: over all tokens, over the patches, or none. */
function embedded(position: "all" | "patches" | "none", more: (b: GraphBuilder, patches: Value) => Record<string, Value> = () => ({})): Graph {
  return graph((b) => {
    let x = b.input("patches", [2, 4, 3]);
    if (position === "patches") x = b.node("add", {}, [x, b.parameter("pos_embed", [1, 4, 3])], "pos_embed");
    const patches = x;
    x = b.node("concat", { axis: 1 }, [b.node("expand", { batch: 2 }, [b.parameter("cls_token", [1, 1, 3])], "cls_token"), x], "embed");
    if (position === "all") x = b.node("add", {}, [x, b.parameter("pos_embed", [1, 5, 3])], "pos_embed");
    return { y: x, ...more(b, patches) };
  });
}

test("fuse-embed puts tokens and positions together in one node", () => {
  const after = (inputs: string, position: string) => `input %patches : [2, 4, 3]
     %0 = embed(${inputs}) {prefix: 1, position: ${position}} : [2, 5, 3]  // embed
     output y = %0 : [2, 5, 3]`;
  expectRewrite(
    fuseEmbed,
    embedded("all"),
    `input %patches : [2, 4, 3]
     %0 = expand($cls_token) {batch: 2} : [2, 1, 3]  // cls_token
     %1 = concat(%0, %patches) {axis: 1} : [2, 5, 3]  // embed
     %2 = add(%1, $pos_embed) : [2, 5, 3]  // pos_embed
     output y = %2 : [2, 5, 3]`,
    after("%patches, $cls_token, $pos_embed", "all"),
  );
  expectRewrite(
    fuseEmbed,
    embedded("patches"),
    `input %patches : [2, 4, 3]
     %0 = add(%patches, $pos_embed) : [2, 4, 3]  // pos_embed
     %1 = expand($cls_token) {batch: 2} : [2, 1, 3]  // cls_token
     %2 = concat(%1, %0) {axis: 1} : [2, 5, 3]  // embed
     output y = %2 : [2, 5, 3]`,
    after("%patches, $cls_token, $pos_embed", "patches"),
  );
  expectRewrite(
    fuseEmbed,
    embedded("none"),
    `input %patches : [2, 4, 3]
     %0 = expand($cls_token) {batch: 2} : [2, 1, 3]  // cls_token
     %1 = concat(%0, %patches) {axis: 1} : [2, 5, 3]  // embed
     output y = %1 : [2, 5, 3]`,
    after("%patches, $cls_token", "none"),
  );
});

test("fuse-embed keeps placed patches that are also read elsewhere", () => {
  const input = embedded("patches", (_, patches) => ({ patches }));
  const output = runPasses(input, [fuseEmbed]).graph;
  assert.equal(output.nodes.map((node) => `${node.op} ${JSON.stringify(node.attrs)}`), ['embed {"prefix":0,"position":"all"}', 'embed {"prefix":1,"position":"none"}']);
  assert.ok(distance(input, output) <= passTolerance);
});

test("fuse-embed declines a concatenation of other things, and a sum that is no table of positions", () => {
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("concat", { axis: 1 }, [b.input("a", [2, 1, 3]), b.input("b", [2, 4, 3])], "concat") })));
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 4, 3]), b.parameter("bias", [1, 1, 3])], "add") })));
  expectDeclined(fuseEmbed, graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 4, 3]), b.input("b", [2, 4, 3])], "add") })));
});

/** The norm of all tokens, and one or two of them picked. */
function picked(indices: readonly number[], more: "norm" | "reduce" | "none" = "none"): Graph {
  return graph((b) => {
    const norm = b.node("layerNorm", { eps: 1e-6 }, [b.input("x", [2, 4, 3]), b.parameter("norm.weight", [3]), b.parameter("norm.bias", [3])], "norm");
    const tokens = Object.fromEntries(indices.map((index) => [`token${index}`, b.node("token", { index }, [norm], `pick${index}`)]));
    if (more === "none") return tokens;
    return { ...tokens, more: more === "norm" ? norm : b.node("reduce", { kind: "avg" }, [norm], "pool") };
  });
}

test("narrow-norm normalises only the tokens that are read", () => {
  expectRewrite(
    narrowNorm,
    picked([0, 1]),
    `input %x : [2, 4, 3]
     %0 = layerNorm(%x, $norm.weight, $norm.bias) {eps: 0.000001} : [2, 4, 3]  // norm
     %1 = token(%0) {index: 0} : [2, 3]  // pick0
     %2 = token(%0) {index: 1} : [2, 3]  // pick1
     output token0 = %1 : [2, 3]
     output token1 = %2 : [2, 3]`,
    `input %x : [2, 4, 3]
     %0 = tokenNorm(%x, $norm.weight, $norm.bias) {index: 0, eps: 0.000001} : [2, 3]  // norm
     %1 = tokenNorm(%x, $norm.weight, $norm.bias) {index: 1, eps: 0.000001} : [2, 3]  // norm
     output token0 = %0 : [2, 3]
     output token1 = %1 : [2, 3]`,
  );
});

test("narrow-norm declines when all tokens are returned or read", () => {
  for (const more of ["norm", "reduce"] as const) expectDeclined(narrowNorm, picked([0], more), "all tokens of norm are returned or read");
  expectDeclined(narrowNorm, graph((b) => ({ y: b.node("token", { index: 0 }, [b.input("x", [2, 4, 3])], "pick") })), "its input is not a norm");
});

/** Pooling over a part of the tokens. */
const pooled = (start: number, end: number): Graph => graph((b) => ({ y: b.node("reduce", { kind: "max" }, [b.node("sliceTokens", { start, end }, [b.input("x", [2, 4, 3])], "pool")], "pool") }));

test("fuse-pool skips the prefix without a copy, and pools over all when there is none", () => {
  expectRewrite(
    fusePool,
    pooled(1, 4),
    `input %x : [2, 4, 3]
     %0 = sliceTokens(%x) {start: 1, end: 4} : [2, 3, 3]  // pool
     %1 = reduce(%0) {kind: max} : [2, 3]  // pool
     output y = %1 : [2, 3]`,
    `input %x : [2, 4, 3]
     %0 = poolTokens(%x) {kind: max, start: 1} : [2, 3]  // pool
     output y = %0 : [2, 3]`,
  );
  const whole = runPasses(graph((b) => ({ y: b.node("reduce", { kind: "avg" }, [b.input("x", [2, 4, 3])], "pool") })), [fusePool]).graph;
  assert.equal(whole.nodes.map((node) => node.attrs), [{ kind: "avg", start: 0 }]);
});

test("fuse-pool keeps a slice that ends before the tokens do", () => {
  const input = pooled(1, 3);
  const output = runPasses(input, [fusePool]).graph;
  assert.equal(output.nodes.map((node) => node.op), ["sliceTokens", "poolTokens"]);
  assert.ok(distance(input, output) <= passTolerance);
});

/** (a + b) * 0.5, with the sum returned too if `tapped`, or b repeated. */
function mean(b: GraphBuilder, tapped: boolean, rows = 2): Record<string, Value> {
  const add = b.node("add", {}, [b.input("a", [2, 3]), b.input("b", [rows, 3])], "sum");
  return { y: b.node("scale", { factor: 0.5 }, [add], "mean"), ...(tapped && { add }) };
}

test("fuse-mean joins a sum and its factor", () => {
  expectRewrite(
    fuseMean,
    graph((b) => mean(b, false)),
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = add(%a, %b) : [2, 3]  // sum
     %1 = scale(%0) {factor: 0.5} : [2, 3]  // mean
     output y = %1 : [2, 3]`,
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = addScale(%a, %b) {factor: 0.5} : [2, 3]  // mean
     output y = %0 : [2, 3]`,
  );
  expectDeclined(fuseMean, graph((b) => mean(b, true)));
  expectDeclined(fuseMean, graph((b) => mean(b, false, 1)));
  expectDeclined(fuseMean, graph((b) => ({ y: b.node("scale", { factor: 2 }, [b.input("x", [2])], "scale") })));
});

test("lower-sums makes a kernel of what nothing absorbed", () => {
  expectRewrite(
    lowerSums,
    graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 3]), b.input("b", [2, 3])], "sum") })),
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = add(%a, %b) : [2, 3]  // sum
     output y = %0 : [2, 3]`,
    `input %a : [2, 3]
     input %b : [2, 3]
     %0 = addScale(%a, %b) {factor: 1} : [2, 3]  // sum
     output y = %0 : [2, 3]`,
  );
  expectDeclined(lowerSums, graph((b) => ({ y: b.node("add", {}, [b.input("a", [2, 3]), b.input("b", [1, 3])], "sum") })));
});

test.run();
