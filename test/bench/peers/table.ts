/** The results as rows of JSON and as Markdown. */
import { quantile } from "../../../compiler/measure/statistics.js";
import type { Runtime } from "./runtimes.js";

/** A runtime on a model, as `--json` writes it. Times are null for what did not run or was wrong; `note` then says why. */
export interface Row {
  readonly runtime: string;
  readonly version: string | null;
  readonly adapter: string | null;
  readonly model: string;
  readonly dtype: string;
  readonly batch: number;
  /** From files to a model that can run, device included, library not. */
  readonly load_ms: number | null;
  /** The first run after that. */
  readonly first_ms: number | null;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly runs: number;
  /** Milliseconds of each run after the first, in order. */
  readonly samples: readonly number[];
  /** The largest |output - reference| / (1 + |reference|) over all runs. */
  readonly error: number | null;
  readonly note?: string;
}

/** What happened to a runtime. */
export interface Outcome {
  readonly version?: string;
  readonly adapter?: string;
  readonly load?: number;
  readonly first?: number;
  readonly error?: number;
  readonly samples: readonly number[];
  /** Why it was not timed, or what else to know. */
  readonly notes: readonly string[];
  /** It is out: its samples say nothing. */
  readonly failed: boolean;
}

export function rowOf(runtime: Runtime, { version, adapter, load, first, error, samples, notes, failed }: Outcome, settings: Pick<Row, "model" | "dtype" | "batch">): Row {
  const timed = !failed && samples.length > 0;
  const rounded = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000;
  return {
    runtime: runtime.title,
    version: version ?? null,
    adapter: adapter ?? null,
    ...settings,
    load_ms: load === undefined ? null : rounded(load),
    first_ms: first === undefined ? null : rounded(first),
    p50_ms: timed ? rounded(quantile(samples, 0.5)) : null,
    p95_ms: timed ? rounded(quantile(samples, 0.95)) : null,
    runs: timed ? samples.length : 0,
    samples: timed ? samples.map(rounded) : [],
    error: error ?? null,
    ...(notes.length > 0 && { note: notes.join("; ") }),
  };
}

/** Milliseconds with three digits, none after the point from 100 on. */
const digits = (milliseconds: number | null): string => (milliseconds === null ? "-" : milliseconds >= 100 ? String(Math.round(milliseconds)) : milliseconds.toPrecision(3));

/** A ratio with three digits. */
const ratioText = (ratio: number | undefined): string => (ratio === undefined ? "-" : ratio >= 100 ? String(Math.round(ratio)) : ratio.toPrecision(3));

const headings = ["runtime, ms", "load", "first", "p50", "p95", "runs", "vs vitc"] as const;

/** The median time over another's, of the rounds in which both ran: the machine may have been slower or faster in the others. */
function ratioOf({ samples }: Row, base: Row | undefined): number | undefined {
  const rounds = Math.min(samples.length, base?.samples.length ?? 0);
  return base === undefined || rounds === 0 ? undefined : quantile(samples.slice(0, rounds), 0.5) / quantile(base.samples.slice(0, rounds), 0.5);
}

/** The rows of one model as a table; `runtimes` has the same order. The last column compares with vitc on the same host. */
export function markdown(rows: readonly Row[], runtimes: readonly Runtime[]): string {
  const cells = rows.map((row, i) => {
    const base = rows[runtimes.findIndex(({ baseline, host }) => baseline === true && host === runtimes[i]?.host)];
    return [row.runtime, digits(row.load_ms), digits(row.first_ms), digits(row.p50_ms), digits(row.p95_ms), String(row.runs), ratioText(ratioOf(row, base))];
  });
  const lines = [[...headings], ...cells];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0), 4));
  const line = (texts: readonly string[]): string => `| ${texts.map((text, column) => (column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!))).join(" | ")} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(headings), rule, ...cells.map(line), ...remarks(rows)].join("\n");
}

/** What stands below a table: notes, and who ran where and in which version. */
function remarks(rows: readonly Row[]): string[] {
  const notes = rows.filter(({ note }) => note !== undefined).map(({ runtime, note }) => `- ${runtime}: ${note}`);
  const adapters = new Map<string, string[]>();
  for (const { runtime, version, adapter } of rows) {
    if (adapter !== null) adapters.set(adapter, [...(adapters.get(adapter) ?? []), version === null ? runtime : `${runtime} ${version}`]);
  }
  const places = [...adapters].map(([adapter, who]) => `- on ${adapter}: ${who.join(", ")}`);
  return [...(notes.length > 0 ? ["", ...notes] : []), ...(places.length > 0 ? ["", ...places] : [])];
}
