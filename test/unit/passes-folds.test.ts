/** The passes that put factors and shifts into weights, on small graphs: what they make of them, and what they leave alone. */
import * as assert from "uvu/assert";
import type { Graph, GraphBuilder, Value } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { foldNorm } from "../../compiler/passes/fold-norm.js";
import { foldPixels } from "../../compiler/passes/fold-pixels.js";
import { foldLayerScale, foldSoftmaxScale } from "../../compiler/passes/fold-scales.js";
import { runPasses } from "../../compiler/passes/index.js";
import { distance, passTolerance } from "../tools/distance.js";
import { expectDeclined, expectRewrite, graph, product } from "../tools/rewrites.js";
import { suite } from "../tools/suite.js";
import { randomValues, sum } from "../tools/tensors.js";

const test = suite("passes that fold");

/** A product with a bias, and the parameters it reads. */
const withBias = (b: GraphBuilder, x: Value, name: string, out: number, attrs: object = {}): Value =>
  b.node("gemm", { ...product, bias: true, ...attrs }, [x, b.parameter(`${name}.weight`, [out, x.shape[x.shape.length - 1]!]), b.parameter(`${name}.bias`, [out])], name);

// ------------------------------------------------------------------------------------------------------ scales

const scaledBranch = (make: (b: GraphBuilder) => Value, more: (b: GraphBuilder, x: Value) => Record<string, Value> = () => ({})): Graph =>
  graph((b) => {
    const x = make(b);
    return { y: b.node("scaleLast", {}, [x, b.parameter("ls1.gamma", [3])], "ls1"), ...more(b, x) };
  });

test("fold-layer-scale puts a factor for each channel into weight and bias", () => {
  expectRewrite(
    foldLayerScale,
    scaledBranch((b) => withBias(b, b.input("x", [2, 4]), "proj", 3)),
    `input %x : [2, 4]
     %0 = gemm(%x, $proj.weight, $proj.bias) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 3]  // proj
     %1 = scaleLast(%0, $ls1.gamma) : [2, 3]  // ls1
     output y = %1 : [2, 3]`,
    `input %x : [2, 4]
     %0 = scaleChannels($proj.weight, $ls1.gamma) : [3, 4]  // proj.weight
     %1 = scaleChannels($proj.bias, $ls1.gamma) : [3]  // proj.bias
     %2 = gemm(%x, %0, %1) {source: {kind:rows}, bias: true, activation: none, residual: false} : [2, 3]  // proj
     output y = %2 : [2, 3]`,
  );
  const bare = scaledBranch((b) => b.node("gemm", product, [b.input("x", [2, 4]), b.parameter("proj.weight", [3, 4])], "proj"));
  const { graph: output } = runPasses(bare, [foldLayerScale]);
  assert.equal(output.nodes.map((node) => node.op), ["scaleChannels", "gemm"]);
  assert.ok(distance(bare, output) <= passTolerance);
});

test("fold-layer-scale declines what no weight can carry", () => {
  const reason = "its input is not a matrix product that only it reads and that ends in its bias";
  expectDeclined(foldLayerScale, scaledBranch((b) => b.input("x", [2, 3])), reason);
  expectDeclined(foldLayerScale, scaledBranch((b) => withBias(b, b.input("x", [2, 4]), "proj", 3), (_, x) => ({ x })), reason);
  expectDeclined(foldLayerScale, scaledBranch((b) => withBias(b, b.input("x", [2, 4]), "proj", 3, { activation: "gelu" })), reason);
  expectDeclined(foldLayerScale, scaledBranch((b) => b.node("gemm", { ...product, residual: true }, [b.input("x", [2, 4]), b.parameter("w", [3, 4]), b.input("z", [2, 3])], "proj")), reason);
  expectDeclined(foldLayerScale, graph((b) => ({ y: b.node("scaleLast", {}, [withBias(b, b.input("x", [2, 4]), "proj", 3), b.input("gamma", [3])], "ls1") })), reason);
});

const scores = (make: (b: GraphBuilder) => readonly Value[], scale = 0.5, tapped = false): Graph =>
  graph((b) => {
    const inputs = make(b);
    return { y: b.node("attention", { heads: 2, scale }, inputs, "attn"), ...(tapped && { qkv: inputs[0]! }) };
  });

