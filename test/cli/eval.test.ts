import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { rankClasses } from "../../compiler/cli/classes.js";
import { parseLabels } from "../../compiler/cli/eval-labels.js";
import { predictionOf, summarizePredictions } from "../../compiler/cli/eval-summary.js";
import { evalShape, type EvalReport } from "../../compiler/cli/json-eval.js";
import { compile } from "../../compiler/compile.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { findSoftwareAdapter } from "../../runtime/node.js";
import { fixturePath, readTensors } from "../tools/fixtures.js";
import { skipAll, suite } from "../tools/suite.js";
import { folderWith, small, vitc } from "./vitc.js";

/** Packages look for webgpu and for the software adapter from here, as they would in a project that has installed them. */
const cwd = fileURLToPath(new URL("../..", import.meta.url));
const root = folderWith({});
const newFolder = (): string => mkdtempSync(join(root, "eval-"));

async function packageOf(spec: ViTSpec): Promise<string> {
  const { files } = await compile(spec, { typecheck: false });
  const folder = newFolder();
  for (const [path, text] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

const photo = fixturePath("vit-cifar10/photos/cat-00.png");

// -------------------------------------------------------------------------------------------------------- labels

const labels = suite("vitc eval, labels");
const animals = { count: 4, names: ["cat", "dog", "crane", "crane"] };
const read = (text: string, classes: { readonly count: number; readonly names: readonly string[] } = animals) => parseLabels(text, "/data/labels.csv", "labels.csv", classes).map(({ path, label, where }) => [path, label, where]);
const refusal = (text: string, classes?: Parameters<typeof read>[1]): string => {
  try {
    read(text, classes);
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  return "nothing";
};

labels("a line is a path from the file's folder and a class by its name or index, with or without a first line that names them", () => {
  const rows = [["/data/a.png", 0, "labels.csv:1"], ["/elsewhere/b.png", 1, "labels.csv:2"]];
  assert.equal(read("a.png,cat\n/elsewhere/b.png,dog\n"), rows);
  assert.equal(read("a.png,0\r\n/elsewhere/b.png,1"), rows);
  assert.equal(read('\ufeffLabel,split,Path\ncat,val,a.png\n\ndog,val,"x, ""y"".png"\n3,train, ../c.png\n'), [["/data/a.png", 0, "labels.csv:2"], ['/data/x, "y".png', 1, "labels.csv:4"], ["/c.png", 3, "labels.csv:5"]]);
  assert.equal(read("path,label\n7.png,7\n", { count: 10, names: [] }), [["/data/7.png", 7, "labels.csv:2"]]);
  // Classes that are called by numbers: the name wins.
  assert.equal(read("a.png,7\n", { count: 3, names: ["8", "7", "9"] }), [["/data/a.png", 1, "labels.csv:1"]]);
});

labels("what is wrong is said with its line, the nearest name and what is allowed, all at once", () => {
  assert.is(refusal("a.png,cat\nb.png,dgo\n"), 'UserError: labels.csv:2: label "dgo" is no class of the model: it must be an index from 0 to 3 or a class name; did you mean "dog"?');
  assert.is(refusal("a.png,4\n"), 'UserError: labels.csv:1: label "4" is no class of the model: it must be an index from 0 to 3 or a class name');
  assert.is(refusal("a.png,cat\n", { count: 10, names: [] }), 'UserError: labels.csv:1: label "cat" is no class of the model: it must be an index from 0 to 9 (the package has no class names)');
  assert.is(refusal("a.png,-1\n", { count: 10, names: [] }).includes("an index from 0 to 9"), true);
  assert.match(refusal("a.png,crane\n"), /label "crane" is the name of classes 2 and 3: write the index/);
  assert.match(refusal("a.png\tcat\n"), /labels\.csv:1: no comma is in it, and columns are separated by commas, not by tabs/);
  assert.match(refusal("a.png;cat\n"), /not by semicolons/);
  assert.match(refusal("a.png\n"), /it has 1 cell, and a line is path,label$/);
  assert.match(refusal("a, b.png,cat\n"), /it has 3 cells, and a line is path,label; a path or label with a comma stands in quotes/);
  assert.match(refusal("path,label,split\na.png,cat\n"), /labels\.csv:2: it has 2 cells, and a line is the 3 cells of the first line/);
  assert.match(refusal(",cat\n"), /the path is empty/);
  assert.match(refusal("a.png,\n"), /the label is empty/);
  assert.match(refusal('"a.png,cat\n'), /labels\.csv is no CSV that can be read: Quote Not Closed.*quotes are doubled/);
  for (const text of ["", "\n\n", "path,label\n"]) assert.is(refusal(text), "UserError: labels.csv holds no images: each line is path,label");
  const many = refusal(Array.from({ length: 12 }, (_, i) => `${i}.png,bird\n`).join(""));
  assert.match(many, /^UserError: 12 labels are wrong\n {2}- labels\.csv:1: /);
  assert.match(many, /labels\.csv:10: .*\n {2}and 2 more$/);
});

labels("predictions come to accuracies, classes and confusions", () => {
  const of = (label: number, ...logits: number[]) => predictionOf(label, rankClasses(Float32Array.from(logits)));
  const predictions = [of(0, 3, 2, 1), of(0, 2, 3, 1), of(0, 1, 3, 2), of(1, 0, Math.log(2), -1000), of(2, 1, 2, 0)];
  assert.equal(predictions.map(({ predicted, rank }) => [predicted, rank]), [[0, 1], [1, 2], [1, 3], [1, 1], [1, 3]]);
  assert.ok(Math.abs(predictions[3]!.probability - 2 / 3) < 1e-7);
  assert.ok(Math.abs(predictions[4]!.labelProbability - 1 / (1 + Math.E + Math.E ** 2)) < 1e-7);
  // Of equal logits the lower index is the answer, as PyTorch's argmax has it.
  assert.equal([of(1, 5, 5, 5).rank, of(2, 5, 5, 5).rank, of(0, 5, 5, 5).rank], [2, 3, 1]);
  const { top1, topK, meanConfidence, classes, confusions } = summarizePredictions(predictions, 2);
  assert.equal([top1, topK], [2 / 5, 3 / 5]);
  assert.ok(Math.abs(meanConfidence - predictions.reduce((sum, { probability }) => sum + probability, 0) / 5) < 1e-12);
  assert.equal(classes, [{ class: 2, images: 1, right: 0, accuracy: 0 }, { class: 0, images: 3, right: 1, accuracy: 1 / 3 }, { class: 1, images: 1, right: 1, accuracy: 1 }]);
  assert.equal(confusions, [{ label: 0, predicted: 1, count: 2 }, { label: 0, predicted: 0, count: 1 }, { label: 1, predicted: 1, count: 1 }, { label: 2, predicted: 1, count: 1 }]);
});

labels.run();

// ------------------------------------------------------------------------------------------------------ refusals

const refusals = suite("vitc eval, refusals");

/** Expects exit code 1, nothing on stdout, and sentences on stderr. */
async function refused(args: readonly string[], ...sentences: readonly (string | RegExp)[]): Promise<void> {
  const { code, stdout, stderr } = await vitc(["eval", ...args], { cwd });
  assert.is(code, 1, stderr);
  assert.is(stdout, "");
  for (const sentence of sentences) assert.match(stderr, sentence);
  assert.not.match(stderr, /\n\s+at /);
}

refusals("data that cannot be used is refused before the model is loaded", async () => {
  // Weights that are no weights: whoever loads them says so, and nobody does.
  const weights = join(folderWith({ "weights.safetensors": "none" }), "weights.safetensors");
  const [folder, features] = await Promise.all([packageOf({ ...small, labels: "abcdefghij".split("") }), packageOf({ ...small, classes: 0 })]);
  const data = folderWith({
    "unknown.csv": "a.png,a\nb.png,k\n",
    "absent.csv": "path,label\ncat.png,a\nnone.png,b\n",
    "broken.csv": "text.png,a\n",
    "text.png": "no image",
    "zipped.csv": "PK\u0003\u0004\u0000",
    "folders/a/cat.txt": "",
    "strange/zebra/cat.png": "",
  });
  copyFileSync(photo, join(data, "cat.png"));
  const run = (file: string) => [folder, "--weights", weights, "--data", join(data, file)];
  await Promise.all([
    refused([features, "--weights", weights, "--data", join(data, "absent.csv")], /has no classes \(a run returns features\), so no label can be right/),
    refused(run("unknown.csv"), /unknown\.csv:2: label "k" is no class of the model: it must be an index from 0 to 9 or a class name/),
    refused(run("absent.csv"), /absent\.csv:3: there is no file .*none\.png/),
    refused(run("broken.csv"), /broken\.csv:1: .*text\.png is not an image/),
    refused(run("nothing.csv"), /there is no such file or folder; it is a CSV file with the columns path and label/),
  ]);
  await Promise.all([
    refused(run("zipped.csv"), /zipped\.csv is no text in UTF-8/),
    refused(run("folders"), /folders holds no images: --data takes a folder with one folder a class/),
    refused(run("strange"), /folder .*strange\/zebra: label "zebra" is no class of the model/),
    refused([folder, "--weights", weights], "--data"),
    refused([...run("absent.csv"), "--top", "0"], "at least 1"),
  ]);
});

refusals("--output never replaces what eval reads, and nothing else unless it is told to", async () => {
  const folder = await packageOf(small);
  const data = folderWith({ "labels.csv": "cat.png,3\n", "old.csv": "of yesterday", "weights.safetensors": "weights" });
  copyFileSync(photo, join(data, "cat.png"));
  symlinkSync(join(data, "labels.csv"), join(data, "link.csv"));
  const run = (output: string) => [folder, "--weights", join(data, "weights.safetensors"), "--data", join(data, "labels.csv"), "--output", join(data, output)];
  await Promise.all([
    refused(run("old.csv"), "old.csv is there already: name another file, or replace it with --force"),
    refused([...run("labels.csv"), "--force"], "labels.csv is the file of labels, which eval reads: name another file"),
    refused([...run("link.csv"), "--force"], "link.csv is the file of labels"),
    refused(run("predictions.txt"), "the name must end in .csv"),
  ]);
  assert.equal(["labels.csv", "old.csv"].map((name) => readFileSync(join(data, name), "utf8")), ["cat.png,3\n", "of yesterday"]);
});

refusals.run();

// ------------------------------------------------------------------------------------------------------- running

const found = await findSoftwareAdapter();
if ("reason" in found) skipAll("vitc eval", found.reason);
else {
  const test = suite("vitc eval");
  const software = ["--adapter", "software"];
  const weights = ["--weights", fixturePath("vit-cifar10/model.safetensors")];
  const photos = JSON.parse(readFileSync(fixturePath("vit-cifar10/photos.json"), "utf8")) as { file: string; label: string; predicted: string; probability: number }[];
  const { default: spec } = (await import("../../specs/vit-cifar10.js")) as { default: ViTSpec };
  // A hundred photographs in batches of eight: the last run is padded.
  const folder = await packageOf({ ...spec, batch: 8 });
  const names = spec.labels!;

  const evaluated = async (args: readonly string[]): Promise<EvalReport> => {
    const { code, stdout, stderr } = await vitc(["eval", folder, ...weights, ...args, "--json", ...software], { cwd });
    assert.is(code, 0, stderr);
    return evalShape.parse(JSON.parse(stdout));
  };

  test("tells what PyTorch's predictions for the same photographs come to", async () => {
    const data = folderWith({});
    const csv = join(data, "labels.csv");
    // Half of the labels are indices, the paths relative to the file.
    writeFileSync(csv, `path,label\n${photos.map(({ file, label }, i) => `${relative(data, fixturePath(`vit-cifar10/${file}`))},${i % 2 === 0 ? label : names.indexOf(label)}\n`).join("")}`);
    const output = join(data, "predictions.csv");
    const report = await evaluated(["--data", csv, "--top", "3", "--output", output]);

    const logits = readTensors(fixturePath("vit-cifar10/io.safetensors")).get("logits")!.data;
    const ranks = photos.map(({ label }, i) => predictionOf(names.indexOf(label), rankClasses(Float32Array.from(logits.slice(i * 10, i * 10 + 10)))).rank);
    assert.equal(report.predictions.map(({ predicted, label }) => [predicted.label, label.label]), photos.map(({ predicted, label }) => [predicted, label]));
    assert.equal(report.predictions.map(({ rank }) => rank), ranks);
    for (const [i, { probability }] of report.predictions.entries()) assert.ok(Math.abs(probability - photos[i]!.probability) < 1e-3);
    const right = photos.filter(({ label, predicted }) => label === predicted).length;
    const recorded = (JSON.parse(readFileSync(fixturePath("vit-cifar10/config.json"), "utf8")) as { photos_correct?: number }).photos_correct;
    assert.equal([report.images, report.classes, report.top1 * 100, right], [100, 10, right, recorded]);
    assert.equal(report.topK, { k: 3, accuracy: ranks.filter((rank) => rank <= 3).length / 100 });
    const confidence = photos.reduce((sum, { probability }) => sum + probability, 0) / 100;
    assert.ok(Math.abs(report.meanConfidence - confidence) < 1e-4, `${report.meanConfidence} and ${confidence}`);
    for (const { label, images, right: ownRight } of report.perClass) {
      const own = photos.filter((each) => each.label === label);
      assert.equal([images, ownRight], [own.length, own.filter(({ predicted }) => predicted === label).length]);
    }
    assert.equal(report.perClass.map(({ accuracy }) => accuracy), report.perClass.map(({ accuracy }) => accuracy).toSorted((a, b) => a - b));
    assert.is(report.confusions.reduce((sum, { count }) => sum + count, 0), 100);
    for (const { label, predicted, count } of report.confusions) assert.is(count, photos.filter((each) => each.label === label.label && each.predicted === predicted.label).length);
    assert.ok(report.imagesPerSecond > 0 && report.totalSeconds >= report.runSeconds && report.loadSeconds > 0);
    assert.equal([report.dtype, report.robust, report.data, report.output], ["f32", false, csv, output]);
    assert.match(report.notices.join(), "software adapter");

    const [heading, first, ...rest] = readFileSync(output, "utf8").trimEnd().split("\n");
    assert.equal([heading, rest.length], ["path,label,predicted,probability,label_probability,rank", 99]);
    assert.is(first!.split(",").slice(0, 3).join(), `${relative(data, fixturePath(`vit-cifar10/${photos[0]!.file}`))},${photos[0]!.label},${photos[0]!.predicted}`);
  });

  test("a folder with one folder a class is the same data, and the text has the numbers of the JSON", async () => {
    const data = folderWith({ "notes.txt": "", "cat/readme.md": "" });
    const chosen = photos.filter((_, i) => i % 5 === 2);
    for (const { file, label } of chosen) {
      // Classes may be folders by their index, and images lie deeper.
      const inside = label === "cat" ? join(data, "cat", "more") : join(data, label === "dog" ? String(names.indexOf("dog")) : label);
      mkdirSync(inside, { recursive: true });
      copyFileSync(fixturePath(`vit-cifar10/${file}`), join(inside, file.split("/").at(-1)!));
    }
    const report = await evaluated(["--data", data, "--top", "50"]);
    assert.equal(new Map(report.predictions.map(({ input, predicted }) => [input.split("/").at(-1), predicted.label])), new Map(chosen.map(({ file, predicted }) => [file.split("/").at(-1), predicted]).toSorted(([a], [b]) => (a! < b! ? -1 : 1)) as [string, string][]));
    assert.equal(report.topK, { k: 10, accuracy: 1 });
    assert.ok(report.notices.some((notice) => /^2 files of .* are no image in a class's folder, and left out: cat\/readme\.md, notes\.txt$/.test(notice)), report.notices.join());

    const text = await vitc(["eval", folder, ...weights, "--data", data, "--top", "1", ...software], { cwd });
    assert.is(text.code, 0, text.stderr);
    const right = chosen.filter(({ label, predicted }) => label === predicted).length;
    assert.match(text.stdout, new RegExp(`^vit-cifar10 on 20 images\n  top-1 +${((right / 20) * 100).toFixed(1)} %  \\(${right} right\\)\n  mean confidence +${(report.meanConfidence * 100).toFixed(1)} %\n`));
    assert.not.match(text.stdout, "top-1 .*top-1");
    const worst = report.perClass[0]!;
    assert.match(text.stdout, new RegExp(`worst classes +right +of +accuracy\n${worst.label} +${worst.right} +${worst.images} +${(worst.accuracy * 100).toFixed(1)} %\n`));
    const confused = report.confusions.find(({ label, predicted }) => label.class !== predicted.class)!;
    assert.match(text.stdout, new RegExp(`most frequent confusions +count\n${confused.label.label} -> ${confused.predicted.label} +${confused.count}\n`));
    assert.match(text.stderr, /vit-cifar10 in f32 on .*\(software\): 20 images in .* \([\d.,]+ images\/s\), .* with reading the files, after .* of loading; kernels by cost \d+/);
  });

  test("an image that cannot be read is named with its line, when its turn comes, and no output is left", async () => {
    const data = folderWith({ "text.png": "no image" });
    const rows = photos.slice(0, 9).map(({ file, label }) => `${fixturePath(`vit-cifar10/${file}`)},${label}\n`);
    writeFileSync(join(data, "labels.csv"), [...rows, "text.png,cat\n"].join(""));
    const output = join(data, "predictions.csv");
    const { code, stdout, stderr } = await vitc(["eval", folder, ...weights, "--data", join(data, "labels.csv"), "--output", output, ...software], { cwd });
    assert.equal([code, stdout], [1, ""]);
    assert.match(stderr, /error: .*labels\.csv:10: .*text\.png is not an image that can be read/);
    assert.not.ok(existsSync(output));
  });

  test("--skip-broken leaves out what cannot be read, counts the others, and says so", async () => {
    const data = folderWith({ "text.png": "no image" });
    const nine = photos.slice(0, 9);
    const rows = nine.map(({ file, label }) => `${fixturePath(`vit-cifar10/${file}`)},${label}\n`);
    writeFileSync(join(data, "labels.csv"), ["text.png,dog\n", ...rows.slice(0, 4), "text.png,cat\n", ...rows.slice(4), "text.png,ship\n"].join(""));
    const output = join(data, "predictions.csv");
    const report = await evaluated(["--data", join(data, "labels.csv"), "--skip-broken", "--output", output]);
    assert.equal(report.predictions.map(({ predicted, label }) => [predicted.label, label.label]), nine.map(({ predicted, label }) => [predicted, label]));
    assert.equal([report.images, report.top1], [9, nine.filter(({ label, predicted }) => label === predicted).length / 9]);
    assert.equal(report.skipped.map(({ input, error }) => [input, /labels\.csv:(\d+): .*text\.png is not an image/.exec(error)?.[1]]), [["text.png", "1"], ["text.png", "6"], ["text.png", "12"]]);
    assert.is(readFileSync(output, "utf8").trimEnd().split("\n").length, 10);
    writeFileSync(join(data, "none.csv"), "text.png,dog\ntext.png,cat\n");
    const none = await vitc(["eval", folder, ...weights, "--data", join(data, "none.csv"), "--skip-broken", ...software], { cwd });
    assert.equal([none.code, none.stdout], [1, ""]);
    assert.match(none.stderr, /error: none of 2 images can be read/);
  });

  test("Ctrl-C in the middle leaves no output, and the exit code 130", async () => {
    const data = folderWith({});
    const rows = photos.map(({ file, label }) => `${fixturePath(`vit-cifar10/${file}`)},${label}\n`).join("");
    writeFileSync(join(data, "labels.csv"), rows.repeat(200));
    const output = join(data, "predictions.csv");
    const { code, stdout, stderr } = await vitc(["eval", folder, ...weights, "--data", join(data, "labels.csv"), "--output", output, ...software], { cwd, onStderr: (text, kill) => /Running \d+% \d/.test(text) && kill("SIGINT") });
    assert.equal([code, stdout], [130, ""], stderr);
    assert.match(stderr, /Running \d+% \d[\d,]* of 20,000 images, \d+\.\d % right/);
    assert.not.ok(existsSync(output));
  });

  test.run();
}
