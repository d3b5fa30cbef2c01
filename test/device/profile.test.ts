/** `model.profile`: what each dispatch of a run takes, on devices with a clock and without. */
import * as assert from "uvu/assert";
import { VitcError } from "../../runtime/errors.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom, rejection } from "../tools/loaded.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "profiled", image: 64, patch: 8, dim: 64, depth: 2, heads: 2, classes: 4, batch: [1, 2] };

const reason = await softwareReason();
if (reason) skipAll("profiles of a run", reason);
else {
  const test = suite("profiles of a run");
  const definition = definitionOf(spec);
  const { plan } = definition.variants[0];
  const values = Float32Array.from({ length: 3 * 64 * 64 }, (_, i) => Math.sin(i));

  test("a device with timestamps is timed by them, dispatch by dispatch", async () => {
    const { device } = await platform.requestDevice({ adapter: "software", optionalFeatures: ["timestamp-query"], flags: ["disable-dawn-features=timestamp_quantization"] });
    using model = await loadRandom(definition, { device });
    const before = [...(await model.run(values))["logits"]!];
    const { clock, runs, batch, dispatches } = await model.profile({ runs: 5 });
    assert.equal([clock, runs, batch], [device.features.has("timestamp-query") ? "timestamps" : "wall", 5, 1]);
    const planned = plan.programs.infer[0]!.dispatches;
    assert.equal(dispatches.map(({ label, routine, flops, bytes }) => ({ label, routine, flops, bytes })), planned.map(({ label, routine, flops, bytes }) => ({ label, routine, flops, bytes })));
    for (const { label, routine, choice, by, expected, measured } of dispatches) {
      assert.ok(measured !== undefined && measured >= 0 && measured < 1e6 && expected > 0, `${label}: ${measured} of ${expected}`);
      assert.equal([choice, by], [model.routines.get(routine)!.choice.name, model.routines.get(routine)!.by]);
    }
    // The products of a block take longer than the head's four numbers.
    const time = (name: string): number => dispatches.find(({ label }) => label === name)!.measured!;
    assert.ok(time("blocks.0.attn.qkv") > time("head"), JSON.stringify(dispatches.map(({ label, measured }) => [label, measured])));
    assert.equal([...(await model.run(values))["logits"]!], before, "runs go on as before");
    device.destroy();
  });

  test("without timestamps the wall clock is taken, in turn with other runs", async () => {
    using model = await loadRandom(definition);
    assert.not.ok(model.device.features.has("timestamp-query"), "models ask for none");
    const alone = [...(await model.run(values))["logits"]!];
    const [first, profile, second] = await Promise.all([model.run(values), model.profile({ runs: 2, batch: 2 }), model.run(values)]);
    assert.equal([profile.clock, profile.batch, profile.runs], ["wall", 2, 2]);
    assert.ok(profile.dispatches.every(({ measured }) => measured! > 0));
    assert.equal([[...first["logits"]!], [...second["logits"]!]], [alone, alone]);
  });

  test("with no runs there are expected times alone", async () => {
    using model = await loadRandom(definition);
    const { clock, dispatches } = await model.profile({ runs: 0 });
    assert.is(clock, "none");
    assert.ok(dispatches.every(({ measured, expected }) => measured === undefined && expected > 0));
  });

  test("what cannot be timed is refused, aborts end it, and a lost device is replaced", async () => {
    using model = await loadRandom(definition);
    for (const [options, said] of [[{ runs: -1 }, "runs is -1; it is a whole number from 0 to 1000"], [{ runs: 1.5 }, "runs is 1.5"], [{ batch: 3 }, "batch is 3; profiled was compiled for 1 and 2"]] as const) {
      const error = await rejection(model.profile(options));
      assert.ok(error instanceof VitcError && error.message.startsWith(said), error.message);
    }
    const stop = new AbortController();
    const stopped = rejection(model.profile({ runs: 1000, signal: stop.signal }));
    stop.abort(new Error("enough"));
    assert.is((await stopped).message, "enough");
    const profiled = model.profile({ runs: 3 });
    model.device.destroy();
    assert.is((await profiled).runs, 3);
  });

  test.run();
}
