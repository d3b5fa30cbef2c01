/** The steps that ops on weights become: each computes what the op says. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import { isWeightOp, type Graph } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { RandomStream, randomState } from "../../compiler/ir/random.js";
import { runPasses } from "../../compiler/passes/index.js";
import { indexGraph } from "../../compiler/plan/graph-index.js";
import { plainLayout, WeightStore } from "../../compiler/plan/pack.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { WeightStep } from "../../runtime/plan.js";
import { packTensor } from "../../runtime/recipe.js";
import { smallSpec } from "../tools/specs.js";
import { evaluate, randomTensor, randomValues, singleNode, tensor } from "../tools/tensors.js";
import { pack, product, type Source } from "./weight-recipes.js";

const test = suite("recipes of ops");

/** Ops on weights with random shapes: attributes, the shapes of their inputs, and the step that should be the same. */
const weightOps: Readonly<Record<string, (size: () => number) => { readonly node: Graph; readonly step: WeightStep }>> = {
  foldNormScale: (size) => {
    const [out, width, centre] = [size(), size(), size() % 2 === 0];
    return { node: singleNode("foldNormScale", { centre }, [[out, width], [width]]), step: { op: "foldNormScale", of: [0, 1], centre } };
  },
  foldNormShift: (size) => {
    const [out, width, bias] = [size(), size(), size() % 2 === 0];
    return { node: singleNode("foldNormShift", {}, [[out, width], [width], ...(bias ? [[out]] : [])]), step: { op: "foldNormShift", of: bias ? [0, 1, 2] : [0, 1] } };
  },
  foldPixelScale: (size) => {
    const std = Array.from({ length: size() }, (_, i) => 0.3 + i / 7);
    return { node: singleNode("foldPixelScale", { std }, [[size(), std.length, size(), size()]]), step: { op: "foldPixelScale", of: 0, std } };
  },
  foldPixelShift: (size) => {
    const std = Array.from({ length: size() }, (_, i) => 0.3 + i / 7);
    const mean = std.map((_, i) => 0.4 - i / 9);
    const [out, bias] = [size(), size() % 2 === 0];
    return { node: singleNode("foldPixelShift", { mean, std }, [[out, std.length, size(), size()], ...(bias ? [[out]] : [])]), step: { op: "foldPixelShift", of: bias ? [0, 1] : [0], mean, std } };
  },
  scaleRows: (size) => {
    const [start, length, rest] = [size() - 1, size(), size()];
    const attrs = { start, end: start + length, factor: 1 / 3 };
    return { node: singleNode("scaleRows", attrs, [[start + length + rest, ...(rest % 2 === 0 ? [] : [size()])]]), step: { op: "scaleRows", of: 0, ...attrs } };
  },
  scaleChannels: (size) => {
    const out = size();
    return { node: singleNode("scaleChannels", {}, [[out, ...Array.from({ length: size() % 4 }, size)], [out]]), step: { op: "scaleChannels", of: [0, 1] } };
  },
  sliceRows: (size) => {
    const [start, length] = [size() - 1, size()];
    const attrs = { start, end: start + length };
    return { node: singleNode("sliceRows", attrs, [[start + length + size(), size()]]), step: { op: "slice", of: 0, axis: 0, ...attrs } };
  },
  sliceColumns: (size) => {
    const [start, length] = [size() - 1, size()];
    const attrs = { start, end: start + length };
    return { node: singleNode("sliceColumns", attrs, [[size(), start + length + size()]]), step: { op: "slice", of: 0, axis: 1, ...attrs } };
  },
  concatRows: (size) => {
    const rest = size() % 2 === 0 ? [] : [size()];
    const shapes = Array.from({ length: size() }, () => [size(), ...rest]);
    return { node: singleNode("concatRows", {}, shapes), step: { op: "concat", of: shapes.map((_, i) => i), axis: 0 } };
  },
  weightLinear: (size) => {
    const [out, width, bias] = [size(), size(), size() % 2 === 0];
    return { node: singleNode("weightLinear", {}, [[1, size(), width], [out, width], ...(bias ? [[out]] : [])]), step: { op: "weightLinear", of: bias ? [0, 1, 2] : [0, 1] } };
  },
  queryValueBias: (size) => {
    const width = size();
    return { node: singleNode("queryValueBias", {}, [[width], [width]]), step: { op: "queryValueBias", of: [0, 1] } };
  },
  differentialFactor: (size) => {
    const [width, initial] = [size(), 0.1 * size()];
    return { node: singleNode("differentialFactor", { initial }, [[width], [width], [width], [width]]), step: { op: "differentialFactor", of: [0, 1, 2, 3], initial } };
  },
  rotaryTable: (size) => {
    const kind = (["axial", "mixed", "dinov3"] as const)[size() % 3]!;
    const [headDim, depth] = [4 * size(), size()];
    const attrs = { kind, grid: [size(), size()], headDim, temperature: 7 * size(), order: size() % 2 === 0 ? "ij" : "xy", reference: [size(), size()], offset: size() / 7, block: depth - 1 } as const;
    const shapes = kind === "mixed" ? [[2, depth, size(), headDim / 2]] : [];
    return { node: singleNode("rotaryTable", attrs, shapes), step: { op: "rotaryTable", of: kind === "mixed" ? [0] : [], ...attrs } };
  },
  tokenTable: (size) => {
    const [kinds, patches, dim, bias] = [Array.from({ length: size() - 1 }, size), size(), size(), size() % 2 === 0];
    const prefix = kinds.reduce((sum, tokens) => sum + tokens, 0);
    const positions = (["all", "patches", "none"] as const)[size() % 3]!;
    const table = positions === "none" && (bias || prefix > 0) ? [] : [[1, positions === "all" ? prefix + patches : patches, dim]];
    const attrs = { prefix, patches, positions: table.length === 0 ? "none" : positions === "none" ? "patches" : positions, bias } as const;
    const shapes = [...kinds.map((tokens) => [1, tokens, dim]), ...table, ...(bias ? [[dim]] : [])];
    return { node: singleNode("tokenTable", attrs, shapes), step: { op: "tokenTable", of: shapes.map((_, i) => i), ...attrs } };
  },
};

