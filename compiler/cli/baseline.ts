/** What `vitc bench --baseline` compares with: which case of the baseline is meant by each case of the run, and what became of it. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { DType } from "../../runtime/plan.js";
import { compareTimes, fewestSamples } from "../measure/verdict.js";
import { UserError } from "./context.js";
import { plural, some } from "./format.js";
import { benchShape, type BenchReport } from "./json-bench.js";

export interface Baseline {
  /** As the user named it. */
  readonly path: string;
  readonly report: BenchReport;
}

/** What tells cases apart, without their times. */
export interface CaseId {
  /** The package's folder, as it was given. */
  readonly package: string;
  readonly name: string;
  readonly fingerprint: string;
  readonly dtype: DType;
  readonly robust: boolean;
  readonly batch: number;
}

type BaselineCase = BenchReport["cases"][number];
type Comparison = NonNullable<BenchReport["comparison"]>;

/** @throws UserError when the file cannot be read or is no report of `vitc bench --json`. */
export async function readBaseline(path: string, cwd: string): Promise<Baseline> {
  const text = await readFile(resolve(cwd, path), "utf8").catch((cause: unknown) => {
    throw new UserError(`--baseline ${path} cannot be read (${cause instanceof Error ? cause.message : String(cause)}); make one with: npx vitc bench PACKAGE --json > ${path}`, { cause });
  });
  try {
    return { path, report: benchShape.parse(JSON.parse(text)) };
  } catch (cause) {
    throw new UserError(`--baseline ${path} is not what this version's \`vitc bench --json\` prints; make it again with: npx vitc bench PACKAGE --json > ${path}`, { cause });
  }
}

/** @throws UserError when the baseline was measured on another adapter: that would compare machines and not packages. */
export function expectAdapter({ path, report: { adapter } }: Baseline, now: string): void {
  if (adapter.name !== now) throw new UserError(`--baseline ${path} was measured on ${adapter.name}, and this is ${now}: measure the baseline on this machine, or choose its adapter with --adapter`);
}

/**
 * Looks at what is to be measured before it is: a comparison that cannot find anything slower is refused.
 * @throws UserError when the baseline has none of the cases, or one of them with too few runs.
 */
export function expectComparable(baseline: Baseline, wanted: readonly CaseId[], cwd: string): void {
  const { path, report } = baseline;
  const { of } = match(baseline, wanted, cwd);
  const known = wanted.flatMap((id) => of(id).found ?? []);
  if (known.length === 0) {
    throw new UserError(`--baseline ${path} has nothing to compare with: to be measured are ${some(wanted.map((id) => `${id.package}, ${caseText(id)}${of(id).candidates > 1 ? " (ambiguous there)" : ""}`), 4)}; it has ${report.cases.length === 0 ? "no case" : some(report.cases.map((id) => `${id.package}, ${caseText(id)}`), 4)}`);
  }
  const few = known.find(({ samples }) => samples.length < fewestSamples);
  if (few) throw new UserError(`--baseline ${path} has ${plural(few.samples.length, "run")} of ${few.package}, ${caseText(few)}, and a change is told from noise with ${fewestSamples} at least: measure it again with: npx vitc bench PACKAGE --runs 20 --json > ${path}`);
}

/** Whether what was measured became slower; it also fails when nothing could be compared. */
export function compare(baseline: Baseline, now: Omit<BenchReport, "comparison">, allowed: number, cwd: string): Comparison {
  const before = baseline.report;
  const reliable = before.peaks.compute.reliable && now.peaks.compute.reliable;
  const machine = reliable ? before.peaks.compute.rate / now.peaks.compute.rate : 1;
  const { of, unused } = match(baseline, now.cases, cwd);
  const cases = now.cases.map((measured): Comparison["cases"][number] => {
    const { package: folder, name, dtype, robust, batch, samples } = measured;
    const row = { package: folder, name, dtype, robust, batch };
    const { found, candidates } = of(measured);
    if (found === undefined && candidates > 1) return { ...row, verdict: "ambiguous", ratio: null, interval: null, reason: `the baseline has ${candidates} such cases, none of this folder or of this plan alone` };
    if (found === undefined || found.samples.length === 0) return { ...row, verdict: "new", ratio: null, interval: null, reason: "the baseline has no such case" };
    const { kind, ratio, interval, reason } = compareTimes({ before: found.samples, after: samples, allowed, machine });
    return { ...row, verdict: kind, ratio, interval, reason };
  });
  const compared = cases.filter(({ ratio }) => ratio !== null).length;
  const missing = unused.map(({ package: folder, name, dtype, robust, batch }) => ({ package: folder, name, dtype, robust, batch }));
  return { baseline: baseline.path, allowed, compared, failed: compared === 0 || cases.some(({ verdict }) => verdict === "slower"), cases, missing };
}

/** The comparison for a person. */
export function comparisonText({ baseline, compared, cases, missing }: Comparison): string {
  return [
    `against ${baseline}`,
    ...cases.map((id) => `  ${id.package}, ${caseText(id)}: ${id.verdict === "slower" ? "SLOWER" : id.verdict}, ${id.reason}`),
    ...missing.map((id) => `  ${id.package}, ${caseText(id)}: not measured now, the baseline has it`),
    ...(compared === 0 ? ["FAILED: no case was compared"] : []),
  ].join("\n");
}

const caseText = ({ dtype, robust, batch }: Pick<CaseId, "dtype" | "robust" | "batch">): string => `${dtype}${robust ? ", every index checked" : ""}, batch ${batch}`;

interface Match {
  readonly found?: BaselineCase;
  /** How many cases of the baseline may be meant. */
  readonly candidates: number;
}

/**
 * The baseline's case of each case: of the models of that name the one of the same folder, or else of the same plan, or else the only one.
 * What lies in a folder that is measured now is nobody else's.
 */
function match({ report }: Baseline, wanted: readonly CaseId[], cwd: string): { readonly of: (id: CaseId) => Match; readonly unused: readonly BaselineCase[] } {
  const like = (a: CaseId, b: CaseId): boolean => a.name === b.name && a.dtype === b.dtype && a.robust === b.robust && a.batch === b.batch;
  const inFolder = (a: CaseId, b: CaseId): boolean => like(a, b) && resolve(cwd, a.package) === resolve(cwd, b.package);
  const free = report.cases.filter((known) => !wanted.some((id) => inFolder(known, id)));
  const of = (id: CaseId): Match => {
    const own = report.cases.find((known) => inFolder(known, id));
    if (own) return { found: own, candidates: 1 };
    const candidates = free.filter((known) => like(known, id));
    const same = candidates.filter(({ fingerprint }) => fingerprint === id.fingerprint);
    const [only] = same.length === 1 ? same : candidates.length === 1 ? candidates : [];
    return { ...(only && { found: only }), candidates: candidates.length };
  };
  const used = new Set(wanted.map((id) => of(id).found));
  return { of, unused: report.cases.filter((known) => !used.has(known)) };
}
