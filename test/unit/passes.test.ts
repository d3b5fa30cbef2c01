/** Passes on small graphs: what they make of them, and what they leave alone. Those around tokens have a file of their own. */
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import type { Graph, GraphBuilder, Value } from "../../compiler/ir/graph.js";
import { IrError } from "../../compiler/ir/ops/op.js";
import { print } from "../../compiler/ir/print.js";
import { foldBatchNorm } from "../../compiler/passes/fold-batch-norm.js";
import { fuseAttention } from "../../compiler/passes/fuse-attention.js";
import { fuseActivation, fuseResidual } from "../../compiler/passes/fuse-epilogue.js";
import { runPasses } from "../../compiler/passes/index.js";
import { inference } from "../../compiler/passes/inference.js";
import { lowerProducts } from "../../compiler/passes/lower-products.js";
import type { Pass } from "../../compiler/passes/pass.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { distance, passTolerance } from "../tools/distance.js";
import { expectDeclined, expectRewrite, graph, product } from "../tools/rewrites.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("passes");

test("inference removes dropout and DropPath, at an output too", () => {
  const events = expectRewrite(
    inference,
    graph((b) => {
      const dropped = b.node("dropout", { rate: 0.1 }, [b.input("x", [2, 3])], "drop");
      return { y: b.node("scale", { factor: 2 }, [b.node("dropPath", { rate: 0.2 }, [dropped], "path")], "scale"), dropped };
    }),
    `input %x : [2, 3]
     %0 = dropout(%x) {rate: 0.1} : [2, 3]  // drop
     %1 = dropPath(%0) {rate: 0.2} : [2, 3]  // path
     %2 = scale(%1) {factor: 2} : [2, 3]  // scale
     output y = %2 : [2, 3]
     output dropped = %0 : [2, 3]`,
    `input %x : [2, 3]
     %0 = scale(%x) {factor: 2} : [2, 3]  // scale
     output y = %0 : [2, 3]
     output dropped = %x : [2, 3]`,
  );
  assert.equal(events.map((event) => event.reason), ["dropout at rate 0.1 removed", "dropPath at rate 0.2 removed"]);
});

/** A convolution and the batch norm behind it. */
function normalized(b: GraphBuilder, bias: boolean): { conv: Value; norm: Value } {
  const weights = [b.parameter("conv.weight", [4, 3, 3, 3]), ...(bias ? [b.parameter("conv.bias", [4])] : [])];
  const conv = b.node("conv2d", { stride: [2, 2], padding: [1, 1] }, [b.input("x", [1, 3, 4, 4]), ...weights], "conv");
  const statistics = ["weight", "bias", "running_mean", "running_var"].map((name) => b.parameter(`norm.${name}`, [4]));
  return { conv, norm: b.node("batchNorm", { eps: 1e-5 }, [conv, ...statistics], "norm") };
}

test("fold-batch-norm puts a batch norm into the weights of its convolution", () => {
  expectRewrite(
    foldBatchNorm,
    graph((b) => ({ y: normalized(b, false).norm })),
    `input %x : [1, 3, 4, 4]
     %0 = conv2d(%x, $conv.weight) {stride: [2,2], padding: [1,1]} : [1, 4, 2, 2]  // conv
     %1 = batchNorm(%0, $norm.weight, $norm.bias, $norm.running_mean, $norm.running_var) {eps: 0.00001} : [1, 4, 2, 2]  // norm
     output y = %1 : [1, 4, 2, 2]`,
    `input %x : [1, 3, 4, 4]
     %0 = foldBatchNormScale($conv.weight, $norm.weight, $norm.running_var) {eps: 0.00001} : [4, 3, 3, 3]  // conv.weight
     %1 = foldBatchNormShift($norm.weight, $norm.bias, $norm.running_mean, $norm.running_var) {eps: 0.00001} : [4]  // conv.bias
     %2 = conv2d(%x, %0, %1) {stride: [2,2], padding: [1,1]} : [1, 4, 2, 2]  // conv
     output y = %2 : [1, 4, 2, 2]`,
  );
});

