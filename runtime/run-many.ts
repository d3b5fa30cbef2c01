/** A stream of inputs through a model: while one is computed the next is prepared and uploaded, and the one before is read back. */
import { DeviceLostError, VitcError } from "./errors.js";
import type { Engine } from "./load.js";
import { chunksOf, Results, run } from "./batches.js";
import type { Runner, Taken } from "./runner.js";
import type { Session } from "./session.js";
import { abortable, isObject, kindOf } from "./source.js";
import type { ModelInput, Tensor } from "./tensor.js";

export interface RunManyOptions {
  /** Ends the stream: the iterator rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** How many inputs are taken before the one whose result is waited for is done. Default: 2. At most 16. */
  readonly ahead?: number;
}

const mostAhead = 16;

type Values = Readonly<Record<string, Tensor>>;

/** What a source gives; one that fails has ended, and says why when the results of what it gave before are out. */
type Given = IteratorResult<ModelInput> & { readonly failed?: { readonly error: unknown } };

/** Stands for the first run that is waited for, where a source may give anything. */
const runIsDone = Symbol();

/** See `Model.runMany`. */
export async function* runMany(runner: Runner, inputs: AsyncIterable<ModelInput> | Iterable<ModelInput>, options: RunManyOptions): AsyncGenerator<Values, void, undefined> {
  const { signal, ahead = 2 } = options;
  if (!Number.isSafeInteger(ahead) || ahead < 0 || ahead > mostAhead) throw new VitcError("input", `ahead is ${String(ahead)}; it is a whole number from 0 to ${mostAhead}`);
  const iterator = iteratorOf(inputs);
  const ring = new Ring(runner, ahead + 1);
  const running: Promise<Values>[] = [];
  const take = async (): Promise<Given> => {
    const given: unknown = await iterator.next();
    if (!isObject(given)) throw new VitcError("input", `next() of the iterator of inputs gave ${kindOf(given)}; it gives { done, value }`);
    return given as unknown as Given;
  };
  let next: Promise<Given> | undefined;
  let ended = false;
  let failed: Given["failed"];
  try {
    while (!ended || running.length > 0) {
      signal?.throwIfAborted();
      runner.checkUsable();
      if (!ended && running.length <= ahead) next ??= take().catch((error: unknown): Given => ({ done: true, value: undefined, failed: { error } }));
      // A slow source keeps no result waiting, and a slow run no input, as long as there is room.
      const [first] = running;
      const came = await abortable(Promise.race([...(first ? [first.then((): typeof runIsDone => runIsDone)] : []), ...(next ? [next] : [])]), signal);
      if (came !== runIsDone) {
        next = undefined;
        ended = came.done === true;
        failed = came.failed;
        if (came.done === true) continue;
        const result = ring.start(came.value, signal);
        // It is waited for when those before it are done.
        result.catch(() => undefined);
        running.push(result);
      } else yield await running.shift()!;
    }
    if (failed) throw failed.error;
  } finally {
    // A source that is waiting for its next input ends when that has come: nobody waits for it here.
    if (!ended) void (async () => iterator.return?.())().catch(() => undefined);
    // Nor for runs that nobody wants any more: those at the GPU end there, unread, and those that have not had their turn are left out.
    ring.dispose();
  }
}

/** Staging buffers, each in use from a submit until its results are read. Nothing is submitted while all are in use. */
class Ring {
  private session: Session | undefined;
  private buffers: GPUBuffer[] = [];
  private free: GPUBuffer[] = [];
  private closed = false;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly runner: Runner, private readonly size: number) {}

  /** Runs an input: in its turn it is put to the queue, and read behind those that come after it have been. */
  async start(input: ModelInput, signal: AbortSignal | undefined): Promise<Values> {
    const { runner } = this;
    const taken = runner.take(input);
    try {
      const { reading } = await runner.enqueue((engine) => this.submit(engine, taken, signal), signal);
      return await abortable(reading, signal).catch((error: unknown) => {
        if (this.closed || !(error instanceof DeviceLostError)) throw error;
        // Its turn is over. On a new device it takes another, whole; where there is none to be had this says so.
        return runner.enqueue((engine) => run(engine, taken, signal), signal);
      });
    } finally {
      taken.release();
    }
  }

  private async submit(engine: Engine, taken: Taken, signal: AbortSignal | undefined): Promise<{ readonly reading: Promise<Values> }> {
    this.checkOpen();
    const { session, variant: { plan } } = engine;
    await this.moveTo(session);
    const batch = await taken.get();
    const results = new Results(plan, batch.count);
    const reads: Promise<void>[] = [];
    for (const chunk of chunksOf(plan, batch)) {
      const staging = await this.acquire();
      try {
        // Nothing is awaited between these and the submit: from an abort on, images may be another run's, and buffers gone.
        signal?.throwIfAborted();
        this.checkOpen();
        await session.submit(chunk.batch, chunk.input, staging);
        this.checkOpen();
      } catch (error) {
        this.release(session, staging);
        throw error;
      }
      const read = session.read(chunk.batch, results.collector(chunk), staging).finally(() => this.release(session, staging));
      read.catch(() => undefined);
      reads.push(read);
    }
    const reading = Promise.all(reads).then(() => results.outputs);
    // After an abort nobody waits for it any more.
    reading.catch(() => undefined);
    return { reading };
  }

  /** A new device has new buffers; those of a lost one are gone with it. */
  private async moveTo(session: Session): Promise<void> {
    if (this.session === session) return;
    this.drop();
    const made = await session.createStaging(this.size);
    session.keep(made);
    [this.session, this.buffers, this.free] = [session, made, [...made]];
    // The stream may have been left meanwhile.
    if (this.closed) this.drop();
    this.checkOpen();
  }

  private async acquire(): Promise<GPUBuffer> {
    while (this.free.length === 0 && !this.closed) await new Promise<void>((wake) => this.waiting.push(wake));
    this.checkOpen();
    return this.free.pop()!;
  }

  private release(session: Session, staging: GPUBuffer): void {
    if (session === this.session) this.free.push(staging);
    this.waiting.shift()?.();
  }

  /** A stream ends while an input has its turn; what is left of that must not use buffers that are gone. */
  private checkOpen(): void {
    if (this.closed) throw new VitcError("disposed", "the stream has ended");
  }

  dispose(): void {
    this.closed = true;
    this.drop();
    for (const wake of this.waiting.splice(0)) wake();
  }

  private drop(): void {
    for (const buffer of this.buffers) {
      this.session?.extras.delete(buffer);
      buffer.destroy();
    }
    this.buffers = [];
  }
}

function iteratorOf(inputs: AsyncIterable<ModelInput> | Iterable<ModelInput>): AsyncIterator<ModelInput> | Iterator<ModelInput> {
  const given: unknown = inputs;
  // A string can be iterated too, and its letters are no inputs.
  if (typeof given === "object" && given !== null) {
    if (Symbol.asyncIterator in inputs) return inputs[Symbol.asyncIterator]();
    if (Symbol.iterator in inputs) return inputs[Symbol.iterator]();
  }
  throw new VitcError("input", `runMany takes an iterable of inputs, for example a list or an async generator, not ${given === null ? "null" : typeof given}`);
}
