import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as assert from "uvu/assert";
import { softwareReason } from "../tools/adapter.js";
import { noteFixture, reference, worstError } from "../tools/fixtures.js";
import { temporaryFolder, writeCompiled } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

const test = suite("a consumer's project");
const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve("typescript/package.json")), "bin/tsc");
const folder = temporaryFolder("consumer");
const fixture = noteFixture("distilled");
await writeCompiled(join(folder, "model"), { ...fixture.spec, labels: Array.from({ length: 10 }, (_, i) => `class ${i}`) });
// The same package as npm would install it: no TypeScript sources are looked at, only its declarations.
cpSync(join(folder, "model"), join(folder, "node_modules/notes-distilled"), { recursive: true });

const usage = (specifier: string): string => `
import { canRun, load, labels, input, needs, type DType, type Label, type LoadOptions, type Outputs, type Tensor } from "${specifier}";

interface Held { readonly bitmap: ImageBitmap; readonly canvas: OffscreenCanvas | HTMLCanvasElement; readonly frame: VideoFrame; readonly texture: GPUTexture; readonly buffer: GPUBuffer }

export async function classify(weights: Blob, pixels: ImageData, held: Held): Promise<Label | undefined> {
  using model = await load({ weights, onProgress: ({ stage, loaded, total }) => console.log(stage, loaded / total) });
  const outputs: Outputs = await model.run([pixels, pixels]);
  const logits: Tensor<readonly [10]> = outputs.logits;
  // Image files, by themselves and beside pixels.
  await model.run([weights, new Uint8Array(8), pixels]);
  await model.run("cat.jpg");
  const width: 10 = logits.shape[1];
  const embed: Tensor<readonly [18, 36]> = outputs.embed;
  const height: 32 = input.height;
  // What it needs, before anything is fetched.
  const able = await canRun(model.device);
  const dtype: "f32" | undefined = able.ok ? able.dtype : undefined;
  const reasons: readonly string[] = able.ok ? [] : able.reasons;
  const gpuBytes: number = needs.f32.gpuBytes + needs.f32.downloadBytes.packed;
  const options: LoadOptions = { weights, dtype: "f32" satisfies DType };
  // @ts-expect-error: it was compiled for f32 alone
  void needs.f16;
  // @ts-expect-error: likewise
  void load({ weights, dtype: "f16" });
  // @ts-expect-error: a Blob is no device
  void canRun(weights);
  void [dtype, reasons, gpuBytes, options];
  // Classes by name, streams, results that stay on the device, runs among the app's own commands.
  const [first] = await model.classify(pixels, { top: 3 });
  const best: Label | undefined = first?.[0]?.label;
  for await (const { logits: each } of model.runMany([pixels, weights], { ahead: 1 })) void (each satisfies Tensor<readonly [10]>);
  const onDevice = await model.runOnDevice(pixels);
  const deviceShape: 10 = onDevice.logits.shape[1];
  const encoder = model.device.createCommandEncoder();
  await model.encode(encoder, { input: onDevice.logits.buffer, images: 2, outputs: { logits: { buffer: onDevice.embed.buffer, offset: 4 } } });
  await model.warmup();
  // What a page and a device hold, by itself and beside files.
  const { bitmap, canvas, frame, texture, buffer } = held;
  for (const image of [bitmap, canvas, frame, texture, buffer]) await model.run(image);
  await model.run([bitmap, canvas, frame, texture, weights, pixels]);
  await model.run({ buffer, offset: 256, shape: [1, 3, 32, 32] });
  void load({ weights, device: model.device, onDeviceLost: async () => model.device, signal: AbortSignal.timeout(1000) });
  // @ts-expect-error: not a class of this model
  const noClass: "zebra" = first![0]!.label;
  // @ts-expect-error: this model has no such output
  void model.encode(encoder, { input: buffer, outputs: { pooled: buffer } });
  // @ts-expect-error: buffers are not given in lists
  void model.run([buffer]);
  // @ts-expect-error: a stream is an iterable
  void model.runMany(3).next();
  // @ts-expect-error: top is a number
  void model.classify(pixels, { top: "5" });
  // @ts-expect-error: a new device comes as a promise
  void load({ weights, onDeviceLost: () => undefined });
  void [best, deviceShape, noClass];
  // @ts-expect-error: this model has no such output
  void outputs.pooled;
  // @ts-expect-error: the last axis has 10 classes
  const wrong: 11 = logits.shape[1];
  // @ts-expect-error: weights are required
  void load({});
  // @ts-expect-error: a number is no image
  void model.run(3);
  // @ts-expect-error: outputs are read-only
  outputs.logits = logits;
  // @ts-expect-error: not a class of this model
  const other: Label = "zebra";
  void [embed, width, height, wrong, other];
  return labels[logits.indexOf(Math.max(...logits))];
}
`;

