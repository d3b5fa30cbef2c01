import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import { bytesOf, flopsOf, touchedOf } from "../../compiler/ir/cost.js";
import { GraphBuilder, makeNode, newValue, type Graph, type Node } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { IrError, type Shape, type Tensor } from "../../compiler/ir/ops/op.js";
import { print } from "../../compiler/ir/print.js";
import { verify } from "../../compiler/ir/verify.js";
import { runPasses } from "../../compiler/passes/index.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { noteFixture, noteNames, readTensors, reference, worstError } from "../tools/fixtures.js";
import { product } from "../tools/rewrites.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { evaluate, randomValues, tensor } from "../tools/tensors.js";

const test = suite("the graph");

// ------------------------------------------------------------------------------------------------------ text

test("a graph prints as text, one node a line, whatever the numbers of its values", () => {
  const expected = `input %input : [2, 3, 8, 8]
%0 = conv2d(%input, $patch_embed.proj.weight, $patch_embed.proj.bias) {stride: [4,4], padding: [0,0]} : [2, 8, 2, 2]  // patch_embed.proj
%1 = mapToTokens(%0) : [2, 4, 8]  // patch_embed.proj
%2 = positionTable() {kind: sincos2d, grid: [2,2], dim: 8, prefix: 0, temperature: 10000} : [1, 4, 8]  // pos_embed
%3 = add(%1, %2) : [2, 4, 8]  // pos_embed
%4 = layerNorm(%3, $blocks.0.norm1.weight, $blocks.0.norm1.bias) {eps: 0.000001} : [2, 4, 8]  // blocks.0.norm1
%5 = linear(%4, $blocks.0.attn.qkv.weight, $blocks.0.attn.qkv.bias) : [2, 4, 24]  // blocks.0.attn.qkv
%6 = splitHeads(%5) {heads: 2, part: 0} : [2, 2, 4, 4]  // blocks.0.attn.q
%7 = splitHeads(%5) {heads: 2, part: 1} : [2, 2, 4, 4]  // blocks.0.attn.k
%8 = splitHeads(%5) {heads: 2, part: 2} : [2, 2, 4, 4]  // blocks.0.attn.v
%9 = scale(%6) {factor: 0.5} : [2, 2, 4, 4]  // blocks.0.attn.scale
%10 = matmul(%9, %7) {transposeB: true} : [2, 2, 4, 4]  // blocks.0.attn.scores
%11 = softmax(%10) : [2, 2, 4, 4]  // blocks.0.attn.softmax
%12 = matmul(%11, %8) {transposeB: false} : [2, 2, 4, 4]  // blocks.0.attn.mix
%13 = mergeHeads(%12) : [2, 4, 8]  // blocks.0.attn.merge
%14 = linear(%13, $blocks.0.attn.proj.weight, $blocks.0.attn.proj.bias) : [2, 4, 8]  // blocks.0.attn.proj
%15 = add(%3, %14) : [2, 4, 8]  // blocks.0.add1
%16 = layerNorm(%15, $blocks.0.norm2.weight, $blocks.0.norm2.bias) {eps: 0.000001} : [2, 4, 8]  // blocks.0.norm2
%17 = linear(%16, $blocks.0.mlp.fc1.weight, $blocks.0.mlp.fc1.bias) : [2, 4, 32]  // blocks.0.mlp.fc1
%18 = activation(%17) {kind: gelu} : [2, 4, 32]  // blocks.0.mlp.act
%19 = linear(%18, $blocks.0.mlp.fc2.weight, $blocks.0.mlp.fc2.bias) : [2, 4, 8]  // blocks.0.mlp.fc2
%20 = add(%15, %19) : [2, 4, 8]  // blocks.0.add2
%21 = reduce(%20) {kind: avg} : [2, 8]  // pool
output features = %21 : [2, 8]
`;
  const spec = resolve(smallSpec({ depth: 1, tokens: { class: false }, position: { kind: "sincos2d" }, finalNorm: "none", pool: "avg", classes: 0 }));
  assert.is(print(buildGraph(spec, { batch: 2 })), expected);
  assert.is(print(buildGraph(spec, { batch: 2 })), expected);
});

