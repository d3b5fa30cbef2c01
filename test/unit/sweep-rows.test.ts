/** Conditions, orders, and rows on disk. */
import { spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { table } from "../../compiler/cli/format.js";
import { mergeRows } from "../../compiler/sweep/merge.js";
import { markPareto, parsePareto, parseSort, sortRows } from "../../compiler/sweep/order.js";
import { Picker } from "../../compiler/sweep/picker.js";
import { columnsOf, columns, type Row } from "../../compiler/sweep/row.js";
import { latestRows, parseRows, Store, StoreError } from "../../compiler/sweep/store.js";
import { cellKinds, parseWhere, WhereError } from "../../compiler/sweep/where.js";
import { csv, markdown, textRows } from "../../compiler/sweep/write.js";
import { suite } from "../tools/suite.js";

const test = suite("rows of a sweep");

const all = columnsOf(["depth", "mlp.ratio"]);
const names = all.map(({ name }) => name);

const row = (change: Partial<Row> = {}): Row => ({ ...(Object.fromEntries(columns.map(({ name }) => [name, null])) as unknown as Row), name: "a", version: "1", spec_hash: "s", plan_hash: "p", adapter: "gpu", dtype: "f32", batch: 1, robust: false, ...change });

// ---------------------------------------------------------------------------------------------------------- where

const holds = (text: string, change: Partial<Row> = {}): boolean => parseWhere(text, names)(row(change));

test("a condition compares, counts and joins, with the usual precedence", () => {
  const one = { p50_ms: 12, params_m: 5, weights_mb: 20, bound_by: "memory", pareto: true, "mlp.ratio": 4 } as const;
  for (const text of ["p50_ms < 16 && weights_mb < 25", "p50_ms > 100 || params_m == 5 && weights_mb == 20", "(p50_ms > 100 || params_m == 5) && true", "mlp.ratio == 4", "p50_ms + 2 * params_m == 22", "-p50_ms < -11", "p50_ms / params_m >= 2.4", "bound_by == 'memory'", 'bound_by != "compute"', "!(p50_ms > 12)", "!!pareto", "pareto", "10 - 4 - 3 == 3", "1e1 == p50_ms - 2", ".5 < 1", "name == 'a'"]) assert.ok(holds(text, one), text);
  for (const text of ["p50_ms < 12", "p50_ms > 100 && true || false", "!pareto", "false", "bound_by == 'Memory'", "p50_ms"]) assert.not.ok(holds(text, one), text);
});

test("what is not known is in no order, and null asks for it", () => {
  for (const text of ["p50_ms < 1e9", "p50_ms >= 0", "p50_ms + 1 > 0", "p50_ms != null", "pareto"]) assert.not.ok(holds(text), text);
  for (const text of ["p50_ms == null", "!(p50_ms < 1e9)", "failed == null"]) assert.ok(holds(text), text);
  assert.not.ok(holds("adapter < 3"), "texts and numbers have no order");
});

test("what cannot be read is shown with its place, and code is never run", () => {
  const said = (text: string, sentence: RegExp, place: number): void => {
    try {
      parseWhere(text, names);
    } catch (error) {
      assert.instance(error, WhereError);
      const lines = (error as Error).message.split("\n");
      assert.match(lines[0]!, sentence);
      assert.is(lines.at(-1)!.indexOf("^") - 2, place, `${text}: ${lines.join("\n")}`);
      return;
    }
    throw new Error(`${text} was read`);
  };
  said("p50ms < 16", /p50ms is no column; did you mean p50_ms\?/, 0);
  said("p50_ms < ", /something is missing at the end/, 8);
  said("p50_ms = 3", /write == to compare/, 7);
  said("p50_ms < 3 & true", /write &&/, 11);
  said("(p50_ms < 3", /closing parenthesis is missing/, 11);
  said("p50_ms < 3)", /\) is not expected here/, 10);
  said("1 < p50_ms < 3", /comparisons do not chain/, 11);
  said("name == 'a", /text that begins here does not end/, 8);
  said("", /a condition is missing/, 0);
  said("process.exit(1)", /process\.exit is no column/, 0);
  said("constructor == 1", /constructor is no column/, 0);
  said("p50_ms; 1", /; means nothing here/, 6);
  assert.throws(() => parseWhere("(".repeat(5000), names), /more than 200 parts/);
  assert.throws(() => parseWhere("1".repeat(20_000), names), /at most 10000/);
});

