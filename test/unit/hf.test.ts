/** transformers' config.json as specs: saved models against what their forward returns, the classes' defaults, and what no spec can say. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { transformersSpec, transformersTypes, type TransformersOptions } from "../../compiler/families/hf/index.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { fixturePath, readTensors, worstError } from "../tools/fixtures.js";
import { runFile } from "../tools/naming.js";
import { suite } from "../tools/suite.js";

const test = suite("transformers");

const names = readdirSync(fixturePath("hf")).toSorted();
const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

// -------------------------------------------------------------------------------------------------------- saved models

/** How many tensors of a file the model leaves alone: its other half, and what training needs. */
const left: Readonly<Record<string, number>> = {
  "beit-shared": 1, "clip-classify": 2, "clip-model": 22, dinov2: 1, "dinov2-classify": 1, "dinov2-other-size": 1, "dinov2-registers": 1, "dinov2-registers-classify": 1, "dinov2-registers-other-size": 1, dinov3: 2, "dinov3-gated": 1, "dinov3-other-size": 2,
  "siglip-classify": 11, "siglip-model": 24, "vit-mae": 24,
}; // prettier-ignore

test("there is a saved model of every type", () => {
  const types = new Set(names.map((name) => (json(fixturePath(`hf/${name}/config.json`)) as { model_type: string }).model_type));
  assert.equal([...types].toSorted(), [...transformersTypes].toSorted());
});

for (const name of names) {
  const folder = fixturePath(`hf/${name}`);
  for (const file of ["model", "state_dict"].filter((stem) => existsSync(`${folder}/${stem}.safetensors`))) {
    test(`${name}: config.json and ${file}.safetensors make what forward returns, by its names`, async () => {
      const processor = existsSync(`${folder}/preprocessor_config.json`) ? json(`${folder}/preprocessor_config.json`) : undefined;
      const { spec } = transformersSpec(json(`${folder}/config.json`), { processor });
      const io = readTensors(`${folder}/io.safetensors`);
      const { outputs, ignored } = await runFile(resolve(spec), `${folder}/${file}.safetensors`, io.get("input")!);
      assert.equal([...outputs.keys()].toSorted(), [...io.keys()].filter((key) => key !== "input").toSorted());
      for (const [output, { shape, data }] of outputs) {
        assert.equal(shape, io.get(output)!.shape);
        const error = worstError(data, io.get(output)!.data);
        assert.ok(error < 1e-6, `${output} is off by ${error}`);
      }
      assert.is(ignored.length, left[name] ?? 0, ignored.join(", "));
    });
  }
}

// ------------------------------------------------------------------------------------------------------------- defaults

const specOf = (config: object, options?: TransformersOptions): ViTSpec => transformersSpec(config, options).spec;

/** What a config says when it leaves all to the class. */
const usual: Readonly<Record<string, Partial<ViTSpec>>> = {
  vit: { image: 224, patch: 16, dim: 768, depth: 12, heads: 12, mlp: { hidden: 3072, activation: "gelu" }, norm: { eps: 1e-12 }, tokens: { class: true }, representation: 768, classes: 0, outputs: ["tokens"] },
  deit: { mlp: { hidden: 3072, activation: "gelu" }, norm: { eps: 1e-12 }, tokens: { class: true, registers: 1 }, representation: 768 },
  dinov2: { patch: 14, mlp: { hidden: 3072, activation: "gelu" }, norm: { eps: 1e-6 }, layerScale: 1, tokens: { class: true, registers: 0 } },
  dinov2_with_registers: { patch: 16, tokens: { class: true, registers: 4 }, position: { prefix: false, resample: { antialias: true } }, layerScale: 1 },
  dinov3_vit: { patch: 16, dim: 384, heads: 6, mlp: { hidden: 1536, activation: "gelu" }, norm: { eps: 1e-5 }, rope: { kind: "dinov3", temperature: 100 }, attention: { qkvBias: "qv" }, layerScale: 1, tokens: { class: true, registers: 0 }, position: { kind: "none" } },
  clip_vision_model: { patch: 32, mlp: { hidden: 3072, activation: "quick_gelu" }, norm: { eps: 1e-5 }, preNorm: true, patchBias: false, finalNorm: "pooled", classes: 0 },
  clip: { patch: 32, classes: 512, headBias: false, outputNames: { logits: "pooler_output", tokens: "last_hidden_state", embedding: "image_embeds" } },
  siglip_vision_model: { patch: 16, mlp: { hidden: 3072, activation: "gelu_tanh" }, norm: { eps: 1e-6 }, tokens: { class: false }, pool: "map", classes: 0 },
  siglip: { patch: 16, tokens: { class: false }, pool: "map" },
  vit_mae: { norm: { eps: 1e-12 }, pool: "none", outputNames: { tokens: "last_hidden_state" } },
  vit_msn: { norm: { eps: 1e-6 }, pool: "none" },
  ijepa: { norm: { eps: 1e-12 }, tokens: { class: false }, pool: "none" },
  beit: { norm: { eps: 1e-12 }, attention: { qkvBias: "qv" }, position: { kind: "none" }, layerScale: 0.1, pool: "avg", finalNorm: "pooled", outputNames: { tokens: "last_hidden_state", features: "pooler_output" } },
};

