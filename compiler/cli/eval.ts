import { Command } from "commander";
import { relative, resolve } from "node:path";
import type { Model, Plan } from "../../runtime/codegen.js";
import { adapterName } from "../../runtime/device.js";
import { elements } from "../../runtime/tensor.js";
import { decided as decidedOf } from "../measure/subject.js";
import { expectFinite, rankClasses, rowOf } from "./classes.js";
import { UserError, type Cli } from "./context.js";
import { readLabels, type Classes, type LabelledImage } from "./eval-labels.js";
import { predictionOf, summarizePredictions, type Prediction } from "./eval-summary.js";
import { plural, table } from "./format.js";
import { evalShape, type EvalReport } from "./json-eval.js";
import { adapterOption, digits, percent } from "./measure-options.js";
import { decidedText, dtypeOption, jsonOption, robustOption, skipBrokenOption } from "./options.js";
import { openImages, SkippedImages, type Inputs } from "./run-inputs.js";
import { describeAdapter, duration, loadModel, topOption, weightsOf, type ModelOptions } from "./run-model.js";
import { importPackage, planOf, type AnyOutputs } from "./run-package.js";
import { expectReplaceable, expectWritable, writeWhole } from "./write-whole.js";

interface Options extends ModelOptions {
  readonly data: string;
  readonly top: number;
  readonly output?: string;
  readonly force?: boolean;
  readonly skipBroken?: boolean;
  readonly json?: boolean;
}

/** Classes and confusions that are printed; `--json` has all. */
const shownRows = 5;

