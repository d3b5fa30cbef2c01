/** Weight files as the repositories of published ViTs write them, held to timm's conversions of the same files. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { buildGraph } from "../../compiler/ir/build.js";
import { resolve, type ResolvedSpec } from "../../compiler/spec/resolve.js";
import { fixturePath, readTensors, worstError } from "../tools/fixtures.js";
import { fill, runFile } from "../tools/naming.js";
import { suite } from "../tools/suite.js";

const test = suite("files of other ecosystems");

const read = (path: string): Uint8Array => readFileSync(fixturePath(path));
const specOf = (name: string): ResolvedSpec => resolve(JSON.parse(readFileSync(fixturePath(`names/${name}/spec.json`), "utf8")));

/** What each of the fixtures holds that timm drops too. */
const dropped: Readonly<Record<string, readonly string[]>> = {
  "openai-clip": ["ln_final.weight", "logit_scale", "positional_embedding", "text_projection", "token_embedding.weight", "transformer.resblocks.0.ln_1.weight"],
  "perception-encoder": ["ln_final.weight", "logit_scale", "positional_embedding", "text_projection", "token_embedding.weight", "transformer.resblocks.0.ln_1.weight"],
  "open-clip": ["ln_final.weight", "logit_scale", "positional_embedding", "text_projection", "token_embedding.weight", "transformer.resblocks.0.ln_1.weight"],
  "meta-dinov2": ["mask_token"],
  "meta-dinov3": ["blocks.0.attn.qkv.bias_mask", "blocks.1.attn.qkv.bias_mask", "mask_token", "rope_embed.periods"],
  eva02: ["blocks.0.attn.rope.freqs_cos", "blocks.0.attn.rope.freqs_sin", "blocks.1.attn.rope.freqs_cos", "blocks.1.attn.rope.freqs_sin", "rope.freqs_cos", "rope.freqs_sin"],
  aimv2: [],
  beit3: [
    "beit3.encoder.embed_positions.B.weight",
    ...["0", "1"].flatMap((layer) =>
      ["ffn.B.fc1", "ffn.B.fc2", "ffn.B.ffn_layernorm", "final_layer_norm.B", ...["inner_attn_ln", "k_proj", "out_proj", "q_proj", "v_proj"].map((name) => `self_attn.${name}.B`), "self_attn_layer_norm.B"].flatMap((name) => ["bias", "weight"].map((leaf) => `beit3.encoder.layers.${layer}.${name}.${leaf}`)),
    ),
    "beit3.text_embed.weight", "beit3.vision_embed.mask_token",
  ], // prettier-ignore
  google: ["opt/state/step", "opt/target/pre_logits/bias", "opt/target/pre_logits/kernel"],
  "big-vision": ["params/b", "params/t", "params/txt/Embed_0/embedding"],
};

const converted = readdirSync(fixturePath("names")).filter((name) => existsSync(fixturePath(`names/${name}/timm.safetensors`)));

test("there is a conversion of timm's to hold every repository to", () => assert.equal(converted, Object.keys(dropped).toSorted()));

for (const name of converted) {
  test(`${name}: the file gives the parameters that timm's conversion gives, bit for bit`, async () => {
    const spec = specOf(name);
    const graph = buildGraph(spec, { batch: 1 });
    const [file, timm] = [await fill(spec, graph, read(`names/${name}/file.safetensors`)), await fill(spec, graph, read(`names/${name}/timm.safetensors`))];
    assert.equal(file.ignored, dropped[name]);
    assert.equal(timm.ignored, []);
    for (const { name: parameter } of graph.parameters) assert.equal(file.parameters.get(parameter), timm.parameters.get(parameter), parameter);
  });
}

test("torchvision: the file gives torchvision's logits", async () => {
  const io = readTensors(fixturePath("names/torchvision/io.safetensors"));
  const { outputs, ignored } = await runFile(specOf("torchvision"), fixturePath("names/torchvision/file.safetensors"), io.get("input")!);
  assert.ok(worstError(outputs.get("logits")!.data, io.get("logits")!.data) < 1e-6);
  assert.equal(ignored, []);
});

test("of namings that fill all parameters the one counts that knows the rest of the file", async () => {
  // Without a head OpenCLIP's tower is timm's behind a prefix, but only OpenCLIP has a text tower.
  const spec = { ...specOf("open-clip"), classes: 0 };
  const graph = buildGraph(spec, { batch: 1 });
  const { ignored } = await fill(spec, graph, read("names/open-clip/file.safetensors"));
  assert.equal(ignored.toSorted(), [...dropped["open-clip"]!, "visual.head.proj.weight"].toSorted());
});

test("a projection without a bias has one of zeros in a model that wants it", async () => {
  const folder = fixturePath("hf/clip-vision-projection");
  const spec = resolve({ name: "clip", image: 48, patch: 16, dim: 32, depth: 2, heads: 2, classes: 32, mlp: { hidden: 80, activation: "quick_gelu" }, norm: { eps: 1e-5 }, preNorm: true, patchBias: false });
  const graph = buildGraph(spec, { batch: 2 });
  assert.equal((await fill(spec, graph, readFileSync(`${folder}/model.safetensors`))).parameters.get("head.bias"), { shape: [32], data: new Float64Array(32) });
  const io = readTensors(`${folder}/io.safetensors`);
  const { outputs } = await runFile(spec, `${folder}/model.safetensors`, io.get("input")!);
  assert.ok(worstError(outputs.get("logits")!.data, io.get("image_embeds")!.data) < 1e-6);
});

test.run();
