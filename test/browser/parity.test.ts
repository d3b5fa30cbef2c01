import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import cifar10 from "../../specs/vit-cifar10.js";
import { findChromium, launch } from "../tools/chromium.js";
import { bestOf, fixturePath, noteFixture, noteNames, readTensors, reference, worstError } from "../tools/fixtures.js";
import { f32, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { openPage, type PageResult } from "../tools/page.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const tolerance = 1e-4;

const found = await findChromium();
if ("reason" in found) skipAll("parity in Chromium", found.reason);
else {
  const test = suite("parity in Chromium");
  const root = temporaryFolder("browser-parity");
  writeFileSync(join(root, "index.html"), "<!doctype html><title>parity</title>");
  const writeInput = (name: string, values: ArrayLike<number>) => writeFileSync(join(root, `${name}.bin`), new Uint8Array(f32(values).buffer));
  mkdirSync(join(root, "packages"));
  const server = await serve({ "/": root, "/fixtures/": fixturePath("") });
  const browser = await launch(found);
  const page = await openPage(await browser.newPage(), server);
  const run = (folder: string, weights: string, input: string): Promise<PageResult> => page.run(`/packages/${folder}`, `/fixtures/${weights}`, `/${input}.bin`);

  for (const name of noteNames) {
    test(`${name}: the same package in Chromium equals PyTorch on every tap and output`, async () => {
      const fixture = noteFixture(name);
      const { plan } = await writeCompiled(join(root, "packages", name), fixture.spec);
      writeInput(name, fixture.io.get("input")!.data);
      const { outputs, software, notices, stages } = await run(name, `notes/${name}/weights.safetensors`, name);
      assert.equal(outputs.map((output) => output.name), plan.outputs.map((output) => output.name));
      for (const { name: output, shape, values } of outputs) {
        const expected = reference(fixture, output);
        assert.equal(shape, expected.shape, output);
        const error = worstError(values, expected.data);
        assert.ok(error <= tolerance, `${output}: ${error}`);
      }
      assert.ok(software && notices.some((notice) => notice.includes("CPU runtime")), "the software adapter is said out loud");
      assert.equal(stages, ["device", "pipelines", "weights"]);
    });
  }

  test("a wrong kernel is seen: the comparison can fail", async () => {
    const fixture = noteFixture("base");
    const folder = join(root, "packages", "mutated");
    const { kernels } = await writeCompiled(folder, fixture.spec);
    const norm = kernels.find(({ id }) => id.startsWith("layer_norm"))!.id;
    const file = join(folder, "kernels", `${norm}.js`);
    const text = readFileSync(file, "utf8");
    const wrong = text.replace("* scale[i] + bias[i]", "* scale[i] - bias[i]");
    assert.not.equal(wrong, text);
    writeFileSync(file, wrong);
    const { outputs } = await run("mutated", "notes/base/weights.safetensors", "base");
    const logits = outputs.find(({ name }) => name === "logits")!;
    assert.ok(worstError(logits.values, reference(fixture, "logits").data) > 100 * tolerance);
  });

  test("vit-cifar10: logits and classes of all 100 photographs equal PyTorch's", async () => {
    await writeCompiled(join(root, "packages/vit-cifar10"), cifar10);
    const io = readTensors(fixturePath("vit-cifar10/io.safetensors"));
    const expected = io.get("logits")!.data;
    writeInput("photos", io.get("input")!.data);
    const { outputs } = await run("vit-cifar10", "vit-cifar10/model.safetensors", "photos");
    const logits = outputs[0]!.values;
    assert.ok(worstError(logits, expected) <= tolerance);
    for (let i = 0; i < 100; i++) assert.is(bestOf(logits, i, 10), bestOf(expected, i, 10), `photograph ${i}`);
  });

  test("the pages reported no errors", () => {
    assert.equal(page.failures, []);
  });

  test.after(async () => {
    await browser.close();
    await server.close();
  });
  test.run();
}