test("fold-batch-norm declines what a convolution's weights cannot carry", () => {
  const reason = "its input is not a convolution without bias that only it reads";
  expectDeclined(foldBatchNorm, graph((b) => ({ y: normalized(b, true).norm })), reason);
  expectDeclined(foldBatchNorm, graph((b) => {
    const { conv, norm } = normalized(b, false);
    return { y: norm, conv };
  }), reason);
});

test("lower-products makes gemms of linear layers and convolutions, and loses the maps between them", () => {
  expectRewrite(
    lowerProducts,
    graph((b) => {
      const conv = b.node("conv2d", { stride: [1, 1], padding: [1, 1] }, [b.input("x", [2, 3, 4, 4]), b.parameter("stem.weight", [4, 3, 3, 3])], "stem");
      const relu = b.node("activation", { kind: "relu" }, [conv], "relu");
      const patches = b.node("conv2d", { stride: [2, 2], padding: [0, 0] }, [relu, b.parameter("proj.weight", [6, 4, 2, 2]), b.parameter("proj.bias", [6])], "proj");
      const tokens = b.node("mapToTokens", {}, [patches], "proj");
      return { y: b.node("linear", {}, [tokens, b.parameter("head.weight", [5, 6])], "head") };
    }),
    `input %x : [2, 3, 4, 4]
     %0 = conv2d(%x, $stem.weight) {stride: [1,1], padding: [1,1]} : [2, 4, 4, 4]  // stem
     %1 = activation(%0) {kind: relu} : [2, 4, 4, 4]  // relu
     %2 = conv2d(%1, $proj.weight, $proj.bias) {stride: [2,2], padding: [0,0]} : [2, 6, 2, 2]  // proj
     %3 = mapToTokens(%2) : [2, 4, 6]  // proj
     %4 = linear(%3, $head.weight) : [2, 4, 5]  // head
     output y = %4 : [2, 4, 5]`,
    `input %x : [2, 3, 4, 4]
     %0 = gemm(%x, $stem.weight) {source: {kind:image,stride:[1,1],padding:[1,1]}, bias: false, activation: none, residual: false} : [2, 16, 4]  // stem
     %1 = activation(%0) {kind: relu} : [2, 16, 4]  // relu
     %2 = gemm(%1, $proj.weight, $proj.bias) {source: {kind:map,height:4,width:4,stride:[2,2],padding:[0,0]}, bias: true, activation: none, residual: false} : [2, 4, 6]  // proj
     %3 = gemm(%2, $head.weight) {source: {kind:rows}, bias: false, activation: none, residual: false} : [2, 4, 5]  // head
     output y = %3 : [2, 4, 5]`,
  );
});

test("lower-products keeps a map that something else reads as one", () => {
  const output = runPasses(graph((b) => ({ map: b.node("conv2d", { stride: [2, 2], padding: [0, 0] }, [b.input("x", [1, 3, 4, 4]), b.parameter("w", [4, 3, 2, 2])], "conv") })), [lowerProducts]).graph;
  assert.equal(output.nodes.map((node) => node.op), ["gemm", "tokensToMap"]);
});

interface AttentionParts {
  readonly order?: readonly [0 | 1 | 2, 0 | 1 | 2, 0 | 1 | 2];
  readonly transposeB?: boolean;
  readonly returned?: "softmax" | "scores";
  /** Whether something else reads the weights too. */
  readonly twice?: boolean;
}

/** Attention written out; four tokens and heads of width four, so that a product fits either way. */
function writtenOut({ order = [0, 1, 2], transposeB = true, returned, twice = false }: AttentionParts = {}): Graph {
  return graph((b) => {
    const qkv = b.input("qkv", [1, 4, 24]);
    const [q, k, v] = order.map((part) => b.node("splitHeads", { heads: 2, part }, [qkv], `attn.${"qkv"[part]}`)) as [Value, Value, Value];
    const scores = b.node("matmul", { transposeB }, [b.node("scale", { factor: 0.5 }, [q], "attn.scale"), k], "attn.scores");
    const softmax = b.node("softmax", {}, [scores], "attn.softmax");
    const y = b.node("mergeHeads", {}, [b.node("matmul", { transposeB: false }, [softmax, v], "attn.mix")], "attn.merge");
    return { y, ...(twice && { twice: b.node("scale", { factor: 2 }, [softmax], "twice") }), ...(returned && { [returned]: returned === "softmax" ? softmax : scores }) };
  });
}

