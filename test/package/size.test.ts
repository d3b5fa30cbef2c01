import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import vitBase from "../../specs/vit-base-patch16-224.js";
import { weigh } from "../tools/bundle.js";
import { temporaryFolder, writeCompiled } from "../tools/packages.js";
import { suite } from "../tools/suite.js";

const test = suite("what a page downloads");
const folder = temporaryFolder("size");
const runtime = fileURLToPath(new URL("../../runtime/", import.meta.url));
const kilobyte = 1000;

function within(what: string, bytes: number, kilobytes: number): void {
  console.log(`${what}: ${(bytes / kilobyte).toFixed(1)} KB of ${kilobytes}`);
  assert.ok(bytes <= kilobytes * kilobyte, `${what} takes ${bytes} bytes, and may take ${kilobytes} KB: see what came in with esbuild --bundle --minify --analyze`);
}

test("the runtime: 20 KB at first, and what it imports when it is needed", async () => {
  const { first, all, with: including } = await weigh(join(runtime, "codegen.ts"));
  within("runtime, first", first, 20);
  within("runtime, with weights from a URL and image files", including("runtime/weights.ts", "runtime/url.ts", "runtime/image.ts", "runtime/web-image.ts"), 38.5);
  within("runtime, all", all, 73.5);
});

test("a self-contained package of ViT-B: 40 KB at first", async () => {
  await writeCompiled(join(folder, "vit-base"), vitBase);
  const { first, all, with: including } = await weigh(join(folder, "vit-base/index.js"));
  within("ViT-B, first", first, 40);
  within("ViT-B, with weights from a URL and image files", including("runtime/weights.js", "runtime/url.js", "runtime/image.js", "runtime/web-image.js"), 55);
  within("ViT-B, all", all, 94);
});

test("what is imported at once counts as first, what is imported later does not", async () => {
  const entry = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const npz = JSON.stringify(join(runtime, "npz.ts"));
  const later = await weigh(entry("later.ts", `export const read = () => import(${npz});`));
  const atOnce = await weigh(entry("at-once.ts", `export { readNpz } from ${npz};`));
  assert.ok(later.first < 200 && later.all > 1000, JSON.stringify(later));
  assert.ok(atOnce.first > 1000 && atOnce.first === atOnce.all, JSON.stringify(atOnce));
});

test.run();
