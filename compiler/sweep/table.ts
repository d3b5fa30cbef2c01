/** All variants of a sweep, with their static columns and what was measured of them before. */
import type { Prediction } from "../measure/calibrate.js";
import { messageOf } from "../../runtime/device.js";
import { makePlan } from "../plan/plan.js";
import { SpecError } from "../spec/errors.js";
import type { ViTSpec } from "../spec/types.js";
import { version } from "../version.js";
import type { StaticColumns, Sweep } from "./define.js";
import { countedColumns, type CountedRow } from "./counted.js";
import type { Predictor } from "./predictor.js";
import { columns, type Row } from "./row.js";
import { StaticColumnsOf } from "./statics.js";
import { latestRows } from "./store.js";
import type { SweepOptions } from "./sweep.js";
import { resolveVariant, specHash, variantsOf, type Variant } from "./variants.js";

/** Code that works long lets others in after so many milliseconds. */
export const breath = 50;

/** A variant that there is a plan of. */
export interface Entry {
  readonly variant: Variant;
  row: Row;
}

/** What can be said of a variant that there is no plan of: one image may be too large, and all else fine. */
function counted(variant: Variant): Partial<CountedRow> {
  try {
    return countedColumns(variant.spec());
  } catch {
    return {};
  }
}

export class Table {
  readonly entries: Entry[] = [];
  readonly axes: readonly string[];
  readonly statics = new StaticColumnsOf();
  failed = 0;
  private readonly needed = new Map<string, number>();
  private readonly known = new Map<string, readonly Row[]>();
  private readonly checked = new Map<string, string>();

  constructor(
    private readonly definition: Sweep,
    private readonly options: SweepOptions,
  ) {
    this.axes = variantsOf(definition, options.shard).axes;
  }

  /** Works out the static columns. Yields the variants that there are none of, with the reason. */
  async *make(): AsyncGenerator<Row, void, void> {
    const { definition, options: { shard, signal, onProgress, predictor } } = this;
    const variants = variantsOf(definition, shard);
    const expected = typeof predictor === "object" ? predictor : undefined;
    let since = performance.now();
    for (let position = 0; position < variants.count; position++) {
      if (performance.now() - since > breath) {
        onProgress?.({ stage: "variants", done: position, total: variants.count, failed: this.failed, detail: "", best: undefined, left: undefined });
        await new Promise((turn) => setImmediate(turn));
        since = performance.now();
      }
      signal?.throwIfAborted();
      const variant = variants.at(position);
      let row: Row | undefined;
      try {
        row = this.rowOf(variant, expected);
      } catch (error) {
        this.failed++;
        yield { ...emptyRow, ...variant.axes, ...counted(variant), name: variant.name, failed: reasonOf(error) };
        continue;
      }
      if (row !== undefined) this.entries.push({ variant, row });
    }
  }

  private rowOf(variant: Variant, predictor: Predictor | undefined): Row | undefined {
    const { where } = this.definition;
    const spec = variant.spec();
    const resolved = resolveVariant(spec);
    const { columns, plan } = this.statics.of(resolved);
    if (where !== undefined && !wanted(where, spec, columns)) return undefined;
    for (const [limit, value] of Object.entries(plan.limits)) this.needed.set(limit, Math.max(value, this.needed.get(limit) ?? 0));
    const row: Row = { ...emptyRow, ...variant.axes, ...columns, name: resolved.name, dtype: resolved.dtype[0]!, batch: resolved.batch[0]!, spec_hash: specHash(resolved) };
    return predictor ? { ...row, ...predicted(predictor.predict(plan)) } : row;
  }

  /** Takes in what was measured before, by this version. Of rows of one thing the latest counts. */
  know(rows: readonly Row[]): void {
    const own = rows.filter((row) => row.version === version);
    if (own.length < rows.length) this.options.onNotice?.(`${this.options.rows!}: ${rows.length - own.length} rows are of another version of vitc and are not used.`);
    for (const row of own) this.known.set(row.spec_hash!, latestRows([...(this.known.get(row.spec_hash!) ?? []), row]));
  }

  /** What is known of a variant, with the static columns of now: a row an adapter, or the static one. */
  stored(entry: Entry): readonly Row[] {
    const rows = this.measured(entry);
    return rows.length > 0 ? rows : [entry.row];
  }

  /** Rows of a variant that were measured with the plan that it has now. */
  measured({ variant, row }: Entry): readonly Row[] {
    return (this.known.get(row.spec_hash!) ?? []).flatMap((known): Row[] => {
      if (known.plan_hash !== null && known.plan_hash !== this.planHash(variant, row)) return [];
      const measured = Object.fromEntries(Object.entries(known).filter(([name, value]) => kept.has(name) && value !== null));
      return [{ ...row, ...measured }];
    });
  }

  /** What is done with a loaded model, besides timing it. */
  get definitionOf(): Pick<Sweep, "metric" | "weights"> {
    return this.definition;
  }

  /** The largest of each limit that a variant needs beyond WebGPU's defaults. */
  limits(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.needed);
  }

  private planHash({ spec }: Variant, { spec_hash }: Row): string {
    const hash = this.checked.get(spec_hash!) ?? makePlan(resolveVariant(spec())).plan.fingerprint;
    this.checked.set(spec_hash!, hash);
    return hash;
  }
}

/** Columns of a stored row that a sweep cannot work out anew. */
const kept: ReadonlySet<string> = new Set([...columns.filter(({ kind }) => kind === "measured" || kind === "metric" || kind === "predicted").map(({ name }) => name), "adapter", "robust", "plan_hash", "measured_at", "failed"]);

const emptyRow: Row = { ...(Object.fromEntries(columns.map(({ name }) => [name, null])) as unknown as Row), version };

function wanted(where: NonNullable<Sweep["where"]>, spec: ViTSpec, columns: StaticColumns): boolean {
  const answer: unknown = where(spec, columns);
  if (typeof answer !== "boolean") throw new SpecError([{ field: "where", message: `returned ${typeof answer}, and true or false is wanted` }]);
  return answer;
}

export const predicted = ({ ms, low, high }: Prediction): Pick<Row, "predicted_ms" | "predicted_low_ms" | "predicted_high_ms"> => ({ predicted_ms: ms, predicted_low_ms: low, predicted_high_ms: high });

/** In one line. */
const reasonOf = (error: unknown): string => messageOf(error).replaceAll(/\s*\n\s*/g, "; ");