// ------------------------------------------------------------------------------------------------------ verification

function small(): Graph {
  return buildGraph(resolve(smallSpec({ depth: 1 })), { batch: 1 });
}

/** Replaces the first node of an op. */
function withNode(graph: Graph, op: Node["op"], change: (node: Node) => Node): Graph {
  const at = graph.nodes.findIndex((node) => node.op === op);
  assert.ok(at >= 0);
  return { ...graph, nodes: graph.nodes.with(at, change(graph.nodes[at]!)) };
}

const broken: readonly (readonly [title: string, make: (graph: Graph) => Graph, message: RegExp])[] = [
  ["a value that nothing defines", (g) => withNode(g, "softmax", (node) => ({ ...node, inputs: [newValue([1, 2, 5, 5])] })), /after test: blocks\.0\.attn\.softmax \(softmax\) reads %\d+ before it is defined/],
  ["a node before its input", (g) => ({ ...g, nodes: g.nodes.toReversed() }), /reads %\d+ before it is defined/],
  ["a node left out", (g) => ({ ...g, nodes: g.nodes.filter((node) => node.op !== "softmax") }), /blocks\.0\.attn\.mix \(matmul\) reads %\d+ before it is defined/],
  ["a value defined twice", (g) => ({ ...g, nodes: [...g.nodes, g.nodes[0]!] }), /patch_embed\.proj \(conv2d\) defines %\d+ again/],
  ["a parameter's value as an output of a node", (g) => withNode(g, "conv2d", (node) => ({ ...node, output: g.parameters[0]!.value })), /defines %\d+ again/],
  ["an input that is also a parameter", (g) => ({ ...g, parameters: [...g.parameters, { name: "again", value: g.inputs[0]!.value }] }), /again is defined twice/],
  ["a shape that the op does not have", (g) => withNode(g, "softmax", (node) => ({ ...node, output: newValue([1, 2, 5, 4]) })), /blocks\.0\.attn\.softmax \(softmax\) has shape 1,2,5,4, its op infers 1,2,5,5/],
  ["inputs that do not fit the op", (g) => withNode(g, "linear", (node) => ({ ...node, inputs: [node.inputs[0]!, node.inputs[0]!] })), /blocks\.0\.attn\.qkv \(linear\): linear: x 1,5,8 and weight 1,5,8 do not fit/],
  ["attributes that do not fit the op", (g) => withNode(g, "splitHeads", (node) => (node.op === "splitHeads" ? { ...node, attrs: { ...node.attrs, heads: 5 } } : node)), /splitHeads: part 0 of 1,5,24 into 3 x 5 heads/],
  ["an output that is never computed", (g) => ({ ...g, outputs: [{ name: "logits", value: newValue([1, 5]) }] }), /output logits is never computed/],
  ["two outputs of one name", (g) => ({ ...g, outputs: [...g.outputs, ...g.outputs] }), /two of logits, logits share a name/],
  ["two parameters of one name", (g) => ({ ...g, parameters: g.parameters.map((parameter) => ({ ...parameter, name: "weight" })) }), /share a name/],
];

for (const [title, make, message] of broken) {
  test(`verify refuses ${title}`, () => {
    verify(small(), "test");
    assert.throws(
      () => verify(make(small()), "test"),
      (error: unknown) => error instanceof IrError && error.message.startsWith("small, after test: ") && message.test(error.message),
    );
  });
}