test("a number and a text are not compared where both are sure, and the fix is named; an axis is what its values are", () => {
  const kinds = cellKinds(columnsOf(["depth", "image", "dtype"]), new Map([["depth", [1, 2]], ["image", [8, "8x16"]], ["dtype", ["f32"]]] as const));
  const known = [...columnsOf(["depth", "image", "dtype"])].map(({ name }) => name);
  const said = (text: string, sentence: RegExp): void => assert.throws(() => parseWhere(text, known, kinds), (error: unknown) => error instanceof WhereError && sentence.test(error.message));
  said("params_m < '5'", /^params_m is a number, and "5" a text: write 5 without quotes\n {2}params_m < '5'\n {13}\^$/);
  said("depth < '2'", /^depth is a number, and "2" a text: write 2 without quotes/);
  said("p50_ms == 'fast'", /^p50_ms is a number, and "fast" a text: write a number/);
  said("true && ('5' > p50_ms)", /^p50_ms is a number, and "5" a text: write 5 without quotes/);
  said("p50_ms * 2 < '5'", /write 5 without quotes/);
  said("dtype == 32", /^dtype is a text, and 32 a number: write '32' in quotes/);
  said("adapter < p50_ms", /^adapter is a text, and p50_ms a number: they are never equal/);
  for (const text of ["image == '8x16'", "image == 8", "dtype == 'f32'", "failed == null", "p50_ms != null", "robust == true", "name == 'a' && depth >= 2"]) assert.type(parseWhere(text, known, kinds)(row({ depth: 2, image: 8 })), "boolean", text);
  // Every column that is no axis is of a kind, or holds true and false.
  assert.equal(columns.filter(({ name }) => !kinds.has(name)).map(({ name }) => name), ["pareto", "robust"]);
});

test("2,000 texts made by chance are read or refused, and nothing else", () => {
  const parts = fc.constantFrom("p50_ms", "mlp.ratio", "<", "<=", "==", "&&", "||", "!", "(", ")", "+", "-", "*", "/", "3", "1e5", "'x'", "null", "true", " ", "=", "'", ".");
  fc.assert(fc.property(fc.oneof(fc.string(), fc.array(parts, { maxLength: 12 }).map((list) => list.join(" "))), (text) => {
    try {
      return typeof parseWhere(text, names)(row({ p50_ms: 1 })) === "boolean";
    } catch (error) {
      return error instanceof WhereError;
    }
  }), { numRuns: 2000 });
});

// ---------------------------------------------------------------------------------------------------------- order

test("rows are sorted by several columns, with what is not known last either way", () => {
  const rows = [row({ name: "x", p50_ms: 2 }), row({ name: "y" }), row({ name: "z", p50_ms: 1, params_m: 1 }), row({ name: "w", p50_ms: 1, params_m: 2 })];
  const order = (text: string): string => sortRows(rows, parseSort(text, all)).map(({ name }) => name).join("");
  assert.equal([order("p50_ms,params_m"), order("p50_ms,-params_m"), order("-p50_ms,params_m"), order("name")], ["zwxy", "wzxy", "xzwy", "wxyz"]);
  assert.throws(() => parseSort("p50", all), /--sort: p50 is no column/);
  assert.throws(() => parseSort("p50_ms,,params", all), /an empty name is no column/);
});

test("the front is what no other row beats, found as by comparing all pairs, for each adapter", () => {
  const one = fc.record({ p50_ms: fc.option(fc.integer({ min: 0, max: 6 })), metric: fc.integer({ min: 0, max: 6 }), params_m: fc.integer({ min: 0, max: 6 }), adapter: fc.constantFrom("a", "b") });
  const wanted = parsePareto("p50_ms,metric,params_m", all);
  fc.assert(fc.property(fc.array(one, { maxLength: 30 }), (list) => {
    const rows = list.map((each) => row(each));
    const beats = (a: Row, b: Row): boolean => a.adapter === b.adapter && a.p50_ms! <= b.p50_ms! && a.metric! >= b.metric! && a.params_m! <= b.params_m! && (a.p50_ms! < b.p50_ms! || a.metric! > b.metric! || a.params_m! < b.params_m!);
    const known = rows.filter(({ p50_ms }) => p50_ms !== null);
    assert.equal(markPareto(rows, wanted).map(({ pareto }) => pareto), rows.map((each) => (each.p50_ms === null ? null : !known.some((other) => beats(other, each)))));
  }));
  assert.throws(() => parsePareto("p50_ms", all), /takes two columns or more/);
  assert.throws(() => parsePareto("tokens,p50_ms", all), /neither more nor less of tokens is better/);
});

