import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { initialize } from "../../compiler/checkpoint/init.js";
import { listTimm, specByName } from "../../compiler/families/index.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { flopsOf } from "../../compiler/ir/cost.js";
import { plannedBytes } from "../../compiler/measure/subject.js";
import { makePlan } from "../../compiler/plan/plan.js";
import type { ResolvedSpec } from "../../compiler/spec/resolve.js";
import { defineSweep, type StaticColumns } from "../../compiler/sweep/define.js";
import type { Row } from "../../compiler/sweep/row.js";
import { StaticColumnsOf } from "../../compiler/sweep/statics.js";
import { sweep } from "../../compiler/sweep/sweep.js";
import { resolveVariant, variantsOf } from "../../compiler/sweep/variants.js";
import edge from "../../specs/sweeps/edge.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("static columns of a sweep");

async function collect(rows: AsyncIterable<Row>): Promise<Row[]> {
  const list: Row[] = [];
  for await (const row of rows) list.push(row);
  return list;
}

/** Every column, from the plans of the whole depth. */
function expected(spec: ResolvedSpec) {
  const plans = (["f32", "f16"] as const).map((dtype) => makePlan(spec, { dtype }));
  const { plan, kernels, built } = plans.find(({ plan: { dtype } }) => dtype === spec.dtype[0])!;
  const tensors = built.parameters.map(({ name, value }) => ({ name, shape: value.shape }));
  const weights = (at: number): number => plans[at]!.plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0) / 1e6;
  const [profile] = plan.programs.infer;
  const own = plan.dtype === "f32" ? 0 : 1;
  return {
    tokens: spec.geometry.tokens,
    params: tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0),
    weights_mb: weights(own),
    weights_mb_f32: weights(0),
    weights_mb_f16: weights(1),
    activation_mb: (plannedBytes(plan) - plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0)) / 1e6,
    moved_mb: profile!.bytes / 1e6,
    dispatches: profile!.dispatches.length,
    kernels: kernels.length,
    wgsl_kb: Buffer.byteLength(kernels.map(({ code }) => code).join("")) / 1e3,
  };
}

function compare(spec: ResolvedSpec, statics: StaticColumnsOf): void {
  const { columns, plan } = statics.of(spec);
  const whole = makePlan(spec, { dtype: spec.dtype[0]! }).plan;
  for (const [name, value] of Object.entries(expected(spec))) {
    const own = columns[name as keyof StaticColumns];
    assert.ok(Math.abs(own - value) <= 1e-9 * Math.abs(value), `${name} is ${own} and should be ${value}, for ${JSON.stringify(spec)}`);
  }
  // What predictors are given.
  const [[own], [other]] = [plan.programs.infer, whole.programs.infer];
  assert.equal(own!.dispatches.map(({ label, routine, flops, bytes }) => [label, routine, flops, bytes]), other!.dispatches.map(({ label, routine, flops, bytes }) => [label, routine, flops, bytes]));
  assert.equal([plan.weightBuffers, own!.arenas, plan.routines, plan.limits, own!.batch], [whole.weightBuffers, other!.arenas, whole.routines, whole.limits, other!.batch]);
}

test("equal those of the whole model, of any depth and with any parts", () => {
  const statics = new StaticColumnsOf();
  for (const drawn of fc.sample(randomSpec, { numRuns: 15, seed: Number(process.env["SEED"] ?? 11) })) {
    for (const depth of [5, 3, 1]) {
      const outputs = drawn.outputs?.filter((name) => depth > 1 || name !== "blocks.1");
      compare(resolveVariant({ ...drawn, depth, outputs }), statics);
    }
  }
});

test("equal those of the whole model where weights fill several buffers", () => {
  compare(resolveVariant({ ...exampleSpecs.get("vit-large-patch16-224")!, depth: 5, dtype: "f16" }), new StaticColumnsOf());
});

test("params are the values that vitc init-weights writes", () => {
  const resolved = resolveVariant(smallSpec({ depth: 4 }));
  const tensors = buildGraph(resolved, { batch: 1 }).parameters.map(({ name, value }) => ({ name, shape: value.shape }));
  const valuesOf = initialize(tensors, { seed: 0, scheme: "timm", layerScale: resolved.layerScale, temperature: undefined });
  assert.is(new StaticColumnsOf().of(resolved).columns.params, tensors.reduce((sum, { name }) => sum + valuesOf(name).length, 0));
});

