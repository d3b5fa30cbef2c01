import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import * as assert from "uvu/assert";
import { sweepMergeShape, sweepShape } from "../../compiler/cli/json-sweep.js";
import { parseRows } from "../../compiler/sweep/store.js";
import { softwareReason } from "../tools/adapter.js";
import { temporaryFolder } from "../tools/packages.js";
import { skipAll, suite } from "../tools/suite.js";
import { small, vitc } from "./vitc.js";

/** Inside of the repository, so that `webgpu` and the software adapter are found from there. */
const cwd = temporaryFolder("sweep");

const sweepText = (axes: string, more = ""): string => `import { defineSweep } from "vitc";\nexport default defineSweep({ base: ${JSON.stringify({ ...small, image: 16, depth: 1 })}, axes: ${axes}, ${more} });\n`;
writeFileSync(join(cwd, "grid.ts"), sweepText("{ depth: [1, 2, 3], patch: [7, 8] }"));
writeFileSync(join(cwd, "spec.ts"), `import { defineViT } from "vitc";\nexport default defineViT(${JSON.stringify(small)});\n`);
writeFileSync(join(cwd, "wrong.ts"), sweepText("{ depht: [1] }"));

const test = suite("vitc sweep");

async function refused(args: readonly string[], sentence: RegExp): Promise<void> {
  const { code, stdout, stderr } = await vitc(args, { cwd });
  assert.equal([args, code, stdout], [args, 1, ""], stderr);
  assert.match(stderr, sentence);
  assert.not.match(stderr, /\n\s+at /);
}

test("mistakes are refused before anything is worked out", async () => {
  // What conditions and definitions may say is tested without a process for each.
  await Promise.all([
    refused(["sweep", "spec.ts"], /spec\.ts is no sweep: export default defineSweep/),
    refused(["sweep", "wrong.ts"], /axes\.depht: .*did you mean depth\?/),
    refused(["sweep", "grid.ts", "--where", "p50ms < 3"], /p50ms is no column; did you mean p50_ms\?\n {2}p50ms < 3\n {2}\^/),
    refused(["sweep", "grid.ts", "--columns", "depth,dpeth"], /did you mean depth\?/),
    refused(["sweep", "grid.ts", "--budget", "10m"], /--budget says how to measure: add --measure/),
  ]);
  await Promise.all([
    refused(["sweep", "grid.ts", "--measure", "--budget", "soon"], /as 90s, 10m or 1\.5h/),
    refused(["sweep", "grid.ts", "--shard", "3/2"], /as 1\/4/),
    refused(["sweep", "grid.ts", "--rows", "none.jsonl"], /there is no file none\.jsonl; it is made by --measure/),
    refused(["sweep", "merge", "grid.ts"], /grid\.ts has no rows of vitc sweep/),
  ]);
  await Promise.all([
    refused(["sweep", "grid.ts", "--measure", "--rows", "none/x.jsonl"], /^(?!.*measured so far).*rows cannot be kept in none\/x\.jsonl: there is no folder none; make it first/s),
    refused(["sweep", "grid.ts", "--measure", "--rows", "."], /^(?!.*measured so far).*rows cannot be kept in \.: it is a folder; name a file: --rows rows\.jsonl/s),
    refused(["sweep", "grid.ts", "--measure", "--rows", "grid.ts/x.jsonl"], /grid\.ts is a file and no folder/),
    refused(["sweep", "grid.ts", "--where", "depth < '2'"], /depth is a number, and "2" a text: write 2 without quotes/),
  ]);
  assert.not.ok(existsSync(join(cwd, "grid.jsonl")), "a table makes no file");
});

test("a table needs no adapter; rows are chosen, sorted, marked and printed in every format", async () => {
  const args = ["sweep", "grid.ts", "--target", "gpu", "--where", "params > 0", "--sort", "-depth", "--pareto", "params,predicted_ms"];
  const [text, md, csv, json] = await Promise.all([vitc(args, { cwd }), vitc([...args, "--format", "md", "--front"], { cwd }), vitc([...args, "--format", "csv"], { cwd }), vitc([...args, "--json"], { cwd })]);
  assert.equal([text.code, md.code, csv.code, json.code], [0, 0, 0, 0], text.stderr + md.stderr + csv.stderr + json.stderr);
  assert.equal(text.stdout.trimEnd().split("\n").map((line) => line.trim().split(/ +/).slice(0, 3)), [["depth", "patch", "tokens"], ["3", "8", "5"], ["2", "8", "5"], ["1", "8", "5"]]);
  assert.match(text.stderr, /3 of 6 variants, 3 failed/);
  assert.match(md.stdout, /^\| depth \| patch \|.*\n\| ---: \|.*\n\| 1 \| 8 \|.* \* \|\n$/);
  const lines = parse(csv.stdout, { columns: true }) as Record<string, string>[];
  const report = sweepShape.parse(JSON.parse(json.stdout));
  assert.equal(lines.map(({ name }) => name), report.rows.map(({ name }) => name));
  assert.equal(lines.map(({ params_m }) => Number(params_m)), report.rows.map(({ params_m }) => params_m));
  assert.equal([report.variants, report.failed, report.measured], [6, 3, 0]);
  assert.equal(report.rows.map(({ pareto }) => pareto), [false, false, true]);
  assert.equal(Object.keys(report.rows[0]!).toSorted(), report.columns.map(({ name }) => name).toSorted());
});