test("every op refuses inputs that do not fit it", () => {
  const refusals: readonly (() => unknown)[] = [
    () => infer("conv2d", { stride: [1, 1], padding: [0, 0] }, [1, 3, 4, 4], [2, 2, 3, 3]),
    () => infer("conv2d", { stride: [1, 1], padding: [0, 0] }, [1, 3, 2, 4], [2, 3, 3, 3]),
    () => infer("conv2d", { stride: [1, 1], padding: [0, 0] }, [1, 3, 4, 4], [2, 3, 3, 3], [3]),
    () => infer("batchNorm", { eps: 1 }, [1, 3, 4, 4], [3], [3], [3], [4]),
    () => infer("mapToTokens", {}, [1, 3, 4]),
    () => infer("tokensToMap", { height: 2, width: 2 }, [1, 5, 3]),
    () => infer("linear", {}, [1, 4], [3, 5]),
    () => infer("linear", {}, [1, 4], [3, 4], [4]),
    () => infer("matmul", { transposeB: false }, [1, 2, 3, 4], [1, 2, 3, 4]),
    () => infer("matmul", { transposeB: true }, [1, 2, 3, 4], [1, 3, 3, 4]),
    () => infer("splitHeads", { heads: 2, part: 0 }, [1, 2, 10]),
    () => infer("mergeHeads", {}, [1, 2, 3]),
    () => infer("layerNorm", { eps: 1 }, [1, 4], [4], [3]),
    () => infer("softmax", {}, []),
    () => infer("reduce", { kind: "avg" }, [1, 2]),
    () => infer("add", {}, [2, 4], [2, 3]),
    () => infer("add", {}, [2, 4], [4]),
    () => infer("expand", { batch: 3 }, [2, 4]),
    () => infer("concat", { axis: 1 }, [1, 2, 3], [1, 2, 4]),
    () => infer("sliceTokens", { start: 2, end: 5 }, [1, 4, 3]),
    () => infer("token", { index: 4 }, [1, 4, 3]),
    () => infer("foldBatchNormScale", { eps: 1 }, [4, 3, 1, 1], [4], [3]),
    () => infer("foldBatchNormShift", { eps: 1 }, [4], [4], [4]),
    () => infer("gemm", { source: { kind: "rows" }, bias: true, activation: "none", residual: false }, [1, 4], [3, 4]),
    () => infer("gemm", { source: { kind: "rows" }, bias: false, activation: "none", residual: true }, [1, 4], [3, 4], [1, 4]),
    () => infer("gemm", { source: { kind: "map", height: 2, width: 3, stride: [1, 1], padding: [0, 0] }, bias: false, activation: "none", residual: false }, [1, 5, 4], [3, 4, 1, 1]),
    () => infer("attention", { heads: 2, scale: 1 }, [1, 4, 9]),
    () => infer("attentionMap", { heads: 2, scale: 1 }, [1, 4, 9]),
    () => infer("attentionMap", { heads: 2, scale: 1, differential: true }, [1, 4, 12]),
    () => infer("attentionMap", { heads: 2, scale: 1, differential: true }, [1, 4, 18], [1]),
    () => infer("attentionMap", { heads: 2, scale: 1, relative: { grid: [2, 2], prefix: 0 }, differential: true }, [1, 4, 12], [1]),
    () => infer("l2Normalize", {}, []),
    () => infer("embed", { prefix: 1, position: "all" }, [1, 4, 3], [1, 1, 3], [1, 4, 3]),
    () => infer("embed", { prefix: 1, position: "none" }, [1, 4, 3], [1, 1, 4]),
    () => infer("tokenNorm", { kind: "layer", index: 4, eps: 1 }, [1, 4, 3], [3], [3]),
    () => infer("poolTokens", { kind: "avg", start: 4 }, [1, 4, 3]),
    () => infer("addScale", { factor: 1 }, [1, 4], [1, 3]),
    () => infer("normalizeChannels", { mean: [1], std: [1, 1, 1] }, [1, 3, 4, 4]),
    () => infer("unitVariance", { eps: 1 }, []),
    () => infer("scaleLast", {}, [1, 4], [3]),
    () => infer("asTokens", {}, [1, 4, 3]),
    () => infer("padTokens", { start: -1 }, [1, 4, 3]),
    () => infer("splitHeads", { heads: 2, part: 2, parts: 2 }, [1, 2, 8]),
    () => infer("foldNormScale", { centre: true }, [4, 3], [4]),
    () => infer("foldNormShift", {}, [4, 3], [3], [3]),
    () => infer("foldPixelScale", { std: [1] }, [4, 3, 2, 2]),
    () => infer("foldPixelShift", { mean: [1, 1], std: [1, 1, 1] }, [4, 3, 2, 2]),
    () => infer("foldPixelShift", { mean: [1, 1, 1], std: [1, 1, 1] }, [4, 3, 2, 2], [3]),
    () => infer("scaleRows", { start: 2, end: 5, factor: 1 }, [4, 3]),
    () => infer("scaleChannels", {}, [4, 3], [3]),
    () => infer("sliceRows", { start: 2, end: 2 }, [4, 3]),
    () => infer("tokenTable", { prefix: 1, patches: 4, positions: "all", bias: false }, [1, 1, 3], [1, 4, 3]),
    () => infer("tokenTable", { prefix: 0, patches: 4, positions: "none", bias: false }),
    () => infer("attention", { heads: 2, scale: 1 }, [1, 2, 4], [1, 5, 4]),
    () => infer("attention", { heads: 2, scale: 1 }, [2, 4], [1, 5, 8]),
    () => infer("attention", { heads: 2, scale: 1 }, [4], [1, 5, 8]),
    () => infer("gemm", { ...product, norm: { eps: 1 }, source: { kind: "image", stride: [1, 1], padding: [0, 0] } }, [1, 4, 2, 2], [3, 4, 1, 1]),
    () => infer("gemm", { ...product, source: { kind: "image", stride: [1, 1], padding: [0, 0], prefix: 1 } }, [1, 4, 2, 2], [3, 4, 1, 1]),
    () => infer("gemm", { ...product, residual: true, table: true }, [1, 2, 4], [3, 4], [1, 2, 3]),
    () => infer("gemm", { ...product, table: true }, [2, 2, 4], [3, 4], [2, 2, 3]),
  ];
  refusals.forEach((refused, i) => assert.throws(refused, (error: unknown) => error instanceof IrError, `refusal ${i}`));
});

