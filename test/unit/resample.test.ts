/** Weight files for images and patches of another size: every rule against the code that it is from, in both of our executions, and whole models. */
import * as fc from "fast-check";
import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { timmConfigSpec, timmSpec } from "../../compiler/families/timm/index.js";
import { transformersSpec } from "../../compiler/families/hf/index.js";
import { relativeBias } from "../../compiler/ir/ops/attention-parts.js";
import type { Tensor } from "../../compiler/ir/ops/op.js";
import { resamplePatch as patchOp } from "../../compiler/ir/ops/resample-patch.js";
import { resampleRelative as relativeOp } from "../../compiler/ir/ops/resample-relative.js";
import { resampleTable as tableOp, type ResampleRule } from "../../compiler/ir/ops/resample.js";
import { withSizes, type Sizes } from "../../compiler/spec/image.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ResampleSpec, ViTSpec } from "../../compiler/spec/types.js";
import { resamplePatch } from "../../runtime/resample-patch.js";
import { resampleRelative, resampleTable } from "../../runtime/resample-table.js";
import { fixturePath, readTensors, worstError } from "../tools/fixtures.js";
import { runFile } from "../tools/naming.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";
import { randomTensor } from "../tools/tensors.js";

const test = suite("resampling");

type Pair = readonly [number, number];

interface Case {
  /** Names of tensors: what is resampled, and what becomes of it. */
  readonly table: string;
  readonly is: string;
  readonly from: Pair;
  readonly to: Pair;
}

interface Tables {
  readonly positions: readonly (Case & { readonly rule: ResampleSpec })[];
  readonly relative: readonly (Case & { readonly filter: "geometric" | "bilinear" })[];
  readonly patches: readonly (Case & { readonly filter: "bilinear" | "bicubic"; readonly antialias: boolean })[];
  /** The first output's first channel, by NumPy's pseudo-inverse in f64. */
  readonly exact: Readonly<Record<string, readonly number[]>>;
}

const json = <T>(path: string): T => JSON.parse(readFileSync(fixturePath(`resample/${path}`), "utf8")) as T;
const tables = json<Tables>("tables.json");
const tensors = readTensors(fixturePath("resample/tables.safetensors"));
const named = (name: string): Tensor => {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`no tensor ${name}`);
  return tensor;
};

/** Results by the op's definition and by the recipe's step. */
type Both = readonly [definition: Float64Array, step: Float64Array];

const resolvedRule = (rule: ResampleSpec): Required<ResampleRule> => {
  const { from: _, ...resolved } = resolve(smallSpec({ position: { resample: { ...rule, grid: 99 } } })).position.resample!;
  return resolved;
};

function positions({ table, from, to }: Case, rule: ResampleSpec): Both {
  const attrs = { ...resolvedRule(rule), prefix: 1, from, to };
  const { shape, data } = named(table);
  return [tableOp.evaluate([{ shape, data }], attrs, {}).data, resampleTable(data, shape[2]!, { op: "resampleTable", of: 0, ...attrs })];
}

function relative({ table, from, to }: Case, filter: "geometric" | "bilinear"): Both {
  const { shape, data } = named(table);
  return [relativeOp.evaluate([{ shape, data }], { from, to, filter }, {}).data, resampleRelative(data, shape[1]!, { op: "resampleRelative", of: 0, from, to, filter })];
}

function patches({ table, from, to }: Case, filter: "bilinear" | "bicubic", antialias: boolean): Both {
  const { shape, data } = named(table);
  const attrs = { from, to, filter, antialias };
  return [patchOp.evaluate([{ shape, data }], attrs, {}).data, resamplePatch(data, shape[0]! * shape[1]!, { op: "resamplePatch", of: 0, ...attrs })];
}

// ------------------------------------------------------------------------------------------------------------- tables

/** Rules by whose they are. */
const owners = [...new Set(tables.positions.map(({ is }) => is.replace(/ \d+x\d+$/, "")))];

