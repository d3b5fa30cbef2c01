/** Streams through a model, and the small things around a run: classes, a warm-up, aborts. */
import * as assert from "uvu/assert";
import { InputError, VitcError } from "../../runtime/errors.js";
import * as platform from "../../runtime/node.js";
import type { ModelInput } from "../../runtime/tensor.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom, rejection } from "../tools/loaded.js";
import { recording } from "../tools/recording-device.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "stream", image: 32, patch: 16, dim: 16, depth: 1, heads: 2, classes: 4, labels: ["ant", "bee", "cat", "dog"], batch: [1, 2] };
const size = 3 * 32 * 32;
const image = (seed: number, images = 1): Float32Array => Float32Array.from({ length: images * size }, (_, i) => Math.sin(i * (seed + 1)));

const reason = await softwareReason();
if (reason) skipAll("streams", reason);
else {
  const test = suite("streams");
  const { device } = await platform.requestDevice({ adapter: "software" });
  const definition = definitionOf(spec);
  const model = await loadRandom(definition, { device });
  const expected = await Promise.all(Array.from({ length: 12 }, async (_, i) => [...(await model.run(image(i)))["logits"]!]));
  const collect = async (inputs: AsyncIterable<ModelInput> | Iterable<ModelInput>, options?: object): Promise<number[][]> => {
    const results: number[][] = [];
    for await (const { logits } of model.runMany(inputs, options)) results.push([...logits!]);
    return results;
  };

  test("outputs come in order and are those of run, whatever runs ahead, from lists and from generators", async () => {
    const many = expected.map((_, i) => image(i));
    for (const ahead of [0, 1, 2, 5, 16]) assert.equal(await collect(many, { ahead }), expected, `ahead ${ahead}`);
    assert.equal(await collect((async function* () { for (const one of many) yield Promise.resolve(one); })()), expected);
    assert.equal(await collect([]), []);
  });

  test("inputs of several images go through several profiles, and runs in between keep their own results", async () => {
    const five = Float32Array.from([0, 1, 2, 3, 4].flatMap((i) => [...image(i)]));
    const other = model.run(image(7));
    const results = collect([five, image(5), five]);
    assert.equal([...(await other)["logits"]!], expected[7]);
    assert.equal(await results, [expected.slice(0, 5).flat(), expected[5], expected.slice(0, 5).flat()]);
  });

  test("the next input is put to the queue before the results of the one before are there", async () => {
    // The first result waits for the third submit: without overlap the stream would stand still for ever.
    const events: string[] = [];
    let submits = 0;
    let third = (): void => undefined;
    const thirdSubmit = new Promise<void>((resolve) => (third = resolve));
    const { device: own } = await platform.requestDevice({ adapter: "software" });
    let armed = false;
    const queue = new Proxy(own.queue, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          const result: unknown = Reflect.apply(value, target, args);
          if (armed && key === "submit") {
            events.push(`submit ${submits++}`);
            if (submits === 3) third();
          }
          return result;
        };
      },
    });
    const watched = new Proxy(own, { get: (target, key) => (key === "queue" ? queue : bound(target, key)) });
    let reads = 0;
    const wait = async <T>(work: Promise<T>): Promise<T> => {
      const result = await work;
      if (!armed) return result;
      if (reads === 0) await thirdSubmit;
      events.push(`read ${reads++}`);
      return result;
    };
    using slow = await loadRandom(definitionOf(spec, { wait }), { device: watched });
    await slow.warmup();
    armed = true;
    const results: number[][] = [];
    for await (const { logits } of slow.runMany(Array.from({ length: 6 }, (_, i) => image(i)), { ahead: 2 })) results.push([...logits!]);
    assert.equal(results, expected.slice(0, 6));
    assert.ok(events.indexOf("submit 2") < events.indexOf("read 0"), events.join());
    own.destroy();
  });

  test("memory is bounded: no input is taken beyond those ahead, staging buffers are a ring that is freed", async () => {
    let taken = 0;
    let out = 0;
    let most = 0;
    const source = function* (): Generator<Float32Array> {
      for (; taken < 40; ) {
        most = Math.max(most, ++taken - out);
        yield image(taken % 12);
      }
    };
    const calls: string[] = [];
    using counted = await loadRandom(definition, { device: recording(device, calls) });
    const before = counted.gpuBytes;
    calls.length = 0;
    let during = 0;
    for await (const _ of counted.runMany(source(), { ahead: 3 })) {
      await new Promise((turn) => setTimeout(turn, out % 5));
      out++;
      during = Math.max(during, counted.gpuBytes);
    }
    assert.is(out, 40);
    // The one that is waited for, and those ahead of it.
    assert.ok(most <= 4 + 1 && most >= 3, `${most} inputs at once`);
    assert.is(calls.filter((name) => name === "createBuffer").length, 4);
    assert.is(calls.filter((name) => name === "createBindGroup").length, 0);
    assert.is(during - before, 4 * Math.max(...definition.variants[0].plan.programs.infer.map(({ readbackBytes }) => readbackBytes)));
    assert.is(counted.gpuBytes, before);
  });

  test("leaving the loop ends the source and frees the ring; the model goes on", async () => {
    let ended = false;
    const source = function* (): Generator<Float32Array> {
      try {
        for (let i = 0; ; i++) yield image(i % 12);
      } finally {
        ended = true;
      }
    };
    const before = model.gpuBytes;
    for await (const { logits } of model.runMany(source())) {
      assert.equal([...logits!], expected[0]);
      break;
    }
    assert.equal([ended, model.gpuBytes], [true, before]);
    assert.equal([...(await model.run(image(1)))["logits"]!], expected[1]);
  });

  test("a wrong input, and an error of the source, end the stream in their place, after the results before them", async () => {
    const source = function* (wrong?: ModelInput): Generator<ModelInput> {
      yield image(0);
      yield image(1);
      if (wrong === undefined) throw new Error("the source broke");
      yield wrong;
      yield image(2);
    };
    const later = async function* (): AsyncGenerator<ModelInput> {
      yield* source();
    };
    for (const [inputs, message] of [[source(new Float32Array(7)), /7 values/], [source(), /source broke/], [later(), /source broke/]] as const) {
      const seen: number[][] = [];
      const error = await rejection((async () => {
        for await (const { logits } of model.runMany(inputs, { ahead: 4 })) seen.push([...logits!]);
      })());
      assert.match(error.message, message);
      assert.equal(seen, expected.slice(0, 2));
    }
    assert.equal(await collect([image(3)]), [expected[3]]);
  });

  test("a source that fails when it is ended keeps nothing from being freed", async () => {
    const before = model.gpuBytes;
    const source = function* (): Generator<Float32Array> {
      try {
        for (let i = 0; ; i++) yield image(i % 12);
      } finally {
        // eslint-disable-next-line no-unsafe-finally -- as careless sources do
        throw new Error("the source cannot be closed");
      }
    };
    for await (const _ of model.runMany(source())) break;
    assert.is(model.gpuBytes, before);
  });

  test("an abort ends the stream with its reason, also while the source is waited for", async () => {
    const stop = new AbortController();
    const source = async function* (): AsyncGenerator<Float32Array> {
      yield image(0);
      await new Promise(() => undefined);
    };
    const seen: number[][] = [];
    const error = await rejection((async () => {
      for await (const { logits } of model.runMany(source(), { signal: stop.signal })) {
        seen.push([...logits!]);
        setTimeout(() => stop.abort(new Error("enough")));
      }
    })());
    assert.is(error.message, "enough");
    assert.equal(seen, [expected[0]]);
    assert.is((await rejection(collect([image(0)], { signal: AbortSignal.abort(new Error("never")) }))).message, "never");
  });

  test("an abort, and leaving the loop, wait for no run that is under way; the model goes on, and its device sees no error", async () => {
    for (const way of ["abort", "abort before a result", "break"] as const) {
      const { device: own } = await platform.requestDevice({ adapter: "software" });
      const errors: string[] = [];
      own.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
      let unblock = (): void => undefined;
      const blocked = new Promise<void>((resolve) => (unblock = resolve));
      let reads = -Infinity;
      const wait = async <T>(work: Promise<T>): Promise<T> => {
        const result = await work;
        if (reads++ >= 1) await blocked;
        return result;
      };
      using slow = await loadRandom(definitionOf(spec, { wait }), { device: own });
      await slow.warmup();
      const before = slow.gpuBytes;
      reads = way === "abort before a result" ? 1 : 0;
      const stop = new AbortController();
      if (way !== "break") setTimeout(() => stop.abort(new Error("enough")), 100);
      const seen: number[][] = [];
      const left = (async () => {
        // More images than there are staging buffers: one has its turn, and waits for a buffer.
        for await (const { logits } of slow.runMany([image(0), image(1), image(2, 12), image(3), image(4)], { ahead: 4, ...(way !== "break" && { signal: stop.signal }) })) {
          seen.push([...logits!]);
          if (way === "break") break;
        }
        return "left";
      })().catch((error: Error) => error.message);
      const patience = new Promise((resolve) => setTimeout(() => resolve("still waits"), 2000));
      const ended = await Promise.race([left, patience]);
      const held = slow.gpuBytes;
      unblock();
      await left;
      assert.equal([ended, seen, held], [way === "break" ? "left" : "enough", way === "abort before a result" ? [] : [expected[0]], before], way);
      assert.equal([...(await slow.run(image(1)))["logits"]!], expected[1]);
      const again: number[][] = [];
      for await (const { logits } of slow.runMany([image(2), image(3)])) again.push([...logits!]);
      assert.equal(again, expected.slice(2, 4));
      await own.queue.onSubmittedWorkDone();
      assert.equal([errors, slow.gpuBytes], [[], before], way);
      own.destroy();
    }
  });

  test("what iterators give that are no iterators' results, and undefined inputs, end the stream with an error", async () => {
    const giving = (result: unknown): Iterable<ModelInput> => ({ [Symbol.iterator]: () => ({ next: () => result as IteratorResult<ModelInput> }) });
    for (const wrong of [undefined, null, 3]) {
      const error = await rejection(model.runMany(giving(wrong)).next());
      assert.ok(error instanceof VitcError && error.code === "input", error.message);
      assert.match(error.message, new RegExp(`next\\(\\) of the iterator of inputs gave ${wrong}; it gives \\{ done, value \\}`));
    }
    assert.instance(await rejection(model.runMany(giving({ done: false })).next()), InputError);
    assert.equal(await collect(giving({ done: true })), []);
  });

  test("what is no stream, and an ahead that is no number of inputs, are refused", async () => {
    for (const wrong of [null, undefined, 3, "photo.png", {}]) assert.match((await rejection(collect(wrong as never))).message, /runMany takes an iterable/);
    for (const ahead of [-1, 1.5, 17, NaN, "2"]) assert.match((await rejection(collect([], { ahead }))).message, /ahead is/);
  });

  test("classes come with names and probabilities, for each image", async () => {
    const logits = [expected[0]!, expected[1]!];
    const predictions = await model.classify(Float32Array.from([...image(0), ...image(1)]), { top: 3 });
    assert.equal(predictions.map((image) => image.length), [3, 3]);
    predictions.forEach((image, i) => {
      const best = logits[i]!.indexOf(Math.max(...logits[i]!));
      assert.equal([image[0]!.index, image[0]!.label], [best, spec.labels[best]]);
      assert.ok(image[0]!.probability >= image[1]!.probability && image[1]!.probability >= image[2]!.probability);
    });
    const [all] = await model.classify(image(0), { top: 99 });
    assert.ok(Math.abs(all!.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-12);
    assert.equal([all!.length, (await model.classify(image(0)))[0]!.length], [4, 4]);
    for (const top of [0, 2.5, "3"]) assert.instance(await rejection(model.classify(image(0), { top: top as number })), InputError);
    using features = await loadRandom(definitionOf({ ...spec, classes: 0, labels: undefined }), { device });
    assert.match((await rejection(features.classify(image(0)))).message, /no classes/);
  });

  test("a warm-up runs every profile, and what comes after it is not another's", async () => {
    using cold = await loadRandom(definition, { device });
    await cold.warmup();
    assert.equal([...(await cold.run(image(4)))["logits"]!], expected[4]);
    assert.is((await rejection(cold.warmup({ signal: AbortSignal.abort(new Error("no")) }))).message, "no");
  });

  test("an abort ends a run at once, in its turn and before it, and those behind it go on", async () => {
    const stop = new AbortController();
    const runs = [model.run(image(0)), model.run(image(1), { signal: stop.signal }), model.run(image(2))];
    const aborted = rejection(runs[1]!);
    stop.abort(new Error("not this one"));
    // Settled before the first is: it does not wait for its turn.
    assert.is(await Promise.race([aborted.then((error) => error.message), runs[0]!.then(() => "the first run")]), "not this one");
    assert.equal([...(await runs[0]!)["logits"]!], expected[0]);
    assert.equal([...(await runs[2]!)["logits"]!], expected[2]);
  });

  test("an abort ends a load at every stage, and a load that is aborted leaves no device behind", async () => {
    for (const at of ["device", "pipelines", "weights"] as const) {
      const stop = new AbortController();
      let opened: GPUDevice | undefined;
      const requestDevice: typeof platform.requestDevice = async (asked) => {
        const made = await platform.requestDevice(asked);
        opened = made.device;
        return made;
      };
      const stages: string[] = [];
      const error = await rejection(
        loadRandom(definitionOf(spec, { requestDevice }), {
          signal: stop.signal,
          onProgress: ({ stage }) => {
            stages.push(stage);
            if (stage === at) stop.abort(new Error(`stop at ${at}`));
          },
        }),
      );
      assert.is(error.message, `stop at ${at}`);
      assert.is(stages.filter((stage) => stage === "pipelines").length, { device: 0, pipelines: 1, weights: stages.filter((stage) => stage === "pipelines").length }[at]);
      if (opened === undefined) await new Promise((turn) => setTimeout(turn, 1000));
      assert.is((await opened!.lost).reason, "destroyed");
    }
  });

  test("a stream on a model that was disposed says so", async () => {
    const gone = await loadRandom(definition, { device });
    const stream = gone.runMany([image(0), image(1)]);
    await stream.next();
    gone.dispose();
    const error = await rejection(stream.next());
    assert.ok(error instanceof VitcError && error.code === "disposed", error.message);
  });

  test.after(() => {
    model.dispose();
    device.destroy();
  });
  test.run();
}

/** A property of a native object, usable through a proxy. */
function bound(target: GPUDevice, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key, target);
  return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
}
