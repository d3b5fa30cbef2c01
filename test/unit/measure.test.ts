/** Statistics, verdicts, probes' arithmetic, random weights and the rows of a profile: all of measuring that needs no adapter. */
import fc from "fast-check";
import * as assert from "uvu/assert";
import { peakOf, type Peaks } from "../../compiler/measure/peaks.js";
import { boundOf, evaluate, kindOf } from "../../compiler/measure/profile.js";
import { randomInput, randomWeights } from "../../compiler/measure/random-weights.js";
import { recordDispatches } from "../../compiler/measure/replay.js";
import { generator, median, medianRatio, quantile, summarize } from "../../compiler/measure/statistics.js";
import { plannedBytes } from "../../compiler/measure/subject.js";
import { chromeTrace, traceBeginning } from "../../compiler/measure/trace.js";
import { compareTimes } from "../../compiler/measure/verdict.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { checkTensors } from "../../runtime/check.js";
import type { Chosen } from "../../runtime/choose.js";
import type { Dispatch } from "../../runtime/plan.js";
import { readHeader } from "../../runtime/safetensors.js";
import { loadWeights } from "../../runtime/weights.js";
import { suite } from "../tools/suite.js";

const test = suite("measuring");

const times = fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 60 });

/** Runs around `centre` milliseconds: some noise, and now and then one that takes much longer, as on a machine that does other things. */
const noisy = (seed: number, count: number, centre: number, noise = 0.05): number[] => {
  const random = generator(seed);
  return Array.from({ length: count }, () => centre * (1 + noise * (random() + random() - 1) + (random() < 0.05 ? 2 * random() : 0)));
};

test("quantiles are numpy's", () => {
  assert.is(quantile([3, 1, 2], 0.5), 2);
  assert.is(quantile([1, 2, 3, 4], 0.5), 2.5);
  assert.ok(Math.abs(quantile([1, 2, 3, 4, 10], 0.95) - 8.8) < 1e-12);
  assert.equal(summarize([5]), { count: 1, min: 5, p50: 5, p95: 5, mean: 5 });
  assert.throws(() => quantile([], 0.5), /no samples/);
  assert.throws(() => quantile([1], 1.5), /from 0 to 1/);
});

test("quantiles lie within the samples, grow with their share, and do not depend on the order", () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (samples, a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      assert.ok(quantile(samples, low) <= quantile(samples, high) * (1 + 1e-12));
      assert.is(quantile(samples, 0), Math.min(...samples));
      assert.is(quantile(samples, 1), Math.max(...samples));
      assert.is(quantile([...samples].reverse(), low), quantile(samples, low));
    }),
  );
});

test("the interval of a ratio is the same each time, is exact without noise, and scales with the samples", () => {
  assert.equal(medianRatio([2, 2, 2], [3, 3, 3]), { low: 1.5, high: 1.5 });
  fc.assert(
    fc.property(times, times, (before, after) => {
      const { low, high } = medianRatio(before, after);
      assert.equal(medianRatio(before, after), { low, high });
      assert.ok(low <= high && low >= Math.min(...after) / Math.max(...before) && high <= Math.max(...after) / Math.min(...before));
      const doubled = medianRatio(before, after.map((value) => 2 * value));
      assert.equal(doubled, { low: 2 * low, high: 2 * high });
    }),
    { numRuns: 15 },
  );
});

test("the 95 % interval holds the true ratio about that often", () => {
  const trials = 200;
  const held = Array.from({ length: trials }, (_, i) => medianRatio(noisy(2 * i + 1, 30, 10), noisy(2 * i + 2, 30, 12))).filter(({ low, high }) => low <= 1.2 && high >= 1.2).length;
  assert.ok(held >= trials * 0.88, `${held} of ${trials}`);
  assert.ok(held < trials, "an interval that always holds is too wide to find anything");
});

test("noise is not called a regression, and a regression is", () => {
  const verdicts = (factor: number) => Array.from({ length: 100 }, (_, i) => compareTimes({ before: noisy(1000 + i, 20, 10), after: noisy(5000 + i, 20, 10 * factor), allowed: 0.1, machine: 1 }).kind);
  assert.equal([...new Set(verdicts(1))], ["same"]);
  assert.is(verdicts(1.1).filter((kind) => kind === "slower").length <= 5, true);
  assert.ok(verdicts(1.3).every((kind) => kind === "slower"));
  assert.ok(verdicts(0.7).every((kind) => kind === "faster"));
  // Ten times the noise: the median may be off by more than what is allowed, and it is not enough to say so.
  const wild = Array.from({ length: 100 }, (_, i) => compareTimes({ before: noisy(1000 + i, 10, 10, 0.6), after: noisy(5000 + i, 10, 10, 0.6), allowed: 0.1, machine: 1 }).kind);
  assert.ok(wild.filter((kind) => kind === "slower").length <= 5, wild.join());
  assert.ok(wild.includes("unclear"));
});

