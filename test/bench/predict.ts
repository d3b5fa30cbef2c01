/**
 * How well run times are predicted: small random variants of a ViT are probed and run in turns, and predictions held against the times.
 *
 *   npm run bench:predict [-- --adapter software --variants 48 --rounds 6 --clock cpu --json FILE]
 *   npm run bench:predict -- --rows FILE       the same statistics of rows that were measured before
 *
 * `--clock cpu`: a run's time is what the process computed meanwhile, over the number of cores. It is for software adapters on machines that do
 * other work as well, which spoils the wall's clock and hardly this one; what cores wait for each other it does not see.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { calibrate, CalibratedPredictor, partsOf, referenceSpec, uncalibrated, type Calibration, type PredictedDevice } from "../../compiler/measure/calibrate.js";
import { accuracyOf, fitFactors, type Accuracy } from "../../compiler/measure/fit.js";
import { randomInput, randomWeights } from "../../compiler/measure/random-weights.js";
import { generator, median } from "../../compiler/measure/statistics.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { chooseRoutines } from "../../runtime/choose.js";
import type { AdapterInfo } from "../../runtime/device.js";
import { combine } from "../../runtime/estimate.js";
import { abi, Model, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { Plan } from "../../runtime/plan.js";
import { probeOrder, probeRoutines, routineWork } from "../../runtime/probe.js";
import type { AnyOutputs } from "../tools/packages.js";

interface Row {
  readonly spec: ViTSpec;
  readonly plan_hash: string;
  /** What `estimate` expected of it by its own probe, in milliseconds. */
  readonly probe: { readonly milliseconds: number; readonly low: number; readonly high: number };
  /** Milliseconds of the runs right after that probe, by the clock: on a busy machine, nothing else is its equal. */
  readonly near: readonly number[];
  /** Milliseconds of each run by the clock, and by the wall's. */
  readonly samples: readonly number[];
  readonly wall: readonly number[];
}

interface Rows {
  readonly adapter: AdapterInfo;
  readonly features: readonly string[];
  readonly cores: number;
  readonly clock: string;
  /** The spec whose routines one probe for all variants was made of, and what it found. */
  readonly reference: ViTSpec;
  readonly calibration: Calibration;
  readonly rows: readonly Row[];
}

const { values } = parseArgs({
  options: {
    adapter: { type: "string", default: "software" },
    variants: { type: "string", default: "48" },
    rounds: { type: "string", default: "6" },
    clock: { type: "string", default: "wall" },
    json: { type: "string" },
    rows: { type: "string" },
  },
});

/** Runs take at most a few seconds on a software adapter with two cores. */
const mostFlops = 6e9;

function drawVariants(count: number): readonly ViTSpec[] {
  const random = generator(7);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const variants = new Map<string, ViTSpec>();
  while (variants.size < count) {
    const [dim, image, patch] = [pick([96, 128, 192, 256, 320, 384]), pick([64, 96, 112, 128, 160, 192, 224]), pick([8, 16, 16, 32])];
    const depth = pick([2, 3, 4, 5, 6]);
    const heads = dim / pick([32, 64].filter((headDim) => dim % headDim === 0));
    const ratio = pick([2, 3, 4]);
    const name = `d${depth}-w${dim}-h${heads}-m${ratio}-i${image}-p${patch}`;
    const spec: ViTSpec = { name, image, patch, dim, depth, heads, mlp: { ratio }, classes: pick([10, 100, 1000]), ...(image % patch !== 0 && { patchRemainder: "crop" as const }) };
    const tokens = Math.floor(image / patch) ** 2 + 1;
    if (tokens >= 5 && tokens <= 600 && !variants.has(name) && makePlan(resolve(spec)).plan.programs.infer[0]!.flops <= mostFlops) variants.set(name, spec);
  }
  return [...variants.values()];
}

/** Of which the first is not counted. */
const nearRuns = 9;

const inputOf = (plan: Plan): Float32Array<ArrayBuffer> => randomInput(plan.input.shape.reduce((product, n) => product * n, 1));

const cores = availableParallelism();
const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000 / cores;
};
const wall = (): number => performance.now();

