import * as assert from "uvu/assert";
import { planVariants } from "../../compiler/compile.js";
import { needsOf } from "../../compiler/plan/needs.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { canRunModel } from "../../runtime/can-run.js";
import { needsOf as pageNeedsOf } from "../../examples/browser/worker/needs.js";
import { abi, type ModelDefinition, type Platform } from "../../runtime/definition.js";
import { openDevice } from "../../runtime/device.js";
import { AdapterError } from "../../runtime/errors.js";
import { exampleSpecs, smallSpec } from "../tools/specs.js";
import { suite } from "../tools/suite.js";

const test = suite("what a model needs, and whether it can run");

const unavailable = (): Promise<Platform> => Promise.resolve({ requestDevice: () => Promise.reject(new AdapterError("No adapter was found")), fromPath: () => Promise.reject(new Error("nothing is read")) });
const compiled = planVariants(resolve({ ...smallSpec(), dtype: ["f16", "f32"] }));
function definitionOf(limits: Readonly<Record<string, number>> = {}): ModelDefinition {
  const [first, ...rest] = compiled.map(({ plan, recipe }) => ({ plan: { ...plan, limits }, kernels: {}, recipe }));
  return { abi, variants: [first!, ...rest], command: "npx vitc compile small.json", platform: unavailable };
}
/** An adapter or device as far as it is asked. */
const having = (features: readonly string[], limits: Readonly<Record<string, number>> = {}, info: object = { description: "Test GPU" }) => ({ features: new Set(features), limits, info }) as unknown as GPUAdapter;

test("the first dtype whose features are there", async () => {
  assert.equal(await canRunModel(definitionOf(), having(["shader-f16"])), { ok: true, dtype: "f16" });
  assert.equal(await canRunModel(definitionOf(), having([])), { ok: true, dtype: "f32" });
});

test("the page asks for the limits of a dtype that the adapter has, not of all at once", async () => {
  const needs = { f16: { features: [], limits: { maxBufferSize: 100 } }, f32: { features: [], limits: { maxBufferSize: 200, maxStorageBufferBindingSize: 50 } } };
  const asked = async (maxBufferSize: number): Promise<unknown> => {
    let limits: unknown;
    const adapter = { ...having([], { maxBufferSize, maxStorageBufferBindingSize: 1000 }), requestDevice: async ({ requiredLimits }: GPUDeviceDescriptor) => (limits = requiredLimits) } as unknown as GPUAdapter;
    await openDevice(adapter, pageNeedsOf({ needs }));
    return limits;
  };
  assert.equal(await asked(150), { maxBufferSize: 100 });
  assert.equal(await asked(200), { maxBufferSize: 200, maxStorageBufferBindingSize: 50 });
});

test("everything that is in the way is named", async () => {
  const definition = definitionOf({ maxBufferSize: 2 ** 30 });
  assert.equal(await canRunModel(definition, having([], { maxBufferSize: 2 ** 28 })), {
    ok: false,
    reasons: ["f16 needs shader-f16, which Test GPU lacks", "f16 needs maxBufferSize of 1073741824, and Test GPU has 268435456", "f32 needs maxBufferSize of 1073741824, and Test GPU has 268435456"],
  });
  assert.equal(await canRunModel(definition, having([], { maxBufferSize: 2 ** 30 })), { ok: true, dtype: "f32" });
});

test("a software adapter is said, the null backend is refused", async () => {
  const software = await canRunModel(definitionOf(), having([], {}, { description: "SwiftShader" }));
  assert.ok(software.ok && software.notice?.includes("software adapter"));
  assert.is((await canRunModel(definitionOf(), having([], {}, { device: "null-backend" }))).ok, false);
});

test("without an adapter the reason is what load would say", async () => {
  assert.equal(await canRunModel(definitionOf()), { ok: false, reasons: ["No adapter was found"] });
});

test("what is neither adapter nor device is a mistake", async () => {
  for (const wrong of [null, 3, {}, "gpu"]) {
    try {
      await canRunModel(definitionOf(), wrong as unknown as GPUAdapter);
    } catch (error) {
      assert.match(String(error), "canRun takes a GPUAdapter or a GPUDevice");
      continue;
    }
    assert.unreachable(`a ${typeof wrong} is taken`);
  }
});

test("needs state features, GPU memory and downloads by dtype", () => {
  const [half, full] = compiled.map(({ plan, recipe }) => needsOf(plan, recipe));
  assert.equal([half!.features, full!.features], [["shader-f16"], []]);
  assert.ok(half!.downloadBytes.packed < full!.downloadBytes.packed);
  assert.is(full!.downloadBytes.safetensors, 2 * half!.downloadBytes.safetensors);
  const [{ plan, recipe }] = planVariants(resolve(exampleSpecs.get("vit-base-patch16-224")!));
  // timm: 86.57 million parameters.
  assert.is(needsOf(plan, recipe).downloadBytes.safetensors, 4 * 86_567_656);
  assert.is(needsOf(plan, recipe).downloadBytes.packed, plan.weightBuffers.reduce((sum, bytes) => sum + bytes, 0));
});

test.run();
