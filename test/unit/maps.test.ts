/** Attention maps and embeddings as outputs: against transformers and timm in f64, and what a plan does for them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { specOfConfig } from "../../compiler/families/index.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { fixturePath, readTensors, worstError } from "../tools/fixtures.js";
import { runFile } from "../tools/naming.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { randomValues } from "../tools/tensors.js";

const test = suite("attention maps and embeddings");

// ------------------------------------------------------------------------------------------------------ saved models

const saved = (["hf", "timm"] as const).flatMap((library) => readdirSync(fixturePath(library)).map((name) => `${library}/${name}`)).filter((name) => existsSync(fixturePath(`${name}/maps.safetensors`))).toSorted();

test("there are maps of every form of attention", () => {
  assert.equal(saved, [
    "hf/beit-classify", "hf/beit-shared", "hf/clip-vision", "hf/dinov3", "hf/vit-model",
    "timm/vit_base_patch16_18x2_224", "timm/vit_base_patch16_rope_224", "timm/vit_base_patch16_xp_224", "timm/vit_dlittle_patch16_reg1_gap_256", "timm/vit_dpwee_patch16_reg1_gap_256",
  ]);
});

/** The spec of a saved model that returns its maps too. */
function withMaps(name: string): ViTSpec {
  const { spec } = specOfConfig(JSON.parse(readFileSync(fixturePath(`${name}/config.json`), "utf8")));
  return { ...spec, outputs: [...(spec.outputs ?? []), "blocks.*.attn"] };
}

for (const name of saved) {
  test(`${name}: maps are its library's, beside the outputs that it had`, async () => {
    const [io, maps] = [readTensors(fixturePath(`${name}/io.safetensors`)), readTensors(fixturePath(`${name}/maps.safetensors`))];
    const { outputs } = await runFile(resolve(withMaps(name)), fixturePath(`${name}/model.safetensors`), io.get("input")!);
    const expected = new Map([...[...io].filter(([key]) => key !== "input"), ...maps]);
    assert.equal([...outputs.keys()].toSorted(), [...expected.keys()].toSorted());
    for (const [output, { shape, data }] of outputs) {
      assert.equal(shape, expected.get(output)!.shape);
      const error = worstError(data, expected.get(output)!.data);
      assert.ok(error < 1e-6, `${output} is off by ${error}`);
    }
  });
}

test("maps of another scale, or without what is added to scores, are seen", async () => {
  const wrong: readonly (readonly [name: string, change: Partial<ViTSpec>])[] = [
    ["hf/vit-model", { attention: { scale: 0.36 } }],
    ["timm/vit_base_patch16_rope_224", { rope: { kind: "axial", order: "ij" } }],
  ];
  for (const [name, change] of wrong) {
    const maps = readTensors(fixturePath(`${name}/maps.safetensors`));
    const { outputs } = await runFile(resolve({ ...withMaps(name), ...change }), fixturePath(`${name}/model.safetensors`), readTensors(fixturePath(`${name}/io.safetensors`)).get("input")!);
    assert.ok(worstError(outputs.get("blocks.0.attn")!.data, maps.get("blocks.0.attn")!.data) > 1e-4, name);
  }
});

// -------------------------------------------------------------------------------------------------------- embeddings

const outputsOf = (spec: ViTSpec): ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float64Array }> => {
  const graph = buildGraph(resolve(spec), { batch: 2 });
  return interpret(graph, randomValues(graph, 3));
};

/** Rows of a matrix divided by their lengths. */
function unit(rows: { readonly shape: readonly number[]; readonly data: Float64Array }): Float64Array {
  const width = rows.shape[1]!;
  return rows.data.map((value, i) => value / Math.hypot(...rows.data.subarray(i - (i % width), i - (i % width) + width)));
}

const embedded: readonly (readonly [title: string, changes: Partial<ViTSpec>, of: string])[] = [
  ["of a classifier are its features", { outputs: ["features", "embedding"] }, "features"],
  ["of a classifier with a norm behind pooling", { pool: "avg", finalNorm: "pooled", outputs: ["features", "embedding"] }, "features"],
  ["of a classifier with a representation", { representation: 6, outputs: ["features", "embedding"] }, "features"],
  ["of a model without a head are what it returns", { classes: 0, pool: "map", outputs: ["embedding"] }, "features"],
  ["of a model that ends in a projection are what that makes", { headBias: false, outputs: ["embedding"], outputNames: { logits: "image_embeds" } }, "image_embeds"],
  ["of logits by another name that have labels are the features", { labels: ["a", "b", "c", "d", "e"], outputs: ["features", "embedding"], outputNames: { logits: "scores" } }, "features"],
  ["of a distilled model are the mean of both tokens", { tokens: { distillation: true }, outputs: ["features", "embedding"] }, "features"],
  ["of a distilled model without heads likewise", { tokens: { distillation: true }, classes: 0, outputs: ["embedding"] }, "features"],
];

