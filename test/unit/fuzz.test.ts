/** Files from anywhere: 2,000 damaged config.json, 2,000 damaged weight files, and preprocessor configs, indices, manifests and label files give a typed error or a model, and never anything else. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { parseLabels } from "../../compiler/cli/eval-labels.js";
import { UserError } from "../../compiler/cli/context.js";
import { specOfConfig } from "../../compiler/families/index.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { checkKind, sniff } from "../../runtime/image-kind.js";
import { fromBytes, type WeightsSource } from "../../runtime/weights.js";
import { InputError, WeightsError } from "../../runtime/errors.js";
import { openFile } from "../../runtime/weight-file.js";
import { fixturePath } from "../tools/fixtures.js";
import { suite } from "../tools/suite.js";

const test = suite("damaged files");

const seed = Number(process.env["SEED"] ?? 1);
const runs = { numRuns: 2000, seed };
/** No single case may take longer. */
const mostMilliseconds = 2000;

const configs = ["timm", "hf"].flatMap((library) => readdirSync(fixturePath(library)).map((name) => readFileSync(fixturePath(`${library}/${name}/config.json`), "utf8")));

/** Every place in a parsed file. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, entry]) => placesOf(entry, [...path, key]))];
}

/** The file with something else at a place. */
function replaced(value: unknown, [key, ...rest]: readonly string[], other: unknown): unknown {
  if (key === undefined) return other;
  if (Array.isArray(value)) return value.map((entry: unknown, i) => (String(i) === key ? replaced(entry, rest, other) : entry));
  return { ...(value as object), [key]: replaced((value as Record<string, unknown>)[key], rest, other) };
}

const extremes = fc.constantFrom<unknown>(0, -1, 1, 2, 3, 0.5, 1e9, 2 ** 40, 1e308, Number.NaN, "", "gelu", "none", "__proto__", null, true, false, [], {}, [1, 2, 3], [-1, -1], { toString: "x" });
const damages = fc.array(fc.tuple(fc.nat(), fc.oneof({ weight: 3, arbitrary: extremes }, { weight: 1, arbitrary: fc.jsonValue() })), { minLength: 1, maxLength: 3 });

test("2,000 damaged config.json make a model or a SpecError, at once", () => {
  let refused = 0;
  fc.assert(
    fc.property(fc.constantFrom(...configs), damages, (text, changes) => {
      let config: unknown = JSON.parse(text);
      for (const [at, other] of changes) {
        const places = placesOf(config);
        config = replaced(config, places[at % places.length]!, other);
      }
      const began = performance.now();
      try {
        resolve(specOfConfig(config).spec);
      } catch (error) {
        if (!(error instanceof SpecError)) throw error;
        assert.ok(error.message.length > 0 && error.message.length < 20_000);
        refused++;
      }
      assert.ok(performance.now() - began < mostMilliseconds);
    }),
    runs,
  );
  assert.ok(refused > 300 && refused < 1900, `${refused} were refused`);
});

const files = ["vit_base_patch16_224", "beit_large_patch16_224"].map((name) => new Uint8Array(readFileSync(fixturePath(`timm/${name}/model.safetensors`))));
const archive = new Uint8Array(readFileSync(fixturePath("names/google/file.npz")));

test("2,000 damaged weight files open or are refused by a WeightsError, and no tensor lies outside of one", async () => {
  assert.ok(existsSync(fixturePath("names/google/file.npz")));
  const damage = fc.oneof(
    fc.record({ kind: fc.constant("bytes" as const), at: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }) }),
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), bytes: fc.constant(new Uint8Array()) }),
  );
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...files, archive), damage, fc.boolean(), async (file, { kind, at, bytes }, early) => {
      // The header is where most can go wrong.
      const place = at % (early ? 4000 : file.length);
      const damaged = kind === "cut" ? file.slice(0, place) : file.slice();
      if (kind === "bytes") damaged.set(bytes.subarray(0, damaged.length - place), place);
      const began = performance.now();
      try {
        const { file: opened } = await openFile(fromBytes(damaged), new AbortController().signal);
        for (const { offset, bytes: size } of opened.tensors.values()) assert.ok(offset >= 0 && offset + size <= damaged.length);
      } catch (error) {
        if (!(error instanceof WeightsError)) throw error;
        refused++;
      }
      assert.ok(performance.now() - began < mostMilliseconds);
    }),
    runs,
  );
  assert.ok(refused > 300, `${refused} were refused`);
});

