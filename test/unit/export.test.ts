/** The ONNX files that vitc writes, read by a decoder of the tests' own: what they hold, and that a broken one would be noticed. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { encode } from "../../compiler/export/encode.js";
import type { OnnxModel } from "../../compiler/export/model.js";
import { toOnnx } from "../../compiler/export/onnx.js";
import { byteLength, integerField } from "../../compiler/export/wire.js";
import { externalPath, writeOnnx } from "../../compiler/export/write.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { GraphBuilder } from "../../compiler/ir/graph.js";
import type { ActivationKind } from "../../compiler/ir/ops/pointwise.js";
import { positionTable } from "../../compiler/ir/ops/weights.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { version } from "../../compiler/version.js";
import { runPasses } from "../../compiler/passes/index.js";
import { asserted, expectGolden, orphans } from "../tools/golden.js";
import { floats, printOnnx, problems, readOnnx, type ReadModel } from "../tools/onnx.js";
import { exportedGraph, writeValues } from "../tools/onnxruntime.js";
import { temporaryFolder } from "../tools/packages.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { randomValues } from "../tools/tensors.js";

const test = suite("export to ONNX");
const folder = temporaryFolder("export");

/** A spec's file, written and read. */
async function written(spec: ViTSpec, options: Parameters<typeof toOnnx>[1] = {}): Promise<ReadModel> {
  const path = join(folder, "model.onnx");
  const graph = exportedGraph(spec);
  await writeValues(path, toOnnx(graph, options), randomValues(graph, 1));
  return readOnnx(readFileSync(path));
}

const goldens: Readonly<Record<string, ViTSpec>> = {
  // Together they have every op, and each at a place that differs between models.
  plain: smallSpec({ depth: 1, dropout: { attention: 0.1, path: 0.1 } }),
  stem: { name: "stem", image: [12, 8], patch: 2, stem: [{ channels: 4, kernel: 3, stride: 2 }], dim: 8, depth: 1, heads: 2, headDim: 3, classes: 0, patchNorm: true, pool: "max", position: { kind: "sincos2d" }, mlp: { activation: "quick_gelu", bias: false }, attention: { qkvBias: false } },
  scaled: smallSpec({ name: "scaled", depth: 1, layerScale: 0.1, preprocess: { mean: [0.5, 0.25, 0.125], std: 0.5, normalize: "inside" } }),
  rotary: smallSpec({ name: "rotary", depth: 1, norm: { kind: "rms" }, preNorm: true, tokens: { registers: 2 }, rope: { kind: "axial" }, attention: { qkvBias: "qv", qkNorm: true, gate: true, relative: false }, mlp: { gate: "packedLast", norm: true }, pool: "avgmax" }),
  mixed: smallSpec({ name: "mixed", depth: 1, dim: 8, block: "post", tokens: { class: false }, rope: { kind: "mixed" }, attention: { relative: true, norm: true }, mlp: { gate: "split" }, pool: "map", finalNorm: "none", outputNames: { logits: "scores" } }),
  differential: smallSpec({ name: "differential", depth: 1, block: "parallel", attention: { differential: true, qkvBias: false }, pool: "tokenavg", headBias: false, position: { resample: { grid: [3, 1], antialias: false } } }),
  resized: smallSpec({ name: "resized", depth: 1, patchResample: { patch: [3, 5] }, position: { kind: "none" }, attention: { relative: true, relativeResample: { grid: [3, 1] } } }),
  distilled: smallSpec({ name: "distilled", depth: 1, tokens: { distillation: true }, mlp: { activation: "gelu_tanh" }, outputs: ["embed", "logits_cls", "blocks.0.attn", "embedding"] }),
};

for (const [name, spec] of Object.entries(goldens)) {
  test(`the file of ${name} says what it said`, async () => {
    const model = await written(spec);
    assert.equal(problems(model), []);
    expectGolden(`onnx/${name}.txt`, printOnnx(model));
  });
}

test("no golden text is left of a model that is gone", () => {
  assert.equal(orphans("onnx", asserted), []);
});

