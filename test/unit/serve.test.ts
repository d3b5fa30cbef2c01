import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { serve } from "../tools/serve.js";
import { suite } from "../tools/suite.js";

const test = suite("static server");

/** A request whose path is sent as it is: fetch would resolve `..` before sending. */
function statusOf(url: string, path: string): Promise<number> {
  return new Promise((done, fail) => {
    const { port } = new URL(url);
    httpRequest({ host: "127.0.0.1", port, path }, (response) => done(response.resume().statusCode ?? 0)).on("error", fail).end();
  });
}

test("serves files with their types and ranges, and nothing outside its folders", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vitc-serve-"));
  writeFileSync(join(folder, "page.html"), "<p>0123456789</p>");
  symlinkSync("/etc/hosts", join(folder, "link.txt"));
  const server = await serve({ "/pages/": folder });
  try {
    const page = await fetch(`${server.url}/pages/page.html`);
    assert.is(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.is(await page.text(), "<p>0123456789</p>");
    const part = await fetch(`${server.url}/pages/page.html`, { headers: { range: "bytes=3-5" } });
    assert.is(part.status, 206);
    assert.is(part.headers.get("content-range"), "bytes 3-5/17");
    assert.is(await part.text(), "012");
    assert.is((await fetch(`${server.url}/pages/page.html`, { headers: { range: "bytes=17-" } })).status, 416);
    assert.is((await fetch(`${server.url}/pages/page.html`, { method: "POST" })).status, 405);
    for (const path of ["/pages/../../etc/hosts", "/pages/%2e%2e/%2e%2e/etc/hosts", "/pages/..%2f..%2fetc/hosts", "/pages/..\\hosts", "/pages/%00", "/pages/%zz"]) {
      assert.is(await statusOf(server.url, path), 400, path);
    }
    for (const path of ["/pages/link.txt", "/pages//etc/hosts", "/page.html", "/pages/", "/etc/hosts"]) assert.is(await statusOf(server.url, path), 404, path);
  } finally {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
