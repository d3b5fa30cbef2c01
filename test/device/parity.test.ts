import { join } from "node:path";
import * as assert from "uvu/assert";
import cifar10 from "../../specs/vit-cifar10.js";
import { bestOf, fixturePath, noteFixture, noteNames, readTensors, reference, worstError } from "../tools/fixtures.js";
import { f32, importPackage, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { softwareReason } from "../tools/adapter.js";
import { skipAll, suite } from "../tools/suite.js";

/** |error| <= tolerance * (1 + |reference|), against PyTorch in f64. */
const tolerance = 1e-4;

const reason = await softwareReason();
if (reason) skipAll("parity in Node", reason);
else {
  const test = suite("parity in Node");
  const folder = temporaryFolder("parity");

  for (const name of noteNames) {
    test(`${name}: every tap and output of the generated package equals PyTorch's`, async () => {
      const fixture = noteFixture(name);
      const path = join(folder, name);
      const { plan } = await writeCompiled(path, fixture.spec);
      const { load } = await importPackage(path);
      using model = await load({ weights: fixture.weightsPath, adapter: "software", onNotice: () => {} });
      const outputs = await model.run(f32(fixture.io.get("input")!.data));
      assert.equal(Object.keys(outputs), plan.outputs.map((output) => output.name));
      for (const [output, values] of Object.entries(outputs)) {
        const expected = reference(fixture, output);
        assert.equal(values.shape, expected.shape, output);
        const error = worstError(values, expected.data);
        assert.ok(error <= tolerance, `${output}: ${error}`);
      }
    });
  }

  test("a wrong weight is seen: the comparison can fail", async () => {
    const fixture = noteFixture("base");
    const { load } = await importPackage(join(folder, "base"));
    using model = await load({ weights: noteFixture("gray").weightsPath.replace("gray", "pool-avg"), adapter: "software", onNotice: () => {} });
    const { logits } = await model.run(f32(fixture.io.get("input")!.data));
    assert.ok(worstError(logits!, reference(fixture, "logits").data) > 100 * tolerance);
  });

  test("vit-cifar10: logits and classes of all 100 photographs equal PyTorch's", async () => {
    const path = join(folder, "vit-cifar10");
    await writeCompiled(path, cifar10);
    const io = readTensors(fixturePath("vit-cifar10/io.safetensors"));
    const { load } = await importPackage(path);
    using model = await load({ weights: fixturePath("vit-cifar10/model.safetensors"), adapter: "software", onNotice: () => {} });
    const { logits } = await model.run(f32(io.get("input")!.data));
    const expected = io.get("logits")!.data;
    assert.ok(worstError(logits!, expected) <= tolerance);
    for (let i = 0; i < 100; i++) assert.is(bestOf(logits!, i, 10), bestOf(expected, i, 10), `photograph ${i}`);
  });

  test.run();
}
