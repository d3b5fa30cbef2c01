/** The parts that an attention may have besides heads, against numbers known by hand, timm's, and other ways to write them. */
import * as assert from "uvu/assert";
import { IrError, type Tensor } from "../../compiler/ir/ops/op.js";
import type { RotaryTableAttrs } from "../../compiler/ir/ops/attention-parts.js";
import { worstError } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";
import { evaluate, randomTensor, singleNode, sum, tensor } from "../tools/tensors.js";

const test = suite("ops of attention");

/** |actual - expected| <= tolerance (1 + |expected|), and the shape. */
function close({ shape, data }: Tensor, expectedShape: readonly number[], expected: ArrayLike<number>, tolerance = 1e-12): void {
  assert.equal(shape, expectedShape);
  const error = worstError(data, expected);
  assert.ok(error < tolerance, `off by ${error}: ${data.slice(0, 8).join(", ")} instead of ${Array.from(expected).slice(0, 8).join(", ")}`);
}

/** timm computes its tables in f32. */
const single = 1e-6;

const axial: RotaryTableAttrs = { kind: "axial", grid: [2, 3], headDim: 8, temperature: 100, order: "ij", reference: [2, 3], offset: 0, block: 0 };

/** Cosines, then sines, of some patches of a table, one row a patch (and a head). */
const rowsOf = ({ shape, data }: Tensor, patches: readonly number[]): number[] => {
  const [, heads, count, width] = shape as [number, number, number, number];
  return [0, 1].flatMap((half) => Array.from({ length: heads }, (_, head) => head).flatMap((head) => patches.flatMap((patch) => [...data.slice(((half * heads + head) * count + patch) * width, ((half * heads + head) * count + patch + 1) * width)])));
};

/** Each number twice, side by side. */
const twice = (values: readonly number[]): number[] => values.flatMap((value) => [value, value]);

/*
 * from timm.layers.pos_embed_sincos import *
 * sin, cos = build_rotary_pos_embed([2, 3], dim=8, temperature=100., in_pixels=False)
 * torch.stack([cos, sin])[:, [1, 5]]
 * sin, cos = build_rotary_pos_embed([2, 3], dim=8, temperature=100., in_pixels=False, ref_feat_shape=[4, 6], grid_offset=1., grid_indexing="xy")
 * f = torch.arange(1., 17).reshape(2, 1, 2, 4) / 10
 * sin, cos = get_mixed_freqs(f, *get_mixed_grid([2, 3], grid_indexing="xy"))[0].chunk(2, -1)
 * sin, cos = RotaryEmbeddingDinoV3(8, feat_shape=[2, 3]).get_embed().chunk(2, -1)
 */
test("rotary tables are timm's", () => {
  const first = evaluate("rotaryTable", axial, []);
  assert.equal(first.shape, [2, 1, 6, 8]);
  close(tensor([32], rowsOf(first, [1, 5])), [32], twice([1, 1, 0.5403023, 0.9950042, 0.5403023, 0.9950042, -0.4161468, 0.9800666, 0, 0, 0.841471, 0.0998334, 0.841471, 0.0998334, 0.9092974, 0.1986693]), single);
  const other = evaluate("rotaryTable", { ...axial, order: "xy", reference: [4, 6], offset: 1 }, []);
  close(tensor([32], rowsOf(other, [1, 5])), [32], twice([-0.6536436, 0.921061, -0.4161468, 0.9800666, 0.9601703, 0.8253356, -0.6536436, 0.921061, -0.7568025, 0.3894184, 0.9092974, 0.1986693, -0.2794155, 0.5646425, -0.7568025, 0.3894184]), single);
  const frequencies = tensor([2, 1, 2, 4], Array.from({ length: 16 }, (_, i) => (i + 1) / 10));
  const mixed = evaluate("rotaryTable", { ...axial, kind: "mixed" }, [frequencies]);
  assert.equal(mixed.shape, [2, 2, 6, 8]);
  close(tensor([32], rowsOf(mixed, [5])), [32], twice([0.4535961, 0.1699672, -0.1288445, -0.4161468, -0.666276, -0.8568887, -0.9709582, -0.9982948, 0.8912074, 0.9854497, 0.9916648, 0.9092974, 0.7457052, 0.5155014, 0.2392492, -0.0583742]), single);
  const dinov3 = evaluate("rotaryTable", { ...axial, kind: "dinov3" }, []);
  close(tensor([16], rowsOf(dinov3, [5])), [16], [-1, 0.9510565, -0.5, 0.9135455, -1, 0.9510565, -0.5, 0.9135455, 0, 0.309017, -0.8660254, 0.4067366, 0, 0.309017, -0.8660254, 0.4067366], single);
});

