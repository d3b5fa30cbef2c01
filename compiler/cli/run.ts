import { Command, Option } from "commander";
import { relative, resolve } from "node:path";
import type { Model, Plan } from "../../runtime/codegen.js";
import { adapterName } from "../../runtime/device.js";
import { elements } from "../../runtime/tensor.js";
import { writeSafetensorsFile } from "../checkpoint/safetensors.js";
import { decided as decidedOf } from "../measure/subject.js";
import { expectFinite, rankClasses, rowOf } from "./classes.js";
import { UserError, type Cli } from "./context.js";
import { plural } from "./format.js";
import { runShape, type RunResult } from "./json-run.js";
import { decidedText, dtypeOption, jsonOption, robustOption, skipBrokenOption } from "./options.js";
import { openInputs, SkippedImages, type Inputs } from "./run-inputs.js";
import { describeAdapter, duration, loadModel, topOption, weightsOf, type ModelOptions } from "./run-model.js";
import { importPackage, planOf, type AnyOutputs } from "./run-package.js";
import { expectReplaceable, expectWritable } from "./write-whole.js";

interface Options extends ModelOptions {
  readonly input: readonly string[];
  readonly top: number;
  readonly output?: string;
  readonly force?: boolean;
  readonly skipBroken?: boolean;
  readonly json?: boolean;
}

/** Outputs are kept in memory until they are written. */
const mostOutputBytes = 4 * 2 ** 30;
const shownFeatures = 8;