for (const owner of owners) {
  test(`learned positions of other grids are those of ${owner}`, () => {
    const cases = tables.positions.filter(({ is }) => is.startsWith(`${owner} `) && /^\d+x\d+$/.test(is.slice(owner.length + 1)));
    assert.ok(cases.length >= 2);
    // timm resamples in f32, and so does transformers' DINOv2.
    for (const one of cases) for (const made of positions(one, one.rule)) assert.ok(worstError(made, named(one.is).data) < 2e-6, `${one.is}: ${worstError(made, named(one.is).data)}`);
  });
}

test("no rule of learned positions passes for another", () => {
  const rules = new Map(tables.positions.map(({ rule }) => [JSON.stringify(rule), rule]));
  const [small, large] = [[5, 3], [21, 28]] as const;
  for (const one of tables.positions.filter(({ to }) => [small, large].some((grid) => grid.every((side, axis) => side === to[axis])))) {
    for (const [key, rule] of rules) {
      const [own, other] = [resolvedRule(one.rule), resolvedRule(rule)];
      if (JSON.stringify(own) === JSON.stringify(other)) continue;
      // Where nothing shrinks, the triangle is the same with and without antialiasing.
      const error = worstError(positions(one, rule)[0], named(one.is).data);
      assert.ok(error > 1e-3, `${one.is} by ${key}: ${error}`);
    }
  }
});

for (const filter of ["geometric", "bilinear"] as const) {
  test(`tables of relative positions for other grids are those of ${filter === "geometric" ? "timm" : "transformers"}`, () => {
    const cases = tables.relative.filter((one) => one.filter === filter);
    assert.ok(cases.length > 5);
    for (const one of cases) {
      const heads = named(one.table).shape[1]!;
      for (const made of relative(one, filter)) {
        // timm has f32 coordinates; transformers says what the table is for.
        const shown = filter === "geometric" ? made : relativeBias.evaluate([{ shape: [made.length / heads, heads], data: made }], { grid: one.to, prefix: 1 }, {}).data;
        const error = worstError(shown, named(one.is).data);
        assert.ok(error < (filter === "geometric" ? 1e-5 : 1e-7), `${one.is}: ${error}`);
      }
      const other = relative(one, filter === "geometric" ? "bilinear" : "geometric")[0];
      if (one.from[0] > 1 && filter === "geometric") assert.ok(worstError(other, named(one.is).data) > 1e-3, `${one.is} by the other rule`);
    }
  });
}

test("patch embeddings are resampled by the pseudo-inverse that NumPy finds, to 1e-9, and as timm does in f32", () => {
  assert.is(tables.patches.length, 40);
  for (const one of tables.patches) {
    const exact = tables.exact[one.is]!;
    for (const made of patches(one, one.filter, one.antialias)) {
      assert.ok(worstError(made.subarray(0, exact.length), exact) < 1e-9, `${one.is}: ${worstError(made.subarray(0, exact.length), exact)}`);
      assert.ok(worstError(made, named(one.is).data) < 5e-5, `${one.is}: ${worstError(made, named(one.is).data)}`);
    }
    const other = patches(one, one.filter === "bilinear" ? "bicubic" : "bilinear", one.antialias)[1];
    // At a third of the size both filters take the middle pixel, unless they are antialiased.
    if (one.antialias || one.to[0] > 2) assert.ok(worstError(other, named(one.is).data) > 1e-3, `${one.is} by the other filter`);
  }
});

