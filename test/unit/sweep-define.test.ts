import * as assert from "uvu/assert";
import { defineSweep, isSweep, mostVariants, sweptFields, type Sweep } from "../../compiler/sweep/define.js";
import { resolveVariant, specHash, variantsOf } from "../../compiler/sweep/variants.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { specJsonSchema } from "../../compiler/spec/schema.js";
import { sweep } from "../../compiler/sweep/sweep.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import edge from "../../specs/sweeps/edge.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("sweeps, as they are declared");

const base = smallSpec();

function problems(sweep: unknown): readonly string[] {
  try {
    defineSweep(sweep as Sweep);
  } catch (error) {
    if (error instanceof SpecError) return error.issues.map(({ field, message }) => `${field}: ${message}`);
    throw error;
  }
  return [];
}

test("types know the paths of a spec and what stands there", () => {
  defineSweep({ base, axes: { depth: [1, 2], "mlp.ratio": [2, 4], image: [8, [8, 16]], "attention.qkvBias": [true, "qv"], "position.resample.filter": ["bilinear"], dtype: ["f32", "f16"] }, derive: { heads: (spec) => spec.dim / 4, "mlp.norm": () => true }, where: (spec, columns) => columns.params < 1e9 && spec.depth > 0 });
  // @ts-expect-error a depth is a number
  problems(defineSweepTypes({ base, axes: { depth: ["two"] } }));
  // @ts-expect-error there is no such field
  problems(defineSweepTypes({ base, axes: { depht: [1] } }));
  // @ts-expect-error nor one below mlp
  problems(defineSweepTypes({ base, axes: { "mlp.rato": [1] } }));
  // @ts-expect-error a derived value has its field's type
  problems(defineSweepTypes({ base, axes: { depth: [1] }, derive: { heads: () => "3" } }));
  // @ts-expect-error columns of a measurement are not known yet
  problems(defineSweepTypes({ base, axes: { depth: [1] }, where: (_spec, columns) => columns.p50_ms < 3 }));
});

/** Looked at by the type checker alone. */
const defineSweepTypes = (sweep: Sweep): Sweep => sweep;

test("mistakes are named with the nearest fix", () => {
  const said = (sweep: object, sentence: RegExp): void => assert.match(problems({ base, ...sweep }).join("\n"), sentence);
  said({ axes: { depht: [1] } }, /axes\.depht: .*did you mean depth\?/);
  said({ axes: { "mpl.ratio": [1] } }, /did you mean mlp\.ratio\?/);
  said({ axes: { name: ["a"] } }, /axes\.name: is no field of a spec that can be swept/);
  said({ axes: {} }, /axes: is \{\}; it has the values of one field at least/);
  said({ axes: { depth: 3 } }, /axes\.depth: is 3; it is a list/);
  said({ axes: { depth: [1, 2, 1] } }, /has a value twice/);
  said({ axes: { depth: [1] }, derive: { depth: () => 1 } }, /derive\.depth: is an axis too/);
  said({ axes: { depth: [1] }, derive: { heads: 3 } }, /derive\.heads: is 3; it is a function/);
  said({ axes: { depth: [1] }, where: true }, /where: is true; it is a function/);
  said({ axes: { depth: [1] }, sample: { random: 0 } }, /sample\.random: is 0; it is a whole number from 1/);
  said({ base: { ...base, dim: "wide" }, axes: { depth: [1] } }, /base\.dim: /);
  said({ axes: { depth: [1], dim: Array.from({ length: 2000 }, (_, i) => i), heads: Array.from({ length: 2000 }, (_, i) => i) } }, /have 4\.0e\+6 combinations.*sample: \{ random: 1000 \}/);
  assert.match(problems({ models: [] }).join(), /models: is \[\]/);
  assert.match(problems({ models: ["timm:vit_tinny_patch16_224"] }).join(), /models\[0\].*vit_tiny_patch16_224/);
  assert.match(problems({ models: [base], axes: { depth: [1] } }).join(), /stands beside axes/);
  assert.equal([isSweep(edge), isSweep(base), isSweep(null), isSweep([])], [true, false, false, false]);
});

