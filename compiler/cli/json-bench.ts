/** The shapes of what `vitc bench` and `vitc profile` print with `--json`. Times are in the unit that the field names. */
import { z } from "zod";
import { decidedShape } from "./json-run.js";

const count = z.number().int().min(0);
/** No whole number where a product is split by columns. */
const amount = z.number().min(0);
const time = z.number().min(0);

const adapter = z.strictObject({
  name: z.string().describe("As the driver calls it."),
  software: z.boolean().describe("Whether kernels run on the CPU."),
});

const peak = z.strictObject({
  rate: z.number().positive().describe("FLOP/s or bytes/s."),
  doubling: z.number().min(0).describe("Time of twice the work over the time of the work: 2 where the probe measures what it should."),
  reliable: z.boolean().describe("Whether `doubling` is near 2; if not, shares of this peak mean little."),
});

const peaks = z.strictObject({
  compute: peak.describe("f32 multiply-adds in registers, FLOP/s."),
  memory: peak.describe("Reading from memory, bytes/s."),
  memoryProbeBytes: count.describe("What the memory probe goes through, in bytes: a larger cache is faster."),
  dispatchMicroseconds: time.describe("What one more dispatch in a pass costs by itself."),
}).describe("Measured on this adapter by kernels that do nothing else.");

const summary = z.strictObject({
  count,
  min: time,
  p50: time,
  p95: time,
  mean: time,
});

const dtype = z.enum(["f32", "f16"]).describe("How matrices are stored; arithmetic is f32 in any case.");
const robust = z.boolean().describe("Whether the driver checks every index of a kernel.");

const benchCase = z.strictObject({
  package: z.string().describe("Its folder, as it was given."),
  name: z.string().describe("The model's."),
  fingerprint: z.string().describe("Of the plan."),
  dtype,
  robust,
  batch: count.describe("Images in a run."),
  milliseconds: summary.describe("Of a run, from values in memory to outputs in memory."),
  imagesPerSecond: time.describe("At the median."),
  flops: amount.describe("Of a run, as planned; a multiply-add counts two."),
  bytes: amount.describe("What a run must move between memory and kernels, in bytes, as planned."),
  flopRate: time.describe("FLOP/s at the median."),
  byteRate: time.describe("Bytes/s at the median."),
  computeShare: time.describe("`flopRate` over the compute peak, which is f32's: above 1 where matrix units do f16."),
  memoryShare: time.describe("`byteRate` over the memory peak. Above 1 where caches serve what memory would not."),
  samples: z.array(time).describe("Milliseconds of each run, in order."),
});

const load = z.strictObject({
  package: z.string(),
  name: z.string(),
  dtype,
  robust,
  weights: z.string().describe("The weight file or URL, or how random ones were made."),
  milliseconds: z.strictObject({
    device: time.describe("Requesting the device, once Dawn runs and the adapter is found."),
    pipelines: time.describe("Allocating buffers and building pipelines."),
    weights: time.describe("Reading, packing and uploading; without what making random ones took."),
    reading: time.describe("The part of `weights` in which reads were under way; packing goes on meanwhile."),
    firstRun: z.array(time).describe("The first run of each batch size, in the order of the cases."),
    total: time.describe("Until the end of the first run of the first batch size."),
  }),
  plannedBytes: count.describe("GPU memory that the plan asks for, in bytes."),
  allocatedBytes: count.describe("GPU memory that the model holds, in bytes."),
  decided: decidedShape,
});

const compared = {
  package: z.string(),
  name: z.string(),
  dtype,
  robust,
  batch: count,
};

const comparison = z.strictObject({
  ...compared,
  verdict: z.enum(["slower", "faster", "unclear", "same", "new", "ambiguous"]).describe("`new`: the baseline has no such case. `ambiguous`: it has several, of other folders and plans. `unclear`: the difference is not beyond the noise."),
  ratio: time.nullable().describe("Median now over median of the baseline."),
  interval: z.strictObject({ low: time, high: time }).nullable().describe("95 % interval of the ratio, by a block bootstrap of the samples."),
  reason: z.string(),
});

