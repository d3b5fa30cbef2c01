import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Browser, Page } from "playwright-core";
import * as assert from "uvu/assert";
import { explain } from "../../compiler/explain/explain.js";
import { html } from "../../compiler/explain/html.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { findChromium, launch } from "../tools/chromium.js";
import { serve, type Server } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const specs: readonly ViTSpec[] = [
  { name: "deep", image: 224, patch: 16, dim: 192, depth: 24, heads: 3, outputs: ["blocks.*"], batch: [1, 8] },
  { name: "stem", image: [48, 144], channels: 1, stem: [{ channels: 8, kernel: 3, stride: 2 }], patch: 4, dim: 64, depth: 1, heads: 1, classes: 0, pool: "max", tokens: { class: false } },
  { name: "distilled", image: 64, patch: 16, dim: 192, depth: 6, heads: 3, tokens: { class: true, distillation: true }, classes: 2, labels: ["<img src=x onerror=alert(1)>", "dog"] },
];

const found = await findChromium();
if ("reason" in found) skipAll("the explain page", found.reason);
else {
  const test = suite("the explain page");
  let browser: Browser;
  let server: Server;
  const folder = mkdtempSync(join(tmpdir(), "vitc-explain-"));

  test.before(async () => {
    for (const spec of specs) writeFileSync(join(folder, `${spec.name}.html`), html(explain(spec)));
    [browser, server] = await Promise.all([launch(found), serve({ "/": folder })]);
  });
  test.after(async () => {
    await Promise.all([browser.close(), server.close()]);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens a page and gives it to `action`; then nothing may have been requested, logged or thrown. */
  const withPage = async (name: string, options: { width: number; dark?: boolean }, action: (page: Page) => Promise<void>): Promise<void> => {
    const page = await browser.newPage({ viewport: { width: options.width, height: 900 }, colorScheme: options.dark ? "dark" : "light" });
    const [said, requested]: [string[], string[]] = [[], []];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => requested.push(request.url()));
    const address = `${server.url}/${name}.html`;
    try {
      await page.goto(address);
      await action(page);
      assert.equal(said, []);
      assert.equal(requested.filter((url) => !url.startsWith("data:")), [address]);
    } finally {
      await page.close();
    }
  };

  for (const { name } of specs) {
    for (const width of [1280, 390]) {
      test(`${name} fits a window of ${width} pixels, in light and in dark`, async () => {
        for (const dark of [false, true]) {
          await withPage(name, { width, dark }, async (page) => {
            assert.is(await page.evaluate("document.documentElement.scrollWidth"), width);
            assert.equal(await page.evaluate("[...document.querySelectorAll('main > section')].map((section) => section.id)"), ["model", "graph", "passes", "dispatches", "memory", "routines", "kernels"]);
            assert.ok((await contrasts(page)) >= 4.5, `${name}: text stands out ${(await contrasts(page)).toFixed(2)} : 1`);
          });
        }
      });
    }
  }

  test("the check of contrast sees faint text", async () => {
    await withPage("stem", { width: 390 }, async (page) => {
      await page.evaluate("document.querySelector('h1').style.color = '#bbb'");
      assert.ok((await contrasts(page)) < 4.5);
    });
  });

  test("the filter and the legend hide rows", async () => {
    await withPage("deep", { width: 1280 }, async (page) => {
      const rows = page.locator("tbody tr[data-kind]:not([hidden])");
      const all = await rows.count();
      await page.fill("#filter", "ATTN qkv");
      await eventually(() => rows.count(), 2, "block 0, and the blocks after it");
      await page.fill("#filter", "");
      await eventually(() => rows.count(), all);
      const attentions = await page.locator("tbody tr[data-kind=attention]").count();
      assert.ok(attentions > 0 && attentions < all);
      await page.click("button[data-kind=attention]");
      await eventually(async () => [await rows.count(), await page.getAttribute("button[data-kind=attention]", "aria-pressed")], [all - attentions, "false"]);
    });
  });

  test("a dispatch lights up wherever it is shown, and the links of a routine and of a kernel open them", async () => {
    await withPage("deep", { width: 1280 }, async (page) => {
      await page.hover("tbody tr[data-dispatch='3']");
      await eventually(async () => (await page.locator(".lit[data-dispatch='3']").count()) >= 3, true, "in graph, table and timeline");
      await page.click("tbody tr[data-dispatch='3'] a");
      await eventually(() => page.locator("details.routine[open] tbody tr").count().then((ways) => ways > 1), true);
      await page.locator("details.routine[open] tbody a").first().click();
      await eventually(() => page.locator("details.kernel[open] pre").count(), 1);
    });
  });

  test("a hostile label is text", async () => {
    await withPage("distilled", { width: 390 }, async (page) => {
      assert.is(await page.locator("img").count(), 0);
      assert.ok((await page.locator("#model").innerText()).includes("<img src=x onerror=alert(1)>"));
    });
  });

  test.run();
}

/** Reads until `expected` comes out. What follows a click, such as an event of the address, reaches the page after the click has returned. */
async function eventually<T>(read: () => Promise<T>, expected: T, message?: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  let value = await read();
  while (!isDeepStrictEqual(value, expected) && performance.now() < deadline) {
    await setTimeout(20);
    value = await read();
  }
  assert.equal(value, expected, message);
}

/** The least contrast between a text and the ground behind it, as WCAG 2 counts it; text on bars and drawings is left out. */
function contrasts(page: Page): Promise<number> {
  return page.evaluate(`(() => {
    const channels = (color) => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (color) => channels(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const pairs = new Map();
    for (const element of document.querySelectorAll("body *:not(svg *):not(script)")) {
      if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "")) continue;
      let ground = element;
      while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
      const pair = [getComputedStyle(element).color, getComputedStyle(ground ?? document.body).backgroundColor];
      pairs.set(pair.join(), pair);
    }
    return Math.min(...[...pairs.values()].map((pair) => {
      const [a, b] = pair.map(luminance);
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }));
  })()`);
}
