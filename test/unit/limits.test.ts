/** WebGPU's default limits: every plan of an example is within them, large weights are split for them, large batches cut into chunks. */
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { isWeightOp, type Value } from "../../compiler/ir/graph.js";
import { elements, last } from "../../compiler/ir/ops/op.js";
import type { WgslKernel } from "../../compiler/kernels/kernel.js";
import { largestBatch } from "../../compiler/plan/chunks.js";
import { indexGraph } from "../../compiler/plan/graph-index.js";
import { lower } from "../../compiler/plan/lower.js";
import { WeightStore } from "../../compiler/plan/pack.js";
import { makePlan, type CompiledPlan, type PlanOptions } from "../../compiler/plan/plan.js";
import { assignStorage } from "../../compiler/plan/precision.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { chooseProfiles } from "../../runtime/choose.js";
import type { PackedTensor, Plan, View } from "../../runtime/plan.js";
import { recipeOfTree, rowsOf, treeOf, type RecipeNode } from "../../runtime/recipe-tree.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("limits");

const dtypes = ["f32", "f16"] as const;
const mebibyte = 2 ** 20;

/** WebGPU's defaults, from its specification. */
const defaults = { binding: 128 * mebibyte, buffer: 256 * mebibyte, storageBuffers: 8, invocations: 256, sizes: [256, 256, 64], workgroups: 65535, workgroupMemory: 16384 };

const planOf = (spec: ViTSpec, options?: PlanOptions): CompiledPlan => makePlan(resolve(spec), options);

/** The examples in both dtypes, for one image and for their own batches. */
const examples = [...exampleSpecs].flatMap(([name, spec]) =>
  dtypes.map((dtype) => {
    const batch = [...new Set([1, ...resolve(spec).batch])].sort((a, b) => a - b);
    return { title: `${name} in ${dtype}`, dtype, batch, compiled: planOf({ ...spec, batch }, { dtype }) };
  }),
);

// ------------------------------------------------------------------------------------------------------ kernels

/** Bytes and alignment of a WGSL type of numbers, vectors and arrays (WGSL, section 14.4.1). */
function layoutOf(type: string): { readonly bytes: number; readonly align: number } {
  const scalar = { f32: 4, u32: 4, i32: 4, f16: 2 }[type];
  if (scalar !== undefined) return { bytes: scalar, align: scalar };
  const vector = /^vec([234])<(\w+)>$/.exec(type);
  if (vector) {
    const [count, { bytes }] = [Number(vector[1]), layoutOf(vector[2]!)];
    return { bytes: count * bytes, align: (count === 3 ? 4 : count) * bytes };
  }
  const array = /^array<(.+), (\d+)>$/.exec(type);
  if (!array) throw new Error(`the size of ${type} is not known to this test`);
  const { bytes, align } = layoutOf(array[1]!);
  return { bytes: Number(array[2]) * Math.ceil(bytes / align) * align, align };
}

/** Bytes of workgroup memory as WebGPU counts them: each variable in multiples of 16. */
function workgroupMemory(code: string): number {
  const declared = [...code.matchAll(/var<workgroup>\s*([^;]*);/g)].map((match) => match[1]!);
  assert.is(declared.length, code.split("var<workgroup>").length - 1);
  return declared.reduce((sum, text) => sum + Math.ceil(layoutOf(/^\w+: (.+)$/.exec(text)![1]!).bytes / 16) * 16, 0);
}

/** How a kernel's text exceeds the limits, or differs from what the plan says of it. */
function excesses({ id, code, bindings, workgroupSize }: WgslKernel): string[] {
  const memory = workgroupMemory(code);
  const size = /@workgroup_size\(([^)]*)\)/.exec(code)?.[1];
  return [
    ...(memory > defaults.workgroupMemory ? [`${id} has ${memory} bytes of workgroup memory`] : []),
    ...(bindings.length > defaults.storageBuffers ? [`${id} binds ${bindings.length} buffers`] : []),
    ...(elements(workgroupSize) > defaults.invocations || workgroupSize.some((n, axis) => n > defaults.sizes[axis]!) ? [`${id} has workgroups of ${workgroupSize}`] : []),
    ...(size === workgroupSize.join(", ") ? [] : [`${id} says ${size} and is ${workgroupSize}`]),
    ...(code.split("var<storage").length - 1 === bindings.length ? [] : [`${id} declares other buffers than its ${bindings.length}`]),
    ...bindings.filter(({ bytes }) => bytes > defaults.binding).map(({ name, bytes }) => `${id} touches ${bytes} bytes of ${name}`),
  ];
}