test("patches of every size embed resized patches as before where they grow", () => {
  // What is resized up has the same product with the resampled weight: B pinv(B) leaves the weight as it is.
  const size = fc.integer({ min: 1, max: 40 });
  fc.assert(fc.property(size, size, fc.constantFrom("bilinear" as const, "bicubic" as const), fc.boolean(), (a, b, filter, antialias) => {
    const [from, to] = [Math.min(a, b), Math.max(a, b)];
    const [patch, weight] = [randomTensor([1, from, 1], `p${a}`), randomTensor([1, 1, from, 1], `w${b}`)];
    const grown = tableOp.evaluate([patch], { prefix: 0, from: [from, 1], to: [to, 1], filter, antialias, corners: false }, {}).data;
    const made = resamplePatch(weight.data, 1, { op: "resamplePatch", of: 0, from: [from, 1], to: [to, 1], filter, antialias });
    const product = (x: Float64Array, y: Float64Array): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    return Math.abs(product(grown, made) - product(patch.data, weight.data)) < 1e-11;
  }), { numRuns: 300, seed: 7 }); // prettier-ignore
});

test("steps compute what their ops say, for any sizes", () => {
  const side = fc.integer({ min: 1, max: 9 });
  const pair = fc.tuple(side, side);
  const close = (title: string, [a, b]: Both): void => assert.ok(worstError(a, b) < 1e-12, `${title}: ${worstError(a, b)}`);
  fc.assert(fc.property(pair, pair, fc.constantFrom("bilinear" as const, "bicubic" as const), fc.boolean(), (from, to, filter, antialias) => {
    const title = `${from.join("x")} to ${to.join("x")} ${filter} ${antialias}`;
    const weight = randomTensor([2, 1, ...from], title);
    const attrs = { from, to, filter, antialias };
    close(title, [patchOp.evaluate([weight], attrs, {}).data, resamplePatch(weight.data, 2, { op: "resamplePatch", of: 0, ...attrs })]);
    const table = randomTensor([1, 2 + from[0] * from[1], 3], title);
    const rule = { ...attrs, prefix: 2, corners: !antialias };
    close(title, [tableOp.evaluate([table], rule, {}).data, resampleTable(table.data, 3, { op: "resampleTable", of: 0, ...rule })]);
    const distances = randomTensor([(2 * from[0] - 1) * (2 * from[1] - 1) + 3, 2], title);
    for (const how of ["geometric", "bilinear"] as const) close(title, [relativeOp.evaluate([distances], { from, to, filter: how }, {}).data, resampleRelative(distances.data, 2, { op: "resampleRelative", of: 0, from, to, filter: how })]);
  }), { numRuns: 300, seed: 5 }); // prettier-ignore
});

// ------------------------------------------------------------------------------------------------------------- models

const sizes = json<Readonly<Record<string, Sizes>>>("sizes.json");

/** The largest error of what timm's model returns. */
async function errorOf(name: string, change: (spec: ViTSpec) => ViTSpec = (spec) => spec): Promise<number> {
  const folder = `resample/${name}`;
  const io = readTensors(fixturePath(`${folder}/io.safetensors`));
  const spec = withSizes(timmConfigSpec(json(`${name}/config.json`)), sizes[name]!);
  const { outputs } = await runFile(resolve(change(spec)), fixturePath(`${folder}/model.safetensors`), io.get("input")!);
  assert.equal([...outputs.keys()].toSorted(), ["forward_features", "logits"]);
  return Math.max(...[...outputs].map(([output, { data }]) => worstError(data, io.get(output)!.data)));
}

for (const [name, { image, patch }] of Object.entries(sizes)) {
  test(`timm's ${name} from its own file for images of ${String(image)}${patch === undefined ? "" : ` in patches of ${String(patch)}`}`, async () => {
    const error = await errorOf(name);
    assert.ok(error < 1e-5, `${error}`);
  });
}