const processors = (JSON.parse(readFileSync(fixturePath("preprocess/processors.json"), "utf8")) as { cases: readonly { config: unknown }[] }).cases.map(({ config }) => config);
const models = [
  { model_type: "vit", architectures: ["ViTModel"] },
  { model_type: "dinov2", architectures: ["Dinov2Model"], image_size: 518 },
  { model_type: "clip_vision_model" },
  { model_type: "dinov3_vit" },
];

/** A parsed file with other things at some places. */
const damagedAt = (value: unknown, changes: readonly (readonly [number, unknown])[]): unknown =>
  changes.reduce((damaged, [at, other]) => {
    const places = placesOf(damaged);
    return replaced(damaged, places[at % places.length]!, other);
  }, value);

test("500 damaged preprocessor_config.json make a model or a SpecError", () => {
  assert.ok(processors.length > 10);
  let refused = 0;
  fc.assert(
    fc.property(fc.constantFrom(...processors), fc.constantFrom(...models), damages, (processor, model, changes) => {
      try {
        resolve(specOfConfig(model, { processor: damagedAt(processor, changes) }).spec);
      } catch (error) {
        if (!(error instanceof SpecError)) throw error;
        refused++;
      }
    }),
    { ...runs, numRuns: 500 },
  );
  assert.ok(refused > 100 && refused < 495, `${refused} were refused`);
});

test("500 damaged lists of weight files open or are refused by a WeightsError, and name no file elsewhere", async () => {
  const index = { metadata: { total_size: 1 }, weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", "c.d": "model-1.safetensors" } };
  const asked = new Set<string>();
  let refused = 0;
  const elsewhere = fc.constantFrom<unknown>("../model.safetensors", "/etc/passwd", "http://host/a.safetensors", "a\\b.safetensors", "", "model-1.safetensors");
  await fc.assert(
    fc.asyncProperty(damages, fc.option(fc.tuple(fc.nat(), elsewhere)), fc.option(fc.nat()), async (changes, name, cut) => {
      const damaged = damagedAt(index, [...changes.slice(1), ...(name ? [name] : [])]);
      const text = new TextEncoder().encode(JSON.stringify(damaged) ?? "null");
      const whole = fromBytes(cut === null ? text : text.slice(0, cut % text.length));
      const source: WeightsSource = { ...whole, beside: (file) => (asked.add(file), Promise.resolve(fromBytes(files[0]!, file))) };
      try {
        await openFile(source, new AbortController().signal);
      } catch (error) {
        if (!(error instanceof WeightsError)) throw error;
        refused++;
      }
    }),
    { ...runs, numRuns: 500 },
  );
  assert.ok(refused > 100, `${refused} were refused`);
  assert.equal([...asked].filter((file) => !/^[^/\\:]+\.safetensors$/.test(file)), []);
});

test("500 damaged files of labels are read or refused by a UserError", () => {
  const classes = { count: 3, names: ["cat", "dog", "a, b"] };
  const cell = fc.oneof(fc.constantFrom("cat", "dog", "1", "99", "", '"a, b"', '"', "path", "label", "-1", "1e3", "\u0000", "\uFEFF", " x "), fc.string({ unit: "binary", maxLength: 12 }));
  const text = fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }).map((cells) => cells.join(",")), { maxLength: 8 }).map((lines) => lines.join("\n"));
  let refused = 0;
  fc.assert(
    fc.property(text, (labels) => {
      try {
        for (const { label, path } of parseLabels(labels, "/data/labels.csv", "labels.csv", classes)) assert.ok(Number.isInteger(label) && label >= 0 && label < 3 && path.length > 0);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        assert.ok(error.message.length < 20_000);
        refused++;
      }
    }),
    { ...runs, numRuns: 500 },
  );
  assert.ok(refused > 100, `${refused} were refused`);
});

test("500 damaged image files are told apart, at once", () => {
  const images = ["rgb.jpg", "cmyk.jpg", "gray16.png", "lossy420.avif", "palette.gif", "alpha.webp", "raw.tif"].map((name) => new Uint8Array(readFileSync(fixturePath(`preprocess/formats/${name}`))));
  fc.assert(
    fc.property(fc.constantFrom(...images), fc.nat(), fc.uint8Array({ maxLength: 8 }), fc.nat(), (image, at, bytes, cut) => {
      const damaged = image.slice(0, cut % 3 === 0 ? cut % (image.length + 1) : image.length);
      const place = damaged.length === 0 ? 0 : at % damaged.length;
      damaged.set(bytes.subarray(0, damaged.length - place), place);
      try {
        checkKind("photo", sniff(damaged));
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
      }
    }),
    { ...runs, numRuns: 500 },
  );
});

test.run();