test("fold-softmax-scale puts the scale into the rows of the queries", () => {
  expectRewrite(
    foldSoftmaxScale,
    scores((b) => [withBias(b, b.input("x", [1, 3, 4]), "attn.qkv", 12)]),
    `input %x : [1, 3, 4]
     %0 = gemm(%x, $attn.qkv.weight, $attn.qkv.bias) {source: {kind:rows}, bias: true, activation: none, residual: false} : [1, 3, 12]  // attn.qkv
     %1 = attention(%0) {heads: 2, scale: 0.5} : [1, 3, 4]  // attn
     output y = %1 : [1, 3, 4]`,
    `input %x : [1, 3, 4]
     %0 = scaleRows($attn.qkv.weight) {start: 0, end: 4, factor: 0.5} : [12, 4]  // attn.qkv.weight
     %1 = scaleRows($attn.qkv.bias) {start: 0, end: 4, factor: 0.5} : [12]  // attn.qkv.bias
     %2 = gemm(%x, %0, %1) {source: {kind:rows}, bias: true, activation: none, residual: false} : [1, 3, 12]  // attn.qkv
     %3 = attention(%2) {heads: 2, scale: 1} : [1, 3, 4]  // attn
     output y = %3 : [1, 3, 4]`,
  );
  const apart = scores((b) => [withBias(b, b.input("token", [1, 4]), "attn.q", 4), b.input("kv", [1, 3, 8])]);
  const { graph: output } = runPasses(apart, [foldSoftmaxScale]);
  assert.equal(output.nodes.map((node) => [node.op, node.name]), [["scaleRows", "attn.q.weight"], ["scaleRows", "attn.q.bias"], ["gemm", "attn.q"], ["attention", "attn"]]);
  assert.ok(distance(apart, output) <= passTolerance);
});

test("fold-softmax-scale declines queries that are no plain product of their own, and has nothing to do for a scale of 1", () => {
  const reason = "its queries are not a matrix product that only it reads and that ends in its bias";
  expectDeclined(foldSoftmaxScale, scores((b) => [b.input("qkv", [1, 3, 12])]), reason);
  expectDeclined(foldSoftmaxScale, scores((b) => [withBias(b, b.input("x", [1, 3, 4]), "attn.qkv", 12)], 0.5, true), reason);
  expectDeclined(foldSoftmaxScale, scores((b) => [withBias(b, b.input("x", [1, 3, 4]), "attn.qkv", 12, { activation: "relu" })]), reason);
  expectDeclined(foldSoftmaxScale, scores((b) => [withBias(b, b.input("x", [1, 3, 4]), "attn.qkv", 12)], 1));
});

// ------------------------------------------------------------------------------------------------------ pixels

const pixels = (padding: readonly [number, number], bias: boolean): Graph =>
  graph((b) => {
    const normal = b.node("normalizeChannels", { mean: [0.5, 0.25], std: [0.5, 2] }, [b.input("x", [1, 2, 4, 4])], "normalize");
    const weights = [b.parameter("proj.weight", [3, 2, 2, 2]), ...(bias ? [b.parameter("proj.bias", [3])] : [])];
    return { y: b.node("conv2d", { stride: [2, 2], padding }, [normal, ...weights], "proj") };
  });

test("fold-pixels puts mean and deviation into a convolution that pads nothing", () => {
  expectRewrite(
    foldPixels,
    pixels([0, 0], true),
    `input %x : [1, 2, 4, 4]
     %0 = normalizeChannels(%x) {mean: [0.5,0.25], std: [0.5,2]} : [1, 2, 4, 4]  // normalize
     %1 = conv2d(%0, $proj.weight, $proj.bias) {stride: [2,2], padding: [0,0]} : [1, 3, 2, 2]  // proj
     output y = %1 : [1, 3, 2, 2]`,
    `input %x : [1, 2, 4, 4]
     %0 = foldPixelScale($proj.weight) {std: [0.5,2]} : [3, 2, 2, 2]  // proj.weight
     %1 = foldPixelShift($proj.weight, $proj.bias) {mean: [0.5,0.25], std: [0.5,2]} : [3]  // proj.bias
     %2 = conv2d(%x, %0, %1) {stride: [2,2], padding: [0,0]} : [1, 3, 2, 2]  // proj
     output y = %2 : [1, 3, 2, 2]`,
  );
  const bare = pixels([0, 0], false);
  const { graph: output } = runPasses(bare, [foldPixels]);
  assert.equal(output.nodes.map((node) => node.op), ["foldPixelScale", "foldPixelShift", "conv2d"]);
  assert.ok(distance(bare, output) <= passTolerance);
});

test("fold-pixels declines a convolution that pads", () => {
  for (const padding of [[1, 0], [0, 1]] as const) expectDeclined(foldPixels, pixels(padding, true), "proj pads with zeros behind the normalisation, which are other values before it");
});

// ------------------------------------------------------------------------------------------------------ norms

/** A norm, and whoever reads it. */
const normalized = (more: (b: GraphBuilder, norm: Value) => Record<string, Value>): Graph =>
  graph((b) => more(b, b.node("layerNorm", { eps: 1e-6 }, [b.input("x", [2, 4, 3]), b.parameter("norm.weight", [3]), b.parameter("norm.bias", [3])], "norm")));

const folded = (): Graph => normalized((b, norm) => ({ y: withBias(b, norm, "fc1", 5, { activation: "gelu" }), z: b.node("gemm", product, [norm, b.parameter("fc2.weight", [2, 3])], "fc2") }));

