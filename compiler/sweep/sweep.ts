/** A sweep from its definition to its rows: static columns of all variants, then measurements of as many as there is time for. */
import type { Sweep } from "./define.js";
import type { Predictor, PredictorContext } from "./predictor.js";
import type { Row } from "./row.js";
import { Store } from "./store.js";
import { Table } from "./table.js";
import type { Shard } from "./variants.js";

export interface SweepOptions {
  /** Measures on this device; a function can give another one when it is lost. The device stays yours. */
  readonly device?: GPUDevice | (() => Promise<GPUDevice>) | undefined;
  /** Measures on an adapter that is found here (Node), instead of `device`. Without either rows are static. */
  readonly adapter?: "auto" | "gpu" | "software" | undefined;
  /** A file of rows: what it holds is not measured again, and what is measured is appended to it. */
  readonly rows?: string | undefined;
  readonly shard?: Shard | undefined;
  /** Milliseconds after which nothing more is measured. Default: all is measured. */
  readonly budget?: number | undefined;
  /** Runs of each variant. Default: as many as take `seconds` (default 1), from 5 to 100. */
  readonly runs?: number | undefined;
  readonly seconds?: number | undefined;
  /** Whether the driver checks every index, on a device that is requested here. */
  readonly robust?: boolean | undefined;
  /** Variants of up to so many GMACs are held against the f64 interpreter. Default 0.05, which takes it half a second. */
  readonly checkedGmacs?: number | undefined;
  /** Measures again what has failed before. */
  readonly retryFailed?: boolean | undefined;
  /** How times are predicted, made once the device is there. Default: by a probe of the device, then fitted to what was measured, and without a device not at all. */
  readonly predictor?: Predictor | ((context: PredictorContext) => Predictor | Promise<Predictor>) | undefined;
  readonly onNotice?: ((notice: string) => void) | undefined;
  readonly onProgress?: ((progress: SweepProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SweepProgress {
  readonly stage: "variants" | "measuring";
  /** Variants that are through, of those to go through, and how many of them have failed. */
  readonly done: number;
  readonly total: number;
  readonly failed: number;
  /** What is being done now. */
  readonly detail: string;
  /** The fastest so far. */
  readonly best: Row | undefined;
  /** Milliseconds that are left, where that can be told. */
  readonly left: number | undefined;
}

/**
 * The rows of a sweep. Without a device each has its static columns, and what `rows` holds of it (one row an adapter). With one, variants are
 * measured, the most informative first, and each row comes when it is known; what there was no time for comes last, unmeasured.
 *
 *   for await (const row of sweep(definition, { device })) console.log(row.name, row.p50_ms);
 *
 * @throws AdapterError; StoreError; DeviceLostError when the device is lost and cannot be had again; the signal's reason once it is aborted,
 * after the rows under way have been yielded
 */
export async function* sweep(definition: Sweep, options: SweepOptions = {}): AsyncGenerator<Row, void, void> {
  const { signal } = options;
  const store = options.rows === undefined ? undefined : Store.open(options.rows);
  try {
    const table = new Table(definition, options);
    yield* table.make();
    const stored = store?.take();
    if (stored && stored.torn.length > 0) options.onNotice?.(`${store!.path}: line ${stored.torn.slice(0, 5).join(", ")}${stored.torn.length > 5 ? ` and ${stored.torn.length - 5} more` : ""} is no row (torn by a crash, or a full disk) and is skipped.`);
    table.know(stored?.rows ?? []);
    if (options.device === undefined && options.adapter === undefined) {
      for (const entry of table.entries) yield* table.stored(entry);
      return;
    }
    // Whoever declares a sweep, or wants its table, need not wait for what runs models.
    const { Measuring } = await import("./measuring.js");
    yield* new Measuring(table, store, options).all();
    signal?.throwIfAborted();
  } finally {
    store?.close();
  }
}