test("fuse-attention takes seven nodes for one", () => {
  expectRewrite(
    fuseAttention,
    writtenOut(),
    `input %qkv : [1, 4, 24]
     %0 = splitHeads(%qkv) {heads: 2, part: 0} : [1, 2, 4, 4]  // attn.q
     %1 = splitHeads(%qkv) {heads: 2, part: 1} : [1, 2, 4, 4]  // attn.k
     %2 = splitHeads(%qkv) {heads: 2, part: 2} : [1, 2, 4, 4]  // attn.v
     %3 = scale(%0) {factor: 0.5} : [1, 2, 4, 4]  // attn.scale
     %4 = matmul(%3, %1) {transposeB: true} : [1, 2, 4, 4]  // attn.scores
     %5 = softmax(%4) : [1, 2, 4, 4]  // attn.softmax
     %6 = matmul(%5, %2) {transposeB: false} : [1, 2, 4, 4]  // attn.mix
     %7 = mergeHeads(%6) : [1, 4, 8]  // attn.merge
     output y = %7 : [1, 4, 8]`,
    `input %qkv : [1, 4, 24]
     %0 = attention(%qkv) {heads: 2, scale: 0.5} : [1, 4, 8]  // attn
     output y = %0 : [1, 4, 8]`,
  );
});

test("fuse-attention computes weights that are returned once more", () => {
  const { graph: output, events } = runPasses(writtenOut({ returned: "softmax" }), [fuseAttention]);
  assert.is(print(output), `input %qkv : [1, 4, 24]
%0 = attentionMap(%qkv) {heads: 2, scale: 0.5} : [1, 2, 4, 4]  // attn.map
%1 = attention(%qkv) {heads: 2, scale: 0.5} : [1, 4, 8]  // attn
output y = %1 : [1, 4, 8]
output softmax = %0 : [1, 2, 4, 4]
`);
  assert.ok(distance(writtenOut({ returned: "softmax" }), output) <= passTolerance);
  assert.equal(events.map(({ node, reason }) => [node, reason]), [["attn", "scores, softmax and weighted sum in one kernel, and the map, which is returned, in another"]]);
});

test("fuse-attention declines anything else", () => {
  const reason = "not the pattern softmax(scale q kᵀ) v on one packed projection, or something inside is read elsewhere";
  for (const parts of [{ order: [1, 0, 2] }, { order: [0, 1, 1] }, { transposeB: false }, { returned: "scores" }, { twice: true }, { returned: "softmax", twice: true }] as const) expectDeclined(fuseAttention, writtenOut(parts), reason);
});

test("fuse-activation puts an activation behind a product", () => {
  expectRewrite(
    fuseActivation,
    graph((b) => ({ y: b.node("activation", { kind: "gelu" }, [b.node("gemm", product, [b.input("x", [2, 3]), b.parameter("w", [4, 3])], "fc1")], "act") })),
    `input %x : [2, 3]
     %0 = gemm(%x, $w) {source: {kind:rows}, bias: false, activation: none, residual: false} : [2, 4]  // fc1
     %1 = activation(%0) {kind: gelu} : [2, 4]  // act
     output y = %1 : [2, 4]`,
    `input %x : [2, 3]
     %0 = gemm(%x, $w) {source: {kind:rows}, bias: false, activation: gelu, residual: false} : [2, 4]  // fc1
     output y = %0 : [2, 4]`,
  );
});

