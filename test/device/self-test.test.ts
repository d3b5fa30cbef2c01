/** Self-tests of packages: right kernels pass, a mutated one is named and replaced. */
import * as assert from "uvu/assert";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import { InputError, SelfTestError } from "../../runtime/errors.js";
import type { Model, ModelDefinition, Variant } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { Reference } from "../../runtime/packed.js";
import { seededValues } from "../../runtime/seeded.js";
import { selfTest, testedOutputs, type SelfTestReport } from "../../runtime/self-test.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom, rejection } from "../tools/loaded.js";
import type { AnyOutputs } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "tested", image: 32, patch: 8, dim: 32, depth: 2, heads: 2, classes: 10, layerScale: 0.1, pool: "avg", preprocess: { mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2], normalize: "inside" } };

const reason = await softwareReason();
if (reason) skipAll("self-tests", reason);
else {
  const test = suite("self-tests");
  const { device } = await platform.requestDevice({ adapter: "software", optionalFeatures: ["subgroups", "shader-f16"] });
  const definition = definitionOf(spec);
  const { selfTests } = await definition.selfTests!();

  // Every number that is written is a little too large. Kernels that write in several places, or by functions, stay as they are.
  const tooLarge = (code: string): string => code.replace(/^(\s*)(\w+)(\[[^\n]*\] = )(.*);$/gm, (line, indent: string, name: string, at: string, value: string) => (new RegExp(`read_write> ${name}:`).test(code) ? `${indent}${name}${at}(${value}) * 1.1;` : line));

  /** A variant with some kernels' text changed. */
  const mutated = (variant: Variant, ...ids: readonly string[]): Variant => ({ ...variant, kernels: Object.fromEntries(Object.entries(variant.kernels).map(([id, code]) => [id, ids.includes(id) ? tooLarge(code) : code])) });
  const [sound] = definition.variants;
  const kernelsOf = (id: string): readonly string[] => sound.plan.routines.find((routine) => routine.id === id)!.choices.flatMap(({ launches }) => launches.map(({ kernel }) => kernel));
  const changes = (id: string): boolean => tooLarge(sound.kernels[id]!) !== sound.kernels[id];
  /** A routine all of whose kernels are changed by the mutation, so that no way to do it is right. */
  const hopeless = sound.plan.routines.find(({ id }) => kernelsOf(id).every(changes))!.id;
  const labelOf = (id: string): string => sound.plan.programs.infer[0]!.dispatches.find(({ routine }) => routine === id)!.label;
  /** What runs here passes for a plan of f16: its kernels are those of f32, which any adapter has. */
  const asHalves = (variant: Variant): Variant => ({ ...variant, plan: { ...variant.plan, dtype: "f16" } });
  const ofVariants = (...variants: readonly [Variant, ...Variant[]]): ModelDefinition => ({ ...definition, variants, selfTests: () => Promise.resolve({ selfTests: variants.map(() => selfTests[0]!) }) });
  const wrongHalves = asHalves(mutated(sound, ...kernelsOf(hopeless)));
  const image = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => 0.5 + 0.5 * Math.sin(i));
  const right = await (async () => {
    using model = await loadRandom(definition, { device });
    return [...(await model.run(image))["logits"]!];
  })();

  test("every routine has a test, and what they hold is small", () => {
    assert.equal(selfTests[0]!.map(({ routine }) => routine).toSorted(), definition.variants[0].plan.routines.map(({ id }) => id).toSorted());
    const bytes = JSON.stringify(selfTests).length;
    assert.ok(bytes < 12_000, `${bytes} bytes`);
  });

  test("right kernels pass, in every way that the device has, and the model's results stay", async () => {
    using model = await loadRandom(definition, { device });
    for (const { id, choices } of definition.variants[0].plan.routines) {
      for (const { name } of choices) {
        if (await model.choose({ [id]: name }).then(() => false, () => true)) continue;
        const report = await model.selfTest();
        assert.equal([report.passed, report.failures], [true, []], `${id} by ${name}`);
        assert.is(report.tested.length, selfTests[0]!.length);
        break;
      }
    }
    await model.choose({});
    assert.equal((await model.selfTest()).failures, []);
    assert.equal([...(await model.run(image))["logits"]!], right);
  });

  test("a mutated kernel is caught, by its dispatch, and another way takes its place", async () => {
    using whole = await loadRandom(definition, { device });
    let [caught, replaced] = [0, 0];
    for (const { id, choices } of definition.variants[0].plan.routines) {
      const chosen = whole.routines.get(id)!.choice;
      const { kernel } = chosen.launches.at(-1)!;
      const notices: string[] = [];
      if (!changes(kernel)) continue;
      const wrong = ofVariants(mutated(sound, kernel));
      caught++;
      using model = await loadRandom(wrong, { device, onNotice: (text) => notices.push(text) });
      const report = await model.selfTest();
      const failure = report.failures.find(({ routine }) => routine === id);
      assert.ok(failure, `${id} by ${chosen.name}`);
      assert.equal([failure.choice, failure.round], [chosen.name, 0]);
      assert.ok(notices.some((text) => text.includes(`${failure.dispatch} by ${chosen.name} computes`)));
      if (failure.instead === undefined) {
        assert.is(report.passed, false);
        continue;
      }
      replaced++;
      assert.ok(choices.some(({ name }) => name === failure.instead));
      assert.is(model.routines.get(id)!.choice.name, failure.instead);
      assert.equal((await model.selfTest()).failures.filter(({ routine }) => routine === id), []);
    }
    assert.ok(caught >= 3 && replaced > 0, `${caught} caught, ${replaced} replaced`);
  });

  test("a package without self-tests says so, and an abort ends one", async () => {
    const { selfTests: _, ...without } = definition;
    using model = await loadRandom(without, { device });
    assert.match((await rejection(model.selfTest())).message, /without self-tests/);
    using other = await loadRandom(definition, { device });
    assert.is((await rejection(other.selfTest({ signal: AbortSignal.abort(new Error("no")) }))).message, "no");
  });

  test("load with selfTest takes another way where a kernel is wrong, before any weight is read, and says so", async () => {
    using whole = await loadRandom(definition, { device });
    const tried = sound.plan.routines.filter(({ id, choices }) => choices.length > 1 && changes(whole.routines.get(id)!.choice.launches.at(-1)!.kernel));
    let replaced = 0;
    for (const { id } of tried) {
      const chosen = whole.routines.get(id)!.choice;
      const said: string[] = [];
      const loading = loadRandom(ofVariants(mutated(sound, chosen.launches.at(-1)!.kernel)), { device, selfTest: true, onNotice: (text) => said.push(text), onProgress: ({ stage }) => said.push(stage) });
      const model = await loading.catch((error: unknown) => error as SelfTestError);
      if (model instanceof Error) {
        assert.instance(model, SelfTestError);
        continue;
      }
      using _ = model;
      replaced++;
      const at = said.findIndex((text) => text.includes(`${labelOf(id)} by ${chosen.name} computes `) && / is used instead$/.test(text));
      assert.ok(at >= 0 && at < said.indexOf("weights"), said.join("\n"));
      assert.is.not(model.routines.get(id)!.choice.name, chosen.name);
      assert.ok((await model.run(image))["logits"]!.every((value, i) => Math.abs(value - right[i]!) < 1e-4));
      // What load found to be right is what choose goes back to.
      await model.choose({});
      assert.is.not(model.routines.get(id)!.choice.name, chosen.name);
    }
    assert.ok(replaced > 0, `${tried.length} tried`);
    using same = await loadRandom(definition, { device, selfTest: true, onNotice: (text) => assert.match(text, "software adapter") });
    assert.equal([...(await same.run(image))["logits"]!], right);
  });

  test("load with selfTest takes the next dtype where no way is right, naming the first wrong dispatch", async () => {
    const notices: string[] = [];
    using model = await loadRandom(ofVariants(wrongHalves, sound), { device, selfTest: true, onNotice: (text) => notices.push(text) });
    assert.is(model.dtype, "f32");
    assert.is(notices.length, 2);
    assert.match(notices[1]!, new RegExp(`^f16 cannot be used: ${labelOf(hopeless).replaceAll(".", "\\.")} by \\S+ computes \\S+ where \\S+ is right \\(element \\d+, run 1\\); no other way is right on this device; f32 is used$`));
    assert.equal([...(await model.run(image))["logits"]!], right);
  });

  test("load with selfTest rejects when all dtypes are wrong, or only the one that was asked for, and reads no weights", async () => {
    const wrong = ofVariants(wrongHalves, mutated(sound, ...kernelsOf(hopeless)));
    const { source } = randomWeights(sound.recipe, 1);
    let read = 0;
    const counted = { ...source, read: (offset: number, length: number) => ((read += length), source.read(offset, length)) };
    for (const options of [{}, { dtype: "f16" as const }]) {
      const error = await rejection(loadRandom(wrong, { device, selfTest: true, weights: counted, ...options }));
      assert.instance(error, SelfTestError);
      assert.match(error.message, `${labelOf(hopeless)} by `);
      const { report } = error as SelfTestError;
      assert.equal([report.passed, report.dtype, report.failures[0]!.dispatch, report.failures[0]!.instead], [false, options.dtype ?? "f32", labelOf(hopeless), undefined]);
    }
    assert.ok(read < source.size, `${read} bytes of ${source.size}`);
    assert.instance(await rejection(loadRandom(ofVariants(wrongHalves, sound), { device, selfTest: true, dtype: "f16" })), SelfTestError);
  });

  test("a loaded model's self-test puts it on the next dtype where no way is right, and its runs go on", async () => {
    const notices: string[] = [];
    using model = await loadRandom(ofVariants(wrongHalves, sound), { device, onNotice: (text) => notices.push(text) });
    assert.is(model.dtype, "f16");
    assert.not.equal([...(await model.run(image))["logits"]!], right);
    const report = await model.selfTest();
    assert.equal([report.passed, report.dtype, model.dtype], [true, "f32", "f32"]);
    assert.equal(report.failures.map(({ dtype, dispatch, instead }) => [dtype, dispatch, instead]), [["f16", labelOf(hopeless), undefined]]);
    assert.is(report.tested.length, selfTests[0]!.length);
    assert.equal([...(await model.run(image))["logits"]!], right);
    assert.equal(notices.slice(2), ["f16 computes wrongly on this device; f32 is used"]);
    assert.equal((await model.selfTest()).failures, []);
  });

  test("where every dtype is wrong a loaded model says so and stays as it is", async () => {
    const notices: string[] = [];
    using model = await loadRandom(ofVariants(wrongHalves, mutated(sound, ...kernelsOf(hopeless))), { device, onNotice: (text) => notices.push(text) });
    const report = await model.selfTest();
    assert.equal([report.passed, report.dtype, model.dtype], [false, "f16", "f16"]);
    assert.equal(report.failures.map(({ dtype }) => dtype), ["f16", "f32"]);
    assert.match(notices.at(-1)!, /^f32 cannot be used either: /);
    // A dtype that was asked for by name is kept.
    using asked = await loadRandom(ofVariants(wrongHalves, sound), { device, dtype: "f16" });
    assert.equal([(await asked.selfTest()).passed, asked.dtype], [false, "f16"]);
  });

  test("a model's own device that is lost is replaced by one that is tested again", async () => {
    const notices: string[] = [];
    using model = await loadRandom(ofVariants(wrongHalves, sound), { selfTest: true, onNotice: (text) => notices.push(text) });
    model.device.destroy();
    assert.equal([...(await model.run(image))["logits"]!], right);
    assert.is(model.dtype, "f32");
    assert.ok(notices.some((text) => text.includes("was lost")));
  });

  if (device.features.has("shader-f16")) {
    test("f16: right kernels pass in every way, and a wrong one that stands alone makes load take f32", async () => {
      const both = definitionOf({ ...spec, dtype: ["f16", "f32"] });
      const [halves, singles] = both.variants as readonly [Variant, Variant];
      using model = await loadRandom(both, { device, selfTest: true });
      assert.is(model.dtype, "f16");
      for (const { id, choices } of halves.plan.routines) {
        for (const { name } of choices) {
          if (await model.choose({ [id]: name }).then(() => false, () => true)) continue;
          assert.equal((await model.selfTest()).failures, [], `${id} by ${name}`);
        }
      }
      const wrong = halves.plan.routines.find(({ choices }) => choices.every(({ launches }) => launches.every(({ kernel }) => tooLarge(halves.kernels[kernel]!) !== halves.kernels[kernel])))!;
      const notices: string[] = [];
      using other = await loadRandom({ ...both, variants: [mutated(halves, ...wrong.choices.flatMap(({ launches }) => launches.map(({ kernel }) => kernel))), singles] }, { device, selfTest: true, onNotice: (text) => notices.push(text) });
      assert.is(other.dtype, "f32");
      assert.match(notices.at(-1)!, /^f16 cannot be used: .* no other way is right on this device; f32 is used$/);
    });
  }

  const batched = definitionOf({ ...spec, batch: [1, 3] });
  const [wide] = batched.variants;
  const [smallest, largest] = wide.plan.programs.infer.map(({ dispatches }) => new Set(dispatches.map(({ routine }) => routine)));
  /** Routines of the larger batch alone whose first way is changed by the mutation, with its last kernel. */
  const larger = wide.plan.routines.filter(({ id, choices }) => largest!.has(id) && !smallest!.has(id) && choices.every(({ launches }) => tooLarge(wide.kernels[launches.at(-1)!.kernel]!) !== wide.kernels[launches.at(-1)!.kernel]));
  const withKernels = (from: ModelDefinition, variant: Variant): ModelDefinition => ({ ...from, variants: [variant] });

  test("kernels of a larger batch are tested, and named with it", async () => {
    using model = await loadRandom(batched, { device });
    const report = await model.selfTest();
    assert.equal([report.passed, report.failures, report.untested], [true, [], []]);
    assert.is(report.tested.length, wide.plan.routines.length);
    assert.ok(report.tested.includes("blocks.0.mlp.fc1") && report.tested.includes("blocks.0.mlp.fc1 of 3 images"), report.tested.join(", "));
    assert.ok(larger.length >= 3);
    for (const { id, choices } of [larger[0]!, larger.at(-1)!]) {
      using wrong = await loadRandom(withKernels(batched, mutated(wide, ...choices.flatMap(({ launches }) => launches.map(({ kernel }) => kernel)))), { device });
      const { passed, failures } = await wrong.selfTest();
      const failure = failures.find(({ routine }) => routine === id)!;
      assert.equal([passed, failure.instead], [false, undefined]);
      assert.match(failure.dispatch, / of 3 images$/);
    }
  });

  test("whole runs are compared in every batch, and not with what another model gives", async () => {
    const seed = "an image";
    using model = await loadRandom(batched, { device });
    const logits = (await model.run(seededValues(seed, [3, 32, 32], "activation")))["logits"]!;
    const reference: Reference = { seed, model: wide.plan.model, output: "logits", at: [0, 4, 9], expected: [0, 4, 9].map((i) => logits[i]!), scale: 1, by: "f32" };
    const testWith = async (tested: Model<AnyOutputs, string>, changed: Partial<Reference> = {}): Promise<readonly [SelfTestReport, readonly string[]]> => {
      const report = await tested.selfTest();
      const said: string[] = [];
      const { engine } = tested["runner"];
      return [(await testedOutputs({ ...engine, report: { ...report, passed: true, failures: [] }, reference: { ...reference, ...changed } }, (text) => said.push(text), undefined)).report, said];
    };
    const [{ output, untested }, said] = await testWith(model);
    assert.equal([output, untested, said], [{ name: "logits", wrong: undefined }, [], []]);
    const { id } = larger.find((routine) => wide.plan.programs.infer[1]!.dispatches.at(-1)!.routine === routine.id)!;
    using wrong = await loadRandom(withKernels(batched, mutated(wide, ...wide.plan.routines.find((routine) => routine.id === id)!.choices.flatMap(({ launches }) => launches.map(({ kernel }) => kernel)))), { device });
    const error = await rejection(testWith(wrong));
    assert.instance(error, SelfTestError);
    assert.match(error.message, /a whole run gives \S+ where \S+ is right \(logits, image 1 of 3, element 0, run 1\)/);
    const others: readonly Partial<Reference>[] = [{ model: "another" }, { model: undefined as never }, { at: [0, 4, 10] }, { output: "features" }];
    for (const changed of others) {
      const [report, notices] = await testWith(model, { ...changed, expected: [1, 2, 3] });
      assert.equal([report.passed, report.output, notices.length], [true, undefined, 1]);
      assert.match(notices[0]!, /^not tested: whole runs \(.*pack them for this package\)$/);
      assert.equal(report.untested.map((what) => `not tested: ${what}`), notices);
    }
  });

  test("products over several bindings: every part is tested, what is added in place too", async () => {
    // Half of fc2's 256 rows and 64 columns.
    const split = definitionOf({ ...spec, image: 16, dim: 64, classes: 300, batch: [1, 3] }, {}, { bindingBytes: 32768 });
    const [parts] = split.variants;
    const labels = parts.plan.programs.infer[0]!.dispatches.map(({ label }) => label).filter((label) => label.startsWith("blocks.0.mlp.fc2 columns "));
    assert.ok(labels.length >= 2);
    using model = await loadRandom(split, { device });
    const report = await model.selfTest();
    assert.equal([report.failures, report.untested], [[], []]);
    assert.ok(labels.every((label) => report.tested.includes(label) && report.tested.includes(`${label} of 3 images`)));
    const label = labels.at(-1)!;
    const { routine } = parts.plan.programs.infer[1]!.dispatches.find((dispatch) => dispatch.label === label)!;
    using wrong = await loadRandom(withKernels(split, mutated(parts, ...parts.plan.routines.find(({ id }) => id === routine)!.choices.flatMap(({ launches }) => launches.map(({ kernel }) => kernel)))), { device });
    assert.ok((await wrong.selfTest()).failures.some(({ dispatch }) => dispatch === `${label} of 3 images`));
  });

  for (const rescale of ["after", "before"] as const) {
    test(`what prepares images is compared with the CPU, and refused where it is wrong: rescale ${rescale}`, async () => {
      const photographed = definitionOf({ ...spec, preprocess: { ...spec.preprocess, rescale } });
      using model = await loadRandom(photographed, { device });
      assert.equal((await model.selfTest()).images, { wrong: undefined });
      const texture = device.createTexture({ size: [40, 50], format: "rgba8unorm", usage: 1 });
      const pixels = { data: new Uint8Array(4 * 40 * 50), width: 40, height: 50 };
      const expected = [...(await model.run(pixels))["logits"]!];
      assert.equal([...(await model.run(texture))["logits"]!], expected);
      const { imageKernels } = await photographed.images!();
      // The last of the pixels that a value is made of is left out.
      for (const which of ["rows", "columns"] as const) {
        const images = () => Promise.resolve({ imageKernels: { ...imageKernels, [which]: { ...imageKernels[which], code: imageKernels[which].code.replace("i < count", "i + 1u < count") } } });
        const notices: string[] = [];
        using wrong = await loadRandom({ ...photographed, images }, { device, selfTest: which === "rows", onNotice: (text) => notices.push(text) });
        const report = await wrong.selfTest();
        assert.ok(report.passed && report.images?.wrong, `${which}: ${JSON.stringify(report.images)}`);
        assert.ok(notices.some((text) => /^images that this device prepares have \S+ where \S+ is right: frames, canvases and textures are refused$/.test(text)));
        const error = await rejection(wrong.run(texture));
        assert.instance(error, InputError);
        assert.match(error.message, /give pixels, files or f32 values/);
        assert.equal([...(await wrong.run(pixels))["logits"]!], expected);
      }
      // Kernels that the device does not compile keep nobody from the model.
      using other = await loadRandom({ ...photographed, images: () => Promise.resolve({ imageKernels: { ...imageKernels, rows: { ...imageKernels.rows, code: "fn other() {}" } } }) }, { device, selfTest: true });
      const { passed, images, untested } = await other.selfTest();
      assert.equal([passed, images, untested.length], [true, undefined, 1]);
      assert.match(untested[0]!, /^the preparation of images \(/);
      texture.destroy();
    });
  }

  test("what a self-test chose holds when other ways are chosen, and on the device after", async () => {
    using whole = await loadRandom(definition);
    const routine = sound.plan.routines.find(({ id, choices }) => choices.length > 1 && changes(whole.routines.get(id)!.choice.launches.at(-1)!.kernel))!;
    const { choice } = whole.routines.get(routine.id)!;
    const wrong = ofVariants(mutated(sound, choice.launches.at(-1)!.kernel));
    using model = await loadRandom(wrong);
    const { failures } = await model.selfTest();
    const { instead } = failures.find(({ routine: id }) => id === routine.id)!;
    assert.ok(instead !== undefined);
    const other = sound.plan.routines.find(({ id }) => id !== routine.id)!;
    await model.choose({ [other.id]: model.routines.get(other.id)!.choice.name });
    assert.is(model.routines.get(routine.id)!.choice.name, instead);
    for (let lost = 0; lost < 2; lost++) {
      model.device.destroy();
      await model.run(image);
      assert.is(model.routines.get(routine.id)!.choice.name, instead, `after ${lost + 1} devices`);
      await model.choose({});
    }
  });

  test("a self-test that is aborted leaves every kernel as it was", async () => {
    using whole = await loadRandom(definition, { device });
    const routine = sound.plan.routines.find(({ id, choices }) => choices.length > 1 && changes(whole.routines.get(id)!.choice.launches.at(-1)!.kernel))!;
    const stop = new AbortController();
    using model = await loadRandom(ofVariants(mutated(sound, whole.routines.get(routine.id)!.choice.launches.at(-1)!.kernel)), { device, onNotice: (text) => / is used instead$/.test(text) && stop.abort(new Error("enough")) });
    const before = [...(await model.run(image))["logits"]!];
    assert.not.equal(before, right);
    assert.is((await rejection(model.selfTest({ signal: stop.signal }))).message, "enough");
    assert.equal([...(await model.run(image))["logits"]!], before);
    // In the last of its work as well, when all kernels are known.
    const { engine } = model["runner"];
    const ends = new AbortController();
    const reference: Reference = { seed: "", model: sound.plan.model, output: "logits", at: [0], get expected() { ends.abort(new Error("late")); return [0]; }, scale: 1e9, by: "" };
    const { selfTests: tests } = await definition.selfTests!();
    assert.is((await rejection(selfTest({ ...engine, reference }, { tests: tests[0]!, images: undefined }, () => undefined, ends.signal))).message, "late");
    assert.equal([...(await model.run(image))["logits"]!], before);
  });

  test("a model that is disposed ends its self-test, and says nothing more", async () => {
    for (const milliseconds of [0, 20]) {
      const said: string[] = [];
      const model = await loadRandom(definition, { device, onNotice: (text) => said.push(text) });
      said.length = 0;
      const testing = rejection(model.selfTest());
      await new Promise((wake) => setTimeout(wake, milliseconds));
      model.dispose();
      assert.match(String(await testing), /tested was disposed/);
      assert.equal(said, []);
    }
  });

  test("an abort ends a load at once while kernels are tested, and the app's device sees no error", async () => {
    const { device: own } = await platform.requestDevice({ adapter: "software" });
    const errors: string[] = [];
    own.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
    const stop = new AbortController();
    let unblock = (): void => undefined;
    const blocked = new Promise<void>((resolve) => (unblock = resolve));
    let built = false;
    const wait = async <T>(work: Promise<T>): Promise<T> => {
      const result = await work;
      // Pipelines are waited for first, and then the result of the first kernel, which does not come before the abort.
      if (built) {
        stop.abort(new Error("enough"));
        await blocked;
      }
      built = true;
      return result;
    };
    // Counted from the abort on: building pipelines may take longer than that.
    const patience = new Promise<string>((resolve) => stop.signal.addEventListener("abort", () => setTimeout(() => resolve("still waits"), 2000)));
    const ended = await Promise.race([rejection(loadRandom(definitionOf(spec, { wait }), { device: own, selfTest: true, signal: stop.signal })).then(({ message }) => message), patience]);
    unblock();
    assert.is(ended, "enough");
    await new Promise((turn) => setTimeout(turn, 50));
    await own.queue.onSubmittedWorkDone();
    assert.equal(errors, []);
    own.destroy();
  });

  test("load with selfTest refuses a package without, and what is no boolean", async () => {
    const { selfTests: _, ...without } = definition;
    assert.match((await rejection(loadRandom(without, { device, selfTest: true }))).message, /without self-tests; compile it again/);
    assert.match((await rejection(loadRandom(definition, { device, selfTest: "yes" as never }))).message, /selfTest is string; it is true or false/);
  });

  test.after(() => device.destroy());
  test.run();
}