test("workgroup memory is counted from a kernel's text as WebGPU counts it", () => {
  const counts: readonly (readonly [string, number])[] = [
    ["", 0], ["var<workgroup> a: array<f32, 4>;", 16], ["var<workgroup> a: f32;", 16], ["var<workgroup> a: array<vec4<f32>, 1024>;", 16384], ["var<workgroup> a: array<f16, 9>;\nvar<workgroup> b: vec2<f16>;", 48],
    ["var<workgroup> a: array<vec3<f32>, 16>;", 256], ["var<workgroup> a: array<array<f32, 3>, 5>;", 64],
  ];
  for (const [code, bytes] of counts) assert.is(workgroupMemory(code), bytes, code);
});

test("every way to compute every routine of every example, kept in the plan or not, is within a kernel's limits", () => {
  const [seen, written] = [new Set<string>(), new Map<string, WgslKernel>()];
  for (const { dtype, compiled: { lowered, plan } } of examples) {
    // Examples that differ in their names alone have the same routines.
    const ids = plan.routines.map(({ id }) => id).join();
    if (seen.has(ids)) continue;
    seen.add(ids);
    const steps = lower(indexGraph(lowered), new WeightStore(), { dtype, storage: assignStorage(lowered, dtype), bindingBytes: defaults.binding, keep: (candidates) => candidates });
    for (const { routine } of steps) for (const { launches } of routine.candidates) for (const { kernel } of launches) written.set(kernel.id, kernel);
  }
  const kernels = [...written.values()];
  assert.equal(kernels.flatMap(excesses), []);
  const shared = kernels.filter(({ code }) => workgroupMemory(code) > 0).length;
  assert.ok(shared > 0 && shared < kernels.length, `${shared} of ${kernels.length} kernels have workgroup memory`);
});

test("a kernel beyond each limit is seen", () => {
  const [sound] = planOf(smallSpec()).kernels as readonly [WgslKernel, ...WgslKernel[]];
  assert.equal(excesses(sound), []);
  const faulty: readonly (readonly [Partial<WgslKernel>, RegExp])[] = [
    [{ code: `var<workgroup> a: array<vec4<f32>, 1025>;\n${sound.code}` }, /16400 bytes of workgroup memory/],
    [{ workgroupSize: [16, 17, 1] }, /workgroups of 16,17,1/],
    [{ workgroupSize: [1, 1, 65] }, /workgroups of 1,1,65/],
    [{ code: sound.code.replace("@workgroup_size(", "@workgroup_size(2") }, /says 2/],
    [{ bindings: Array.from({ length: 9 }, () => sound.bindings[0]!) }, /binds 9 buffers/],
    [{ bindings: sound.bindings.map((binding) => ({ ...binding, bytes: defaults.binding + 4 })) }, /touches 134217732 bytes/],
  ];
  for (const [changes, message] of faulty) assert.match(excesses({ ...sound, ...changes }).join("\n"), message);
});

// ------------------------------------------------------------------------------------------------------ plans

/** What a plan has beyond the defaults, for each of the limits that a device can be asked to raise. */
function needs({ programs, weightBuffers }: Plan): Record<string, number> {
  const largest = (values: readonly number[]): number => Math.max(...values);
  const binding = largest(programs.infer.flatMap(({ dispatches }) => dispatches.flatMap(({ views }) => views.map((view) => view[2]))));
  const buffer = largest([...weightBuffers, ...programs.infer.flatMap(({ arenas, input, readbackBytes }) => [...arenas.map(({ bytes }) => bytes), input[2], readbackBytes])]);
  return { ...(binding > defaults.binding && { maxStorageBufferBindingSize: binding }), ...(buffer > defaults.buffer && { maxBufferSize: buffer }) };
}