for (const [model_type, expected] of Object.entries(usual)) {
  test(`${model_type}: what a config leaves out is the class's default`, () => {
    const { spec, notes } = transformersSpec({ model_type });
    for (const [field, value] of Object.entries(expected)) assert.equal(spec[field as keyof ViTSpec], value, field);
    assert.match(notes[0] ?? "", /^config.json names no architecture: it is taken for a \w+Model$/);
    resolve(spec);
  });
}

test("a package is called by the end of the name that the config remembers, or as one wishes", () => {
  assert.is(specOf({ model_type: "vit" }).name, "vit");
  assert.is(specOf({ model_type: "vit", _name_or_path: "google/vit-base-patch16-224/" }).name, "vit-base-patch16-224");
  assert.is(specOf({ model_type: "vit", _name_or_path: "C:\\models\\my model" }).name, "my-model");
  assert.is(specOf({ model_type: "vit", _name_or_path: "..." }, { name: "mine" }).name, "mine");
});

test("labels are kept in their order, unless transformers made them up", () => {
  const labelled = (id2label: Readonly<Record<string, string>>): ViTSpec => specOf({ model_type: "vit", architectures: ["ViTForImageClassification"], id2label });
  const ten = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [String(10 - i), `class ${10 - i}`]));
  assert.equal(labelled(ten).labels, Array.from({ length: 11 }, (_, i) => `class ${i}`));
  assert.is(labelled(ten).classes, 11);
  assert.equal([labelled({ 0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2" }).classes, labelled({ 0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2" }).labels], [3, undefined]);
  // Two classes without names are what transformers does not write down.
  assert.is(specOf({ model_type: "vit", architectures: ["ViTForImageClassification"] }).classes, 2);
  assert.is(specOf({ model_type: "vit", architectures: ["ViTForImageClassification"], num_labels: 7 }).classes, 7);
  // The outputs of a projection are no classes.
  assert.is(specOf({ model_type: "clip_vision_model", architectures: ["CLIPVisionModelWithProjection"], projection_dim: 2, id2label: { 0: "cat", 1: "dog" } }).labels, undefined);
});

test("a head without classes hands the pooled vector on, as logits", () => {
  const { classes, outputNames } = specOf({ model_type: "dinov2", architectures: ["Dinov2ForImageClassification"], id2label: {} });
  assert.equal([classes, outputNames], [0, { features: "logits" }]);
});

test("a base model can do without its pooler", () => {
  const { pool, representation, outputNames } = specOf({ model_type: "vit", architectures: ["ViTModel"] }, { pooler: false });
  assert.equal([pool, representation, outputNames], ["none", undefined, { tokens: "last_hidden_state" }]);
  assert.is(specOf({ model_type: "vit", architectures: ["ViTModel"], pooler_output_size: 10 }).representation, 10);
  assert.is(specOf({ model_type: "siglip_vision_model", vision_use_head: false }).pool, "none");
  assert.equal(specOf({ model_type: "beit", use_mean_pooling: true }, { pooler: false }).finalNorm, "none");
});

