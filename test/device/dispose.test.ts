/** Models that are disposed, and streams that are aborted, at every point where work waits: the app's device sees no error, and nothing is left on it. */
import * as assert from "uvu/assert";
import * as platform from "../../runtime/node.js";
import { softwareReason } from "../tools/adapter.js";
import { definitionOf, loadRandom } from "../tools/loaded.js";
import { skipAll, suite } from "../tools/suite.js";

const spec = { name: "brief", image: 32, patch: 16, dim: 16, depth: 1, heads: 2, classes: 4, batch: [1, 2] };
const size = 3 * 32 * 32;
const image = (images = 1): Float32Array => Float32Array.from({ length: images * size }, (_, i) => Math.sin(i));
const pixels = { data: new Uint8Array(40 * 40 * 3), width: 40, height: 40 };

const reason = await softwareReason();
if (reason) skipAll("disposal", reason);
else {
  const test = suite("disposal");
  const { device } = await platform.requestDevice({ adapter: "software" });
  const errors: string[] = [];
  device.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));

  /** Buffers and textures of the app's device that were not destroyed yet. */
  const alive = new Set<object>();
  let step = (): void => undefined;
  /** The app's device, on which `step` is called whenever one of its promises that work waits for was settled. */
  const watched = new Proxy(device, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        if (key === "popErrorScope") return (result as Promise<unknown>).finally(() => step());
        if (key !== "createBuffer" && key !== "createTexture") return result;
        const resource = result as GPUBuffer;
        const destroy = resource.destroy.bind(resource);
        alive.add(resource);
        return Object.assign(resource, { destroy: () => (alive.delete(resource), destroy()) });
      };
    },
  });
  const wait = async <T>(work: Promise<T>): Promise<T> => work.finally(() => step());
  const definition = definitionOf(spec, { wait });

  type Loaded = Awaited<ReturnType<typeof loadRandom>>;
  const texture = device.createTexture({ size: [40, 40], format: "rgba8unorm", usage: 0x1 | 0x2 });
  const textures = [1, 2].map(() => device.createTexture({ size: [40, 40], format: "rgba8unorm", usage: 0x1 | 0x2 }));
  const work: Readonly<Record<string, (model: Loaded, signal: AbortSignal) => Promise<unknown>>> = {
    "a batch of three chunks": (model) => model.run(image(5)),
    "a warm-up": (model) => model.warmup(),
    "a profile": (model) => model.profile({ runs: 2 }),
    "results on the device": async (model) => Object.values(await model.runOnDevice(image(3))).forEach((output) => output.dispose()),
    "textures and pixels": (model) => model.run([textures[0]!, pixels, textures[1]!]),
    "a stream": async (model, signal) => {
      for await (const _ of model.runMany([image(3), [texture], image(), image(3)], { ahead: 2, signal })) continue;
    },
  };

  /** Does something in the n-th step of each piece of work, for all n, and counts what it costs. */
  const interrupt = async (names: readonly string[], make: (model: Loaded, stop: AbortController) => () => void): Promise<void> => {
    for (const name of names) {
      let steps = 0;
      for (let n = 1, reached = true; reached; n++) {
        const model = await loadRandom(definition, { device: watched });
        const stop = new AbortController();
        const act = make(model, stop);
        steps = 0;
        reached = false;
        step = () => {
          if (++steps !== n) return;
          reached = true;
          act();
        };
        await work[name]!(model, stop.signal).catch((error: unknown) => assert.match(String(error), /was disposed|the user left/, `${name}, step ${n}: ${String(error)}`));
        step = () => undefined;
        // What nobody waits for any more comes to its end.
        for (let turn = 0; turn < 5; turn++) await new Promise((done) => setTimeout(done, 2));
        model.dispose();
        for (let turn = 0; turn < 200 && alive.size > 0; turn++) await new Promise((done) => setTimeout(done, 5));
        await device.queue.onSubmittedWorkDone();
        assert.equal(errors, [], `${name}, step ${n}`);
        assert.is(alive.size, 0, `${alive.size} buffers and textures are left: ${name}, step ${n}`);
      }
      assert.ok(steps > 1, `${name} has ${steps} steps`);
    }
  };

  test("a model that is disposed in the middle of a piece of work", async () => {
    await interrupt(Object.keys(work), (model) => () => model.dispose());
  });

  test("a stream that is aborted", async () => {
    await interrupt(["a stream"], (_, stop) => () => stop.abort(new Error("the user left")));
  });

  test.after(() => device.destroy());
  test.run();
}
