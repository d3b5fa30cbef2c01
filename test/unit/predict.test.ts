/** Expected times: the fit of the cost model's factors, how its errors are told, what an estimate is made of, and verdicts. No adapter. */
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { CalibratedPredictor, partsOf, parts, uncalibrated, type Calibration } from "../../compiler/measure/calibrate.js";
import { accuracyOf, fitFactors, heldOut, spreadOf, type Observation } from "../../compiler/measure/fit.js";
import { generator } from "../../compiler/measure/statistics.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { chooseRoutines } from "../../runtime/choose.js";
import { describeAdapter, type AdapterInfo } from "../../runtime/device.js";
import { combine, estimateModel, judge, type EstimateInput } from "../../runtime/estimate.js";
import { abi, type ModelDefinition } from "../../runtime/definition.js";
import { probeOrder, routineWork, type RoutineWork } from "../../runtime/probe.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("expected times");

// ---------------------------------------------------------------------------------------------------------- the fit

const planted = [1.8, 0.6, 3, 0.4] as const;
const prior = [1, 1, 1, 1] as const;

/** Times that planted factors give, some noise, and a share of outliers as on a machine that does other work now and then. */
function observations(count: number, { noise = 0, outliers = 0 } = {}): Observation[] {
  const random = generator(count + 1);
  return Array.from({ length: count }, () => {
    const own = planted.map(() => 20 * random() ** 2);
    const exact = own.reduce((sum, part, i) => sum + part * planted[i]!, 0);
    return { parts: own, ms: exact * Math.exp(noise * (random() + random() - 1)) * (random() < outliers ? 3 : 1) };
  });
}

const near = (found: readonly number[], wanted: readonly number[], share: number): void => found.forEach((value, i) => assert.ok(Math.abs(value / wanted[i]! - 1) <= share, `${found.join(", ")} instead of ${wanted.join(", ")}`));

test("planted factors are found from exact times", () => {
  // The prior pulls a little.
  near(fitFactors(observations(40), prior), planted, 0.02);
});

test("planted factors are found in noise, and with one time in ten three times too long", () => {
  near(fitFactors(observations(120, { noise: 0.1 }), prior), planted, 0.1);
  near(fitFactors(observations(120, { noise: 0.1, outliers: 0.1 }), prior), planted, 0.12);
});

test("a probe that found one factor hundreds of times too large or too small is overruled by enough times", () => {
  near(fitFactors(observations(40), [220, 1, 1, 1]), planted, 0.05);
  near(fitFactors(observations(40), [1, 1, 1 / 300, 1]), planted, 0.05);
});

test("without observations factors are the prior, and a part that none has stays in its place to the others", () => {
  assert.equal(fitFactors([], prior), prior);
  const [first, second, third] = fitFactors([1, 2, 3, 4, 5].map((n) => ({ parts: [n, 6 - n, 0], ms: 2 * n + 2 * (6 - n) })), [1, 1, 0.5]) as [number, number, number];
  near([first, second, third], [2, 2, 1], 1e-6);
});

test("one observation, or the same ones over and over, move all factors alike, for they say nothing of each", () => {
  const one = { parts: [1, 1, 1, 1], ms: 8 };
  for (const rows of [[one], [one, one], Array.from({ length: 50 }, () => one)]) near(fitFactors(rows, prior), [2, 2, 2, 2], 1e-6);
  assert.ok(heldOut([one, one], prior).medianError < 1e-6);
});

test("observations that are no numbers, or not above 0, are as good as absent", () => {
  const good = observations(30);
  const bad: Observation[] = [NaN, Infinity, 0, -1].map((ms) => ({ parts: [1, 1, 1, 1], ms }));
  const badParts: Observation[] = [NaN, Infinity, -1].map((part) => ({ parts: [part, 1, 1, 1], ms: 3 }));
  assert.equal(fitFactors([...bad, ...good, ...badParts, { parts: [0, 0, 0, 0], ms: 1 }], prior), fitFactors(good, prior));
  assert.equal(fitFactors(bad, prior), prior);
});

test("whatever times there are, factors are finite and above 0", () => {
  const part = fc.double({ min: 0, max: 1e6, noNaN: true });
  const row = fc.record({ parts: fc.tuple(part, part, part), ms: fc.double({ min: 1e-6, max: 1e9, noNaN: true }) });
  fc.assert(fc.property(fc.array(row, { maxLength: 12 }), (rows) => {
    for (const factor of fitFactors(rows, [1, 2, 0.5])) assert.ok(factor > 0 && Number.isFinite(factor), String(factor));
  }));
});

// ------------------------------------------------------------------------------------------------------- its errors

test("errors and order are counted by hand", () => {
  // 100 and 105 have no order worth predicting; of the other five pairs, 100 before 200 alone is predicted wrongly.
  const { count, medianError, pairs, ordered } = accuracyOf([210, 110, 200, 400], [100, 105, 200, 400]);
  assert.equal([count, pairs], [4, 5]);
  assert.is(ordered, 4 / 5);
  assert.ok(Math.abs(medianError - (5 / 105) / 2) < 1e-12);
  assert.is(accuracyOf([1, 1], [1, 1]).ordered, 1);
  // Two that are predicted alike are not in the right order.
  assert.is(accuracyOf([1, 1], [1, 2]).ordered, 0);
  assert.throws(() => accuracyOf([], []), RangeError);
});

