/** Another engine for a model whose device is lost: another device, the same kernels, the same weights from where they came from. */
import type { LoadOptions } from "./definition.js";
import { messageOf } from "./device.js";
import { DeviceLostError, VitcError } from "./errors.js";
import type { Engine } from "./load.js";
import type { Tuned } from "./plan.js";
import type { ToldOptions } from "./runner.js";
import { abortable } from "./source.js";

interface RebuildOptions {
  /** Choices of kernels that were asked for, and those among them that self-tests made; they outlive a device. */
  readonly choices: Tuned;
  readonly found: Tuned;
  /** Tries before, and how many there may be in all. */
  readonly before: number;
  readonly most: number;
  /** Aborted when the model is disposed. */
  readonly signal: AbortSignal;
}

/**
 * Makes an engine in the place of one that is lost, by `open`.
 * @throws DeviceLostError when no try is left; the signal's reason
 */
export async function rebuildEngine(lost: Engine, open: (options: ToldOptions, device: GPUDevice | undefined) => Promise<Engine>, options: ToldOptions, { choices, found, before, most, signal }: RebuildOptions): Promise<{ readonly engine: Engine; readonly tries: number }> {
  const { name } = lost.variant.plan;
  const why = lost.watch.lost ?? "";
  options.onNotice(`the GPU device was lost (${why}): the model is made again on another, and its weights are read again`);
  const { onProgress: _, ...quiet } = options;
  for (let tries = before + 1; ; tries++) {
    try {
      signal.throwIfAborted();
      const device = await freshDevice(options, signal);
      const engine = await open({ ...quiet, tuned: [choices, ...(options.tuned ?? [])], signal }, device);
      // What was asked for can be taken back: what is chosen then goes by self-tests alone.
      const { chooseOptions } = engine;
      const tuned = chooseOptions.tuned?.map((table) => (table === choices ? found : table));
      return { engine: { ...engine, chooseOptions: { ...chooseOptions, tuned } }, tries };
    } catch (cause) {
      signal.throwIfAborted();
      if (tries >= most) throw new DeviceLostError(`The GPU device of ${name} was lost (${why}), and the model could not be put on another: ${messageOf(cause)}`, { cause });
    }
  }
}

/**
 * For a new engine: a device of the user's, or undefined where one is to be requested.
 * @throws DeviceLostError when the user gives none; the signal's reason, as soon as it is aborted
 */
export async function freshDevice({ device, onDeviceLost }: LoadOptions, signal: AbortSignal | undefined): Promise<GPUDevice | undefined> {
  if (onDeviceLost === undefined || device === undefined) return undefined;
  const asked: Promise<unknown> = Promise.resolve().then(onDeviceLost).catch((cause: unknown) => {
    throw new DeviceLostError(`onDeviceLost gave no device: ${messageOf(cause)}`, { cause });
  });
  const fresh = await abortable(asked, signal);
  if (typeof fresh !== "object" || fresh === null || !("queue" in fresh)) throw new VitcError("input", `onDeviceLost gave ${fresh === null ? "null" : typeof fresh}; it gives a new GPUDevice`);
  return fresh as GPUDevice;
}