test("what decides the graph is taken over", () => {
  assert.equal(specOf({ model_type: "dinov2", use_swiglu_ffn: true, hidden_size: 1536, num_attention_heads: 24 }).mlp, { hidden: 4096, gate: "packed", activation: "silu" });
  assert.equal(specOf({ model_type: "dinov3_vit", use_gated_mlp: true, hidden_act: "silu", mlp_bias: false }).mlp, { hidden: 1536, activation: "silu", gate: "split", bias: false });
  assert.equal(specOf({ model_type: "dinov3_vit", query_bias: false, value_bias: false, proj_bias: false }).attention, { qkvBias: false, projBias: false });
  assert.equal(specOf({ model_type: "vit", head_dim: 32 }).headDim, 32);
  assert.equal(specOf({ model_type: "vit", image_size: [32, 48], patch_size: [8, 16] }).image, [32, 48]);
  // SigLIP of 384 pixels in patches of 14 leaves 6 over.
  assert.is(specOf({ model_type: "siglip", vision_config: { image_size: 384, patch_size: 14 } }).patchRemainder, "crop");
  assert.is(specOf({ model_type: "beit", layer_scale_init_value: 0 }).layerScale, undefined);
  assert.equal(specOf({ model_type: "beit", use_shared_relative_position_bias: true }).attention, { qkvBias: "qv", relative: true, relativeResample: { filter: "bilinear" } });
  // Old files of CLIP say what differs twice, and the second counts.
  assert.is(specOf({ model_type: "clip", vision_config: { hidden_size: 768 }, vision_config_dict: { hidden_size: 1024, num_attention_heads: 16 } }).dim, 1024);
  assert.is(specOf({ model_type: "clip", projection_dim: 768, vision_config: { projection_dim: 512 } }).classes, 768);
  assert.is(specOf({ model_type: "clip", architectures: ["CLIPVisionModelWithProjection"], projection_dim: 768, vision_config: { projection_dim: 640 } }).classes, 640);
});

test("what is left out is said", () => {
  const notes = (config: object, options?: TransformersOptions): readonly string[] => transformersSpec(config, options).notes;
  assert.equal(notes({ model_type: "vit", architectures: ["ViTForImageClassification"] }), []);
  assert.match(notes({ model_type: "clip", architectures: ["CLIPModel"] }).join(), /vision tower alone; image_embeds are pooler_output, which the projection makes, divided by its length/);
  assert.match(notes({ model_type: "siglip", architectures: ["SiglipModel"] }).join(), /vision tower alone; image_embeds are pooler_output divided/);
  assert.equal(notes({ model_type: "vit", architectures: ["ViTModel"], output_attentions: true, output_hidden_states: true }), [
    'output_attentions is true: forward returns attentions too, which are the outputs "blocks.*.attn" of a spec',
    'output_hidden_states is true: forward returns hidden_states too, which are the outputs "embed" and "blocks.*" of a spec',
  ]);
  assert.equal(notes({ model_type: "vit", architectures: ["ViTModel"], output_attentions: false }), []);
  assert.equal(notes({ model_type: "clip", architectures: ["CLIPVisionModelWithProjection"] }), []);
  assert.match(notes({ model_type: "vit_mae", architectures: ["ViTMAEForPreTraining"] }).join(), /without the decoder/);
  assert.match(notes({ model_type: "dinov3_vit", architectures: ["DINOv3ViTModel"], use_gated_mlp: true }).join(), /published models with a gate have "silu"/);
});

// -------------------------------------------------------------------------------------------------------- photographs

