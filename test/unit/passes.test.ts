/** Each pass on small graphs: what it makes of them, and what it leaves alone. */
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import { GraphBuilder, type Graph, type Value } from "../../compiler/ir/graph.js";
import { IrError } from "../../compiler/ir/ops/op.js";
import { print } from "../../compiler/ir/print.js";
import { foldBatchNorm } from "../../compiler/passes/fold-batch-norm.js";
import { fuseAttention } from "../../compiler/passes/fuse-attention.js";
import { fuseActivation, fuseResidual } from "../../compiler/passes/fuse-epilogue.js";
import { fuseEmbed, fuseMean, fusePool, lowerSums, narrowNorm } from "../../compiler/passes/fuse-tokens.js";
import { runPasses } from "../../compiler/passes/index.js";
import { inference } from "../../compiler/passes/inference.js";
import { lowerProducts } from "../../compiler/passes/lower-products.js";
import type { Pass, PassEvent } from "../../compiler/passes/pass.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { distance, passTolerance } from "../tools/distance.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("passes");

function graph(make: (b: GraphBuilder) => Record<string, Value>): Graph {
  const builder = new GraphBuilder("test");
  for (const [name, value] of Object.entries(make(builder))) builder.output(name, value);
  return builder.build();
}

/** Runs a pass on a graph that prints as `before`; the result must print as `after`, and mean the same. */
function expectRewrite(pass: Pass, input: Graph, before: string, after: string): PassEvent[] {
  assert.is(print(input), dedent(before));
  const { graph: output, events } = runPasses(input, [pass]);
  assert.is(print(output), dedent(after));
  assert.ok(distance(input, output) <= passTolerance);
  return [...events];
}

/** A graph that a pass leaves as it is, and the reason that it gives, if it gives one. */
function expectDeclined(pass: Pass, input: Graph, reason?: string): void {
  const { graph: output, events } = runPasses(input, [pass]);
  assert.is(print(output), print(input));
  assert.equal(events.map((event) => [event.fired, event.reason]), reason === undefined ? [] : [[false, reason]]);
}

const dedent = (text: string): string => `${text.trim().split("\n").map((line) => line.trim()).join("\n")}\n`;

const product = { source: { kind: "rows" }, bias: false, activation: "none", residual: false } as const;

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
}

/** Attention written out; four tokens and heads of width four, so that a product fits either way. */
function writtenOut({ order = [0, 1, 2], transposeB = true, returned }: AttentionParts = {}): Graph {
  return graph((b) => {
    const qkv = b.input("qkv", [1, 4, 24]);
    const [q, k, v] = order.map((part) => b.node("splitHeads", { heads: 2, part }, [qkv], `attn.${"qkv"[part]}`)) as [Value, Value, Value];
    const scores = b.node("matmul", { transposeB }, [b.node("scale", { factor: 0.5 }, [q], "attn.scale"), k], "attn.scores");
    const softmax = b.node("softmax", {}, [scores], "attn.softmax");
    const y = b.node("mergeHeads", {}, [b.node("matmul", { transposeB: false }, [softmax, v], "attn.mix")], "attn.merge");
    return { y, ...(returned && { [returned]: returned === "softmax" ? softmax : scores }) };
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

test("fuse-attention declines anything else", () => {
  const reason = "not the pattern softmax(scale q kᵀ) v on one packed projection, or something inside is read elsewhere";
  for (const parts of [{ order: [1, 0, 2] }, { order: [0, 1, 1] }, { transposeB: false }, { returned: "softmax" }, { returned: "scores" }] as const) expectDeclined(fuseAttention, writtenOut(parts), reason);
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
});

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
  // A sum that repeats its second operand is no residual.
  expectDeclined(fuseResidual, graph((b) => ({ y: b.node("add", {}, [b.input("x", [2, 3]), gemm(b, b.input("z", [1, 3]))], "add") })));
});

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

test("a graph that a pass breaks is refused by the pass's name", () => {
  const careless: Pass = { name: "careless", why: "It forgets a node.", run: (g) => ({ ...g, nodes: g.nodes.slice(1) }) };
  assert.throws(() => runPasses(buildGraph(resolve(smallSpec()), { batch: 1 }), [careless]), (error: unknown) => error instanceof IrError && error.message.includes("after careless"));
});

test.run();