test("a drift of the machine over a few long stretches widens the interval", () => {
  const stretches = [1, 1.6, 1, 1.6].flatMap((factor) => noisy(7, 15, 10 * factor, 0.01));
  const shuffled = stretches.map((_, i) => stretches[(i * 37) % stretches.length]!);
  const width = (samples: readonly number[]): number => {
    const { low, high } = medianRatio(noisy(3, 60, 10, 0.01), samples);
    return high - low;
  };
  assert.ok(width(stretches) >= width(shuffled), `${width(stretches)} and ${width(shuffled)}`);
});

test("what the machine itself lost is not the package's, and few runs say nothing", () => {
  const [before, after] = [noisy(1, 30, 10), noisy(2, 30, 14)];
  assert.is(compareTimes({ before, after, allowed: 0.1, machine: 1 }).kind, "slower");
  const slowed = compareTimes({ before, after, allowed: 0.1, machine: 1.4 });
  assert.is(slowed.kind, "unclear");
  assert.match(slowed.reason, /machine itself was 1\.40 times slower/);
  // A machine that became faster excuses nothing, and takes nothing away.
  assert.is(compareTimes({ before, after, allowed: 0.1, machine: 0.5 }).kind, "slower");
  const few = compareTimes({ before: [10, 10, 10], after: [20, 20, 20], allowed: 0.1, machine: 1 });
  assert.equal([few.kind, few.ratio], ["unclear", 2]);
  assert.match(few.reason, /from 3 runs: take at least 5/);
});

test("a verdict never contradicts its numbers", () => {
  fc.assert(
    fc.property(times, times, fc.double({ min: 0, max: 1, noNaN: true }), (before, after, allowed) => {
      const { kind, ratio, interval } = compareTimes({ before, after, allowed, machine: 1 });
      assert.is(ratio, median(after) / median(before));
      if (kind === "slower") assert.ok(interval.low > 1 + allowed);
      if (kind === "faster") assert.ok(interval.high < 1 / (1 + allowed));
      if (kind === "same") assert.ok(ratio <= 1 + allowed && ratio >= 1 / (1 + allowed));
    }),
    { numRuns: 30 },
  );
});

test("a probe's rate leaves out what does not grow with the work, and doubts itself when doubling does not double", async () => {
  // 100 ns a step of 1000 FLOPs and 3 ms of latency: 1e10 FLOP/s.
  const honest = await peakOf(1000, async (steps) => 3 + steps * 1e-4);
  assert.ok(honest.reliable && Math.abs(honest.rate / 1e10 - 1) < 1e-9, JSON.stringify(honest));
  // Work that a compiler removed.
  const hollow = await peakOf(1000, async () => 30);
  assert.equal([hollow.reliable, hollow.doubling], [false, 1]);
  assert.ok(hollow.rate > 0 && Number.isFinite(hollow.rate));
  // Even work that takes no time ends.
  const asked: number[] = [];
  const free = await peakOf(1, async (steps) => (asked.push(steps), 1e-9));
  assert.is(free.reliable, false);
  assert.ok(Math.max(...asked) <= 2 ** 24 && asked.length < 60);
});

