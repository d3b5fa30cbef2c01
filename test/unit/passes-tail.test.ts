/** The passes that compute single tokens where single tokens are read: what they make of small graphs, and what they leave alone. */
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import { flopsOf } from "../../compiler/ir/cost.js";
import { isWeightOp, type Graph, type GraphBuilder, type Value } from "../../compiler/ir/graph.js";
import { fuseTokenNorm } from "../../compiler/passes/fuse-tokens.js";
import { passes, runPasses } from "../../compiler/passes/index.js";
import { narrowNorm, narrowTail } from "../../compiler/passes/narrow-tail.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { distance, passTolerance } from "../tools/distance.js";
import { expectDeclined, expectRewrite, graph, product } from "../tools/rewrites.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("passes around the tail");

/** The norm of all tokens, and one or two of them picked. */
function picked(indices: readonly number[], more: "norm" | "reduce" | "none" = "none"): Graph {
  return graph((b) => {
    const norm = layerNorm(b, b.input("x", [2, 4, 3]), "norm");
    const tokens = Object.fromEntries(indices.map((index, i) => [`token${i}`, b.node("token", { index }, [norm], `pick${i}`)]));
    if (more === "none") return tokens;
    return { ...tokens, more: more === "norm" ? norm : b.node("reduce", { kind: "avg" }, [norm], "pool") };
  });
}

function layerNorm(b: GraphBuilder, x: Value, name: string): Value {
  const width = [x.shape[x.shape.length - 1]!];
  return b.node("layerNorm", { eps: 1e-6 }, [x, b.parameter(`${name}.weight`, width), b.parameter(`${name}.bias`, width)], name);
}

test("narrow-norm normalises only the tokens that are read, each once", () => {
  expectRewrite(
    narrowNorm,
    picked([0, 1, 0]),
    `input %x : [2, 4, 3]
     %0 = layerNorm(%x, $norm.weight, $norm.bias) {eps: 0.000001} : [2, 4, 3]  // norm
     %1 = token(%0) {index: 0} : [2, 3]  // pick0
     %2 = token(%0) {index: 1} : [2, 3]  // pick1
     %3 = token(%0) {index: 0} : [2, 3]  // pick2
     output token0 = %1 : [2, 3]
     output token1 = %2 : [2, 3]
     output token2 = %3 : [2, 3]`,
    `input %x : [2, 4, 3]
     %0 = token(%x) {index: 0} : [2, 3]  // pick0
     %1 = layerNorm(%0, $norm.weight, $norm.bias) {eps: 0.000001} : [2, 3]  // norm
     %2 = token(%x) {index: 1} : [2, 3]  // pick1
     %3 = layerNorm(%2, $norm.weight, $norm.bias) {eps: 0.000001} : [2, 3]  // norm
     output token0 = %1 : [2, 3]
     output token1 = %3 : [2, 3]
     output token2 = %1 : [2, 3]`,
  );
});

test("narrow-norm declines when all tokens are returned or read", () => {
  for (const more of ["norm", "reduce"] as const) expectDeclined(narrowNorm, picked([0], more), "all tokens of norm are returned or read");
  expectDeclined(narrowNorm, graph((b) => ({ y: b.node("token", { index: 0 }, [b.input("x", [2, 4, 3])], "pick") })), "its input is not a norm");
});

test("fuse-token-norm picks the token while it is normalised", () => {
  const { graph: narrowed } = runPasses(picked([2]), [narrowNorm]);
  expectRewrite(
    fuseTokenNorm,
    narrowed,
    `input %x : [2, 4, 3]
     %0 = token(%x) {index: 2} : [2, 3]  // pick0
     %1 = layerNorm(%0, $norm.weight, $norm.bias) {eps: 0.000001} : [2, 3]  // norm
     output token0 = %1 : [2, 3]`,
    `input %x : [2, 4, 3]
     %0 = tokenNorm(%x, $norm.weight, $norm.bias) {kind: layer, index: 2, eps: 0.000001} : [2, 3]  // norm
     output token0 = %0 : [2, 3]`,
  );
  expectDeclined(fuseTokenNorm, graph((b) => {
    const token = b.node("token", { index: 0 }, [b.input("x", [2, 4, 3])], "pick");
    return { y: layerNorm(b, token, "norm"), token };
  }), "the result of pick is also read elsewhere");
  expectDeclined(fuseTokenNorm, picked([0]));
});

