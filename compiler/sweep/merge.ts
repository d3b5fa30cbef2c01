/** Joins rows that were measured apart: shards of a sweep, machines, days. */
import { latestRows, StoreError, type StoredRows } from "./store.js";
import type { Row } from "./row.js";

/** A file of rows, read. */
export interface RowsFile extends StoredRows {
  readonly name: string;
}

export interface Merged {
  readonly rows: readonly Row[];
  /** Rows of each adapter, by its key; they stay apart. */
  readonly adapters: ReadonlyMap<string, number>;
  /** Lines that were measured again later, or twice. */
  readonly duplicates: number;
}

/**
 * One row for each variant and adapter.
 * @throws StoreError for rows of different versions of vitc, or of one spec with different plans: they are not of one compiler.
 */
export function mergeRows(files: readonly RowsFile[]): Merged {
  const all = files.flatMap(({ name, rows }) => rows.map((row) => ({ name, row })));
  const [first] = all;
  const other = all.find(({ row: { version } }) => version !== first!.row.version);
  if (first && other) throw new StoreError(`${first.name} has rows of vitc ${first.row.version} and ${other.name} of vitc ${other.row.version}, whose plans differ; measure one of them again, or keep them apart`);
  const plans = new Map<string, { readonly name: string; readonly row: Row }>();
  for (const one of all) {
    const { spec_hash, plan_hash } = one.row;
    if (plan_hash === null) continue;
    const known = plans.get(spec_hash!) ?? one;
    plans.set(spec_hash!, known);
    if (known.row.plan_hash !== plan_hash) throw new StoreError(`${one.row.name} has plan ${known.row.plan_hash} in ${known.name} and plan ${plan_hash} in ${one.name}: they were compiled by different builds of vitc; measure one of them again, or keep them apart`);
  }
  const rows = latestRows(all.map(({ row }) => row));
  const adapters = new Map<string, number>();
  for (const { adapter } of rows) adapters.set(adapter ?? "", (adapters.get(adapter ?? "") ?? 0) + 1);
  return { rows, adapters, duplicates: all.length - rows.length };
}
