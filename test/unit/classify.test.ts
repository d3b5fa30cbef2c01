/** Softmax and the most probable classes, from logits of any size. */
import * as assert from "uvu/assert";
import { checkTop, softmax, topClasses } from "../../runtime/classify.js";
import { InputError } from "../../runtime/errors.js";
import { suite } from "../tools/suite.js";

const test = suite("classes");
const near = (a: ArrayLike<number>, b: readonly number[]): void => Array.from(a).forEach((value, i) => assert.ok(Math.abs(value - b[i]!) < 1e-15, `${value} for ${b[i]}`));

test("softmax is exp over its sum, and 1 in all", () => {
  near(softmax([0, Math.log(3)]), [0.25, 0.75]);
  near(softmax(Float32Array.of(2)), [1]);
  const many = softmax(Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 10));
  assert.ok(Math.abs(many.reduce((sum, p) => sum + p, 0) - 1) < 1e-12);
});

test("it does not depend on a constant in all logits, however large: nothing overflows, nothing is divided by 0", () => {
  const expected = [...softmax([0, 1, -2])];
  for (const shift of [-1e6, 800, 1e6]) near(softmax([shift, shift + 1, shift - 2]), expected);
  near(softmax([3.4e38, -3.4e38]), [1, 0]);
});

test("the most probable classes come first, with names; of equal ones the lower index", () => {
  const top = topClasses([1, 3, 3, -1, 3], ["a", "b", "c", "d", "e"], 4);
  assert.equal(top.map(({ label, index }) => `${label}${index}`), ["b1", "c2", "e4", "a0"]);
  assert.is(top[0]!.probability, top[2]!.probability);
  assert.ok(Math.abs(topClasses([1, 3, 3, -1, 3], [], 9).reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-15);
});

test("more than there are is all of them; without names labels are undefined", () => {
  assert.equal(topClasses([0, 1], [], 5).map(({ label, index }) => [label, index]), [[undefined, 1], [undefined, 0]]);
});

test("logits that are not finite are refused by their place, and so is a top that is no number of classes", () => {
  for (const wrong of [NaN, Infinity, -Infinity]) assert.throws(() => topClasses([0, wrong], [], 1), (error: Error) => error instanceof InputError && error.message.startsWith(`logit 1 is ${wrong}`));
  for (const top of [0, -1, 1.5, NaN, "5", null, Infinity]) assert.throws(() => checkTop(top), (error: Error) => error instanceof InputError);
  assert.is(checkTop(1), 1);
});

test.run();