test("every example, in both dtypes and for one image and its own batches, needs no limit above the defaults", () => {
  for (const { title, batch, compiled: { plan, kernels } } of examples) {
    assert.equal(plan.programs.infer.map((profile) => profile.batch), batch, title);
    assert.equal(needs(plan), {}, title);
    assert.equal(plan.limits, {}, title);
    assert.equal(kernels.flatMap(excesses), [], title);
    for (const { choices } of plan.routines) for (const { launches } of choices) for (const { workgroups } of launches) assert.ok(workgroups.every((n) => n >= 1 && n <= defaults.workgroups), title);
  }
});

test("a limit is named where it is needed, with what is needed, and nowhere else", () => {
  const head = smallSpec({ dim: 4096, heads: 64, depth: 1, classes: 20_000 });
  assert.equal(planOf(head).plan.limits, {});
  const { plan: whole } = planOf(head, { bindingBytes: 2 ** 30 });
  assert.is(whole.limits["maxStorageBufferBindingSize"], 4096 * 20_000 * 4);
  assert.is(whole.limits["maxBufferSize"], Math.max(...whole.weightBuffers));
  assert.equal(whole.limits, needs(whole));
  // Every block of 32 images could not be read back at once, so fewer run together.
  const { plan: tapped } = planOf({ name: "l", image: 224, patch: 16, dim: 1024, depth: 24, heads: 16, batch: 32, outputs: ["blocks.*"] });
  const [profile] = tapped.programs.infer;
  assert.is(profile!.readbackBytes, profile!.outputs.reduce((sum, { view }) => sum + Math.ceil(view[2] / 8) * 8, 0));
  assert.equal(tapped.limits, {});
  assert.ok(profile!.batch < 32 && profile!.readbackBytes <= defaults.buffer, `${profile!.batch} images, ${profile!.readbackBytes} bytes`);
  assert.ok(profile!.arenas.every(({ bytes }) => bytes <= defaults.buffer));
});

test("weights of more than a binding's default size are spread over buffers that are bound whole", () => {
  const { plan, recipe } = planOf(exampleSpecs.get("vit-huge-patch14-224")!);
  assert.ok(plan.weightBuffers.length > 10);
  for (const bytes of plan.weightBuffers) assert.ok(bytes <= defaults.binding);
  const packed = recipe.tensors.reduce((sum, { shape, dtype }) => sum + (dtype === "f16" ? 2 : 4) * elements(shape), 0);
  const allocated = plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0);
  assert.ok(packed <= allocated && allocated < packed + 256 * recipe.tensors.length);
});

test("no launch has more workgroups than an axis takes, however large the batch or the head", () => {
  for (const changes of [
    { image: 4, patch: 1, channels: 1, dim: 4, heads: 1, mlp: { hidden: 4 }, depth: 1, batch: 65536 },
    { image: 4, patch: 2, depth: 1, mlp: { hidden: 8 }, pool: "avg", batch: 65536 },
    { classes: 4_000_000, batch: [1, 8] },
  ] satisfies Partial<ViTSpec>[])
    for (const dtype of dtypes) {
      const { plan } = planOf(smallSpec(changes), { dtype });
      assert.ok(plan.routines.every(({ choices }) => choices.length > 0 && choices.every(({ launches }) => launches.every(({ workgroups }) => workgroups.every((n) => n <= defaults.workgroups)))), JSON.stringify(changes));
    }
});

// ------------------------------------------------------------------------------------------------------ columns

/** The pieces of each product that is split, by its label: columns from, to (exclusive), and the kernels' word for them. */
function pieces({ steps }: CompiledPlan): ReadonlyMap<string, readonly (readonly [from: number, to: number])[]> {
  const found = new Map<string, (readonly [number, number])[]>();
  for (const { label, routine } of steps[0]!) {
    const columns = /^(.*) columns (\d+) to (\d+)$/.exec(label);
    if (!columns) continue;
    const [name, from, to] = [columns[1]!, Number(columns[2]), Number(columns[3])];
    found.set(name, [...(found.get(name) ?? []), [from, to]]);
    assert.match(routine.id, new RegExp(`_n${to - from}_k\\d+_at${from}of\\d+`), label);
  }
  return found;
}

