/** Files from anywhere: 2,000 damaged config.json and 2,000 damaged weight files give a typed error or a model, and never anything else. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { specOfConfig } from "../../compiler/families/index.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { fromBytes } from "../../runtime/weights.js";
import { WeightsError } from "../../runtime/errors.js";
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

test.run();
