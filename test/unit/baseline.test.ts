import * as assert from "uvu/assert";
import { compare, comparisonText, expectComparable, type Baseline } from "../../compiler/cli/baseline.js";
import type { BenchReport } from "../../compiler/cli/json-bench.js";
import { suite } from "../tools/suite.js";

const test = suite("what bench --baseline compares");

type Case = BenchReport["cases"][number];

const peak = { rate: 1e9, doubling: 2, reliable: true };
const timed = (folder: string, time: number, changes: Partial<Case> = {}): Case => ({
  ...{ package: folder, name: "vit", fingerprint: folder, dtype: "f32", robust: false, batch: 1 },
  ...{ milliseconds: { count: 6, min: time, p50: time, p95: time, mean: time }, imagesPerSecond: 1, flops: 1, bytes: 1, flopRate: 1, byteRate: 1, computeShare: 1, memoryShare: 1 },
  samples: Array.from({ length: 6 }, (_, i) => time + i / 1000),
  ...changes,
});
const reportOf = (...cases: Case[]): Omit<BenchReport, "comparison"> => ({ vitc: "0", adapter: { name: "a", software: true }, notices: [], startMilliseconds: 0, peaks: { compute: peak, memory: peak, memoryProbeBytes: 1, dispatchMicroseconds: 1 }, loads: [], cases, unavailable: [] });
const baselineOf = (...cases: Case[]): Baseline => ({ path: "before.json", report: { ...reportOf(...cases), comparison: null } });
const compared = (before: readonly Case[], now: readonly Case[]) => compare(baselineOf(...before), reportOf(...now), 0.1, "/");
const verdicts = (before: readonly Case[], now: readonly Case[]) => compared(before, now).cases.map(({ package: folder, verdict }) => `${folder}: ${verdict}`);

test("of models of one name each is compared with the one of its folder, in whatever order", () => {
  const before = [timed("a", 1), timed("b", 10)];
  assert.equal(verdicts(before, [timed("b", 10), timed("./a/", 1)]), ["b: same", "./a/: same"]);
  assert.equal(verdicts(before, [timed("a", 10), timed("b", 10)]), ["a: slower", "b: same"]);
  // A new plan in the folder is what is looked for; a folder that was not measured before has the other's time only if it is not taken.
  assert.equal(verdicts([timed("a", 1)], [timed("a", 1, { fingerprint: "new" }), timed("c", 9)]), ["a: same", "c: new"]);
});

test("elsewhere the same plan is meant, or else the only model of the name, and several are ambiguous", () => {
  const before = [timed("a", 1), timed("b", 10)];
  assert.equal(verdicts(before, [timed("moved", 10, { fingerprint: "b" })]), ["moved: same"]);
  assert.equal(verdicts([timed("a", 1)], [timed("c", 9)]), ["c: slower"]);
  const { failed, cases: [only] } = compared(before, [timed("c", 10)]);
  assert.equal([only!.verdict, only!.ratio, failed], ["ambiguous", null, true]);
  assert.match(only!.reason, /has 2 such cases/);
  for (const changes of [{ name: "other" }, { dtype: "f16" }, { batch: 2 }, { robust: true }] as const) assert.equal(verdicts([timed("a", 1)], [timed("a", 1, changes)]), ["a: new"]);
});

test("where nothing is compared it fails and says so, and cases that were not measured are named", () => {
  const none = compared([timed("a", 1)], [timed("a", 1, { batch: 2 })]);
  assert.equal([none.failed, none.compared], [true, 0]);
  assert.match(comparisonText(none), /a, f32, batch 2: new.*\n {2}a, f32, batch 1: not measured now.*\nFAILED: no case was compared$/);
  const part = compared([timed("a", 1), timed("a", 1, { batch: 8 })], [timed("a", 1)]);
  assert.equal([part.failed, part.compared, part.missing.map(({ batch }) => batch)], [false, 1, [8]]);
  assert.match(comparisonText(part), /a, f32, batch 8: not measured now/);
});

test("a baseline that can show nothing is refused before anything is measured", () => {
  assert.throws(() => expectComparable(baselineOf(timed("a", 1)), [timed("a", 1, { robust: true })], "/"), /^--baseline before\.json has nothing to compare with: to be measured are a, f32, every index checked, batch 1; it has a, f32, batch 1$/);
  assert.throws(() => expectComparable(baselineOf(timed("a", 1), timed("b", 1)), [timed("c", 1)], "/"), /c, f32, batch 1 \(ambiguous there\)/);
  assert.throws(() => expectComparable(baselineOf(timed("a", 1, { samples: [1, 2, 3] })), [timed("a", 1)], "/"), /has 3 runs of a, f32, batch 1, and a change is told from noise with 5 at least/);
  expectComparable(baselineOf(timed("a", 1)), [timed("a", 1), timed("b", 1)], "/");
});

test.run();
