import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Browser, Page } from "playwright-core";
import * as assert from "uvu/assert";
import { sweepPage } from "../../compiler/sweep/page/index.js";
import type { Row } from "../../compiler/sweep/row.js";
import { findChromium, launch } from "../tools/chromium.js";
import { skipAll, suite } from "../tools/suite.js";
import { madeRows } from "../tools/sweep-rows.js";

const { rows, columns } = madeRows();
const good = rows.filter(({ failed }) => failed === null);
const hostile = `</script><img src=x onerror=document.title="bad">`;
const many = madeRows({ depths: [4, 6, 8, 10, 12, 14, 16, 18, 20, 24], widths: 10, patches: [8, 12, 14, 16, 20, 24, 28, 32, 40, 48], images: [128, 160, 192, 224, 240, 256, 288, 320, 352, 384] });

const found = await findChromium();
if ("reason" in found) skipAll("the page of a sweep in a browser", found.reason);
else {
  const test = suite("the page of a sweep in a browser");
  let browser: Browser;
  const folder = mkdtempSync(join(tmpdir(), "vitc-sweep-page-"));

  test.before(async () => {
    const pages = {
      edge: sweepPage(rows, columns, { title: "edge", x: "params_m", y: "gmacs", color: "depth", notices: ["The adapter is software."] }),
      hostile: sweepPage([{ ...good[0]!, name: hostile }, ...good.slice(1, 9), { ...good[1]!, gmacs: null, failed: hostile }], columns, { title: hostile, notices: [hostile] }),
      many: sweepPage(many.rows, many.columns, { title: "many" }),
    };
    for (const [name, html] of Object.entries(pages)) writeFileSync(join(folder, `${name}.html`), await html);
    browser = await launch(found);
  });
  test.after(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens a page from its file and gives it to `action`; then nothing may have been requested, logged or thrown. */
  const withPage = async (name: string, options: { width: number; dark?: boolean }, action: (page: Page) => Promise<void>): Promise<void> => {
    const page = await browser.newPage({ viewport: { width: options.width, height: 900 }, colorScheme: options.dark ? "dark" : "light" });
    const [said, requested]: [string[], string[]] = [[], []];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => requested.push(request.url()));
    const address = pathToFileURL(join(folder, `${name}.html`)).href;
    try {
      await page.goto(address);
      await page.waitForSelector("html[data-ready]", { state: "attached" });
      await action(page);
      assert.equal(said, []);
      assert.equal(requested.filter((url) => !url.startsWith("data:")), [address]);
    } finally {
      await page.close();
    }
  };
  const names = (page: Page): Promise<string[]> => page.locator("#rows tbody .pick").allInnerTexts();
  const column = (page: Page, index: number): Promise<string[]> => page.locator(`#rows tbody tr > :nth-child(${index})`).allInnerTexts();
  /** Where a value stands in the window, on a plot whose axes ECharts knows. */
  const placeOf = async (page: Page, id: string, finder: string, value: string): Promise<readonly [number, number]> => {
    await page.locator(`#${id}`).scrollIntoViewIfNeeded();
    return page.evaluate(`(() => {
      const holder = document.getElementById("${id}");
      const { left, top } = holder.querySelector("canvas").getBoundingClientRect();
      const [x, y] = echarts.getInstanceByDom(holder).convertToPixel(${finder}, ${value});
      return [left + x, top + y];
    })()`);
  };

  for (const width of [1400, 390]) {
    test(`fits a window of ${width} pixels in light and in dark, with every plot drawn`, async () => {
      for (const dark of [false, true]) {
        await withPage("edge", { width, dark }, async (page) => {
          assert.is(await page.evaluate("document.documentElement.scrollWidth"), width);
          assert.equal(await page.evaluate("[...document.querySelectorAll('main > section')].map((section) => section.id)"), ["plot", "by-tokens", "coordinates", "table", "failed"]);
          // Each depth's points, those on the front once more, and the front.
          const kinds = (id: string): Promise<string[]> => page.evaluate(`echarts.getInstanceByDom(document.getElementById("${id}")).getOption().series.map((one) => one.type)`);
          assert.equal([...new Set(await kinds("scatter"))], ["scatter", "line"]);
          assert.is((await kinds("tokens")).filter((kind) => kind === "line").length, 6, "a line for each depth, of costs and of shares");
          assert.equal(await kinds("parallel"), ["parallel"]);
          for (const id of ["scatter", "tokens", "parallel"]) assert.ok((await colorsOf(page, id)) > 20, `${id} has pixels of many colours`);
        });
      }
    });
  }

  test("the table sorts by click and by keyboard, and keeps the focus", async () => {
    await withPage("edge", { width: 1400 }, async (page) => {
      assert.equal(await names(page), good.map(({ name }) => name), "the order of the sweep");
      const heading = page.locator("#rows th", { has: page.locator("[data-sort=gmacs]") });
      await page.click("[data-sort=gmacs]");
      const sorted = good.toSorted((a, b) => a.gmacs! - b.gmacs!).map(({ name }) => name);
      await eventually(() => names(page), sorted);
      assert.is(await heading.getAttribute("aria-sort"), "ascending");
      await page.keyboard.press("Enter");
      await eventually(() => heading.getAttribute("aria-sort"), "descending");
      assert.is((await names(page))[0], sorted.at(-1));
      assert.is(await page.evaluate("document.activeElement.dataset.sort"), "gmacs");
      await page.keyboard.press("Space");
      await eventually(() => names(page), good.map(({ name }) => name), "the third time the order of the sweep again");
    });
  });

  test("the filter narrows table and plots, and says what it does not understand", async () => {
    await withPage("edge", { width: 1400 }, async (page) => {
      await page.fill("#filter", "depth = 12 && gmacs < 2");
      const kept = good.filter((row) => row["depth"] === 12 && row.gmacs! < 2);
      assert.ok(kept.length > 3 && kept.length < good.length);
      await eventually(() => names(page), kept.map(({ name }) => name));
      assert.match((await page.locator("#scatter-note").innerText()), new RegExp(`^${kept.length} of ${good.length} variants`));
      assert.is(await page.evaluate("echarts.getInstanceByDom(document.getElementById('parallel')).getOption().series[0].data.length"), kept.length);
      await page.fill("#filter", "dept = 12");
      await eventually(() => page.locator("#filter-problem").innerText(), "there is no column dept; there is depth");
      assert.is((await names(page)).length, kept.length, "what was understood last stays");
      await page.fill("#filter", "");
      await eventually(async () => (await names(page)).length, good.length);
    });
  });

  test("columns come and go", async () => {
    await withPage("edge", { width: 1400 }, async (page) => {
      assert.is(await page.locator("[data-sort=plan_hash]").count(), 0);
      await page.click("summary");
      await page.check("#columns input[value=plan_hash]");
      await eventually(() => page.locator("[data-sort=plan_hash]").count(), 1);
      const index = 1 + ((await page.evaluate("[...document.querySelectorAll('#rows th [data-sort]')].findIndex((one) => one.dataset.sort === 'plan_hash')")) as number);
      assert.equal(await column(page, index), good.map(({ plan_hash }) => plan_hash));
      await page.uncheck("#columns input[value=plan_hash]");
      await eventually(() => page.locator("[data-sort=plan_hash]").count(), 0);
    });
  });

  test("hovering a point shows its numbers, a click keeps them, and the table's name button does the same", async () => {
    await withPage("edge", { width: 1400 }, async (page) => {
      // The point with the most parameters has no neighbour that hides it.
      const row = good.toSorted((a, b) => b.gmacs! - a.gmacs!)[0]!;
      await page.mouse.move(...(await placeOf(page, "scatter", '{ xAxisIndex: 0, yAxisIndex: 0 }', `[${row.params_m}, ${row.gmacs}]`)));
      const tip = page.locator("#scatter .tip");
      await eventually(async () => (await tip.count()) > 0 && (await tip.innerText()).includes(row.name), true);
      assert.ok((await tip.innerText()).includes(row.tokens!.toString()));
      await page.mouse.click(...(await placeOf(page, "scatter", '{ xAxisIndex: 0, yAxisIndex: 0 }', `[${row.params_m}, ${row.gmacs}]`)));
      await eventually(() => page.locator("#picked h3").innerText(), row.name);
      assert.ok((await page.locator("#picked").innerText()).includes(row.plan_hash!));
      assert.is(await page.locator("#rows tr.picked .pick").innerText(), row.name);
      await page.click("#unpick");
      assert.is(await page.locator("#picked").isVisible(), false);
      await page.locator("#rows .pick").nth(4).press("Enter");
      await eventually(() => page.locator("#picked h3").innerText(), good[4]!.name);
    });
  });

  test("the front follows the chosen columns and the wanted ends", async () => {
    await withPage("edge", { width: 1400 }, async (page) => {
      const front = (): Promise<number> => page.locator("#rows tbody .front").count();
      // Fewest parameters and fewest operations: by the definition, over all pairs.
      const best = (better: (a: Row, b: Row) => boolean): number => good.filter((row) => !good.some((other) => better(other, row))).length;
      const fewer = best((a, b) => a.params_m! <= b.params_m! && a.gmacs! <= b.gmacs! && (a.params_m! < b.params_m! || a.gmacs! < b.gmacs!));
      const more = best((a, b) => a.params_m! >= b.params_m! && a.gmacs! <= b.gmacs! && (a.params_m! > b.params_m! || a.gmacs! < b.gmacs!));
      assert.is.not(fewer, more);
      assert.is(await front(), fewer);
      await page.selectOption("#want-x", "more");
      await eventually(front, more);
      await page.selectOption("#y", "activation_mb");
      await eventually(() => page.locator("#scatter-note").innerText().then((text) => text.endsWith("more params and less activations.")), true);
      await page.check("#log-x");
      await eventually(() => page.evaluate("echarts.getInstanceByDom(document.getElementById('scatter')).getOption().xAxis[0].type"), "log");
    });
  });

  for (const width of [1400, 390]) {
    test(`a range that is dragged on an axis keeps what passes through it, ${width} pixels wide`, async () => {
      await withPage("edge", { width }, async (page) => {
        await page.locator("#parallel").scrollIntoViewIfNeeded();
        const box = (await page.locator("#parallel canvas").boundingBox())!;
        // The first axis is of depth; from its middle value on, to its end.
        const [from, to] = width > 640 ? [[50, 0.62], [50, 0.06]].map(([x, y]) => [box.x + x!, box.y + 44 + (box.height - 70) * y!]) : [[0.4, 20], [1.02, 20]].map(([x, y]) => [box.x + 86 + (box.width - 110) * x!, box.y + y!]);
        await page.mouse.move(from![0]!, from![1]!);
        await page.mouse.down();
        await page.mouse.move((from![0]! + to![0]!) / 2, (from![1]! + to![1]!) / 2);
        await page.mouse.move(to![0]!, to![1]!);
        await page.mouse.up();
        const kept = good.filter((row) => row["depth"] !== 6);
        await eventually(() => names(page), kept.map(({ name }) => name));
        assert.ok((await page.locator("#brush-note").innerText()).includes(`${kept.length} of ${good.length} variants pass`));
        await page.click("#brushed");
        await eventually(async () => (await names(page)).length, good.length);
        assert.is(await page.locator("#brushed").isVisible(), false);
      });
    });
  }

  test("a hostile name is text wherever it stands", async () => {
    await withPage("hostile", { width: 1400 }, async (page) => {
      const row = good[0]!;
      await page.locator("#rows .pick").first().click();
      assert.is(await page.locator("#picked h3").innerText(), hostile);
      const x = await page.inputValue("#x");
      const y = await page.inputValue("#y");
      await page.mouse.move(...(await placeOf(page, "scatter", '{ xAxisIndex: 0, yAxisIndex: 0 }', `[${row[x] as number}, ${row[y] as number}]`)));
      await eventually(async () => (await page.locator("#scatter .tip").count()) > 0 && (await page.locator("#scatter .tip b").innerText()) === hostile, true);
      assert.is(await page.locator("img").count(), 0);
      assert.is(await page.title(), `${hostile}, a sweep`);
    });
  });

  test("a script that is not the page's own does not run", async () => {
    const page = await browser.newPage();
    try {
      await page.goto(pathToFileURL(join(folder, "edge.html")).href);
      await page.evaluate("(() => { const script = document.createElement('script'); script.textContent = 'document.title = \"ran\"'; document.body.append(script); })()");
      assert.is(await page.title(), "edge, a sweep");
    } finally {
      await page.close();
    }
  });

  test("10,000 rows are all there, and the table draws more when asked", async () => {
    await withPage("many", { width: 1400 }, async (page) => {
      const known = many.rows.filter(({ failed }) => failed === null).length;
      assert.is(await page.locator("#count").innerText(), `${known} of ${known} variants, the first 100 shown`);
      assert.is(await page.locator("#rows tbody tr").count(), 100);
      await page.click("#more");
      await eventually(() => page.locator("#rows tbody tr").count(), 500);
      await page.fill("#filter", "depth=24 dim=768 patch=48 image=384");
      await eventually(() => names(page), many.rows.filter((row) => row.failed === null && row.name.endsWith("depth24-dim768-patch48-image384")).map(({ name }) => name));
      assert.is(await page.locator("#rows tbody tr").count(), 1);
    });
  });

  test.run();
}

/** Reads until `expected` comes out: what follows a click or a key reaches the page after it has returned. */
async function eventually<T>(read: () => Promise<T>, expected: T, message?: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  let value = await read();
  while (!isDeepStrictEqual(value, expected) && performance.now() < deadline) {
    await setTimeout(30);
    value = await read();
  }
  assert.equal(value, expected, message);
}

/** How many colours the canvas of a plot has. */
function colorsOf(page: Page, id: string): Promise<number> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector("#${id} canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  })()`);
}
