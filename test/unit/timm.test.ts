/** timm's models by name and by config.json: each is the model that timm builds, and what is not can be read in a sentence. */
import { createHash } from "node:crypto";
import * as assert from "uvu/assert";
import { beitArguments, evaArguments, visionTransformerArguments } from "../../compiler/families/timm/arguments.js";
import { listTimm, timmArguments, timmConfigSpec, timmSpec } from "../../compiler/families/timm/index.js";
import { buildGraph, mainOutput } from "../../compiler/ir/build.js";
import { flopsOf } from "../../compiler/ir/cost.js";
import type { Graph } from "../../compiler/ir/graph.js";
import { elements } from "../../compiler/ir/ops/op.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { suite } from "../tools/suite.js";
import { fileTensors, timmFacts, timmTagFacts } from "../tools/timm.js";

const test = suite("timm's models");

const names = Object.keys(timmFacts.models);
const graphOf = (name: string): Graph => buildGraph(resolve(timmSpec(name)), { batch: 1 });
const parametersOf = (graph: Graph): number => graph.parameters.reduce((sum, { value }) => sum + elements(value.shape), 0);

/** What a call says when it refuses. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof SpecError) return error.message;
    throw error;
  }
  return "";
}

test("the 240 names of timm are known", () => {
  assert.is(names.length, 240);
  assert.equal(listTimm().map(({ name }) => name), names.toSorted());
});

test("constructors take timm's arguments with timm's defaults", () => {
  const schemas = { VisionTransformer: visionTransformerArguments, Eva: evaArguments, Beit: beitArguments };
  for (const [of, schema] of Object.entries(schemas)) {
    const theirs = timmFacts.defaults[of]!;
    assert.equal(Object.keys(theirs).filter((argument) => !(argument in schema.shape)), [], `arguments of ${of} that are not known`);
    const ours = schema.parse({}) as Readonly<Record<string, unknown>>;
    for (const [argument, value] of Object.entries(ours)) if (argument in theirs) assert.equal(value, theirs[argument], `${of}.${argument}`);
    // Beyond the constructor's there is what timm's builders take.
    assert.equal(Object.keys(schema.shape).filter((argument) => !(argument in theirs)).sort(), ["out_indices", "pretrained_strict", ...("use_naflex" in schema.shape ? ["use_naflex"] : [])]);
  }
});

test("every entry point passes what timm's passes", () => {
  // A square is one number here and a pair or a number there.
  const square = (value: unknown): unknown => (Array.isArray(value) && value.length === 2 && value[0] === value[1] ? (value[0] as unknown) : value);
  for (const name of names) {
    const fact = timmFacts.models[name]!;
    const { class: of, args } = timmArguments(name);
    assert.is(of, fact.class, name);
    const defaults = timmFacts.defaults[of === "VisionTransformerDistilled" ? "VisionTransformer" : of]!;
    const expected: Readonly<Record<string, unknown>> = { ...defaults, ...fact.args };
    for (const [argument, value] of Object.entries(args)) {
      if (!(argument in defaults)) continue;
      assert.equal(square(value), square(expected[argument]), `${name}.${argument}`);
    }
  }
});

test("photographs are prepared as for timm's default weights", () => {
  for (const name of names) {
    const { mean, std, crop_pct, crop_mode, interpolation, input_size, num_classes, tag, fixed_input_size } = timmFacts.models[name]!.cfg;
    const { preprocess, image, channels, classes } = resolve(timmSpec(name));
    assert.equal([preprocess.mean, preprocess.std, preprocess.crop, preprocess.interpolation], [mean, std, crop_mode, interpolation], name);
    assert.equal([channels, ...image], input_size, name);
    assert.equal(timmSpec(name).preprocess!.cropPct, crop_pct, name);
    assert.is(classes, num_classes, name);
    assert.is(fixed_input_size, true, name);
    assert.equal(timmSpec(`${name}.${tag}`), timmSpec(name), "the tag of the default weights says nothing new");
  }
});

test("every tag of timm's weights is known, with its classes and its photographs", () => {
  assert.is(Object.values(timmTagFacts.models).flatMap((tags) => Object.keys(tags)).length, 439);
  for (const { name, tags } of listTimm()) {
    const facts = timmTagFacts.models[name]!;
    assert.equal(tags.map(({ tag }) => tag).toSorted(), Object.keys(facts).toSorted(), name);
    assert.is(tags[0]!.tag, timmFacts.models[name]!.cfg.tag, name);
    for (const [tag, row] of Object.entries(facts)) {
      const { mean, std, crop_pct, crop_mode, interpolation, input_size, num_classes } = timmTagFacts.cfgs[row]!;
      const { preprocess, image, channels, classes } = resolve(timmSpec(`${name}.${tag}`));
      assert.equal([preprocess.mean, preprocess.std, preprocess.crop, preprocess.interpolation], [mean, std, crop_mode, interpolation], `${name}.${tag}`);
      assert.equal([channels, ...image, classes], [...input_size, num_classes], `${name}.${tag}`);
      assert.is(timmSpec(`${name}.${tag}`).preprocess!.cropPct, crop_pct, `${name}.${tag}`);
    }
  }
});

test("every graph has the names and shapes of timm's state_dict", () => {
  for (const name of names) {
    const fact = timmFacts.models[name]!;
    const graph = graphOf(name);
    const model = timmArguments(name);
    const tensors = graph.parameters.flatMap((parameter) => fileTensors({ name: parameter.name, shape: parameter.value.shape }, model));
    const lines = tensors.map(({ name: tensor, shape }) => `${tensor} ${shape.join(",")}`).toSorted();
    assert.is(parametersOf(graph), fact.params, `parameters of ${name}`);
    assert.is(lines.length, fact.tensors, `tensors of ${name}`);
    assert.is(createHash("sha256").update(lines.join("\n")).digest("hex").slice(0, 16), fact.names, `names of ${name}:\n${lines.slice(0, 40).join("\n")}`);
  }
});

test("the list counts what the graphs have", () => {
  for (const { name, params, gmacs, image } of listTimm()) {
    const graph = graphOf(name);
    const products = graph.nodes.filter(({ op }) => ["linear", "matmul", "conv2d"].includes(op)).reduce((sum, node) => sum + flopsOf(node) / 2, 0);
    assert.equal({ params, gmacs, image }, { params: parametersOf(graph), gmacs: Number((products / 1e9).toPrecision(4)), image: timmSpec(name).image }, name);
  }
});

test("a spec says what differs from a spec's defaults", () => {
  assert.equal(timmSpec("vit_base_patch16_224"), { name: "vit_base_patch16_224", image: 224, patch: 16, dim: 768, depth: 12, heads: 12, classes: 1000, preprocess: { cropPct: 0.9, mean: 0.5, std: 0.5 } });
  assert.equal(timmSpec("vit_so150m_patch16_reg4_gap_384", { numClasses: 0, image: [384, 256], modelArgs: { drop_path_rate: 0.1, norm_layer: { name: "rmsnorm", eps: 1e-5 } } }), {
    name: "vit_so150m_patch16_reg4_gap_384", image: [384, 256], patch: 16, dim: 896, depth: 18, heads: 14, mlp: { hidden: 2304 }, tokens: { class: false, registers: 4 },
    norm: { kind: "rms", eps: 1e-5 }, pool: "avg", classes: 0, dropout: { path: 0.1 },
    // timm resizes to what is not square with bilinear.
    preprocess: { interpolation: "bilinear", cropPct: 1, mean: 0.5, std: 0.5 },
  });
  assert.equal(timmSpec("deit_tiny_patch16_224", { modelArgs: { in_chans: 1 } }).preprocess, { cropPct: 0.9, mean: (0.485 + 0.456 + 0.406) / 3, std: (0.229 + 0.224 + 0.225) / 3 });
});

test("what an option says comes before what an argument says", () => {
  const spec = timmSpec("vit_tiny_patch16_224", { modelArgs: { num_classes: 5, img_size: 64 }, numClasses: 7, image: 96 });
  assert.equal([spec.classes, spec.image], [7, 96]);
  assert.equal([timmSpec("vit_tiny_patch16_224", { modelArgs: { num_classes: 5, img_size: [64, 64] } })].map(({ classes, image }) => [classes, image]), [[5, 64]]);
});

test("arguments that change no prediction are taken and change nothing", () => {
  const modelArgs = { drop_rate: 0.3, patch_drop_rate: 0.5, weight_init: "jax", fix_init: true, dynamic_img_size: true, device: null, out_indices: 3 };
  assert.equal(timmSpec("vit_base_patch16_224", { modelArgs }), timmSpec("vit_base_patch16_224"));
  assert.equal(timmSpec("eva02_small_patch14_224", { modelArgs: { head_init_scale: 1, dynamic_img_pad: true } }), timmSpec("eva02_small_patch14_224"));
});

const vit = "vit_base_patch16_224";
const refused: readonly (readonly [name: string, modelArgs: Readonly<Record<string, unknown>>, says: string])[] = [
  ["vit_base_patch_224", {}, 'architecture: "vit_base_patch_224" is not a plain ViT of timm; did you mean "vit_base_patch8_224"?'],
  ["resnet50", {}, 'architecture: "resnet50" is not a plain ViT of timm; the 240 known names are like "vit_base_patch16_224"; vitc list timm shows them'],
  [`${vit}.dinov2`, {}, `architecture: "${vit}.dinov2": "dinov2" is no tag of ${vit}'s weights; did you mean "dino"? Known are augreg2_in21k_ft_in1k, augreg_in21k_ft_in1k, orig_in21k_ft_in1k, augreg_in1k, sam_in1k, orig_in21k, augreg_in21k, dino, mae; of weights of your own, compile the config.json`],
  ["vit_giant_patch14_224.x", {}, `architecture: "vit_giant_patch14_224.x": "x" is no tag of vit_giant_patch14_224's weights; known is untrained; of weights of your own, compile the config.json`],
  [vit, { depth: 2.5 }, "model_args.depth: 2.5 is not a whole number"],
  [vit, { depth: 0 }, "model_args.depth: 0 is too small; it must be at least 1"],
  [vit, { embed_dim: "768" }, 'model_args.embed_dim: "768" is not a number'],
  [vit, { img_size: "224" }, 'model_args.img_size: "224" is none of what it may be: a number, or a pair'],
  [vit, { global_pool: "mean" }, 'model_args.global_pool: "mean" is not one of "", "avg", "avgmax", "max", "token", "map", "prr"'],
  [vit, { norm_layer: "batchnorm" }, 'model_args.norm_layer: "batchnorm" is not a norm that is supported; layernorm, layernormfp32, rmsnorm, rmsnormfp32 are'],
  [vit, { act_layer: "mish" }, 'model_args.act_layer: "mish" is not an activation that is supported; gelu, gelu_tanh, quick_gelu, relu, silu, swish are'],
  [vit, { embed_norm_layer: "rmsnorm" }, "model_args.embed_norm_layer: is a norm of kind rms and eps 0.000001, norm_layer one of layer and 0.000001; a spec has one norm, make them equal"],
  [vit, { global_pool: "prr" }, 'model_args.global_pool: "prr" is not supported; use "token", "avg", "max", "avgmax" or "map"'],
  [vit, { global_pool: "" }, 'model_args.global_pool: "" gives every token to a head of 1000 classes, which is not supported; set num_classes: 0 for the tokens themselves, or a pool'],
  [vit, { global_pool: "", num_classes: 0, fc_norm: true }, 'model_args.fc_norm: true is a norm behind the pooling, and global_pool "" pools nothing; leave it out'],
  [vit, { use_naflex: true }, "model_args.use_naflex: true builds a model of images of any size, which is not supported; leave it out"],
  [vit, { img_size: 100, dynamic_img_pad: true }, "model_args.dynamic_img_pad: true pads an image of 100 to whole patches of 16, which is not supported; set img_size to [96,96] or [112,112]"],
  [vit, { mlp_layer: "SwiGLUPacked", mlp_ratio: 0.0431 }, "model_args.mlp_ratio: 0.0431 makes SwiGLUPacked 33 wide, which are two halves; use one that makes it even"],
  ["deit_tiny_distilled_patch16_224", { global_pool: "avg" }, 'model_args.global_pool: "avg" has no meaning in a distilled model, whose heads read two tokens; leave it out'],
  ["deit_tiny_distilled_patch16_224", { no_embed_class: true }, "model_args.no_embed_class: true has no meaning in a distilled model, whose table has rows for both tokens; leave it out"],
  ["deit_tiny_distilled_patch16_224", { reg_tokens: 1 }, "model_args.reg_tokens: 1 has no meaning in a distilled model; leave it out"],
  ["eva02_small_patch14_224", { rope_type: "mrope" }, 'model_args.rope_type: "mrope" is not supported; "cat", "mixed" and "dinov3" are'],
  ["eva02_small_patch14_224", { rope_rotate_half: true }, 'model_args.rope_rotate_half: true does not fit the angles of rope_type "cat"; leave it out'],
  ["vit_base_patch16_dinov3", { rope_rotate_half: false }, 'model_args.rope_rotate_half: false does not fit the angles of rope_type "dinov3"; set it to true'],
  ["vit_small_patch16_rope_mixed_224", { rope_grid_indexing: "ij" }, 'model_args.rope_grid_indexing: "ij" is not supported with rope_type "mixed", whose first frequencies are of columns here; set "xy"'],
  ["eva02_small_patch14_224", { global_pool: "map" }, 'model_args.swiglu_mlp: true has silu in its blocks and gelu in the MLP of global_pool "map", and a spec has one activation; use another pool'],
  ["eva_giant_patch14_224", { use_post_transformer_norm: true }, "model_args.use_fc_norm: true makes a second last norm beside that of use_post_transformer_norm, and a spec has one; set one of them to false"],
  ["beit_base_patch16_224", { use_shared_rel_pos_bias: true }, "model_args.use_shared_rel_pos_bias: true shares one table of relative positions among the blocks, which is not supported; use_rel_pos_bias has one in each"],
  ["beit_base_patch16_224", { global_pool: "max" }, 'model_args.global_pool: "max" is the class token in timm\'s Beit; set "token", or "avg"'],
];

for (const [name, modelArgs, says] of refused) {
  test(`${name} ${JSON.stringify(modelArgs)} is refused: ${says}`, () => assert.is(refusal(() => timmSpec(name, { modelArgs })), says));
}

test("an argument that timm does not know is named, with what is near and what is known", () => {
  const said = refusal(() => timmSpec(vit, { modelArgs: { register_tokens: 4 } }));
  assert.match(said, /^model_args\.register_tokens: is not an argument of timm's VisionTransformer; did you mean `reg_tokens`\? Known are img_size, patch_size, /);
});

const config = {
  architecture: "vit_base_patch16_224",
  num_classes: 3,
  num_features: 768,
  global_pool: "avg",
  label_names: ["a", "b", "c"],
  model_args: { img_size: 64, depth: 2 },
  pretrained_cfg: { tag: "mine", input_size: [3, 224, 224], fixed_input_size: true, mean: [0.1, 0.2, 0.3], std: [1, 1, 1], crop_pct: 0.95, crop_mode: "border", interpolation: "random", num_classes: 1000, license: "mit" },
};

test("a config.json is its architecture with its own arguments, pool, classes, labels and photographs", () => {
  assert.equal(timmConfigSpec(config, "mine"), {
    name: "mine", image: 64, patch: 16, dim: 768, depth: 2, heads: 12, finalNorm: "pooled", pool: "avg", classes: 3, labels: ["a", "b", "c"],
    outputs: ["tokens"], outputNames: { tokens: "forward_features" }, preprocess: { crop: "border", cropPct: 0.95, mean: [0.1, 0.2, 0.3], std: 1 },
  });
  assert.is(timmConfigSpec(config).name, config.architecture);
});

test("arguments of a config.json come before its fields, and its fields before its weights'", () => {
  const spec = timmConfigSpec({ ...config, label_names: null, model_args: { global_pool: "token", num_classes: 9, img_size: 32 } });
  assert.equal([spec.pool, spec.classes, spec.image], [undefined, 9, 32]);
  const { num_classes: _, label_names: __, ...rest } = config;
  assert.is(timmConfigSpec(rest).classes, 1000);
});

test("a config.json without a head returns features, and without a pool tokens, by timm's names", () => {
  const outputs = (changes: object): readonly string[] => {
    const spec = resolve(timmConfigSpec({ ...config, num_classes: 0, ...changes }));
    assert.equal(buildGraph(spec, { batch: 1 }).outputs.length, new Set([...spec.outputs, mainOutput(spec)]).size);
    return buildGraph(spec, { batch: 1 }).outputs.map(({ name }) => name);
  };
  assert.equal(outputs({}), ["forward_features", "features"]);
  assert.equal(outputs({ global_pool: "" }), ["forward_features"]);
});

test("what a pretrained_cfg leaves out is timm's default, not that of the architecture's weights", () => {
  const spec = timmConfigSpec({ architecture: "vit_base_patch16_224", pretrained_cfg: {} });
  assert.equal([spec.image, spec.classes, spec.preprocess], [224, 1000, { cropPct: 0.875, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }]);
});

test("an old config.json is one object", () => {
  const spec = timmConfigSpec({ architecture: "vit_tiny_patch16_224", num_classes: 2, labels: ["no", "yes"], input_size: [3, 384, 384], fixed_input_size: true, crop_pct: 1, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });
  assert.equal([spec.image, spec.classes, spec.labels, spec.preprocess], [384, 2, ["no", "yes"], { cropPct: 1, mean: 0.5, std: 0.5 }]);
});

const refusedConfigs: readonly (readonly [changes: Readonly<Record<string, unknown>>, says: string | RegExp])[] = [
  [{ architecture: "vit_base_patch16" }, /^architecture: "vit_base_patch16" is not a plain ViT of timm; did you mean "vit_base_patch\d+_224"\?$/],
  [{ architecture: undefined }, "config.architecture: is missing; it must be text"],
  [{ num_classes: "3" }, 'config.num_classes: "3" is not a number'],
  [{ model_args: [1] }, "config.model_args: [1] is not an object"],
  [{ model_args: { patch: 3 } }, /^model_args\.patch: is not an argument of timm's VisionTransformer; known are img_size, /],
  [{ pretrained_cfg: { mean: 0.5 } }, "pretrained_cfg.mean: 0.5 is not a list"],
  [{ pretrained_cfg: { ...config.pretrained_cfg, crop_mode: "middle" } }, 'pretrained_cfg.crop_mode: "middle" is not one of "center", "squash", "border"'],
  [{ pretrained_cfg: { ...config.pretrained_cfg, interpolation: "cubic" } }, 'pretrained_cfg.interpolation: "cubic" is not one of "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"'],
  [{ model_args: null, pretrained_cfg: { input_size: [3, 384, 384] } }, "pretrained_cfg.fixed_input_size: is not true, so timm does not build for input_size [3,384,384]; set it to true, or model_args.img_size to the image's size"],
];

for (const [changes, says] of refusedConfigs) {
  test(`a config.json with ${JSON.stringify(changes)} is refused`, () => {
    const said = refusal(() => timmConfigSpec({ ...config, ...changes }));
    if (typeof says === "string") assert.is(said, says);
    else assert.match(said, says);
  });
}

test.run();
