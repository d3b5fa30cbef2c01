/** Dawn's null backend runs nothing and checks everything: WGSL, bindings, limits, aliasing. All kernels of all examples pass through it. */
import * as assert from "uvu/assert";
import { specByName } from "../../compiler/families/index.js";
import { makePlan, type CompiledPlan } from "../../compiler/plan/plan.js";
import type { WgslKernel } from "../../compiler/kernels/kernel.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { VitcError } from "../../runtime/errors.js";
import { requestDevice } from "../../runtime/node.js";
import type { Dispatch, Plan } from "../../runtime/plan.js";
import { chooseRoutines } from "../../runtime/choose.js";
import { Session } from "../../runtime/session.js";
import { layoutOf } from "../tools/run-kernel.js";
import { exampleSpecs } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("Dawn's null device");

const features = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
const { device, adapter } = await requestDevice({ adapter: "null", optionalFeatures: features });

test("is the null device, with every feature that a kernel may need", () => {
  assert.is(adapter.null, true);
  assert.equal(features.filter((feature) => !device.features.has(feature)), []);
});

/** What Dawn says against a kernel, with the layout that a session gives it; nothing if it is sound. */
async function complaints({ id, code, bindings }: WgslKernel): Promise<string[]> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: id, code });
  const messages = (await module.getCompilationInfo()).messages.map(({ type, lineNum, message }) => `${type} in line ${lineNum}: ${message}`);
  const layout = layoutOf(device, bindings);
  const failure = await device.createComputePipelineAsync({ layout, compute: { module, entryPoint: "main" } }).then(
    () => [],
    (error: unknown) => [String(error)],
  );
  const scoped = await device.popErrorScope();
  return [...messages, ...failure, ...(scoped ? [scoped.message] : [])];
}

const seen = new Set<string>();

for (const [name, spec] of exampleSpecs) {
  test(`takes every kernel of ${name} without a word`, async () => {
    for (const kernel of (["f32", "f16"] as const).flatMap((dtype) => makePlan(resolve(spec), { dtype }).kernels)) {
      // Models share kernels of the same sizes, and ids tell all that a kernel depends on.
      if (seen.has(kernel.id)) continue;
      seen.add(kernel.id);
      assert.equal(await complaints(kernel), [], kernel.id);
    }
  });
}

/** One of each kind of timm's models, at its native size; `npm run bench:names` has all. */
const named = ["vit_small_patch14_reg4_dinov2", "vit_base_patch16_siglip_256", "vit_base_patch16_clip_quickgelu_224", "aimv2_large_patch14_224", "eva02_large_patch14_448", "vit_base_patch16_dinov3", "vit_small_patch16_rope_mixed_ape_224", "beit_base_patch16_224", "beit3_base_patch16_224", "vit_base_patch16_xp_224", "vit_small_patch16_18x2_224", "vit_base_patch16_rpn_224", "vit_dpwee_patch16_reg1_gap_256", "vit_pe_core_base_patch16_224", "test_vit3"];

for (const name of named) {
  test(`takes every kernel of timm's ${name} without a word`, async () => {
    for (const kernel of makePlan(resolve(specByName(`timm:${name}`).spec)).kernels) {
      if (seen.has(kernel.id)) continue;
      seen.add(kernel.id);
      assert.equal(await complaints(kernel), [], kernel.id);
    }
  });
}

/** Rotary positions, two sizes of heads, biases by distance, two maps. */
for (const name of ["vit_base_patch16_dinov3", "vit_so400m_patch14_siglip_224", "beit_base_patch16_224", "vit_dpwee_patch16_reg1_gap_256"]) {
  test(`takes every kernel of timm's ${name} with attention maps and an embedding`, async () => {
    const spec = resolve({ ...specByName(`timm:${name}`).spec, outputs: ["blocks.0.attn", "embedding"] });
    const kernels = (["f32", "f16"] as const).flatMap((dtype) => makePlan(spec, { dtype }).kernels).filter(({ id }) => id.startsWith("attention_map") || id.startsWith("l2_normalize"));
    assert.equal(kernels.map(({ id }) => id.replace(/_.*/, "")), ["attention", "l2", "attention", "l2"]);
    for (const kernel of kernels) assert.equal(await complaints(kernel), [], kernel.id);
  });
}

test("the kernels were all different ones", () => assert.ok(seen.size > 1000, `${seen.size} kernels`));