test("a model that is resampled by another rule is caught", async () => {
  const wrong: readonly (readonly [name: string, change: (spec: ViTSpec) => ViTSpec])[] = [
    ["flexivit_small", (spec) => ({ ...spec, patchResample: { patch: 16 } })],
    ["flexivit_small", (spec) => ({ ...spec, position: { prefix: false, resample: { grid: 4 } } })],
    ["vit_base_patch16_224", (spec) => ({ ...spec, patchResample: { patch: 8, antialias: false } })],
    ["beit_base_patch16_224", (spec) => ({ ...spec, attention: { ...spec.attention, relativeResample: { grid: 4, filter: "bilinear" } } })],
    ["eva02_small_patch14_224", (spec) => ({ ...spec, rope: { kind: "axial" } })],
    ["vit_small_patch14_reg4_dinov2", (spec) => ({ ...spec, position: { ...spec.position, resample: { grid: 8, antialias: false } } })],
  ];
  for (const [name, change] of wrong) {
    const error = await errorOf(name, change);
    assert.ok(error > 1e-4, `${name}: ${error}`);
  }
});

// -------------------------------------------------------------------------------------------------------------- specs

test("names bring their family's rules, and other sizes take them up", () => {
  const flexivit = withSizes(timmSpec("flexivit_small"), { image: 240, patch: 24 });
  const rule = { filter: "bilinear", antialias: false };
  assert.equal([flexivit.image, flexivit.patch, flexivit.patchResample, flexivit.position], [240, 24, { ...rule, patch: 16 }, { prefix: false, resample: { ...rule, grid: 15 } }]);
  assert.equal(resolve(flexivit).patchResample, { from: [16, 16], ...rule });
  const beit = withSizes(timmSpec("beit_base_patch16_224"), { image: [336, 448] });
  assert.equal(beit.attention, { qkvBias: "qv", relative: true, relativeResample: { grid: 14 } });
  assert.equal(resolve(beit).attention.relativeResample, { from: [14, 14], filter: "geometric" });
  assert.equal([beit.patchResample, beit.position], [undefined, { kind: "none" }]);
  const clip = withSizes(transformersSpec({ model_type: "clip_vision_model" }).spec, { image: [320, 448] });
  assert.equal(resolve(clip).position.resample, { from: [7, 7], filter: "bicubic", antialias: false, corners: false, offset: 0 });
});

test("a rule without another size does nothing, and going back undoes a size", () => {
  const rules: Partial<ViTSpec> = { patchResample: { filter: "bilinear" }, attention: { relative: true, relativeResample: { filter: "bilinear" } }, position: { resample: { filter: "bilinear", offset: 0.1 } } };
  const spec = smallSpec(rules);
  const { patchResample, attention, position } = resolve(spec);
  assert.equal([patchResample, attention.relativeResample, position.resample], [undefined, undefined, undefined]);
  const there = withSizes(spec, { image: 64, patch: [16, 8] });
  assert.ok(resolve(there).patchResample && resolve(there).attention.relativeResample && resolve(there).position.resample);
  const back = resolve(withSizes(withSizes(smallSpec({ ...rules, position: {} }), { image: 64, patch: [16, 8] }), { image: spec.image, patch: spec.patch }));
  assert.equal([back.patchResample, back.attention.relativeResample, back.position.resample], [undefined, undefined, undefined]);
  assert.is(withSizes(spec, { image: spec.image }), spec);
  assert.is(withSizes(spec, {}), spec);
});

test("a remainder of patches is cropped where the model crops, and refused elsewhere, at other sizes too", () => {
  const siglip = timmSpec("vit_so400m_patch14_siglip_384");
  assert.equal([siglip.patchRemainder, resolve(siglip).geometry.grid], ["crop", [27, 27]]);
  assert.equal(resolve(withSizes(siglip, { image: [400, 512] })).geometry.grid, [28, 36]);
  const vit = timmSpec("vit_base_patch16_224");
  assert.throws(() => resolve(withSizes(vit, { image: 230 })), /image: height 230 of the image is not a multiple of patch 16; use 224 or 240, or set patchRemainder: "crop"/);
  assert.throws(() => resolve(withSizes(vit, { patch: 18 })), /image: height 224 of the image is not a multiple of patch 18; use 216 or 234/);
  assert.throws(() => resolve(withSizes(smallSpec({ image: 8, patch: 16 }), { image: 32 })), /patch: 16 x 16 is larger than the 8 x 8 that it is cut from/);
});

test.run();
