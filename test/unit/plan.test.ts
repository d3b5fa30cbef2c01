import * as fc from "fast-check";
import * as assert from "uvu/assert";
import type { Dispatch, Plan, Profile, View, WeightRecipe } from "../../runtime/plan.js";
import type { Graph, Node, Value } from "../../compiler/ir/graph.js";
import { elements, IrError } from "../../compiler/ir/ops/op.js";
import { indexGraph, isWeightOp } from "../../compiler/plan/graph-index.js";
import { lower, type Step } from "../../compiler/plan/lower.js";
import { WeightStore } from "../../compiler/plan/pack.js";
import { makePlan, type CompiledPlan } from "../../compiler/plan/plan.js";
import { verifyPlan, verifyProfile } from "../../compiler/plan/verify.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { expectGolden } from "../tools/golden.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("plans");

const planOf = (spec: ViTSpec): CompiledPlan => makePlan(resolve(spec));

const examples: ReadonlyMap<string, CompiledPlan> = new Map([...exampleSpecs].map(([name, spec]) => [name, planOf(spec)]));

// ------------------------------------------------------------------------------------------------------ facts

test("dispatches, pipelines, arenas and weights of every example", () => {
  const facts = Object.fromEntries(
    [...examples].map(([name, { plan, recipe }]) => [
      name,
      {
        pipelines: plan.kernels.length,
        weights: { tensors: recipe.tensors.length, bytes: plan.weightBuffers },
        limits: plan.limits,
        profiles: plan.programs.infer.map(({ batch, dispatches, arenas, flops, bytes }) => ({ batch, dispatches: dispatches.length, arenaBytes: arenas.map((arena) => arena.bytes), flops, bytes })),
      },
    ]),
  );
  expectGolden("plans.json", `${JSON.stringify(facts, null, 2)}\n`);
});

test("a block is seven dispatches in every example", () => {
  for (const [name, { plan }] of examples)
    for (const { dispatches } of plan.programs.infer) {
      const { depth } = resolve(exampleSpecs.get(name));
      const counts = Array.from({ length: depth }, (_, i) => dispatches.filter(({ label }) => label.startsWith(`blocks.${i}.`)).length);
      assert.equal(counts, Array.from({ length: depth }, () => 7), name);
    }
});

test("depth multiplies dispatches, never pipelines", () => {
  for (const changes of [{}, { tokens: { distillation: true } }, { pool: "avg", outputs: ["norm"] }] as const) {
    const [two, twentyFour] = [2, 24].map((depth) => planOf(smallSpec({ ...changes, depth })).plan);
    assert.equal(two!.kernels.map((kernel) => kernel.id), twentyFour!.kernels.map((kernel) => kernel.id));
    const dispatches = (plan: Plan) => plan.programs.infer[0]!.dispatches.length;
    assert.is(dispatches(twentyFour!) - dispatches(two!), 22 * 7);
  }
});

test("multiply-adds are those that timm counts", () => {
  // Billions at 224 x 224, from the tables of timm and the DeiT paper; norms and softmax add a little.
  const published = { "vit-tiny-patch16-224": 1.26, "vit-small-patch16-224": 4.61, "vit-base-patch16-224": 17.58, "vit-base-patch32-224": 4.41, "vit-large-patch16-224": 61.6, "vit-huge-patch14-224": 167.4 };
  for (const [name, billions] of Object.entries(published)) {
    const counted = examples.get(name)!.plan.programs.infer[0]!.flops / 2e9;
    assert.ok(counted > billions * 0.99 && counted < billions * 1.03, `${name}: ${counted}, published ${billions}`);
  }
});

test("parameters are those that timm counts", () => {
  const published = { "vit-tiny-patch16-224": 5_717_416, "vit-base-patch16-224": 86_567_656, "vit-large-patch16-224": 304_326_632, "deit-tiny-distilled-patch16-224": 5_910_800 };
  for (const [name, count] of Object.entries(published)) {
    const read = new Map(examples.get(name)!.recipe.tensors.flatMap((tensor) => tensor.sources.map((source) => [source.names[0]!, elements(source.shape)] as const)));
    assert.is([...read.values()].reduce((sum, n) => sum + n, 0), count, name);
  }
});

