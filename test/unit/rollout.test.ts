/** Attention rollout against numpy. */
import * as assert from "uvu/assert";
import { runtimeSources } from "../../compiler/emit/runtime-sources.js";
import { InputError } from "../../runtime/errors.js";
import { attentionRollout } from "../../runtime/index.js";
import { withShape, type Tensor } from "../../runtime/tensor.js";
import { fixturePath, readTensors, worstError } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";

const test = suite("attention rollout");

const tensorOf = (shape: readonly number[], values: ArrayLike<number>): Tensor => withShape(Float32Array.from(values), shape);

/** Maps of a saved model, two blocks of two heads. */
function mapsOf(name: string): Tensor[] {
  const maps = readTensors(fixturePath(`${name}/maps.safetensors`));
  return ["blocks.0.attn", "blocks.1.attn"].map((block) => tensorOf(maps.get(block)!.shape, maps.get(block)!.data));
}

/*
 * import numpy as np
 * from safetensors.numpy import load_file
 * def rollout(folder):
 *     maps = load_file(f"test/fixtures/{folder}/maps.safetensors")
 *     out = np.eye(maps["blocks.0.attn"].shape[-1])
 *     for i in range(2):
 *         a = maps[f"blocks.{i}.attn"].astype(np.float64).mean(1) + np.eye(out.shape[-1])
 *         out = (a / a.sum(-1, keepdims=True)) @ out
 *     return out
 * rollout("hf/vit-model")[1, 0], rollout("timm/vit_dpwee_patch16_reg1_gap_256")[0, 1]
 */
test("is numpy's, of a vision transformer and of one whose rows do not sum to 1", () => {
  const plain = attentionRollout(mapsOf("hf/vit-model"));
  assert.equal(plain.shape, [2, 7, 7]);
  assert.ok(worstError(plain.subarray(49, 56), [0.29232600, 0.10296575, 0.05295221, 0.08635477, 0.23142979, 0.04893570, 0.18503579]) < 1e-6);
  const difference = attentionRollout(mapsOf("timm/vit_dpwee_patch16_reg1_gap_256"));
  assert.ok(worstError(difference.subarray(10, 20), [0.11691936, 0.28783809, 0.08004853, 0.13189508, 0.05062099, 0.04367256, 0.05455585, 0.06598451, 0.10918002, 0.05928500]) < 1e-6);
});

test("of one block it is its mean with the identity, and later blocks are applied to earlier ones", () => {
  const first = tensorOf([1, 2, 2, 2], [1, 0, 0, 1, 0, 1, 1, 0]);
  assert.equal([...attentionRollout([first])], [0.75, 0.25, 0.25, 0.75]);
  const second = tensorOf([1, 1, 2, 2], [0, 1, 0, 1]);
  assert.equal([...attentionRollout([first, second])], [0.5, 0.5, 0.25, 0.75]);
  assert.not.equal([...attentionRollout([second, first])], [...attentionRollout([first, second])]);
});

test("every row sums to 1", () => {
  const rows = attentionRollout(mapsOf("hf/clip-vision"));
  for (let row = 0; row < 20; row++) assert.ok(Math.abs(rows.subarray(row * 10, row * 10 + 10).reduce((sum, value) => sum + value, 0) - 1) < 1e-6);
});

test("refuses what are no maps of one model", () => {
  const map = tensorOf([1, 1, 2, 2], [1, 0, 0, 1]);
  const refused: readonly (readonly [maps: readonly Tensor[], sentence: RegExp])[] = [
    [[], /no attention maps; compile with outputs such as blocks\.\*\.attn/],
    [[tensorOf([1, 2, 3], new Float32Array(6))], /map 0 is 1 x 2 x 3 of 6 values; a map is \[images, heads, queries, keys\]/],
    [[tensorOf([1, 1, 2, 3], new Float32Array(6))], /with as many keys as queries/],
    [[map, tensorOf([1, 1, 3, 3], new Float32Array(9))], /map 1 is 1 x 1 x 3 x 3 and the first 1 x 1 x 2 x 2/],
    [[map, tensorOf([2, 1, 2, 2], new Float32Array(8))], /of the same images and tokens/],
    [[tensorOf([1, 1, 2, 2], new Float32Array(3))], /of 3 values/],
    [[new Float32Array(4) as Tensor], /map 0 has no shape, and 4 values/],
  ];
  for (const [maps, sentence] of refused) assert.throws(() => attentionRollout(maps), (error: unknown) => error instanceof InputError && sentence.test(error.message));
});

test("is in no package that does not use it", () => {
  assert.ok(runtimeSources().has("tensor.ts"));
  assert.not.ok(runtimeSources().has("rollout.ts"));
});

test.run();