function infer(op: Node["op"], attrs: object, ...shapes: readonly Shape[]): unknown {
  // The pairs of op and attributes are written out above; the types of all ops at once are a union that no list fits.
  return new GraphBuilder("test").node(op, attrs as never, shapes.map(newValue), op);
}

test("what a node must move is what it reads of each input, and what it writes", () => {
  const cost = (op: Node["op"], attrs: object, ...shapes: readonly Shape[]): readonly [touched: readonly number[], bytes: number] => {
    const node = makeNode(op, attrs as never, shapes.map(newValue), op);
    return [touchedOf(node), bytesOf(node)];
  };
  assert.equal(cost("gemm", { ...product, bias: true, residual: true }, [2, 4], [3, 4], [3], [2, 3]), [[8, 12, 3, 6], 4 * 35]);
  assert.equal(cost("token", { index: 1 }, [2, 5, 3]), [[6], 48]);
  assert.equal(cost("sliceTokens", { start: 1, end: 3 }, [2, 5, 3]), [[12], 96]);
  assert.equal(cost("tokenNorm", { kind: "layer", index: 0, eps: 1 }, [2, 5, 3], [3], [3]), [[6, 3, 3], 72]);
  assert.equal(cost("poolTokens", { kind: "avg", start: 1 }, [2, 5, 3]), [[24], 120]);
  assert.equal(cost("attentionMap", { heads: 1, scale: 1 }, [2, 5, 9]), [[60], 4 * 110]);
  assert.equal(cost("attention", { heads: 1, scale: 1 }, [2, 3], [2, 5, 6]), [[6, 60], 4 * 72]);
});

test("arithmetic counts what the shapes say", () => {
  const flops = (op: Node["op"], attrs: object, ...shapes: readonly Shape[]): number => flopsOf(makeNode(op, attrs as never, shapes.map(newValue), op));
  assert.is(flops("gemm", { ...product, bias: true }, [2, 4], [3, 4], [3]), 2 * 3 * (2 * 4 + 1));
  // For each query and key: score and weighted sum, scale and softmax.
  assert.is(flops("attention", { heads: 2, scale: 1 }, [3, 5, 12]), 3 * 5 * 5 * (4 * 4 + 6 * 2));
  assert.is(flops("attentionMap", { heads: 2, scale: 1 }, [3, 5, 12]), 3 * 5 * 5 * (2 * 4 + 6 * 2));
  assert.is(flops("attention", { heads: 2, scale: 1 }, [3, 4], [3, 5, 8]), 3 * 5 * (4 * 4 + 6 * 2));
  assert.is(flops("attention", { heads: 2, scale: 1 }, [3, 2, 4], [3, 5, 8]), 2 * flops("attention", { heads: 2, scale: 1 }, [3, 4], [3, 5, 8]));
});