test("photographs are prepared as the model's processor does without a file, at the model's size", () => {
  const preprocess = (config: object) => specOf(config).preprocess;
  assert.equal(preprocess({ model_type: "vit", image_size: 384 }), { crop: "squash", interpolation: "bilinear", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], resize: 384 });
  assert.equal(preprocess({ model_type: "deit", image_size: 448 }), { crop: "squash", cropOffset: "floor", interpolation: "bicubic", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], resize: 512 });
  assert.equal(preprocess({ model_type: "clip" }), { crop: "center", cropOffset: "floor", interpolation: "bicubic", mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711], resize: 224 });
  assert.equal(preprocess({ model_type: "dinov2", image_size: 518 }), { crop: "center", cropOffset: "floor", interpolation: "bicubic", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize: 592 });
  assert.is(preprocess({ model_type: "dinov3_vit" })?.rescale, "before");
  for (const type of transformersTypes) if (type !== "timm_wrapper") resolve(specOf({ model_type: type }));
});

test("a processor for images of another size decides: positions are resampled as transformers does", () => {
  const processor = { image_processor_type: "BitImageProcessor", size: { shortest_edge: 256 }, crop_size: { height: 224, width: 224 } };
  const dinov2 = transformersSpec({ model_type: "dinov2", architectures: ["Dinov2Model"], image_size: 518 }, { processor });
  assert.equal([dinov2.spec.image, dinov2.spec.position, dinov2.notes], [224, { resample: { grid: 37, antialias: false } }, []]);
  const registers = specOf({ model_type: "dinov2_with_registers", image_size: 518, patch_size: 14 }, { processor });
  assert.equal(registers.position, { prefix: false, resample: { grid: 37, antialias: true } });
  const vit = transformersSpec({ model_type: "vit", architectures: ["ViTModel"], image_size: 384 }, { processor: { image_processor_type: "ViTImageProcessor", size: 224 } });
  assert.equal([vit.spec.image, vit.spec.position], [224, { resample: { grid: 24, antialias: false } }]);
  assert.equal(vit.notes, ["preprocessor_config.json makes images of 224 x 224, and image_size is 384 x 384: positions are resampled, as transformers does with interpolate_pos_encoding"]);
  assert.equal(specOf({ model_type: "dinov3_vit", image_size: 224 }, { processor: { image_processor_type: "DINOv3ViTImageProcessorFast", size: { height: 256, width: 256 } } }).image, 256);
  const beit = transformersSpec({ model_type: "beit", architectures: ["BeitModel"], use_relative_position_bias: true }, { processor: { image_processor_type: "BeitImageProcessor", size: 384, do_center_crop: false } });
  assert.equal([beit.spec.image, beit.spec.attention?.relativeResample, beit.notes], [384, { filter: "bilinear", grid: 14 }, []]);
  for (const { spec } of [dinov2, vit, beit]) resolve(spec);
});

// ------------------------------------------------------------------------------------------------------------- timm's

test("a timm model in transformers' wrapping returns what the wrapping does", () => {
  const config = { model_type: "timm_wrapper", architecture: "vit_tiny_patch16_224", num_classes: 3, label_names: ["a", "b", "c"] };
  const classify = specOf({ ...config, architectures: ["TimmWrapperForImageClassification"] });
  assert.is(classify.name, "vit_tiny_patch16_224");
  assert.equal([classify.classes, classify.labels, classify.outputs, classify.outputNames], [3, ["a", "b", "c"], [], {}]);
  const model = specOf({ ...config, architectures: ["TimmWrapperModel"] });
  assert.equal([model.classes, model.labels, model.outputNames], [0, undefined, { tokens: "last_hidden_state", features: "pooler_output" }]);
  const unpooled = specOf({ ...config, architectures: ["TimmWrapperModel"], do_pooling: false });
  assert.equal([unpooled.pool, unpooled.outputNames], ["none", { tokens: "last_hidden_state" }]);
  for (const spec of [classify, model, unpooled]) resolve(spec);
});

// ------------------------------------------------------------------------------------------------------------ refusals

