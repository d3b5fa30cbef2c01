/**
 * A headless Chromium with WebGPU on SwiftShader, for browser tests. It comes packed in the npm package `@sparticuz/chromium` (Linux x64) and
 * is unpacked once, into the runtime's cache folder.
 */
import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium, type Browser } from "playwright-core";
import { chromiumBinaries, swiftShaderPackage, unpack } from "../../runtime/node-software.js";

/** A browser to launch. */
export interface Chromium {
  readonly executablePath: string;
  readonly env: Readonly<Record<string, string>>;
  readonly args: readonly string[];
}

const args = [
  // WebGPU on a software adapter is behind this flag; --use-webgpu-adapter=swiftshader alone gives no adapter.
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-unsafe-swiftshader",
  // Nothing but the page under test should use the network.
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
  "--no-first-run",
  // /dev/shm is small in many containers.
  "--disable-dev-shm-usage",
];

/**
 * The Chromium to test with: the executable in `VITC_CHROMIUM`, or the packed one. Never throws: what is missing is the reason of a skip.
 */
export async function findChromium(): Promise<Chromium | { readonly reason: string }> {
  // Chromium's sandbox refuses to start for root.
  const flags = process.getuid?.() === 0 ? [...args, "--no-sandbox"] : args;
  const named = process.env["VITC_CHROMIUM"];
  if (named !== undefined && named !== "") {
    return existsSync(named) ? { executablePath: named, env: environment({}), args: flags } : { reason: `VITC_CHROMIUM is ${named}, where there is no file` };
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { reason: `the packed Chromium is for Linux x64, and this is ${process.platform} ${process.arch}: set VITC_CHROMIUM to a Chrome's executable` };
  }
  const binaries = chromiumBinaries();
  if (binaries === undefined) return { reason: `no Chromium: npm install --save-dev ${swiftShaderPackage}, or set VITC_CHROMIUM to an executable` };
  try {
    const folder = await unpack(
      "chromium",
      [
        { path: join(binaries, "chromium.br"), file: "chromium" },
        // Chromium looks for its Vulkan driver and for ANGLE beside its executable.
        ...["swiftshader.tar.br", "al2023.tar.br", "fonts.tar.br"].map((name) => ({ path: join(binaries, name) })),
      ],
      ["chromium", "libvk_swiftshader.so", "lib/libnss3.so", "fonts/Open_Sans/OpenSans-Regular.ttf"],
    );
    const libraries = [join(folder, "lib"), process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":");
    return { executablePath: join(folder, "chromium"), env: environment({ LD_LIBRARY_PATH: libraries, FONTCONFIG_FILE: await fontConfiguration(folder) }), args: flags };
  } catch (error) {
    return { reason: `Chromium did not unpack: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Starts the browser. Close it in the end, or the process waits for it. */
export function launch(found: Chromium): Promise<Browser> {
  return chromium.launch({ executablePath: found.executablePath, args: [...found.args], env: { ...found.env } });
}

function environment(extra: Readonly<Record<string, string>>): Record<string, string> {
  const own = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { ...Object.fromEntries(own), ...extra };
}

/** Without a font, Chromium draws no text and screenshots are empty. The archive's own fonts.conf names folders of another machine. */
async function fontConfiguration(folder: string): Promise<string> {
  const file = join(folder, "vitc-fonts.conf");
  if (existsSync(file)) return file;
  const cache = join(folder, "fonts-cache");
  await mkdir(cache, { recursive: true });
  const draft = `${file}.${process.pid}`;
  await writeFile(
    draft,
    `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, "fonts")}</dir>
  <cachedir>${cache}</cachedir>
  <alias><family>sans-serif</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>serif</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>Open Sans</family></prefer></alias>
</fontconfig>
`,
  );
  await rename(draft, file);
  return file;
}