// ------------------------------------------------------------------------------------------------------ memory

/**
 * Whether two values that live at once share bytes, from the views of the dispatches and the reads of the graph alone. A value lives from
 * the dispatch that writes it to the last that reads it, or to the end if it is an output. The one exception is an in-place residual: the
 * dispatch that ends a value's life may write over exactly its bytes.
 */
function overlaps(profile: Profile, lowered: Graph): string[] {
  const nodes = lowered.nodes.filter((node) => !isWeightOp(node));
  assert.is(nodes.length, profile.dispatches.length);
  const written = new Map<Value, { readonly view: View; readonly from: number; to: number }>();
  const found: string[] = [];
  nodes.forEach((node, i) => {
    const { label, views } = profile.dispatches[i]!;
    for (const input of node.inputs) {
      const value = written.get(input);
      if (!value) continue;
      value.to = i;
      if (!views.some((view) => same(view, value.view))) found.push(`${label} does not read ${value.view.join(" ")}`);
    }
    written.set(node.output, { view: views[views.length - 1]!, from: i, to: i });
  });
  lowered.outputs.forEach(({ name, value }, i) => {
    const computed = written.get(value);
    if (!computed) return;
    computed.to = Infinity;
    if (!same(profile.outputs[i]!.view, computed.view)) found.push(`output ${name} is not where it was computed`);
  });
  const all = [...written.values()];
  for (const a of all)
    for (const b of all) {
      if (a.from >= b.from || b.from > a.to || a.view[0] !== b.view[0]) continue;
      const disjoint = a.view[1] + a.view[2] <= b.view[1] || b.view[1] + b.view[2] <= a.view[1];
      const inPlace = b.from === a.to && same(a.view, b.view) && isResidual(nodes[b.from]!);
      if (!disjoint && !inPlace) found.push(`${profile.dispatches[a.from]!.label} is overwritten by ${profile.dispatches[b.from]!.label} while it lives`);
    }
  return found;
}

const same = (a: View, b: View): boolean => a.every((part, i) => part === b[i]);
const isResidual = (node: Node): boolean => node.op === "gemm" && node.attrs.residual;

test("no two values that live at once share bytes", () => {
  for (const [name, { plan, lowered }] of examples) assert.equal(overlaps(plan.programs.infer[0]!, lowered), [], name);
});

const runs = { numRuns: 200, seed: Number(process.env["SEED"] ?? 1) };

test("200 random models can be planned, and no two values that live at once share bytes", () => {
  fc.assert(
    fc.property(randomSpec, (spec) => {
      const { plan, recipe, lowered } = planOf(spec);
      verifyPlan(plan, recipe);
      assert.equal(overlaps(plan.programs.infer[0]!, lowered), []);
    }),
    runs,
  );
});

test("arenas do not grow with depth unless every block is returned", () => {
  const bytes = (spec: ViTSpec) => planOf(spec).plan.programs.infer[0]!.arenas.reduce((sum, arena) => sum + arena.bytes, 0);
  assert.is(bytes(smallSpec({ depth: 2 })), bytes(smallSpec({ depth: 24 })));
  assert.ok(bytes(smallSpec({ depth: 24, outputs: ["blocks.*"] })) > bytes(smallSpec({ depth: 24 })));
});

test("a value that is overwritten too early is seen", () => {
  const { plan, lowered } = planOf(smallSpec());
  const [profile] = plan.programs.infer as [Profile];
  // The hidden layer written over the residual stream, and read from there.
  const at = profile.dispatches.findIndex(({ label }) => label === "blocks.0.mlp.fc1");
  const stream = profile.dispatches[at + 1]!.views.at(-1)!;
  const moved = profile.dispatches.map((dispatch, i): Dispatch => {
    if (i === at) return { ...dispatch, views: dispatch.views.with(-1, stream) };
    return i === at + 1 ? { ...dispatch, views: dispatch.views.with(0, stream) } : dispatch;
  });
  assert.match(overlaps({ ...profile, dispatches: moved }, lowered).join("\n"), /blocks\.0\.attn\.proj is overwritten by blocks\.0\.mlp\.fc1 while it lives/);
});

