/** Recipes are rewritten so that rows come from as far down as they can, and large joined weights are packed one source after another. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { specByName } from "../../compiler/families/index.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { partsOf } from "../../runtime/joined.js";
import type { DType, PackedTensor, WeightSource, WeightStep } from "../../runtime/plan.js";
import { packTensor, place } from "../../runtime/recipe.js";
import { recipeOfTree, treeOf, type Recipe } from "../../runtime/recipe-tree.js";
import { seededValues } from "../../runtime/seeded.js";

const test = suite("recipe trees");

const source = (name: string, ...shape: number[]): WeightSource => ({ names: [name], shape });
const simplified = ({ sources, steps }: Recipe): Recipe => recipeOfTree(treeOf({ sources, steps }), sources);
const rewrites = (what: string, before: Recipe, after: Recipe): void => {
  test(what, async () => {
    assert.equal(simplified(before), after);
    // And both make the same bits.
    const pack = async (recipe: Recipe): Promise<number[]> => {
      const shape = treeOf(recipe).shape!;
      return [...(await packTensor({ name: "w", buffer: 0, offset: 0, dtype: "f32", shape, ...recipe }, async ({ names, shape: of }) => Float32Array.from(seededValues(names[0]!, of, "parameter"))))];
    };
    assert.equal(await pack(before), await pack(after));
  });
};

rewrites(
  "rows behind a fold are taken before it, and factors of other rows go",
  {
    sources: [source("w", 12, 5), source("gamma", 5), source("scale", 12)],
    steps: [{ op: "foldNormScale", of: [0, 1], centre: true }, { op: "scaleRows", of: 3, start: 0, end: 6, factor: 0.5 }, { op: "scaleRows", of: 4, start: 6, end: 12, factor: 3 }, { op: "scaleChannels", of: [5, 2] }, { op: "slice", of: 6, axis: 0, start: 4, end: 6 }],
  },
  {
    sources: [source("w", 12, 5), source("gamma", 5), source("scale", 12)],
    steps: [{ op: "slice", of: 0, axis: 0, start: 4, end: 6 }, { op: "foldNormScale", of: [3, 1], centre: true }, { op: "scaleRows", of: 4, start: 0, end: 2, factor: 0.5 }, { op: "slice", of: 2, axis: 0, start: 4, end: 6 }, { op: "scaleChannels", of: [5, 6] }],
  },
);

rewrites(
  "rows of a joined weight come from the source that they lie in",
  { sources: [source("q", 4, 5), source("k", 4, 5), source("v", 4, 5)], steps: [{ op: "concat", of: [0, 1, 2], axis: 0 }, { op: "slice", of: 3, axis: 0, start: 4, end: 8 }] },
  { sources: [source("k", 4, 5)], steps: [] },
);

rewrites(
  "rows of more than one source are joined of those alone",
  { sources: [source("q", 4, 5), source("k", 4, 5), source("v", 4, 5)], steps: [{ op: "concat", of: [0, 1, 2], axis: 0 }, { op: "slice", of: 3, axis: 0, start: 6, end: 12 }] },
  { sources: [source("k", 4, 5), source("v", 4, 5)], steps: [{ op: "slice", of: 0, axis: 0, start: 2, end: 4 }, { op: "concat", of: [2, 1], axis: 0 }] },
);

rewrites(
  "a bias that a norm's shift is folded into",
  { sources: [source("w", 6, 5), source("beta", 5), source("b", 6)], steps: [{ op: "foldNormShift", of: [0, 1, 2] }, { op: "slice", of: 3, axis: 0, start: 2, end: 6 }] },
  { sources: [source("w", 6, 5), source("beta", 5), source("b", 6)], steps: [{ op: "slice", of: 0, axis: 0, start: 2, end: 6 }, { op: "slice", of: 2, axis: 0, start: 2, end: 6 }, { op: "foldNormShift", of: [3, 1, 4] }] },
);

test("what is read twice is made once, and what nobody can take apart stays", () => {
  const sources = [source("w", 6, 5)];
  const steps: WeightStep[] = [{ op: "scale", of: 0, factor: 2 }, { op: "scale", of: 0, factor: 2 }, { op: "concat", of: [1, 2], axis: 0 }, { op: "transpose", of: 3, axes: [1, 0] }, { op: "slice", of: 4, axis: 0, start: 1, end: 3 }];
  assert.equal(simplified({ sources, steps }), { sources, steps: [{ op: "scale", of: 0, factor: 2 }, { op: "concat", of: [1, 1], axis: 0 }, { op: "transpose", of: 2, axes: [1, 0] }, { op: "slice", of: 3, axis: 0, start: 1, end: 3 }] });
});

/** Two tensors of 2048 x 2050 with all that may come behind them, and what it makes of a row of each. */
const joined = (dtype: DType, rows = 2048): PackedTensor => ({
  name: "blocks.0.mlp.fc1.weight", buffer: 0, offset: 512, dtype, shape: [2052, 2 * rows + 4],
  sources: [source("gate", rows, 2050), source("gamma", 2050), source("up", rows, 2050)],
  steps: [{ op: "concat", of: [0, 2], axis: 0 }, { op: "foldNormScale", of: [3, 1], centre: true }, { op: "scaleRows", of: 4, start: 1000, end: rows + 7, factor: 0.3 }, { op: "transpose", of: 5, axes: [1, 0] }, { op: "pad", of: 6, shape: [2052, 2 * rows + 4] }],
}); // prettier-ignore

