/** The page's end of a model's worker. */
import type { Progress } from "vitc/runtime";
import type { Answer, CallName, FromWorker, Request, ToWorker } from "../messages.js";

export interface CallOptions {
  /** Rejects at once, and tells the worker to stop. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: Progress) => void;
  readonly transfer?: readonly Transferable[];
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** A worker that holds one model. Ending it frees whatever the model held, at once. */
export class ModelWorker {
  private readonly worker = new Worker(new URL("../worker/worker.ts", import.meta.url), { type: "module", name: "vitc model" });
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private ended = false;

  constructor(onNotice: (notice: string) => void) {
    this.worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
      if ("notice" in data) return onNotice(data.notice);
      const waiting = this.waiting.get(data.id);
      if (waiting === undefined) return;
      if ("progress" in data) return waiting.onProgress?.(data.progress);
      this.waiting.delete(data.id);
      if ("error" in data) waiting.reject(Object.assign(new Error(data.error.message), { name: data.error.name }));
      else waiting.resolve(data.answer);
    });
    this.worker.addEventListener("error", ({ message }) => this.fail(new Error(message || "the worker's script could not be loaded")));
  }

  call<Name extends CallName>(call: Name, request: Request<Name>, { signal, onProgress, transfer = [] }: CallOptions = {}): Promise<Answer<Name>> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.ended) throw closed();
      const id = this.next++;
      const abort = (): void => {
        if (!this.waiting.delete(id)) return;
        this.worker.postMessage({ id, call: "abort" } satisfies ToWorker);
        reject(signal!.reason as Error);
      };
      // Taken off with the answer: one signal is given to many calls.
      const ended = <Value>(settle: (value: Value) => void) => (value: Value): void => {
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      this.waiting.set(id, { resolve: ended((answer) => resolve(answer as Answer<Name>)), reject: ended(reject), onProgress });
      signal?.addEventListener("abort", abort, { once: true });
      this.worker.postMessage({ id, call, request } as ToWorker, [...transfer]);
    });
  }

  end(): void {
    this.ended = true;
    this.worker.terminate();
    this.fail(closed());
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

const closed = (): DOMException => new DOMException("the model was closed", "AbortError");

/** Whether something ended because somebody wanted it to. */
export const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError";

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
