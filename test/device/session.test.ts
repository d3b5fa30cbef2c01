import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { AbiError, AdapterError, DeviceLostError, InputError, VitcError } from "../../runtime/errors.js";
import { Model, type LoadOptions, type ModelDefinition } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { noteFixture, reference, worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { recording } from "../tools/recording-device.js";
import { skipAll, suite } from "../tools/suite.js";

const fixture = noteFixture("base");
const images = fixture.io.get("input")!.data;
const size = 3 * 32 * 32;

function definition(batch: readonly number[] = [1], change: object = {}): ModelDefinition {
  const { plan, kernels, recipe } = makePlan(resolve({ ...fixture.spec, ...change, batch }));
  return { abi: 1, plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe, command: "npx vitc compile spec.json", platform: () => Promise.resolve(platform) };
}

const options = (device?: GPUDevice): LoadOptions => ({ weights: fixture.weightsPath, adapter: "software", onNotice: () => {}, ...(device && { device }) });

const load = (made: ModelDefinition, device?: GPUDevice) => Model.load<AnyOutputs>(made, options(device));

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}

const reason = await softwareReason();
if (reason) skipAll("session", reason);
else {
  const test = suite("session");
  const { device } = await platform.requestDevice({ adapter: "software" });

  test("a run creates no GPU object: buffers, pipelines and bind groups are all made at load", async () => {
    const calls: string[] = [];
    using model = await load(definition([1, 2]), recording(device, calls));
    assert.ok(calls.filter((name) => name === "createBindGroup").length > 10, "the recording device records");
    await model.run(f32(images));
    calls.length = 0;
    await model.run(f32(images));
    assert.equal([...new Set(calls)].toSorted(), ["createCommandEncoder"], "a steady run makes command encoders only");
    assert.is(calls.length, 1, "one encoder for one profile");
  });

  test("any number of images, whatever the batch profiles: each image's numbers are its own", async () => {
    for (const batch of [[1], [2], [1, 3], [5]]) {
      using model = await load(definition(batch), device);
      for (const count of [1, 2, 3, 5, 7]) {
        // Images 0 and 1 of the fixture in turn, so that a mix-up of rows shows.
        const input = new Float32Array(count * size);
        for (let i = 0; i < count; i++) input.set(images.subarray((i % 2) * size, ((i % 2) + 1) * size), i * size);
        const { logits } = await model.run(input);
        assert.equal(logits!.shape, [count, 10]);
        const expected = reference(fixture, "logits").data;
        for (let i = 0; i < count; i++) {
          assert.ok(worstError(logits!.subarray(i * 10, (i + 1) * 10), expected.subarray((i % 2) * 10, ((i % 2) + 1) * 10)) < 1e-4, `batch ${batch.join()}, image ${i} of ${count}`);
        }
      }
    }
  });

  test("overlapping runs come back in order, each with its own result", async () => {
    using model = await load(definition(), device);
    const [a, b] = [f32(images.subarray(0, size)), f32(images.subarray(size, 2 * size))];
    const results = await Promise.all([model.run(a), model.run(b), model.run(a)]);
    assert.equal([...results[0]!.logits!], [...results[2]!.logits!]);
    assert.not.equal([...results[0]!.logits!], [...results[1]!.logits!]);
  });

  test("a hundred runs are bit-identical", async () => {
    using model = await load(definition(), device);
    const first = [...(await model.run(f32(images.subarray(0, size)))).logits!];
    for (let i = 0; i < 100; i++) assert.equal([...(await model.run(f32(images.subarray(0, size)))).logits!], first);
  });

  test("wrong inputs are refused with both sizes, and the model goes on working", async () => {
    using model = await load(definition(), device);
    const wrong = await rejection(model.run({ data: new Float32Array(3 * 48 * 40), shape: [1, 3, 48, 40] }));
    assert.instance(wrong, InputError);
    assert.match(wrong.message, "1 x 3 x 48 x 40");
    assert.match(wrong.message, "3 x 32 x 32");
    for (const input of [new Float32Array(0), new Float32Array(7), [], null, 3, "photo.png", { data: [1], width: 1, height: 1 }, f32([NaN, ...images.subarray(1, size)])]) {
      assert.instance(await rejection(model.run(input as never)), InputError);
    }
    assert.ok((await model.run(f32(images))).logits!.length === 20);
  });

  test("an aborted signal stops a run with its reason", async () => {
    using model = await load(definition(), device);
    const error = await rejection(model.run(f32(images), { signal: AbortSignal.abort(new Error("enough")) }));
    assert.is(error.message, "enough");
  });

  test("generated code for another ABI is refused with the command that regenerates", async () => {
    const error = await rejection(Model.load({ ...definition(), abi: 999 }, options(device)));
    assert.instance(error, AbiError);
    assert.match(error.message, "npx vitc compile spec.json");
  });

  test("the null backend is refused: nothing plausible comes from a device that executes nothing", async () => {
    const { device: nothing } = await platform.requestDevice({ adapter: "null" });
    assert.instance(await rejection(load(definition(), nothing)), AdapterError);
  });

  test("a user's device is not destroyed; a model's own device is", async () => {
    const model = await load(definition(), device);
    model.dispose();
    model.dispose();
    const error = await rejection(model.run(f32(images)));
    assert.instance(error, VitcError);
    assert.match(error.message, "disposed");
    device.pushErrorScope("validation");
    device.createBuffer({ size: 16, usage: 0x80 }).destroy();
    assert.is(await device.popErrorScope(), null, "the user's device still works");
  });

  test("a lost device is a typed error, now and later", async () => {
    const { device: mortal } = await platform.requestDevice({ adapter: "software" });
    const model = await load(definition(), mortal);
    const pending = model.run(f32(images));
    mortal.destroy();
    await pending.catch((error: unknown) => assert.instance(error, DeviceLostError));
    assert.instance(await rejection(model.run(f32(images))), DeviceLostError);
  });

  test("a software adapter is said out loud, once", async () => {
    const notices: string[] = [];
    using model = await Model.load<AnyOutputs>(definition(), { weights: fixture.weightsPath, adapter: "software", onNotice: (notice) => notices.push(notice) });
    assert.is(notices.length, 1);
    assert.match(notices[0]!, "CPU runtime");
    assert.ok(model.adapter.software);
  });

  test("outputs at several batch sizes share weights: the second profile adds no weight memory", async () => {
    using one = await load(definition([1]), device);
    using both = await load(definition([1, 8]), device);
    const { plan } = definition([8]);
    const activations = plan.programs.infer[0]!.arenas.reduce((sum, arena) => sum + arena.bytes, 0) + plan.programs.infer[0]!.input[2];
    assert.ok(both.gpuBytes - one.gpuBytes < activations + 1e6);
  });

  test.run();
}