async function measure(): Promise<Rows> {
  const clock = values.clock === "cpu" ? cpu : wall;
  const reference = referenceSpec;
  const { device, adapter } = await platform.requestDevice({ adapter: values.adapter as "software", robust: false, optionalFeatures: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] });
  const made = (spec: ViTSpec) => {
    const { plan, kernels, recipe } = makePlan(resolve(spec));
    return { plan, recipe, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])) };
  };
  const { features } = device;
  const began = performance.now();
  const calibration = await calibrate({ device, adapter, features, clock, ...made(reference) });
  console.error(`the reference was probed in ${(performance.now() - began).toFixed(0)} ms`);
  const wait = adapter.software ? platform.wait : undefined;
  const loaded: { readonly spec: ViTSpec; readonly plan: Plan; readonly model: Model<AnyOutputs>; readonly probe: Row["probe"]; readonly near: number[]; readonly samples: number[]; readonly wall: number[] }[] = [];
  for (const spec of drawVariants(Number(values.variants))) {
    const { plan, recipe, kernels } = made(spec);
    const work = routineWork(plan, [plan.programs.infer[0]!], chooseRoutines(plan, { adapter, features }), adapter);
    const probe = combine(work, await probeRoutines({ device, plan, kernels, work: probeOrder(work), budget: 500, wait, clock }));
    // Not what vitc tune left on this machine.
    const alone = { ...platform, tuned: () => Promise.resolve([]) };
    const definition: ModelDefinition = { abi, variants: [{ plan, kernels, recipe }], command: "", platform: () => Promise.resolve(alone) };
    const model = await Model.load<AnyOutputs>(definition, { device, weights: randomWeights(recipe, 1).source, onNotice: () => undefined });
    const near: number[] = [];
    for (let i = 0; i < nearRuns; i++) {
      const started = clock();
      await model.run(inputOf(plan));
      if (i > 0) near.push(clock() - started);
    }
    loaded.push({ spec, plan, model, probe, near, samples: [], wall: [] });
    console.error(`${loaded.length} ${spec.name}: ${probe.milliseconds.toFixed(1)} ms by its probe`);
  }
  // The first round is not counted.
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (let i = 0; i < loaded.length; i++) {
      const { model, plan, samples, wall: walls } = loaded[(i + round * 7) % loaded.length]!;
      const input = inputOf(plan);
      const [started, startedWall] = [clock(), wall()];
      await model.run(input);
      if (round === 0) continue;
      samples.push(clock() - started);
      walls.push(wall() - startedWall);
    }
    console.error(`round ${round}`);
  }
  for (const { model } of loaded) model.dispose();
  device.destroy();
  return { adapter, features: [...features], cores, clock: values.clock, reference, calibration, rows: loaded.map(({ spec, plan, probe, near, samples, wall: walls }) => ({ spec, plan_hash: plan.fingerprint, probe, near: near.map(rounded), samples: samples.map(rounded), wall: walls.map(rounded) })) };
}

const rounded = (value: number): number => Number(value.toFixed(3));

const share = (value: number): string => `${(100 * value).toFixed(1)} %`;

function report({ adapter, features, clock, calibration, rows }: Rows): string {
  const on: PredictedDevice = { adapter, features: new Set(features) };
  const variants = rows.map((row) => {
    const { plan } = makePlan(resolve(row.spec));
    // Other work can only make a run longer, and a median under heavy load says more of the load; on a quiet machine the two are near.
    const ms = Math.min(...row.samples);
    return { ...row, plan, ms, parts: partsOf(plan, on) };
  });
  const measured = variants.map(({ ms }) => ms);
  const near = variants.map((row) => Math.min(...row.near));
  const line = (what: string, { count, medianError, p90Error, pairs, ordered }: Accuracy): string => `| ${what} | ${count} | ${share(medianError)} | ${share(p90Error)} | ${share(ordered)} of ${pairs} |`;
  const probed = new CalibratedPredictor(on, calibration);
  const costs = new CalibratedPredictor(on, uncalibrated);
  const scaled = (predicted: readonly number[]): readonly number[] => {
    const factor = median(predicted.map((value, i) => measured[i]! / value));
    return predicted.map((value) => value * factor);
  };
  // Each half predicted by a fit to the other.
  const halves = [0, 1].flatMap((half) => {
    const prior = Object.values(calibration);
    const factors = fitFactors(variants.filter((_, i) => i % 2 !== half), prior);
    return variants.flatMap(({ parts }, i) => (i % 2 === half ? [{ i, ms: parts.reduce((sum, part, k) => sum + part * factors[k]!, 0) }] : []));
  }).sort((a, b) => a.i - b.i).map(({ ms }) => ms);
  probed.fit(variants.map(({ plan, ms }) => ({ plan, row: { p50_ms: ms } })));
  const within = (low: (i: number) => number, high: (i: number) => number, times = measured): string => share(times.filter((ms, i) => ms >= low(i) && ms <= high(i)).length / times.length);
  const again = variants.map(({ samples }) => [0, 1].map((half) => Math.min(...samples.filter((_, i) => i % 2 === half))) as [number, number]);
  const once = new CalibratedPredictor(on, calibration);
  const onceBands = variants.map(({ plan }) => once.predict(plan));
  const before = onceBands.map(({ ms }) => ms);
  return [
    `${adapter.description}: ${rows.length} variants, the fastest of ${rows[0]!.samples.length} runs each by the ${clock === "cpu" ? "processor's clock over the cores" : "wall's clock"}, ${Math.min(...measured).toFixed(1)} to ${Math.max(...measured).toFixed(0)} ms`,
    `| predicted by | variants | median error | 90 % below | pairs in order |\n|---|---:|---:|---:|---:|`,
    line("cost model alone", accuracyOf(variants.map(({ plan }) => costs.predict(plan).ms), measured)),
    line("one probe for all", accuracyOf(before, measured)),
    line("one probe for all, times the best single factor", accuracyOf(scaled(before), measured)),
    line("a probe of each (`estimate`), and the runs right after it", accuracyOf(variants.map(({ probe }) => probe.milliseconds), near)),
    line("fit to the other half", accuracyOf(halves, measured)),
    line("fit to nine tenths", probed.error!),
    line("odd runs by even runs (what noise allows)", accuracyOf(again.map(([odd]) => odd), again.map(([, even]) => even))),
    `within the band: ${within((i) => variants[i]!.probe.low, (i) => variants[i]!.probe.high, near)} of a probe of each, ${within((i) => onceBands[i]!.low, (i) => onceBands[i]!.high)} of one probe, ${within((i) => probed.predict(variants[i]!.plan).low, (i) => probed.predict(variants[i]!.plan).high)} of the fit`,
  ].join("\n");
}

const rows = values.rows === undefined ? await measure() : (JSON.parse(readFileSync(values.rows, "utf8")) as Rows);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 1).replace(/\n\s+(?=[\d\]])/g, " ")}\n`);
console.log(report(rows));
