/** The page in the README, word for word, and the smallest one with a model in a worker. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import * as assert from "uvu/assert";
import { build, createServer } from "vite";
import cifar10 from "../../specs/vit-cifar10.js";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath } from "../tools/fixtures.js";
import { temporaryFolder, writeCompiled } from "../tools/packages.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

interface Photo { readonly file: string; readonly predicted: string; readonly probability: number }
/** A photograph that PyTorch is sure of. */
const photo = (JSON.parse(readFileSync(fixturePath("vit-cifar10/photos.json"), "utf8")) as Photo[]).find(({ probability }) => probability > 0.9)!;
const photoPath = fixturePath(`vit-cifar10/${photo.file}`);

const found = await findChromium();
if ("reason" in found) skipAll("pages of the README and examples/worker", found.reason);
else {
  const test = suite("pages of the README and examples/worker");
  const root = temporaryFolder("examples");
  let browser: Browser;
  test.before(async () => {
    browser = await launch(found);
  });
  test.after(async () => browser.close());

  /** Serves a folder and gives its page to `action`; nothing may go wrong in it. */
  async function withPage(folder: string, headers: Readonly<Record<string, string>>, action: (page: Page) => Promise<void>, script = ""): Promise<void> {
    await using server = await serve({ "/": folder }, 0, headers);
    const page = await browser.newPage();
    const failures: string[] = [];
    page.on("pageerror", (error) => failures.push(error.message));
    page.on("console", (message) => void (message.type() === "error" && !message.text().includes("favicon") && failures.push(message.text())));
    try {
      // A browser asks for one by itself.
      await page.route("**/favicon.ico", (route) => route.fulfill({ status: 204 }));
      await page.addInitScript(script);
      await page.goto(`${server.url}/`);
      await action(page);
      assert.equal(failures, []);
    } finally {
      await page.close();
    }
  }

  test("the README's page is ten lines and its closing tag, says what a photograph shows, and what is wrong", async () => {
    const html = /### On a page\n\n```html\n([\s\S]*?)```/.exec(readFileSync(at("README.md"), "utf8"))![1]!;
    assert.is(html.trim().split("\n").filter((line) => line !== "</script>").length, 10);
    const site = join(root, "site");
    mkdirSync(site);
    await writeCompiled(join(site, "vit-cifar10"), cifar10);
    copyFileSync(fixturePath("vit-cifar10/model.safetensors"), join(site, "model.safetensors"));
    writeFileSync(join(site, "index.html"), html);
    await withPage(site, { "last-modified": "Sat, 01 Nov 2025 00:00:00 GMT" }, async (page) => {
      const output = page.locator("output");
      await page.locator("input:enabled").waitFor({ timeout: 60_000 });
      assert.match(await output.innerText(), /^on ./);
      await page.setInputFiles("input", photoPath);
      await output.filter({ hasText: "%" }).waitFor();
      assert.ok((await output.innerText()).startsWith(`${photo.predicted} ${(100 * photo.probability).toFixed(0)} %, `), await output.innerText());
      await page.setInputFiles("input", fixturePath("vit-cifar10/config.json"));
      await output.filter({ hasText: "image" }).waitFor();
      await page.setInputFiles("input", photoPath);
      await output.filter({ hasText: photo.predicted }).waitFor();
    });
    await withPage(site, {}, async (page) => {
      await page.locator("output").filter({ hasText: "this browser has no WebGPU. Chrome and Edge have it since 113" }).waitFor();
      assert.is(await page.locator("input").isEnabled(), false);
    }, `Object.defineProperty(Navigator.prototype, "gpu", { value: undefined })`);
  });

  test("examples/worker, built by Vite, classifies and draws in its worker under default-src 'self'", async () => {
    const out = join(root, "worker");
    await build({ root: at("examples/worker"), configFile: at("examples/vite.config.ts"), logLevel: "warn", build: { outDir: out, emptyOutDir: true } });
    await withPage(out, { "content-security-policy": "default-src 'self'", "last-modified": "Sat, 01 Nov 2025 00:00:00 GMT" }, async (page) => {
      const status = page.getByRole("status");
      const pixels = (): Promise<number> => page.evaluate(`(() => { const copy = new OffscreenCanvas(480, 320); const context = copy.getContext("2d"); context.drawImage(document.querySelector("canvas"), 0, 0); return new Set(new Uint32Array(context.getImageData(0, 0, 480, 320).data.buffer)).size; })()`);
      await page.locator("input:enabled").waitFor({ timeout: 60_000 });
      assert.is(await pixels(), 1, "nothing is drawn yet");
      await page.setInputFiles("input", photoPath);
      await status.filter({ hasText: "%, in" }).waitFor();
      assert.ok((await status.innerText()).startsWith(`${photo.predicted}, ${(100 * photo.probability).toFixed(1)} %, in `), await status.innerText());
      assert.ok((await pixels()) > 100);
      await page.setInputFiles("input", fixturePath("vit-cifar10/config.json"));
      await status.filter({ hasText: "config.json is no photograph" }).waitFor();
    });
  });

  test("npm run example:browser serves its page as it is developed", async () => {
    const developed = await createServer({ root: at("examples/browser"), configFile: at("examples/vite.config.ts"), logLevel: "error", cacheDir: join(root, "vite"), server: { host: "127.0.0.1", port: 0, hmr: false } });
    const page = await browser.newPage();
    const failures: string[] = [];
    page.on("pageerror", (error) => failures.push(error.message));
    try {
      await developed.listen();
      await page.goto(developed.resolvedUrls!.local[0]!);
      await page.locator("#top li").first().waitFor({ timeout: 60_000 });
      assert.is(await page.locator("#top li .label").first().innerText(), "cat");
      assert.equal(failures, []);
    } finally {
      await page.close();
      await developed.close();
    }
  });

  test.run();
}
