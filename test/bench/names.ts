/**
 * Every model of timm that is known by name, at its native size: its parameters against timm's, its plan, and every kernel that it may run on
 * Dawn's null device, which validates WGSL and layouts. Whole sessions up to ViT-B.
 *
 *   npm run bench:names [-- --filter TEXT]
 */
import { parseArgs } from "node:util";
import { listTimm, specByName } from "../../compiler/families/index.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { elements } from "../../compiler/ir/ops/op.js";
import type { WgslKernel } from "../../compiler/kernels/kernel.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { chooseRoutines } from "../../runtime/choose.js";
import { requestDevice } from "../../runtime/node.js";
import { Session } from "../../runtime/session.js";
import { layoutOf } from "../tools/run-kernel.js";

/** Whole sessions are made of models with at most so many parameters: ViT-B and a little more. */
const sessionParameters = 110e6;

const { values } = parseArgs({ options: { filter: { type: "string", default: "" } } });
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

let failed = 0;
let validated = 0;
const started = performance.now();
for (const { name, params } of listTimm().filter((entry) => entry.name.includes(values.filter))) {
  const notes: string[] = [];
  try {
    const spec = resolve(specByName(`timm:${name}`).spec);
    const own = buildGraph(spec, { batch: 1 }).parameters.reduce((sum, { value }) => sum + elements(value.shape), 0);
    if (own !== params) notes.push(`${own} parameters, timm has ${params}`);
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
    console.log(`${notes.length === 0 ? "ok  " : "FAIL"} ${name}: ${plan.programs.infer[0]!.dispatches.length} dispatches, ${kernels.length} kernels${notes.map((note) => `\n     ${note}`).join("")}`);
  } catch (error) {
    notes.push(error instanceof Error ? error.message : String(error));
    console.log(`FAIL ${name}: ${notes.join("; ")}`);
  }
  if (notes.length > 0) failed++;
}
device.destroy();
console.log(`${validated} kernels validated in ${((performance.now() - started) / 1000).toFixed(0)} s; ${failed} models failed`);
process.exitCode = failed > 0 ? 1 : 0;
