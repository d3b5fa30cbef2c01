/**
 * A second opinion: exported models in ONNX Runtime on the CPU, against the f64 interpreter on 50 random specs and every example shrunk, and
 * against the compiled packages on whole models. The largest |error| / (1 + |reference|) over all outputs; the exit code is 1 above 1e-4.
 *
 *   npm --prefix test/bench ci && npm run bench:onnx [-- MODEL...]
 */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { adapterName } from "../../runtime/device.js";
import { vitc } from "../cli/vitc.js";
import { worstError } from "../tools/fixtures.js";
import { compareWithInterpreter, findOnnxRuntime, onnxTolerance, type OnnxRuntime } from "../tools/onnxruntime.js";
import { f32, importPackage, temporaryFolder, writeCompiled } from "../tools/packages.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, shrink } from "../tools/specs.js";
import { randomTensor } from "../tools/tensors.js";

const randomSpecs = 50;
const wholeModels = process.argv.length > 2 ? process.argv.slice(2) : ["vit-tiny-patch16-224", "vit-small-patch16-224", "vit-base-patch16-224"];
const folder = temporaryFolder("bench-onnx");

/** What was compared, the error in units of 1 + |reference|, and a remark. */
type Row = readonly [models: string, reference: string, worst: number, remark: string];

async function randomRow(runtime: OnnxRuntime): Promise<Row> {
  let worst = 0;
  for (const spec of fc.sample(randomSpec, { numRuns: randomSpecs, seed: 1 })) worst = Math.max(worst, await compareWithInterpreter(runtime, spec, { images: 2, folder }));
  return [`${randomSpecs} random specs`, "interpreter, f64", worst, "two images"];
}

async function exampleRow(runtime: OnnxRuntime): Promise<Row> {
  let worst = 0;
  for (const spec of exampleSpecs.values()) worst = Math.max(worst, await compareWithInterpreter(runtime, shrink(spec), { images: 3, folder }));
  return [`${exampleSpecs.size} examples, shrunk`, "interpreter, f64", worst, "three images"];
}

/** A whole model with initial weights, exported by the command and compiled, with every block's tokens as outputs. */
async function wholeRow(runtime: OnnxRuntime, name: string): Promise<Row> {
  const example = exampleSpecs.get(name);
  if (!example) throw new Error(`there is no example ${name} in specs; there are ${[...exampleSpecs.keys()].join(", ")}`);
  const spec: ViTSpec = { ...example, outputs: ["embed", "blocks.*", "norm", "features"] };
  const place = join(folder, name);
  const { plan } = await writeCompiled(place, spec);
  const file = (extension: string): string => join(place, `${name}.${extension}`);
  writeFileSync(file("json"), JSON.stringify(spec));
  await command("init-weights", file("json"), "--out", file("safetensors"), "--scheme", "notes");
  await command("export", file("json"), "--weights", file("safetensors"), "--onnx", file("onnx"));

  const { load } = await importPackage(place);
  using model = await load({ weights: file("safetensors"), onNotice: () => {} });
  const input = randomTensor([1, ...plan.input.shape], "image");
  const actual = await model.run(f32(input.data));
  const expected = await runtime.run(file("onnx"), input);
  const worst = Math.max(...[...expected].map(([output, { data }]) => worstError(actual[output] ?? [], data)));
  return [name, `its package on ${adapterName(model.adapter)}`, expected.size === Object.keys(actual).length ? worst : Infinity, `${expected.size} outputs, ${Math.round(statSync(file("onnx")).size / 2 ** 20)} MiB`];
}

async function command(...args: string[]): Promise<void> {
  const { code, stderr } = await vitc(args, { cwd: folder });
  if (code !== 0) throw new Error(`vitc ${args.join(" ")}: ${stderr}`);
}

const runtime = await findOnnxRuntime();
if ("reason" in runtime) {
  console.error(runtime.reason);
  process.exitCode = 1;
} else {
  console.log(`ONNX Runtime ${runtime.version}, CPU; allowed ${onnxTolerance}\n\n| models | against | largest error | |\n|---|---|---|---|`);
  for (const row of [randomRow, exampleRow, ...wholeModels.map((name) => (ort: OnnxRuntime) => wholeRow(ort, name))]) {
    const [models, reference, worst, remark] = await row(runtime);
    console.log(`| ${models} | ${reference} | ${worst.toExponential(1)} | ${remark} |`);
    if (!(worst <= onnxTolerance)) process.exitCode = 1;
  }
}
