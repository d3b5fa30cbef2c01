import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { benchShape, profileShape, type BenchReport } from "../../compiler/cli/json-bench.js";
import { tuneShape, tuningTablesShape } from "../../compiler/cli/json-tune.js";
import { compile } from "../../compiler/compile.js";
import { findSoftwareAdapter } from "../../runtime/node.js";
import type { DType, Plan } from "../../runtime/plan.js";
import { skipAll, suite } from "../tools/suite.js";
import { folderWith, small, vitc } from "./vitc.js";

/** Packages look for webgpu and for the software adapter from here, as they would in a project that has installed them. */
const cwd = fileURLToPath(new URL("../..", import.meta.url));

const root = folderWith({});
const spec = { ...small, depth: 1, batch: [1, 2] };

async function packageOf(name: string, batch: readonly number[], dtype: readonly DType[] = ["f32"]): Promise<string> {
  const folder = join(root, name);
  for (const [path, text] of (await compile({ ...spec, batch: [...batch], dtype: [...dtype] }, { typecheck: false })).files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

/** Two batch sizes, and one where they do not matter: building pipelines takes most of the time on a software adapter. */
const folder = await packageOf("two", [1, 2]);
const sparse = await packageOf("sparse", [1, 4]);
const single = await packageOf("one", [1]);
const both = await packageOf("both", [1], ["f16", "f32"]);

const refusals = suite("vitc bench, profile and tune, refusals");

async function refused(args: readonly string[], sentence: RegExp): Promise<void> {
  const { code, stdout, stderr } = await vitc(args, { cwd });
  assert.equal([args, code, stdout], [args, 1, ""], stderr);
  assert.match(stderr, sentence);
  assert.not.match(stderr, /\n\s+at /);
}

refusals("what cannot be measured is refused before anything is", async () => {
  writeFileSync(join(root, "bad.json"), "{}");
  const [bad, absent] = [join(root, "bad.json"), join(root, "absent.json")];
  await Promise.all([
    refused(["bench", both, folder, "--dtype", "f16"], /--dtype f16: .*two was compiled for f32; compile it for this one too with: npx vitc compile SPEC --dtype f32,f16/),
    refused(["bench", folder, "--dtype", "f64"], /Write f32, f16, or both/),
    refused(["bench", folder, "--batch", "1,3"], /--batch 3: .* was compiled for batches 1, 2; .*vitc compile SPEC --batch 1,2,3/),
    // However the sizes come, the command has them in the order that compile wants.
    refused(["bench", sparse, "--batch", "3"], /vitc compile SPEC --batch 1,3,4 --out/),
    refused(["bench", folder, "--baseline", absent], /cannot be read .*vitc bench PACKAGE --json > /),
    refused(["bench", folder, "--baseline", bad], /not what this version's/),
  ]);
  await Promise.all([
    refused(["bench", folder, "--runs", "0"], /from 1 to 100000/),
    refused(["bench", folder, "--fail-over", "ten"], /as 10% or 0\.1/),
    refused(["bench", folder, "--fail-over", "5%"], /--fail-over says how much slower than a baseline is too slow, and there is none: add --baseline FILE/),
    refused(["bench", folder, "--runs", "4", "--baseline", bad], /--runs 4 with --baseline: .* 5 runs at least, better 20/),
    refused(["profile", folder, "--trace", "my.ts"], /must end in \.json/),
    refused(["profile", join(root, "none")], /there is no folder/),
    refused(["profile", folder, "--dtype", "f16"], /was compiled for f32/),
  ]);
  await Promise.all([
    refused(["tune", folder, "--budget", "0"], /a number of seconds above 0/),
    refused(["tune", folder, "--dtype", "f16"], /was compiled for f32/),
    refused(["tune", folder, "--out", "table.txt"], /must end in \.json/),
    refused(["tune", folder, "--out", join(root, "bad.json")], /bad\.json: a file that vitc tune did not write is there already/),
    refused(["tune", root], /is not a package of vitc/),
    // Neither is asked of the adapter first: both would take minutes.
    ...(process.platform === "linux" ? [refused(["tune", folder, "--out", "/proc/t.json"], /--out \/proc\/t\.json cannot be written \(E/), refused(["profile", folder, "--html", "/proc/p.html"], /--html \/proc\/p\.html cannot be written \(E/), refused(["profile", folder, "--trace", join(root, "bad.json", "t.json")], /bad\.json is a file and no folder/)] : []),
  ]);
});

refusals.run();

const found = await findSoftwareAdapter();
if ("reason" in found) skipAll("vitc bench, profile and tune", found.reason);
else {
  const test = suite("vitc bench, profile and tune");
  const software = ["--adapter", "software"];
  const before = join(root, "before.json");

  /** The baseline with every sample changed, and perhaps another adapter. */
  const changed = (report: BenchReport, factor: number, adapter = report.adapter.name): string => {
    const file = join(root, `changed-${factor}.json`);
    writeFileSync(file, JSON.stringify({ ...report, adapter: { ...report.adapter, name: adapter }, cases: report.cases.filter(({ batch }) => batch === 1).map((each) => ({ ...each, samples: each.samples.map((sample) => sample * factor) })) }));
    return file;
  };

  test("bench tells load times, run times, memory and peaks, which fit each other", async () => {
    const { code, stdout, stderr } = await vitc(["bench", folder, "--runs", "8", "--json", ...software], { cwd });
    assert.is(code, 0, stderr);
    const report = benchShape.parse(JSON.parse(stdout));
    writeFileSync(before, stdout);
    assert.equal(report.cases.map(({ name, batch, dtype, samples }) => [name, batch, dtype, samples.length]), [[spec.name, 1, "f32", 8], [spec.name, 2, "f32", 8]]);
    for (const { batch, samples, milliseconds: { min, p50, p95 }, imagesPerSecond, flops, flopRate, computeShare } of report.cases) {
      assert.ok(min === Math.min(...samples) && min > 0 && min <= p50 && p50 <= p95);
      assert.ok(Math.abs(imagesPerSecond - (1000 * batch) / p50) < 1e-6 * imagesPerSecond);
      assert.ok(Math.abs(flopRate - (1000 * flops) / p50) < 1e-6 * flopRate);
      assert.ok(Math.abs(computeShare - flopRate / report.peaks.compute.rate) < 1e-6);
    }
    assert.ok(Math.abs(report.cases[1]!.flops / report.cases[0]!.flops - 2) < 0.01);
    // A dispatch takes from microseconds to milliseconds, and a CPU does from a hundredth to ten thousand GFLOP/s.
    assert.ok(report.peaks.compute.rate > 1e7 && report.peaks.compute.rate < 1e13, String(report.peaks.compute.rate));
    assert.ok(report.cases.every(({ robust }) => !robust));
    const [load] = report.loads;
    const { device, pipelines, weights, reading, firstRun, total } = load!.milliseconds;
    assert.ok(reading >= 0 && reading <= weights);
    const { tuned, cost, only } = load!.decided;
    assert.ok(tuned === 0 && cost > 0, "untuned, so the cost model decided");
    assert.is(tuned + cost + only, ((await import(join(folder, "plan.js"))) as { plan: Plan }).plan.routines.length);
    assert.ok([device, pipelines, weights].every((time) => time > 0) && firstRun.length === 2);
    assert.ok(Math.abs(total - device - pipelines - weights - firstRun[0]!) < 1e-6);
    assert.is(load!.allocatedBytes, load!.plannedBytes);
    assert.match(report.notices.join(), /weights are random/);
    assert.match(report.notices.join(), /software adapter/);
    assert.is(report.comparison, null);
  });

  test("bench has a row for each dtype, or the reason for which the adapter cannot run it, and says when indices are checked", async () => {
    const { code, stdout, stderr } = await vitc(["bench", both, "--runs", "3", "--robust", "--json", ...software], { cwd });
    assert.is(code, 0, stderr);
    const { cases, loads, unavailable } = benchShape.parse(JSON.parse(stdout));
    const rows = [...cases, ...unavailable].map(({ dtype, robust }) => [dtype, robust]);
    assert.equal(rows.toSorted((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)), [["f16", true], ["f32", true]]);
    assert.equal(loads.map(({ dtype }) => dtype), cases.map(({ dtype }) => dtype));
    for (const { dtype, reason } of unavailable) {
      assert.is(dtype, "f16");
      assert.match(reason, /in f16 needs shader-f16, which .* lacks/);
    }
  });

  test("bench compares with a baseline: exit code 1 for what became slower, and only for that", async () => {
    const report = benchShape.parse(JSON.parse(readFileSync(before, "utf8")));
    const [fast, slow, elsewhere] = [changed(report, 0.001), changed(report, 1000), changed(report, 1, "another GPU")];
    const run = (measured: string, baseline: string) => vitc(["bench", measured, "--runs", "6", "--baseline", baseline, ...software], { cwd });
    // A thousand times is far beyond what anything else on the machine does to them.
    const [slower, faster] = await Promise.all([run(folder, fast), run(single, slow), refused(["bench", folder, "--baseline", elsewhere, ...software], /measured on another GPU, and this is .*SwiftShader/)]);
    assert.is(slower.code, 1, slower.stderr);
    assert.match(slower.stdout, /f32, batch 1: SLOWER, \+\d+.* %.*more than the 10 % allowed\n {2}.*batch 2: new, the baseline has no such case/);
    assert.match(slower.stdout, /package +dtype +batch +runs +p50/);
    assert.equal([faster.code, /batch 1: faster, -/.test(faster.stdout)], [0, true], faster.stdout + faster.stderr);
    // Checked indices are another case than unchecked ones.
    await refused(["bench", single, "--runs", "5", "--robust", "--baseline", fast, ...software], /nothing to compare with: .*every index checked/);
    // However little time there is, the runs are enough to tell.
    const hurried = await vitc(["bench", single, "--seconds", "0.001", "--baseline", fast, "--json", ...software], { cwd });
    const { cases, comparison } = benchShape.parse(JSON.parse(hurried.stdout));
    assert.equal([hurried.code, cases[0]!.samples.length, comparison!.cases.map(({ verdict }) => verdict)], [1, 5, ["slower"]], hurried.stderr);
  });

  test("profile has a row for each dispatch of the plan, a trace and a page", async () => {
    const [trace, page] = [join(root, "trace.json"), join(root, "page.html")];
    const { code, stdout, stderr } = await vitc(["profile", single, "--runs", "4", "--trace", trace, "--html", page, "--json", ...software], { cwd });
    assert.is(code, 0, stderr);
    const report = profileShape.parse(JSON.parse(stdout));
    const { plan } = (await import(join(single, "plan.js"))) as { plan: Plan };
    const planned = plan.programs.infer.find(({ batch }) => batch === 1)!.dispatches;
    assert.equal(report.dispatches.map(({ label, flops }) => [label, flops]), planned.map(({ label, flops }) => [label, flops]));
    assert.equal([report.batch, report.replays, report.clock, report.dtype, report.robust], [1, 4, "timestamps", "f32", false]);
    for (const { routine, choice, by, launches } of report.dispatches) {
      const { choices } = plan.routines.find(({ id }) => id === routine)!;
      assert.equal([launches.map(({ kernel }) => kernel), by === "only" || by === "cost"], [choices.find(({ name }) => name === choice)!.launches.map(({ kernel }) => kernel), true]);
    }
    assert.ok(report.dispatches.every(({ microseconds, beginMicroseconds, endMicroseconds }) => microseconds > 0 && endMicroseconds >= beginMicroseconds));
    assert.ok(report.dispatches.some(({ microseconds }) => microseconds % 65.536 !== 0), "timestamps are not rounded");
    const sum = report.kinds.reduce((total, { share }) => total + share, 0);
    assert.ok(Math.abs(sum - 1) < 1e-9, String(sum));
    const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as { traceEvents: readonly { name: string; ph: string; cat?: string }[] };
    assert.equal(traceEvents.filter(({ ph, cat }) => ph === "X" && cat !== "block").map(({ name }) => name), planned.map(({ label }) => label));
    const html = readFileSync(page, "utf8");
    for (const { label } of planned) assert.ok(html.includes(label), label);
    assert.not.match(html, /https?:\/\//);
    assert.match(stderr, /wrote .*trace\.json\nwrote .*page\.html/);
    const [spec, notes] = [join(root, "spec.json"), join(root, "notes.html")];
    for (const file of [spec, notes]) writeFileSync(file, "{}");
    await Promise.all([refused(["profile", folder, "--trace", spec], /spec\.json: a file that is no trace of vitc is there already.*--force/), refused(["profile", folder, "--html", notes], /notes\.html: a file that vitc did not write.*--force/)]);
  });

  test("profile without timestamps says what its clock is, and --top shows the slowest", async () => {
    const { code, stdout, stderr } = await vitc(["profile", single, "--clock", "wall", "--runs", "3", "--top", "2", ...software], { cwd });
    assert.is(code, 0, stderr);
    assert.match(stderr, /Times are the wall clock's/);
    assert.match(stdout, /wall clock.*\n\ndispatch +kind +time.*\n\S+ .*\n\S+ .*\n\.\.\. and \d+ faster\n\nkind +dispatches/);
  });

  test("profile takes the first dtype that the adapter can run, and says so", async () => {
    const { code, stdout, stderr } = await vitc(["profile", both, "--runs", "3", "--json", ...software], { cwd });
    assert.is(code, 0, stderr);
    const { dtype, notices } = profileShape.parse(JSON.parse(stdout));
    if (dtype === "f32") assert.match(notices.join("\n"), /has no shader-f16, which f16 needs; f32 is measured/);
  });

  test("tune leaves a table in this machine's cache, which loading goes by, or in a file, which compile takes", async () => {
    const cache = join(root, "cache");
    const tables = join(cache, "vitc", "tuned");
    const env = { XDG_CACHE_HOME: cache };
    const dry = await vitc(["tune", single, "--budget", "2", "--dry-run", ...software], { cwd, env });
    assert.is(dry.code, 0, dry.stderr);
    assert.match(dry.stderr, /wrote nothing \(--dry-run\)/);
    assert.not.ok(existsSync(tables));

    const { code, stdout, stderr } = await vitc(["tune", single, "--budget", "10", "--json", ...software], { cwd, env });
    assert.is(code, 0, stderr);
    const report = tuneShape.parse(JSON.parse(stdout));
    const { plan } = (await import(join(single, "plan.js"))) as { plan: Plan };
    assert.equal(report.routines.map(({ id }) => id).toSorted(), plan.routines.map(({ id }) => id).toSorted());
    assert.is(report.file, join(tables, `${plan.fingerprint}.json`));
    const [table, ...more] = tuningTablesShape.parse(JSON.parse(readFileSync(report.file!, "utf8")));
    assert.equal([table, more], [{ adapter: report.adapter.key, choices: report.choices }, []]);
    const measured = report.routines.filter((routine) => routine.measured);
    assert.ok(measured.length > 0, "ten seconds are enough for the first routine");
    assert.equal(measured.map(({ id, chosen }) => [id, report.choices[id] === chosen]), measured.map(({ id }) => [id, true]));
    assert.equal(readdirSync(tables), [`${plan.fingerprint}.json`], "no half file is left");

    const after = await vitc(["bench", single, "--runs", "3", "--json", ...software], { cwd, env });
    const { decided } = benchShape.parse(JSON.parse(after.stdout)).loads[0]!;
    assert.is(decided.tuned, measured.length);

    // A table of another adapter and of another model stay.
    const file = join(root, "tuning.json");
    const others = [{ adapter: "another", choices: { x: "y" } }, { adapter: report.adapter.key, choices: { other_model: "quad" } }];
    writeFileSync(file, JSON.stringify(others));
    const shared = await vitc(["tune", single, "--budget", "4", "--out", file, "--json", ...software], { cwd, env });
    assert.is(shared.code, 0, shared.stderr);
    const { choices } = tuneShape.parse(JSON.parse(shared.stdout));
    assert.equal(JSON.parse(readFileSync(file, "utf8")), [others[0], { adapter: report.adapter.key, choices: { ...choices, other_model: "quad" } }]);
    assert.equal(tuningTablesShape.parse(JSON.parse(readFileSync(report.file!, "utf8"))), [table], "this machine's own is as it was");
  });

  test("tune tells its result where the cache cannot keep it, and says so", async () => {
    const cache = join(root, "no-folder");
    writeFileSync(cache, "");
    const { code, stdout, stderr } = await vitc(["tune", single, "--budget", "2", ...software], { cwd, env: { XDG_CACHE_HOME: cache } });
    assert.is(code, 0, stderr);
    assert.match(stderr, /cache cannot keep the result \(E.*write a table with --out/);
    assert.match(stderr, /wrote nothing/);
    assert.match(stdout, /measured in \d+ s/);
  });

  test("Ctrl-C in the middle of tuning leaves no table", async () => {
    const cache = join(root, "other-cache");
    const { code, stdout } = await vitc(["tune", single, ...software], { cwd, env: { XDG_CACHE_HOME: cache }, onStderr: (text, kill) => text.includes(" of ") && kill("SIGINT") });
    assert.equal([code, stdout, existsSync(join(cache, "vitc", "tuned"))], [130, "", false]);
  });

  test.run();
}