test("fuse-activation declines when the product is read elsewhere, or already ends in something", () => {
  const activated = (attrs: { activation: "none" | "relu"; residual: boolean }, tapped: boolean) =>
    graph((b) => {
      const x = b.input("x", [2, 3]);
      const gemm = b.node("gemm", { ...product, ...attrs }, [x, b.parameter("w", [3, 3]), ...(attrs.residual ? [x] : [])], "fc1");
      return { y: b.node("activation", { kind: "gelu" }, [gemm], "act"), ...(tapped && { gemm }) };
    });
  expectDeclined(fuseActivation, activated({ activation: "none", residual: false }, true), "the result of fc1 is also read elsewhere");
  expectDeclined(fuseActivation, activated({ activation: "relu", residual: false }, false), "fc1 already ends in relu");
  expectDeclined(fuseActivation, activated({ activation: "none", residual: true }, false), "fc1 already ends in a residual");
  expectDeclined(fuseActivation, graph((b) => ({ y: b.node("activation", { kind: "gelu" }, [b.input("x", [2, 3])], "act") })), "its input is not a matrix product");
  expectDeclined(fuseActivation, graph((b) => ({ y: b.node("activation", { kind: "gelu" }, [tabled(b)], "act") })), "proj already ends in a table");
});

/** A product that ends in a table. */
const tabled = (b: GraphBuilder): Value => b.node("gemm", { ...product, source: { kind: "image", stride: [2, 2], padding: [0, 0] }, table: true }, [b.input("image", [1, 1, 4, 4]), b.parameter("w", [3, 1, 2, 2]), b.parameter("table", [1, 4, 3])], "proj");

test("fuse-residual adds the stream behind a product, after its activation", () => {
  expectRewrite(
    fuseResidual,
    graph((b) => {
      const x = b.input("x", [2, 3]);
      return { y: b.node("add", {}, [x, b.node("gemm", { ...product, activation: "relu" }, [x, b.parameter("w", [3, 3])], "proj")], "add") };
    }),
    `input %x : [2, 3]
     %0 = gemm(%x, $w) {source: {kind:rows}, bias: false, activation: relu, residual: false} : [2, 3]  // proj
     %1 = add(%x, %0) : [2, 3]  // add
     output y = %1 : [2, 3]`,
    `input %x : [2, 3]
     %0 = gemm(%x, $w, %x) {source: {kind:rows}, bias: false, activation: relu, residual: true} : [2, 3]  // proj
     output y = %0 : [2, 3]`,
  );
});

test("fuse-residual declines a sum that its product cannot take", () => {
  const gemm = (b: GraphBuilder, x: Value) => b.node("gemm", product, [x, b.parameter("w", [3, 3])], "proj");
  expectDeclined(fuseResidual, graph((b) => {
    const x = b.input("x", [2, 3]);
    const branch = gemm(b, x);
    return { y: b.node("add", {}, [x, branch], "add"), branch };
  }), "the result of proj is also read elsewhere");
  expectDeclined(fuseResidual, graph((b) => {
    const branch = gemm(b, b.input("x", [2, 3]));
    return { y: b.node("add", {}, [branch, branch], "add") };
  }), "the result of proj is also read elsewhere");
  expectDeclined(fuseResidual, graph((b) => ({ y: b.node("add", {}, [b.input("x", [2, 3]), b.input("z", [2, 3])], "add") })), "what is added is not a matrix product");
  expectDeclined(fuseResidual, graph((b) => ({ y: b.node("add", {}, [b.input("x", [1, 4, 3]), tabled(b)], "add") })), "proj already ends in a table");
  // A sum that repeats its second operand is no residual.
  expectDeclined(fuseResidual, graph((b) => ({ y: b.node("add", {}, [b.input("x", [2, 3]), gemm(b, b.input("z", [1, 3]))], "add") })));
});

test("a graph that a pass breaks is refused by the pass's name", () => {
  const careless: Pass = { name: "careless", why: "It forgets a node.", run: (g) => ({ ...g, nodes: g.nodes.slice(1) }) };
  assert.throws(() => runPasses(buildGraph(resolve(smallSpec()), { batch: 1 }), [careless]), (error: unknown) => error instanceof IrError && error.message.includes("after careless"));
});

test.run();
