/** The page of examples/browser, built by Vite and served under `default-src 'self'`, as somebody with a photograph meets it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import * as assert from "uvu/assert";
import { build } from "vite";
import { topClasses } from "../../runtime/classify.js";
import type { Tensor } from "../../runtime/tensor.js";
import cifar10 from "../../specs/vit-cifar10.js";
import { softwareReason } from "../tools/adapter.js";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath } from "../tools/fixtures.js";
import { importPackage, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { serve, type Server } from "../tools/serve.js";
import { skipAll, suite } from "../tools/suite.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const weights = fixturePath("vit-cifar10/model.safetensors");
const photo = (name: string): string => fixturePath(`vit-cifar10/photos/${name}.png`);

const found = await findChromium();
const reason = (await softwareReason()) ?? ("reason" in found ? found.reason : undefined);
if (reason !== undefined || "reason" in found) skipAll("the page of examples/browser", reason ?? "no browser");
else {
  const test = suite("the page of examples/browser");
  const root = temporaryFolder("page");
  let browser: Browser;
  let server: Server;
  /** What Node makes of photographs, with the same package. */
  const inNode = await (await importPackage(at("generated/vit-cifar10-attention"))).load({ weights, adapter: "software", onNotice: () => {} });

  test.before(async () => {
    await build({ root: at("examples/browser"), configFile: at("examples/vite.config.ts"), logLevel: "warn", build: { outDir: join(root, "page"), emptyOutDir: true } });
    server = await serve({ "/": join(root, "page") }, 0, { "content-security-policy": "default-src 'self'", "last-modified": "Sat, 01 Nov 2025 00:00:00 GMT" });
    browser = await launch({ ...found, args: [...found.args, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] });
  });
  test.after(async () => {
    inNode.dispose();
    await browser.close();
    await server.close();
  });

  interface Opened {
    readonly page: Page;
    readonly context: BrowserContext;
  }

  /** Opens the page and gives it to `action`; then nothing may have been logged, thrown or asked of another server. */
  async function withPage(action: (opened: Opened) => Promise<void>, options: BrowserContextOptions & { readonly script?: string; readonly loaded?: boolean; readonly before?: (context: BrowserContext) => Promise<void> } = {}): Promise<void> {
    const { script, loaded = true, before, ...rest } = options;
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...rest });
    const page = await context.newPage();
    const [said, elsewhere]: [string[], string[]] = [[], []];
    page.on("console", (message) => void (["error", "warning"].includes(message.type()) && said.push(message.text())));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => void (request.url().startsWith(server.url) || elsewhere.push(request.url())));
    try {
      if (script !== undefined) await page.addInitScript(script);
      await before?.(context);
      await page.goto(`${server.url}/`);
      if (loaded) await page.locator("#top li").first().waitFor({ state: "attached" });
      await action({ page, context });
      assert.equal([said, elsewhere], [[], []]);
    } finally {
      await context.close();
    }
  }

  const predictions = (page: Page): Promise<unknown> => page.evaluate(`[...document.querySelectorAll("#top li")].map((row) => ({ label: row.querySelector(".label").textContent, probability: Number(row.querySelector("data").value) }))`);
  /** Waits until the page shows Node's five classes, with their probabilities. */
  async function expectPredictions(page: Page, file: string, within = 1e-5): Promise<void> {
    const outputs = await inNode.run(file);
    const expected = topClasses(outputs["logits"]!, cifar10.labels!, 5);
    await eventually(async () => ((await predictions(page)) as { label: string }[]).map(({ label }) => label), expected.map(({ label }) => label));
    const shown = (await predictions(page)) as { probability: number }[];
    shown.forEach(({ probability }, i) => assert.ok(Math.abs(probability - expected[i]!.probability) < within, `${probability} beside ${expected[i]!.probability}`));
  }

  /** Hands files to the page as a drop or a paste does. */
  const give = (page: Page, kind: "drop" | "paste", path: string, type = "image/png"): Promise<unknown> =>
    page.evaluate(`(() => {
      const bytes = Uint8Array.from(atob(${JSON.stringify(readFileSync(path).toString("base64"))}), (letter) => letter.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], ${JSON.stringify(path.slice(path.lastIndexOf("/") + 1))}, { type: ${JSON.stringify(type)} }));
      document.body.dispatchEvent(${kind === "drop" ? `new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })` : `new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })`});
    })()`);

  /** A number for what the worker drew. */
  const overlay = (page: Page): Promise<string> =>
    page.evaluate(`(() => {
      const drawn = document.querySelector(".overlay");
      const copy = new OffscreenCanvas(drawn.width, drawn.height);
      const context = copy.getContext("2d");
      context.drawImage(drawn, 0, 0);
      let hash = 0;
      const { data } = context.getImageData(0, 0, drawn.width, drawn.height);
      for (let i = 0; i < data.length; i++) hash = (Math.imul(hash, 31) + data[i]) | 0;
      return drawn.width + " " + drawn.height + " " + hash;
    })()`);
  const note = (page: Page): Promise<string> => page.locator("#attention-note").innerText();

  test("photographs that are dropped, pasted, picked and taken give Node's five classes, while the page's own clock goes on", async () => {
    // The page itself asks for no device, and notes when it could do something.
    const script = `
      globalThis.ticks = [performance.now()];
      setInterval(() => ticks.push(performance.now()), 10);
      globalThis.devices = 0;
      const request = GPUAdapter.prototype.requestDevice;
      GPUAdapter.prototype.requestDevice = function (...args) { devices++; return request.apply(this, args); };`;
    await withPage(async ({ page }) => {
      await expectPredictions(page, fixturePath("preprocess/images/cat.png"));
      await give(page, "drop", photo("ship-02"));
      await expectPredictions(page, photo("ship-02"));
      await give(page, "paste", photo("frog-01"));
      await expectPredictions(page, photo("frog-01"));
      await page.setInputFiles("#file", fixturePath("preprocess/images/astronaut.jpg"));
      await eventually(() => page.locator("#picture").getAttribute("aria-label"), "Photograph: astronaut.jpg");
      // Decoders of JPEG differ by a step or two of some pixels.
      await expectPredictions(page, fixturePath("preprocess/images/astronaut.jpg"), 0.01);
      await give(page, "drop", fixturePath("vit-cifar10/config.json"), "image/jpeg");
      await eventually(async () => (await page.locator("#photograph-problem").innerText()).startsWith("config.json is no photograph"), true);
      await give(page, "drop", photo("truck-03"));
      await expectPredictions(page, photo("truck-03"));
      assert.is(await page.locator("#photograph-problem").innerText(), "");
      await page.click("#camera");
      await page.locator("#camera-take:enabled").click();
      await eventually(() => page.locator("#picture").getAttribute("aria-label"), "Photograph: camera.png");
      await eventually(() => page.locator("body").getAttribute("data-running"), null);
      assert.equal([await page.locator("#camera-dialog").isVisible(), ((await predictions(page)) as unknown[]).length], [false, 5]);
      const { longest, devices } = (await page.evaluate(`({ longest: Math.max(...ticks.slice(1).map((tick, i) => tick - ticks[i])), devices })`)) as { longest: number; devices: number };
      assert.equal([devices, page.workers().length], [0, 1]);
      // The software adapter computes on the cores that the page has.
      assert.ok(longest < 1000, `${longest} ms without a tick`);
    }, { script, permissions: ["camera"] });
  });

  test("the camera is off whenever its dialog is closed, whatever comes late, and goes on after a frame that could not be taken", async () => {
    // Cameras that answer when the test lets them, and a canvas that fails once.
    const script = `
      globalThis.asked = [];
      navigator.mediaDevices.getUserMedia = () => new Promise((resolve, reject) => {
        const canvas = document.createElement("canvas");
        canvas.getContext("2d");
        asked.push({ resolve, reject, stream: canvas.captureStream(10) });
        setInterval(() => canvas.getContext("2d").fillRect(0, 0, 9, 9), 50);
      });
      globalThis.failing = true;
      const convert = OffscreenCanvas.prototype.convertToBlob;
      OffscreenCanvas.prototype.convertToBlob = function (...args) { if (failing) { failing = false; return Promise.reject(new Error("out of memory")); } return convert.apply(this, args); };`;
    await withPage(async ({ page }) => {
      const states = (): Promise<unknown> => page.evaluate(`asked.map(({ stream }) => stream.getTracks()[0].readyState)`);
      const give = (nth: number): Promise<unknown> => page.evaluate(`asked[${nth}].resolve(asked[${nth}].stream)`);
      const [problem, take] = [page.locator("#camera-problem"), page.locator("#camera-take")];
      await page.click("#camera");
      await page.keyboard.press("Escape");
      await page.click("#camera");
      await give(0);
      await eventually(states, ["ended", "live"]);
      assert.is(await take.isEnabled(), false, "the stream of the first opening is none of the second's");
      await give(1);
      await page.locator("#camera-take:enabled").click();
      await problem.filter({ hasText: "No photograph was taken: out of memory" }).waitFor();
      assert.equal([await states(), await take.isEnabled()], [["ended", "live"], true]);
      await take.click();
      await eventually(() => page.locator("#picture").getAttribute("aria-label"), "Photograph: camera.png");
      assert.equal([await states(), await page.locator("#camera-dialog").isVisible()], [["ended", "ended"], false]);
      // An answer to an opening that is over says nothing in the next.
      await page.click("#camera");
      await page.click("#camera-close");
      await page.click("#camera");
      await page.evaluate(`asked[2].reject(new DOMException("", "NotFoundError"))`);
      await give(3);
      await page.locator("#camera-take:enabled").waitFor();
      assert.is(await problem.innerText(), "");
      await page.click("#camera-close");
      await eventually(states, ["ended", "ended", "live", "ended"]);
    }, { script });
  });

  test("attention is that of the run, and the overlay changes with the patch, the block and the head", async () => {
    await withPage(async ({ page }) => {
      const outputs = await inNode.run(fixturePath("preprocess/images/cat.png"));
      /** The patch that a query takes most from, in the page's words: places from 1, the class token is the first. */
      const strongest = (map: Tensor, head: number, query: number): string => {
        const row = [...map.subarray((head * 65 + query) * 65, (head * 65 + query + 1) * 65)];
        const best = row.indexOf(Math.max(...row.slice(1)), 1);
        return `row ${Math.floor((best - 1) / 8) + 1}, column ${((best - 1) % 8) + 1} (${(100 * row[best]!).toFixed(1)} %)`;
      };
      const seen = new Set([await overlay(page)]);
      const changed = async (): Promise<void> => {
        await eventually(async () => !seen.has(await overlay(page)), true);
        seen.add(await overlay(page));
      };
      assert.match(await note(page), /^The class token takes most .* \(rollout\)/);
      await page.selectOption("#attention-of", "block");
      await page.selectOption("#attention-block", "2");
      await page.selectOption("#attention-head", "1");
      await eventually(async () => (await note(page)).includes(`${strongest(outputs["blocks.2.attn"]!, 1, 0)} in block 3, head 2`), true);
      await changed();
      const box = (await page.locator("#patches").boundingBox())!;
      await page.mouse.click(box.x + (5.5 * box.width) / 8, box.y + (2.5 * box.height) / 8);
      await eventually(async () => (await note(page)).startsWith("The patch in row 3, column 6 takes most"), true);
      assert.ok((await note(page)).includes(strongest(outputs["blocks.2.attn"]!, 1, 1 + 2 * 8 + 5)), await note(page));
      await changed();
      await page.selectOption("#attention-head", "3");
      await eventually(async () => (await note(page)).includes(strongest(outputs["blocks.2.attn"]!, 3, 1 + 2 * 8 + 5)), true);
      await changed();
      await page.selectOption("#attention-of", "nothing");
      await eventually(() => note(page), "");
      await changed();
    });
  });

  test("without a mouse: a photograph, patches, the timeline and the tabs", async () => {
    await withPage(async ({ page }) => {
      const focused = (): Promise<string> => page.evaluate(`document.activeElement.id || document.activeElement.getAttribute("aria-label")`);
      const order: string[] = [];
      for (let i = 0; i < 40 && !order.includes("measure"); i++) {
        await page.keyboard.press("Tab");
        const name = await focused();
        order.push(name);
        // What has the focus is seen to have it.
        assert.ok(await page.evaluate(`[document.activeElement, document.activeElement.closest("label")].some((one) => one && getComputedStyle(one).outlineStyle !== "none")`), name);
        if (name === "patches") {
          await page.keyboard.press("ArrowRight");
          await page.keyboard.press("ArrowRight");
          await page.keyboard.press("ArrowUp");
          await eventually(async () => (await note(page)).startsWith("The patch in row 4, column 6"), true);
          await page.keyboard.press("Escape");
          await eventually(async () => (await note(page)).startsWith("The class token"), true);
        }
        if (name === "Sample: ship") {
          await page.keyboard.press("Enter");
          await expectPredictions(page, photo("ship-08"));
        }
      }
      for (const name of ["tab-photograph", "patches", "file", "camera", "Sample: cat", "attention-of", "measure"]) assert.ok(order.includes(name), `${name} among ${order.join(", ")}`);
      await page.keyboard.press("Enter");
      await page.locator("#timeline-lead", { hasText: "clock" }).waitFor();
      const dispatches = page.getByRole("slider");
      assert.is(await dispatches.getAttribute("aria-valuemax"), "42");
      await dispatches.focus();
      await page.keyboard.press("Home");
      assert.match((await dispatches.getAttribute("aria-valuetext"))!, /^patch_embed\.proj, \d/);
      await page.keyboard.press("ArrowRight");
      assert.match((await dispatches.getAttribute("aria-valuetext"))!, /^blocks\.0\.attn\.qkv, \d/);
      await page.locator("#tab-photograph").focus();
      await page.keyboard.press("ArrowRight");
      assert.equal([await focused(), await page.locator("#compare").isVisible(), await page.locator("#photograph").isVisible()], ["tab-compare", true, false]);
    });
  });

  test("tabs are in the address: going back leads to the one before, reloading stays, and the skip link changes neither", async () => {
    await withPage(async ({ page }) => {
      const shown = (): Promise<unknown> => page.evaluate(`[document.querySelector("[role=tab][aria-selected=true]").id, ...["photograph", "compare"].filter((id) => !document.getElementById(id).hidden), location.hash]`);
      const focused = (): Promise<string> => page.evaluate("document.activeElement.id");
      await page.click("#tab-compare");
      assert.equal(await shown(), ["tab-compare", "compare", "#compare"]);
      await page.locator("#skip").focus();
      await page.keyboard.press("Enter");
      assert.equal([await focused(), await shown()], ["content", ["tab-compare", "compare", "#compare"]]);
      await page.keyboard.press("Tab");
      assert.is(await focused(), "tab-compare");
      await page.reload();
      // The address says so at once, the tabs when the page's code has run.
      await eventually(shown, ["tab-compare", "compare", "#compare"]);
      await page.goBack();
      await eventually(shown, ["tab-photograph", "photograph", ""]);
      await page.goForward();
      await eventually(shown, ["tab-compare", "compare", "#compare"]);
      // Its panel is hidden with what had the focus.
      await page.locator("#compare-start").focus();
      await give(page, "paste", photo("frog-01"));
      await eventually(shown, ["tab-photograph", "photograph", ""]);
      assert.is(await focused(), "tab-photograph");
      await expectPredictions(page, photo("frog-01"));
    });
  });

  test("screen readers hear each stage once, and results, but no counting", async () => {
    const script = `
      globalThis.heard = [];
      new MutationObserver((records) => {
        for (const { target } of records) {
          const region = (target instanceof Element ? target : target.parentElement)?.closest("[aria-live], [role=status], [role=alert]");
          if (region?.textContent && region.textContent !== heard.at(-1)) heard.push(region.textContent);
        }
      }).observe(document, { subtree: true, childList: true, characterData: true });`;
    await withPage(async ({ page }) => {
      const heard = (): Promise<string[]> => page.evaluate("heard.splice(0)");
      await eventually(() => page.locator("body").getAttribute("data-running"), null);
      const loading = await heard();
      // Besides: a notice, the classes and the attention.
      assert.ok(loading.length <= 7, loading.join("\n"));
      assert.equal(loading.filter((text) => /^(Loading|Asking|Reading|Loaded)/.test(text)).map((text) => text.replace(/\d.*/, "")), ["Loading vit-cifar", "Asking for the GPU", "Reading weights, building kernels", "Loaded in "]);
      await page.click("#measure");
      await page.locator("#timeline-lead", { hasText: "clock" }).waitFor();
      const [timing, timed, ...rest] = await heard();
      assert.equal([timing, timed, rest], ["Timing 20 runs", await page.locator("#timeline-lead").innerText(), []]);
      await page.click("#tab-compare");
      await page.setInputFiles("#compare-files", [photo("ship-02"), photo("cat-01")]);
      await page.click("#compare-start");
      await page.locator("#compare-results table").last().waitFor({ timeout: 60_000 });
      const verdicts = await page.locator(".verdict").allInnerTexts();
      await eventually(() => page.evaluate("heard.at(-1)"), verdicts.join(" "));
      assert.equal(await heard(), ["Loading vit-cifar10-attention (A)", "Loading vit-cifar10 (B)", "Timing in turns", "Comparing predictions", verdicts.join(" ")]);
    }, { script });
  });

  test("the focus stays where it is, or goes to what takes its control's place", async () => {
    await withPage(async ({ page }) => {
      const focused = (): Promise<string> => page.evaluate(`document.activeElement.id || document.activeElement.textContent || document.activeElement.localName`);
      await page.locator("#patches").focus();
      await page.keyboard.press("ArrowRight");
      await give(page, "paste", photo("frog-01"));
      assert.is(await focused(), "patches");
      await expectPredictions(page, photo("frog-01"));
      await eventually(async () => (await note(page)).startsWith("The class token"), true);
      await page.keyboard.press("ArrowRight");
      await eventually(async () => (await note(page)).startsWith("The patch in row 5, column 5"), true);
      await page.locator("#unpick").focus();
      await page.keyboard.press("Enter");
      await eventually(focused, "patches");
      await page.locator("#measure").focus();
      await page.keyboard.press("Enter");
      assert.is(await focused(), "Stop");
      await page.locator("#timeline-lead", { hasText: "clock" }).waitFor();
      await eventually(focused, "measure");
      await page.click("#tab-compare");
      await page.locator("#compare-start").focus();
      await page.keyboard.press("Enter");
      assert.is(await focused(), "compare-stop");
      await page.keyboard.press("Enter");
      await eventually(() => page.locator("#compare-status").innerText(), "Stopped.");
      assert.is(await focused(), "compare-start");
      // Whoever has gone elsewhere meanwhile is left there.
      await page.keyboard.press("Enter");
      await page.locator("#compare-files").focus();
      await page.evaluate(`document.getElementById("compare-stop").click()`);
      await page.locator("#compare-start:enabled").waitFor();
      assert.is(await focused(), "compare-files");
    });
  });

  test("nothing below the photograph moves while the model loads, nor when a photograph of another shape comes", async () => {
    for (const viewport of [{ width: 1280, height: 900 }, { width: 390, height: 844 }]) {
      await withPage(async ({ page, context }) => {
        const tops = (): Promise<unknown> => page.evaluate(`["samples", "top", "attention", "model-menu", "measure"].map((id) => Math.round(document.getElementById(id).getBoundingClientRect().top + scrollY))`);
        // What is said of the software adapter takes room of its own.
        await page.evaluate(`document.getElementById("notices").style.display = "none"`);
        await page.locator(".stage.filled").waitFor();
        const before = await tops();
        await context.unroute("**/*.safetensors");
        await page.locator("#load-status button").click();
        await page.locator("#load-status button").click();
        await page.locator(".stage.seen").waitFor();
        assert.equal(await tops(), before);
        for (const file of ["astronaut.jpg", "tiny-53x37.png"]) {
          await page.setInputFiles("#file", fixturePath(`preprocess/images/${file}`));
          await page.locator(`.stage.seen #picture[aria-label="Photograph: ${file}"]`).waitFor();
          assert.equal(await tops(), before, file);
          const [photo, stage] = [(await page.locator("#picture").boundingBox())!, (await page.locator("#stage").boundingBox())!];
          assert.ok(Math.abs(photo.width / photo.height - (file === "astronaut.jpg" ? 1 : 53 / 37)) < 0.01 && photo.width <= stage.width && photo.height <= stage.height, JSON.stringify([photo, stage]));
        }
      }, { viewport, loaded: false, before: async (context) => void (await context.route("**/*.safetensors", () => undefined)) });
    }
  });

  test("a photograph that the model refuses leaves nothing of the one before", async () => {
    await withPage(async ({ page }) => {
      await page.locator(".stage.seen").waitFor();
      await page.setInputFiles("#file", fixturePath("preprocess/formats/cmyk.jpg"));
      await page.locator("#photograph-problem", { hasText: "CMYK" }).waitFor();
      assert.equal([await predictions(page), await note(page), await page.locator(".overlay").isVisible()], [[], "", false]);
      await page.click("[aria-label='Sample: frog']");
      await expectPredictions(page, photo("frog-03"));
      await page.locator(".stage.seen").waitFor();
      assert.equal([await page.locator("#photograph-problem").innerText(), await page.locator(".overlay").isVisible()], ["", true]);
    });
  });

  test("a device that is destroyed in the middle of a run is replaced, and the run answers", async () => {
    await withPage(async ({ page }) => {
      await eventually(() => page.locator("body").getAttribute("data-running"), null);
      await page.locator("#device-loss summary").click();
      // At once, while the photograph is decoded, and while it is computed.
      for (const [i, [sample, file]] of ([["truck", "truck-05"], ["frog", "frog-03"], ["ship", "ship-08"]] as const).entries()) {
        await page.evaluate(`new Promise((done) => {
          document.querySelector("[aria-label='Sample: ${sample}']").click();
          const lose = () => (document.getElementById("lose").click(), done());
          const wait = () => (document.body.dataset.running ? setTimeout(lose, ${i} * 25) : setTimeout(wait));
          wait();
        })`);
        await expectPredictions(page, photo(file));
      }
      await eventually(async () => (await page.locator("#notices").innerText()).includes("lost"), true);
      await give(page, "drop", photo("deer-03"));
      await expectPredictions(page, photo("deer-03"));
      await page.click("#measure");
      await page.locator("#timeline-lead", { hasText: "clock" }).waitFor();
    });
  });

  test("two packages are compared in turns", async () => {
    await withPage(async ({ page }) => {
      await page.click("#tab-compare");
      await page.setInputFiles("#compare-files", [photo("ship-02"), photo("cat-01"), photo("deer-03")]);
      await page.click("#compare-start");
      await page.locator("#compare-results table").last().waitFor({ timeout: 60_000 });
      const [latency, agreement] = await page.locator("#compare-results").locator("section").all();
      const medians = (await latency!.locator("data").evaluateAll((all) => all.map((each) => Number((each as HTMLDataElement).value)))) as number[];
      assert.ok(medians.length === 2 && medians.every((median) => median > 1 && median < 5000), medians.join());
      const [a, b] = medians as [number, number];
      const ratio = Math.max(a, b) / Math.min(a, b);
      assert.is(await latency!.locator(".verdict").innerText(), ratio < 1.02 ? "Both take the same, within 2 %." : `${a < b ? "A" : "B"} is ${ratio.toFixed(2)} times as fast.`);
      // The same weights: whatever else is computed beside, classes are the same.
      assert.match(await agreement!.locator(".verdict").innerText(), /^The same best class for 3 of 3 photographs; probabilities differ by at most \d\.\de-[6-9]\.$/);
      assert.is(await agreement!.locator("tbody tr").count(), 3);
      assert.is(page.workers().length, 1, "those of the comparison are ended");
    });
  });

  test("a package of the user's own, from a folder, with weights from it or beside it", async () => {
    const folder = join(root, "mine");
    mkdirSync(folder);
    await writeCompiled(join(folder, "my-vit"), { ...cifar10, name: "my-vit", batch: [1] });
    await writeCompiled(join(folder, "shared"), cifar10, { sharedRuntime: true });
    mkdirSync(join(folder, "empty"));
    writeFileSync(join(folder, "empty/readme.txt"), "nothing");
    await withPage(async ({ page }) => {
      const menu = page.locator("#model-menu");
      const open = async (name: string): Promise<void> => menu.locator("input[webkitdirectory]").setInputFiles(join(folder, name));
      await open("shared");
      await eventually(async () => (await menu.locator(".problem").innerText()).includes("--shared-runtime"), true);
      await open("empty");
      await eventually(async () => (await menu.locator(".problem").innerText()).startsWith("empty is no package of vitc"), true);
      await open("my-vit");
      await menu.getByText("This folder has no weights.").waitFor();
      await menu.locator("input[type=file]").last().setInputFiles(weights);
      await eventually(async () => (await page.locator("#timeline-lead").innerText()).startsWith("34 dispatches"), true);
      await expectPredictions(page, fixturePath("preprocess/images/cat.png"));
      assert.match(await note(page), /^This package returns no attention maps/);
      assert.is(await menu.locator("select").inputValue(), "my-vit");
      // Left and kept for going back, the page comes back with its package; left for good, it takes the modules along.
      const leave = (persisted: boolean): Promise<unknown> => page.evaluate(`dispatchEvent(new PageTransitionEvent("pagehide", { persisted: ${persisted} }))`);
      await leave(true);
      await menu.locator("select").selectOption("vit-cifar10");
      await eventually(async () => (await page.locator("#load-status").innerText()).startsWith("Loaded in"), true);
      await menu.locator("select").selectOption("my-vit");
      await eventually(async () => [await page.locator("#load-status").innerText(), await page.locator("#model-problem").innerText()].map((text) => text.slice(0, 9)), ["Loaded in", ""]);
      await leave(false);
      await eventually(() => page.evaluate(`caches.keys().then((names) => names.filter((name) => name.startsWith("vitc-page-package-")).length)`), 0);
    });
  });

  test("loading can be stopped, tried again, and another package chosen", async () => {
    await withPage(async ({ page, context }) => {
      await eventually(async () => (await page.locator("#load-status").innerText()).includes("Stop"), true);
      await page.locator("#load-status button").focus();
      await page.keyboard.press("Enter");
      await page.locator("#load-status", { hasText: "Stopped." }).waitFor();
      assert.is(await page.evaluate("document.activeElement.textContent"), "Try again");
      await page.keyboard.press("Enter");
      assert.is(await page.evaluate("document.activeElement.textContent"), "Stop");
      await page.keyboard.press("Enter");
      await context.unroute("**/*.safetensors");
      await page.locator("#load-status button", { hasText: "Try again" }).click();
      await expectPredictions(page, fixturePath("preprocess/images/cat.png"));
      await page.locator("#model-menu select").selectOption("vit-cifar10");
      await expectPredictions(page, fixturePath("preprocess/images/cat.png"));
    }, { loaded: false, before: async (context) => void (await context.route("**/*.safetensors", () => undefined)) });
  });

  for (const [what, script, words] of [
    ["no WebGPU", `Object.defineProperty(Navigator.prototype, "gpu", { value: undefined })`, "This browser has no WebGPU"],
    ["no adapter", `GPU.prototype.requestAdapter = () => Promise.resolve(null)`, "found no graphics adapter"],
  ] as const) {
    test(`with ${what} the page says what to do, this browser first`, async () => {
      await withPage(async ({ page }) => {
        await page.locator("#unsupported").waitFor();
        assert.ok((await page.locator("#unsupported-reason").innerText()).includes(words));
        assert.is(await page.locator("#unsupported-advice dt").first().innerText(), "Chrome (this browser)");
        assert.is(await page.locator("#unsupported-advice dt").count(), 5);
        assert.is(await page.locator("#panel").isVisible(), false);
      }, { script, loaded: false });
    });
  }

  test("fits a phone of 390 pixels, in both tabs, in light and in dark", async () => {
    await withPage(async ({ page }) => {
      const width = (): Promise<number> => page.evaluate("document.documentElement.scrollWidth");
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        assert.is(await width(), 390);
        await page.click("#tab-compare");
        assert.is(await width(), 390);
        await page.click("#tab-photograph");
      }
      await page.click("#timeline summary");
      assert.is(await width(), 390);
    }, { viewport: { width: 390, height: 844 } });
  });

  test.run();
}

/** Reads until `expected` comes out: what follows a click or a key reaches the page after it has returned. */
async function eventually<T>(read: () => Promise<T>, expected: T): Promise<void> {
  const deadline = performance.now() + 20_000;
  let value = await read();
  while (!isDeepStrictEqual(value, expected) && performance.now() < deadline) {
    await setTimeout(30);
    value = await read();
  }
  assert.equal(value, expected);
}
