/** Plans with faults planted in them: what `verifyPlan` and `verifyProfile` refuse, with its reason. */
import * as assert from "uvu/assert";
import { IrError } from "../../compiler/ir/ops/op.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { assignStorage } from "../../compiler/plan/precision.js";
import { verifyPlan, verifyProfile } from "../../compiler/plan/verify.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { Choice, Dispatch, Kernel, KernelBinding, Launch, Plan, Profile, View, WeightRecipe } from "../../runtime/plan.js";
import { smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("faults in plans");

// Large enough for a choice that computes the scales of rows first, into scratch memory.
const compiled = makePlan(resolve(smallSpec({ image: 32, dim: 128, outputs: ["blocks.0"] })));
const { plan: sound, recipe, lowered } = compiled;
const [profile] = sound.programs.infer as [Profile];

type Move = readonly [label: string, at: number, to: (view: View) => View];

/** The profile with some views moved: view `at` of the dispatch with a label. */
const moved = (...moves: readonly Move[]): Profile => ({
  ...profile,
  dispatches: profile.dispatches.map((dispatch) => moves.filter(([label]) => label === dispatch.label).reduce((d, [, at, to]) => ({ ...d, views: d.views.with(at, to(d.views.at(at)!)) }), dispatch)),
});

const dispatchOf = (label: string): Dispatch => profile.dispatches.find((dispatch) => dispatch.label === label)!;
/** What a dispatch reads first, a product's left matrix. */
const leftOf = (label: string): View => dispatchOf(label).views[0]!;
/** Where a product's output and the scratch memory behind it are among its views. */
const [left, out, space] = [0, 3, 4];

const faulty = "blocks.0.attn.qkv";

/** The ways to do the faulty dispatch. */
const { choices: ways } = sound.routines.find(({ id }) => id === dispatchOf(faulty).routine)!;
/** One that computes something first, into scratch memory. */
const apart = ways.findIndex(({ launches }) => launches.length === 2 && launches[0]!.bind!.at(-1) === space);

test("the plan is sound, and a choice of the product that is made faulty has scratch memory", () => {
  verifyPlan(sound, recipe);
  assert.ok(apart > 0);
});

const withProfile = (changes: Partial<Profile>): Plan => ({ ...sound, programs: { infer: [{ ...profile, ...changes }] } });
const withDispatch = (changes: (dispatch: Dispatch) => Partial<Dispatch>): Plan => withProfile({ dispatches: profile.dispatches.map((dispatch) => (dispatch.label === faulty ? { ...dispatch, ...changes(dispatch) } : dispatch)) });
const withView = (at: number, change: (view: View) => View): Plan => withProfile(moved([faulty, at, change]));
const withWays = (choices: readonly Choice[]): Plan => ({ ...sound, routines: sound.routines.map((routine) => (routine.id === dispatchOf(faulty).routine ? { ...routine, choices } : routine)) });
/** The last choice of the faulty dispatch's routine, changed: every choice counts. */
const withLastChoice = (change: (choice: Choice) => Choice): Plan => withWays(ways.with(-1, change(ways.at(-1)!)));
/** Likewise the launches of the choice that uses scratch memory. */
const withLaunches = (change: (first: Launch, last: Launch) => readonly Launch[]): Plan => {
  const choice = ways[apart]!;
  return withWays(ways.with(apart, { ...choice, launches: change(...(choice.launches as [Launch, Launch])) }));
};
/** The last kernel with another workgroup: every kernel counts. */
const withWorkgroupSize = (workgroupSize: Kernel["workgroupSize"]): Plan => ({ ...sound, kernels: sound.kernels.with(-1, { ...sound.kernels.at(-1)!, workgroupSize }) });
const withAccess = (access: KernelBinding["access"], of: (kernel: Kernel, binding: KernelBinding) => boolean): Plan => ({ ...sound, kernels: sound.kernels.map((kernel) => ({ ...kernel, bindings: kernel.bindings.map((binding) => (of(kernel, binding) ? { ...binding, access } : binding)) })) });
const withWorkgroups = (workgroups: readonly [number, number, number]): Plan => withLastChoice((choice) => ({ ...choice, launches: choice.launches.map((launch) => ({ ...launch, workgroups })) }));

const corrupt: readonly (readonly [title: string, make: () => readonly [Plan, WeightRecipe], message: RegExp])[] = [
  ["an offset that is not aligned", () => [withView(0, ([buffer, offset, bytes]) => [buffer, offset + 4, bytes]), recipe], /blocks\.0\.attn\.qkv: view 4 \+ 33280 of arena/],
  ["a size that is not whole words", () => [withView(0, ([buffer, offset, bytes]) => [buffer, offset, bytes - 2]), recipe], /view 0 \+ 33278 of arena/],
  ["a view beyond its buffer", () => [withView(0, ([buffer, offset]) => [buffer, offset, 2 ** 30]), recipe], /blocks\.0\.attn\.qkv: view 0 \+ 1073741824 of arena/],
  ["an empty view", () => [withView(0, ([buffer, offset]) => [buffer, offset, 0]), recipe], /view 0 \+ 0 of arena/],
  ["a view that is shorter than what its kernel touches", () => [withView(0, ([buffer, offset, bytes]) => [buffer, offset, bytes - 4]), recipe], /blocks\.0\.attn\.qkv: gemm_\S+ touches 33280 bytes of a, which has 33276/],
  ["scratch memory that is shorter than what its kernel touches", () => [withView(space, ([buffer, offset, bytes]) => [buffer, offset, bytes - 4]), recipe], /row_scales_\S+ touches 520 bytes of \S+, which has 516/],
  ["a kernel that touches more than its views have", () => [{ ...sound, kernels: sound.kernels.map((kernel) => ({ ...kernel, bindings: kernel.bindings.map((binding) => ({ ...binding, bytes: binding.bytes + 4 })) })) }, recipe], /touches \d+ bytes/],
  ["a buffer that is not there", () => [withView(0, ([, offset, bytes]) => ["arena.9", offset, bytes]), recipe], /no buffer arena\.9/],
  ["a weight buffer that is not there", () => [{ ...sound, weightBuffers: [] }, { tensors: [] }], /no buffer weights\.0/],
  ["a buffer that is read and written", () => [withView(0, () => dispatchOf(faulty).views[out]!), recipe], /reads and writes arena/],
  ["scratch memory in a buffer that is read", () => [withView(space, ([, , bytes]) => [leftOf(faulty)[0], 0, bytes]), recipe], /row_scales_\S+ reads and writes arena/],
  ["a routine that is not there", () => [withDispatch(() => ({ routine: "gemm" })), recipe], /blocks\.0\.attn\.qkv: no routine gemm/],
  ["a routine without choices", () => [{ ...sound, routines: sound.routines.map((routine) => ({ ...routine, choices: [] })) }, recipe], /has no choices/],
  ["a kernel that is not there", () => [withLastChoice((choice) => ({ ...choice, launches: [{ ...choice.launches[0]!, kernel: "gone" }] })), recipe], /blocks\.0\.attn\.qkv: no kernel gone/],
  ["too few views", () => [withDispatch(({ views }) => ({ views: views.slice(0, out) })), recipe], /3 views for 4 bindings/],
  ["no view for scratch memory", () => [withDispatch(({ views }) => ({ views: views.slice(0, space) })), recipe], /no view 4/],
  ["no workgroups", () => [withWorkgroups([1, 0, 1]), recipe], /1,0,1 workgroups/],
  ["too many workgroups", () => [withWorkgroups([65536, 1, 1]), recipe], /65536,1,1 workgroups/],
  ["too many bindings", () => [{ ...sound, kernels: sound.kernels.map((kernel) => ({ ...kernel, bindings: Array.from({ length: 9 }, () => kernel.bindings[0]!) })) }, recipe], /binds 9 buffers/],
  ["a workgroup that is too long", () => [withWorkgroupSize([512, 1, 1]), recipe], /has 512 invocations of a workgroup along x; WebGPU takes 1 to 256/],
  ["a workgroup that is too high", () => [withWorkgroupSize([1, 257, 1]), recipe], /has 257 invocations of a workgroup along y; WebGPU takes 1 to 256/],
  ["a workgroup that is too deep", () => [withWorkgroupSize([1, 1, 65]), recipe], /has 65 invocations of a workgroup along z; WebGPU takes 1 to 64/],
  ["an empty workgroup", () => [withWorkgroupSize([0, 1, 1]), recipe], /has 0 invocations of a workgroup along x/],
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

const verify = (changed: Profile, plan: Plan = sound): void => verifyProfile(plan, changed, compiled.steps[0]!, lowered.outputs, assignStorage(lowered, "f32"));

test("verifyProfile refuses a view that does not hold what the graph means", () => {
  verify(profile);
  const further: Move[2] = ([buffer, offset, bytes]) => [buffer, offset + 1024, bytes];
  const token = leftOf("blocks.1.attn.q");
  const refusals: readonly Profile[] = [
    moved(["head", 0, ([buffer, offset, bytes]) => [buffer, offset + 256, bytes]]),
    moved(["head", 0, ([buffer, offset, bytes]) => [buffer, offset, bytes - 4]]),
    moved(["blocks.1.attn.kv", 0, ([buffer, offset, bytes]) => [profile.arenas.find((arena) => arena.name !== buffer)!.name, offset, bytes]]),
    // A result written elsewhere is missing where it is read; one written over a living value takes it away.
    moved(["blocks.0.attn.qkv", out, ([buffer, offset, bytes]) => [buffer, offset + 512, bytes]]),
    moved(["blocks.0.attn.qkv", out, ([, , bytes]) => [leftOf("blocks.0.attn.qkv")[0], leftOf("blocks.0.attn.qkv")[1], bytes]]),
    // So does scratch memory, be it of what is still to be read or of what the same step reads.
    moved(["blocks.1.attn.kv", space, ([, , bytes]) => [token[0], token[1], bytes]]),
    moved(["blocks.1.attn.kv", space, ([, , bytes]) => [leftOf("blocks.1.attn.kv")[0], leftOf("blocks.1.attn.kv")[1], bytes]]),
    // An in-place residual must lie where the stream lies, even if all that read it know where it went.
    moved(["blocks.1.mlp.fc2", out, further], ["head", 0, further]),
    { ...profile, outputs: profile.outputs.map(({ name, view: [buffer, offset, bytes], readback }) => ({ name, view: [buffer, offset + 256, bytes], readback })) },
    { ...profile, outputs: profile.outputs.toReversed() },
  ];
  refusals.forEach((refused, i) => assert.throws(() => verify(refused), (error: unknown) => error instanceof IrError && /no longer holds/.test(error.message), `refusal ${i}`));
});

/** Plans whose views are sound, and one way of a product is not. */
const unsoundWays: readonly (readonly [title: string, make: () => Plan, message: RegExp])[] = [
  ["leaves the output unwritten", () => withLaunches((first) => [first]), /^blocks\.0\.attn\.qkv: the last launch of scales_then_\S+ does not write the output$/],
  ["writes the output before its last launch", () => withLaunches((first, last) => [first, last, { ...first, bind: [left, space] }]), /the last launch of scales_then_\S+ does not write the output/],
  ["has no launch", () => withLaunches(() => []), /the last launch of scales_then_\S+ does not write the output/],
  ["binds the output for reading", () => withAccess("read", ({ id }, { name }) => name === "out" && ways.at(-1)!.launches.at(-1)!.kernel === id), /in \S+, gemm_\S+ reads the output as out, which no launch before it writes/],
  ["reads scratch memory that nothing was written to", () => withLaunches((_, last) => [last]), /^blocks\.0\.attn\.qkv: in scales_then_\S+, gemm_\S+ reads scratch memory as statistics, which no launch before it writes$/],
  ["reads scratch memory before it is written", () => withLaunches((first, last) => [last, first, last]), /reads scratch memory as statistics, which no launch before it writes/],
  ["reads the output before it is written", () => withLaunches((first, last) => [{ ...first, bind: [out, space] }, last]), /row_scales_\S+ reads the output as x, which no launch before it writes/],
  ["binds scratch memory for reading alone", () => withAccess("read", ({ id }, { name }) => name === "out" && id.startsWith("row_scales_")), /row_scales_\S+ reads scratch memory as out, which no launch before it writes/],
  ["writes what it should into the output", () => withLaunches((first, last) => [{ ...first, bind: [left, out] }, last]), /reads scratch memory as statistics, which no launch before it writes/],
  ["writes to what the step reads", () => withLaunches((first, last) => [{ ...first, bind: [left, left] }, last]), /row_scales_\S+ writes operand 0 as out, and may write the output and scratch memory alone/],
  ["writes to a weight", () => withAccess("read_write", (_, { name }) => name === "weight"), /gemm_\S+ writes operand 1 as weight, and may write the output and scratch memory alone/],
  ["binds too little", () => withLaunches((first, last) => [{ ...first, bind: [left] }, last]), /no view for out of row_scales_/],
  ["has a kernel that is not there", () => withLaunches((first, last) => [{ ...first, kernel: "gone" }, last]), /no kernel gone/],
];

for (const [title, make, message] of unsoundWays) {
  test(`verifyProfile refuses a plan of which one way ${title}`, () => {
    verify(profile);
    assert.throws(() => verify(profile, make()), (error: unknown) => error instanceof IrError && message.test(error.message));
  });
}

test("verifyProfile refuses scratch memory that no choice binds, and no plan has any", () => {
  const withoutScratch = withWays(ways.filter(({ launches }) => launches.length === 1));
  assert.throws(() => verify(profile, withoutScratch), (error: unknown) => error instanceof IrError && /^blocks\.0\.attn\.qkv: scratch memory is placed that no choice binds$/.test(error.message));
  // Both kinds of product are there: normalised ones with and without a choice that wants scratch memory.
  const normalised = compiled.steps[0]!.filter(({ node }) => node.op === "gemm" && node.attrs.norm);
  const having = normalised.filter(({ operands }) => operands.some((operand) => "scratch" in operand)).map(({ label }) => label);
  assert.equal(having, normalised.filter(({ routine }) => routine.candidates.some(({ count }) => count > 1)).map(({ label }) => label));
  assert.ok(having.includes(faulty) && having.length < normalised.length, having.join());
});

test.run();