test("interpret refuses what is missing or misshapen", () => {
  const graph = small();
  const values = randomValues(graph, 1);
  assert.throws(() => interpret(graph, { ...values, inputs: {} }), /input is not given/);
  assert.throws(() => interpret(graph, { ...values, inputs: { input: tensor([1], [1]) } }), /input has shape \[1\], the graph wants \[1,3,8,8\]/);
});

// ------------------------------------------------------------------------------------------------------ training

const ones = (length: number): Tensor => tensor([length], new Float64Array(length).fill(1));

test("dropout zeroes its share, divides the others by what is kept, and repeats itself for a seed", () => {
  const [count, rate] = [40_000, 0.3];
  const dropped = evaluate("dropout", { rate }, [ones(count)], { seed: 1 }).data;
  const zeros = dropped.filter((value) => value === 0).length;
  // Four standard deviations of a binomial.
  assert.ok(Math.abs(zeros - count * rate) < 4 * Math.sqrt(count * rate * (1 - rate)), `${zeros} of ${count}`);
  assert.ok(dropped.every((value) => value === 0 || value === 1 / 0.7));
  assert.equal(evaluate("dropout", { rate }, [ones(count)], { seed: 1 }).data, dropped);
  assert.not.equal(evaluate("dropout", { rate }, [ones(count)], { seed: 2 }).data, dropped);
  assert.equal(evaluate("dropout", { rate }, [ones(100)]).data, ones(100).data);
});

test("DropPath drops whole samples and divides kept ones by keep", () => {
  const [batch, rate] = [10_000, 0.2];
  const x = tensor([batch, 3], Float64Array.from({ length: 3 * batch }, (_, i) => 1 + (i % 3)));
  const y = evaluate("dropPath", { rate }, [x], { seed: 5 }).data;
  let dropped = 0;
  for (let b = 0; b < batch; b++) {
    const sample = [...y.slice(3 * b, 3 * b + 3)];
    if (sample[0] === 0) dropped++;
    assert.equal(sample, sample[0] === 0 ? [0, 0, 0] : [1 / 0.8, 2 / 0.8, 3 / 0.8]);
  }
  assert.ok(Math.abs(dropped - batch * rate) < 4 * Math.sqrt(batch * rate * (1 - rate)), `${dropped} of ${batch}`);
  assert.equal(evaluate("dropPath", { rate }, [x]).data, x.data);
});

const rates = { position: 0.1, attention: 0.2, projection: 0.3, path: 0.4 };

test("each dropout stands in its place with its rate, and DropPath's rises linearly over the blocks", () => {
  const graph = buildGraph(resolve(smallSpec({ depth: 5, dropout: rates })), { batch: 1 });
  const placed = graph.nodes.flatMap((node) => (node.op === "dropout" || node.op === "dropPath" ? [`${node.name} ${node.attrs.rate.toFixed(3)}`] : []));
  const block = (i: number) => [`attn.attn_drop 0.200`, `attn.proj_drop 0.300`, ...(i > 0 ? [`drop_path1 0.${i}00`] : []), `mlp.drop1 0.300`, `mlp.drop2 0.300`, ...(i > 0 ? [`drop_path2 0.${i}00`] : [])].map((line) => `blocks.${i}.${line}`);
  assert.equal(placed, ["pos_drop 0.100", ...[0, 1, 2, 3, 4].flatMap(block)]);
  const single = buildGraph(resolve(smallSpec({ depth: 1, dropout: { path: 0.4 } })), { batch: 1 });
  assert.not.ok(single.nodes.some((node) => node.op === "dropPath"));
});

function run(spec: ViTSpec, mode: "inference" | "training", batch: number, training?: { readonly seed: number }): Map<string, Tensor> {
  const graph = buildGraph(resolve(spec), { batch, mode });
  return interpret(graph, { ...randomValues(graph, 3), ...(training && { training }) });
}