test("the most informative is far from what was measured, and expected on the front", () => {
  const rows = Array.from({ length: 9 }, (_, i) => row({ name: String(i), gflops: 2 ** i, moved_mb: 1, dispatches: 10, tokens: 50 }));
  const picker = new Picker(rows, []);
  picker.drop(0);
  const any = (): boolean => true;
  assert.equal([picker.take(any), picker.take(any)], [8, 4], "first the far end, then the middle");
  const second = new Picker(rows, []);
  second.drop(0);
  second.expectFront([5]);
  assert.equal([second.take(any), second.take((at) => at < 5), second.left], [5, 2, 6], "what is expected on the front counts as twice as far");
});

// ----------------------------------------------------------------------------------------------------------- text

test("Markdown and CSV quote what they must", () => {
  const rows = [row({ name: 'a|"b"', p50_ms: 1.23456, failed: "x, y\nz" })];
  const shown = all.filter(({ name }) => ["name", "p50_ms", "failed"].includes(name));
  assert.is(markdown(rows, shown), '| name | p50, ms | failed |\n| --- | ---: | --- |\n| a\\|"b" | 1.23 | x, y z |');
  assert.is(csv(rows, shown), 'name,p50_ms,failed\n"a|""b""",1.23456,"x, y\nz"');
});

test("small numbers keep three digits, and a prediction stands with its band unless that has columns of its own", () => {
  const shown = (change: Partial<Row>, ...wanted: readonly string[]) => textRows([row(change)], wanted.map((name) => columns.find((column) => column.name === name)!))[1];
  assert.equal(shown({ max_abs_error: 2.471088219748438e-7, gmacs: 0.00493, activation_mb: 0.0421, p50_ms: 1234.5 }, "max_abs_error", "gmacs", "activation_mb", "p50_ms"), ["2.47e-7", "0.00493", "0.0421", "1234.50"]);
  assert.equal(shown({ gmacs: 0.1, activation_mb: 1, max_abs_error: 0, tokens: 5 }, "gmacs", "activation_mb", "max_abs_error", "tokens"), ["0.10", "1.0", "0.0000", "5"]);
  const predicted = { predicted_ms: 116.23, predicted_low_ms: 95.04, predicted_high_ms: 142.4 };
  assert.equal([shown(predicted, "predicted_ms"), shown({}, "predicted_ms"), shown(predicted, "predicted_ms", "predicted_low_ms")], [["116 (95.0 to 142)"], [""], ["116.23", "95.04"]]);
  assert.is(markdown([row(predicted)], columns.filter(({ name }) => name === "predicted_ms")), "| predicted, ms |\n| ---: |\n| 116 (95.0 to 142) |");
});

test("a last column of sentences is cut to the terminal, other columns and what is piped are not", () => {
  const rows = [["depth", "predicted, ms", "max error", "failed"], ["1", "116 (95.0 to 142)", "2.47e-7", ""], ["12", "", "0.0000", "image: height 8 of the image is not a multiple of patch 3, and more of a sentence"]];
  assert.equal(table(rows, 80).split("\n"), ["depth      predicted, ms  max error  failed", "    1  116 (95.0 to 142)    2.47e-7", "   12                        0.0000  image: height 8 of the image is not a mu..."]);
  assert.ok(table(rows).endsWith("more of a sentence"));
  assert.ok(table(rows, 20).endsWith("  image: height 8 of th..."), "some of it stays, however narrow");
});

// ----------------------------------------------------------------------------------------------------------- disk