test("random weights are a file that fits the recipe, the same whichever ranges are read", async () => {
  const { recipe } = makePlan(resolve({ name: "small", image: 32, patch: 8, dim: 32, depth: 2, heads: 2, classes: 10, stem: [{ channels: 8, kernel: 3, stride: 2 }], patchNorm: true }));
  const { source } = randomWeights(recipe, 1);
  const file = await readHeader(source);
  assert.equal(checkTensors(recipe, file), []);
  const whole = await source.read(0, source.size);
  await fc.assert(
    fc.asyncProperty(fc.nat(source.size), fc.nat(5000), async (offset, wanted) => {
      const length = Math.min(wanted, source.size - offset);
      assert.equal(await source.read(offset, length), whole.slice(offset, offset + length));
    }),
    { numRuns: 50 },
  );
  const values = new Float32Array(whole.buffer.slice(file.dataOffset));
  assert.ok(values.every((value) => Number.isFinite(value) && Math.abs(value) <= 1.5));
  assert.ok(new Set(values).size > values.length * 0.9, "not a few values over and over");
  const variance = file.tensors.get("patch_embed.backbone.1.running_var")!;
  assert.ok(new Float32Array(whole.buffer.slice(variance.offset, variance.offset + 32)).every((value) => value > 0));
  assert.not.equal(await randomWeights(recipe, 2).source.read(0, source.size), whole);
  assert.equal(await randomWeights(recipe, 1).source.read(0, source.size), whole);
  let refused: unknown;
  await source.read(source.size - 1, 2).catch((error: unknown) => (refused = error));
  assert.match(String(refused), "random weights (seed 1)");
  const packed: number[] = [];
  await loadWeights(recipe, source, { upload: (_buffer, _offset, data) => void packed.push(data.findIndex((value) => !Number.isFinite(value))) });
  assert.ok(packed.length === recipe.tensors.length && packed.every((at) => at === -1));
  assert.ok(randomInput(1000).every((value) => value >= -1 && value < 1));
});

const peaks: Peaks = { compute: { rate: 1e12, doubling: 2, reliable: true }, memory: { rate: 1e11, doubling: 2, reliable: true }, memoryProbeBytes: 1, dispatchMicroseconds: 1 };

const planned: { readonly dispatches: readonly Dispatch[] } = {
  dispatches: [
    { label: "patch_embed", routine: "gemm_m64_n128_k48_image_3x32x32_bias", views: [], flops: 5e7, bytes: 1e6 },
    { label: "blocks.0.norm1", routine: "layer_norm_r65_w128", views: [], flops: 1e5, bytes: 6e6 },
    { label: "blocks.0.attn.qkv", routine: "gemm_m65_n384_k128_bias", views: [], flops: 2e4, bytes: 2e4 },
  ],
};

/** Done in one launch each, but for those that are named with their launches. */
const chosenFor = (several: Readonly<Record<string, readonly string[]>> = {}): ReadonlyMap<string, Chosen> =>
  new Map(planned.dispatches.map(({ routine }) => [routine, { choice: { name: "quad", launches: (several[routine] ?? [`${routine}_quad`]).map((kernel) => ({ kernel, workgroups: [4, 1, 1] as const })), costs: [] }, by: "cost" as const }]));

test("a dispatch is bound by the highest of its three floors", () => {
  assert.equal(boundOf({ flops: 5e7, bytes: 1e6, launches: 1 }, peaks, 5), { bound: "compute", floor: 50 });
  assert.equal(boundOf({ flops: 1e5, bytes: 6e6, launches: 1 }, peaks, 5), { bound: "memory", floor: 60 });
  assert.equal(boundOf({ flops: 2e4, bytes: 2e4, launches: 1 }, peaks, 5), { bound: "launch", floor: 5 });
  assert.equal(boundOf({ flops: 2e4, bytes: 2e4, launches: 3 }, peaks, 5), { bound: "launch", floor: 15 });
  assert.equal(["gemm_m1_n2_k3_image_3x4", "gemm_m1_n2_k3_map_1x2", "gemm_m1_n2_k3_bias", "attention_b1", "layer_norm_r1", "normalize_b1", "embed_b1", "pool_avg", "tokens_b1", "add_scale_1", "mystery"].map(kindOf), ["convolution", "convolution", "matmul", "attention", "norm", "norm", "embed", "pool", "pool", "sum", "other"]);
});

