/** Names of weight files: how parameters are made of tensors, whose names a file has, and what is said when it does not fit. */
import * as assert from "uvu/assert";
import { namingsOf } from "../../compiler/families/namings.js";
import { buildGraph } from "../../compiler/ir/build.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { checkTensors } from "../../runtime/check.js";
import { followNaming } from "../../runtime/naming.js";
import type { Naming, NamingRule, TensorForm, WeightRecipe } from "../../runtime/plan.js";
import { fromBytes, loadWeights, readHeader } from "../../runtime/weights.js";
import { worstError } from "../tools/fixtures.js";
import { fill, plainRecipe } from "../tools/naming.js";
import { exampleSpecs, shrink, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { randomTensor } from "../tools/tensors.js";
import { count, f32, makeFile, refusal, type MadeTensor } from "./weight-files.js";

const test = suite("naming");

// ------------------------------------------------------------------------------------------------------------ forms

/** A parameter that one rule makes of tensors t0, t1, ..., of the shape it is to have. */
async function made(shape: readonly number[], form: TensorForm | undefined, sizes: readonly number[], tensors: readonly MadeTensor[]): Promise<number[]> {
  const names = tensors.map((_, i) => `~t${i}`);
  const rule: NamingRule = form === undefined ? ["p", names] : ["p", names, form, ...sizes];
  const namings: readonly Naming[] = [{ name: "own", rules: [["", ["~"]]], ignored: [] }, { name: "other", rules: [rule], ignored: [] }];
  const recipe: WeightRecipe = { tensors: [{ name: "p", buffer: 0, offset: 0, dtype: "f32", shape, sources: [{ names: ["p"], shape }], steps: [] }], namings };
  let values: number[] = [];
  await loadWeights(recipe, makeFile(Object.fromEntries(tensors.map((tensor, i) => [`t${i}`, tensor]))), { upload: (_buffer, _offset, data) => void (values = [...data]) });
  return values;
}

/** Values that say where they are: each digit an index. */
const numbered = (shape: readonly number[], from = 0): MadeTensor => f32(shape, indices(shape).map((index) => from + Number(index.join(""))));

function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>((all, size) => all.flatMap((index) => count(size).map((i) => [...index, i])), [[]]);
}

/** What the numbers of a result say, by a function from its index to the tensor's. */
const expected = (shape: readonly number[], source: (index: readonly number[]) => { readonly from?: number; readonly index: readonly number[] }): number[] =>
  indices(shape).map((index) => {
    const { from = 0, index: at } = source(index);
    return from + Number(at.join(""));
  });

test("a tensor is taken as it is, or with other axes of length 1", async () => {
  assert.equal(await made([2, 3], undefined, [], [numbered([2, 3])]), expected([2, 3], (index) => ({ index })));
  for (const shape of [[3], [1, 3], [1, 1, 3], [1, 1, 1, 3]]) assert.equal(await made([1, 1, 3], "squeezed", [], [numbered([3])].map((tensor) => ({ ...tensor, shape }))), [0, 1, 2]);
  assert.equal(await made([1, 2, 3], "squeezed", [], [numbered([2, 3])]), expected([2, 3], (index) => ({ index })));
});

test("tensors are stacked along axis 0, matrices and vectors", async () => {
  const third = (index: readonly number[], rows: number) => ({ from: 1000 * Math.floor(index[0]! / rows), index: [index[0]! % rows, ...index.slice(1)] });
  assert.equal(await made([6, 3], "stacked", [], [0, 1000, 2000].map((from) => numbered([2, 3], from))), expected([6, 3], (index) => third(index, 2)));
  assert.equal(await made([6], "stacked", [], [0, 1000, 2000].map((from) => numbered([2], from))), expected([6], (index) => third(index, 2)));
});

