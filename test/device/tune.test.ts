import * as assert from "uvu/assert";
import { openTimedDevice } from "../../compiler/measure/device.js";
import { profile } from "../../compiler/measure/profile.js";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import type { Subject } from "../../compiler/measure/subject.js";
import { openNetwork, type OpenedNetwork } from "../../compiler/measure/tune-network.js";
import { tune, type Choices } from "../../compiler/measure/tune.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { abi, Model, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { Plan } from "../../runtime/plan.js";
import { softwareReason } from "../tools/adapter.js";
import type { AnyOutputs } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "tiny", image: 16, patch: 8, dim: 32, depth: 2, heads: 2, classes: 4, outputs: ["embed"] };

/** A package as vitc compile would write it, with other texts of some kernels. */
function packageOf(change: (code: string, id: string) => string = (code) => code, batch: readonly number[] = [1]): { subject: Subject; weights: ReturnType<typeof randomWeights>["source"]; plan: Plan } {
  const { plan, kernels, recipe } = makePlan(resolve({ ...spec, batch }));
  const texts = Object.fromEntries(kernels.map(({ id, code }) => [id, change(code, id)]));
  // Not what vitc tune left on this machine.
  const alone = { ...platform, tuned: () => Promise.resolve([]) };
  const definition: ModelDefinition = { abi, variants: [{ plan, kernels: texts, recipe }], command: "", platform: () => Promise.resolve(alone) };
  return { subject: { name: "tiny", plan, load: (options) => Model.load<AnyOutputs>(definition, options) }, weights: randomWeights(recipe, 1).source, plan };
}

const { signal } = new AbortController();

async function opened<T>(made: ReturnType<typeof packageOf>, work: (network: OpenedNetwork) => Promise<T>, clock: "auto" | "wall" = "auto"): Promise<T> {
  const network = await openNetwork({ ...made, adapter: "software", clock, onNotice: () => undefined, signal });
  try {
    return await work(network);
  } finally {
    network.dispose();
  }
}

