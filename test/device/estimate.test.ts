/** Estimates on an adapter: what they are made of, what they refuse, and that they are near what a run takes. */
import * as assert from "uvu/assert";
import { calibrate, probedPredictor } from "../../compiler/measure/calibrate.js";
import { randomInput, randomWeights } from "../../compiler/measure/random-weights.js";
import { median } from "../../compiler/measure/statistics.js";
import { plannedBytes } from "../../compiler/measure/subject.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { chooseRoutines } from "../../runtime/choose.js";
import { AdapterError, VitcError } from "../../runtime/errors.js";
import { estimateModel } from "../../runtime/estimate.js";
import { abi, Model, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { probeRoutines, routineWork } from "../../runtime/probe.js";
import { softwareReason } from "../tools/adapter.js";
import { importPackage, temporaryFolder, writeCompiled, type AnyOutputs } from "../tools/packages.js";
import { recording } from "../tools/recording-device.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "estimated", image: 64, patch: 8, dim: 96, depth: 4, heads: 3, classes: 10 };

/** A package as vitc compile would write it, with other texts of some kernels, away from what vitc tune left on this machine. */
function packageOf(change: object = {}, rewrite: (code: string, id: string) => string = (code) => code) {
  const { plan, kernels, recipe } = makePlan(resolve({ ...spec, ...change }));
  const texts = Object.fromEntries(kernels.map(({ id, code }) => [id, rewrite(code, id)]));
  const alone = { ...platform, tuned: () => Promise.resolve([]) };
  const definition: ModelDefinition = { abi, variants: [{ plan, kernels: texts, recipe }], command: "npx vitc compile estimated.ts", platform: () => Promise.resolve(alone) };
  return { plan, kernels: texts, recipe, definition };
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(() => undefined, (reason: unknown) => reason);
  assert.instance(error, Error);
  return error as Error;
}

const refusals = suite("estimates, refusals");

refusals("the null device is refused: it executes nothing, and its times would mean nothing", async () => {
  const { device } = await platform.requestDevice({ adapter: "null" });
  const error = await rejection(estimateModel(packageOf().definition, device));
  assert.instance(error, AdapterError);
  assert.match(error.message, /null backend executes nothing/);
  device.destroy();
});

refusals.run();

const reason = await softwareReason();
if (reason) skipAll("estimates", reason);
else {
  const test = suite("estimates");
  const { device, adapter } = await platform.requestDevice({ adapter: "software", robust: false, optionalFeatures: ["subgroups"] });

  test("an estimate is near what a run takes, and tells what there is to download and to hold", async () => {
    const { definition, plan, recipe } = packageOf();
    const began = performance.now();
    const { milliseconds, low, high, megabytes, batch, dtype, verdict, adapter: on, reason: why } = await estimateModel(definition, device);
    const taken = performance.now() - began;
    assert.equal([batch, dtype, verdict, on], [1, "f32", "slow", adapter]);
    assert.match(why, /a software adapter/);
    assert.ok(low < milliseconds && milliseconds < high);
    using model = await Model.load<AnyOutputs>(definition, { device, weights: randomWeights(recipe, 1).source, onNotice: () => undefined });
    assert.is(megabytes.gpu, model.gpuBytes / 1e6);
    assert.is(megabytes.gpu, plannedBytes(plan) / 1e6);
    const input = randomInput(3 * 64 * 64);
    const samples: number[] = [];
    for (let i = 0; i < 6; i++) {
      const start = performance.now();
      await model.run(input);
      samples.push(performance.now() - start);
    }
    // Tests share the machine with others, so this is no measurement; benches are.
    assert.ok(milliseconds < 4 * median(samples) && milliseconds > Math.min(...samples) / 4, `${milliseconds} ms, runs took ${samples.map((ms) => ms.toFixed(1)).join(", ")}`);
    assert.ok(taken < 20_000, `${taken} ms`);
  });

  test("download is the weight file's: every parameter once, in either dtype", async () => {
    const { definition, recipe } = packageOf();
    const { source } = randomWeights(recipe, 1);
    const { megabytes: { download } } = await estimateModel(definition, device);
    // The rest of the file is its header.
    assert.ok(source.size / 1e6 > download.f32 && source.size / 1e6 < download.f32 + 0.02, `${source.size} bytes, ${download.f32} MB`);
    assert.is(download.f16, download.f32 / 2);
  });

  test("more blocks and more images take longer", async () => {
    const of = async (depth: number, batch: number): Promise<number> => (await estimateModel(packageOf({ depth }).definition, { device, batch })).milliseconds;
    const [one, four, images] = [await of(1, 1), await of(12, 1), await of(1, 8)];
    assert.ok(four > 2 * one, `${four} is not more than twice ${one}`);
    assert.ok(images > 2 * one, `${images} is not more than twice ${one}`);
  });

  test("kernels that do their work over and over are found to be slower: it is they that are timed", async () => {
    const times = async (rewrite?: (code: string, id: string) => string): Promise<ReadonlyMap<string, number>> => {
      const { plan, kernels } = packageOf({}, rewrite);
      const work = routineWork(plan, [plan.programs.infer[0]!], chooseRoutines(plan, { adapter, features: device.features }), adapter).filter(({ kind }) => kind === "gemm").slice(0, 1);
      return (await probeRoutines({ device, plan, kernels, work, budget: 1000, wait: platform.wait })).microseconds;
    };
    const [[id, honest] = ["", 0]] = await times();
    // The loop over the inner dimension goes round sixteen times.
    const slow = (await times((code) => code.replace("for (var k = 0u; k < steps; k++) {", "for (var turn = 0u; turn < 16u * steps; turn++) { let k = turn % steps;"))).get(id)!;
    assert.ok(honest > 0 && slow > 3 * honest, `${slow} us, ${honest} us`);
  });

  test("a device or an adapter of the user's is used, a device is not destroyed, and all buffers are", async () => {
    const calls: string[] = [];
    const { definition } = packageOf({ depth: 1 });
    let alive = 0;
    const counted = new Proxy(recording(device, calls), {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (key !== "createBuffer") return value;
        return (descriptor: GPUBufferDescriptor): GPUBuffer => {
          const buffer = (value as GPUDevice["createBuffer"])(descriptor);
          const destroy = buffer.destroy.bind(buffer);
          alive++;
          buffer.destroy = () => {
            alive--;
            return destroy();
          };
          return buffer;
        };
      },
    });
    await estimateModel(definition, counted);
    assert.ok(calls.includes("createBuffer"));
    assert.is(alive, 0);
    const again = await estimateModel(definition, { device, dtype: "f32", thresholds: { software: true, fast: 1e6, slow: 1e6 } });
    assert.is(again.verdict, "fast");
    assert.equal((await estimateModel(definition, { adapter: "software" })).adapter.software, true);
    // A device that came from an adapter is ours, and destroyed; here that is seen by a stand-in.
    let destroyed = 0;
    const own = new Proxy(device, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (key === "destroy") return () => void destroyed++;
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    await estimateModel(definition, { info: device.adapterInfo, features: device.features, limits: device.limits, requestDevice: () => Promise.resolve(own) } as unknown as GPUAdapter);
    assert.is(destroyed, 1);
  });

  test("a kernel that the device refuses is done without, as load does", async () => {
    const { plan, definition } = packageOf({ depth: 1 });
    const { choice } = chooseRoutines(plan, { adapter, features: device.features }).get(plan.programs.infer[0]!.dispatches[1]!.routine)!;
    const broken = choice.launches.at(-1)!.kernel;
    const refused = packageOf({ depth: 1 }, (code, id) => (id === broken ? `${code}\nfn more() { nothing(); }` : code));
    assert.ok((await estimateModel(refused.definition, device)).milliseconds > 0);
    assert.ok((await estimateModel(definition, device)).milliseconds > 0);
  });

  test("an estimate can be stopped, and a lost device is said to be lost", async () => {
    const { definition } = packageOf();
    const stop = new AbortController();
    const running = estimateModel(definition, { device, signal: stop.signal });
    setTimeout(() => stop.abort(new Error("enough")), 20);
    assert.match((await rejection(running)).message, /enough/);
    const { device: doomed } = await platform.requestDevice({ adapter: "software" });
    const lost = estimateModel(definition, doomed);
    setTimeout(() => doomed.destroy(), 20);
    const error = await rejection(lost);
    assert.instance(error, VitcError);
    assert.is((error as VitcError).code, "device-lost", error.message);
  });

  test("a calibration is of this adapter: every factor above 0, and a run of nothing takes little", async () => {
    const { plan, kernels } = packageOf();
    const found = await calibrate({ device, adapter, features: device.features, plan, kernels });
    for (const [part, factor] of Object.entries(found)) assert.ok(factor > 0 && factor < 1000, `${part} ${factor}`);
    const predictor = await probedPredictor({ device, adapter });
    const { ms, low, high } = predictor.predict(plan);
    assert.ok(ms > 0 && low < ms && ms < high);
  });

  test("a generated package estimates itself, and needs no weights for it", async () => {
    const folder = temporaryFolder("estimate");
    await writeCompiled(folder, { ...spec, depth: 1 });
    const { estimate } = (await importPackage(folder)) as unknown as { estimate: (on?: object) => ReturnType<typeof estimateModel> };
    const { milliseconds, adapter: on, megabytes } = await estimate({ adapter: "software" });
    assert.ok(milliseconds > 0 && on.software && megabytes.gpu > 0);
  });

  test.after(() => device.destroy());
  test.run();
}