test("kernels of flax are turned round", async () => {
  assert.equal(await made([2, 3], "transposed", [], [numbered([3, 2])]), expected([2, 3], ([out, into]) => ({ index: [into!, out!] })));
  assert.equal(await made([2, 3, 4, 5], "convolution", [], [numbered([4, 5, 3, 2])]), expected([2, 3, 4, 5], ([out, channel, row, column]) => ({ index: [row!, column!, channel!, out!] })));
  // Four heads of two.
  const head = ([out, into]: readonly number[]) => ({ from: 1000 * Math.floor(out! / 8), index: [...(into === undefined ? [] : [into]), Math.floor((out! % 8) / 2), out! % 2] });
  assert.equal(await made([24, 3], "heads", [4], [0, 1000, 2000].map((from) => numbered([3, 4, 2], from))), expected([24, 3], head));
  assert.equal(await made([16], "heads", [4], [0, 1000].map((from) => numbered([4, 2], from))), expected([16], head));
  assert.equal(await made([3, 8], "merged", [4], [numbered([4, 2, 3])]), expected([3, 8], ([out, into]) => ({ index: [Math.floor(into! / 2), into! % 2, out!] })));
});

test("parts of a tensor are rows of it, or tokens of a table", async () => {
  assert.equal(await made([4, 3], "rows", [2, 6], [numbered([6, 3])]), expected([4, 3], ([row, column]) => ({ index: [row! + 2, column!] })));
  assert.equal(await made([2], "rows", [4, 6], [numbered([6])]), [4, 5]);
  for (const shape of [[4, 2], [1, 4, 2]]) assert.equal(await made([1, 3, 2], "tokens", [1, 4], [{ ...numbered([4, 2]), shape }]), [10, 11, 20, 21, 30, 31]);
});

test("a class token takes the row of positions that was its own", async () => {
  for (const shape of [[2], [1, 1, 2]]) assert.equal(await made([1, 1, 2], "firstToken", [3], [{ ...f32([2], [100, 200]), shape }, f32([1, 3, 2], [1, 2, 3, 4, 5, 6])]), [101, 202]);
});

test("what an ecosystem has none of is zeros", async () => {
  assert.equal(await made([3], "zeros", [2, 3], [numbered([2, 3], 7)]), [0, 0, 0]);
  assert.equal(await made([3], "zeros", [3, 1], [numbered([3, 1], 7)]), [0, 0, 0]);
});

test("the steps of a packed tensor follow those of its parts", async () => {
  const spec = resolve(smallSpec({ tokens: { class: true }, position: { prefix: false } }));
  const { recipe } = makePlan(spec);
  const graph = buildGraph(spec, { batch: 1 });
  const own = new Map(graph.parameters.map(({ name, value }) => [name, randomTensor(value.shape, name, /weight$/.test(name) ? 0.5 : 0.1)]));
  const pack = async (bytes: Uint8Array): Promise<ReadonlyMap<string, readonly number[]>> => {
    const packed = new Map<string, readonly number[]>();
    await loadWeights(recipe, fromBytes(bytes), { upload: (buffer, offset, data) => void packed.set(`${buffer} ${offset}`, [...data]) });
    return packed;
  };
  const [mine, theirs] = [await pack(fileOf(own)), await pack(fileOf(asTransformers(own)))];
  assert.ok(mine.size > 10 && recipe.tensors.some(({ steps }) => steps.some(({ op }) => op === "foldNormShift")));
  // The class token and its row of positions are added in f64 where the file has them apart.
  for (const [at, values] of mine) assert.ok(worstError(theirs.get(at)!, values) < 1e-7, at);
});

// ------------------------------------------------------------------------------------------------ choosing a naming

const fileOf = (tensors: ReadonlyMap<string, Tensor>): Uint8Array<ArrayBuffer> => makeFile(new Map([...tensors].map(([name, { shape, data }]) => [name, f32(shape, Float32Array.from(data))])));

