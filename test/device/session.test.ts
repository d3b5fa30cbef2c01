import * as assert from "uvu/assert";
import { makePlan } from "../../compiler/plan/plan.js";
import { resolve } from "../../compiler/spec/resolve.js";
import { AbiError, AdapterError, DeviceLostError, InputError, VitcError, WeightsError } from "../../runtime/errors.js";
import { abi, Model, type LoadOptions, type ModelDefinition, type Variant } from "../../runtime/model.js";
import { adapterKey } from "../../runtime/choose.js";
import * as platform from "../../runtime/node.js";
import type { DType, Plan } from "../../runtime/plan.js";
import { softwareReason } from "../tools/adapter.js";
import { noteFixture, reference, worstError } from "../tools/fixtures.js";
import { f32, type AnyOutputs } from "../tools/packages.js";
import { recording } from "../tools/recording-device.js";
import { skipAll, suite } from "../tools/suite.js";

const fixture = noteFixture("base");
const images = fixture.io.get("input")!.data;
const size = 3 * 32 * 32;

function definition(batch: readonly number[] = [1], change: object = {}): ModelDefinition {
  return { abi, variants: [variant({ ...fixture.spec, ...change, batch })], command: "npx vitc compile spec.json", platform: () => Promise.resolve(platform) };
}

function variant(spec: object, dtype: DType = "f32"): Variant {
  const { plan, kernels, recipe } = makePlan(resolve(spec), { dtype });
  return { plan, kernels: Object.fromEntries(kernels.map(({ id, code }) => [id, code])), recipe };
}