test("100 random models are well formed, and have the parameters and outputs of their graphs", async () => {
  for (const spec of fc.sample(randomSpec, { numRuns: 100, seed: 3 })) {
    const model = await written(spec);
    assert.equal(problems(model), []);
    const graph = buildGraph(resolve(spec), { batch: 1 });
    const tensors = new Map(model.initializers.map((tensor) => [tensor.name, tensor]));
    assert.equal(graph.parameters.map(({ name }) => tensors.get(name)?.shape), graph.parameters.map(({ value }) => value.shape));
    assert.equal(model.outputs, graph.outputs.map(({ name, value }) => ({ name, shape: ["batch", ...value.shape.slice(1)] })));
    assert.equal(model.inputs, graph.inputs.map(({ name, value }) => ({ name, shape: ["batch", ...value.shape.slice(1)] })));
  }
});

test("every example is well formed, whatever its size", () => {
  for (const [name, spec] of exampleSpecs) {
    // The bytes of parameters alone are left out, which take gigabytes.
    const { model } = encode(toOnnx(exportedGraph(spec)), { weights: "external", externalName: "w" });
    assert.equal([name, problems(readOnnx(Buffer.concat(model.filter((chunk) => chunk instanceof Uint8Array))))], [name, []]);
  }
});

test("says who made it, of what, and what photographs it wants", async () => {
  const model = await written(smallSpec(), { metadata: { preprocess: '{"crop":"center"}' } });
  assert.equal([model.irVersion, [...model.opsets], model.producer, model.producerVersion, model.name], [9, [["", 20]], "vitc", version, "small"]);
  assert.match(model.doc, /^small, a Vision Transformer/);
  assert.equal([...model.metadata], [["preprocess", '{"crop":"center"}']]);
});

test("holds parameters as they are, and position tables as the op defines them", async () => {
  const spec = smallSpec({ position: { kind: "sincos1d" } });
  const values = randomValues(exportedGraph(spec), 1);
  const tensors = new Map((await written(spec)).initializers.map((tensor) => [tensor.name, tensor]));
  assert.equal(floats(tensors.get("blocks.1.mlp.fc1.weight")!.raw!), Float32Array.from(values.parameters("blocks.1.mlp.fc1.weight").data));
  const { data, shape } = positionTable.evaluate([], { kind: "sincos1d", grid: [2, 2], dim: 8, prefix: 1, temperature: 10000 }, {});
  assert.equal([tensors.get("pos_embed")!.shape, floats(tensors.get("pos_embed")!.raw!)], [shape, Float32Array.from(data)]);
});

test("what blocks have in common is stored once: tables of rotary positions, and where distances stand in a table of biases", async () => {
  const spec = (depth: number) => smallSpec({ depth, rope: { kind: "dinov3" }, attention: { relative: true } });
  const [one, three] = [await written(spec(1)), await written(spec(3))];
  const made = (model: ReadModel) => model.initializers.map(({ name }) => name).filter((name) => !/^(blocks\.\d+\.(norm|attn\.(qkv|proj|rel)|mlp))/.test(name));
  assert.equal(made(three), made(one));
  assert.equal(three.initializers.filter(({ name }) => /table$|^rope/.test(name)).map(({ name, shape }) => [name, shape]), [
    ...[0, 1, 2].map((i) => [`blocks.${i}.attn.relative_position_bias_table`, [12, 2]]),
    ["rope", [2, 1, 4, 4]],
  ]);
});

test("an expression that stands in two places is computed once", async () => {
  const model = await written(smallSpec({ depth: 1, rope: { kind: "mixed" } }));
  assert.equal(model.nodes.filter(({ op }) => op === "Cos" || op === "Sin").map(({ inputs }) => inputs[0]), Array.from({ length: 2 }, () => "rope.0/Reshape"));
});

test("a fixed batch stands in every shape, and nothing asks for one", async () => {
  const model = await written(smallSpec(), { batch: 4 });
  assert.equal([model.inputs[0]!.shape, model.outputs[0]!.shape], [[4, 3, 8, 8], [4, 5]]);
  assert.not.ok(model.nodes.some(({ op }) => op === "Shape"));
  assert.equal(problems(model), []);
});

