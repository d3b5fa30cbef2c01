/** Plans for bindings so small that weights are split by columns and batches cut into chunks compute what the whole plan computes. */
import * as assert from "uvu/assert";
import { randomWeights } from "../../compiler/measure/random-weights.js";
import { makePlan, type CompiledPlan, type PlanOptions } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { abi, Model, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import type { DType, WeightRecipe } from "../../runtime/plan.js";
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf, openKernelDevice } from "../tools/compare-kernels.js";
import { relativeL2, worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";

/** Sums of f32 in another order; f16 may also be rounded to its other neighbour. */
const tolerance: Readonly<Record<DType, number>> = { f32: 1e-6, f16: 1e-3 };

// Two images of the hidden layer fit, and a third of the largest weights.
const bindingBytes = 24576;
const spec: ViTSpec = { name: "limits", image: 24, patch: 8, dim: 64, depth: 2, heads: 4, classes: 200, batch: [1, 6], outputs: ["blocks.*"] };
const count = 7;
const images = f32(Array.from({ length: count * 3 * 24 * 24 }, (_, i) => Math.sin(i * i)));

/** The columns that the steps of the first profile compute apart, by the product's label. */
function splits({ steps }: CompiledPlan): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { label } of steps[0]!) {
    const name = /^(.*) columns \d+ to \d+$/.exec(label)?.[1];
    if (name !== undefined) found.set(name, (found.get(name) ?? 0) + 1);
  }
  return found;
}

/** The largest buffer and binding that were asked of a device. */
interface Largest {
  buffer: number;
  binding: number;
}

/** A device that notes them. */
function measuring(device: GPUDevice, largest: Largest): GPUDevice {
  return new Proxy(device, {
    get(target, key) {
      if (key === "createBuffer") {
        return (descriptor: GPUBufferDescriptor): GPUBuffer => {
          // Results are copied to where they are read, which no binding is of.
          if ((descriptor.usage & 0x80) !== 0) largest.buffer = Math.max(largest.buffer, descriptor.size);
          return target.createBuffer(descriptor);
        };
      }
      if (key === "createBindGroup") {
        return (descriptor: GPUBindGroupDescriptor): GPUBindGroup => {
          for (const { resource } of descriptor.entries) if ("buffer" in resource) largest.binding = Math.max(largest.binding, resource.size ?? Infinity);
          return target.createBindGroup(descriptor);
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (...args: unknown[]): unknown => Reflect.apply(value, target, args) : value;
    },
  });
}

const reason = await softwareReason();
if (reason) skipAll("plans for small bindings", reason);
else {
  const test = suite("plans for small bindings");
  const { device } = await openKernelDevice();
  // One weight file for all plans.
  const { recipe: file } = makePlan(resolve(spec));

  const run = async (dtype: DType, options: PlanOptions = {}, change: (recipe: WeightRecipe) => WeightRecipe = (recipe) => recipe) => {
    const compiled = makePlan(resolve(spec), { dtype, ...options });
    const { plan, kernels, recipe } = compiled;
    const variant = { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe: change(recipe) };
    const definition: ModelDefinition = { abi, variants: [variant], command: "", platform: () => Promise.resolve({ ...platform, tuned: () => Promise.resolve([]) }) };
    const largest: Largest = { buffer: 0, binding: 0 };
    using model = await Model.load<AnyOutputs>(definition, { weights: randomWeights(file, 1).source, device: measuring(device, largest), onNotice: () => {} });
    return { compiled, largest, outputs: await model.run(images) };
  };

  const distance = (dtype: DType, actual: AnyOutputs, expected: AnyOutputs): number => {
    assert.equal(Object.keys(actual), Object.keys(expected));
    const measures = dtype === "f32" ? [relativeL2, worstError] : [relativeL2];
    return Math.max(...Object.entries(expected).flatMap(([name, values]) => measures.map((measure) => measure(actual[name]!, values))));
  };

  for (const dtype of dtypesOf(device)) {
    test(`weights in columns and batches in chunks give what the whole plan gives, in ${dtype}`, async () => {
      const whole = await run(dtype);
      const split = await run(dtype, { bindingBytes });
      assert.is(splits(whole.compiled).size, 0);
      assert.equal(whole.compiled.plan.programs.infer.map(({ batch }) => batch), [1, 6]);
      const pieces = [...splits(split.compiled).values()];
      assert.ok(pieces.length >= (dtype === "f32" ? 5 : 3) && Math.max(...pieces) >= 2, `${pieces}`);
      const batches = split.compiled.plan.programs.infer.map(({ batch }) => batch);
      assert.equal(batches, dtype === "f32" ? [1, 2] : [1, 3]);
      // What the session asks for is what the plan promises.
      assert.ok(whole.largest.binding > bindingBytes, `${whole.largest.binding}`);
      assert.ok(split.largest.binding <= bindingBytes, `a binding of ${split.largest.binding} bytes`);
      assert.ok(split.compiled.plan.weightBuffers.every((bytes) => bytes <= bindingBytes));

      const error = distance(dtype, split.outputs, whole.outputs);
      console.log(`split against whole in ${dtype}: ${error.toExponential(2)}`);
      assert.ok(error <= tolerance[dtype], String(error));
      // Each image has numbers of its own, so a chunk in another's place would show.
      const { logits } = whole.outputs;
      for (let i = 1; i < count; i++) assert.ok(relativeL2(logits!.subarray(i * 200, (i + 1) * 200), logits!.subarray(0, 200)) > 100 * tolerance[dtype], `image ${i}`);
    });

    test(`columns of a weight that are taken from its first piece are seen, in ${dtype}`, async () => {
      const whole = await run(dtype);
      let changed = 0;
      const shifted = (recipe: WeightRecipe): WeightRecipe => ({
        ...recipe,
        tensors: recipe.tensors.map((tensor) => ({
          ...tensor,
          steps: tensor.steps.map((step) => (step.op === "slice" && step.start > 0 && changed++ === 0 ? { ...step, start: 0, end: step.end - step.start } : step)),
        })),
      });
      const { outputs } = await run(dtype, { bindingBytes }, shifted);
      assert.ok(changed > 0);
      assert.ok(distance(dtype, outputs, whole.outputs) > 10 * tolerance[dtype]);
    });
  }

  test.run();
}