/** A model's parameters as transformers' ViT has them, in the words of version 4 or 5. */
function asTransformers(own: ReadonlyMap<string, Tensor>, prefix = "vit.", memory = false, head = "classifier"): Map<string, Tensor> {
  const file = new Map<string, Tensor>();
  const words: readonly (readonly [from: RegExp, to: string])[] = [
    [/^cls_token$/, "embeddings.cls_token"], [/^pos_embed$/, "embeddings.position_embeddings"], [/^patch_embed\.proj/, "embeddings.patch_embeddings.projection"], [/^norm\./, "layernorm."],
    [/^blocks\.(\d+)\./, memory ? "layers.$1." : "encoder.layer.$1."],
    [/norm1/, "layernorm_before"], [/norm2/, "layernorm_after"],
    [/attn\.proj/, memory ? "attention.o_proj" : "attention.output.dense"],
    [/mlp\.fc1/, memory ? "mlp.fc1" : "intermediate.dense"], [/mlp\.fc2/, memory ? "mlp.fc2" : "output.dense"],
  ]; // prettier-ignore
  for (const [name, tensor] of own) {
    if (name.startsWith("head.")) {
      file.set(name.replace("head", head), tensor);
      continue;
    }
    const called = prefix + words.reduce((text, [from, to]) => text.replace(from, to), name);
    const [rows] = tensor.shape as [number];
    if (!name.includes("attn.qkv")) file.set(called, tensor);
    else {
      (memory ? ["attention.q_proj", "attention.k_proj", "attention.v_proj"] : ["attention.attention.query", "attention.attention.key", "attention.attention.value"]).forEach((part, i) => {
        const size = tensor.data.length / 3;
        file.set(called.replace("attn.qkv", part), { shape: [rows / 3, ...tensor.shape.slice(1)], data: tensor.data.slice(i * size, (i + 1) * size) });
      });
    }
  }
  // A table without a row for the class token does not exist there.
  const table = file.get(`${prefix}embeddings.position_embeddings`);
  const patches = own.get("pos_embed")!.shape[1]!;
  if (table && patches === 4) {
    const token = randomTensor([1, 1, table.shape[2]!], "row");
    file.set(`${prefix}embeddings.position_embeddings`, { shape: [1, 5, table.shape[2]!], data: Float64Array.of(...token.data, ...table.data) });
    const cls = file.get(`${prefix}embeddings.cls_token`)!;
    file.set(`${prefix}embeddings.cls_token`, { ...cls, data: cls.data.map((value, i) => Math.fround(value) - token.data[i]!) });
  }
  return file;
}

const small = resolve(smallSpec());
const smallGraph = buildGraph(small, { batch: 1 });
const ownTensors = new Map(smallGraph.parameters.map(({ name, value }) => [name, randomTensor(value.shape, name)]));
const smallRecipe = plainRecipe(small, smallGraph);

const header = async (tensors: ReadonlyMap<string, Tensor>) => readHeader(fromBytes(fileOf(tensors)));
const problems = async (tensors: ReadonlyMap<string, Tensor>, recipe = smallRecipe, allowExtra?: boolean): Promise<string[]> =>
  checkTensors(recipe, await header(tensors), { allowExtra }).map(({ kind, message }) => `${kind}: ${message}`);

test("a file of the model's own names is read as the recipe says", async () => {
  const { tensors, naming } = followNaming(smallRecipe, (await header(ownTensors)).tensors);
  assert.equal(tensors, smallRecipe.tensors);
  assert.is(naming, undefined);
});

test("a recipe without namings knows the model's own names alone", async () => {
  const { tensors, naming, stranger } = followNaming({ tensors: smallRecipe.tensors }, (await header(asTransformers(ownTensors))).tensors);
  assert.is(tensors, smallRecipe.tensors);
  assert.equal([naming, stranger], [undefined, undefined]);
});

for (const [title, prefix, memory, head] of [
  ["of version 4", "vit.", false, "classifier"],
  ["of version 5 in memory", "vit.", true, "classifier"],
  ["without a prefix", "", false, "classifier"],
  ["within another module", "model.vit.", false, "model.classifier"],
  ["with a prefix that nobody has thought of", "student.backbone.", true, "student.classifier"],
] as const) {
  test(`names of transformers ${title} give the same parameters`, async () => {
    const { parameters, ignored } = await fill(small, smallGraph, fileOf(asTransformers(ownTensors, prefix, memory, head)));
    assert.equal(parameters, ownTensors);
    assert.equal(ignored, []);
  });
}