const refused: readonly (readonly [title: string, config: object, sentence: RegExp, options?: TransformersOptions])[] = [
  ["a misspelt type", { model_type: "dinov3-vit" }, /config.model_type: "dinov3-vit" is not a model_type that is known; did you mean "dinov3_vit"\? Known are vit, /],
  ["no type", {}, /config.model_type: is missing; it must be text/],
  ["a hierarchy", { model_type: "swin" }, /"swin" is a hierarchy of windows or stages/],
  ["a text tower", { model_type: "clip_text_model" }, /"clip_text_model" is a model of text/],
  ["a model that finds objects", { model_type: "owlvit" }, /"owlvit" is an encoder with a decoder or head for dense predictions or objects/],
  ["a head for objects", { model_type: "conditional_detr" }, /decoder or head for dense predictions or objects/],
  ["a vision tower of another kind", { model_type: "blip_vision_model" }, /"blip_vision_model" is a vision tower of a kind that is not supported: a spec cannot say it\. Known/],
  ["a model of images and text", { model_type: "blip" }, /"blip" is a model of images and text, of which the vision towers of CLIP and SigLIP alone are known/],
  ["depth", { model_type: "prompt_depth_anything" }, /dense predictions/],
  ["windows", { model_type: "sam" }, /"sam" is a ViT with windows of attention/],
  ["patches of any size", { model_type: "siglip2" }, /"siglip2" is a ViT for images of any size/],
  ["a head that rebuilds pixels", { model_type: "vit", architectures: ["ViTForMaskedImageModeling"] }, /config.architectures: "ViTForMaskedImageModeling" predicts masked patches, and a spec is an encoder of images \(known: ViTModel, ViTForImageClassification\)/],
  ["a backbone", { model_type: "dinov2", architectures: ["Dinov2Backbone"] }, /returns feature maps of several blocks; .*outputs such as blocks.3/],
  ["a head that segments", { model_type: "beit", architectures: ["BeitForSemanticSegmentation"] }, /"BeitForSemanticSegmentation" segments/],
  ["the text half of CLIP", { model_type: "clip", architectures: ["CLIPTextModel"] }, /"CLIPTextModel" reads text/],
  ["a misspelt class", { model_type: "vit", architectures: ["ViTForImageClasification"] }, /is not a model of "vit" that is known; did you mean "ViTForImageClassification"\?/],
  ["an activation that no spec has", { model_type: "vit", hidden_act: "gelu_10" }, /config.hidden_act: "gelu_10" is not supported. Supported are gelu, /],
  ["another pooler", { model_type: "vit", pooler_act: "relu" }, /config.pooler_act: "relu" is not supported; .*\(pooler: false\)/],
  ["a width of words", { model_type: "vit", hidden_size: "768" }, /config.hidden_size: "768" is not a number/],
  ["half a patch", { model_type: "vit", patch_size: 0.5 }, /config.patch_size/],
  ["no width at all in the tower", { model_type: "clip", vision_config: { hidden_size: 0 } }, /config.vision_config.hidden_size: 0 is too small; it must be at least 1/],
  ["two tables of relative positions", { model_type: "beit", use_relative_position_bias: true, use_shared_relative_position_bias: true }, /config.use_shared_relative_position_bias: true beside use_relative_position_bias/],
  ["relative positions of an oblong image", { model_type: "beit", use_relative_position_bias: true, image_size: [224, 448] }, /config.image_size: \[224,448\] with relative positions/],
  ["biases of keys alone", { model_type: "dinov3_vit", query_bias: false, value_bias: false, key_bias: true }, /config.query_bias: false, key_bias true, value_bias false/],
  ["a processor that is not known", { model_type: "vit" }, /preprocessor_config.image_processor_type/, { processor: { image_processor_type: "MyImageProcessor" } }],
  ["a timm architecture that is no ViT", { model_type: "timm_wrapper", architecture: "resnet50" }, /resnet50/],
];

for (const [title, config, sentence, options] of refused) {
  test(`refuses ${title}`, () => {
    let error: unknown;
    try {
      transformersSpec(config, options);
    } catch (thrown) {
      error = thrown;
    }
    assert.ok(error instanceof SpecError, String(error));
    assert.match(error.message, sentence);
  });
}

test.run();
