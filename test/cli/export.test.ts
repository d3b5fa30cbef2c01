import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { jsonShapes } from "../../compiler/cli/json.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { checkTensors } from "../../runtime/check.js";
import { fromPath } from "../../runtime/node.js";
import { readHeader } from "../../runtime/weights.js";
import { readTensors } from "../tools/fixtures.js";
import { floats, problems, readOnnx } from "../tools/onnx.js";
import { suite } from "../tools/suite.js";
import { makeFile, words, type MadeTensor } from "../unit/weight-files.js";
import { folderWith, small, snapshot, specText, vitc } from "./vitc.js";

const test = suite("export");

const { parameters } = buildGraph(resolve(small), { batch: 1 });

/** Weights of `small` as BF16: 1, 1 + 1/128, ... which f32 holds exactly. */
const halves = (skip: readonly string[] = []): Map<string, MadeTensor> =>
  new Map(
    parameters
      .filter(({ name }) => !skip.includes(name))
      .map(({ name, value: { shape } }) => [name, words("BF16", shape, Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, i) => 0x3f80 + (i % 128)))]),
  );

test("writes the model with every weight, whatever its type in the file, and says what it wrote", async () => {
  const cwd = folderWith({ "my.ts": specText({ ...small, classes: 3, labels: ["cat", "dog", "owl"], outputs: ["blocks.*"] }), "small.json": JSON.stringify(small) });
  assert.is((await vitc(["init-weights", "my.ts", "--out", "my.safetensors"], { cwd })).code, 0);
  const text = await vitc(["export", "my.ts", "--weights", "my.safetensors", "--onnx", "my.onnx"], { cwd });
  assert.equal([text.code, text.stderr], [0, ""]);
  assert.match(text.stdout, /^my\.onnx: \d+ nodes, [\d,]+ parameters, 0\.\d+ MiB \(ONNX, opset 20, any batch\)\n$/);
  const model = readOnnx(readFileSync(join(cwd, "my.onnx")));
  assert.equal(problems(model), []);
  assert.equal([model.name, model.inputs, model.outputs.map(({ name }) => name)], ["small", [{ name: "input", shape: ["batch", 3, 32, 32] }], ["blocks.0", "blocks.1", "logits"]]);
  assert.equal(JSON.parse(model.metadata.get("labels")!), ["cat", "dog", "owl"]);
  assert.is((JSON.parse(model.metadata.get("preprocess")!) as { crop: string }).crop, "center");
  const tensors = new Map(model.initializers.map((tensor) => [tensor.name, tensor]));
  for (const [name, { data }] of readTensors(join(cwd, "my.safetensors"))) assert.equal([name, floats(tensors.get(name)!.raw!)], [name, Float32Array.from(data)]);

  writeFileSync(join(cwd, "half.safetensors"), makeFile(new Map([...halves(), ["extra.weight", words("F16", [1], [0])]])));
  const half = await vitc(["export", "small.json", "--weights", "half.safetensors", "--onnx", "half.onnx", "--batch", "2", "--external-data", "--allow-extra", "--json"], { cwd });
  assert.is(half.code, 0, half.stderr);
  const report = jsonShapes.export.parse(JSON.parse(half.stdout));
  assert.equal([report.file, report.external?.file, report.batch, report.opset, report.tensors, report.outputs, report.ignored], [join(cwd, "half.onnx"), join(cwd, "half.onnx.data"), 2, 20, parameters.length, ["logits"], ["extra.weight"]]);
  assert.equal([report.bytes, report.external?.bytes], [readFileSync(report.file).length, readFileSync(report.external!.file).length]);
  const split = readOnnx(readFileSync(report.file));
  assert.equal([problems(split), split.inputs[0]!.shape], [[], [2, 3, 32, 32]]);
  const { offset, length } = split.initializers.find(({ name }) => name === "head.bias")!.external!;
  assert.equal(floats(readFileSync(report.external!.file).subarray(offset, offset + length)), Float32Array.from({ length: 10 }, (_, i) => 1 + i / 128));
});