test("a block of mixed positions has the frequencies of its own number", () => {
  const frequencies = randomTensor([2, 3, 2, 4], "frequencies");
  const one = tensor([2, 1, 2, 4], [0, 1].flatMap((axis) => [...frequencies.data.slice(axis * 24 + 16, axis * 24 + 24)]));
  const table = evaluate("rotaryTable", { ...axial, kind: "mixed", block: 2 }, [frequencies]);
  close(table, [2, 2, 6, 8], evaluate("rotaryTable", { ...axial, kind: "mixed" }, [one]).data);
});

/*
 * apply_rot_embed_cat(torch.arange(1., 9), torch.cat([sin[5], cos[5]]), half=...) of the first and the last of the tables above.
 */
test("rotation is timm's, and leaves the prefix alone", () => {
  const eight = [1, 2, 3, 4, 5, 6, 7, 8];
  const x = tensor([1, 1, 7, 8], [...eight, ...Array.from({ length: 40 }, () => 0), ...eight]);
  const turned = (kind: "axial" | "dinov3") => evaluate("rotate", { pairs: kind === "axial" ? "neighbours" : "halves", prefix: 1 }, [x, evaluate("rotaryTable", { ...axial, kind }, [])]);
  const expected = (row: readonly number[]) => [...eight, ...Array.from({ length: 40 }, () => 0), ...row];
  close(turned("axial"), x.shape, expected([-1.1426396, 1.9220756, 2.5856788, 4.2795172, -7.5365186, 2.0496058, 5.2711115, 9.2312183]), single);
  close(turned("dinov3"), x.shape, expected([-1, 0.048011, 4.5621763, 0.4002891, -5, 6.3243732, -6.0980762, 8.9353104]), single);
});

test("rotation by an angle and back is none, and each head has its own where the table says so", () => {
  const x = randomTensor([2, 3, 5, 4], "x");
  const angles = randomTensor([3 * 4 * 2], "angles", 3).data;
  for (const pairs of ["neighbours", "halves"] as const) {
    const table = (sign: number) => tensor([2, 3, 4, 4], [Math.cos, (angle: number) => sign * Math.sin(angle)].flatMap((of) => Array.from({ length: 48 }, (_, i) => of(angles[Math.floor(i / 4) * 2 + (pairs === "halves" ? i % 2 : Math.floor((i % 4) / 2))]!))));
    const there = evaluate("rotate", { pairs, prefix: 1 }, [x, table(1)]);
    assert.ok(worstError(there.data, x.data) > 0.1);
    close(evaluate("rotate", { pairs, prefix: 1 }, [there, table(-1)]), x.shape, x.data);
    // (a, b) of the last head's first pair, at the last token: a cos - b sin.
    const [at, partner, angle] = [(0 * 3 + 2) * 20 + 16, pairs === "halves" ? 2 : 1, angles[(2 * 4 + 3) * 2]!];
    assert.ok(Math.abs(there.data[at]! - (x.data[at]! * Math.cos(angle) - x.data[at + partner]! * Math.sin(angle))) < 1e-14);
  }
});