test("a large joined weight is packed in parts, with the same bits where the whole would lie", async () => {
  for (const dtype of ["f32", "f16"] as const) {
    const tensor = joined(dtype);
    const parts = partsOf(tensor);
    assert.equal(parts.map(({ sources }) => sources.map(({ names }) => names[0])), [["gate", "gamma"], ["gamma", "up"]]);
    const length = tensor.shape[0]! * tensor.shape[1]!;
    const size = dtype === "f16" ? 2 : 4;
    const whole = dtype === "f16" ? new Uint16Array(length).fill(7) : new Float32Array(length).fill(7);
    const read = async ({ names, shape }: WeightSource): Promise<Float32Array<ArrayBuffer>> => Float32Array.from(seededValues(names[0]!, shape, "parameter"));
    for (const part of parts) {
      await place(part, await packTensor(part, read), 0, (buffer, offset, data) => {
        assert.ok(buffer === 0 && offset % 4 === 0 && data.byteLength % 4 === 0);
        whole.set(data, (offset - tensor.offset) / size);
      });
    }
    assert.ok(Buffer.from(whole.buffer).equals(Buffer.from((await packTensor(tensor, read)).buffer)), dtype);
  }
});

test("those of odd halves and those of one tensor stay whole", () => {
  const odd = joined("f16", 2049);
  const single = { ...joined("f32"), sources: [source("w", 4096, 2050), source("gamma", 2050)], steps: [{ op: "foldNormScale", of: [0, 1], centre: true }, { op: "transpose", of: 2, axes: [1, 0] }] satisfies WeightStep[] };
  for (const tensor of [odd, single]) assert.equal(partsOf(tensor), [tensor]);
});

test("no tensor of the widest models reads two large ones", () => {
  for (const name of ["aimv2_3b_patch14_224", "vit_7b_patch16_dinov3", "vit_huge_plus_patch16_dinov3", "vit_giant_patch14_dinov2"]) {
    for (const dtype of ["f32", "f16"] as const) {
      const { recipe } = makePlan(resolve({ ...specByName(`timm:${name}`).spec, depth: 2 }), { dtype });
      for (const { name: tensor, sources } of recipe.tensors.flatMap(partsOf)) assert.ok(sources.filter(({ shape }) => shape.reduce((product, size) => product * size, 1) >= 2 ** 22).length <= 1, `${name}: ${tensor}`);
    }
  }
});

test.run();
