/** A model on a page for a long time: connections that break, a device that goes away in the middle of a run, and 500 runs. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as assert from "uvu/assert";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath, noteFixture } from "../tools/fixtures.js";
import { writeNotePage } from "../tools/note-page.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const found = await findChromium();
if ("reason" in found) skipAll("endurance in Chromium", found.reason);
else {
  const test = suite("endurance in Chromium");
  const fixture = noteFixture("base");
  const root = await writeNotePage("endurance", fixture);
  const content = readFileSync(fixturePath("notes/base/weights.safetensors"));

  /** Answers are cut after so many bytes. */
  let cut = Infinity;
  const asked: string[] = [];
  const weights = createServer((request, response) => {
    const [, begin = "0", end = ""] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    asked.push(request.headers.range ?? request.method!);
    const part = content.subarray(Number(begin), Number(end) + 1);
    response.writeHead(206, { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Content-Range", "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT", "Cache-Control": "no-store", "Content-Length": part.length, "Content-Range": `bytes ${begin}-${Number(begin) + part.length - 1}/${content.length}` });
    if (part.length <= cut) response.end(part);
    else response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  });
  await new Promise<void>((listening) => weights.listen(0, "127.0.0.1", listening));
  const server = await serve({ "/": root });
  const browser = await launch(found);
  const page = await browser.newPage();
  const url = `http://127.0.0.1:${(weights.address() as AddressInfo).port}/weights.safetensors`;

  /** Runs `body` in a fresh page, with a model that is loaded with `options`. */
  async function inPage<Result>(options: string, body: string): Promise<Result> {
    await page.goto(`${server.url}/`);
    asked.length = 0;
    return page.evaluate(`(async () => {
      const { load } = await import("/package/index.js");
      const notices = [];
      const input = new Float32Array(await (await fetch("/input.bin")).arrayBuffer());
      const model = await load({ onNotice: (text) => notices.push(text), ${options} });
      try { ${body} } finally { model.dispose(); }
    })()`);
  }
  const logits = `return [...(await model.run(input)).logits];`;
  const right = await inPage<number[]>(`weights: ${JSON.stringify(url)}`, logits);
  const requests = asked.length;

  test("a connection that breaks is made again and goes on where it stopped", async () => {
    cut = 40_000;
    assert.equal(await inPage(`weights: ${JSON.stringify(url)}`, logits), right);
    assert.ok(asked.length > requests, `${asked.length} requests of ${requests}`);
    const begins = asked.map((range) => Number(/^bytes=(\d+)-/.exec(range)![1]));
    assert.is(new Set(begins).size, begins.length, "no byte is asked for twice");
    cut = Infinity;
  });

  test("a file is read once where its hash is checked, and a wrong hash is refused", async () => {
    const hash = `sha256-${createHash("sha256").update(content).digest("base64")}`;
    assert.equal(await inPage(`weights: ${JSON.stringify(url)}, integrity: ${JSON.stringify(hash)}`, logits), right);
    const wrong = `sha256-${createHash("sha256").update("another").digest("base64")}`;
    const message = await inPage<string>(`weights: ${JSON.stringify(url)}`, `return load({ weights: ${JSON.stringify(url)}, integrity: ${JSON.stringify(wrong)}, onNotice() {} }).then(() => "loaded", (error) => error.name + ": " + error.message);`);
    assert.ok(message.startsWith("WeightsError: ") && message.includes(hash) && message.includes(wrong), message);
  });

  test("a device destroyed in the middle of a run is replaced, and the run gives what it should", async () => {
    const seen = await inPage<{ readonly again: number[]; readonly other: boolean; readonly notices: string[] }>(
      `weights: ${JSON.stringify(url)}`,
      `const first = model.device;
      const runs = [model.run(input), model.run(input), model.run(input)];
      await Promise.resolve();
      first.destroy();
      const all = await Promise.all(runs);
      return { again: all.map(({ logits }) => [...logits]).flat(), other: model.device !== first, notices };`,
    );
    assert.equal(seen.again, [...right, ...right, ...right]);
    assert.is(seen.other, true);
    assert.ok(seen.notices.some((text) => /the GPU device was lost .*the model is made again on another/.test(text)), seen.notices.join("\n"));
  });

  test("500 runs take no more memory than 100, and make no GPU object", async () => {
    const session = await page.context().newCDPSession(page);
    await session.send("HeapProfiler.enable");
    const heap = async (): Promise<number> => {
      await session.send("HeapProfiler.collectGarbage");
      return (await session.send("Runtime.getHeapUsage")).usedSize;
    };
    await page.goto(`${server.url}/`);
    await page.evaluate(`(async () => {
      const { load } = await import("/package/index.js");
      globalThis.model = await load({ weights: ${JSON.stringify(url)}, onNotice() {} });
      globalThis.input = new Float32Array(await (await fetch("/input.bin")).arrayBuffer());
      globalThis.made = 0;
      for (const name of ["createBuffer", "createTexture", "createBindGroup", "createComputePipeline", "createComputePipelineAsync"]) {
        const make = GPUDevice.prototype[name];
        GPUDevice.prototype[name] = function (...args) { made++; return make.apply(this, args); };
      }
    })()`);
    const runs = (count: number): Promise<unknown> => page.evaluate(`(async () => { for (let i = 0; i < ${count}; i++) await model.run(input); })()`);
    await runs(100);
    const [before, bytes] = [await heap(), (await page.evaluate("model.gpuBytes")) as number];
    await runs(400);
    const after = await heap();
    assert.is(await page.evaluate("made"), 0);
    assert.is(await page.evaluate("model.gpuBytes"), bytes);
    // Outputs of 400 runs that were kept would be more, and so would a closure a run.
    assert.ok(after - before < 60_000, `${before} bytes after 100 runs, ${after} after 500`);
  });

  test.after(async () => {
    await browser.close();
    await server.close();
    weights.closeAllConnections();
    weights.close();
  });
  test.run();
}