/* from timm.layers.pos_embed_rel import gen_relative_position_index; gen_relative_position_index((2, 2), class_token=True), ((2, 3)) */
test("biases by distance are timm's rows of the table, head by head", () => {
  const rows = (count: number) => tensor([count, 2], Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? i / 2 : -(i - 1) / 2)));
  const withClass = [[11, 9, 9, 9, 9], [10, 4, 3, 1, 0], [10, 5, 4, 2, 1], [10, 7, 6, 4, 3], [10, 8, 7, 5, 4]].flat();
  close(evaluate("relativeBias", { grid: [2, 2], prefix: 1 }, [rows(12)]), [1, 2, 5, 5], [...withClass, ...withClass.map((row) => -row)]);
  const without = [[7, 6, 5, 2, 1, 0], [8, 7, 6, 3, 2, 1], [9, 8, 7, 4, 3, 2], [12, 11, 10, 7, 6, 5], [13, 12, 11, 8, 7, 6], [14, 13, 12, 9, 8, 7]].flat();
  close(evaluate("relativeBias", { grid: [2, 3], prefix: 0 }, [rows(18)]), [1, 2, 6, 6], [...without, ...without.map((row) => -row)]);
});

test("a bias of queries and values has zeros for keys between them", () => {
  close(evaluate("queryValueBias", {}, [tensor([2], [1, 2]), tensor([2], [3, 4])]), [6], [1, 2, 0, 0, 3, 4]);
});

test("differential attention takes the second map of each pair times a factor from the first", () => {
  close(evaluate("differentialFactor", { initial: 0.2 }, [tensor([2], [1, 2]), tensor([2], [0.5, -0.25]), tensor([2], [1, 0]), tensor([2], [2, 5])]), [1], [1 - Math.exp(2) + 0.2]);
  const maps = tensor([1, 4, 1, 2], [1, 2, 10, 20, 3, 4, 30, 40]);
  close(evaluate("headDifference", {}, [maps, tensor([1], [0.5])]), [1, 2, 1, 2], [-4, -8, -12, -16]);
  const two = tensor([2, 2, 1, 1], [1, 10, 2, 20]);
  close(evaluate("headDifference", {}, [two, tensor([1], [0.1])]), [2, 1, 1, 1], [0, 0]);
});

test("the fused differential attention is timm's DiffAttention, written out", () => {
  const [tokens, heads, width, scale, eps] = [3, 2, 4, 0.6, 1e-2];
  const [qkv, lambda, gamma] = [randomTensor([1, tokens, 3 * heads * width], "qkv", 2), tensor([1], [0.3]), randomTensor([width], "gamma")];
  const at = (n: number, c: number): number => qkv.data[n * 3 * heads * width + c]!;
  const map = (head: number, n: number): number[] => {
    const scores = Array.from({ length: tokens }, (_, m) => Math.exp(scale * sum(width / 2, (c) => at(n, (head * width) / 2 + c) * at(m, heads * width + (head * width) / 2 + c))));
    return scores.map((score) => score / sum(tokens, (m) => scores[m]!));
  };
  const expected = Array.from({ length: tokens * heads * width }, (_, i) => {
    const [n, h, c] = [Math.floor(i / (heads * width)), Math.floor(i / width) % heads, i % width];
    const [first, second] = [map(2 * h, n), map(2 * h + 1, n)];
    const mixed = (of: number): number => sum(tokens, (m) => (first[m]! - 0.3 * second[m]!) * at(m, 2 * heads * width + h * width + of));
    return (mixed(c) / Math.sqrt(sum(width, (of) => mixed(of) ** 2) / width + eps)) * gamma.data[c]!;
  });
  close(evaluate("differentialAttention", { heads, scale, eps }, [qkv, lambda, gamma]), [1, tokens, heads * width], expected);
});