test("held-out errors are those of what a fit has not seen", () => {
  const exact = observations(40);
  assert.ok(heldOut(exact, prior).medianError < 0.01);
  assert.is(heldOut(exact, prior).ordered, 1);
  // A time that nothing explains is wrong by a lot when it is held out, however well a fit that sees it does.
  const spoiled = [...exact.slice(1), { ...exact[0]!, ms: 5 * exact[0]!.ms }];
  assert.ok(Math.abs(heldOut(spoiled, prior).errors[39]! + Math.log(5)) < 0.1);
  assert.equal(heldOut(spoiled, prior), heldOut(spoiled, prior));
  assert.throws(() => heldOut(exact.slice(0, 1), prior), RangeError);
  assert.ok(Math.abs(spreadOf([-0.1, 0.1, 0.1, -0.1, 5]) - 0.14826) < 1e-9);
});

// ---------------------------------------------------------------------------------------------------- the predictor

const software: AdapterInfo = describeAdapter({ vendor: "google", architecture: "swiftshader", device: "SwiftShader Device", description: "SwiftShader driver-5.0.0", isFallbackAdapter: true, subgroupMinSize: 4, subgroupMaxSize: 4 });
const on = { adapter: software, features: new Set(["subgroups"]) };
const plans = [1, 2, 3, 4, 6, 8].flatMap((depth) => [32, 64].map((dim) => makePlan(resolve(smallSpec({ name: `d${depth}w${dim}`, image: 32, depth, dim }))).plan));

const calibration: Calibration = { matmul: 2, convolution: 3, attention: 0.5, other: 1, launches: 1.5, run: 0.2 };
const timeOf = (of: Calibration) => (plan: (typeof plans)[number]): number => partsOf(plan, on).reduce((sum, ms, i) => sum + ms * of[parts[i]!], 0);

test("the parts of a plan add up to its costs, a run, and launches that are not counted twice", () => {
  const plan = plans[0]!;
  const [profile] = plan.programs.infer;
  const work = routineWork(plan, [profile!], chooseRoutines(plan, on), software);
  const costs = work.reduce((sum, { count, cost }) => sum + count * cost, 0) / 1000;
  const own = partsOf(plan, on);
  assert.is(own[parts.indexOf("run")], 1);
  assert.ok(Math.abs(own.reduce((sum, ms) => sum + ms, 0) - 1 - costs) <= 0.01 * costs);
  assert.ok(own[parts.indexOf("matmul")]! > 0 && own[parts.indexOf("convolution")]! > 0 && own[parts.indexOf("attention")]! > 0);
  // Blocks are alike: each but the last adds the same.
  const [one, two, three] = [2, 3, 4].map((depth) => partsOf(makePlan(resolve(smallSpec({ depth }))).plan, on)) as [readonly number[], readonly number[], readonly number[]];
  two.forEach((ms, i) => assert.ok(Math.abs(three[i]! - ms - (ms - one[i]!)) < 1e-9));
});

test("a predictor goes by the costs, then by the probe, then by what was measured, and says how sure it is", () => {
  const [plan] = plans as [(typeof plans)[number]];
  const bare = new CalibratedPredictor(on).predict(plan);
  assert.ok(Math.abs(bare.ms - timeOf(uncalibrated)(plan)) < 1e-9);
  const predictor = new CalibratedPredictor(on, calibration);
  const probed = predictor.predict(plan);
  assert.ok(Math.abs(probed.ms - timeOf(calibration)(plan)) < 1e-9);
  assert.ok(probed.low < probed.ms && probed.ms < probed.high && probed.high / probed.low < bare.high / bare.low);
  const kept = predictor.keep(plan);
  assert.equal(kept(), probed);
  assert.is(predictor.error, undefined);
  const truth = { ...calibration, matmul: 4, attention: 1 };
  predictor.fit(plans.slice(1).map((each) => ({ plan: each, row: { p50_ms: timeOf(truth)(each) } })));
  const fitted = predictor.predict(plan);
  assert.equal(kept(), fitted, "what was kept of a plan follows each fit");
  assert.ok(Math.abs(fitted.ms / timeOf(truth)(plan) - 1) < 0.05, `${fitted.ms} instead of ${timeOf(truth)(plan)}`);
  assert.ok(fitted.high / fitted.low < probed.high / probed.low, "the band is the errors'");
  assert.is(predictor.error!.count, plans.length - 1);
  // A fit forgets the one before it.
  predictor.fit([]);
  assert.equal(predictor.predict(plan), probed);
});

test("rows without a time teach nothing", () => {
  const predictor = new CalibratedPredictor(on, calibration);
  const before = predictor.predict(plans[0]!);
  for (const p50_ms of [null, NaN, 0, -3, Infinity]) predictor.fit([{ plan: plans[1]!, row: { p50_ms } }]);
  assert.equal(predictor.predict(plans[0]!), before);
});

