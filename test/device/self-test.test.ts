/** Self-tests of packages: right kernels pass, a mutated one is named and replaced. */
import * as assert from "uvu/assert";
import type { ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom, rejection } from "../tools/loaded.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "tested", image: 32, patch: 8, dim: 32, depth: 2, heads: 2, classes: 10, layerScale: 0.1, pool: "avg", preprocess: { mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2], normalize: "inside" } };

const reason = await softwareReason();
if (reason) skipAll("self-tests", reason);
else {
  const test = suite("self-tests");
  const { device } = await platform.requestDevice({ adapter: "software", optionalFeatures: ["subgroups"] });
  const definition = definitionOf(spec);
  const { selfTests } = await definition.selfTests!();

  /** The definition with one kernel's text changed. */
  const mutated = (id: string, change: (code: string) => string): ModelDefinition | undefined => {
    const [variant] = definition.variants;
    const code = change(variant.kernels[id]!);
    if (code === variant.kernels[id]) return undefined;
    return { ...definition, variants: [{ ...variant, kernels: { ...variant.kernels, [id]: code } }] };
  };

  test("every routine has a test, and what they hold is small", () => {
    assert.equal(selfTests[0]!.map(({ routine }) => routine).toSorted(), definition.variants[0].plan.routines.map(({ id }) => id).toSorted());
    const bytes = JSON.stringify(selfTests).length;
    assert.ok(bytes < 12_000, `${bytes} bytes`);
  });

  test("right kernels pass, in every way that the device has, and the model's results stay", async () => {
    using model = await loadRandom(definition, { device });
    const image = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => 0.5 + 0.5 * Math.sin(i));
    const before = [...(await model.run(image))["logits"]!];
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
    assert.equal([...(await model.run(image))["logits"]!], before);
  });

  test("a mutated kernel is caught, by its dispatch, and another way takes its place", async () => {
    using whole = await loadRandom(definition, { device });
    let [caught, replaced] = [0, 0];
    for (const { id, choices } of definition.variants[0].plan.routines) {
      const chosen = whole.routines.get(id)!.choice;
      const { kernel } = chosen.launches.at(-1)!;
      const notices: string[] = [];
      // Every number that is written is a little too large.
      const wrong = mutated(kernel, (code) => code.replace(/^(\s*)(\w+)(\[[^\n]*\] = )(.*);$/gm, (line, indent: string, name: string, at: string, value: string) => (new RegExp(`read_write> ${name}:`).test(code) ? `${indent}${name}${at}(${value}) * 1.01;` : line)));
      // Kernels that write in several places, or by functions, are left alone.
      if (wrong === undefined) continue;
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

  test.after(() => device.destroy());
  test.run();
}