/** How pieces fail to cover `cols` columns, each once and in order. */
function gaps(cut: readonly (readonly [number, number])[], cols: number): string[] {
  const ends = [0, ...cut.map(([, to]) => to)];
  return [
    ...cut.flatMap(([from, to], i) => (from === ends[i] && from < to ? [] : [`piece ${from} to ${to} behind ${ends[i]}`])),
    ...(ends.at(-1) === cols ? [] : [`the last piece ends at ${ends.at(-1)} of ${cols}`]),
  ];
}

/** Dispatches that do not bind what their node reads, where it was written: what a product adds to among it, in each of its pieces. */
function unread({ steps, plan }: CompiledPlan): string[] {
  const written = new Map<Value, View>();
  return steps[0]!.flatMap(({ label, node, operands, output }, i) => {
    const { views } = plan.programs.infer[0]!.dispatches[i]!;
    const missing = node.inputs.flatMap((input) => {
      const place = written.get(input);
      return !place || views.some((view) => view.every((part, axis) => part === place[axis])) ? [] : [`${label} does not read ${place.join(" ")}`];
    });
    written.set(output, views[operands.findIndex((operand) => "value" in operand && operand.value === output)]!);
    return missing;
  });
}

/** Checks every split product of a plan against the same plan whole; how many there are. */
function checkSplit(whole: CompiledPlan, split: CompiledPlan, bindingBytes: number): number {
  const { plan, recipe } = split;
  for (const { dispatches } of plan.programs.infer) for (const { label, views } of dispatches) for (const [buffer, , bytes] of views) assert.ok(bytes <= bindingBytes, `${label} binds ${bytes} bytes of ${buffer}`);
  for (const bytes of plan.weightBuffers) assert.ok(bytes <= bindingBytes);
  assert.equal(unread(split), []);
  const cut = pieces(split);
  for (const { label, output, node } of whole.steps[0]!) {
    const [cols, weight] = [last(output.shape), node.op === "gemm" ? node.inputs[1]! : undefined];
    const parts = cut.get(label);
    if (!parts || !weight) continue;
    assert.ok(parts.length > 1, label);
    assert.equal(gaps(parts, cols), [], label);
    // The weight is sliced as the columns are, wherever its rows come from.
    const inner = elements(weight.shape) / cols;
    const [own, all] = [recipe.tensors, whole.recipe.tensors].map((tensors) => tensors.filter(({ shape }) => shape.length === 2 && shape[0] === inner)) as [PackedTensor[], PackedTensor[]];
    for (const [from, to] of parts) assert.ok(own.some((part) => all.some((tensor) => part.name === tensor.name && isColumns(part, tensor, from, to))), `${label}: ${from} to ${to}`);
  }
  // The same work, told piece by piece, and not a step more or less.
  const labels = ({ steps }: CompiledPlan): string[] => [...new Set(steps[0]!.map(({ label }) => label.replace(/ columns .*/, "")))];
  assert.equal(labels(split), labels(whole));
  const flops = ({ steps }: CompiledPlan): number => steps[0]!.reduce((sum, step) => sum + step.flops, 0);
  assert.ok(Math.abs(flops(split) / flops(whole) - 1) < 1e-9);
  return cut.size;
}

/** Whether a tensor is made of the rows of sources that make some columns of another: row by row the same recipe. */
function isColumns(part: PackedTensor, whole: PackedTensor, from: number, to: number): boolean {
  const unturned = ({ sources, steps }: PackedTensor): RecipeNode => treeOf({ sources, steps: steps.slice(0, steps.findIndex(({ op }) => op === "transpose")) });
  const [wanted, made] = [rowsOf(unturned(whole), from, to), unturned(part)];
  return JSON.stringify(recipeOfTree(wanted, whole.sources)) === JSON.stringify(recipeOfTree(made, part.sources));
}

