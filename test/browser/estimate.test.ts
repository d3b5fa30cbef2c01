/** A generated package estimates itself in a page, before any weights are there. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { Estimate } from "../../runtime/codegen.js";
import { findChromium, launch } from "../tools/chromium.js";
import { temporaryFolder, writeCompiled } from "../tools/packages.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const inPage = `async () => {
  const { estimate } = await import("/package/index.js");
  const own = await estimate();
  const adapter = await navigator.gpu.requestAdapter();
  const ofAdapter = await estimate(adapter);
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const ofDevice = await estimate(device);
  const lost = await Promise.race([device.lost.then(() => true), new Promise((done) => setTimeout(() => done(false), 50))]);
  device.destroy();
  return { estimates: [own, ofAdapter, ofDevice], lost };
}`;

const found = await findChromium();
if ("reason" in found) skipAll("estimates in Chromium", found.reason);
else {
  const test = suite("estimates in Chromium");

  test("a page asks for an estimate with nothing, with its adapter, and with its device, and fetches no weights", async () => {
    const root = temporaryFolder("browser-estimate");
    writeFileSync(join(root, "index.html"), "<!doctype html><title>estimate</title>");
    await writeCompiled(join(root, "package"), { name: "estimated", image: 32, patch: 8, dim: 64, depth: 2, heads: 2, classes: 10 });
    const server = await serve({ "/": root });
    const browser = await launch(found);
    try {
      const tab = await browser.newPage();
      const asked: string[] = [];
      const failures: string[] = [];
      tab.on("request", (request) => asked.push(request.url()));
      tab.on("pageerror", (error) => failures.push(error.message));
      await tab.goto(`${server.url}/`);
      const { estimates, lost } = (await tab.evaluate(`(${inPage})()`)) as { readonly estimates: readonly Estimate[]; readonly lost: boolean };
      assert.is(estimates.length, 3);
      for (const { milliseconds, low, high, verdict, adapter, megabytes } of estimates) {
        assert.ok(milliseconds > 0 && low < milliseconds && milliseconds < high, JSON.stringify({ milliseconds, low, high }));
        assert.equal([verdict, adapter.software, adapter.architecture], ["slow", true, "swiftshader"]);
        assert.ok(megabytes.download.f32 > 0.3 && megabytes.gpu > megabytes.download.f32);
      }
      assert.is(lost, false, "the page's device is not destroyed");
      assert.equal(asked.filter((url) => !/\/$|\.js$|favicon/.test(url)), []);
      assert.equal(failures, []);
    } finally {
      await browser.close();
      await server.close();
    }
  });

  test.run();
}
