/** timm's models mean in the graph what they mean in timm: the same weights and input make the same tokens and logits. */
import * as assert from "uvu/assert";
import { timmArguments } from "../../compiler/families/timm/index.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { interpret } from "../../compiler/ir/interpret.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { worstError } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";
import { knobModels, knobsOf, plainKnobs, savedModels, timmFacts, timmParameters, type TimmFixture } from "../tools/timm.js";

const test = suite("the numbers of timm's models");

/** Results are kept as f32, which rounds them by 2^-24 of their size. */
const rounding = 2 ** -24;

/**
 * What timm computes in f32 even in an f64 model: rotary angles, the factor of differential attention, and, where those would not mix with f64,
 * all the rest. Values without a last norm are largest.
 */
const inSingle: Readonly<Record<string, number>> = {
  eva02_base_patch14_448: 5e-7,
  eva02_small_patch14_224: 5e-7,
  vit_base_patch16_dinov3: 5e-7,
  vit_dlittle_patch16_reg1_gap_256: 5e-7,
  vit_dpwee_patch16_reg1_gap_256: 5e-7,
  vit_pe_core_small_patch16_384: 5e-7,
  vit_pe_spatial_small_patch16_512: 4e-6,
  vit_small_patch16_rope_mixed_ape_224: 4e-6,
};

/** The interpreter's outputs for a fixture's weights, or its spec changed. Every tensor of the file must be read. */
function outputs({ config, weights, io }: TimmFixture, spec: ViTSpec): Map<string, Tensor> {
  const resolved = resolve(spec);
  const graph = buildGraph(resolved, { batch: io.get("input")!.shape[0]! });
  const model = timmArguments(config.architecture, { modelArgs: { ...config.model_args, num_classes: config.num_classes } });
  const { parameters, used } = timmParameters(weights, model, new Map(graph.parameters.map(({ name, value }) => [name, value.shape])));
  const made = interpret(graph, { inputs: { input: io.get("input")! }, parameters });
  assert.equal([...weights.keys()].filter((name) => !used.has(name)), [], "every tensor of the file is read");
  return made;
}

/** The largest error of tokens and of what the model returns. */
function errorOf(fixture: TimmFixture, spec: ViTSpec = fixture.spec): number {
  const made = outputs(fixture, spec);
  // timm returns tokens twice if it pools nothing.
  const main = made.get("logits") ?? made.get("features") ?? made.get("forward_features")!;
  const pairs = [["forward_features", made.get("forward_features")!], ["logits", main]] as const;
  for (const [name, tensor] of pairs) assert.equal(tensor.shape, fixture.io.get(name)!.shape, `the shape of ${name}`);
  return Math.max(...pairs.map(([name, tensor]) => worstError(tensor.data, fixture.io.get(name)!.data)));
}

for (const fixture of savedModels()) {
  const allowed = inSingle[fixture.name] ?? rounding;
  test(`${fixture.name}, as timm saves it, is timm's to ${allowed.toExponential(1)}`, () => {
    const error = errorOf(fixture);
    assert.ok(error <= allowed, `${error}`);
  });
}

for (const fixture of knobModels()) {
  test(`a tiny ${fixture.name} is timm's in f64 but for the rounding of what is kept`, () => {
    const error = errorOf(fixture);
    assert.ok(error <= rounding, `${error}, ${JSON.stringify(fixture.config)}`);
  });
}

test("every set of arguments that an entry point passes is among the tiny models", () => {
  const covered = new Set(knobModels().filter(({ config }) => plainKnobs(config)).map(({ config }) => knobsOf(config.architecture)));
  assert.equal(Object.keys(timmFacts.models).filter((name) => !covered.has(knobsOf(name))), []);
});

test("a model that means something else is caught", () => {
  const named = (name: string): TimmFixture => savedModels().find((fixture) => fixture.name === name)!;
  const wrong: readonly (readonly [name: string, change: (spec: ViTSpec) => ViTSpec])[] = [
    ["vit_base_patch16_224", (spec) => ({ ...spec, norm: { eps: 1e-5 } })],
    ["vit_base_patch16_clip_quickgelu_224", (spec) => ({ ...spec, mlp: { ...spec.mlp, activation: "gelu" } })],
    ["eva02_base_patch14_448", (spec) => ({ ...spec, rope: { ...spec.rope!, reference: 4 } })],
    ["vit_pe_spatial_small_patch16_512", (spec) => ({ ...spec, rope: { ...spec.rope!, offset: 0 } })],
    ["vit_base_patch16_rope_224", (spec) => ({ ...spec, rope: { ...spec.rope!, order: "ij" } })],
    ["vit_medium_patch16_reg4_gap_256", (spec) => ({ ...spec, poolPrefix: true })],
    ["vit_giant_patch14_dinov2", (spec) => ({ ...spec, mlp: { ...spec.mlp, gate: "packedLast" } })],
  ];
  for (const [name, change] of wrong) {
    const fixture = named(name);
    const error = errorOf(fixture, change(fixture.spec));
    assert.ok(error > 2 * (inSingle[name] ?? rounding), `${name}: ${error}`);
  }
});

test.run();
