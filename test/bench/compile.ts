/**
 * How fast the compiler is: spec to plan (warm), and emission of a whole package with and without the type check.
 *
 *   npm run bench:compile
 */
import { compile } from "../../compiler/index.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";

const specs = [
  { name: "vit-tiny", image: 224, patch: 16, dim: 192, depth: 12, heads: 3 },
  { name: "vit-base", image: 224, patch: 16, dim: 768, depth: 12, heads: 12 },
  { name: "vit-large", image: 224, patch: 16, dim: 1024, depth: 24, heads: 16 },
  { name: "vit-huge", image: 224, patch: 14, dim: 1280, depth: 32, heads: 16 },
  { name: "depth-96", image: 224, patch: 16, dim: 768, depth: 96, heads: 12 },
];

const milliseconds = async (work: () => unknown): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

const large = specs[2]!;
// The first emission of a process also loads ts-morph and transpiles the runtime.
const cold = await milliseconds(() => compile(large, { typecheck: false }));
// The peak, in kilobytes.
const coldMemory = process.resourceUsage().maxRSS * 1024;
const checked = await milliseconds(() => compile(large, { typecheck: true }));
const warm = await milliseconds(() => compile(large, { typecheck: false }));
console.log(`vit-large, emission without type check   ${cold.toFixed(0)} ms in a new process, ${(coldMemory / 1e6).toFixed(0)} MB at most; ${warm.toFixed(0)} ms warm`);
console.log(`vit-large, emission with type check      ${checked.toFixed(0)} ms\n`);

console.log("spec to plan, warm: median and best of 50, ms");
for (const spec of specs) {
  const times: number[] = [];
  for (let i = 0; i < 70; i++) times.push(await milliseconds(() => makePlan(resolve(spec))));
  const sorted = times.slice(20).toSorted((a, b) => a - b);
  console.log(`  ${spec.name.padEnd(10)} ${sorted[25]!.toFixed(2).padStart(6)} ${sorted[0]!.toFixed(2).padStart(6)}   ${makePlan(resolve(spec)).plan.programs.infer[0]!.dispatches.length} dispatches`);
}
