/** Runtimes in headless Chromium: one browser for each, with a page that races vitc's package, onnxruntime-web's WebGPU build or transformers.js. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import typescript from "typescript";
import { version as vitcVersion } from "../../../compiler/version.js";
import { findChromium, launch, type Chromium } from "../../tools/chromium.js";
import { serve } from "../../tools/serve.js";
import { packageFolder, packageVersion } from "./installed.js";
import type { PageJob } from "./page.js";
import { inputName, outputName, type Job, type Opened } from "./runtime.js";

/** What the page calls; page.ts exports it. */
type PageModule = typeof import("./page.js");

const source = new URL("page.ts", import.meta.url);

/** Writes the page into the folder that will be served. */
export function writePage(root: string): void {
  const { outputText } = typescript.transpileModule(readFileSync(source, "utf8"), { compilerOptions: { target: typescript.ScriptTarget.ES2022, module: typescript.ModuleKind.ESNext } });
  writeFileSync(join(root, "page.js"), outputText);
  // transformers.js names its libraries as a bundler would find them.
  const imports = { "onnxruntime-web/webgpu": "/transformers-ort/dist/ort.webgpu.bundle.min.mjs", "onnxruntime-common": "/transformers-common/dist/esm/index.js" };
  writeFileSync(join(root, "index.html"), `<!doctype html><title>peers</title><script type="importmap">${JSON.stringify({ imports })}</script>`);
}

const transformers = "@huggingface/transformers";
const versions: Readonly<Record<PageJob["kind"], () => string>> = { vitc: () => vitcVersion, onnxruntime: () => packageVersion("onnxruntime-web"), transformers: () => packageVersion(transformers) };

export async function open(job: Job): Promise<Opened> {
  const kind = job.variant.page ?? "vitc";
  const version = versions[kind]();
  const found = await findChromium();
  if ("reason" in found) throw new Error(found.reason);
  const server = await serve({ "/": job.root, ...librariesOf(kind) });
  const { browser, page, adapter } = await openAdapter(found, job, server.url);
  const result = (await call(page, "open", pageJob(job, kind))) as number;
  return {
    version: `${version} (Chromium ${browser.version()})`,
    adapter,
    loadMilliseconds: result,
    async run() {
      const { milliseconds, output } = (await call(page, "runOnce")) as Awaited<ReturnType<PageModule["runOnce"]>>;
      return { milliseconds, output: Float32Array.from(output) };
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

const pageJob = ({ name, package: folder, weights, models, onnx, input, shape, adapter, dtype }: Job, kind: PageJob["kind"]): PageJob => ({
  kind, name, shape, adapter, dtype, inputName, outputName,
  package: `/${folder}`, weights: `/${weights}`, models: `/${models}/`, onnx: `/${onnx}`, input: `/${input}`,
  libraries: { onnxruntime: "/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs", transformers: "/transformers/dist/transformers.web.min.js", transformersWasm: "/transformers-ort/dist/" },
}); // prettier-ignore

function librariesOf(kind: PageJob["kind"]): Readonly<Record<string, string>> {
  switch (kind) {
    case "vitc":
      return {};
    case "onnxruntime":
      return { "/onnxruntime-web/": packageFolder("onnxruntime-web") };
    case "transformers":
      // It pins an onnxruntime-web of its own.
      return { "/transformers/": packageFolder(transformers), "/transformers-ort/": packageFolder("onnxruntime-web", { inside: transformers }), "/transformers-common/": packageFolder("onnxruntime-common", { inside: transformers }) };
  }
}

/** Calls a function of page.ts in the page. */
const call = (page: Page, name: keyof PageModule, ...args: readonly PageJob[]): Promise<unknown> => page.evaluate(`import("/page.js").then((module) => module.${name}(...${JSON.stringify(args)}))`);

// ---------------------------------------------------------------------------------------------------- adapters

/** Flags that tie the browser to the software adapter; without them it looks for a GPU. */
const softwareFlags = ["--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader"];
const gpuFlags = ["--use-angle=vulkan", "--enable-features=Vulkan", "--disable-vulkan-surface", "--ignore-gpu-blocklist"];

/** A browser with a page that has an adapter: `auto` tries the machine's own first. */
async function openAdapter(found: Chromium, { adapter: wish }: Job, url: string): Promise<{ readonly browser: Browser; readonly page: Page; readonly adapter: string }> {
  const own: Chromium = { ...found, args: [...found.args.filter((flag) => !softwareFlags.includes(flag)), ...gpuFlags] };
  for (const chromium of wish === "auto" ? [own, found] : [found]) {
    const browser = await launch(chromium);
    const page = await browser.newPage();
    await page.goto(`${url}/`);
    const adapter = (await call(page, "adapterName")) as string | undefined;
    if (adapter !== undefined) return { browser, page, adapter };
    await browser.close();
  }
  throw new Error("this Chromium has no WebGPU adapter");
}