/** A definition whose plan says something else. */
function replan(made: ModelDefinition, change: Partial<Plan>): ModelDefinition {
  const [first] = made.variants;
  return { ...made, variants: [{ ...first, plan: { ...first.plan, ...change } }] };
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

  test("null is as good as no options of a run", async () => {
    using model = await load(definition(), device);
    assert.equal((await model.run(f32(images), null))["logits"], (await model.run(f32(images)))["logits"]);
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

  test("values that say their shape are held to it, and holes in a list of images are seen", async () => {
    using model = await load(definition(), device);
    const { logits } = await model.run(f32(images));
    const wrong = await rejection(model.run(logits!));
    assert.instance(wrong, InputError);
    assert.match(wrong.message, "2 x 10");
    for (const input of [new Array(2), { data: f32(images), shape: "2,3,32,32" }, { data: f32(images), shape: undefined }]) assert.instance(await rejection(model.run(input as never)), InputError);
  });

  test("images are taken when run is called: writing to them afterwards changes nothing", async () => {
    using model = await load(definition(), device);
    const [a, b] = [images.subarray(0, size), images.subarray(size, 2 * size)];
    const buffer = f32(a);
    const first = model.run(buffer);
    buffer.set(b);
    const second = model.run({ data: buffer, shape: [1, 3, 32, 32] });
    buffer.fill(0);
    const expected = reference(fixture, "logits").data;
    assert.ok(worstError((await first).logits!, expected.subarray(0, 10)) < 1e-4);
    assert.ok(worstError((await second).logits!, expected.subarray(10, 20)) < 1e-4);
  });

  test("an aborted signal stops a run with its reason, before it starts and between profiles, and the model goes on", async () => {
    using model = await load(definition(), device);
    const error = await rejection(model.run(f32(images), { signal: AbortSignal.abort(new Error("enough")) }));
    assert.is(error.message, "enough");
    const stop = new AbortController();
    const pending = rejection(model.run(f32(images), { signal: stop.signal }));
    stop.abort(new Error("stop here"));
    assert.is((await pending).message, "stop here");
    assert.ok(worstError((await model.run(f32(images))).logits!, reference(fixture, "logits").data) < 1e-4);
  });

  test("two loads at once on one device keep their errors apart", async () => {
    const made = definition();
    const tooLarge = replan(made, { weightBuffers: [2 ** 40] });
    for (const pair of [[tooLarge, made], [made, tooLarge]] as const) {
      const [first, second] = await Promise.allSettled([load(pair[0], device), load(pair[1], device)]);
      assert.is(first!.status, pair[0] === made ? "fulfilled" : "rejected");
      assert.is(second!.status, pair[1] === made ? "fulfilled" : "rejected");
      for (const result of [first!, second!]) if (result.status === "fulfilled") result.value.dispose();
    }
  });

  test("a device of the user's that was made with too little is refused, naming the limit and how to ask for it", async () => {
    const made = definition();
    const error = await rejection(load(replan(made, { limits: { maxBufferSize: 2 ** 45 } }), device));
    assert.instance(error, AdapterError);
    assert.match(error.message, "requiredLimits: { maxBufferSize: 35184372088832 }");
  });

  test("a weight file that does not fit is named before a device is asked for", async () => {
    const stages: string[] = [];
    const error = await rejection(Model.load(definition(), { ...options(), weights: noteFixture("gray").weightsPath, onProgress: ({ stage }) => stages.push(stage) }));
    assert.instance(error, WeightsError);
    assert.equal(stages, []);
  });

  test("generated code for another ABI is refused with the command that regenerates", async () => {
    const error = await rejection(Model.load({ ...definition(), abi: 999 }, options(device)));
    assert.instance(error, AbiError);
    assert.match(error.message, "npx vitc compile spec.json");
    // Another ABI may have had another shape: before 2 there were no variants.
    const { plan, kernels, recipe } = definition().variants[0];
    const old = await rejection(Model.load({ abi: 1, plan, kernels, recipe, command: "npx vitc compile spec.json", platform: () => Promise.resolve(platform) } as never, options(device)));
    assert.instance(old, AbiError);
    assert.match(old.message, "npx vitc compile spec.json");
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

    let own: GPUDevice | undefined;
    const requestDevice: typeof platform.requestDevice = async (asked) => {
      const opened = await platform.requestDevice(asked);
      own = opened.device;
      return opened;
    };
    (await load({ ...definition(), platform: () => Promise.resolve({ ...platform, requestDevice }) })).dispose();
    assert.is((await own!.lost).reason, "destroyed");
  });

  test("a model disposed in the middle of a run says so, and calls no device lost", async () => {
    const model = await load(definition(), device);
    const pending = rejection(model.run(f32(images)));
    await new Promise((turn) => setTimeout(turn));
    model.dispose();
    const error = await pending;
    assert.match(error.message, "was disposed");
    assert.not.instance(error, DeviceLostError);
  });

  test("a lost device is a typed error, now and later, and at the next load", async () => {
    const { device: mortal } = await platform.requestDevice({ adapter: "software" });
    const model = await load(definition(), mortal);
    const pending = rejection(model.run(f32(images)));
    mortal.destroy();
    assert.instance(await pending, DeviceLostError);
    assert.instance(await rejection(model.run(f32(images))), DeviceLostError);
    await rejection(load(definition(), mortal));
  });

  test("routines are done in other ways on request, the others as load chose them; not after the model was disposed", async () => {
    using first = await load(definition(), device);
    const [one, two] = [...first.routines].filter(([, { by }]) => by === "cost").map(([id]) => id) as [string, string];
    const table = { adapter: adapterKey(first.adapter), choices: { [two]: first.routines.get(two)!.choice.name } };
    using model = await Model.load<AnyOutputs>(definition(), { ...options(device), tuned: [table] });
    assert.is(model.routines.get(two)!.by, "tuned");
    const before = (await model.run(f32(images))).logits!;
    await model.choose({ [one]: "register_8x8_w8x8" });
    assert.equal([model.routines.get(one)!.choice.name, model.routines.get(one)!.by, model.routines.get(two)!.by], ["register_8x8_w8x8", "tuned", "tuned"]);
    assert.ok(worstError((await model.run(f32(images))).logits!, before) < 1e-5);

    assert.match((await rejection(model.choose({ [one]: "matrix_of_dreams" }))).message, /matrix_of_dreams on SwiftShader|matrix_of_dreams on llvmpipe/);
    assert.match((await rejection(model.choose({ "no such": "only" }))).message, "no routine no such");
    for (const wrong of [null, undefined, "quad", { [one]: 1 }]) {
      const error = await rejection(model.choose(wrong as never));
      assert.equal([error instanceof VitcError && error.code, /choose takes names of choices by routine/.test(error.message)], ["input", true], error.message);
    }
    assert.match((await rejection(Model.load(definition(), { ...options(device), tuned: table as never }))).message, "list of tables");
    const late = rejection(model.choose({}));
    model.dispose();
    assert.match((await late).message, "was disposed");
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
    const { plan } = definition([8]).variants[0];
    const activations = plan.programs.infer[0]!.arenas.reduce((sum, arena) => sum + arena.bytes, 0) + plan.programs.infer[0]!.input[2];
    assert.ok(both.gpuBytes - one.gpuBytes < activations + 1e6);
  });

  test.run();
}