test("each activation is what the op says", () => {
  const kinds: Readonly<Record<ActivationKind, readonly string[]>> = { gelu: ["Gelu"], gelu_tanh: ["Gelu"], quick_gelu: ["Mul", "Sigmoid", "Mul"], relu: ["Relu"], sigmoid: ["Sigmoid"], silu: ["Sigmoid", "Mul"], tanh: ["Tanh"] };
  for (const [kind, expected] of Object.entries(kinds) as [ActivationKind, readonly string[]][]) {
    const builder = new GraphBuilder("one");
    builder.output("y", builder.node("activation", { kind }, [builder.input("x", [1, 2])], "act"));
    assert.equal([kind, toOnnx(builder.build()).nodes.map(({ op }) => op)], [kind, expected]);
  }
});

test("an output with two names, an input that is an output, and nodes of one name are kept apart", async () => {
  const builder = new GraphBuilder("names");
  const x = builder.input("input", [1, 2, 3]);
  const parameter = builder.parameter("a", [1, 2, 3]);
  const y = builder.node("add", {}, [builder.node("add", {}, [x, parameter], "a"), parameter], "a");
  const z = builder.node("add", {}, [y, y], "a");
  for (const [name, value] of [["first", z], ["second", z], ["same", x]] as const) builder.output(name, value);
  const path = join(folder, "names.onnx");
  await writeOnnx(path, toOnnx(builder.build()), (put) => put("a", new Float32Array(6)));
  const model = readOnnx(readFileSync(path));
  assert.equal(problems(model), []);
  assert.equal(model.nodes.map(({ name, outputs }) => [name, outputs[0]]), [["a", "a/add"], ["a/add", "a/add_2"], ["a/add_2", "first"], ["second", "second"], ["same", "same"]]);
});

test("a fused or a training graph is refused by the name of its node", () => {
  const spec = resolve(smallSpec({ dropout: { position: 0.1 } }));
  assert.throws(() => toOnnx(buildGraph(spec, { batch: 1 })), /^pos_drop: dropout has no form in ONNX; export a graph behind the pass inference/);
  assert.throws(() => toOnnx(runPasses(buildGraph(spec, { batch: 1 })).graph), /has no form in ONNX/);
});

// ------------------------------------------------------------------------------------------------------- files

test("above the limit parameters lie beside the model, each at the start of a page, and are the same", async () => {
  const graph = exportedGraph(smallSpec());
  const [model, values] = [toOnnx(graph), randomValues(graph, 1)];
  const paths = { one: join(folder, "one.onnx"), two: join(folder, "two.onnx"), limit: join(folder, "limit.onnx") };
  await writeValues(paths.one, model, values);
  await writeValues(paths.two, model, values, { weights: "external" });
  const bytes = readFileSync(paths.one).length;
  await writeValues(paths.limit, model, values, { largest: bytes });
  assert.not.ok(existsSync(externalPath(paths.limit)));
  await writeValues(paths.limit, model, values, { largest: bytes - 1 });
  assert.equal(readFileSync(externalPath(paths.limit)), readFileSync(externalPath(paths.two)));

  const [whole, split] = [readOnnx(readFileSync(paths.one)), readOnnx(readFileSync(paths.two))];
  assert.equal(problems(split), []);
  const data = readFileSync(externalPath(paths.two));
  for (const [i, { name, raw, external }] of split.initializers.entries()) {
    if (!external) assert.equal(raw, whole.initializers[i]!.raw);
    else {
      assert.equal([external.location, external.offset % 4096], ["two.onnx.data", 0]);
      assert.equal([name, data.subarray(external.offset, external.offset + external.length)], [name, whole.initializers[i]!.raw]);
    }
  }
  assert.is(split.initializers.filter(({ external }) => external).length, graph.parameters.length);
});

test("a model of 8 GiB is laid out without allocating it, and goes beside the file by itself", () => {
  const spec = { name: "giant", image: 224, patch: 14, dim: 4096, depth: 10, heads: 32, classes: 0 };
  const before = process.memoryUsage().arrayBuffers;
  const { model, external } = encode(toOnnx(exportedGraph(spec)), { weights: "auto", externalName: "giant.onnx.data" });
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 24);
  assert.ok(byteLength(external!) > 8e9 - 2e8);
  const read = readOnnx(Buffer.concat(model.filter((chunk) => chunk instanceof Uint8Array)));
  assert.equal(problems(read), []);
  assert.ok(read.initializers.some((tensor) => (tensor.external?.offset ?? 0) > 2 ** 32));
});

