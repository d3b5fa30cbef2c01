/**
 * The README's table of agreement with PyTorch: the largest |error| / (1 + |reference|) over all outputs and taps, in Node and in Chromium.
 *
 *   npm run bench:parity
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import cifar10 from "../../specs/vit-cifar10.js";
import { findChromium, launch } from "../tools/chromium.js";
import { fixturePath, noteFixture, noteNames, readTensors, reference, worstError } from "../tools/fixtures.js";
import { f32, importPackage, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { openPage, type OpenPage } from "../tools/page.js";
import { serve } from "../tools/serve.js";

const root = temporaryFolder("bench-parity");
writeFileSync(join(root, "index.html"), "<!doctype html><title>parity</title>");
const found = await findChromium();
await using server = await serve({ "/": root, "/fixtures/": fixturePath("") });
const browser = "reason" in found ? undefined : await launch(found);
const page: OpenPage | undefined = browser && (await openPage(await browser.newPage(), server));

const cifarIo = readTensors(fixturePath("vit-cifar10/io.safetensors"));
const models = [
  ...noteNames.map((name) => {
    const fixture = noteFixture(name);
    return { name, spec: fixture.spec, weights: `notes/${name}/weights.safetensors`, input: fixture.io.get("input")!.data, expected: (output: string) => reference(fixture, output).data };
  }),
  { name: "vit-cifar10", spec: cifar10, weights: "vit-cifar10/model.safetensors", input: cifarIo.get("input")!.data, expected: () => cifarIo.get("logits")!.data },
];

console.log("| model | outputs | Node | Chromium |\n|---|---|---|---|");
for (const { name, spec, weights, input, expected } of models) {
  const folder = join(root, name);
  await writeCompiled(folder, spec);
  writeFileSync(join(root, `${name}.bin`), new Uint8Array(f32(input).buffer));
  const { load } = await importPackage(folder);
  using model = await load({ weights: fixturePath(weights), adapter: "software", onNotice: () => {} });
  const inNode = Object.entries(await model.run(f32(input)));
  const inChromium = (await page?.run(`/${name}`, `/fixtures/${weights}`, `/${name}.bin`))?.outputs;
  const worst = (outputs: readonly (readonly [string, ArrayLike<number>])[]): string => Math.max(...outputs.map(([output, values]) => worstError(values, expected(output)))).toExponential(1);
  console.log(`| ${name} | ${inNode.length} | ${worst(inNode)} | ${inChromium ? worst(inChromium.map(({ name: output, values }) => [output, values] as const)) : "no Chromium here"} |`);
}
await browser?.close();
