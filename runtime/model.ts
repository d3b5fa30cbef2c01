/// <reference lib="esnext.disposable" preserve="true" />
import type { Chosen } from "./choose.js";
import type { Prediction } from "./classify.js";
import type { LoadOptions, ModelDefinition } from "./definition.js";
import type { DeviceOutputs, EncodeIO } from "./device-outputs.js";
import type { AdapterInfo } from "./device.js";
import { VitcError } from "./errors.js";
import { checkAlive, checkLoad, type Engine } from "./load.js";
import type { DType, Plan } from "./plan.js";
import type { ProfileOptions, RunProfile } from "./profile.js";
import type { RunManyOptions } from "./run-many.js";
import { run } from "./batches.js";
import { Runner } from "./runner.js";
import type { SelfTestReport } from "./self-test.js";
import { elements, type ModelInput, type Tensor } from "./tensor.js";

export interface RunOptions {
  /** Stops waiting at once: the run rejects with the signal's reason, and what it had not put to the GPU yet is left out. */
  readonly signal?: AbortSignal;
}

export interface ClassifyOptions extends RunOptions {
  /** How many classes an image gets. Default: 5. More than there are gives all. */
  readonly top?: number;
}

/** A model can stand in a `using` declaration. (Said by an interface because the declaration of a computed method is emitted twice.) */
// eslint-disable-next-line @typescript-eslint/no-unused-vars -- an interface that merges with a class must repeat its type parameters
export interface Model<Outputs extends object, Label extends string | undefined = never> extends Disposable {}

/** A model on a device, ready to run. `Label` is what its classes are called, `undefined` for classes without names, `never` for none. */
export class Model<Outputs extends object, Label extends string | undefined = never> {
  private constructor(private readonly runner: Runner) {}

  /** How matrices are stored. */
  get dtype(): DType {
    return this.runner.plan.dtype;
  }

  /** How each routine of the plan is done on this adapter, and what decided it, by the routine's id. */
  get routines(): ReadonlyMap<string, Chosen> {
    return this.runner.engine.chosen;
  }

  /**
   * Does routines in other ways, given by name; the others as load would choose them. Results stay the same up to rounding. Waits for the
   * runs before it.
   * @throws VitcError (input) for a routine or choice that the plan does not have or that this adapter cannot run.
   */
  async choose(choices: Readonly<Record<string, string>>): Promise<void> {
    this.runner.checkUsable();
    const { checkChoices, chooseBy } = await import("./choose-by.js");
    checkChoices(this.runner.plan, choices);
    // What is wrong is said before anything is waited for.
    chooseBy(this.runner.engine, choices);
    return this.runner.choose(choices, (engine) => chooseBy(engine, choices));
  }

  /** The adapter that the model runs on. */
  get adapter(): AdapterInfo {
    return this.runner.engine.opened.adapter;
  }

  /** The device that the model runs on. One that the model requested is another after it was lost. */
  get device(): GPUDevice {
    return this.runner.engine.opened.device;
  }

  /** Class names, one a logit; empty if the spec has none. */
  get labels(): readonly string[] {
    return this.runner.plan.labels;
  }

  /** The output that one wants first, and whether it holds a score for each class. */
  get main(): Plan["main"] {
    return this.runner.plan.main;
  }

  /** Tensors of the weight file that the model does not use; not empty only with `allowExtra`. */
  get ignored(): readonly string[] {
    return this.runner.engine.ignored;
  }

  /** Bytes of GPU memory that the model holds. */
  get gpuBytes(): number {
    return this.runner.engine.session.bytes;
  }

  /**
   * Runs 1 to n images and returns every output, with `shape` [n, ...]. Images in memory are taken when it is called, so they may change right
   * after; those on the device or in the page are to be left as they are until it is settled. Calls may overlap: they run in the order they were
   * made; image files are decoded while other calls run. A run during which a device is lost is run again on another, see `LoadOptions`.
   * @throws InputError if the images do not fit or cannot be decoded; DeviceLostError if the GPU went away; VitcError after `dispose`.
   */
  async run(input: ModelInput, options?: RunOptions | null): Promise<Outputs> {
    // The generated package states Outputs from the same plan.
    return (await this.inTurn(input, options, (engine, taken, signal) => run(engine, taken, signal))) as Outputs;
  }

  /**
   * Runs images as `run` does, and says for each which classes it shows, the most probable first: softmax over the logits, of equal ones the
   * lower index first.
   * @throws InputError as `run` does, for a `top` that is no whole number of at least 1, and for logits that are not finite.
   */
  async classify(this: [Label] extends [never] ? never : Model<Outputs, Label>, input: ModelInput, options?: ClassifyOptions | null): Promise<readonly (readonly Prediction<Label>[])[]> {
    return (this as Model<Outputs, Label>).predict(input, options);
  }

  private async predict(input: ModelInput, options: ClassifyOptions | null | undefined): Promise<readonly (readonly Prediction<Label>[])[]> {
    const { main, labels } = this.runner.plan;
    if (!main.classes) throw new VitcError("input", `${this.runner.plan.name} has no classes; run gives its outputs`);
    const { checkTop, topClasses } = await import("./classify.js");
    const top = checkTop(options?.top ?? 5);
    const logits = ((await this.run(input, options)) as Readonly<Record<string, Tensor>>)[main.name]!;
    const [images, width = 1] = logits.shape;
    return Array.from({ length: images }, (_, i) => topClasses(logits.subarray(i * width, (i + 1) * width), labels as readonly Label[], top));
  }

