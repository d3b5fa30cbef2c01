import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { findChromium, launch } from "../tools/chromium.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const found = await findChromium();
if ("reason" in found) skipAll("browser smoke", found.reason);
else {
  const test = suite("browser smoke");

  const page = `<!doctype html><title>smoke</title><body style="margin:0;font:40px sans-serif">Text<script type="module">
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter.requestDevice();
    const module = device.createShaderModule({ code: \`
      @group(0) @binding(0) var<storage, read_write> values: array<f32>;
      @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { values[i] *= 2; }\` });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const values = device.createBuffer({ size: 16, usage: STORAGE | COPY_SRC | COPY_DST });
    const readback = device.createBuffer({ size: 16, usage: COPY_DST | MAP_READ });
    device.queue.writeBuffer(values, 0, new Float32Array([1, 2.5, -3, 1e10]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: values } }] }));
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(values, 0, readback, 0, 16);
    device.queue.submit([encoder.finish()]);
    await readback.mapAsync(GPUMapMode.READ);
    window.result = { architecture: adapter.info.architecture, values: [...new Float32Array(readback.getMappedRange())] };
  </script>`;

  test("doubles four numbers with WebGPU, and draws text", async () => {
    const folder = mkdtempSync(join(tmpdir(), "vitc-smoke-"));
    writeFileSync(join(folder, "index.html"), page);
    const server = await serve({ "/": folder });
    const browser = await launch(found);
    try {
      const tab = await browser.newPage({ viewport: { width: 200, height: 100 } });
      const errors: string[] = [];
      tab.on("pageerror", (error) => errors.push(error.message));
      await tab.goto(`${server.url}/`);
      const handle = await tab.waitForFunction("window.result", undefined, { timeout: 60_000 }).catch((error: unknown) => {
        throw new Error(`the page gave no result; its errors: ${errors.join("; ") || "none"}`, { cause: error });
      });
      const result: unknown = await handle.jsonValue();
      assert.equal(result, { architecture: "swiftshader", values: [2, 5, -6, 2e10] });
      const withText = await tab.screenshot();
      await tab.evaluate("document.body.firstChild.remove()");
      assert.not.equal(withText, await tab.screenshot(), "text is invisible: fontconfig found no font");
    } finally {
      await browser.close();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test.run();
}