interface Block {
  /** Tokens that are picked in the end. */
  readonly indices?: readonly number[];
  /** What is returned besides. */
  readonly tapped?: "qkv" | "attention" | "proj" | "norm";
  readonly tokens?: number;
}

/** A norm, attention and a layer with residual, as passes leave them; then tokens. */
function block({ indices = [0], tapped, tokens = 4 }: Block = {}): Graph {
  return graph((b) => {
    const x = b.input("x", [2, tokens, 4]);
    const norm = layerNorm(b, x, "b.norm1");
    const qkv = b.node("gemm", { ...product, bias: true }, [norm, b.parameter("b.attn.qkv.weight", [12, 4]), b.parameter("b.attn.qkv.bias", [12])], "b.attn.qkv");
    const attention = b.node("attention", { heads: 2, scale: 0.5 }, [qkv], "b.attn");
    const proj = b.node("gemm", { ...product, residual: true }, [attention, b.parameter("b.attn.proj.weight", [4, 4]), x], "b.attn.proj");
    const values = { qkv, attention, proj, norm };
    return { ...Object.fromEntries(indices.map((index) => [`token${index}`, b.node("token", { index }, [proj], `pick${index}`)])), ...(tapped && { tapped: values[tapped] }) };
  });
}

const untouched = `input %x : [2, 4, 4]
     %0 = layerNorm(%x, $b.norm1.weight, $b.norm1.bias) {eps: 0.000001} : [2, 4, 4]  // b.norm1
     %1 = gemm(%0, $b.attn.qkv.weight, $b.attn.qkv.bias) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 4, 12]  // b.attn.qkv
     %2 = attention(%1) {heads: 2, scale: 0.5} : [2, 4, 4]  // b.attn
     %3 = gemm(%2, $b.attn.proj.weight, %x) {source: {kind:rows}, bias: false, activation: none, residual: true} : [2, 4, 4]  // b.attn.proj`;

test("narrow-tail has one query an image where one token is read, and rows of [batch, width] behind it", () => {
  const events = expectRewrite(
    narrowTail,
    block(),
    `${untouched}
     %4 = token(%3) {index: 0} : [2, 4]  // pick0
     output token0 = %4 : [2, 4]`,
    `input %x : [2, 4, 4]
     %0 = layerNorm(%x, $b.norm1.weight, $b.norm1.bias) {eps: 0.000001} : [2, 4, 4]  // b.norm1
     %1 = token(%x) {index: 0} : [2, 4]  // b.token
     %2 = layerNorm(%1, $b.norm1.weight, $b.norm1.bias) {eps: 0.000001} : [2, 4]  // b.norm1
     %3 = sliceRows($b.attn.qkv.weight) {start: 4, end: 12} : [8, 4]  // b.attn.kv.weight
     %4 = sliceRows($b.attn.qkv.bias) {start: 4, end: 12} : [8]  // b.attn.kv.bias
     %5 = gemm(%0, %3, %4) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 4, 8]  // b.attn.kv
     %6 = sliceRows($b.attn.qkv.weight) {start: 0, end: 4} : [4, 4]  // b.attn.q.weight
     %7 = sliceRows($b.attn.qkv.bias) {start: 0, end: 4} : [4]  // b.attn.q.bias
     %8 = gemm(%2, %6, %7) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 4]  // b.attn.q
     %9 = attention(%8, %5) {heads: 2, scale: 0.5} : [2, 4]  // b.attn
     %10 = gemm(%9, $b.attn.proj.weight, %1) {source: {kind:rows}, bias: false, activation: none, residual: true} : [2, 4]  // b.attn.proj
     output token0 = %10 : [2, 4]`,
  );
  assert.equal(events.map(({ node, fired, reason }) => [node, fired, reason]), [
    ["b.attn", true, "queries of token 0 alone, keys and values of all tokens"],
    ["b.attn.proj", true, "computed for token 0 alone"],
  ]);
});

