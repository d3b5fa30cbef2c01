/** Weights of either kind, a file of tensors or packed, so that loading need not tell them apart. The code that reads a kind comes with it. */

import type { Variant } from "./definition.js";
import type { Reference } from "./packed.js";
import type { Packed } from "./recipe.js";
import { isJson, readExactly } from "./source.js";
import type { UrlOptions } from "./url.js";
import type { Variants } from "./variants.js";
import { toSource, type WeightsInput } from "./weights-input.js";
import type { CheckOptions, LoadedWeights, LoadOptions } from "./weights.js";

export interface UploadOptions extends Omit<LoadOptions, "upload"> {
  readonly upload: (buffer: number, offset: number, data: Packed | Uint8Array<ArrayBuffer>) => void | Promise<void>;
}

/** Loads weights that were found to fit. */
export type UploadWeights = (options: UploadOptions) => Promise<Pick<LoadedWeights, "ignored">>;

/** Weights of either kind, for one or more variants of a model. */
export interface VariantWeights {
  /** Those that were wanted and that the weights are there for. */
  readonly variants: Variants;
  /** What a user should know of that. */
  readonly notice: string | undefined;
  /** What a run should give; packed weights may tell. */
  readonly reference?: Reference | undefined;
  /**
   * Checks that the weights fit a variant. No value is read before the result is called.
   * @throws WeightsError with everything that is wrong with them
   */
  open(variant: Variant): Promise<UploadWeights>;
  /** Stops whatever is still being read, a download above all. */
  close(): void;
}

/**
 * Finds weights, packed or not.
 * @throws WeightsError when there are none that can be read, or when they are packed for other dtypes; the signal's reason when it is aborted
 */
export async function openVariantWeights(wanted: Variants, input: WeightsInput, options: CheckOptions & UrlOptions): Promise<VariantWeights> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const close = (): void => stop.abort();
  try {
    signal.throwIfAborted();
    const source = await toSource(input, { ...options, signal });
    const packed = isJson(await readExactly(source, 0, Math.min(source.size, 8), signal)) ? await (await import("./packed.js")).openPacked(source, wanted, signal) : undefined;
    if (packed !== undefined) return { ...packed, close };
    const { openWeights, uploadWeights } = await import("./weights.js");
    const open: VariantWeights["open"] = async ({ recipe }) => {
      const opened = await openWeights(recipe, source, { ...options, signal });
      return (uploadOptions) => uploadWeights(opened, uploadOptions);
    };
    return { variants: wanted, notice: undefined, open, close };
  } catch (error) {
    close();
    options.signal?.throwIfAborted();
    throw error;
  }
}