const folder = mkdtempSync(join(tmpdir(), "vitc-sweep-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newFile = (): string => join(folder, `${++files}.jsonl`);

test("a row is read as it was written, and what a crash tore is skipped and said, whatever byte it ends at", () => {
  const path = newFile();
  const store = Store.open(path);
  store.append(row({ name: "first", p50_ms: 1 }));
  store.append(row({ name: "second, «ümlaut»", spec_hash: "t" }));
  store.close();
  const whole = readFileSync(path);
  const first = whole.indexOf(10) + 1;
  for (const cut of [1, 20, first - 1, first, first + 1, first + 300, whole.length - 1, whole.length]) {
    writeFileSync(path, whole.subarray(0, cut));
    const again = Store.open(path);
    const { rows, torn } = again.take();
    again.append(row({ name: "third", spec_hash: "u" }));
    assert.equal(again.take().rows.map(({ name }) => name), ["third"], `cut at ${cut}`);
    again.close();
    const kept = [...(cut >= first - 1 ? ["first"] : []), ...(cut >= whole.length - 1 ? ["second, «ümlaut»"] : [])];
    assert.equal(rows.map(({ name }) => name), kept, `cut at ${cut}`);
    assert.is(torn.length, [1, 20, first + 1, first + 300].includes(cut) ? 1 : 0, `cut at ${cut}`);
    assert.equal(parseRows(readFileSync(path, "utf8")).rows.map(({ name }) => name), [...kept, "third"]);
  }
});

test("lines that are no rows are skipped with their numbers", () => {
  const good = JSON.stringify(row());
  assert.equal(parseRows(["{", good, "", "[1]", "null", JSON.stringify({ ...row(), depth: [1] }), good].join("\n")).torn, [1, 4, 5, 6]);
});

test("of rows of one thing the latest counts; adapters, dtypes and checks are apart", () => {
  const list = [row({ p50_ms: 1, measured_at: "2026-01-02" }), row({ p50_ms: 2, measured_at: "2026-01-03" }), row({ p50_ms: 3, measured_at: "2026-01-01" }), row({ p50_ms: 4, adapter: "other" }), row({ p50_ms: 5, robust: true })];
  assert.equal(latestRows(list).map(({ p50_ms }) => p50_ms), [2, 4, 5]);
});

test("two writers on one file lose nothing and tear nothing, even when one is killed", async () => {
  const path = newFile();
  const writer = fileURLToPath(new URL("../tools/sweep-writer.ts", import.meta.url));
  const start = (name: string) => spawn(process.execPath, ["--import", import.meta.resolve("tsx"), writer, path, name, "150"], { stdio: "ignore" });
  const children = ["a", "b", "c"].map(start);
  const ended = children.map((child) => new Promise((done) => child.on("close", done)));
  // Killed in the middle of its writing, as soon as it has begun.
  const killer = setInterval(() => {
    if (parseSafely(path).rows.some(({ name }) => name.startsWith("c "))) children[2]!.kill("SIGKILL");
  }, 2);
  await Promise.all(ended);
  clearInterval(killer);
  const { rows, torn } = parseSafely(path);
  const count = (name: string): number => rows.filter((each) => each.name.startsWith(`${name} `)).length;
  assert.equal([count("a"), count("b"), torn], [150, 150, []]);
  assert.ok(count("c") > 0 && count("c") < 150, `${count("c")} rows of the one that was killed`);
});

function parseSafely(path: string): ReturnType<typeof parseRows> {
  try {
    return parseRows(readFileSync(path, "utf8"));
  } catch {
    return { rows: [], torn: [] };
  }
}

test("a full disk is said, and costs the row in flight alone", async () => {
  if (process.platform !== "linux") return;
  const path = newFile();
  const writer = fileURLToPath(new URL("../tools/sweep-writer.ts", import.meta.url));
  // A limit of 8 KiB on files is a disk that is full in the middle of a line.
  const child = spawn("bash", ["-c", `ulimit -f 8; exec "$@"`, "bash", process.execPath, "--import", import.meta.resolve("tsx"), writer, path, "a", "150"], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  await new Promise((done) => child.on("close", done));
  assert.match(said, /StoreError: the row of a \d+ could not be written to .*rows before it are safe: make room, and run the same command again/);
  const before = parseRows(readFileSync(path, "utf8"));
  assert.ok(before.rows.length > 3 && before.rows.length < 150);
  const store = Store.open(path);
  store.append(row({ name: "after" }));
  store.close();
  assert.equal(parseRows(readFileSync(path, "utf8")).rows.map(({ name }) => name), [...before.rows.map(({ name }) => name), "after"]);
});

test("what is no file of rows is refused", () => {
  assert.throws(() => Store.open(folder), (error: unknown) => error instanceof StoreError && /cannot be kept in/.test(error.message));
  const path = newFile();
  const store = Store.open(path);
  store.append(row());
  store.take();
  truncateSync(path, 3);
  assert.throws(() => store.take(), /has become shorter/);
  appendFileSync(path, "\n");
  store.close();
});

// ---------------------------------------------------------------------------------------------------------- merge

test("shards are joined, adapters stay apart, and rows of another version or plan are refused", () => {
  const file = (name: string, ...rows: readonly Row[]) => ({ name, rows, torn: [] });
  const merged = mergeRows([file("a", row({ spec_hash: "1", plan_hash: "x" }), row({ spec_hash: "2", plan_hash: "y" })), file("b", row({ spec_hash: "1", plan_hash: "x", measured_at: "2026" }), row({ spec_hash: "1", plan_hash: "x", adapter: "other" }))]);
  assert.equal([merged.rows.length, merged.duplicates, [...merged.adapters]], [3, 1, [["gpu", 2], ["other", 1]]]);
  assert.throws(() => mergeRows([file("a", row()), file("b", row({ version: "2" }))]), /a has rows of vitc 1 and b of vitc 2/);
  assert.throws(() => mergeRows([file("a", row()), file("b", row({ plan_hash: "q" }))]), /a has plan p in a and plan q in b: they were compiled by different builds/);
  assert.equal(mergeRows([]).rows, []);
});

test.run();