const cifar = makePlan(resolve(exampleSpecs.get("vit-cifar10"))).kernels;
const sample = cifar.find(({ id }) => id.startsWith("gemm") && id.endsWith("register_8x8_w8x8"))!;
const norm = cifar.find(({ id }) => id.startsWith("row_scales"))!;

/** A kernel with one part of its text replaced. */
function altered(kernel: WgslKernel, from: string | RegExp, to: string): WgslKernel {
  const code = kernel.code.replace(from, to);
  assert.is.not(code, kernel.code, `${kernel.id} has no ${from}`);
  return { ...kernel, code };
}

const broken: readonly (readonly [title: string, kernel: WgslKernel, message: RegExp])[] = [
  ["a misspelt function", altered(sample, "fma(", "fmaa("), /unresolved call target 'fmaa'/],
  ["a wrong type", altered(sample, "rows - 1u", "rows - 1.5"), /no matching overload/],
  ["a write to what is read-only", altered(norm, /out\[2u \* index\] = (.*);/, "x[index] = vec4<f32>($1);"), /cannot store/],
  ["a barrier that not all invocations reach", altered(norm, "let first =", "if (index > 0u) { workgroupBarrier(); }\n  let first ="), /uniform control flow/],
  ["a binding that the layout lacks", { ...sample, bindings: sample.bindings.slice(1) }, /binding/i],
  ["an access that the layout forbids", { ...sample, bindings: sample.bindings.map((binding) => ({ ...binding, access: "read" as const })) }, /read-only|doesn't match|ReadOnlyStorage/i],
  ["a workgroup beyond the limit", altered(norm, /@workgroup_size\(\d+/, "@workgroup_size(257"), /exceeds the maximum|limit/i],
];

for (const [title, kernel, message] of broken) {
  test(`refuses ${title}`, async () => {
    const said = await complaints(kernel);
    assert.match(said.join("\n"), message);
  });
}

const small = ["vit-cifar10", "vit-hybrid-stem-64", "vit-wide-96x160", "deit-tiny-distilled-patch16-224"];

/** A session of a plan on the null device, which must not compute but may be made. */
async function session({ plan, kernels }: Pick<CompiledPlan, "plan" | "kernels">): Promise<Session> {
  const made = await Session.create({ device, plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), software: false });
  await made.choose(chooseRoutines(plan, { adapter, features: new Set() }));
  return made;
}

for (const name of small) {
  test(`records and submits the whole of ${name}`, async () => {
    const compiled = makePlan(resolve(exampleSpecs.get(name)));
    const made = await session(compiled);
    try {
      for (const { batch, input, outputs } of compiled.plan.programs.infer) {
        const sizes: number[] = [];
        await made.run(batch, new Float32Array(input[2] / 4), (_, values) => sizes.push(values.length));
        assert.equal(sizes, outputs.map(({ view }) => view[2] / 4));
      }
    } finally {
      made.dispose();
    }
  });
}

async function refusal(make: () => Promise<unknown>): Promise<string> {
  try {
    await make();
  } catch (error) {
    if (error instanceof VitcError && error.code === "validation") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

test("a session with a broken kernel or a broken binding is refused by name", async () => {
  const { plan, kernels } = makePlan(resolve(exampleSpecs.get("vit-cifar10")));
  const chosen = chooseRoutines(plan, { adapter, features: new Set() }).get(plan.routines[0]!.id)!.choice.launches[0]!.kernel;
  const broken = kernels.map((kernel) => (kernel.id === chosen ? altered(kernel, "fma(", "fmaa(") : kernel));
  assert.match(await refusal(() => session({ plan, kernels: broken })), chosen);
  const change = (dispatch: (d: Dispatch) => Dispatch): Plan => ({ ...plan, programs: { infer: plan.programs.infer.map((profile) => ({ ...profile, dispatches: profile.dispatches.map((d, i) => (i === 2 ? dispatch(d) : d)) })) } });
  const unaligned = change((d) => ({ ...d, views: d.views.with(0, ["arena.0", 4, 256]) }));
  assert.match(await refusal(() => session({ plan: unaligned, kernels })), /binding of vit-cifar10/);
  const aliased = change((d) => ({ ...d, views: d.views.with(0, d.views.at(-1)!) }));
  const made = await session({ plan: aliased, kernels });
  try {
    assert.match(await refusal(() => made.run(1, new Float32Array(3072), () => {})), /refused to run/);
  } finally {
    made.dispose();
  }
});

test.after(() => device.destroy());

test.run();