test("own names may stand behind a prefix", async () => {
  for (const prefix of ["timm_model.", "module.", "backbone/"]) {
    const { parameters } = await fill(small, smallGraph, fileOf(new Map([...ownTensors].map(([name, tensor]) => [prefix + name, tensor]))));
    assert.equal(parameters, ownTensors);
  }
});

test("LayerScale and gated MLPs may have the names that they had before", async () => {
  const spec = resolve(smallSpec({ layerScale: 1e-4, mlp: { gate: "split", hidden: 6, norm: true }, attention: { norm: true, qkvBias: "qv" } }));
  const graph = buildGraph(spec, { batch: 1 });
  const own = new Map(graph.parameters.map(({ name, value }) => [name, randomTensor(value.shape, name)]));
  const words: readonly (readonly [string, string])[] = [["ls1.gamma", "gamma_1"], ["ls2.gamma", "gamma_2"], ["mlp.fc1_g", "mlp.w1"], ["mlp.fc1_x", "mlp.w2"], ["mlp.fc2", "mlp.w3"], ["mlp.norm", "mlp.ffn_ln"], ["attn.norm", "attn.inner_attn_ln"]];
  const file = new Map([...own].map(([name, tensor]) => [words.reduce((text, [from, to]) => text.replace(from, to), name), tensor]));
  assert.ok(file.has("blocks.1.gamma_2") && file.has("blocks.0.mlp.w3.bias"));
  assert.equal((await fill(spec, graph, fileOf(file))).parameters, own);
});

test("the norm of a class token may stand before or behind its pooling, in files as in models", async () => {
  for (const [finalNorm, theirs] of [["pooled", "norm"], ["tokens", "fc_norm"]] as const) {
    const spec = resolve(smallSpec({ finalNorm }));
    const graph = buildGraph(spec, { batch: 1 });
    const own = new Map(graph.parameters.map(({ name, value }) => [name, randomTensor(value.shape, name)]));
    const file = new Map([...own].map(([name, tensor]) => [name.replace(/^(fc_)?norm\./, `${theirs}.`), tensor]));
    assert.ok(file.has(`${theirs}.bias`));
    assert.equal((await fill(spec, graph, fileOf(file))).parameters, own);
  }
  // A mean of normed tokens is no normed mean.
  const spec = resolve(smallSpec({ pool: "avg", finalNorm: "pooled" }));
  const graph = buildGraph(spec, { batch: 1 });
  const file = new Map(graph.parameters.map(({ name, value }) => [name.replace("fc_norm", "norm"), randomTensor(value.shape, name)]));
  assert.match((await problems(file, plainRecipe(spec, graph)))[0] ?? "", /^missing: "fc_norm.weight" \[8\] is missing/);
});

// ------------------------------------------------------------------------------------------------------ what is said

test("what is missing or misshapen is said in the words of the file", async () => {
  for (const [memory, key, dense] of [[false, "vit.encoder.layer.1.attention.attention.key.bias", "vit.encoder.layer.0.output.dense.weight"], [true, "vit.layers.1.attention.k_proj.bias", "vit.layers.0.mlp.fc2.weight"]] as const) {
    const file = asTransformers(ownTensors, "vit.", memory);
    file.set(`${key}es`, file.get(key)!);
    file.delete(key);
    file.set(dense, { ...file.get(dense)!, shape: [4, 64] });
    assert.equal(await problems(file), [
      `missing: "${key}" [8] is missing; the nearest unused name in the file is "${key}es" [8]`,
      `shape: "${dense}" has shape [4, 64], the model needs [8, 32]`,
      `extra: "${key}es" [8] is not used by the model; allowExtra: true (--allow-extra on the command line) ignores such tensors`,
    ]);
    const { message } = await refusal(loadWeights(smallRecipe, fileOf(file), { upload: () => undefined }));
    assert.ok(message.startsWith("weights (bytes), read by the names of transformers ViT: 3 problems\n"), message);
  }
});