function nothing(name: string): never {
  throw new Error(`there is no parameter ${name}`);
}

for (const [op, draw] of Object.entries(weightOps)) {
  test(`the step of ${op} computes in f64 what the op says`, async () => {
    const random = new RandomStream(randomState(11, op));
    for (let run = 0; run < 50; run++) {
      const { node, step } = draw(() => 1 + (random.uint32() % 6));
      const sources = node.inputs.map(({ value: { shape } }) => ({ shape, values: Array.from({ length: product(shape) }, () => Math.fround(random.normal())) }));
      const inputs = Object.fromEntries(node.inputs.map(({ name, value: { shape } }, i) => [name, { shape, data: Float64Array.from(sources[i]!.values) }]));
      const { shape, data } = interpret(node, { inputs, parameters: nothing }).get("y")!;
      assert.equal(await pack(sources, [step], shape), new Float32Array(data));
      // What f32 leaves of the result: together they show 48 of its bits.
      const rounded: Source = { shape: [data.length], values: [...new Float32Array(data)] };
      const vector: WeightStep = { op: "reshape", of: sources.length + 1, shape: [data.length, 1, 1, 1] };
      const rest: WeightStep = { op: "foldPixelShift", of: [sources.length + 2, sources.length], mean: [1], std: [1] };
      const left = await pack([...sources, rounded], [step, vector, rest], [data.length]);
      assert.equal(left, Float32Array.from(data, (value) => Math.fround(value) - value));
    }
  });
}

test("the recipes of lowered models make what their graphs say", async () => {
  const seen = new Set<string>();
  const specs = [
    smallSpec({ layerScale: 0.1, preprocess: { normalize: "inside" }, position: { prefix: false } }),
    smallSpec({ tokens: { distillation: true }, patchBias: false, attention: { qkvBias: false } }),
    smallSpec({ stem: [{ channels: 4, kernel: 3 }], position: { kind: "sincos2d" }, pool: "avg", batch: 2 }),
    smallSpec({ tokens: { registers: 2 }, rope: { kind: "mixed" }, attention: { qkvBias: "qv" }, mlp: { gate: "split" }, pool: "map", finalNorm: "none" }),
    smallSpec({ rope: { kind: "axial", order: "xy" }, attention: { relative: true }, pool: "avgmax" }),
    smallSpec({ block: "parallel", attention: { differential: true }, layerScale: 0.1 }),
    smallSpec({ stem: [{ channels: 4, kernel: 1 }], preprocess: { normalize: "inside", mean: [0.5, 0.25, 0.125] }, patchNorm: true, position: { kind: "sincos1d" } }),
  ];
  for (const spec of specs) {
    const { graph } = runPasses(buildGraph(resolve(spec), { batch: 1 }));
    const index = indexGraph(graph);
    const weights = [...new Set(graph.nodes.filter((node) => !isWeightOp(node)).flatMap(({ inputs }) => inputs))].filter((value) => index.isWeight(value));
    const values = randomValues(graph, 5);
    const expected = interpret({ ...graph, outputs: weights.map((value, i) => ({ name: `${i}`, value })) }, values);
    const store = new WeightStore();
    for (const [i, value] of weights.entries()) {
      const recipe = store.request(index, value, plainLayout(value.shape), "f32");
      const packed = await packTensor(recipe, async ({ names, shape }) => {
        const { data, shape: given } = values.parameters(names[0]!);
        assert.equal(given, shape);
        return Float64Array.from(data);
      });
      // Position tables may differ in the last bit, for they are made by two programs.
      const { data } = expected.get(`${i}`)!;
      packed.forEach((element, at) => assert.ok(Math.abs(element - Math.fround(data[at]!)) <= 1e-15, `${recipe.name} at ${at}: ${element}, not ${data[at]}`));
      for (const { op } of recipe.steps) seen.add(op);
    }
  }
  assert.equal([...seen].sort(), ["concat", "differentialFactor", "foldBatchNormScale", "foldBatchNormShift", "foldNormScale", "foldNormShift", "foldPixelScale", "foldPixelShift", "queryValueBias", "rotaryTable", "scaleChannels", "scaleRows", "sincos1d", "sincos2d", "slice", "tokenTable", "weightLinear"]);
});

test("steps on weights follow each other", async () => {
  const random = (shape: readonly number[], name: string): Source => ({ shape, values: [...randomTensor(shape, name).data] });
  const [weight, gamma] = [random([6, 4], "w"), random([4], "gamma")];
  const steps: WeightStep[] = [{ op: "slice", of: 0, axis: 0, start: 2, end: 6 }, { op: "foldNormScale", of: [2, 1], centre: true }, { op: "scaleRows", of: 3, start: 0, end: 2, factor: 0.5 }];
  const whole = evaluate("foldNormScale", { centre: true }, [tensor(weight.shape, weight.values), tensor(gamma.shape, gamma.values)]).data;
  assert.equal(await pack([weight, gamma], steps, [4, 4]), Float32Array.from(whole.slice(8), (value, i) => (i < 8 ? value / 2 : value)));
});

test.run();
