/** Devices that are lost: in the middle of runs, again and again, during a load; models go on, on others, or say that they cannot. */
import * as assert from "uvu/assert";
import { DeviceLostError, OutOfMemoryError, VitcError } from "../../runtime/errors.js";
import type { LoadOptions } from "../../runtime/model.js";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom, rejection } from "../tools/loaded.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "mortal", image: 32, patch: 16, dim: 16, depth: 1, heads: 2, classes: 4, batch: [1, 2] };
const size = 3 * 32 * 32;
const image = (seed: number, images = 1): Float32Array => Float32Array.from({ length: images * size }, (_, i) => Math.sin(i * (seed + 1)));

const reason = await softwareReason();
if (reason) skipAll("lost devices", reason);
else {
  const test = suite("lost devices");
  const { device: steady } = await platform.requestDevice({ adapter: "software" });
  const reference = await loadRandom(definitionOf(spec), { device: steady });
  const expected = await Promise.all([0, 1, 2, 3, 4, 5].map(async (i) => [...(await reference.run(image(i)))["logits"]!]));
  reference.dispose();
  steady.destroy();

  /** A definition whose own devices are noted, and `doomed` of them destroyed as soon as they are there. */
  const mortal = (doomed = 0) => {
    const devices: GPUDevice[] = [];
    const requestDevice: typeof platform.requestDevice = async (asked) => {
      const made = await platform.requestDevice(asked);
      devices.push(made.device);
      if (doomed-- > 0) made.device.destroy();
      return made;
    };
    return { devices, definition: definitionOf(spec, { requestDevice }) };
  };
  /** Equal up to the rounding of other kernels: a device of the user's has no features. */
  const same = (actual: readonly (readonly number[])[], wanted: readonly (readonly number[])[]): void => {
    assert.equal(actual.map((row) => row.length), wanted.map((row) => row.length));
    actual.forEach((row, i) => row.forEach((value, j) => assert.ok(Math.abs(value - wanted[i]![j]!) < 1e-5, `${value} for ${wanted[i]![j]} in ${i}`)));
  };
  const logitsOf = (outputs: object): number[] => [...(outputs as { readonly logits: Float32Array }).logits];

  test("runs that are under way and those behind them come out as if nothing had happened, and it is said", async () => {
    const { devices, definition } = mortal();
    const notices: string[] = [];
    using model = await loadRandom(definition, { onNotice: (text) => notices.push(text) });
    const before = model.device;
    const runs = [0, 1, 2].map((i) => model.run(image(i)));
    await new Promise((turn) => setTimeout(turn));
    devices[0]!.destroy();
    const more = model.run(image(3));
    same((await Promise.all([...runs, more])).map(logitsOf), expected.slice(0, 4));
    assert.is(devices.length, 2);
    assert.ok(model.device === devices[1] && before === devices[0]);
    assert.is(notices.filter((text) => /was lost .*made again/.test(text)).length, 1);
    assert.is(notices.filter((text) => /software adapter/.test(text)).length, 1, "what was said is not said again");
  });

  test("a device that goes while nothing runs is replaced by the next run; classes, warm-up and encoding too", async () => {
    const { devices, definition } = mortal();
    using model = await loadRandom(definition);
    devices[0]!.destroy();
    await devices[0]!.lost;
    same([logitsOf(await model.run(image(1)))], [expected[1]!]);
    devices[1]!.destroy();
    await model.warmup();
    devices[2]!.destroy();
    await devices[2]!.lost;
    assert.instance(await rejection(model.encode({} as GPUCommandEncoder, { input: {} as GPUBuffer, outputs: {} })), DeviceLostError);
    assert.is((await model.classify(image(2)))[0]!.length, 4);
    assert.is(devices.length, 4);
  });

  test("two losses in one run are survived; a third is a DeviceLostError, and the next run tries again", async () => {
    const { devices, definition } = mortal();
    let lose = 0;
    const wait = async <T>(work: Promise<T>): Promise<T> => {
      if (lose > 0 && devices.length > 0) {
        lose--;
        devices.at(-1)!.destroy();
        await devices.at(-1)!.lost;
      }
      return work;
    };
    const { platform: node } = definition;
    // Only reads of results wait while `armed`: a load waits as well, and is not to be lost here.
    using model = await loadRandom({ ...definition, platform: async () => ({ ...(await node()), wait }) });
    lose = 1;
    same([logitsOf(await model.run(image(0)))], [expected[0]!]);
    assert.is(devices.length, 2);
    lose = 9;
    const error = await rejection(model.run(image(0)));
    assert.instance(error, DeviceLostError);
    assert.match(error.message, /was lost/);
    lose = 0;
    same([logitsOf(await model.run(image(4)))], [expected[4]!]);
  });

  test("a stream goes on in order, with the same numbers, and its ring is made again", async () => {
    const { devices, definition } = mortal();
    using model = await loadRandom(definition);
    const results: number[][] = [];
    for await (const outputs of model.runMany([0, 1, 2, 3, 4, 5].map((i) => image(i)), { ahead: 2 })) {
      results.push(logitsOf(outputs));
      if (results.length === 2) devices[0]!.destroy();
    }
    same(results, expected);
    assert.is(devices.length, 2);
  });

  test("a device that goes during a load is replaced twice; the third loss is a DeviceLostError", async () => {
    const twice = mortal(2);
    using model = await loadRandom(twice.definition);
    same([logitsOf(await model.run(image(0)))], [expected[0]!]);
    assert.is(twice.devices.length, 3);
    const ever = mortal(99);
    assert.instance(await rejection(loadRandom(ever.definition)), DeviceLostError);
    assert.is(ever.devices.length, 3);
  });

  test("in the middle of a load: while weights are uploaded", async () => {
    const { devices, definition } = mortal();
    const stages: string[] = [];
    using model = await loadRandom(definition, {
      onProgress: ({ stage }) => {
        if (stage === "weights" && devices.length === 1) devices[0]!.destroy();
        stages.push(stage);
      },
    });
    same([logitsOf(await model.run(image(5)))], [expected[5]!]);
    assert.is(devices.length, 2);
  });

  test("a user's device that is lost is asked for again, and never destroyed; without onDeviceLost it is an error", async () => {
    const own = async (): Promise<GPUDevice> => (await platform.requestDevice({ adapter: "software" })).device;
    const [first, second] = [await own(), await own()];
    let asked = 0;
    const onDeviceLost: LoadOptions["onDeviceLost"] = () => Promise.resolve(++asked === 1 ? second : first);
    const model = await loadRandom(definitionOf(spec), { device: first, onDeviceLost });
    await model.choose({});
    const runs = [model.run(image(0)), model.run(image(1))];
    first.destroy();
    same((await Promise.all(runs)).map(logitsOf), expected.slice(0, 2));
    assert.is(asked, 1);
    assert.ok(model.device === second);
    second.destroy();
    const error = await rejection(model.run(image(0)));
    assert.instance(error, DeviceLostError);
    model.dispose();

    const third = await own();
    using bare = await loadRandom(definitionOf(spec), { device: third });
    const pending = rejection(bare.run(image(0)));
    third.destroy();
    assert.instance(await pending, DeviceLostError);
    const fourth = await own();
    for (const [gives, says] of [[() => Promise.reject(new Error("no more")), /no more/], [() => Promise.resolve(3), /onDeviceLost gave number/]] as const) {
      const device = await own();
      using model = await loadRandom(definitionOf(spec), { device, onDeviceLost: gives as never });
      device.destroy();
      await device.lost;
      const error = await rejection(model.run(image(0)));
      assert.instance(error, DeviceLostError);
      assert.match(error.message, says);
    }
    assert.match((await rejection(loadRandom(definitionOf(spec), { device: fourth, onDeviceLost: 3 as never }))).message, /onDeviceLost is number/);
    fourth.destroy();
  });

  test("an onDeviceLost that never answers is waited for until an abort or dispose; one that throws gives no device", async () => {
    const own = async (): Promise<GPUDevice> => (await platform.requestDevice({ adapter: "software" })).device;
    const [first, second] = [await own(), await own()];
    let asked = (): void => undefined;
    const silent = (): Promise<GPUDevice> => (asked(), new Promise(() => undefined));
    const model = await loadRandom(definitionOf(spec), { device: first, onDeviceLost: silent });
    first.destroy();
    await first.lost;
    const waiting = new Promise<void>((resolve) => (asked = resolve));
    const run = rejection(model.run(image(0)));
    await waiting;
    model.dispose();
    const disposed = await run;
    assert.ok(disposed instanceof VitcError && disposed.code === "disposed", disposed.message);

    const stop = new AbortController();
    asked = () => setTimeout(() => stop.abort(new Error("the user left")));
    second.destroy();
    assert.is((await rejection(loadRandom(definitionOf(spec), { device: second, onDeviceLost: silent, signal: stop.signal }))).message, "the user left");
    const throwing = (): never => {
      throw new TypeError("no adapter");
    };
    const error = await rejection(loadRandom(definitionOf(spec), { device: second, onDeviceLost: throwing }));
    assert.instance(error, DeviceLostError);
    assert.match(error.message, /onDeviceLost gave no device: no adapter/);
  });

  test("weights that cannot be read again, and a model disposed meanwhile, are said", async () => {
    const { devices, definition } = mortal();
    const good = await loadRandom(definition);
    devices[0]!.destroy();
    const pending = rejection(good.run(image(0)));
    await new Promise((turn) => setTimeout(turn, 20));
    good.dispose();
    assert.match((await pending).message, /was disposed/);
    for (const device of devices.slice(1)) assert.is((await device.lost).reason, "destroyed");
  });

  test("choices of kernels that were asked for outlive the device", async () => {
    const { devices, definition } = mortal();
    using model = await loadRandom(definition);
    const [id] = [...model.routines].find(([, { by }]) => by === "cost")!;
    const [routine] = definition.variants[0].plan.routines.filter((one) => one.id === id);
    const other = routine!.choices.find(({ name }) => name !== model.routines.get(id)!.choice.name && name.startsWith("register"))!;
    const chosen = (): unknown[] => [...model.routines].map(([of, { choice, by }]) => [of, choice.name, by]);
    const first = chosen();
    await model.choose({ [id]: other.name });
    for (const device of [0, 1]) {
      devices[device]!.destroy();
      await model.run(image(0));
      assert.equal([model.routines.get(id)!.choice.name, model.routines.get(id)!.by], [other.name, "tuned"], `after ${device + 1} devices`);
    }
    // They can be taken back on another device than they were asked for on.
    await model.choose({});
    assert.equal(chosen(), first);
    devices[2]!.destroy();
    await model.run(image(0));
    assert.equal(chosen(), first);
  });

  test("memory that the device does not have is an OutOfMemoryError with the bytes asked for", async () => {
    const { device } = await platform.requestDevice({ adapter: "software" });
    // What a driver says when it has no room, for every buffer that is created from then on.
    let full = false;
    const scopes: string[] = [];
    const poor = new Proxy(device, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (key === "pushErrorScope") return (filter: GPUErrorFilter): void => (scopes.push(filter), target.pushErrorScope(filter));
        if (key === "popErrorScope") {
          return async (): Promise<unknown> => {
            const filter = scopes.pop();
            const error = await target.popErrorScope();
            return full && filter === "out-of-memory" ? { message: "no room" } : error;
          };
        }
        return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
    using model = await loadRandom(definitionOf(spec), { device: poor });
    full = true;
    const outputs = await rejection(model.runOnDevice(image(0, 2)));
    assert.ok(outputs instanceof OutOfMemoryError && outputs.bytes === 2 * 4 * 4, outputs.message);
    const stream = await rejection(model.runMany([image(0)], { ahead: 2 }).next());
    const { readbackBytes } = definitionOf(spec).variants[0].plan.programs.infer[1]!;
    assert.ok(stream instanceof OutOfMemoryError && stream.bytes === 3 * readbackBytes, stream.message);
    const load = await rejection(loadRandom(definitionOf(spec), { device: poor }));
    assert.ok(load instanceof OutOfMemoryError && load.bytes > 1000, load.message);
    full = false;
    same([logitsOf(await model.run(image(0)))], [expected[0]!]);
    device.destroy();
  });

  test.run();
}