test("a value that is no number is found where the file has it", async () => {
  const file = asTransformers(ownTensors);
  const name = "vit.encoder.layer.0.attention.attention.value.weight";
  file.set(name, { ...file.get(name)!, data: file.get(name)!.data.map((value, i) => (i === 10 ? NaN : value)) });
  const { problems } = await refusal(loadWeights(smallRecipe, fileOf(file), { upload: () => undefined }));
  assert.equal(problems.map(({ kind, message }) => [kind, message.split(":")[0]]), [["value", `"${name}" holds NaN at [1, 2]`]]);
});

test("tensors that such files hold are ignored and listed, others are refused unless they are allowed", async () => {
  const token = randomTensor([1, 1, 8], "x");
  const file = asTransformers(ownTensors).set("vit.embeddings.mask_token", token).set("vit.pooler.dense.bias", token).set("decoder.0.weight", token).set("vit.adapter.weight", token);
  assert.equal(await problems(file), ['extra: "vit.adapter.weight" [1, 1, 8] is not used by the model; allowExtra: true (--allow-extra on the command line) ignores such tensors']);
  assert.equal(await problems(file, smallRecipe, true), []);
  assert.equal((await fill(small, smallGraph, fileOf(file), { allowExtra: true })).ignored, ["vit.embeddings.mask_token", "vit.pooler.dense.bias", "decoder.0.weight", "vit.adapter.weight"]);
  file.delete("vit.adapter.weight");
  assert.equal((await fill(small, smallGraph, fileOf(file))).ignored, ["vit.embeddings.mask_token", "vit.pooler.dense.bias", "decoder.0.weight"]);
});

test("what one model ignores another one wants", async () => {
  const spec = resolve(smallSpec({ classes: 0, representation: 6 }));
  const graph = buildGraph(spec, { batch: 1 });
  const own = new Map(graph.parameters.map(({ name, value }) => [name, randomTensor(value.shape, name)]));
  const file = asTransformers(new Map([...own].filter(([name]) => !name.startsWith("pre_logits"))), "");
  for (const leaf of ["weight", "bias"]) file.set(`pooler.dense.${leaf}`, own.get(`pre_logits.fc.${leaf}`)!);
  file.set("classifier.weight", randomTensor([5, 8], "head")).set("classifier.bias", randomTensor([5], "head"));
  const { parameters, ignored } = await fill(spec, graph, fileOf(file));
  assert.equal(parameters, own);
  assert.equal(ignored, ["classifier.weight", "classifier.bias"]);
  file.delete("pooler.dense.weight");
  assert.match((await problems(file, plainRecipe(spec, graph)))[0] ?? "", /^missing: "pooler.dense.weight" \[6, 8\] is missing/);
});

test("two models in one file are not taken for one", async () => {
  const file = new Map([...asTransformers(ownTensors, "student."), ...asTransformers(ownTensors, "teacher.")]);
  const found = await problems(file);
  assert.is(found.length, 38);
  assert.ok(found.every((problem) => problem.startsWith('extra: "teacher.')));
});