test("narrow-tail keeps a run of tokens where several are read", () => {
  expectRewrite(
    narrowTail,
    block({ indices: [1, 2] }),
    `${untouched}
     %4 = token(%3) {index: 1} : [2, 4]  // pick1
     %5 = token(%3) {index: 2} : [2, 4]  // pick2
     output token1 = %4 : [2, 4]
     output token2 = %5 : [2, 4]`,
    `input %x : [2, 4, 4]
     %0 = layerNorm(%x, $b.norm1.weight, $b.norm1.bias) {eps: 0.000001} : [2, 4, 4]  // b.norm1
     %1 = sliceTokens(%x) {start: 1, end: 3} : [2, 2, 4]  // b.token
     %2 = layerNorm(%1, $b.norm1.weight, $b.norm1.bias) {eps: 0.000001} : [2, 2, 4]  // b.norm1
     %3 = sliceRows($b.attn.qkv.weight) {start: 4, end: 12} : [8, 4]  // b.attn.kv.weight
     %4 = sliceRows($b.attn.qkv.bias) {start: 4, end: 12} : [8]  // b.attn.kv.bias
     %5 = gemm(%0, %3, %4) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 4, 8]  // b.attn.kv
     %6 = sliceRows($b.attn.qkv.weight) {start: 0, end: 4} : [4, 4]  // b.attn.q.weight
     %7 = sliceRows($b.attn.qkv.bias) {start: 0, end: 4} : [4]  // b.attn.q.bias
     %8 = gemm(%2, %6, %7) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 2, 4]  // b.attn.q
     %9 = attention(%8, %5) {heads: 2, scale: 0.5} : [2, 2, 4]  // b.attn
     %10 = gemm(%9, $b.attn.proj.weight, %1) {source: {kind:rows}, bias: false, activation: none, residual: true} : [2, 2, 4]  // b.attn.proj
     %11 = token(%10) {index: 0} : [2, 4]  // pick1
     %12 = token(%10) {index: 1} : [2, 4]  // pick2
     output token1 = %11 : [2, 4]
     output token2 = %12 : [2, 4]`,
  );
});

test("narrow-tail narrows what it can behind an attention that it cannot split", () => {
  for (const tapped of ["attention", "qkv"] as const) {
    const input = block({ tapped });
    const { graph: output } = runPasses(input, [narrowTail]);
    assert.equal(output.nodes.map((node) => `${node.op} ${node.output.shape.join()}`), ["layerNorm 2,4,4", "gemm 2,4,12", "attention 2,4,4", "token 2,4", "token 2,4", "gemm 2,4"]);
    assert.ok(distance(input, output) <= passTolerance);
  }
  // A norm that is returned is computed for all, and for the token anew.
  const input = block({ tapped: "norm" });
  assert.ok(distance(input, runPasses(input, [narrowTail]).graph) <= passTolerance);
});

test("narrow-tail declines where all tokens are returned or read, or picked", () => {
  expectDeclined(narrowTail, block({ tapped: "proj" }), "all tokens of b.attn.proj are returned or read");
  expectDeclined(narrowTail, block({ tokens: 1 }), "all tokens of b.attn.proj are returned or read");
  expectDeclined(narrowTail, graph((b) => ({ y: b.node("token", { index: 0 }, [b.input("x", [2, 4, 3])], "pick") })), "all tokens of its input are returned or read");
  const pooled = graph((b) => ({ y: b.node("reduce", { kind: "avg" }, [layerNorm(b, b.input("x", [2, 4, 3]), "norm")], "pool") }));
  expectDeclined(narrowTail, pooled);
  const both = graph((b) => {
    const norm = layerNorm(b, b.input("x", [2, 4, 3]), "norm");
    return { y: b.node("token", { index: 0 }, [norm], "pick"), z: b.node("reduce", { kind: "max" }, [norm], "pool") };
  });
  expectDeclined(narrowTail, both, "all tokens of norm are returned or read");
});