for (const [title, changes, of] of embedded) {
  test(`embeddings ${title}, divided by their length`, () => {
    const outputs = outputsOf(smallSpec(changes));
    const { shape, data } = outputs.get("embedding")!;
    assert.equal(shape, outputs.get(of)!.shape);
    assert.ok(worstError(data, unit(outputs.get(of)!)) < 1e-12);
  });
}

test("features of a distilled model are the mean of its tokens, as timm's forward_head makes them", () => {
  const outputs = outputsOf(smallSpec({ tokens: { distillation: true }, outputs: ["norm", "features"] }));
  const norm = outputs.get("norm")!.data;
  const expected = Float64Array.from({ length: 16 }, (_, i) => (norm[Math.floor(i / 8) * 48 + (i % 8)]! + norm[Math.floor(i / 8) * 48 + 8 + (i % 8)]!) / 2);
  assert.ok(worstError(outputs.get("features")!.data, expected) < 1e-12);
});

// ------------------------------------------------------------------------------------------------------------ plans

const labelsOf = (spec: ViTSpec): readonly string[] => makePlan(resolve(spec)).plan.programs.infer[0]!.dispatches.map(({ label, routine }) => `${label} ${routine.replace(/_.*/, "")}`);

test("only blocks whose map is asked for pay for it, with one dispatch", () => {
  const plain = labelsOf(smallSpec({ depth: 4 }));
  const one = labelsOf(smallSpec({ depth: 4, outputs: ["blocks.1.attn"] }));
  assert.equal(one.filter((label) => !plain.includes(label)), ["blocks.1.attn.map attention"]);
  assert.is(one.length, plain.length + 1);
});

test("an attention and its map share a product, in whose weights their scale is", () => {
  const { plan } = makePlan(resolve(smallSpec({ depth: 3, outputs: ["blocks.*.attn"] })));
  const routines = plan.programs.infer[0]!.dispatches.filter(({ label }) => label.includes("attn")).map(({ routine }) => routine);
  assert.equal([...new Set(routines)].filter((id) => id.startsWith("attention")), ["attention_map_b1_t5_h2_d4", "attention_b1_t5_h2_d4"]);
});

test("the last block keeps all queries for its map, and the rest of it the tokens that are read", () => {
  const labels = labelsOf(smallSpec({ outputs: ["blocks.1.attn"] }));
  assert.equal(labels.slice(labels.findIndex((label) => label.startsWith("blocks.1"))), [
    "blocks.1.attn.qkv gemm", "blocks.1.attn.map attention", "blocks.1.attn attention", "blocks.1.attn.token tokens", "blocks.1.attn.token tokens",
    "blocks.1.attn.proj gemm", "blocks.1.mlp.fc1 gemm", "blocks.1.mlp.fc2 gemm", "head gemm",
  ]);
  assert.ok(labelsOf(smallSpec({ outputs: ["blocks.1.attn", "blocks.1"] })).every((label) => !label.includes("blocks.1.attn.token")));
});

test("maps are f32 in a plan of f16, and have literal shapes", () => {
  const { plan } = makePlan(resolve(smallSpec({ outputs: ["blocks.0.attn", "embedding"] })), { dtype: "f16" });
  assert.equal(plan.outputs.filter(({ name }) => name !== "logits"), [{ name: "blocks.0.attn", shape: [2, 5, 5], dtype: "f32" }, { name: "embedding", shape: [8], dtype: "f32" }]);
});

test("a batch of maps that is larger than a binding is cut into chunks, and one map beyond it refused with its bytes", () => {
  const spec = smallSpec({ image: 64, batch: 8, outputs: ["blocks.0.attn"] });
  // 257 tokens, two heads: half a megabyte an image.
  const bytes = 4 * 2 * 257 ** 2;
  assert.equal(makePlan(resolve(spec), { bindingBytes: 3 * bytes }).plan.programs.infer.map(({ batch }) => batch), [3]);
  assert.throws(
    () => makePlan(resolve(spec), { bindingBytes: bytes - 256 }),
    (error: unknown) => error instanceof SpecError && error.message.includes("528,392 bytes in blocks.0.attn"),
  );
});

test.run();