test("a weight above a binding is split by columns, and each column computed once", () => {
  const spec = smallSpec({ dim: 4096, heads: 64, depth: 1, classes: 20_000 });
  const [whole, split] = [planOf(spec, { bindingBytes: 2 ** 30 }), planOf(spec)];
  assert.equal(pieces(whole).size, 0);
  // 4096 x 20000 numbers of f32 are 312.5 MiB, and 4096 x 16384 of the MLP are 256.
  assert.equal([...pieces(split)], [["blocks.0.mlp.fc1", [[0, 8192], [8192, 16384]]], ["blocks.0.mlp.fc2", [[0, 2048], [2048, 4096]]], ["head", [[0, 6672], [6672, 13344], [13344, 20_000]]]]);
  checkSplit(whole, split, defaults.binding);
  // In f16 they are half as large.
  assert.equal([...pieces(planOf(spec, { dtype: "f16" }))], [["head", [[0, 10_000], [10_000, 20_000]]]]);
});

test("pieces that overlap, leave a gap or end early are seen", () => {
  assert.equal(gaps([[0, 8], [8, 12]], 12), []);
  for (const cut of [[[0, 8], [7, 12]], [[0, 8], [9, 12]], [[0, 8], [8, 11]], [[8, 12], [0, 8]], [[0, 8], [8, 8], [8, 12]]] as const) assert.ok(gaps(cut, 12).length > 0, String(cut));
});

/** The least that a binding may hold for a plan: one image of every value, tables, and eight columns of every matrix. */
function leastBinding({ plan, recipe, lowered }: CompiledPlan): number {
  const values = plan.programs.infer[0]!.dispatches.flatMap(({ views }) => views.filter(([buffer]) => !buffer.startsWith("weights.")).map((view) => view[2]));
  const tensors = recipe.tensors.map(({ shape, dtype }) => (shape.length === 2 ? shape[0]! * 8 : elements(shape)) * (dtype === "f16" ? 2 : 4));
  return Math.max(...values, ...tensors, ...lowered.nodes.filter((node) => !isWeightOp(node)).map(({ output }) => 4 * elements(output.shape)));
}

test("60 random models are planned for the smallest binding that can hold them", () => {
  let split = 0;
  fc.assert(
    fc.property(randomSpec, fc.constantFrom(...dtypes), (spec, dtype) => {
      const whole = planOf({ ...spec, batch: 1 }, { dtype });
      const bindingBytes = leastBinding(whole);
      split += checkSplit(whole, planOf({ ...spec, batch: 1 }, { dtype, bindingBytes }), bindingBytes);
      // And so are batches of it, in chunks.
      const batched = planOf({ ...spec, batch: [1, 3] }, { dtype, bindingBytes });
      for (const { dispatches } of batched.plan.programs.infer) for (const { views } of dispatches) assert.ok(views.every((view) => view[2] <= bindingBytes));
    }),
    { numRuns: 60, seed: Number(process.env["SEED"] ?? 1) },
  );
  assert.ok(split > 20, `${split} products were split`);
});

// ------------------------------------------------------------------------------------------------------ chunks

const batches = (spec: ViTSpec, options?: PlanOptions): number[] => planOf(spec, options).plan.programs.infer.map(({ batch }) => batch);

test("a batch that no binding holds is compiled as the fewest equal chunks, and run as them", () => {
  const base = exampleSpecs.get("vit-base-patch16-224")!;
  // The hidden layer is the largest value: 197 x 3072 numbers an image, of which a binding holds 55 in f32. In f16 it is half as large.
  assert.equal(batches({ ...base, batch: 55 }), [55]);
  assert.equal(batches({ ...base, batch: 56 }), [28]);
  assert.equal(batches({ ...base, batch: 64 }), [32]);
  assert.equal(batches({ ...base, batch: 111 }), [37]);
  assert.equal(batches({ ...base, batch: 64 }, { dtype: "f16" }), [64]);
  // Batches that come to the same chunks are one profile.
  assert.equal(batches({ ...base, batch: [1, 32, 64] }), [1, 32]);
  const { plan } = planOf({ ...base, batch: [1, 100] });
  assert.equal(plan.limits, {});
  assert.equal(chooseProfiles(plan.programs.infer, 100).map(({ batch }) => batch), [50, 50]);
});

