/**
 * Exported models in ONNX Runtime on the CPU against the f64 interpreter. A process of its own, for ONNX Runtime is native code; more models,
 * and whole ones, are compared by `npm run bench:onnx`.
 */
import { join } from "node:path";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import type { OnnxModel, OnnxNode } from "../../compiler/export/model.js";
import { toOnnx } from "../../compiler/export/onnx.js";
import { GraphBuilder } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { compareWithInterpreter, findOnnxRuntime, smallOnnxTolerance, writeValues } from "../tools/onnxruntime.js";
import { temporaryFolder } from "../tools/packages.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, shrink, smallSpec } from "../tools/specs.js";
import { skipAll, suite } from "../tools/suite.js";
import { randomValues } from "../tools/tensors.js";

const name = "exported models in ONNX Runtime";
const test = suite(name);
const runtime = await findOnnxRuntime();

if ("reason" in runtime) skipAll(name, runtime.reason);
else {
  const folder = temporaryFolder("onnx");
  const agrees = async (spec: ViTSpec, images: number, options: { batch?: number; weights?: "external" } = {}): Promise<void> => {
    const worst = await compareWithInterpreter(runtime, spec, { images, folder, ...options });
    assert.ok(worst <= smallOnnxTolerance, `${spec.name} is off by ${worst}`);
  };

  for (const example of ["vit-tiny-patch16-224", "deit-tiny-distilled-patch16-224", "vit-hybrid-stem-64", "vit-wide-96x160"]) {
    test(`${example}, shrunk, has the interpreter's outputs`, () => agrees(shrink(exampleSpecs.get(example)!), 3));
  }

  test("so have 24 random models", async () => {
    for (const spec of fc.sample(randomSpec, { numRuns: 24, seed: 11 })) await agrees(spec, 2);
  });

  const families: Readonly<Record<string, Partial<ViTSpec>>> = {
    "rotary positions behind registers": { tokens: { registers: 3 }, rope: { kind: "axial", order: "xy", reference: 3, offset: 1 }, attention: { qkvBias: "qv", qkNorm: true }, mlp: { gate: "packed" } },
    "rotary positions of halves of a head": { rope: { kind: "dinov3" }, norm: { kind: "rms", eps: 1e-5 }, mlp: { gate: "split", norm: true } },
    "learned rotary positions and a learned query": { position: { kind: "none" }, rope: { kind: "mixed" }, pool: "map", poolPrefix: true, mapPool: { heads: 4, hidden: 6 } },
    "biases by distance and norms behind branches": { block: "post", attention: { relative: true, gate: true, norm: true }, pool: "avgmax" },
    "a differential parallel block": { block: "parallel", attention: { differential: true }, preNorm: true, layerScale: 0.5, pool: "tokenavg" },
    "attention maps and an embedding": { attention: { relative: true }, outputs: ["blocks.*.attn", "embedding"] },
    "positions of another grid": { position: { resample: { grid: [3, 5], filter: "bicubic" } }, tokens: { distillation: true } },
    "patches and distances of other sizes": { patchResample: { patch: [3, 7], filter: "bilinear" }, attention: { relative: true, relativeResample: { grid: [3, 5] } } },
    "distances of another grid, resized as an image": { patchResample: { patch: 2 }, attention: { relative: true, relativeResample: { grid: [5, 1], filter: "bilinear" } }, pool: "avg" },
    "two attentions side by side": { block: "parallelThings", mlp: { gate: "packedLast" }, pool: "none", classes: 0, outputNames: { tokens: "last_hidden_state" } },
  };
  for (const [title, changes] of Object.entries(families)) test(`so has a model with ${title}`, () => agrees(smallSpec({ ...changes, name: title.replaceAll(/\W+/g, "-") }), 2));

  test("weights beside the model are found, and a fixed batch is kept", async () => {
    await agrees(smallSpec(), 2, { batch: 2, weights: "external" });
    const refusal = await compareWithInterpreter(runtime, smallSpec(), { images: 3, folder, batch: 2 }).catch((error: unknown) => String(error));
    assert.match(String(refusal), /invalid dimensions for input: input/);
  });

  test("a map made of tokens, which no spec has before fusion, is the op's", async () => {
    const builder = new GraphBuilder("map");
    builder.output("y", builder.node("tokensToMap", { height: 2, width: 3 }, [builder.input("input", [2, 6, 4])], "map"));
    const [graph, path] = [builder.build(), join(folder, "map.onnx")];
    const values = randomValues(graph, 1);
    await writeValues(path, toOnnx(graph), values);
    const actual = (await runtime.run(path, values.inputs["input"]!)).get("y")!;
    const expected = interpret(graph, values).get("y")!;
    assert.equal(actual, { shape: expected.shape, data: expected.data.map(Math.fround) });
  });

  const small = smallSpec({ mlp: { activation: "quick_gelu" }, tokens: { class: true }, outputs: ["embed", "blocks.*"] });
  const turned = smallSpec({ rope: { kind: "mixed" } });
  /** A model with some of its nodes changed. */
  const edit = (change: (node: OnnxNode) => OnnxNode | undefined) => (model: OnnxModel): OnnxModel => ({ ...model, nodes: model.nodes.map((node) => change(node) ?? node) });
  const wrong: readonly (readonly [title: string, spec: ViTSpec, change: (model: OnnxModel) => OnnxModel])[] = [
    ["tanh's approximation of GELU", smallSpec(), edit((node) => (node.op === "Gelu" ? { ...node, attributes: { approximate: { kind: "string", value: "tanh" } } } : undefined))],
    ["keys for queries", small, edit((node) => (node.name === "blocks.1.attn.k/Slice" ? { ...node, inputs: ["blocks.1.attn.qkv", "vector.int64.0", "vector.int64.8", "vector.int64.2"] } : undefined))],
    ["another eps", smallSpec({ norm: { eps: 1e-3 } }), edit((node) => (node.op === "LayerNormalization" ? { ...node, attributes: { ...node.attributes, epsilon: { kind: "float", value: 2e-3 } } } : undefined))],
    ["rotation the other way", turned, (model) => ({ ...model, initializers: model.initializers.map((tensor) => (tensor.name.startsWith("signs.") && tensor.data instanceof Float32Array ? { ...tensor, data: tensor.data.map((sign) => -sign) } : tensor)) })],
    ["sines for cosines", turned, edit((node) => (node.op === "Cos" ? { ...node, op: "Sin" } : undefined))],
    ["another factor", small, (model) => ({ ...model, initializers: model.initializers.map((tensor) => (tensor.data instanceof Float32Array ? { ...tensor, data: tensor.data.map((value) => value * 1.01) } : tensor)) })],
  ];
  for (const [title, spec, change] of wrong) {
    test(`${title} would be noticed`, async () => {
      assert.ok((await compareWithInterpreter(runtime, spec, { images: 2, folder })) <= smallOnnxTolerance);
      const worst = await compareWithInterpreter(runtime, spec, { images: 2, folder, change });
      assert.ok(worst > smallOnnxTolerance, `it is off by ${worst}`);
    });
  }
}

test.run();