test("shards hold every variant once", async () => {
  const parts = await Promise.all(["1/2", "2/2"].map((shard) => vitc(["sweep", "grid.ts", "--shard", shard, "--format", "csv"], { cwd })));
  const names = parts.flatMap(({ stdout }) => (parse(stdout, { columns: true }) as Record<string, string>[]).map(({ name }) => name));
  assert.is(new Set(names).size, 6);
  assert.is(names.length, 6);
});

const reason = await softwareReason();
if (reason) skipAll("vitc sweep --measure", reason);
else {
  const measure = ["--measure", "--adapter", "software", "--runs", "3"];
  /** Enough variants that something is left to do when one row is known. */
  writeFileSync(join(cwd, "many.ts"), sweepText("{ depth: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] }"));
  const linesOf = (file: string) => (existsSync(join(cwd, file)) ? parseRows(readFileSync(join(cwd, file), "utf8")) : { rows: [], torn: [] });

  test("killed in the middle it goes on from its rows, and after Ctrl-C as well", async () => {
    let kill = (): void => {};
    const watch = setInterval(() => {
      if (linesOf("many.jsonl").rows.length >= 2) kill();
    }, 5);
    const killed = vitc(["sweep", "many.ts", ...measure], { cwd, onStderr: (_text, signal) => (kill = () => signal("SIGKILL")) });
    const { signal } = await killed;
    clearInterval(watch);
    const first = linesOf("many.jsonl");
    assert.ok(signal === "SIGKILL" && first.rows.length >= 2 && first.rows.length < 16, `${signal}, ${first.rows.length} rows`);

    let interrupt = (): void => {};
    const again = setInterval(() => {
      if (linesOf("many.jsonl").rows.length > first.rows.length) interrupt();
    }, 5);
    const stopped = await vitc(["sweep", "many.ts", ...measure], { cwd, onStderr: (_text, signal) => (interrupt = () => {
      // Once: the second time means now.
      clearInterval(again);
      signal("SIGINT");
    }) });
    clearInterval(again);
    const second = linesOf("many.jsonl");
    assert.is(stopped.code, 130, stopped.stderr);
    assert.match(stopped.stderr, /\d+ variants measured so far, kept in many\.jsonl; the same command goes on from there\./);
    assert.ok(second.rows.length > first.rows.length);

    const { code, stdout, stderr } = await vitc(["sweep", "many.ts", ...measure, "--sort", "p50_ms", "--json"], { cwd });
    assert.is(code, 0, stderr);
    const report = sweepShape.parse(JSON.parse(stdout));
    assert.equal([report.variants, report.measured, report.failed], [16, 16, 0]);
    const times = report.rows.map(({ p50_ms }) => p50_ms as number);
    assert.equal(times, times.toSorted((a, b) => a - b));
    const complete = (rows: readonly { readonly name: string; readonly runs: number | null }[]): readonly string[] => rows.filter(({ runs }) => runs === 3).map(({ name }) => name);
    assert.is(new Set(complete(linesOf("many.jsonl").rows)).size, 16);
    assert.is(complete(linesOf("many.jsonl").rows).length, 16, "nothing that was complete was measured again");
  });

  test("rows of several files are joined, and shown without an adapter", async () => {
    const joined = await vitc(["sweep", "merge", "many.jsonl", "many.jsonl", "--out", "all.jsonl", "--json"], { cwd });
    assert.is(joined.code, 0, joined.stderr);
    const { rows, adapters, duplicates } = sweepMergeShape.parse(JSON.parse(joined.stdout));
    assert.equal([rows, adapters.length, duplicates >= 16], [16, 1, true]);
    await refused(["sweep", "merge", "many.jsonl", "--out", "all.jsonl"], /all\.jsonl/);
    const shown = await vitc(["sweep", "many.ts", "--rows", "all.jsonl", "--where", "p50_ms > 0 && depth <= 4", "--sort", "depth", "--columns", "depth,p50_ms,adapter"], { cwd });
    assert.is(shown.code, 0, shown.stderr);
    assert.equal(shown.stdout.trimEnd().split("\n").map((line) => line.trim().split(/ +/)[0]), ["depth", "1", "2", "3", "4"]);
    // A machine that was another for some rows is told beside their times, without being asked.
    const heads = await Promise.all([1.05, 1.2].map(async (drift) => {
      writeFileSync(join(cwd, `drift-${drift}.jsonl`), readFileSync(join(cwd, "all.jsonl"), "utf8").replaceAll(/"drift":[^,}]*/g, `"drift":${drift}`));
      return (await vitc(["sweep", "many.ts", "--rows", `drift-${drift}.jsonl`], { cwd })).stdout.split("\n")[0]!;
    }));
    assert.equal(heads.map((head) => / p50, ms /.test(head) && / drift/.test(head)), [false, true], heads.join("\n"));
    writeFileSync(join(cwd, "other.jsonl"), readFileSync(join(cwd, "all.jsonl"), "utf8").replaceAll(/"version":"[^"]*"/g, '"version":"0.0.1"'));
    await refused(["sweep", "merge", "all.jsonl", "other.jsonl"], /all\.jsonl has rows of vitc .* and other\.jsonl of vitc 0\.0\.1/);
  });
}

test.run();