// ------------------------------------------------------------------------------------------------------ verification

const { plan: sound, recipe, lowered } = planOf(smallSpec({ outputs: ["blocks.0"] }));
const [profile] = sound.programs.infer as [Profile];

const withProfile = (changes: Partial<Profile>): Plan => ({ ...sound, programs: { infer: [{ ...profile, ...changes }] } });
const withDispatch = (changes: (dispatch: Dispatch) => Partial<Dispatch>): Plan => withProfile({ dispatches: profile.dispatches.map((dispatch, i) => (i === 3 ? { ...dispatch, ...changes(dispatch) } : dispatch)) });
const withView = (at: number, change: (view: View) => View): Plan => withDispatch(({ views }) => ({ views: views.with(at, change(views.at(at)!)) }));

const corrupt: readonly (readonly [title: string, make: () => readonly [Plan, WeightRecipe], message: RegExp])[] = [
  ["an offset that is not aligned", () => [withView(0, ([buffer, offset, bytes]) => [buffer, offset + 4, bytes]), recipe], /blocks\.0\.attn\.qkv: view 4 \+ 160 of arena/],
  ["a view beyond its buffer", () => [withView(0, ([buffer, offset]) => [buffer, offset, 2 ** 20]), recipe], /blocks\.0\.attn\.qkv: view 0 \+ 1048576 of arena/],
  ["an empty view", () => [withView(0, ([buffer, offset]) => [buffer, offset, 0]), recipe], /view 0 \+ 0 of arena/],
  ["a buffer that is not there", () => [withView(0, ([, offset, bytes]) => ["arena.9", offset, bytes]), recipe], /no buffer arena\.9/],
  ["a weight buffer that is not there", () => [{ ...sound, weightBuffers: [] }, { tensors: [] }], /no buffer weights\.0/],
  ["a buffer that is read and written", () => [withDispatch(({ views }) => ({ views: views.with(0, views.at(-1)!) })), recipe], /reads and writes arena/],
  ["a kernel that is not there", () => [withDispatch(() => ({ kernel: "gemm" })), recipe], /blocks\.0\.attn\.qkv: no kernel gemm/],
  ["too few views", () => [withDispatch(({ views }) => ({ views: views.slice(1) })), recipe], /3 views for 4 bindings/],
  ["no workgroups", () => [withDispatch(() => ({ workgroups: [1, 0, 1] })), recipe], /1,0,1 workgroups/],
  ["too many workgroups", () => [withDispatch(() => ({ workgroups: [65536, 1, 1] })), recipe], /65536,1,1 workgroups/],
  ["too many bindings", () => [{ ...sound, kernels: sound.kernels.map((kernel) => ({ ...kernel, bindings: Array.from({ length: 9 }, () => kernel.bindings[0]!) })) }, recipe], /binds 9 buffers/],
  ["too many invocations", () => [{ ...sound, kernels: sound.kernels.map((kernel) => ({ ...kernel, workgroupSize: [16, 16, 2] as const })) }, recipe], /has 512 invocations a workgroup/],
  ["a weight beyond its buffer", () => [{ ...sound, weightBuffers: [256] }, recipe], /does not fit its buffer/],
  ["a weight that is not aligned", () => [sound, { tensors: recipe.tensors.map((tensor) => ({ ...tensor, offset: tensor.offset + 16 })) }], /does not fit its buffer/],
  ["a weight in a buffer that is not there", () => [sound, { tensors: recipe.tensors.map((tensor) => ({ ...tensor, buffer: 7 })) }], /does not fit its buffer/],
];

for (const [title, make, message] of corrupt) {
  test(`verifyPlan refuses ${title}`, () => {
    verifyPlan(sound, recipe);
    const [plan, weights] = make();
    assert.throws(() => verifyPlan(plan, weights), (error: unknown) => error instanceof IrError && message.test(error.message));
  });
}

