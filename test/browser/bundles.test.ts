import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import * as assert from "uvu/assert";
import { softwareReason } from "../tools/adapter.js";
import { findChromium, launch } from "../tools/chromium.js";
import { noteFixture, reference, worstError } from "../tools/fixtures.js";
import { temporaryFolder, writeCompiled } from "../tools/packages.js";
import { serve } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const fixture = noteFixture("distilled");
const root = temporaryFolder("bundles");
const source = join(root, "source");
const expected = reference(fixture, "logits").data;
await writeCompiled(join(source, "model"), { ...fixture.spec, labels: Array.from({ length: 10 }, (_, i) => `class ${i}`) });
writeFileSync(join(source, "index.html"), `<!doctype html><title>app</title><script type="module" src="./app.js"></script>`);
// The input is a module, so that the weights are all that is fetched.
writeFileSync(join(source, "input.js"), `export const values = ${JSON.stringify([...fixture.io.get("input")!.data])};\n`);
writeFileSync(join(source, "app.js"), `
import { canRun, labels, load, needs } from "./model/index.js";
import { values } from "./input.js";

const violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => violations.push(violatedDirective + " " + blockedURI));
async function main() {
  const able = await canRun();
  const model = await load({ weights: new URL("/weights.safetensors", location.href), onNotice: () => {} });
  const { logits } = await model.run(Float32Array.from(values));
  model.dispose();
  return { able, logits: [...logits], labels: labels.length, dtypes: Object.keys(needs) };
}
globalThis.app = main().then((result) => ({ ...result, violations }), (error) => ({ error: String(error && error.stack) }));
`);
const weightsInto = (folder: string): void => copyFileSync(fixture.weightsPath, join(folder, "weights.safetensors"));
weightsInto(source);

interface Result {
  readonly error?: string;
  readonly able: { readonly ok: boolean; readonly dtype?: string };
  readonly logits: readonly number[];
  readonly labels: number;
  readonly dtypes: readonly string[];
  readonly violations: readonly string[];
}

function check(result: Result): void {
  assert.is(result.error, undefined);
  assert.ok(worstError(result.logits, expected) <= 1e-4, `${worstError(result.logits, expected)}`);
  assert.is(result.able.ok, true);
  assert.equal([result.able.dtype, result.labels, result.dtypes], ["f32", 10, ["f32"]]);
}

const test = suite("bundled packages");
const reason = await softwareReason();
if (reason !== undefined) skipAll("a bundle for Node", reason);
else {
  test("esbuild's bundle of a package runs in Node, with webgpu beside it", async () => {
    const entry = join(source, "node.js");
    writeFileSync(entry, `
import { load } from "./model/index.js";
import { values } from "./input.js";
const model = await load({ weights: process.argv[2], adapter: "software", onNotice: () => {} });
console.log(JSON.stringify([...(await model.run(Float32Array.from(values))).logits]));
model.dispose();
`);
    await build({ entryPoints: [entry], bundle: true, platform: "node", format: "esm", external: ["webgpu", "sharp"], outfile: join(root, "node/main.mjs"), logLevel: "silent" });
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "node/main.mjs"), fixture.weightsPath], { encoding: "utf8", timeout: 120_000 });
    assert.is(status, 0, stderr);
    assert.ok(worstError(JSON.parse(stdout) as number[], expected) <= 1e-4);
  });
}

const found = await findChromium();
const bundlers = fileURLToPath(new URL("../bundlers/", import.meta.url));
if ("reason" in found) skipAll("packages in pages", found.reason);
else {
  let browser: Browser;
  test.before(async () => {
    browser = await launch(found);
  });
  test.after(async () => browser.close());

  /** Opens a folder's page and waits for what its app came to. */
  async function open(folder: string, headers: Readonly<Record<string, string>> = {}): Promise<{ readonly result: Result; readonly requests: readonly string[]; readonly blocked: boolean }> {
    await using server = await serve({ "/": folder }, 0, headers);
    const page: Page = await browser.newPage();
    try {
      const requests: string[] = [];
      page.on("request", (request) => requests.push(request.url().replace(server.url, "")));
      await page.goto(`${server.url}/index.html`);
      const result = await page.evaluate("globalThis.app") as Result;
      // In an element of the page's own, which its policy is for; the tools of a debugger are above it.
      const blocked = await page.evaluate(`new Promise((done) => {
        addEventListener("securitypolicyviolation", () => done(true));
        const script = document.createElement("script");
        script.textContent = "globalThis.injected = true";
        document.head.append(script);
        setTimeout(() => done(globalThis.injected !== true), 1000);
      })`) as boolean;
      return { result, requests, blocked };
    } finally {
      await page.close();
    }
  }

  test("a package as it lies runs under default-src 'self', and fetches the weights alone", async () => {
    const { result, requests, blocked } = await open(source, { "content-security-policy": "default-src 'self'" });
    check(result);
    assert.equal(result.violations, []);
    assert.ok(blocked, "the policy holds: a script that the page did not bring is refused");
    const others = requests.filter((url) => !/^\/(index\.html|app\.js|input\.js|favicon\.ico|model\/[\w/-]+\.js)$/.test(url));
    assert.ok(others.length > 0);
    assert.equal([...new Set(others)], ["/weights.safetensors"]);
    // What this file and this input do without.
    for (const unused of ["npz", "naming", "check", "impostors", "packed", "image", "web-image", "half", "node"]) assert.not.ok(requests.includes(`/model/runtime/${unused}.js`), unused);
  });

  test("without the policy the injected script runs: the check above can fail", async () => {
    assert.is((await open(source)).blocked, false);
  });

  if (!existsSync(join(bundlers, "node_modules"))) skipAll("packages built by Vite, esbuild, webpack and Rollup", "npm --prefix test/bundlers ci installs them");
  else {
    for (const bundler of ["vite", "esbuild", "webpack", "rollup"]) {
      test(`${bundler} builds a package without a warning, and its page runs under default-src 'self'`, async () => {
        const out = join(root, bundler);
        mkdirSync(out);
        const { status, stdout, stderr } = spawnSync(process.execPath, [join(bundlers, "build.mjs"), bundler, source, out], { encoding: "utf8", timeout: 120_000, cwd: bundlers });
        assert.is(status, 0, `${stdout}${stderr}`);
        assert.is(stderr, "");
        weightsInto(out);
        const { result, requests } = await open(out, { "content-security-policy": "default-src 'self'" });
        check(result);
        assert.equal(result.violations, []);
        assert.equal([...new Set(requests.filter((url) => !/\.(html|js|ico)$/.test(url)))], ["/weights.safetensors"]);
        assert.match(readFileSync(join(out, "index.html"), "utf8"), "<script");
      });
    }
  }
}

if (reason === undefined || !("reason" in found)) test.run();
