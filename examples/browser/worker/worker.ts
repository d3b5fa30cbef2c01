/** The worker of one model: does what the page asks, one message after the other, and never touches the page itself. */
import type { Calls, CallName, FromWorker, Request, Answer, ToWorker } from "../messages.js";
import { ModelHost, type Call } from "./host.js";

const send = (message: FromWorker): void => self.postMessage(message);
const host = new ModelHost((notice) => send({ notice }));
const running = new Map<number, AbortController>();

type Handlers = { readonly [Name in CallName]: (request: Request<Name>, call: Call) => Promise<Answer<Name>> };

const handlers: Handlers = {
  load: (request, call) => host.load(request, call),
  predict: (request, call) => host.predict(request, call),
  probabilities: (request, call) => host.probabilities(request, call),
  canvas: ({ canvas }) => host.takeCanvas(canvas),
  show: (request) => host.show(request),
  time: (_, call) => host.time(call),
  profile: (request, call) => host.profile(request, call),
  lose: () => host.lose(),
};

async function answer<Name extends CallName>(id: number, name: Name, request: Parameters<Calls[Name]>[0]): Promise<void> {
  const abort = new AbortController();
  running.set(id, abort);
  try {
    const handler: Handlers[Name] = handlers[name];
    const result = await handler(request, { signal: abort.signal, onProgress: (progress) => send({ id, progress }) });
    send({ id, answer: result });
  } catch (error) {
    const { name: kind, message } = error instanceof Error ? error : new Error(String(error));
    send({ id, error: { name: kind, message } });
  } finally {
    running.delete(id);
  }
}

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data.call === "abort") running.get(data.id)?.abort();
  else void answer(data.id, data.call, data.request);
});