const reason = await softwareReason();
if (reason) skipAll("tune on a device", reason);
else {
  const test = suite("tune on a device");

  /** The first routine of a run, in a way that is not the one that others are held against. Its result is an output, so nobody else writes there. */
  const firstRoutine = ({ network }: OpenedNetwork, plan: Plan) => {
    const { dispatches } = plan.programs.infer[0]!;
    const { id, choices } = plan.routines.find((routine) => routine.id === dispatches[0]!.routine)!;
    const { usable } = network.routines.find((routine) => routine.id === id)!;
    const way = choices.find(({ name }, i) => i > 0 && usable.includes(name))!;
    return { id, name: way.name, kernel: way.launches[way.launches.length - 1]!.kernel };
  };

  /** Every routine in the way that is right on every adapter. */
  const firstWays = (plan: Plan): Choices => Object.fromEntries(plan.routines.map(({ id, choices }) => [id, choices[0]!.name]));

  const untuned = ({ network }: OpenedNetwork): Choices => Object.fromEntries(network.routines.map(({ id, untuned: name }) => [id, name]));

  test("every way of every routine is right on this adapter, and its time is a part of the run's", async () => {
    await opened(packageOf(undefined, [1, 2]), async (found) => {
      const { network } = found;
      assert.equal([network.batches, network.timesRoutines], [[1, 2], true]);
      assert.ok(network.routines.some(({ usable }) => usable.length > 1));
      const most = Math.max(...network.routines.map(({ usable }) => usable.length));
      for (let i = 0; i < most; i++) {
        const choices = Object.fromEntries(network.routines.map(({ id, usable }) => [id, usable[i % usable.length]!]));
        assert.is(await network.verify(choices, network.batches), undefined, JSON.stringify(choices));
      }
      const times = await network.timeRoutines(untuned(found), 2);
      assert.equal([...times.keys()].toSorted(), network.routines.filter(({ batches }) => batches.includes(2)).map(({ id }) => id).toSorted());
      assert.ok([...times.values()].every((time) => time > 0));
      assert.ok((await network.timeRun(untuned(found), 2)) > 0);
    });
  });

  test("a way that writes nothing is seen, though the right result lies where it should have written", async () => {
    const honest = packageOf();
    const broken = await opened(honest, (found) => Promise.resolve(firstRoutine(found, honest.plan)));
    const idle = packageOf((code, id) => (id === broken.kernel ? code.replace(/fn main\([\s\S]*?\) \{/, "$& if (true) { return; }") : code));
    await opened(idle, async ({ network }) => {
      assert.match((await network.verify({ ...firstWays(idle.plan), [broken.id]: broken.name }, [1])) ?? "", /^\w+ is wrong by/);
      assert.is(await network.verify(firstWays(idle.plan), [1]), undefined, "and the others are as right as before");
    });
  });

  test("a way that the driver refuses is given up, with the driver's words", async () => {
    const honest = packageOf();
    const broken = await opened(honest, (found) => Promise.resolve(firstRoutine(found, honest.plan)));
    const refused = packageOf((code, id) => (id === broken.kernel ? `${code}\nfn more() { nothing(); }` : code));
    await opened(refused, async ({ network }) => {
      assert.match((await network.verify({ ...firstWays(refused.plan), [broken.id]: broken.name }, [1])) ?? "", /The device refused kernel .*nothing/s);
      assert.is(await network.verify(firstWays(refused.plan), [1]), undefined);
    });
  });

  test("without timestamps whole runs decide, and routines have estimates", async () => {
    const made = packageOf();
    await opened(made, async (found) => {
      const { network } = found;
      assert.equal([found.clock, network.timesRoutines], ["wall", false]);
      const times = await network.timeRoutines(untuned(found), 1);
      assert.equal([...times.keys()].toSorted(), made.plan.routines.map(({ id }) => id).toSorted());
      assert.ok([...times.values()].every((time) => time >= 0) && [...times.values()].some((time) => time > 0));
      const { choices, routines, outOfTime } = await tune(network, { seconds: 4, seed: 1 });
      assert.is(Object.keys(choices).length, made.plan.routines.length);
      assert.ok(outOfTime || routines.some(({ measured }) => measured));
    }, "wall");
  });

  test("tuning names a way of every routine that the package can be loaded with", async () => {
    const made = packageOf();
    const result = await opened(made, ({ network }) => tune(network, { seconds: 10, seed: 1 }));
    assert.equal(Object.keys(result.choices).toSorted(), made.plan.routines.map(({ id }) => id).toSorted());
    assert.ok(result.outOfTime || result.routines.some(({ measured }) => measured));
    const shares = result.routines.map(({ share }) => share);
    assert.equal(shares, shares.toSorted((a, b) => b - a));
    const { device } = await openTimedDevice({ plan: made.plan, adapter: "software", robust: false, clock: "auto" });
    const model = await made.subject.load({ weights: made.weights, adapter: "software", device, dtype: "f32", onNotice: () => undefined, onProgress: () => undefined, signal });
    await model.choose(result.choices);
    assert.equal(Object.fromEntries([...model.routines].map(([id, { choice }]) => [id, choice.name])), result.choices);
    model.dispose();
    device.destroy();
  });

  test("a profile has the choice of each dispatch and the launches of the choice, whose times add up", async () => {
    const made = packageOf();
    const result = await profile({ ...made, batch: 1, adapter: "software", robust: false, clock: "auto", runs: 3, seconds: 1, onNotice: () => undefined, onProgress: () => undefined, signal });
    const { routines, programs } = made.plan;
    assert.equal(result.dispatches.map(({ label, routine }) => [label, routine]), programs.infer[0]!.dispatches.map(({ label, routine }) => [label, routine]));
    for (const { routine, choice, by, launches, microseconds } of result.dispatches) {
      const { choices } = routines.find(({ id }) => id === routine)!;
      assert.equal(launches.map(({ kernel }) => kernel), choices.find(({ name }) => name === choice)!.launches.map(({ kernel }) => kernel));
      assert.ok(by === "cost" || choices.length === 1 || by === "only");
      assert.ok(Math.abs(microseconds - launches.reduce((sum, launch) => sum + launch.microseconds, 0)) < 1e-6);
    }
    assert.ok(result.dispatches.every(({ kind }) => kind !== "other"));
  });

  test.run();
}
