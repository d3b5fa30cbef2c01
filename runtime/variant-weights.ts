/** Weights of either kind, a file of tensors or packed, so that loading need not tell them apart. The code that reads a kind comes with it. */

import type { Variant } from "./definition.js";
import type { Reference } from "./packed.js";
import type { Packed } from "./recipe.js";
import { isJson, readExactly, unreadable, withSignal, type WeightsSource } from "./source.js";
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
 * @param options `integrity`: see `LoadOptions` of a model
 * @throws WeightsError when there are none that can be read, when they are packed for other dtypes, or when a list has another hash; VitcError (input)
 * for what is no hash; the signal's reason when it is aborted
 */
export async function openVariantWeights(wanted: Variants, input: WeightsInput, options: CheckOptions & UrlOptions & { readonly integrity?: string | undefined }): Promise<VariantWeights> {
  const stop = new AbortController();
  const signal = withSignal(options.signal, stop);
  const close = (): void => stop.abort();
  let given: WeightsSource | undefined;
  /** What is kept may be what is wrong: the next load downloads it again. */
  const refuse = async (error: unknown): Promise<never> => {
    if (given?.forget) await (await import("./resume.js")).forgetWrong(error, given);
    throw error;
  };
  try {
    signal.throwIfAborted();
    const integrity = options.integrity === undefined ? undefined : await import("./integrity.js");
    const expected = integrity?.parseIntegrity(options.integrity);
    let source = (given = await toSource(input, { ...options, signal }));
    if (isJson(await readExactly(source, 0, Math.min(source.size, 8), signal))) {
      if (expected) source = await integrity!.verifiedList(source, expected, signal);
      const packed = await (await import("./packed.js")).openPacked(source, wanted, signal);
      if (packed !== undefined) return { ...packed, open: (variant) => packed.open(variant).catch(refuse), close };
      if (expected) throw unreadable(source.name, "it lists weight files, and a hash of the list says nothing of them: pack them (npx vitc pack PACKAGE --weights FILE), and give the hash of weights.json");
    }
    const { openWeights, uploadWeights } = await import("./weights.js");
    const open: VariantWeights["open"] = async ({ recipe }) => {
      const checked = expected && integrity!.verified(source, expected);
      const opened = await openWeights(recipe, checked?.source ?? source, { ...options, signal }).catch(async (error: unknown) => {
        await checked?.misfit(error, signal);
        return refuse(error);
      });
      return async (uploadOptions) => {
        const loaded = await uploadWeights(opened, uploadOptions);
        await checked?.finish(signal);
        return loaded;
      };
    };
    return { variants: wanted, notice: undefined, open, close };
  } catch (error) {
    close();
    options.signal?.throwIfAborted();
    return refuse(error);
  }
}