test("a map is the softmax of scaled scores with their biases, of a difference that of two maps", () => {
  const [tokens, heads, width, scale] = [3, 2, 4, 0.6];
  const [qkv, table] = [randomTensor([2, tokens, 3 * heads * width], "qkv", 2), randomTensor([6, heads], "table", 2)];
  const at = (b: number, n: number, c: number): number => qkv.data[(b * tokens + n) * 3 * heads * width + c]!;
  /** Softmax over the keys of `wide` numbers of a head. */
  const map = (b: number, first: number, n: number, wide: number, bias: (m: number) => number): number[] => {
    const scores = Array.from({ length: tokens }, (_, m) => Math.exp(scale * sum(wide, (c) => at(b, n, first + c) * at(b, m, heads * width + first + c)) + bias(m)));
    return scores.map((score) => score / sum(tokens, (m) => scores[m]!));
  };
  const each = (of: (b: number, h: number, n: number) => readonly number[]): number[] => [0, 1].flatMap((b) => [0, 1].flatMap((h) => [0, 1, 2].flatMap((n) => of(b, h, n))));
  const shape = [2, heads, tokens, tokens];
  close(evaluate("attentionMap", { heads, scale }, [qkv]), shape, each((b, h, n) => map(b, h * width, n, width, () => 0)));
  // Two patches side by side behind a token, whose rows are the last three; those of patches say how far left the key is.
  const row = (n: number, m: number): number => (n === 0 && m === 0 ? 5 : n === 0 ? 3 : m === 0 ? 4 : n - m + 1);
  close(evaluate("attentionMap", { heads, scale, relative: { grid: [1, 2], prefix: 1 } }, [qkv, table]), shape, each((b, h, n) => map(b, h * width, n, width, (m) => table.data[row(n, m) * heads + h]!)));
  const difference = (b: number, h: number, n: number): number[] => {
    const [one, two] = [0, 1].map((half) => map(b, h * width + (half * width) / 2, n, width / 2, () => 0)) as [number[], number[]];
    return one.map((weight, m) => weight - 0.3 * two[m]!);
  };
  close(evaluate("attentionMap", { heads, scale, differential: true }, [qkv, tensor([1], [0.3])]), shape, each(difference));
});

test("heads are made ready in their places: normed, turned, and values as they were", () => {
  const [heads, width] = [2, 4];
  const qkv = randomTensor([2, 3, 3 * heads * width], "qkv");
  const [scale, table] = [[tensor([width], [1, 2, 3, 4]), tensor([width], [4, 3, 2, 1])] as const, evaluate("rotaryTable", { ...axial, grid: [1, 2], headDim: 4, reference: [1, 2] }, [])];
  const ready = evaluate("prepareHeads", { heads, norm: { kind: "rms", eps: 1e-3 }, rotary: { pairs: "neighbours", prefix: 1 } }, [qkv, ...scale, table]);
  const part = (x: Tensor, index: number): Tensor => evaluate("splitHeads", { heads, part: index }, [x]);
  for (const index of [0, 1]) {
    const expected = evaluate("rotate", { pairs: "neighbours", prefix: 1 }, [evaluate("rmsNorm", { eps: 1e-3 }, [part(qkv, index), scale[index]!]), table]);
    close(part(ready, index), expected.shape, expected.data);
  }
  close(part(ready, 2), [2, heads, 3, width], part(qkv, 2).data);
});

test("a gate is either half of what it is packed with", () => {
  const x = tensor([1, 4], [-1, 2, 10, 100]);
  close(evaluate("gated", { activation: "relu", gateFirst: true }, [x]), [1, 2], [0, 200]);
  close(evaluate("gated", { activation: "relu", gateFirst: false }, [x]), [1, 2], [-10, 200]);
});