test("narrow-tail goes through every op that works row by row", () => {
  const input = graph((b) => {
    const x = b.input("x", [2, 4, 3]);
    const scaled = b.node("scale", { factor: 2 }, [b.node("scaleLast", {}, [b.node("activation", { kind: "relu" }, [x], "relu"), b.parameter("gamma", [3])], "ls")], "scale");
    const sum = b.node("addScale", { factor: 0.5 }, [b.node("add", {}, [scaled, x], "add"), x], "mean");
    return { y: b.node("token", { index: 3 }, [layerNorm(b, sum, "norm")], "pick") };
  });
  const { graph: output } = runPasses(input, [narrowTail]);
  assert.equal(output.nodes.map((node) => `${node.op} ${node.output.shape.join()}`), ["token 2,3", "activation 2,3", "scaleLast 2,3", "scale 2,3", "add 2,3", "addScale 2,3", "layerNorm 2,3"]);
  assert.ok(distance(input, output) <= passTolerance);
  // A sum that repeats its second operand is no sum of rows.
  const broadcast = graph((b) => ({ y: b.node("token", { index: 1 }, [b.node("add", {}, [b.input("x", [2, 4, 3]), b.input("z", [1, 4, 3])], "add")], "pick") }));
  expectDeclined(narrowTail, broadcast, "all tokens of add are returned or read");
});

// ------------------------------------------------------------------------------------------------------ models

const launches = (spec: ViTSpec, list = passes): Graph["nodes"] => runPasses(buildGraph(resolve(spec), { batch: 1 }), list).graph.nodes.filter((node) => !isWeightOp(node));

test("a ViT-B/16 is five launches a block, and 64 in all", () => {
  const base = launches(exampleSpecs.get("vit-base-patch16-224")!);
  assert.is(base.length, 64);
  assert.equal(base.slice(0, 6).map(({ op, name }) => `${op} ${name}`), ["gemm patch_embed.proj", "gemm blocks.0.attn.qkv", "attention blocks.0.attn", "gemm blocks.0.attn.proj", "gemm blocks.0.mlp.fc1", "gemm blocks.0.mlp.fc2"]);
  assert.equal(base.slice(-8).map(({ op, name }) => `${op} ${name}`), [
    "token blocks.11.token", "gemm blocks.11.attn.kv", "gemm blocks.11.attn.q", "attention blocks.11.attn", "gemm blocks.11.attn.proj", "gemm blocks.11.mlp.fc1", "gemm blocks.11.mlp.fc2", "gemm head",
  ]);
});

test("the tail of a ViT-B/16 saves 6.9 percent of its arithmetic", () => {
  const flops = (list = passes): number => launches(exampleSpecs.get("vit-base-patch16-224")!, list).reduce((total, node) => total + flopsOf(node), 0);
  const saved = 1 - flops() / flops(passes.filter((pass) => pass !== narrowTail));
  assert.ok(Math.abs(saved - 0.0692) < 0.0005, `${saved}`);
});

test("a tail needs no copy besides one of its tokens, and a pick for each head of several", () => {
  const copies = (changes: Partial<ViTSpec>): string[] => launches(smallSpec(changes)).filter(({ op }) => ["token", "sliceTokens", "tokenNorm", "layerNorm"].includes(op)).map(({ op, name }) => `${op} ${name}`);
  assert.equal(copies({}), ["token blocks.1.token"]);
  assert.equal(copies({ tokens: { distillation: true } }), ["sliceTokens blocks.1.token", "token head.token", "token head_dist.token"]);
  assert.equal(copies({ finalNorm: "pooled", representation: 3 }), ["token blocks.1.token"]);
  assert.equal(copies({ finalNorm: "none" }), ["token blocks.1.token"]);
  assert.equal(copies({ classes: 0 }), ["token blocks.1.token", "layerNorm norm"]);
  // The last block is returned, so the head starts from a token of it.
  assert.equal(copies({ outputs: ["blocks.1"] }), ["token pool"]);
  assert.equal(copies({ outputs: ["blocks.1"], classes: 0 }), ["tokenNorm norm"]);
  assert.equal(copies({ outputs: ["norm"] }), ["layerNorm norm", "token pool"]);
  assert.equal(copies({ pool: "avg" }), ["layerNorm norm"]);
  assert.equal(copies({ pool: "avg", finalNorm: "pooled" }), []);
});

test.run();