test("a file of another kind of model is told by its names", async () => {
  const dino = asTransformers(ownTensors, "");
  for (const block of [0, 1]) for (const scale of [1, 2]) dino.set(`encoder.layer.${block}.layer_scale${scale}.lambda1`, randomTensor([8], "s"));
  const renamed = new Map([...dino].map(([name, tensor]) => [name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2").replace("intermediate.dense", "mlp.fc1").replace(/layer\.(\d)\.output\.dense/, "layer.$1.mlp.fc2"), tensor]));
  const said = (whose: string) => `format: its tensors have the names of ${whose}, and this model is of another kind: compile a package from the config of the file`;
  assert.is((await problems(renamed))[0], said("transformers DINOv2"));
  const token = randomTensor([2], "t");
  for (const [name, whose] of [
    ["vision_model.pre_layrnorm.weight", "transformers CLIP"], ["embeddings.patch_embedding.bias", "transformers SigLIP"], ["layer1.0.conv1.weight", "a ResNet"], ["layers.0.blocks.0.attn.qkv.weight", "a Swin Transformer"],
    ["bert.embeddings.word_embeddings.weight", "a text model"], ["layer.0.layer_scale1.lambda1", "transformers DINOv3"], ["visual.transformer.resblocks.0.ln_1.weight", "OpenAI's CLIP"],
  ] as const) {
    const found = await problems(new Map([[name, token]]));
    assert.is(found[0], said(whose));
    assert.ok(found.includes('missing: "norm.weight" [8] is missing'), name);
  } // prettier-ignore
  // One that is of this kind, and only another size, is none of another.
  const short = new Map([...asTransformers(ownTensors)].filter(([name]) => !name.includes("layer.1.")));
  assert.ok((await problems(short)).every((problem) => problem.startsWith('missing: "vit.encoder.layer.1.')));
});

test("names of nobody are compared with the model's own", async () => {
  const found = await problems(new Map([["cls_tokn", randomTensor([1, 1, 8], "c")]]));
  assert.is(found.length, smallGraph.parameters.length + 1);
  assert.ok(found.includes('missing: "cls_token" [1, 1, 8] is missing; the nearest unused name in the file is "cls_tokn" [1, 1, 8]'));
});

test("an empty tensor is nothing to refuse", async () => {
  const file = new Map(asTransformers(ownTensors)).set("vit.embeddings.register_tokens", { shape: [1, 0, 8], data: new Float64Array(0) });
  assert.equal(await problems(file), []);
});

// ------------------------------------------------------------------------------------------- what packages say of them

const namesOf = (spec: ViTSpec): string[] => {
  const resolved = resolve(spec);
  return namingsOf(resolved, buildGraph(resolved, { batch: 1 }).parameters.map(({ name }) => name)).namings.map(({ name }) => name);
};

test("a package names those ecosystems that its model can come from", () => {
  assert.equal(namesOf(smallSpec()), ["timm", "OpenCLIP", "transformers ViT", "torchvision", "Google's vision_transformer", "Google's big_vision"]);
  assert.equal(namesOf(smallSpec({ layerScale: 1, tokens: { registers: 2 }, position: { prefix: false } })), ["timm", "Meta's DINOv2", "OpenCLIP", "transformers DINOv2"]);
  assert.equal(namesOf(smallSpec({ layerScale: 1, rope: { kind: "dinov3" }, position: { kind: "none" }, tokens: { registers: 2 } })), ["timm", "Meta's DINOv3", "OpenCLIP", "transformers DINOv3"]);
  assert.equal(namesOf(smallSpec({ attention: { qkvBias: "qv", relative: true }, layerScale: 1, position: { kind: "none" } })), ["timm", "OpenCLIP", "transformers BEiT"]);
  assert.equal(namesOf(smallSpec({ preNorm: true, patchBias: false, headBias: false })), ["timm", "OpenCLIP", "transformers CLIP", "OpenAI's CLIP"]);
  assert.equal(namesOf(smallSpec({ tokens: { class: false }, pool: "map" })), ["timm", "OpenCLIP", "transformers SigLIP", "Google's big_vision"]);
  assert.equal(namesOf(smallSpec({ block: "parallel" })), ["timm", "OpenCLIP"]);
  assert.equal(namesOf(smallSpec({ attention: { qkNorm: true } })), ["timm", "OpenCLIP"]);
});

test("namings are small, take no more rules than the model needs, and leave nothing out", () => {
  for (const [name, written] of exampleSpecs) {
    const spec = resolve(shrink(written));
    const { recipe } = makePlan(spec);
    const parameters = [...new Set(recipe.tensors.flatMap(({ sources }) => sources.map(({ names }) => names[0]!)))];
    assert.is(recipe.namings![0]!.name, "timm");
    assert.ok(JSON.stringify(recipe.namings).length < 12_000, name);
    for (const naming of recipe.namings!) {
      const own = naming.rules.map(([pattern]) => new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", "\\d+")}${pattern === "" || pattern.endsWith(".") ? ".+" : ""}$`));
      assert.ok(parameters.every((parameter) => own.some((known) => known.test(parameter))), `${name}, ${naming.name}: every parameter has a rule`);
      assert.ok(own.every((known) => parameters.some((parameter) => known.test(parameter))), `${name}, ${naming.name}: every rule has a parameter`);
    }
  }
});

test.run();
