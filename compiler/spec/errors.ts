/** One thing wrong with a spec. */
export interface SpecIssue {
  /** The field: `mlp.ratio`, or `spec` for the whole. */
  readonly field: string;
  readonly message: string;
}

/** More issues than this are counted in the message instead of listed. */
export const listedIssues = 20;

/** A spec that cannot be compiled. `issues` lists all that is wrong, each with field, value, what is allowed and the nearest fix. */
export class SpecError extends Error {
  override readonly name = "SpecError";
  constructor(readonly issues: readonly SpecIssue[]) {
    const listed = issues.slice(0, listedIssues).map((issue) => `  - ${line(issue)}`);
    const rest = issues.length > listedIssues ? [`  and ${issues.length - listedIssues} more`] : [];
    super(issues.length === 1 ? line(issues[0]!) : [`${issues.length} problems in the spec`, ...listed, ...rest].join("\n"));
  }
}

const line = (issue: SpecIssue): string => `${issue.field}: ${issue.message}`;

/** How a value is shown in a message: short, on one line, text in quotes. */
export function show(value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (value === undefined) return "nothing";
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  const kind = Array.isArray(value) ? "a list" : "an object";
  let text: string;
  try {
    text = JSON.stringify(value) ?? kind;
  } catch (error) {
    // JSON.stringify goes down level by level, and thousands of levels exhaust the stack.
    text = error instanceof RangeError ? `${kind} too deep to show` : kind;
  }
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** No name of ours is nearly as long: beyond this a text is no misspelling of one, and its distances would take long to compute. */
export const longestName = 40;

/** The candidate nearest to `name` by edit distance, when it is near enough to be what was meant. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > longestName) return undefined;
  const ranked = candidates.map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) })).sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.max(2, Math.floor(name.length / 3)) ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