test("attention adds biases by distance behind the scale, and shares queries that are every image's", () => {
  const [heads, width, scale] = [2, 3, 0.5];
  const qkv = randomTensor([2, 4, 3 * heads * width], "qkv", 2);
  const [table, relative] = [randomTensor([12, heads], "table"), { grid: [2, 2], prefix: 0 } as const];
  const [q, k, v] = [0, 1, 2].map((part) => evaluate("splitHeads", { heads, part }, [qkv])) as [Tensor, Tensor, Tensor];
  const scores = evaluate("matmul", { transposeB: true }, [evaluate("scale", { factor: scale }, [q]), k]);
  const biased = evaluate("add", {}, [scores, evaluate("relativeBias", relative, [table])]);
  const mix = (weights: Tensor): Tensor => evaluate("mergeHeads", {}, [evaluate("matmul", { transposeB: false }, [evaluate("softmax", {}, [weights]), v])]);
  close(evaluate("attention", { heads, scale, relative }, [qkv, table]), [2, 4, 6], mix(biased).data);
  const kv = evaluate("sliceLast", { start: 6, end: 18 }, [qkv]);
  const query = randomTensor([1, 1, 6], "query");
  const both = evaluate("expand", { batch: 2 }, [query]);
  close(evaluate("attention", { heads, scale, shared: true }, [query, kv]), [2, 1, 6], evaluate("attention", { heads, scale }, [both, kv]).data);
});

test("inputs that do not fit are refused", () => {
  const refusals: readonly (() => unknown)[] = [
    () => singleNode("rmsNorm", { eps: 1 }, [[1, 4], [3]]),
    () => singleNode("multiply", {}, [[1, 4], [4]]),
    () => singleNode("sliceLast", { start: 2, end: 5 }, [[1, 4]]),
    () => singleNode("rotate", { pairs: "halves", prefix: 0 }, [[1, 2, 4, 6], [2, 1, 3, 6]]),
    () => singleNode("rotate", { pairs: "halves", prefix: 0 }, [[1, 2, 4, 6], [2, 3, 4, 6]]),
    () => singleNode("rotate", { pairs: "halves", prefix: 0 }, [[1, 2, 4, 5], [2, 1, 4, 5]]),
    () => singleNode("rotaryTable", { ...axial, headDim: 6 }, []),
    () => singleNode("rotaryTable", axial, [[2, 1, 1, 4]]),
    () => singleNode("rotaryTable", { ...axial, kind: "mixed" }, []),
    () => singleNode("rotaryTable", { ...axial, kind: "mixed" }, [[2, 1, 1, 8]]),
    () => singleNode("relativeBias", { grid: [2, 2], prefix: 1 }, [[9, 2]]),
    () => singleNode("relativeBias", { grid: [2, 2], prefix: 2 }, [[12, 2]]),
    () => singleNode("queryValueBias", {}, [[2], [3]]),
    () => singleNode("differentialFactor", { initial: 1 }, [[2], [2], [2]]),
    () => singleNode("headDifference", {}, [[1, 3, 2, 2], [1]]),
    () => singleNode("headDifference", {}, [[1, 2, 2, 2], [2]]),
    () => singleNode("sliceColumns", { start: 0, end: 5 }, [[4, 4]]),
    () => singleNode("concatRows", {}, [[2, 3], [2, 4]]),
    () => singleNode("weightLinear", {}, [[1, 1, 3], [4, 4]]),
    () => singleNode("tokenTable", { prefix: 2, patches: 4, positions: "none", bias: false }, [[1, 1, 3], [1, 2, 3]]),
    () => singleNode("tokenTable", { prefix: 3, patches: 4, positions: "none", bias: false }, [[1, 1, 3], [1, 2, 4]]),
    () => singleNode("embed", { prefix: 2, position: "none" }, [[1, 4, 3], [1, 1, 3], [1, 2, 3]]),
    () => singleNode("embed", { prefix: 2, position: "all" }, [[1, 4, 3], [1, 2, 3], [1, 5, 3]]),
  ];
  refusals.forEach((refused, i) => assert.throws(refused, (error: unknown) => error instanceof IrError, `refusal ${i}`));
});

test.run();
