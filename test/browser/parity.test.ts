import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import cifar10 from "../../specs/vit-cifar10.js";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath, noteFixture, noteNames, readTensors, reference, worstError } from "../tools/fixtures.js";
import { f32, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const tolerance = 1e-4;

/** Runs in the page: loads a package from its URL and returns every output. */
const inPage = `async ({ folder, weights, input }) => {
  const { load } = await import(folder + "/index.js");
  const notices = [];
  const stages = new Set();
  const model = await load({ weights: new URL(weights, location.href), onNotice: (text) => notices.push(text), onProgress: ({ stage }) => stages.add(stage) });
  const values = new Float32Array(await (await fetch(input)).arrayBuffer());
  const outputs = await model.run(values);
  const software = model.adapter.software;
  model.dispose();
  return { outputs: Object.entries(outputs).map(([name, data]) => ({ name, shape: data.shape, values: [...data] })), notices, stages: [...stages], software };
}`;

interface PageResult {
  readonly outputs: readonly { name: string; shape: number[]; values: number[] }[];
  readonly notices: readonly string[];
  readonly stages: readonly string[];
  readonly software: boolean;
}

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
  const page = await browser.newPage();
  const failures: string[] = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  await page.goto(`${server.url}/`);
  const run = (folder: string, weights: string, input: string): Promise<PageResult> =>
    page.evaluate(`(${inPage})(${JSON.stringify({ folder: `/packages/${folder}`, weights: `/fixtures/${weights}`, input: `/${input}.bin` })})`) as Promise<PageResult>;

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

  test("vit-cifar10: logits of photographs equal PyTorch's", async () => {
    await writeCompiled(join(root, "packages/vit-cifar10"), cifar10);
    const io = readTensors(fixturePath("vit-cifar10/io.safetensors"));
    const count = 20;
    writeInput("photos", io.get("input")!.data.subarray(0, count * 3 * 32 * 32));
    const { outputs } = await run("vit-cifar10", "vit-cifar10/model.safetensors", "photos");
    assert.ok(worstError(outputs[0]!.values, io.get("logits")!.data.subarray(0, count * 10)) <= tolerance);
  });

  test("the pages reported no errors", () => {
    assert.equal(failures, []);
  });

  test.after(async () => {
    await browser.close();
    await server.close();
  });
  test.run();
}
