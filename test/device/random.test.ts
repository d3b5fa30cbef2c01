import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { writeSafetensors } from "../../compiler/checkpoint/safetensors.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { abi, Model, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { usableChoices } from "../../runtime/choose.js";
import type { DType } from "../../runtime/plan.js";
import { softwareReason } from "../tools/adapter.js";
import { dtypesOf, openKernelDevice } from "../tools/compare-kernels.js";
import { relativeL2, worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, shrink } from "../tools/specs.js";
import { skipAll, suite } from "../tools/suite.js";
import { randomValues } from "../tools/tensors.js";

/** f32 is held to 1e-4 (1 + |reference|), f16 to a relative L2 error. */
const tolerance: Readonly<Record<DType, number>> = { f32: 1e-4, f16: 5e-3 };

const reason = await softwareReason();
if (reason) skipAll("random specs on a device", reason);
else {
  const test = suite("random specs on a device");
  const { device } = await openKernelDevice();

  interface Run {
    readonly dtype?: DType;
    readonly change?: (code: string, id: string) => string;
    /** Every routine is done in another way than load chose: its usable choice of this number, counted round. */
    readonly turn?: number;
  }

  /** The largest error of all outputs of a spec, run whole (recipe, kernels, batches) against the interpreter in f64, over its tolerance. */
  const share = async (spec: ViTSpec, { dtype = "f32", change = (code) => code, turn }: Run = {}): Promise<number> => {
    const resolved = resolve(spec);
    // More images than the largest profile, so that profiles are mixed and padded.
    const graph = buildGraph(resolved, { batch: Math.max(...resolved.batch) + 1 });
    const values = randomValues(graph, 7);
    const exact = interpret(graph, values);
    const weights = writeSafetensors(graph.parameters.map(({ name, value }) => ({ name, shape: value.shape, data: f32(values.parameters(name).data) })));
    const { plan, kernels, recipe } = makePlan(resolved, { dtype });
    const variant = { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, change(code, id)])), recipe };
    const definition: ModelDefinition = { abi, variants: [variant], command: "", platform: () => Promise.resolve(platform) };
    using model = await Model.load<AnyOutputs>(definition, { weights, device, onNotice: () => {} });
    if (turn !== undefined) {
      const known = new Map(plan.kernels.map((kernel) => [kernel.id, kernel]));
      await model.choose(
        Object.fromEntries(
          plan.routines.map((routine, i) => {
            const usable = usableChoices(routine, known, { adapter: model.adapter, features: device.features });
            return [routine.id, usable[(turn + i) % usable.length]!.name];
          }),
        ),
      );
    }
    const outputs = await model.run(f32(values.inputs["input"]!.data));
    assert.equal(Object.keys(outputs).toSorted(), [...exact.keys()].toSorted());
    const distance = dtype === "f32" ? worstError : relativeL2;
    return Math.max(...[...exact].map(([name, { data }]) => distance(outputs[name]!, data))) / tolerance[dtype];
  };

  for (const [name, spec] of exampleSpecs) {
    for (const dtype of dtypesOf(device)) {
      test(`${name}, shrunk, in ${dtype} equals the interpreter`, async () => {
        const worst = await share(shrink(spec), { dtype });
        assert.ok(worst <= 1, `${worst} times the tolerance`);
      });
    }
  }

  test("16 random specs equal the interpreter, every part alone and combined, each in its own mixture of kernels", async () => {
    const specs = fc.sample(randomSpec, { numRuns: 16, seed: Number(process.env["SEED"] ?? 1) });
    for (const [turn, spec] of specs.entries()) {
      for (const dtype of dtypesOf(device)) {
        const worst = await share(spec, { dtype, turn });
        assert.ok(worst <= 1, `${worst} times the tolerance in ${dtype}, turn ${turn}, for ${JSON.stringify(spec)}`);
      }
    }
  });

  test("a changed kernel is seen", async () => {
    const spec = shrink(exampleSpecs.get("vit-tiny-patch16-224")!);
    const withoutBias = (code: string, id: string): string => (id.startsWith("gemm") ? code.replaceAll("value += bias[group];", "") : code);
    assert.ok((await share(spec, { change: withoutBias })) > 100);
    const otherKey = (code: string, id: string): string => (id.startsWith("attention") ? code.replace(/(\w+) >= tokens/g, "$1 >= tokens - 1u") : code);
    assert.ok((await share(spec, { change: otherKey })) > 10);
  });

  test.run();
}
