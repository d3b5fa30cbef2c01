/** Weights that the browser keeps: the second visit asks whether the file is the same, and downloads none of it. */
import { copyFileSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath, noteFixture } from "../tools/fixtures.js";
import { writeNotePage } from "../tools/note-page.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const found = await findChromium();
if ("reason" in found) skipAll("weights that Chromium keeps", found.reason);
else {
  const test = suite("weights that Chromium keeps");
  const fixture = noteFixture("base");
  const root = await writeNotePage("cache", fixture);
  const file = join(root, "weights.safetensors");
  copyFileSync(fixturePath("notes/base/weights.safetensors"), file);

  // Another origin, as weights mostly are, which exposes no header that browsers hide.
  const asked: string[] = [];
  let modified = "Sat, 01 Nov 2025 00:00:00 GMT";
  const weights = createServer((request, response) => {
    const content = readFileSync(file);
    const [, begin = "0", end = ""] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    asked.push(request.method!);
    const headers = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Content-Range", "Last-Modified": modified, "Cache-Control": "no-store" };
    if (request.method === "HEAD") return void response.writeHead(200, { ...headers, "Content-Length": content.length }).end();
    const part = content.subarray(Number(begin), Number(end) + 1);
    response.writeHead(206, { ...headers, "Content-Length": part.length, "Content-Range": `bytes ${begin}-${Number(begin) + part.length - 1}/${content.length}` }).end(part);
  });
  await new Promise<void>((listening) => weights.listen(0, "127.0.0.1", listening));
  const server = await serve({ "/": root });
  const browser = await launch(found);
  const tab = await browser.newPage();

  const visit = async (): Promise<{ readonly logits: readonly number[]; readonly notices: readonly string[] }> => {
    asked.length = 0;
    await tab.goto(`${server.url}/`);
    return tab.evaluate(`(async () => {
      const { load } = await import("/package/index.js");
      const notices = [];
      const model = await load({ weights: "http://127.0.0.1:${(weights.address() as AddressInfo).port}/weights.safetensors", cache: true, onNotice: (text) => notices.push(text) });
      const { logits } = await model.run(new Float32Array(await (await fetch("/input.bin")).arrayBuffer()));
      model.dispose();
      return { logits: [...logits], notices: notices.filter((text) => !text.includes("CPU runtime")) };
    })()`);
  };

  test("the second visit downloads nothing, a changed file is downloaded again", async () => {
    const first = await visit();
    assert.equal(first.notices, []);
    assert.ok(asked.length > 0 && asked.every((method) => method === "GET"), asked.join());
    assert.equal([await visit(), asked], [first, ["HEAD"]]);
    modified = "Sun, 02 Nov 2025 00:00:00 GMT";
    assert.equal(await visit(), first);
    assert.equal(asked.slice(0, 2), ["HEAD", "GET"]);
    assert.equal([await visit(), asked], [first, ["HEAD"]]);
  });

  test.after(async () => {
    await browser.close();
    await server.close();
    weights.closeAllConnections();
    weights.close();
  });
  test.run();
}
