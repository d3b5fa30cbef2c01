import { join } from "node:path";
import * as assert from "uvu/assert";
import type { DType } from "../../runtime/plan.js";
import cifar10 from "../../specs/vit-cifar10.js";
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf, openKernelDevice } from "../tools/compare-kernels.js";
import { bestOf, fixturePath, noteFixture, noteNames, readTensors, reference, worstError } from "../tools/fixtures.js";
import { f32, importPackage, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

/** |error| <= tolerance * (1 + |reference|) for each number, against PyTorch in f64. */
const tolerance: Readonly<Record<DType, number>> = { f32: 1e-4, f16: 2e-2 };

const reason = await softwareReason();
if (reason) skipAll("parity in Node", reason);
else {
  const test = suite("parity in Node");
  const folder = temporaryFolder("parity");
  const { device } = await openKernelDevice();
  const dtypes = dtypesOf(device);
  device.destroy();

  for (const name of noteNames) {
    test(`${name}: every tap and output of the generated package equals PyTorch's, in ${dtypes.join(" and ")}`, async () => {
      const fixture = noteFixture(name);
      const path = join(folder, name);
      const { plan } = await writeCompiled(path, fixture.spec, { dtype: dtypes });
      const { load } = await importPackage(path);
      for (const dtype of dtypes) {
        using model = await load({ weights: fixture.weightsPath, dtype, adapter: "software", onNotice: () => {} });
        assert.is(model.dtype, dtype);
        const outputs = await model.run(f32(fixture.io.get("input")!.data));
        assert.equal(Object.keys(outputs), plan.outputs.map((output) => output.name));
        for (const [output, values] of Object.entries(outputs)) {
          const expected = reference(fixture, output);
          assert.equal(values.shape, expected.shape, output);
          const error = worstError(values, expected.data);
          assert.ok(error <= tolerance[dtype], `${output} in ${dtype}: ${error}`);
        }
      }
    });
  }

  test("a wrong weight is seen: the comparison can fail", async () => {
    const fixture = noteFixture("base");
    const { load } = await importPackage(join(folder, "base"));
    for (const dtype of dtypes) {
      using model = await load({ weights: noteFixture("gray").weightsPath.replace("gray", "pool-avg"), dtype, adapter: "software", onNotice: () => {} });
      const { logits } = await model.run(f32(fixture.io.get("input")!.data));
      assert.ok(worstError(logits!, reference(fixture, "logits").data) > 10 * tolerance[dtype], dtype);
    }
  });

  for (const dtype of dtypes) {
    test(`vit-cifar10: logits of all 100 photographs equal PyTorch's in ${dtype}`, async () => {
      const path = join(folder, `vit-cifar10-${dtype}`);
      await writeCompiled(path, cifar10, { dtype });
      const io = readTensors(fixturePath("vit-cifar10/io.safetensors"));
      const { load } = await importPackage(path);
      using model = await load({ weights: fixturePath("vit-cifar10/model.safetensors"), adapter: "software", onNotice: () => {} });
      const { logits } = await model.run(f32(io.get("input")!.data));
      const expected = io.get("logits")!.data;
      const error = worstError(logits!, expected);
      assert.ok(error <= tolerance[dtype], String(error));
      // Where f16 may change a class is a matter of the precision suite.
      if (dtype === "f32") for (let i = 0; i < 100; i++) assert.is(bestOf(logits!, i, 10), bestOf(expected, i, 10), `photograph ${i}`);
    });
  }

  test.run();
}