test("multiply-adds are those that timm publishes, and attention's share is what QK^T and PV take", () => {
  const statics = new StaticColumnsOf();
  // infer_gmacs of timm's results/benchmark-infer-*.csv, with the digits that they have. They count norms too.
  const published = { vit_tiny_patch16_224: [1.26, 2], vit_small_patch16_224: [4.61, 2], vit_base_patch16_224: [17.58, 2], vit_large_patch16_224: [61.6, 1], vit_huge_patch14_224: [167.4, 1] } as const;
  for (const [name, [gmacs, digits]] of Object.entries(published)) {
    const resolved = resolveVariant(specByName(`timm:${name}`).spec);
    const { columns } = statics.of(resolved);
    assert.ok(Math.abs(columns.gmacs - gmacs) <= 0.003 * gmacs + 0.5 * 10 ** -digits, `${name}: ${columns.gmacs}, published ${gmacs}`);
    assert.is(Number(columns.gmacs.toPrecision(4)), listTimm().find((entry) => entry.name === name)!.gmacs);
    assert.is(columns.gflops, 2 * columns.gmacs);
    // Two products of tokens by tokens by width in every block.
    const products = (2 * resolved.geometry.tokens ** 2 * resolved.dim * resolved.depth) / 1e9;
    assert.ok(Math.abs(columns.attention_share - products / columns.gmacs) < 1e-12);
  }
});

test("a batch multiplies what a run does, not what an image does", () => {
  const statics = new StaticColumnsOf();
  const [one, eight] = [1, 8].map((batch) => statics.of(resolveVariant(smallSpec({ depth: 4, batch }))).columns) as [ReturnType<StaticColumnsOf["of"]>["columns"], ReturnType<StaticColumnsOf["of"]>["columns"]];
  const graph = buildGraph(resolveVariant(smallSpec({ depth: 4 })), { batch: 1 });
  const products = graph.nodes.filter(({ op }) => ["linear", "matmul", "conv2d"].includes(op)).reduce((sum, node) => sum + flopsOf(node) / 2, 0);
  assert.equal([one.gmacs, eight.gmacs], [products / 1e9, products / 1e9]);
  assert.ok(eight.moved_mb > one.moved_mb && eight.activation_mb > one.activation_mb);
});

test("50 variants a second of the processor's time at least, of the sweep that the README shows", async () => {
  const began = process.cpuUsage();
  let rows = 0;
  for (const of of [edge, defineSweep({ ...edge, base: { ...exampleSpecs.get("vit-tiny-patch16-224")!, name: "gray", channels: 1 } })]) for await (const _row of sweep(of)) rows++;
  const { user, system } = process.cpuUsage(began);
  const rate = (rows * 1e6) / (user + system);
  assert.is(rows, 2 * variantsOf(edge).count);
  // Half of the 100 that a sweep makes by itself, since tests run beside others and with a compiler of TypeScript in between.
  assert.ok(rate >= 50, `${rate.toFixed(0)} variants a second`);
});

test("10,000 variants stay below 500 MB and let others in", async () => {
  const many = defineSweep({ base: smallSpec(), axes: { depth: Array.from({ length: 100 }, (_, i) => i + 1), dim: Array.from({ length: 20 }, (_, i) => 4 * (i + 1)), "mlp.ratio": [1, 2, 3, 4, 5] }, derive: { heads: () => 1 } });
  let [rows, turns, longest, last] = [0, 0, 0, performance.now()];
  const clock = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
    turns++;
  }, 5);
  const before = process.memoryUsage().rss;
  let most = 0;
  for await (const row of sweep(many)) {
    if (++rows % 500 === 0) most = Math.max(most, process.memoryUsage().rss);
    assert.is(row.failed, null);
  }
  clearInterval(clock);
  assert.is(rows, 10_000);
  assert.ok(most - before < 400e6, `${((most - before) / 1e6).toFixed(0)} MB more`);
  assert.ok(turns > 5 && longest < 3000, `${turns} turns, the longest wait ${longest.toFixed(0)} ms`);
});

test("a variant that there is none of is a row with its reason, and one that is not wanted is no row", async () => {
  const rows = await collect(sweep(defineSweep({ base: smallSpec(), axes: { patch: [3, 4], depth: [1, 2, 3] }, where: (spec) => spec.depth < 3 })));
  assert.equal(rows.map(({ name, failed }) => `${name} ${failed === null}`).toSorted(), ["small-patch3-depth1 false", "small-patch3-depth2 false", "small-patch3-depth3 false", "small-patch4-depth1 true", "small-patch4-depth2 true"]);
  assert.match(rows.find(({ name }) => name === "small-patch3-depth1")!.failed!, /^image: height 8 of the image is not a multiple of patch 3/);
  const odd = await collect(sweep(defineSweep({ base: smallSpec(), axes: { depth: [1, 2] }, where: (spec) => { if (spec.depth === 2) throw new Error("no such width"); return true; } })));
  assert.equal(odd.map(({ depth, failed }) => `${String(depth)} ${failed}`).toSorted(), ["1 null", "2 no such width"]);
});

test.run();