/** `vitc eval PACKAGE --data labels.csv`: how often a model is right. */
export function evalCommand(cli: Cli): Command {
  return new Command("eval")
    .summary("measure how accurate a package is on labelled images")
    .description("Runs a compiled package on labelled images and tells how often it is right, in which classes least, and what it takes for what.")
    .argument("<package>", "folder that vitc compile wrote")
    .requiredOption("--data <file|folder>", "CSV file of path,label (a path from the file's folder, a class's name or index), or a folder with one folder a class")
    .option("-w, --weights <file|url>", "weight file (default: model.safetensors in the package, or the only one there)")
    .addOption(topOption("count an image as right, too, if its label is among the n most probable classes"))
    .option("-o, --output <file>", "write the prediction for each image to a CSV file")
    .option("--force", "replace the output file if it is there")
    .addOption(skipBrokenOption())
    .addOption(adapterOption())
    .addOption(dtypeOption("dtype to run (default: the package's first that the adapter can run)"))
    .addOption(robustOption())
    .option("--allow-extra", "ignore tensors of the weight file that the model does not use")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc eval generated/my-vit --weights my.safetensors --data labels.csv
  $ vitc eval generated/my-vit --data photos/val --top 3 --output predictions.csv

A first line that names the columns is recognised: path,label and any others.`,
    )
    .action((reference: string, options: Options) => run(cli, reference, options));
}

async function run(cli: Cli, reference: string, options: Options): Promise<void> {
  const found = await importPackage(reference, cli.cwd);
  const plan = planOf(found, reference, options.dtype);
  const classes = classesOf(plan, reference);
  const notices: string[] = [];
  const onNotice = (notice: string): void => {
    notices.push(notice);
    cli.say(notice);
  };
  // Everything that can be wrong is looked at before the model is loaded, which may take long.
  const images = await readLabels(options.data, classes, cli.cwd, onNotice);
  const data = resolve(cli.cwd, options.data);
  const weights = await weightsOf(options.weights, found, cli.cwd);
  const output = options.output === undefined ? undefined : await expectOutput(options.output, [{ file: weights, what: "the weight file" }, { file: data, what: "the file of labels" }, ...images.map(({ path }) => ({ file: path, what: "one of the images" }))], options.force, cli.cwd);
  const skipped = new SkippedImages(cli);
  const inputs = await openImages(images, plan, options.skipBroken === true ? skipped.skip : undefined);
  const started = performance.now();
  const model = await loadModel(cli, found, weights, options, onNotice);
  try {
    const loadSeconds = (performance.now() - started) / 1000;
    const { predictions, runSeconds, totalSeconds } = await predictAll(cli, model, plan, inputs, images);
    const k = Math.min(options.top, classes.count);
    const { adapter, dtype } = model;
    const named = (index: number) => ({ class: index, label: plan.labels[index] ?? String(index) });
    const { top1, topK, meanConfidence, classes: perClass, confusions } = summarizePredictions(predictions.map(({ prediction }) => prediction), k);
    const report: EvalReport = {
      name: plan.name,
      package: found.folder,
      weights,
      data,
      adapter: { name: adapterName(adapter), software: adapter.software },
      dtype,
      robust: options.robust === true,
      decided: decidedOf(model),
      notices,
      images: predictions.length,
      classes: classes.count,
      top1,
      topK: { k, accuracy: topK },
      meanConfidence,
      loadSeconds,
      runSeconds,
      totalSeconds,
      imagesPerSecond: predictions.length / runSeconds,
      perClass: perClass.map(({ class: index, ...rest }) => ({ ...named(index), ...rest })),
      confusions: confusions.map(({ label, predicted, count }) => ({ label: named(label), predicted: named(predicted), count })),
      predictions: predictions.map(({ image, prediction: { label, predicted, ...rest } }) => ({ input: image.name, label: named(label), predicted: named(predicted), ...rest })),
      skipped: skipped.list,
      ...(output !== undefined && { output }),
    };
    if (output !== undefined) await writeWhole(output, csvOf(report), cli);
    if (options.json === true) return cli.json(evalShape, report);
    cli.print(text(report));
    cli.say(`${plan.name} in ${dtype} on ${describeAdapter(adapter)}: ${plural(report.images, "image")} in ${duration(runSeconds)} (${digits(report.imagesPerSecond)} images/s), ${duration(totalSeconds)} with reading the files, after ${duration(loadSeconds)} of loading; kernels by ${decidedText(report.decided)}`);
    if (skipped.count > 0) cli.say(`left out ${plural(skipped.count, "image")} that cannot be read; no figure counts them`);
    if (output !== undefined) cli.say(`wrote ${relative(cli.cwd, output)}`);
  } finally {
    model.dispose();
  }
}

/** @throws UserError for a model whose main output is not a logit for each class. */
function classesOf({ main, outputs, labels }: Plan, name: string): Classes {
  const output = outputs.find((each) => each.name === main.name);
  if (!main.classes || output === undefined) throw new UserError(`${name} has no classes (a run returns ${main.name}), so no label can be right: compile a spec with classes`);
  return { count: elements(output.shape), names: labels };
}

async function expectOutput(path: string, reads: Parameters<typeof expectReplaceable>[2], force: boolean | undefined, cwd: string): Promise<string> {
  const file = await expectWritable("--output", path, [".csv"], cwd);
  await expectReplaceable("--output", file, reads.map(({ file: read, what }) => ({ file: read, what: `${what}, which eval reads` })), force, cwd);
  return file;
}

/** What a model said of an image. */
interface Predicted {
  readonly image: LabelledImage;
  readonly prediction: Prediction;
}

/** `runSeconds` are those of `model.run`: decoding files is not the model's time. */
async function predictAll(cli: Cli, model: Model<AnyOutputs>, { main }: Plan, inputs: Inputs, images: readonly LabelledImage[]): Promise<{ predictions: readonly Predicted[]; runSeconds: number; totalSeconds: number }> {
  const predictions: Predicted[] = [];
  const line = cli.progress("Running");
  const began = performance.now();
  let [milliseconds, right] = [0, 0];
  try {
    for await (const { names, places, input } of inputs.portions(cli.signal)) {
      const started = performance.now();
      const { [main.name]: logits } = await model.run(input, { signal: cli.signal });
      milliseconds += performance.now() - started;
      for (const [i, name] of names.entries()) {
        const row = rowOf(logits!, i, names.length);
        expectFinite(row, main.name, name);
        const image = images[places[i]!]!;
        const prediction = predictionOf(image.label, rankClasses(row));
        predictions.push({ image, prediction });
        if (prediction.rank === 1) right++;
      }
      line.update(predictions.length / inputs.count, `${predictions.length} of ${plural(inputs.count, "image")}, ${percent(right / predictions.length)} right`);
    }
  } finally {
    line.done();
  }
  return { predictions, runSeconds: milliseconds / 1000, totalSeconds: (performance.now() - began) / 1000 };
}

function text({ name, images, top1, topK, meanConfidence, perClass, confusions }: EvalReport): string {
  const right = Math.round(top1 * images);
  const wrong = confusions.filter(({ label, predicted }) => label.class !== predicted.class);
  const worst = perClass.filter(({ accuracy }) => accuracy < 1).slice(0, shownRows);
  return [
    [
      `${name} on ${plural(images, "image")}`,
      `  top-1            ${percent(top1).padStart(7)}  (${right.toLocaleString("en-US")} right)`,
      ...(topK.k > 1 ? [`  ${`top-${topK.k}`.padEnd(17)}${percent(topK.accuracy).padStart(7)}`] : []),
      `  mean confidence  ${percent(meanConfidence).padStart(7)}`,
    ].join("\n"),
    ...(worst.length > 0 ? [table([["worst classes", "right", "of", "accuracy"], ...worst.map(({ label, images: own, right: ownRight, accuracy }) => [label, String(ownRight), String(own), percent(accuracy).padStart(8)])])] : []),
    ...(wrong.length > 0 ? [table([["most frequent confusions", "count"], ...wrong.slice(0, shownRows).map(({ label, predicted, count }) => [`${label.label} -> ${predicted.label}`, String(count)])])] : []),
  ].join("\n\n");
}

/** A line an image. */
function csvOf({ predictions }: EvalReport): string {
  const rows = predictions.map(({ input, label, predicted, probability, labelProbability, rank }) => [input, label.label, predicted.label, probability.toFixed(6), labelProbability.toFixed(6), String(rank)]);
  return [["path", "label", "predicted", "probability", "label_probability", "rank"], ...rows].map((cells) => `${cells.map(cellOf).join(",")}\n`).join("");
}

const cellOf = (value: string): string => (/[",\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
