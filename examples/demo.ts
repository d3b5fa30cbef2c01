/**
 * From a spec to predictions: compiles specs/vit-cifar10.ts, runs the generated package on 100 photographs, and compares with PyTorch.
 *
 *   npm run demo
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compile } from "../compiler/index.js";
import { writePackage } from "../compiler/emit/write.js";
import spec from "../specs/vit-cifar10.js";

const at = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const model100 = at("test/fixtures/vit-cifar10");
const out = at("generated/vit-cifar10");

// 1. Spec -> package.
const compiled = await timed("compile", () => compile(spec, { sharedRuntime: true, source: "../../specs/vit-cifar10.ts" }));
await writePackage(compiled.files, out);
const { dispatches } = compiled.plan.programs.infer[0]!;
console.log(`specs/vit-cifar10.ts -> generated/vit-cifar10: ${compiled.files.size} files, ${dispatches.length} dispatches, ${compiled.kernels.length} kernels\n`);

// 2. Package -> model. The import is what a user writes.
const { load } = (await import("../generated/vit-cifar10/index.js")) as typeof import("../generated/vit-cifar10/index.js");
using model = await timed("load", () => load({ weights: `${model100}/model.safetensors` }));

// 3. Photographs -> logits.
interface Photo { readonly file: string; readonly label: string; readonly predicted: string; readonly probability: number }
const photos = JSON.parse(readFileSync(`${model100}/photos.json`, "utf8")) as Photo[];
const images = photos.map(({ file }) => `${model100}/${file}`);
const { logits } = await timed("first run", () => model.run(images));
const started = performance.now();
await model.run(images);
const perImage = (performance.now() - started) / images.length;

// 4. Logits -> predictions, beside the labels and PyTorch's.
const classes = model.labels;
const results = photos.map((photo, i) => {
  const scores = logits.subarray(i * classes.length, (i + 1) * classes.length);
  const best = scores.indexOf(Math.max(...scores));
  const total = scores.reduce((sum, score) => sum + Math.exp(score - scores[best]!), 0);
  return { ...photo, mine: classes[best]!, mineProbability: 1 / total };
});
for (const label of classes) {
  console.log(`\n${label}`);
  const cells = results.filter((result) => result.label === label).map(({ mine, mineProbability }) => `${mine === label ? "✓" : "✗"} ${mine} ${(100 * mineProbability).toFixed(0)}%`.padEnd(18));
  for (let i = 0; i < cells.length; i += 4) console.log(`  ${cells.slice(i, i + 4).join("").trimEnd()}`);
}
const correct = results.filter(({ mine, label }) => mine === label).length;
const agree = results.filter(({ mine, predicted }) => mine === predicted).length;
const difference = Math.max(...results.map(({ mineProbability, probability }) => Math.abs(mineProbability - probability)));

console.log(`
accuracy           ${correct} of ${results.length} right (PyTorch: ${results.filter(({ predicted, label }) => predicted === label).length})
agreement          ${agree} of ${results.length} predictions equal PyTorch's; probabilities differ by at most ${difference.toExponential(1)}
time               ${perImage.toFixed(1)} ms an image, decoding and preprocessing included
adapter            ${model.adapter.description || model.adapter.device || model.adapter.vendor}${model.adapter.software ? " (software)" : ""}`);
if (agree < results.length) process.exitCode = 1;

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  console.log(`${what.padEnd(18)} ${(performance.now() - start).toFixed(0)} ms`);
  return result;
}