// -------------------------------------------------------------------------------------------------------- estimates

const work = (id: string, kind: string, count: number, cost: number): RoutineWork => ({ id, kind, count, cost, choice: { name: "only", launches: [], costs: [cost] }, dispatch: { label: id, routine: id, views: [], flops: 0, bytes: 0 } });

test("what was measured counts as it is, the rest by the factor of its kind, or of all", () => {
  const works = [work("a", "gemm", 10, 1000), work("b", "attention", 10, 500), work("c", "gemm", 1, 2000), work("d", "tokens", 1, 100)];
  const { milliseconds, low, high } = combine(works, { overhead: 0.5, microseconds: new Map([["a", 3000], ["b", 500]]) });
  // 0.5 + 10 * 3 + 10 * 0.5 + 3 * 2 + (35 / 15) * 0.1
  assert.ok(Math.abs(milliseconds - (0.5 + 30 + 5 + 6 + (35 / 15) * 0.1)) < 1e-9, String(milliseconds));
  assert.ok(low < milliseconds && milliseconds < high);
  // The less was measured, the wider the band.
  const all = combine(works, { overhead: 0.5, microseconds: new Map([["a", 3000], ["b", 500], ["c", 6000], ["d", 233]]) });
  assert.ok(all.high / all.low < high / low);
  // Nothing was measured, or nothing that takes any time: costs are taken at their word.
  assert.ok(Math.abs(combine(works, { overhead: 0, microseconds: new Map() }).milliseconds - 17.1) < 1e-9);
  assert.ok(Math.abs(combine(works, { overhead: 0, microseconds: new Map([["a", 0]]) }).milliseconds - 7.1) < 1e-9);
});

test("the heaviest routines are probed first, of each kind one before the second of another that is not much heavier", () => {
  const works = [work("a", "gemm", 10, 1000), work("b", "gemm", 10, 900), work("c", "attention", 10, 500), work("d", "convolution", 1, 2500), work("e", "tokens", 1, 100)];
  assert.equal(probeOrder(works).map(({ id }) => id), ["a", "c", "b", "d", "e"]);
  assert.equal(probeOrder([...works].slice(1)).map(({ id }) => id), ["b", "c", "d", "e"]);
});

test("verdicts change where the thresholds say", () => {
  const gpu = describeAdapter({ vendor: "intel", description: "Intel(R) Iris(R) Xe Graphics" });
  const verdict = (ms: number, adapter = gpu, thresholds = {}): string => judge(ms, adapter, thresholds).verdict;
  assert.equal([33.3, 33.34, 1000, 1000.1].map((ms) => verdict(ms)), ["fast", "ok", "ok", "slow"]);
  assert.equal([9.9, 10, 20, 20.1].map((ms) => verdict(ms, gpu, { fast: 10, slow: 20 })), ["fast", "ok", "ok", "slow"]);
  assert.equal([1, 500, 5000].map((ms) => verdict(ms, software)), ["slow", "slow", "slow"]);
  assert.equal([1, 500, 5000].map((ms) => verdict(ms, software, { software: true })), ["fast", "ok", "slow"]);
  assert.match(judge(12.3, gpu).reason, /^about 12 ms an image on Intel\(R\) Iris\(R\) Xe Graphics, 81 images a second$/);
  assert.match(judge(5, software).reason, /SwiftShader.*software adapter, where a CPU runtime would be faster/);
});

test("what is no input of an estimate is refused before a device is asked for", async () => {
  const { plan, kernels, recipe } = makePlan(resolve(smallSpec()));
  const definition: ModelDefinition = { abi, variants: [{ plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe }], command: "npx vitc compile small.ts", platform: () => Promise.reject(new Error("a device was asked for")) };
  const refused = async (input: unknown, sentence: RegExp): Promise<void> => {
    const error = await estimateModel(definition, input as EstimateInput).then(() => undefined, (reason: unknown) => reason as Error);
    assert.match(error?.message ?? "nothing was thrown", sentence);
  };
  for (const input of ["gpu", 3, null]) await refused(input, /small: estimate takes a GPUDevice, a GPUAdapter, or options/);
  for (const batch of [0, -1, 1.5, NaN, "2", 1e9]) await refused({ batch }, /batch is .*; it is a whole number from 1 to 100000/);
  for (const thresholds of [{ fast: 0 }, { fast: 10, slow: 5 }, { fast: "1" }, { slow: NaN }, 3, null]) await refused({ thresholds }, /thresholds are \{ fast, slow \}/);
  await refused({ dtype: "f16" }, /small was compiled for f32/);
  await refused({ signal: AbortSignal.abort(new Error("no more")) }, /no more/);
  await refused({}, /a device was asked for/);
  const older = await estimateModel({ ...definition, abi: abi - 1 }).then(() => undefined, (reason: unknown) => reason as Error);
  assert.match(older?.message ?? "", /generated for runtime ABI .* generate it again: npx vitc compile small\.ts/);
});

test.run();
