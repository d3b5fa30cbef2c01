/**
 * Every model of timm that is known by name, at its native size: its parameters against timm's, its plan, and every kernel that it may run on
 * Dawn's null device, which validates WGSL and layouts. Whole sessions up to ViT-B.
 *
 *   npm run bench:names [-- --filter TEXT] [--table FILE.md]
 *
 * With --table it also writes what is shown for each name: that it compiles and that Dawn accepts it (here), that its parameters have timm's
 * names and shapes (`npm test -- unit/timm`, checked again here), and by which small model its numbers are held to timm's
 * (`npm test -- unit/timm-numbers`).
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { listTimm, specByName } from "../../compiler/families/index.js";
import { timmArguments } from "../../compiler/families/timm/index.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { elements } from "../../compiler/ir/ops/op.js";
import type { WgslKernel } from "../../compiler/kernels/kernel.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { chooseRoutines } from "../../runtime/choose.js";
import { requestDevice } from "../../runtime/node.js";
import { Session } from "../../runtime/session.js";
import { layoutOf } from "../tools/run-kernel.js";
import { fileTensors, knobModels, knobsOf, plainKnobs, timmFacts } from "../tools/timm.js";

/** Whole sessions are made of models with at most so many parameters: ViT-B and a little more. */
const sessionParameters = 110e6;

const { values } = parseArgs({ options: { filter: { type: "string", default: "" }, table: { type: "string" } } });
const { device, adapter } = await requestDevice({ adapter: "null", optionalFeatures: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] });
const accepted = new Set<string>();

/** What the device says against a kernel, if anything. */
async function complaint({ id, code, bindings }: WgslKernel): Promise<string | undefined> {
  if (accepted.has(id)) return undefined;
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: id, code });
  const error = await device.popErrorScope();
  if (error) return `${id}: ${error.message}`;
  try {
    await device.createComputePipelineAsync({ layout: layoutOf(device, bindings), compute: { module, entryPoint: "main" } });
    accepted.add(id);
    return undefined;
  } catch (cause) {
    return `${id}: ${cause instanceof Error ? cause.message : String(cause)}`;
  }
}

/** Models whose numbers are timm's, by the set of arguments that they stand for. */
const proofs = new Map(knobModels().filter(({ config }) => plainKnobs(config)).map(({ name, config }) => [knobsOf(config.architecture), name]));
/** Rows of the table. */
const rows: string[] = [];

let failed = 0;
let validated = 0;
const started = performance.now();
for (const { name, params } of listTimm().filter((entry) => entry.name.includes(values.filter))) {
  const notes: string[] = [];
  try {
    const spec = resolve(specByName(`timm:${name}`).spec);
    const { parameters } = buildGraph(spec, { batch: 1 });
    const own = parameters.reduce((sum, { value }) => sum + elements(value.shape), 0);
    if (own !== params) notes.push(`${own} parameters, timm has ${params}`);
    const model = timmArguments(name);
    const lines = parameters.flatMap((parameter) => fileTensors({ name: parameter.name, shape: parameter.value.shape }, model)).map((tensor) => `${tensor.name} ${tensor.shape.join(",")}`).toSorted();
    const same = own === timmFacts.models[name]?.params && createHash("sha256").update(lines.join("\n")).digest("hex").slice(0, 16) === timmFacts.models[name].names;
    if (!same) notes.push("other names or shapes of parameters than timm's");
    const { plan, kernels } = makePlan(spec);
    const before = accepted.size;
    for (const kernel of kernels) {
      const said = await complaint(kernel);
      if (said !== undefined) notes.push(said);
    }
    validated += accepted.size - before;
    if (params <= sessionParameters) {
      const session = await Session.create({ device, plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), software: false });
      await session.choose(chooseRoutines(plan, { adapter, features: new Set() }));
      session.dispose();
    }
    const proof = proofs.get(knobsOf(name));
    rows.push(`| ${name} | ${notes.length === 0 ? "yes" : "no"} | ${same ? own.toLocaleString("en-US") : "no"} | ${proof ?? "no"} |`);
    console.log(`${notes.length === 0 ? "ok  " : "FAIL"} ${name}: ${plan.programs.infer[0]!.dispatches.length} dispatches, ${kernels.length} kernels${notes.map((note) => `\n     ${note}`).join("")}`);
  } catch (error) {
    notes.push(error instanceof Error ? error.message : String(error));
    rows.push(`| ${name} | no | no | no |`);
    console.log(`FAIL ${name}: ${notes.join("; ")}`);
  }
  if (notes.length > 0) failed++;
}
device.destroy();
if (values.table !== undefined) {
  const about = `What is shown of each of timm ${timmFacts.timm}'s names. "compiles": the plan at native size is made, and Dawn's null device accepts the kernels of every way to do\nit in f32, whole sessions up to ${sessionParameters / 1e6} M parameters. "parameters": their number, where all names and shapes are timm's. "numbers": the small model with the\nsame arguments but for sizes whose tokens and logits are timm's in f64 (\`npm test -- unit/timm-numbers\`).\n\nMade by \`npm run bench:names -- --table FILE.md\`.`;
  writeFileSync(values.table, `${about}\n\n| name | compiles | parameters | numbers |\n|---|---|---:|---|\n${rows.join("\n")}\n`);
}
console.log(`${validated} kernels validated in ${((performance.now() - started) / 1000).toFixed(0)} s; ${failed} models failed`);
process.exitCode = failed > 0 ? 1 : 0;