test("rows of a profile are medians over replays, and add up", () => {
  const replays = [1, 3, 2].map((factor) => [0, 100, 200, 230].map((begin, i) => ({ begin: begin * factor, end: (begin + [100, 80, 20, 5][i]!) * factor })));
  const { dispatches, kinds, microseconds, emptyMicroseconds, timeline } = evaluate(planned, chosenFor(), replays, peaks);
  assert.equal(dispatches.map(({ microseconds: time }) => time), [200, 160, 40]);
  assert.equal([microseconds, emptyMicroseconds], [400, 10]);
  assert.equal(dispatches.map(({ share }) => share), [0.5, 0.4, 0.1]);
  assert.equal(dispatches.map(({ bound, reach }) => [bound, reach]), [["compute", 0.25], ["memory", 0.375], ["launch", 0.25]]);
  assert.is(dispatches[0]!.flopRate, 5e7 / 200e-6);
  assert.equal(kinds.map(({ kind, dispatches: count, microseconds: time }) => [kind, count, time]), [["convolution", 1, 200], ["norm", 1, 160], ["matmul", 1, 40]]);
  assert.equal(timeline, replays[2]!.slice(0, 3));

  const text = chromeTrace("m", { adapter: { vendor: "", architecture: "", device: "", description: "cpu", software: true, null: false }, batch: 1, clock: "timestamps", replays: 3, peaks, emptyMicroseconds, microseconds, wholeRun: summarize([1]), dispatches, kinds, timeline }, "cpu");
  assert.ok(text.startsWith(traceBeginning));
  const trace = JSON.parse(text) as { traceEvents: { name: string; ph: string; ts?: number; dur?: number }[] };
  const slices = trace.traceEvents.filter(({ ph }) => ph === "X");
  assert.equal(slices.map(({ name, ts, dur }) => [name, ts, dur]), [["blocks.0", 200, 240], ["patch_embed", 0, 200], ["blocks.0.norm1", 200, 160], ["blocks.0.attn.qkv", 400, 40]]);
});

test("a way of several launches is one row with the sum of their times, from the first to the last", () => {
  const [, norm] = planned.dispatches;
  const replays = [1, 3, 2].map((factor) => [0, 100, 130, 200, 230].map((begin, i) => ({ begin: begin * factor, end: (begin + [100, 20, 60, 20, 5][i]!) * factor })));
  const { dispatches, microseconds, timeline } = evaluate(planned, chosenFor({ [norm!.routine]: ["row_scales", "given_scales"] }), replays, peaks);
  assert.equal(dispatches.map(({ microseconds: time }) => time), [200, 160, 40]);
  assert.equal(dispatches[1]!.launches, [{ kernel: "row_scales", workgroups: [4, 1, 1], microseconds: 40 }, { kernel: "given_scales", workgroups: [4, 1, 1], microseconds: 120 }]);
  assert.equal([microseconds, timeline[1]], [400, { begin: 200, end: 380 }]);
});

test("a clock with coarse steps gives no infinite rates", () => {
  const spans = planned.dispatches.map(() => ({ begin: 0, end: 0 }));
  const { dispatches } = evaluate(planned, chosenFor(), [[...spans, { begin: 0, end: 0 }]], peaks);
  assert.ok(dispatches.every(({ flopRate, byteRate, share, reach }) => [flopRate, byteRate, share, reach].every(Number.isFinite)));
});

test("a recording device notes dispatches with their pipeline and groups, and does what the real one does", () => {
  const calls: string[] = [];
  const pass = { setPipeline: (name: string) => calls.push(`pipeline ${name}`), setBindGroup: (i: number, group: string) => calls.push(`group ${i} ${group}`), dispatchWorkgroups: (...counts: number[]) => calls.push(`dispatch ${counts.join()}`), dispatchWorkgroupsIndirect: () => undefined };
  const real = { label: "real", createCommandEncoder: () => ({ beginComputePass: () => pass }) } as unknown as GPUDevice;
  const { device, take } = recordDispatches(real);
  const heard = device.createCommandEncoder().beginComputePass() as unknown as typeof pass;
  heard.setPipeline("a");
  heard.setBindGroup(0, "x");
  heard.dispatchWorkgroups(3);
  heard.setBindGroup(0, "y");
  heard.dispatchWorkgroups(1, 2, 3);
  assert.equal(take() as unknown, [{ pipeline: "a", bindGroups: [[0, "x"]], workgroups: [3, 1, 1] }, { pipeline: "a", bindGroups: [[0, "y"]], workgroups: [1, 2, 3] }]);
  assert.equal(take(), []);
  assert.is(device.label, "real");
  assert.equal(calls, ["pipeline a", "group 0 x", "dispatch 3", "group 0 y", "dispatch 1,2,3"]);
  assert.throws(() => heard.dispatchWorkgroupsIndirect(), /indirect/);
});

test("planned memory counts arenas once, however many batch sizes share them", () => {
  const spec = { name: "small", image: 32, patch: 8, dim: 32, depth: 2, heads: 2, classes: 10 };
  const [one, both] = [[4], [1, 4]].map((batch) => plannedBytes(makePlan(resolve({ ...spec, batch })).plan));
  assert.is(both, one);
});

test.run();