test("chunks are as few as can be, equal but for one image, and never too large", () => {
  const { lowered } = planOf(smallSpec({ batch: 1 }));
  const storage = assignStorage(lowered, "f32");
  const image = 3 * 8 * 8 * 4;
  const graphs = new Map([1, 2, 3, 7, 12, 60].map((batch) => [batch, planOf(smallSpec({ batch })).lowered]));
  for (const [batch, graph] of graphs)
    for (const most of [1, 2, 3, 5, 59, 60]) {
      const chunk = largestBatch(batch, graph, assignStorage(graph, "f32"), most * image + 3);
      assert.ok(chunk <= most, `${batch} by ${most}`);
      assert.is(Math.ceil(batch / chunk), Math.ceil(batch / most), `${batch} by ${most}`);
      // The last chunk lacks less than one image a chunk.
      assert.ok(Math.ceil(batch / chunk) * chunk - batch < Math.ceil(batch / chunk), `${batch} by ${most}`);
    }
  assert.throws(() => largestBatch(1, lowered, storage, image - 1), (error: unknown) => error instanceof SpecError);
});

const refusal = (act: () => unknown): SpecError => {
  try {
    act();
  } catch (error) {
    if (error instanceof SpecError) return error;
    throw error;
  }
  throw new Error("expected a SpecError");
};

test("an image that no binding holds is refused with the numbers", () => {
  const { issues } = refusal(() => planOf(smallSpec({ mlp: { hidden: 40 } }), { bindingBytes: 799 }));
  assert.equal(issues, [{ field: "image", message: "one image takes 800 bytes in blocks.0.mlp.fc1, and a WebGPU binding holds at most 799; make the image smaller or the patch larger" }]);
  assert.match(refusal(() => planOf(smallSpec({ image: 256, batch: 4 }), { bindingBytes: 1000 })).message, /^image: one image takes [\d,]+ bytes in \S+, and a WebGPU binding holds at most 1,000;/);
});

test("a spec of an image that no binding holds is refused before it is planned, in MiB or GiB", () => {
  const messages = [
    [{ image: 4096, patch: 64 }, "one image of 3 x 4096 x 4096 needs 192 MiB; WebGPU bindings hold 128 MiB"],
    [{ image: 4096, patch: 64, channels: 15 }, "one image of 15 x 4096 x 4096 needs 960 MiB; WebGPU bindings hold 128 MiB"],
    [{ image: [4095, 4096], patch: [1, 64], patchRemainder: "crop", channels: 16, dim: 2, heads: 1 }, "one image of 16 x 4095 x 4096 needs 1024 MiB; WebGPU bindings hold 128 MiB"],
    [{ image: 4096, patch: 64, channels: 64 }, "one image of 64 x 4096 x 4096 needs 4.00 GiB; WebGPU bindings hold 128 MiB"],
    [{ image: 16384, patch: 256, channels: 4096, dim: 1, heads: 1 }, "one image of 4096 x 16384 x 16384 needs 4096 GiB; WebGPU bindings hold 128 MiB"],
  ] satisfies readonly (readonly [Partial<ViTSpec>, string])[];
  for (const [changes, message] of messages) {
    const found = refusal(() => resolve(smallSpec(changes))).issues.filter(({ field }) => field === "image").map((issue) => issue.message);
    assert.equal(found, [`${message}, use a smaller image or width, or a larger patch`], JSON.stringify(changes));
  }
  // An image of exactly so much is taken, and planned.
  const { plan } = planOf(smallSpec({ image: 4096, patch: 64, channels: 2 }));
  assert.is(plan.programs.infer[0]!.input[2], defaults.binding);
  assert.equal(plan.limits, {});
});

test.run();