test("fold-norm puts scale and shift into the weights of all products that read a norm", () => {
  const events = expectRewrite(
    foldNorm,
    folded(),
    `input %x : [2, 4, 3]
     %0 = layerNorm(%x, $norm.weight, $norm.bias) {eps: 0.000001} : [2, 4, 3]  // norm
     %1 = gemm(%0, $fc1.weight, $fc1.bias) {source: {kind:rows}, bias: true, activation: gelu, residual: false} : [2, 4, 5]  // fc1
     %2 = gemm(%0, $fc2.weight) {source: {kind:rows}, bias: false, activation: none, residual: false} : [2, 4, 2]  // fc2
     output y = %1 : [2, 4, 5]
     output z = %2 : [2, 4, 2]`,
    `input %x : [2, 4, 3]
     %0 = foldNormScale($fc1.weight, $norm.weight) {centre: true} : [5, 3]  // fc1.weight
     %1 = foldNormShift($fc1.weight, $norm.bias, $fc1.bias) : [5]  // fc1.bias
     %2 = gemm(%x, %0, %1) {source: {kind:rows}, bias: true, activation: gelu, residual: false, norm: {eps:0.000001}} : [2, 4, 5]  // fc1
     %3 = foldNormScale($fc2.weight, $norm.weight) {centre: true} : [2, 3]  // fc2.weight
     %4 = foldNormShift($fc2.weight, $norm.bias) : [2]  // fc2.bias
     %5 = gemm(%x, %3, %4) {source: {kind:rows}, bias: true, activation: none, residual: false, norm: {eps:0.000001}} : [2, 4, 2]  // fc2
     output y = %2 : [2, 4, 5]
     output z = %5 : [2, 4, 2]`,
  );
  assert.equal(events, [{ pass: "fold-norm", node: "norm", fired: true, reason: "folded into the weights of fc1, fc2" }]);
});

test("the folded weights of every output sum to zero, so that the rows' mean drops out", () => {
  const { graph: output } = runPasses(folded(), [foldNorm]);
  const weights = output.nodes.filter((node) => node.op === "foldNormScale");
  const tapped = { ...output, outputs: weights.map((node) => ({ name: node.name, value: node.output })) };
  for (const { shape, data } of interpret(tapped, randomValues(output, 2)).values())
    for (let row = 0; row < data.length; row += shape[1]!) assert.ok(Math.abs(sum(shape[1]!, (i) => data[row + i]!)) < 1e-14);
});

test("fold-norm declines a norm that something besides products of its rows reads, and says what", () => {
  expectDeclined(foldNorm, normalized((_, norm) => ({ norm })), "it is an output");
  expectDeclined(foldNorm, normalized((b, norm) => ({ y: withBias(b, norm, "fc1", 5), norm })), "it is an output");
  expectDeclined(foldNorm, normalized((b, norm) => ({ y: withBias(b, norm, "fc1", 5), pool: b.node("reduce", { kind: "avg" }, [norm], "pool") })), "pool reads it, which is no matrix product of its rows");
  const residual = (b: GraphBuilder, norm: Value) => b.node("gemm", { ...product, residual: true }, [norm, b.parameter("w", [3, 3]), norm], "proj");
  expectDeclined(foldNorm, normalized((b, norm) => ({ y: residual(b, norm) })), "proj reads it, which is no matrix product of its rows");
  const windows = (b: GraphBuilder, norm: Value) => b.node("gemm", { ...product, source: { kind: "map", height: 2, width: 2, stride: [1, 1], padding: [0, 0] } }, [norm, b.parameter("w", [3, 3, 1, 1])], "conv");
  expectDeclined(foldNorm, normalized((b, norm) => ({ y: windows(b, norm) })), "conv reads it, which is no matrix product of its rows");
  const twice = (b: GraphBuilder, norm: Value) => b.node("gemm", { ...product, norm: { eps: 1e-6 } }, [norm, b.parameter("w", [3, 3])], "fc");
  expectDeclined(foldNorm, normalized((b, norm) => ({ y: twice(b, norm) })), "fc reads it, which is no matrix product of its rows");
  expectDeclined(foldNorm, graph((b) => ({ y: withBias(b, b.node("layerNorm", { eps: 1e-6 }, [b.input("x", [2, 3]), b.input("gamma", [3]), b.parameter("beta", [3])], "norm"), "fc1", 5) })), "its scale and shift are not made of parameters alone");
});

test("folds follow each other on one weight", () => {
  const input = graph((b) => {
    const norm = b.node("layerNorm", { eps: 1e-6 }, [b.input("x", [1, 3, 4]), b.parameter("norm.weight", [4]), b.parameter("norm.bias", [4])], "norm");
    return { y: b.node("attention", { heads: 2, scale: 0.5 }, [withBias(b, norm, "attn.qkv", 12)], "attn") };
  });
  for (const order of [[foldNorm, foldSoftmaxScale], [foldSoftmaxScale, foldNorm]]) {
    const { graph: output } = runPasses(input, order);
    assert.equal(output.nodes.filter((node) => node.op === "gemm" || node.op === "attention").map(({ name }) => name), ["attn.qkv", "attn"]);
    assert.is(output.nodes.length, 6);
    assert.ok(distance(input, output) <= passTolerance);
  }
});

test.run();
