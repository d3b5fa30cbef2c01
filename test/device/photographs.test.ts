/** A generated package takes image files: by path, as bytes and as Blobs, in any mixture with pixels, and each is what its pixels are. */
import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { InputError } from "../../runtime/errors.js";
import { abi, Model } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import cifar10 from "../../specs/vit-cifar10.js";
import { softwareReason } from "../tools/adapter.js";
import { fixturePath } from "../tools/fixtures.js";
import type { AnyOutputs } from "../tools/packages.js";
import { assertSame } from "../tools/pixels.js";
import { skipAll, suite } from "../tools/suite.js";

const reason = await softwareReason();
if (reason) skipAll("photographs on an adapter", reason);
else {
  const test = suite("photographs on an adapter");
  const { plan, kernels, recipe } = makePlan(resolve({ ...cifar10, depth: 1, batch: [1] }), { dtype: "f32" });
  const variant = { plan: { ...plan, labels: [] }, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe };
  const model = await Model.load<AnyOutputs>(
    { abi, variants: [variant], command: "npx vitc compile spec.json", platform: () => Promise.resolve(platform) },
    { weights: fixturePath("vit-cifar10/model.safetensors"), adapter: "software", allowExtra: true, onNotice: () => {} },
  );
  const [cat, dog] = ["cat-04", "dog-05"].map((name) => fixturePath(`vit-cifar10/photos/${name}.png`)) as [string, string];
  const bytes = (path: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(path));
  const logitsOf = async (input: Parameters<typeof model.run>[0]): Promise<Float32Array> => (await model.run(input))["logits"]!;

  test("a path, bytes, a Blob and pixels of one photograph give the same answer", async () => {
    const expected = await logitsOf(await platform.decodeImage(cat));
    for (const input of [cat, bytes(cat), bytes(cat).buffer, new Blob([bytes(cat)]), [cat]] as const) assertSame(await logitsOf(input), expected, typeof input);
  });

  test("a list mixes them, in its order", async () => {
    const [one, two] = [await logitsOf(cat), await logitsOf(dog)];
    const all = await logitsOf([dog, await platform.decodeImage(cat), new Blob([bytes(dog)]), bytes(cat)]);
    assertSame(all, [...two, ...one, ...two, ...one], "four photographs");
  });

  test("bytes are taken when run is called, and runs keep their order while files are decoded", async () => {
    const expected = await logitsOf(cat);
    const changing = bytes(cat);
    const order: string[] = [];
    const first = logitsOf([cat, changing]).then((values) => (order.push("files"), values));
    const second = logitsOf(new Float32Array(3 * 32 * 32)).then(() => order.push("values"));
    changing.fill(0);
    const values = await first;
    await second;
    assertSame(values, [...expected, ...expected], "bytes that change afterwards");
    assert.equal(order, ["files", "values"]);
  });

  test("what cannot be decoded is refused by name, and the model goes on", async () => {
    for (const [input, says] of [
      ["no/such/cat.jpg", /there is no file no\/such\/cat\.jpg/],
      [[cat, new Blob(["no"])], /the image \(Blob\) is not an image/],
      [[cat, 3 as never], /an image is \{data, width, height\}/],
    ] as const) {
      const outcome: unknown = await model.run(input).catch((error: unknown) => error);
      assert.instance(outcome, InputError);
      assert.match((outcome as InputError).message, says);
    }
    assert.is((await logitsOf(cat)).length, 10);
  });

  test.after(() => model.dispose());
  test.run();
}