const steps: readonly Step[] = lower(indexGraph(lowered), new WeightStore());

type Move = readonly [label: string, at: number, to: (view: View) => View];

/** Verifies a profile with some views moved: view `at` of the dispatch with a label. */
const moved = (...moves: readonly Move[]): void => {
  const dispatches = profile.dispatches.map((dispatch) => moves.filter(([label]) => label === dispatch.label).reduce((d, [, at, to]) => ({ ...d, views: d.views.with(at, to(d.views.at(at)!)) }), dispatch));
  verifyProfile({ ...profile, dispatches }, steps, lowered.outputs);
};

const further: Move[2] = ([buffer, offset, bytes]) => [buffer, offset + 1024, bytes];

test("verifyProfile refuses a view that does not hold what the graph means", () => {
  verifyProfile(profile, steps, lowered.outputs);
  moved(["head", 0, (view) => view]);
  const refusals: readonly (() => void)[] = [
    () => moved(["head", 0, ([buffer, offset, bytes]) => [buffer, offset + 256, bytes]]),
    () => moved(["head", 0, ([buffer, offset, bytes]) => [buffer, offset, bytes - 4]]),
    () => moved(["blocks.1.attn.qkv", 0, ([buffer, offset, bytes]) => [profile.arenas.find((arena) => arena.name !== buffer)!.name, offset, bytes]]),
    // A result written elsewhere is missing where it is read; one written over a living value takes it away.
    () => moved(["blocks.0.norm1", -1, ([buffer, offset, bytes]) => [buffer, offset + 512, bytes]]),
    () => moved(["blocks.0.norm1", -1, ([, , bytes]) => [profile.dispatches[1]!.views.at(-1)![0], profile.dispatches[1]!.views.at(-1)![1], bytes]]),
    // An in-place residual must lie where the stream lies,
    // even if all that read it know where it went.
    () => moved(["blocks.1.mlp.fc2", -1, further], ["norm", 0, further]),
    () => verifyProfile({ ...profile, outputs: profile.outputs.map(({ name, view: [buffer, offset, bytes], readback }) => ({ name, view: [buffer, offset + 256, bytes], readback })) }, steps, lowered.outputs),
    () => verifyProfile({ ...profile, outputs: profile.outputs.toReversed() }, steps, lowered.outputs),
  ];
  refusals.forEach((refused, i) => assert.throws(refused, (error: unknown) => error instanceof IrError && /no longer holds/.test(error.message), `refusal ${i}`));
});

// ------------------------------------------------------------------------------------------------------ one spec, one plan

test("the same spec gives the same bytes", () => {
  for (const [name, spec] of exampleSpecs) {
    const [again, first] = [planOf(spec), examples.get(name)!];
    assert.is(JSON.stringify([again.plan, again.recipe, again.kernels]), JSON.stringify([first.plan, first.recipe, first.kernels]), name);
  }
});