test("of models to compare, a name that there is none of is a row with its reason", async () => {
  const rows: string[] = [];
  for await (const { name, failed, params } of sweep(defineSweep({ models: ["timm:vit_tinny_patch16_224", base, { ...base, name: undefined } as unknown as ViTSpec] }))) rows.push(`${name} ${params !== null} ${failed?.slice(0, 60) ?? ""}`);
  assert.equal(rows.toSorted(), ["models[2] false name: ", "small true ", "timm:vit_tinny_patch16_224 false architecture: "].map((begin) => rows.find((each) => each.startsWith(begin)) ?? begin));
  assert.match(problems({ models: ["timm:vit_tinny_patch16_224", base, 3] }).join(), /^models\[2\]: is 3; a model is a spec, or a name/);
});

test("every field of a spec can be swept but those that only name things", () => {
  const schema = specJsonSchema() as { readonly properties: object };
  assert.equal(Object.keys(schema.properties).filter((field) => !["name", "labels", "outputNames", "$schema"].includes(field)).toSorted(), [...sweptFields].toSorted());
});

test("a grid turns its last axis fastest, derives in order, and names what differs", () => {
  const all = variantsOf(defineSweep({ base, axes: { depth: [1, 2], image: [8, [8, 16]], "mlp.ratio": [2] }, derive: { dim: (spec) => 8 * spec.depth, heads: (spec) => spec.dim / 4 } }));
  const variants = Array.from({ length: all.count }, (_, i) => all.at(i));
  assert.equal(variants.map(({ name }) => name), ["small-depth1-image8-ratio2", "small-depth1-image8x16-ratio2", "small-depth2-image8-ratio2", "small-depth2-image8x16-ratio2"]);
  assert.equal(variants.map(({ axes }) => axes["image"]), [8, "8x16", 8, "8x16"]);
  const spec = variants[3]!.spec();
  assert.equal([spec.depth, spec.image, spec.dim, spec.heads, spec.mlp, spec.name], [2, [8, 16], 16, 4, { ratio: 2 }, "small-depth2-image8x16-ratio2"]);
  assert.equal(base, smallSpec(), "the base stays as it was");
  assert.not.equal(specHash(resolveVariant(spec)), specHash(resolveVariant(variants[2]!.spec())));
});

test("names stay within what a spec allows, and differ", () => {
  const axes = { outputs: [["embed"], ["embed", "norm"]], "preprocess.mean": [0.485, [0.485, 0.456, 0.406]] } as const;
  const all = variantsOf(defineSweep({ base: { ...base, name: "n".repeat(90) }, axes }));
  const names = Array.from({ length: all.count }, (_, i) => resolveVariant(all.at(i).spec()).name);
  assert.is(new Set(names).size, 4);
});

test("a sample is drawn without putting back, the same for a seed, and from grids that no list could hold", () => {
  const many = Array.from({ length: 1000 }, (_, i) => i + 1);
  const sampled = (seed: number, random = 500): readonly string[] => {
    const all = variantsOf(defineSweep({ base, axes: { depth: many, dim: many, heads: many, "mlp.hidden": many }, sample: { random, seed } }));
    return Array.from({ length: all.count }, (_, i) => all.at(i).name);
  };
  assert.is(new Set(sampled(1)).size, 500);
  assert.equal(sampled(1), sampled(1));
  assert.not.equal(sampled(1), sampled(2));
  const few = variantsOf(defineSweep({ base, axes: { depth: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] }, sample: { random: 9 } }));
  assert.is(new Set(Array.from({ length: few.count }, (_, i) => few.at(i).name)).size, 9);
  assert.is(variantsOf(defineSweep({ base, axes: { depth: [1, 2] }, sample: { random: mostVariants } })).count, 2);
});

test("shards are parts of the whole that do not overlap, whatever their number", () => {
  const whole = variantsOf(edge);
  for (const of of [1, 2, 5, 200]) {
    const names = Array.from({ length: of }, (_, i) => variantsOf(edge, { part: i + 1, of })).flatMap((part) => Array.from({ length: part.count }, (_, i) => part.at(i).name));
    assert.equal(names.toSorted(), Array.from({ length: whole.count }, (_, i) => whole.at(i).name).toSorted(), `${of} shards`);
  }
});

test("models are taken as they are, by name or as specs", () => {
  const all = variantsOf(defineSweep({ models: ["timm:vit_tiny_patch16_224", base] }));
  assert.equal([all.count, all.axes, all.at(0).name, all.at(1).name], [2, [], "timm:vit_tiny_patch16_224", "small"]);
  assert.equal([all.at(0).spec().dim, all.at(1).spec() satisfies ViTSpec], [192, base]);
});

test.run();