  /**
   * Runs a stream of inputs, each as `run` would, and yields their outputs in the same order. Up to `ahead` inputs beyond the one that is waited
   * for are decoded, uploaded and computed meanwhile, and no more are taken from the source: what is in memory does not grow with the stream.
   * Leaving the loop ends the source as well. An error of the source, or of an input, ends the stream in its place.
   * @throws what `run` throws; VitcError (input) for what cannot be iterated and for an `ahead` that is no whole number from 0 to 16.
   */
  async *runMany(inputs: AsyncIterable<ModelInput> | Iterable<ModelInput>, options?: RunManyOptions | null): AsyncGenerator<Outputs, void, undefined> {
    this.runner.checkUsable();
    const { runMany } = await import("./run-many.js");
    yield* runMany(this.runner, inputs, options ?? {}) as AsyncGenerator<Outputs, void, undefined>;
  }

  /**
   * Runs images as `run` does, and leaves the outputs on the device: they are never read back. It is settled when the work is in the queue of
   * `device`, where commands of yours come behind it. Each output is a buffer of its own that stays as it is, whatever the model does, until you
   * dispose it; those of a device that is lost are lost with it.
   * @throws as `run` does; OutOfMemoryError when there is no room for the outputs.
   */
  async runOnDevice(input: ModelInput, options?: RunOptions | null): Promise<DeviceOutputs<Outputs>> {
    const { runOnDevice } = await import("./device-outputs.js");
    return (await this.inTurn(input, options, async (engine, taken) => runOnDevice(engine, await taken.get()))) as DeviceOutputs<Outputs>;
  }

  /**
   * Puts a run into a command encoder of yours, outside of passes: images are copied from your buffer, outputs to your buffers, and nothing is
   * submitted or waited for. It takes no turn: your submit decides when it runs, and other runs of the model may come before or after, whole. It
   * is settled as soon as its code is there, so `await` it before `encoder.finish()`. Images are f32 values that are preprocessed already. On a
   * software adapter such a run may take longer than a browser lets one submit take.
   * @throws InputError for buffers that lack a usage or are too small, and for outputs that the model does not have; VitcError after `dispose`;
   *   DeviceLostError, since an encoder is of one device.
   */
  async encode(encoder: GPUCommandEncoder, io: EncodeIO<keyof Outputs & string>): Promise<void> {
    const { encodeRun } = await import("./device-outputs.js");
    this.runner.checkUsable();
    checkAlive(this.runner.plan, this.runner.engine.watch);
    encodeRun(this.runner.engine, encoder, io);
  }

  /**
   * Runs every profile once on an image of zeros. The driver does the last of its work with the first run, which then takes longer than those
   * after it.
   */
  async warmup(options?: RunOptions | null): Promise<void> {
    this.runner.checkUsable();
    const signal = options?.signal;
    await this.runner.enqueue(async ({ session, variant: { plan } }) => {
      for (const { batch } of plan.programs.infer) {
        signal?.throwIfAborted();
        await session.run(batch, new Float32Array(batch * elements(plan.input.shape)), () => undefined);
      }
    }, signal);
  }

  /**
   * Tests the kernels on this device, of every batch: one dispatch of each routine, three times, on inputs made from a seed, against what the
   * compiler computed in f64. A wrong one is named (the first of `failures` is the first of a run), and done in another way from then on, if one is right; notices
   * say so. Then what prepares frames, canvases and textures, which are refused where it is wrong, and whole runs, if packed weights say what they give.
   * What was not tested is in `untested`. Where `passed` is false do not use the results; another dtype may be right: `load({ dtype: "f32" })`.
   * @throws VitcError (input) for packages that were compiled without; DeviceLostError; the signal's reason.
   */
  async selfTest(options?: RunOptions | null): Promise<SelfTestReport> {
    this.runner.checkUsable();
    return this.runner.selfTest(options?.signal);
  }

  /**
   * Times each dispatch of a run, in its turn: the GPU's clock where the device has `timestamp-query` (a device of yours that was requested with
   * it: models ask for none), else the wall clock around each dispatch alone. Beside it stands what the compiler's cost model expects.
   * @throws VitcError (input) for runs and batches that it cannot do; DeviceLostError; the signal's reason.
   */
  async profile(options?: ProfileOptions | null): Promise<RunProfile> {
    this.runner.checkUsable();
    const { profileRun } = await import("./profile.js");
    return this.runner.enqueue((engine) => profileRun(engine, options ?? {}), options?.signal);
  }

  /** Takes images now, and does something with them when those before are done. */
  private async inTurn<Result>(input: ModelInput, options: RunOptions | null | undefined, work: (engine: Engine, taken: ReturnType<Runner["take"]>, signal: AbortSignal | undefined) => Promise<Result>): Promise<Result> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    this.runner.checkUsable();
    const taken = this.runner.take(input);
    return this.runner.enqueue((engine) => work(engine, taken, signal), signal, () => taken.release());
  }

  /** Frees the GPU memory (and the device, unless it is yours). Runs under way fail: the model was disposed. */
  dispose(): void {
    this.runner.dispose();
  }

  /** Used by generated packages; see their `load`. */
  static async load<Outputs extends object, Label extends string | undefined = never>(definition: ModelDefinition, options: LoadOptions): Promise<Model<Outputs, Label>> {
    checkLoad(definition, options);
    const { name } = definition.variants[0].plan;
    return new Model<Outputs, Label>(await Runner.open(definition, options, options.onNotice ?? ((text) => console.warn(`${name}: ${text}`))));
  }
}

Model.prototype[Symbol.dispose] = function (this: Model<object>): void {
  this.dispose();
};

export { abi, type LoadOptions, type ModelDefinition, type Platform, type Progress, type Variant } from "./definition.js";
export type { Tensor };
