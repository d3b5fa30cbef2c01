/** A thousand runs: what they leave behind in memory, what they make on the device, and whether the last is the first bit by bit. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as assert from "uvu/assert";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { abi, Model, type LoadOptions, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { DType } from "../../runtime/plan.js";
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf } from "../tools/compare-kernels.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { recording } from "../tools/recording-device.js";
import { skipAll, suite } from "../tools/suite.js";

const runs = 1000;
/** Runs until memory has its size: code is compiled, pools are filled. */
const warmUpRuns = 100;
const sampledEvery = 20;
const mebibyte = 2 ** 20;
/** What the process may grow by; its allocators take and keep pages as they like. */
const residentBytes = 4 * mebibyte;
/** What JavaScript may grow by, counted after a garbage collection: about 1 KiB a run, of inputs that have 12. */
const heapBytes = 0.6 * mebibyte;

const spec: ViTSpec = { name: "endurance", image: 32, patch: 16, dim: 16, depth: 1, heads: 2, classes: 4, outputs: ["embed"] };
const image = f32(Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i)));

function definition(dtype: DType): ModelDefinition {
  const { plan, kernels, recipe } = makePlan(resolve(spec), { dtype });
  const variant = { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe };
  return { abi, variants: [variant], command: "", platform: () => Promise.resolve({ ...platform, tuned: () => Promise.resolve([]) }) };
}

function load(dtype: DType, options: Partial<LoadOptions> = {}): Promise<Model<AnyOutputs>> {
  const made = definition(dtype);
  return Model.load<AnyOutputs>(made, { weights: randomWeights(made.variants[0].recipe, 1).source, adapter: "software", onNotice: () => {}, ...options });
}

/** Every number of a run. */
async function bits(model: Model<AnyOutputs>): Promise<Float32Array> {
  const outputs = await model.run(image);
  return f32(Object.values(outputs).flatMap((values) => [...values]));
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

interface Growth {
  /** Bytes of the process. */
  readonly resident: number;
  /** Bytes of JavaScript's objects and buffers. */
  readonly heap: number;
}

/** What memory grows by from the first third of many steps to the last, by the medians of samples, once it has its size. */
async function growth(step: (index: number) => Promise<void>): Promise<Growth> {
  const samples: Growth[] = [];
  for (let i = 0; i < runs; i++) {
    await step(i);
    if (i < warmUpRuns || i % sampledEvery !== 0) continue;
    collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    samples.push({ resident: rss, heap: heapUsed + external });
  }
  const third = Math.floor(samples.length / 3);
  const change = (part: (sample: Growth) => number): number => median(samples.slice(-third).map(part)) - median(samples.slice(0, third).map(part));
  return { resident: change(({ resident }) => resident), heap: change(({ heap }) => heap) };
}

const inMebibytes = ({ resident, heap }: Growth): string => `process ${(resident / mebibyte).toFixed(2)} MiB, JavaScript ${(heap / mebibyte).toFixed(2)} MiB`;

const reason = await softwareReason();
if (reason) skipAll("endurance", reason);
else {
  const test = suite("endurance");
  const { device: able } = await platform.requestDevice({ adapter: "software", optionalFeatures: ["shader-f16"] });
  const dtypes = dtypesOf(able);
  able.destroy();
  const optionalFeatures = ["subgroups", "shader-f16"];

  for (const dtype of dtypes) {
    for (const robust of [false, true]) {
      const setting = `${dtype}${robust ? " with the driver's checks" : ""}`;

      test(`${runs} runs in ${setting} leave memory flat, make command encoders only, and end as they began`, async () => {
        const { device } = await platform.requestDevice({ adapter: "software", optionalFeatures, robust });
        const calls: string[] = [];
        using model = await load(dtype, { device: recording(device, calls) });
        assert.ok(calls.includes("createBindGroup"), "the recording device records");
        const first = await bits(model);
        assert.ok(first.length > 4 && first.every((value) => Number.isFinite(value)) && new Set(first).size > first.length / 2, "the numbers mean something");
        calls.length = 0;
        const counts = new Map<string, number>();
        const grown = await growth(async () => {
          await model.run(image);
          for (const call of calls) counts.set(call, (counts.get(call) ?? 0) + 1);
          calls.length = 0;
        });
        console.log(`${runs} runs in ${setting}: ${inMebibytes(grown)}`);
        assert.equal([...counts], [["createCommandEncoder", runs]]);
        assert.equal(await bits(model), first, "the last run is the first");
        assert.ok(grown.resident < residentBytes && grown.heap < heapBytes, inMebibytes(grown));
        device.destroy();
      });
    }

    test(`loads of one model on one adapter are bit-identical in ${dtype}, with the driver's checks and without`, async () => {
      const results: Float32Array[] = [];
      for (const robust of [false, false, true, true]) {
        using model = await load(dtype, { robust });
        results.push(await bits(model));
      }
      const [first, ...others] = results;
      for (const other of others) assert.equal(other, first);
    });
  }

  test("an input, or a GPU buffer, that is left behind by every step is seen", async () => {
    const { device } = await platform.requestDevice({ adapter: "software" });
    const calls: string[] = [];
    const recorded = recording(device, calls);
    const kept: unknown[] = [];
    const inputs = await growth(() => Promise.resolve(void kept.push(image.slice())));
    assert.ok(inputs.heap > heapBytes, inMebibytes(inputs));
    // Larger than what the runs above have freed, which would be used again.
    const written = new Uint8Array(64 * 1024).fill(1);
    const buffers = await growth(async () => {
      const buffer = recorded.createBuffer({ size: written.byteLength, usage: 0x8 });
      device.queue.writeBuffer(buffer, 0, written);
      kept.push(buffer);
      await device.queue.onSubmittedWorkDone();
    });
    assert.ok(buffers.resident > residentBytes, inMebibytes(buffers));
    assert.is(calls.filter((call) => call === "createBuffer").length, runs);
    device.destroy();
  });

  test.run();
}