/** A model without classes, and one whose classes have no names. */
const others = `
import { load as loadFeatures } from "../features/index.js";
import { load as loadNameless } from "../nameless/index.js";

export async function features(weights: Blob, pixels: ImageData): Promise<number | undefined> {
  const model = await loadFeatures({ weights });
  await model.run(pixels);
  // @ts-expect-error: there are no classes to name
  await model.classify(pixels);
  const nameless = await loadNameless({ weights });
  const [first] = await nameless.classify(pixels);
  const nothing: undefined = first![0]!.label;
  void nothing;
  return first?.[0]?.index;
}
`;
await writeCompiled(join(folder, "features"), { ...fixture.spec, name: "features", classes: 0, tokens: { class: true }, outputs: undefined });
await writeCompiled(join(folder, "nameless"), fixture.spec);

/** As strict as a project can be, and without skipLibCheck. */
const strict = {
  target: "es2022", module: "esnext", moduleResolution: "bundler", lib: ["es2023", "dom", "dom.iterable", "esnext.disposable"], types: [],
  strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, noImplicitOverride: true, noPropertyAccessFromIndexSignature: true,
  noImplicitReturns: true, noUnusedLocals: true, noUnusedParameters: true, noFallthroughCasesInSwitch: true, verbatimModuleSyntax: true, isolatedModules: true,
  skipLibCheck: false, noEmit: true,
};

function check(name: string, source: string, options: object = {}): { status: number | null; output: string } {
  const project = join(folder, name);
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, "main.ts"), source);
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: { ...strict, ...options }, files: ["main.ts"] }));
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, "-p", project], { encoding: "utf8" });
  return { status, output: `${stdout}${stderr}` };
}

for (const [how, specifier, options] of [
  ["by name, with a bundler", "notes-distilled", {}],
  ["by name, as Node resolves", "notes-distilled", { module: "nodenext", moduleResolution: "nodenext" }],
  ["by name, without the library of disposables", "notes-distilled", { lib: ["es2022", "dom"] }],
  ["by path", "../model/index.js", {}],
  ["by path, as TypeScript sources", "../model/src/index.js", {}],
] as const) {
  test(`a strict project without skipLibCheck type-checks, importing the package ${how}`, () => {
    const { status, output } = check(how.replaceAll(/\W+/g, "-"), usage(specifier), options);
    assert.is(output, "");
    assert.is(status, 0);
  });
}

test("models without classes cannot classify, and classes without names have none", () => {
  const { status, output } = check("others", others);
  assert.is(output, "");
  assert.is(status, 0);
});

test("the check can fail: a wrong use is an error", () => {
  const { status, output } = check("wrong", usage("notes-distilled").replace("outputs.embed", "outputs.embeds"));
  assert.not.equal(status, 0);
  assert.match(output, "embeds");
});

test("declarations name no package that a consumer may not have", () => {
  const declarations = readdirSync(join(folder, "model"), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".d.ts"));
  assert.ok(declarations.length > 20);
  for (const file of declarations) assert.not.match(readFileSync(join(folder, "model", file), "utf8"), /@webgpu\/types|from "(webgpu|node:)/, file);
});

const reason = await softwareReason();
if (reason !== undefined) skipAll("a consumer's run in plain Node", reason);
else {
  test("plain Node runs the package with nothing installed but webgpu, and ends by itself", () => {
    // webgpu and, for machines without a GPU, the software adapter: nothing else can be resolved from here.
    const bare = join(folder, "bare");
    cpSync(join(folder, "model"), join(bare, "model"), { recursive: true });
    for (const file of readdirSync(join(bare, "model"), { recursive: true, encoding: "utf8" })) {
      if (file.endsWith(".ts")) execFileSync("rm", [join(bare, "model", file)]);
    }
    mkdirSync(join(bare, "node_modules/@sparticuz"), { recursive: true });
    symlinkSync(dirname(require.resolve("webgpu/package.json")), join(bare, "node_modules/webgpu"));
    const chromium = dirname(dirname(dirname(new URL(import.meta.resolve("@sparticuz/chromium")).pathname)));
    symlinkSync(chromium, join(bare, "node_modules/@sparticuz/chromium"));
    const input = [...fixture.io.get("input")!.data];
    writeFileSync(join(bare, "input.json"), JSON.stringify(input));
    writeFileSync(
      join(bare, "main.mjs"),
      `import { readFileSync } from "node:fs";
       import { load } from "./model/index.js";
       const model = await load({ weights: ${JSON.stringify(fixture.weightsPath)}, adapter: "software" });
       const { logits } = await model.run(Float32Array.from(JSON.parse(readFileSync("input.json", "utf8"))));
       console.log(JSON.stringify([...logits]));
       model.dispose();`,
    );
    const { status, stdout, stderr } = spawnSync(process.execPath, ["main.mjs"], { cwd: bare, encoding: "utf8", timeout: 120_000 });
    assert.is(status, 0, stderr);
    assert.match(stderr, "CPU runtime");
    assert.ok(worstError(JSON.parse(stdout) as number[], reference(fixture, "logits").data) <= 1e-4);
  });
}

test.run();