test("whatever goes wrong, the file that was there stays and nothing else is left", async () => {
  const place = temporaryFolder("export-fails");
  const [path, model] = [join(place, "m.onnx"), toOnnx(exportedGraph(smallSpec()))];
  writeFileSync(path, "mine");
  const [abort, count] = [new AbortController(), model.initializers.filter(({ data }) => !data).length];
  const cases: readonly (readonly [fill: Parameters<typeof writeOnnx>[2], sentence: RegExp])[] = [
    [() => Promise.reject(new Error("no weights")), /^Error: no weights$/],
    [(put) => put("cls_token", new Float32Array(7)), /"cls_token" takes 8 values, not 7/],
    [(put) => put("cls", new Float32Array(8)), /small awaits no parameter "cls"/],
    [async (put) => { await put("cls_token", new Float32Array(8)); await put("cls_token", new Float32Array(8)); }, /awaits no parameter "cls_token"/],
    [(put) => put("cls_token", new Float32Array(8)), new RegExp(`no values were given for .* \\(${count - 1} in all\\)`)],
    [async (put) => { abort.abort(new Error("stop")); await put("cls_token", new Float32Array(8)); }, /^Error: stop$/],
  ];
  for (const [fill, sentence] of cases) {
    for (const weights of ["auto", "external"] as const) {
      const error: unknown = await writeOnnx(path, model, fill, { weights, signal: abort.signal }).then(() => "written", (reason: unknown) => reason);
      if (!abort.signal.aborted) assert.match(String(error), sentence);
      else assert.match(String(error), /^Error: stop$/);
      assert.equal([readdirSync(place), readFileSync(path, "utf8")], [["m.onnx"], "mine"]);
    }
  }
  rmSync(place, { recursive: true });
  const missing: unknown = await writeOnnx(path, model, () => Promise.resolve()).catch((reason: unknown) => reason);
  assert.match(String(missing), /ENOENT/);
});

test("whole numbers are written as protobuf's varints", () => {
  const bytes = (value: number): number[] => integerField(1, value).flatMap((chunk) => (chunk instanceof Uint8Array ? [...chunk] : []));
  // The encoding guide's own example, and numbers beyond 32 bits.
  assert.equal(bytes(150), [0x08, 0x96, 0x01]);
  assert.equal(bytes(0), [0x08, 0]);
  assert.equal(bytes(2 ** 35), [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
  assert.equal(bytes(2 ** 53 - 1), [0x08, ...Array.from({ length: 7 }, () => 0xff), 0x0f]);
  for (const value of [-1, 0.5, 2 ** 53, NaN]) assert.throws(() => integerField(1, value), /is not a whole number/);
});

test("the checker of these tests sees what is wrong", async () => {
  const graph = exportedGraph(smallSpec({ depth: 1 }));
  const model = toOnnx(graph);
  const broken: readonly (readonly [change: Partial<OnnxModel>, sentence: RegExp])[] = [
    [{ nodes: model.nodes.toReversed() }, /reads .* before it is defined/],
    [{ nodes: model.nodes.slice(0, -1) }, /output logits is never computed/],
    [{ nodes: [...model.nodes, model.nodes[0]!] }, /two nodes are called .*is defined twice/s],
    [{ nodes: model.nodes.map((node) => (node.op === "Gelu" ? { ...node, op: "Gelus" } : node)) }, /there is no operator Gelus/],
    [{ nodes: model.nodes.map((node) => (node.op === "Softmax" ? { ...node, attributes: { axes: { kind: "int", value: 3 } } } : node)) }, /Softmax with axes = 3/],
    [{ initializers: model.initializers.slice(1) }, /reads \S+ before it is defined/],
    [{ initializers: [...model.initializers, { name: "more", shape: [1], data: new Float32Array(1) }] }, /nothing reads more/],
    [{ initializers: [...model.initializers, { name: "more", shape: [2], data: new Float32Array(1) }] }, /more \[2\] has 4 bytes instead of 8/],
  ];
  for (const [change, sentence] of broken) {
    const path = join(folder, "broken.onnx");
    await writeValues(path, { ...model, ...change }, randomValues(graph, 1));
    assert.match(problems(readOnnx(readFileSync(path))).join("\n"), sentence);
  }
});

test.run();