test("the fingerprint changes with whatever changes the package", () => {
  const changes: readonly Partial<ViTSpec>[] = [
    {}, { name: "other" }, { labels: ["a", "b", "c", "d", "e"] }, { labels: ["a", "b", "c", "d", "f"] }, { image: 12 }, { image: [8, 12] }, { patch: 2 }, { patch: [2, 4] }, { channels: 1 },
    { stem: [{ channels: 3, kernel: 1 }] }, { stem: [{ channels: 3, kernel: 3 }] }, { patchNorm: true }, { patchBias: false }, { dim: 12 }, { depth: 3 }, { heads: 4 }, { headDim: 5 },
    { mlp: { hidden: 31 } }, { mlp: { activation: "relu" } }, { mlp: { activation: "silu" } }, { mlp: { bias: false } }, { attention: { qkvBias: false } }, { attention: { scale: 0.25 } }, { attention: { projBias: false } },
    { tokens: { class: false }, pool: "avg" }, { pool: "avg" }, { pool: "max" }, { tokens: { distillation: true } }, { position: { kind: "sincos2d" } }, { position: { kind: "sincos2d", temperature: 100 } }, { position: { kind: "sincos1d" } },
    { position: { kind: "none" } }, { position: { prefix: false } }, { norm: { eps: 1e-5 } }, { finalNorm: "pooled" }, { finalNorm: "none" }, { representation: 8 }, { classes: 6 }, { classes: 0 },
    { outputs: ["embed"] }, { outputs: ["norm"] }, { preprocess: { crop: "squash" } }, { preprocess: { cropPct: 1 } }, { preprocess: { interpolation: "bilinear" } }, { preprocess: { mean: 0.4 } }, { preprocess: { std: 0.4 } },
    { batch: 2 }, { batch: [1, 2] },
  ];
  const fingerprints = changes.map((change) => planOf(smallSpec(change)).plan.fingerprint);
  const repeated = changes.filter((_, i) => fingerprints.indexOf(fingerprints[i]!) !== i);
  assert.equal(repeated, []);
  for (const fingerprint of fingerprints) assert.match(fingerprint, /^[0-9a-f]{16}$/);
  // What is the identity at inference changes nothing.
  assert.is(planOf(smallSpec({ dropout: { path: 0.5, attention: 0.1 } })).plan.fingerprint, fingerprints[0]);
});

test("profiles share weights, and each has kernels of its own shapes", () => {
  const [one, two] = [planOf(smallSpec({ batch: 1 })), planOf(smallSpec({ batch: [1, 4] }))];
  assert.equal(two.recipe, one.recipe);
  assert.equal(two.plan.weightBuffers, one.plan.weightBuffers);
  assert.equal(two.plan.programs.infer.map((p) => [p.batch, p.input[2], p.dispatches.length]), [1, 4].map((batch) => [batch, batch * 3 * 8 * 8 * 4, one.plan.programs.infer[0]!.dispatches.length]));
});

test("arenas grow no further than a buffer's default size unless one value does, and reading back counts", () => {
  const large = { name: "l", image: 224, patch: 16, dim: 1024, depth: 24, heads: 16 };
  const tapped = makePlan(resolve({ ...large, batch: 32, outputs: ["blocks.*"] })).plan;
  const [profile] = tapped.programs.infer;
  assert.ok(profile!.arenas.every(({ bytes }) => bytes <= 256 * 2 ** 20));
  assert.is(profile!.readbackBytes, profile!.outputs.reduce((sum, { view }) => sum + Math.ceil(view[2] / 8) * 8, 0));
  assert.equal(tapped.limits, { maxBufferSize: profile!.readbackBytes });
});

test("weights of more than a binding's default size are spread over buffers, and limits are named only where defaults do not do", () => {
  const { plan, recipe: weights } = examples.get("vit-huge-patch14-224")!;
  assert.ok(plan.weightBuffers.length > 10);
  for (const bytes of plan.weightBuffers) assert.ok(bytes <= 128 * 2 ** 20);
  assert.equal(plan.limits, {});
  assert.is(weights.tensors.reduce((sum, { shape }) => sum + 4 * elements(shape), 0) <= plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0), true);
  const large = planOf(smallSpec({ dim: 4096, heads: 64, depth: 1, classes: 20_000 })).plan;
  assert.equal(large.limits, { maxStorageBufferBindingSize: 4096 * 20_000 * 4, maxBufferSize: 4096 * 20_000 * 4 });
});

test("speed of spec to plan (printed, since machines differ)", () => {
  const lines = ["vit-tiny-patch16-224", "vit-large-patch16-224", "vit-huge-patch14-224"].map((name) => {
    const times = Array.from({ length: 7 }, () => {
      const start = performance.now();
      planOf(exampleSpecs.get(name)!);
      return performance.now() - start;
    });
    return `${name} ${times.toSorted((a, b) => a - b)[3]!.toFixed(1)} ms`;
  });
  console.log(`\nspec to plan, median of 7: ${lines.join(", ")}`);
  assert.is(lines.length, 3);
});

test.run();