/** `vitc run PACKAGE`: images in, classes out. */
export function runCommand(cli: Cli): Command {
  return new Command("run")
    .summary("run a compiled package on images")
    .description("Runs a compiled package on images, or on tensors that are preprocessed already, and prints the most probable classes of each.")
    .argument("<package>", "folder that vitc compile wrote")
    .requiredOption("-i, --input <file...>", 'image files, or one safetensors file with "input" [n, channels, height, width]')
    .option("-w, --weights <file|url>", "weight file (default: model.safetensors in the package, or the only one there)")
    .addOption(topOption("how many classes to print"))
    .option("-o, --output <file>", "write logits and taps of all images to a safetensors file")
    .option("--force", "replace the output file if it is there")
    .addOption(skipBrokenOption())
    .addOption(new Option("--adapter <which>", "auto takes a GPU, or else a software adapter and says so").choices(["auto", "gpu", "software"]).default("auto"))
    .addOption(dtypeOption("dtype to run (default: the package's first that the adapter can run)"))
    .addOption(robustOption())
    .option("--allow-extra", "ignore tensors of the weight file that the model does not use")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc run generated/my-vit --input cat.jpg dog.jpg
  $ vitc run generated/my-vit --weights my.safetensors --input io.safetensors --output out.safetensors`,
    )
    .action((reference: string, options: Options) => run(cli, reference, options));
}

async function run(cli: Cli, reference: string, options: Options): Promise<void> {
  const found = await importPackage(reference, cli.cwd);
  const plan = planOf(found, reference, options.dtype);
  // Everything that can be wrong is looked at before the model is loaded, which may take long.
  const skipped = new SkippedImages(cli);
  const inputs = await openInputs(options.input, plan, cli.cwd, options.skipBroken === true ? skipped.skip : undefined);
  const output = options.output === undefined ? undefined : await expectOutput(options.output, plan, inputs.count, cli.cwd);
  const weights = await weightsOf(options.weights, found, cli.cwd);
  if (output !== undefined) {
    const reads = [{ file: weights, what: "the weight file, which the run reads" }, ...options.input.map((file) => ({ file: resolve(cli.cwd, file), what: "an input, which the run reads" }))];
    await expectReplaceable("--output", output, reads, options.force, cli.cwd);
  }
  const notices: string[] = [];
  const onNotice = (notice: string): void => {
    notices.push(notice);
    cli.say(notice);
  };
  const started = performance.now();
  const model = await loadModel(cli, found, weights, options, onNotice);
  try {
    const loadSeconds = (performance.now() - started) / 1000;
    const kept = output === undefined ? undefined : keep(plan, inputs.count);
    const { results, seconds: runSeconds } = await runAll(cli, model, plan, inputs, options.top, kept);
    if (output !== undefined && kept) await write(output, plan, kept, results.length, cli.signal);
    const { adapter, dtype } = model;
    const decided = decidedOf(model);
    if (options.json === true) {
      return cli.json(runShape, { name: plan.name, package: found.folder, weights, adapter: { name: adapterName(adapter), software: adapter.software }, dtype, robust: options.robust === true, decided, notices, loadSeconds, runSeconds, results, skipped: skipped.list, ...(output !== undefined && { output }) });
    }
    cli.print(results.map(resultText).join("\n\n"));
    cli.say(`${plan.name} in ${dtype} on ${describeAdapter(adapter)}: ${plural(results.length, "image")} in ${duration(runSeconds)}, after ${duration(loadSeconds)} of loading; kernels by ${decidedText(decided)}`);
    if (skipped.count > 0) cli.say(`left out ${plural(skipped.count, "image")} that cannot be read`);
    if (output !== undefined) cli.say(`wrote ${relative(cli.cwd, output)}`);
  } finally {
    model.dispose();
  }
}

// ----------------------------------------------------------------------------------------------------- running

/** Seconds are those of `model.run`: decoding files is not the model's time. */
async function runAll(cli: Cli, model: Model<AnyOutputs>, plan: Plan, inputs: Inputs, top: number, kept: Kept | undefined): Promise<{ results: RunResult[]; seconds: number }> {
  const results: RunResult[] = [];
  const { main } = plan;
  const line = cli.progress("Running");
  let milliseconds = 0;
  try {
    for await (const { names, input } of inputs.portions(cli.signal)) {
      const started = performance.now();
      const outputs = await model.run(input, { signal: cli.signal });
      milliseconds += performance.now() - started;
      for (const { name } of plan.outputs) kept?.get(name)?.set(outputs[name]!, results.length * (outputs[name]!.length / names.length));
      names.forEach((name, i) => results.push(resultOf(name, rowOf(outputs[main.name]!, i, names.length), main, model.labels, top)));
      line.update(results.length / inputs.count, `${results.length} of ${plural(inputs.count, "image")}`);
    }
  } finally {
    line.done();
  }
  return { results, seconds: milliseconds / 1000 };
}

function resultOf(input: string, values: Float32Array, main: Plan["main"], labels: readonly string[], top: number): RunResult {
  expectFinite(values, main.name, input);
  if (!main.classes) return { input, features: { size: values.length, norm: Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)), first: [...values.subarray(0, shownFeatures)] } };
  const { order, probabilityOf } = rankClasses(values);
  return { input, top: order.slice(0, top).map((i) => ({ class: i, label: labels[i] ?? String(i), probability: probabilityOf(i), logit: values[i]! })) };
}

// ------------------------------------------------------------------------------------------------------ output

/** Values of each output of the plan for all images. */
type Kept = ReadonlyMap<string, Float32Array<ArrayBuffer>>;

const keep = (plan: Plan, count: number): Kept => new Map(plan.outputs.map(({ name, shape }) => [name, new Float32Array(count * elements(shape))]));

async function expectOutput(path: string, plan: Plan, count: number, cwd: string): Promise<string> {
  const bytes = plan.outputs.reduce((sum, { shape }) => sum + count * elements(shape) * 4, 0);
  if (bytes > mostOutputBytes) throw new UserError(`--output would hold ${(bytes / 2 ** 30).toFixed(1)} GiB for ${plural(count, "image")}, and ${mostOutputBytes / 2 ** 30} GiB is the most: run fewer at a time`);
  return expectWritable("--output", path, undefined, cwd);
}

/** The main output is called `logits`, whatever it is, and every other output, features above all, `tap.<name>`: so are reference outputs named. */
async function write(file: string, plan: Plan, kept: Kept, count: number, signal: AbortSignal): Promise<void> {
  const { main } = plan;
  const tensors = plan.outputs.flatMap(({ name, shape }) => {
    const rows = [count, ...shape];
    if (name !== main.name) return [{ name: `tap.${name}`, shape: rows, from: name }];
    return [{ name: "logits", shape: rows, from: name }, ...(!main.classes ? [{ name: `tap.${name}`, shape: rows, from: name }] : [])];
  });
  // Images that were left out have no rows.
  const sources = new Map(tensors.map(({ name, shape, from }) => [name, kept.get(from)!.subarray(0, elements(shape))]));
  await writeSafetensorsFile(file, tensors, (name) => sources.get(name)!, { signal });
}

function resultText({ input, top, features }: RunResult): string {
  if (features) return `${input}\n  ${features.size} features of norm ${features.norm.toPrecision(6)}: ${features.first.map((value) => value.toFixed(4)).join(", ")}${features.size > features.first.length ? ", ..." : ""}`;
  const width = Math.min(60, Math.max(...(top ?? []).map(({ label }) => label.length)));
  return [input, ...(top ?? []).map(({ label, probability }) => `  ${label.padEnd(width)} ${(probability * 100).toFixed(1).padStart(5)} %`)].join("\n");
}