test("a model in training repeats itself for a seed, differs for another, and is itself at inference", () => {
  const spec = smallSpec({ depth: 3, dropout: rates });
  const logits = (seed?: number) => [...run(spec, "training", 2, seed === undefined ? undefined : { seed }).get("logits")!.data];
  assert.equal(logits(1), logits(1));
  assert.not.equal(logits(1), logits(2));
  const plain = [...run(smallSpec({ depth: 3 }), "training", 2, { seed: 1 }).get("logits")!.data];
  assert.equal(logits(), plain);
  assert.not.equal(logits(1), plain);
});

test("nodes draw from streams of their own", () => {
  const builder = new GraphBuilder("two");
  const x = builder.input("x", [1000]);
  for (const name of ["first", "second"]) builder.output(name, builder.node("dropout", { rate: 0.5 }, [x], name));
  const outputs = interpret(builder.build(), { inputs: { x: ones(1000) }, parameters: () => ones(0), training: { seed: 1 } });
  const both = outputs.get("first")!.data.filter((value, i) => value > 0 && outputs.get("second")!.data[i]! > 0).length;
  assert.ok(both > 180 && both < 320, `${both} of 1000 survive twice`);
});

test("a block that DropPath drops is the identity on that sample", () => {
  // The last block's rate is nearly 1: with two samples both of its branches are dropped, whatever the seed.
  const spec = smallSpec({ depth: 2, dropout: { path: 0.999 }, outputs: ["blocks.0", "blocks.1"] });
  const outputs = run(spec, "training", 2, { seed: 1 });
  assert.equal(outputs.get("blocks.1")!.data, outputs.get("blocks.0")!.data);
});

test("a distilled model returns both logits in training, and their mean at inference", () => {
  const spec = smallSpec({ tokens: { distillation: true }, outputs: ["logits_cls", "logits_dist"] });
  const training = run(spec, "training", 2, { seed: 1 });
  assert.equal([...training.keys()], ["logits_cls", "logits_dist"]);
  const inference = run(spec, "inference", 2);
  assert.equal([...inference.keys()], ["logits_cls", "logits_dist", "logits"]);
  const [cls, dist] = [training.get("logits_cls")!, training.get("logits_dist")!];
  assert.equal(inference.get("logits_cls"), cls);
  assert.equal(inference.get("logits_dist"), dist);
  assert.not.equal(cls.data, dist.data);
  assert.ok(worstError(inference.get("logits")!.data, cls.data.map((value, i) => (value + dist.data[i]!) / 2)) < 1e-15);
});

// ------------------------------------------------------------------------------------------------------ parity

/** The references are f64 results rounded to f32. */
const fixtureTolerance = 1e-6;

for (const name of noteNames) {
  test(`the ${name} model of the notes is PyTorch's, before and after all passes`, () => {
    const fixture = noteFixture(name);
    const weights = readTensors(fixture.weightsPath);
    const input = fixture.io.get("input")!;
    const graph = buildGraph(resolve(fixture.spec), { batch: input.shape[0]! });
    const values = { inputs: { input }, parameters: (parameter: string) => weights.get(parameter)! };
    for (const stage of [graph, runPasses(graph).graph]) {
      const outputs = interpret(stage, values);
      for (const key of fixture.io.keys()) assert.ok(!key.startsWith("tap.") || outputs.has(key.slice(4)), `${key} is compared`);
      for (const [output, { shape, data }] of outputs) {
        const expected = reference(fixture, output);
        assert.equal(shape, expected.shape, output);
        const error = worstError(data, expected.data);
        assert.ok(error < fixtureTolerance, `${output} is off by ${error}`);
      }
    }
  });
}

test("a wrong weight is seen: the comparison can fail", () => {
  const fixture = noteFixture("base");
  const weights = readTensors(fixture.weightsPath);
  const bias = weights.get("blocks.0.mlp.fc1.bias")!;
  weights.set("blocks.0.mlp.fc1.bias", { ...bias, data: bias.data.with(0, bias.data[0]! + 1e-3) });
  const input = fixture.io.get("input")!;
  const outputs = interpret(buildGraph(resolve(fixture.spec), { batch: input.shape[0]! }), { inputs: { input }, parameters: (name) => weights.get(name)! });
  assert.ok(worstError(outputs.get("logits")!.data, reference(fixture, "logits").data) > fixtureTolerance);
});

test.run();

