/** The page's end of a model's worker, with a worker that answers as the test says. */
import { getEventListeners } from "node:events";
import * as assert from "uvu/assert";
import type { FromWorker, ToWorker } from "../../examples/browser/messages.js";
import { isAbort } from "../../examples/browser/page/client.js";
import { rejection } from "../tools/loaded.js";
import { suite } from "../tools/suite.js";

/** A worker that answers calls when it is told to. */
class Told extends EventTarget {
  static last: Told;
  readonly got: ToWorker[] = [];
  constructor() {
    super();
    Told.last = this;
  }
  postMessage(message: ToWorker): void {
    this.got.push(message);
  }
  say(data: FromWorker): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }
  terminate(): void {}
}

const test = suite("the page's calls to a worker");
test.before(() => void Object.assign(globalThis, { Worker: Told }));
test.after(() => void Reflect.deleteProperty(globalThis, "Worker"));

test("a signal that is given to many calls keeps none of their listeners, however they end", async () => {
  const { ModelWorker } = await import("../../examples/browser/page/client.js");
  const worker = new ModelWorker(() => undefined);
  const { last } = Told;
  const stop = new AbortController();
  const { signal } = stop;
  const listeners = (): number => getEventListeners(signal, "abort").length;
  const call = (): Promise<unknown> => worker.call("time", {}, { signal });
  const answered = call();
  const failed = rejection(call());
  assert.is(listeners(), 2);
  const [first, second] = last.got;
  last.say({ id: first!.id, answer: 3 });
  assert.is(await answered, 3);
  assert.is(listeners(), 1);
  last.say({ id: second!.id, error: { name: "InputError", message: "no image" } });
  assert.is((await failed).message, "no image");
  assert.is(listeners(), 0);
  const aborted = rejection(call());
  stop.abort(new DOMException("enough", "AbortError"));
  assert.ok(isAbort(await aborted));
  assert.equal([last.got.map(({ call }) => call).at(-1), listeners()], ["abort", 0]);
  const closing = new AbortController();
  const closed = rejection(worker.call("time", {}, { signal: closing.signal }));
  worker.end();
  assert.ok(isAbort(await closed));
  assert.is(getEventListeners(closing.signal, "abort").length, 0);
});

test.run();
