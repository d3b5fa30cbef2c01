import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { writeSafetensors } from "../../compiler/checkpoint/safetensors.js";
import { buildGraph } from "../../compiler/ir/build.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import type { ViTSpec } from "../../compiler/spec/types.js";
import { Model } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { randomSpec } from "../tools/random-spec.js";
import { exampleSpecs, shrink } from "../tools/specs.js";
import { skipAll, suite } from "../tools/suite.js";
import { randomValues } from "../tools/tensors.js";

const reason = await softwareReason();
if (reason) skipAll("random specs on a device", reason);
else {
  const test = suite("random specs on a device");
  const { device } = await platform.requestDevice({ adapter: "software" });

  /** The largest error of all outputs of a spec, run whole (recipe, kernels, batches) against the interpreter in f64. */
  const error = async (spec: ViTSpec, change: (code: string, id: string) => string = (code) => code): Promise<number> => {
    const resolved = resolve(spec);
    // More images than the largest profile, so that profiles are mixed and padded.
    const graph = buildGraph(resolved, { batch: Math.max(...resolved.batch) + 1 });
    const values = randomValues(graph, 7);
    const exact = interpret(graph, values);
    const weights = writeSafetensors(graph.parameters.map(({ name, value }) => ({ name, shape: value.shape, data: f32(values.parameters(name).data) })));
    const { plan, kernels, recipe } = makePlan(resolved);
    const definition = { abi: 1, plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, change(code, id)])), recipe, command: "", platform: () => Promise.resolve(platform) };
    using model = await Model.load<AnyOutputs>(definition, { weights, device, onNotice: () => {} });
    const outputs = await model.run(f32(values.inputs["input"]!.data));
    assert.equal(Object.keys(outputs).toSorted(), [...exact.keys()].toSorted());
    return Math.max(...[...exact].map(([name, { data }]) => worstError(outputs[name]!, data)));
  };

  for (const [name, spec] of exampleSpecs) {
    test(`${name}, shrunk, equals the interpreter`, async () => {
      const worst = await error(shrink(spec));
      assert.ok(worst <= 1e-4, `${worst}`);
    });
  }

  test("16 random specs equal the interpreter, every part alone and combined", async () => {
    const specs = fc.sample(randomSpec, { numRuns: 16, seed: Number(process.env["SEED"] ?? 1) });
    for (const spec of specs) {
      const worst = await error(spec);
      assert.ok(worst <= 1e-4, `${worst} for ${JSON.stringify(spec)}`);
    }
  });

  test("a changed kernel is seen", async () => {
    const spec = shrink(exampleSpecs.get("vit-tiny-patch16-224")!);
    const withoutBias = (code: string, id: string): string => (id.startsWith("gemm") ? code.replaceAll(/let bias(\d) = .*;/g, "let bias$1 = vec4<f32>(0.0) * bias[0];") : code);
    assert.ok((await error(spec, withoutBias)) > 1e-2);
    const lastKey = (code: string, id: string): string => (id.startsWith("attention") ? code.replace("key < tokens;", "key < tokens - 1u;").replace(/\n.*>= tokens\).*lowest; }/g, "") : code);
    assert.ok((await error(spec, lastKey)) > 1e-3);
  });

  test.run();
}