/** `vitc bench PACKAGE... --json`; also what `--baseline` reads. */
export const benchShape = z.strictObject({
  vitc: z.string().describe("vitc's version."),
  adapter,
  notices: z.array(z.string()).describe("What a user should know: a software adapter, random weights, a probe that is unreliable."),
  startMilliseconds: time.describe("Loading Dawn and finding the adapter, once a process."),
  peaks,
  loads: z.array(load).describe("One a package and dtype, in the order given."),
  cases: z.array(benchCase).describe("One a package, dtype and batch size."),
  unavailable: z.array(z.strictObject({ package: z.string(), name: z.string(), dtype, robust, reason: z.string() })).describe("What this adapter cannot run."),
  comparison: z.strictObject({
    baseline: z.string().describe("The file, as it was given."),
    allowed: time.describe("Share by which a case may be slower: 0.1 for 10 %."),
    compared: count.describe("Cases of which both have times."),
    failed: z.boolean().describe("Whether any case is slower, or none could be compared; the exit code is then 1."),
    cases: z.array(comparison),
    missing: z.array(z.strictObject(compared)).describe("Cases of the baseline that were not measured now."),
  }).nullable().describe("With --baseline."),
});

const by = z.enum(["tuned", "cost", "only"]).describe("`tuned`: it was measured to be best on this adapter. `cost`: the cost model prefers it. `only`: nothing else runs here.");

const kind = z.enum(["convolution", "matmul", "attention", "norm", "embed", "pool", "sum", "other"]);
const cost = { microseconds: time, share: time.describe("Of the time of all dispatches."), flops: amount, bytes: amount };

/** `vitc profile PACKAGE --json`. */
export const profileShape = z.strictObject({
  vitc: z.string().describe("vitc's version."),
  package: z.string().describe("Its folder, as it was given."),
  name: z.string().describe("The model's."),
  fingerprint: z.string().describe("Of the plan."),
  dtype,
  robust,
  batch: count,
  weights: z.string(),
  adapter,
  notices: z.array(z.string()),
  clock: z.enum(["timestamps", "wall"]).describe("`timestamps`: the GPU's clock around each launch. `wall`: from submitting a launch alone until it is done, which includes the way there and back."),
  replays: count.describe("How often each launch was timed; times are medians."),
  peaks,
  emptyMicroseconds: time.describe("What an empty launch takes by the same clock."),
  microseconds: time.describe("Sum over the dispatches."),
  wholeRunMilliseconds: summary.describe("Of runs as a user has them: one pass, with upload and readback."),
  kinds: z.array(z.strictObject({ kind, dispatches: count, ...cost })).describe("Slowest first."),
  dispatches: z.array(z.strictObject({
    index: count,
    label: z.string().describe("Where in the model."),
    kind,
    routine: z.string().describe("What it does."),
    choice: z.string().describe("In which of the routine's ways."),
    by,
    launches: z.array(z.strictObject({ kernel: z.string(), workgroups: z.tuple([count, count, count]).readonly(), microseconds: time })).readonly().describe("Usually one; where a way has several, the dispatch's time is their sum."),
    ...cost,
    flopRate: time.describe("FLOP/s."),
    byteRate: time.describe("Bytes/s."),
    bound: z.enum(["compute", "memory", "launch"]).describe("Which floor is highest: FLOPs or bytes at the adapter's peaks, or empty launches."),
    reach: time.describe("That floor over the time: 1 is as fast as the adapter allows."),
    beginMicroseconds: time.describe("In the replay of median length."),
    endMicroseconds: time,
  })).describe("In the order in which they run."),
});

export type BenchReport = z.infer<typeof benchShape>;
export type ProfileReport = z.infer<typeof profileShape>;