test("says of weights that do not fit what run says, and leaves no file", async () => {
  const cwd = folderWith({ "small.json": JSON.stringify(small) });
  const tensors = halves(["blocks.1.mlp.fc1.weight", "norm.bias"]);
  tensors.set("cls_token", words("BF16", [1, 2, 16], Array.from({ length: 32 }, () => 0)));
  tensors.set("blocks.1.mlp.fc.weight", words("BF16", [1], [0]));
  writeFileSync(join(cwd, "odd.safetensors"), makeFile(tensors));
  const nan = halves();
  nan.set("norm.bias", words("BF16", [32], Array.from({ length: 32 }, (_, i) => (i === 3 ? 0x7fc0 : 0))));
  writeFileSync(join(cwd, "nan.safetensors"), makeFile(nan));
  writeFileSync(join(cwd, "text.safetensors"), "no weights at all, but long enough");
  const before = [...snapshot(cwd).keys()];

  const { code, stdout, stderr } = await vitc(["export", "small.json", "-w", "odd.safetensors", "--onnx", "m.onnx"], { cwd });
  assert.equal([code, stdout], [1, ""]);
  const weights = join(cwd, "odd.safetensors");
  const told = checkTensors(makePlan(resolve(small)).recipe, await readHeader(await fromPath(weights))).map(({ message }) => `  - ${message}`);
  assert.is(told.length, 4);
  const [heading, ...listed] = stderr.trimEnd().split("\n");
  assert.is(heading, `error: ${weights}: 4 problems`);
  assert.equal(listed.toSorted(), told.toSorted());

  for (const [file, sentence] of [
    ["nan.safetensors", /"norm\.bias" holds NaN at \[3\]: the training run diverged/],
    ["text.safetensors", /not a safetensors file/],
    ["absent.safetensors", /absent\.safetensors/],
  ] as const) {
    const refused = await vitc(["export", "small.json", "-w", file, "--onnx", "m.onnx"], { cwd });
    assert.equal([file, refused.code, refused.stdout], [file, 1, ""]);
    assert.match(refused.stderr, sentence);
  }
  assert.equal([...snapshot(cwd).keys()], before);
});

test("replaces nothing unasked, and nothing but ONNX files at all", async () => {
  const cwd = folderWith({ "small.json": JSON.stringify(small), "there.onnx": "mine", "beside.onnx.data": "mine", "folder.onnx/a": "" });
  writeFileSync(join(cwd, "w.safetensors"), makeFile(halves()));
  const run = (onnx: string, ...more: string[]) => vitc(["export", "small.json", "--weights", "w.safetensors", "--onnx", onnx, ...more], { cwd });
  for (const [args, sentence] of [
    [["there.onnx"], /^error: there\.onnx is there already: name another file, or replace it with --force\n$/],
    [["beside.onnx"], /^error: beside\.onnx\.data is there already: .*--force/],
    [["folder.onnx", "--force"], /^error: --onnx folder\.onnx: folder\.onnx is a folder; name another file/],
    [["absent/m.onnx"], /^error: --onnx absent\/m\.onnx: there is no folder absent; make it first/],
    [["w.safetensors", "--force"], /^error: --onnx w\.safetensors: the name of an ONNX file ends in \.onnx, for example w\.onnx/],
    [["m.onnx", "--batch", "0"], /It must be at least 1/],
  ] as const) {
    const { code, stdout, stderr } = await run(...(args as readonly [string, ...string[]]));
    assert.equal([args, code, stdout], [args, 1, ""]);
    assert.match(stderr, sentence);
  }
  assert.is(readFileSync(join(cwd, "there.onnx"), "utf8"), "mine");
  const forced = await run("there.onnx", "--force");
  assert.is(forced.code, 0, forced.stderr);
  assert.equal(problems(readOnnx(readFileSync(join(cwd, "there.onnx")))), []);

  for (const [args, sentence] of [
    [["small.json", "--onnx", "m.onnx"], /required option '-w, --weights <file\|url>' not specified/],
    [["small.json", "-w", "w.safetensors"], /required option '--onnx <file>' not specified/],
  ] as const) {
    const { code, stderr } = await vitc(["export", ...args], { cwd });
    assert.is(code, 1);
    assert.match(stderr, sentence);
  }
  assert.not.ok(existsSync(join(cwd, "m.onnx")));
});

test("Ctrl-C in the middle leaves no file, and the exit code 130", async () => {
  const cwd = folderWith({ "small.json": JSON.stringify(small) });
  const weights = makeFile(halves());
  // Brings the header and the first tensors, and keeps the command waiting for the others.
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (first === "0") response.writeHead(206, { "Content-Range": `bytes 0-${last}/${weights.length}` }).end(weights.subarray(0, Number(last) + 1));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    const { port } = server.address() as AddressInfo;
    let during: readonly string[] = [];
    const { code, stdout, stderr } = await vitc(["export", "small.json", "-w", `http://127.0.0.1:${port}/w.safetensors`, "--onnx", "m.onnx"], {
      cwd,
      onStderr: (_, kill) => {
        during = readdirSync(cwd);
        kill("SIGINT");
      },
    });
    assert.equal([code, stdout], [130, ""]);
    assert.match(stderr, /^Writing m\.onnx/);
    assert.ok(during.some((name) => /^m\.onnx\.[0-9a-f]+\.tmp$/.test(name)));
    assert.equal(readdirSync(cwd), ["small.json"]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test.run();
