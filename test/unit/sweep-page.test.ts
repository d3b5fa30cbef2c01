import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import sharp from "sharp";
import ts from "typescript";
import * as assert from "uvu/assert";
import { frameOf } from "../../compiler/sweep/page/choose.js";
import { parseFilter } from "../../compiler/sweep/page/client/filter.js";
import { cellText, scattered, unpackFrame, type Packed } from "../../compiler/sweep/page/client/frame.js";
import { passing } from "../../compiler/sweep/page/client/parallel-chart.js";
import { frontOf, frontsOf, pointsOf, readingOf, type Point, type Wanted } from "../../compiler/sweep/page/client/points.js";
import { sortRows } from "../../compiler/sweep/page/client/table.js";
import { SpecError } from "../../compiler/spec/errors.js";
import { sweepPage, type SweepPageOptions } from "../../compiler/sweep/page/index.js";
import { libraryText } from "../../compiler/sweep/page/library.js";
import { knownColumns, packRows } from "../../compiler/sweep/page/pack.js";
import { scatterSvg, svgToPng, tokensSvg } from "../../compiler/sweep/page/scatter.js";
import { script } from "../../compiler/sweep/page/script.js";
import type { AxesSweep } from "../../compiler/sweep/define.js";
import { columnsOf, type Row } from "../../compiler/sweep/row.js";
import { sweep } from "../../compiler/sweep/sweep.js";
import resolution from "../../specs/sweeps/resolution.js";
import { suite } from "../tools/suite.js";
import { madeRows } from "../tools/sweep-rows.js";

const test = suite("the page of a sweep");

const { rows, columns } = madeRows();
const good = rows.filter(({ failed }) => failed === null);
const frame = frameOf(good, columns);
const all = good.map((_, row) => row);
const page = (of: readonly Row[] = rows, options: Partial<SweepPageOptions> = {}): Promise<string> => sweepPage(of, columns, { title: "edge", ...options });

/** The data in a page. */
function dataOf(html: string): Packed & { readonly table: readonly string[] } {
  const text = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)?.[1];
  assert.ok(text !== undefined, "the page has its data as JSON");
  return JSON.parse(text) as Packed & { readonly table: readonly string[] };
}

function withoutLibrary(html: string): string {
  const library = libraryText();
  assert.ok(html.includes(library));
  return html.replace(library, () => "");
}

const refused = async (action: () => unknown, sentence: RegExp): Promise<void> => {
  try {
    await action();
  } catch (error) {
    assert.instance(error, SpecError);
    assert.match((error as Error).message, sentence);
    return;
  }
  assert.unreachable("nothing was thrown");
};

test("is one file below 2 MB that names no address, and the same for the same rows", async () => {
  const html = await page();
  assert.ok(Buffer.byteLength(html) < 2_000_000);
  assert.is(html, await page());
  // What stands outside the library: addresses in it are of licences and namespaces, and a policy forbids requests.
  assert.not.match(withoutLibrary(html), /https?:\/\//);
  assert.not.match(withoutLibrary(html), /<(?:link|img|script|iframe)[^>]+(?:src|href)="(?!data:,|#)/);
});

test("allows its own scripts by their hashes, and no other", async () => {
  const html = await page();
  const policy = /Content-Security-Policy" content="([^"]+)"/.exec(html)![1]!.replaceAll("&#39;", "'");
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, text]) => `'sha256-${createHash("sha256").update(text!).digest("base64")}'`);
  assert.is(scripts.length, 2);
  assert.match(policy, /default-src 'none'/);
  assert.is(/script-src ([^;]+)/.exec(policy)![1], scripts.join(" "));
});

test("holds every cell of every row that did not fail, to six digits", async () => {
  const data = dataOf(await page());
  const read = unpackFrame(data);
  assert.is(read.count, good.length);
  for (const { name } of data.columns) {
    for (const row of all) {
      const [cell, own] = [read.cells.get(name)![row]!, good[row]![name] ?? null];
      if (typeof own === "number" && typeof cell === "number") assert.ok(Math.abs(cell - own) <= 5e-6 * Math.abs(own), `${name} of row ${row}: ${cell}, not ${own}`);
      else assert.is(cell, own, `${name} of row ${row}`);
    }
  }
  assert.not.ok(data.columns.some(({ name }) => name === "metric"), "a column of which nothing is known is left out");
});

test("packs columns of one, 65 and 5000 values alike", () => {
  const many = Array.from({ length: 6000 }, (_, i): Row => ({ ...good[0]!, name: `v${i}`, tokens: i % 65, params: i % 5000, dispatches: 7, metric: i % 3 === 0 ? null : Number.NaN, pareto: i % 2 === 0 }));
  const packed = packRows(many, columns);
  const read = unpackFrame(JSON.parse(JSON.stringify(packed)) as Packed);
  for (const name of ["name", "tokens", "params", "dispatches", "pareto"]) assert.equal(read.cells.get(name), many.map((row) => row[name]), name);
  assert.equal([...new Set(read.cells.get("metric"))], [null], "what is no number is not known");
  const of = (name: string): number => packed.columns.find((column) => column.name === name)!.codes?.length ?? 0;
  assert.equal([of("dispatches"), of("tokens"), of("params")], [6000, 12000, 0]);
});

test("keeps names that look like markup in their place", async () => {
  const hostile = `</script><script>alert(1)</script><img src=x onerror=alert(2)> "' & \u2028`;
  const html = await page([{ ...good[0]!, name: hostile }, { ...good[1]!, failed: hostile, name: hostile }], { title: hostile, notices: [hostile] });
  assert.is(html.split("<script").length - 1, 3, "two scripts and the data");
  assert.not.match(withoutLibrary(html), /<img/);
  assert.is(unpackFrame(dataOf(html)).cells.get("name")![0], hostile);
});

test("lists what failed by reason, and says how many", async () => {
  const failed = rows.filter(({ failed }) => failed !== null);
  const html = await page();
  const list = html.slice(html.indexOf('class="failures"'));
  assert.is(failed.length, 4);
  assert.ok(html.includes("<h2 id=\"failed-title\">Failed</h2>") && html.includes("4 variants, by reason."));
  assert.is(list.split(failed[0]!.failed!).length - 1, 1, "one reason, once");
  for (const { name } of failed) assert.ok(list.includes(name));
  assert.not.ok(html.slice(0, html.indexOf('class="failures"')).includes(failed[0]!.name), "the others do not hold it");
});

test("a sweep without rows, and one in which all failed, are pages too", async () => {
  const [none, failed] = [await page([]), await page(rows.filter(({ failed }) => failed !== null))];
  assert.ok(none.includes("The sweep has no rows yet."));
  assert.ok(failed.includes("No variant has numbers.") && failed.includes("not a multiple of patch"));
  assert.match(none, /script-src &#39;none&#39;/);
  assert.ok(none.length < 50_000, "without the library");
});

test("holds 10,000 rows; what is beyond its limit is left out and said, the front is not", async () => {
  const grid = madeRows({ depths: [4, 6, 8, 10, 12, 14, 16, 18, 20, 24], widths: 10, patches: [8, 12, 14, 16, 20, 24, 28, 32, 40, 48], images: [128, 160, 192, 224, 240, 256, 288, 320, 352, 384] });
  assert.is(grid.rows.length, 10_000);
  const whole = await sweepPage(grid.rows, grid.columns, { title: "grid" });
  assert.ok(Buffer.byteLength(whole) <= 2_000_000, `${Buffer.byteLength(whole)} bytes`);
  assert.ok(whole.includes("data-deflated") && !whole.includes("variants are in this page"));

  const small = await sweepPage(grid.rows, grid.columns, { title: "grid", mostBytes: 1_400_000 });
  assert.ok(Buffer.byteLength(small) <= 1_400_000 && Buffer.byteLength(small) > 1_250_000, `${Buffer.byteLength(small)} bytes`);
  const [, kept, known] = /([\d,]+) of ([\d,]+) variants are in this page/.exec(small)!.map((text) => Number(text.replaceAll(",", "")));
  assert.is(known, grid.rows.filter(({ failed }) => failed === null).length);
  assert.ok(kept! > 1500 && kept! < known!, `${kept} rows`);
  const front = (html: string): string => /<dt>On the front<\/dt><dd>(\d+)/.exec(html)![1]!;
  assert.is(front(small), front(whole));
  await refused(() => page(rows, { mostBytes: 1000 }), /^mostBytes: 1,000 bytes have no room for rows; a page of one takes 1,\d\d\d,\d\d\d$/);
});

test("samples a grid without falling into step with it", () => {
  const sample = scattered(Array.from({ length: 10_000 }, (_, i) => i)).slice(0, 1000);
  assert.is(new Set(sample).size, 1000);
  for (const period of [2, 3, 4, 5, 7, 8, 10, 16, 100]) {
    const counts = Array.from({ length: period }, (_, rest) => sample.filter((row) => row % period === rest).length);
    assert.ok(Math.min(...counts) > (0.6 * 1000) / period && Math.max(...counts) < (1.6 * 1000) / period, `period ${period}: ${counts.join(" ")}`);
  }
});

test("has a script in which every name is known", () => {
  const file = "script.ts";
  const text = `declare const echarts: never;\n${script().replaceAll("globalThis.echarts", "echarts")}`;
  const options: ts.CompilerOptions = { target: ts.ScriptTarget.ES2023, lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"], types: [], noEmit: true, strict: false };
  const host = ts.createCompilerHost(options);
  const known = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) => (name === file ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2023) : known(name, ...rest));
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file)!;
  assert.equal(program.getSyntacticDiagnostics(source).map(({ messageText }) => messageText), []);
  // 2304 and its like: cannot find name.
  const missing = (of: ts.Program): unknown[] => of.getSemanticDiagnostics(of.getSourceFile(file)!).filter(({ code }) => [2304, 2552, 2580, 2584, 18004].includes(code)).map(({ messageText }) => messageText);
  assert.equal(missing(program), []);
});

/** Points of the front by the definition: no other is as good in both and better in one. */
function frontByDefinition(points: readonly Point[], x: Wanted, y: Wanted): readonly number[] {
  const beats = (a: number, b: number, wanted: Wanted): number => (wanted === "less" ? b - a : a - b);
  return points.filter((point) => !points.some((other) => {
    const [across, up] = [beats(other.x.value, point.x.value, x), beats(other.y.value, point.y.value, y)];
    return across >= 0 && up >= 0 && across + up > 0;
  })).map(({ row }) => row);
}

test("finds the Pareto front of any two ends, with equal points and equal coordinates", () => {
  const reading = (value: number): Point["x"] => ({ value, low: value, high: value, predicted: false });
  const points = Array.from({ length: 400 }, (_, row): Point => ({ row, x: reading(Math.round((9 + (row % 3)) * Math.cos(row))), y: reading(Math.round((9 + (row % 3)) * Math.sin(row))) }));
  for (const x of ["less", "more"] as const) for (const y of ["less", "more"] as const) {
    const front = frontOf(points, x, y).map(({ row }) => row);
    assert.equal(front.toSorted((a, b) => a - b), frontByDefinition(points, x, y), `${x} ${y}`);
    assert.ok(front.length > 1);
  }
  assert.equal(frontOf([], "less", "less"), []);
});

test("has a front for each adapter, whose times are no rivals", () => {
  const two = good.map((row, i): Row => (i % 2 === 0 ? { ...row, adapter: "slow", p50_ms: 100 + row.gmacs! } : { ...row, adapter: "fast", p50_ms: row.gmacs! }));
  const both = frameOf(two, columns);
  const [slow, fast] = frontsOf(both, pointsOf(both, all, "params_m", "p50_ms", false), "more", "less");
  assert.ok(slow!.length > 1 && slow!.every(({ row }) => two[row]!.adapter === "slow"));
  assert.ok(fast!.length > 1 && fast!.every(({ row }) => two[row]!.adapter === "fast"));
});

test("draws what was counted of a variant that failed, and lists it too", async () => {
  const name = "counted-but-not-planned";
  const html = await page([...rows, { ...good[0]!, name, failed: "image: one image of 640001 tokens needs 1.83 GiB" }]);
  assert.ok(unpackFrame(dataOf(html)).cells.get("name")!.includes(name));
  assert.ok(html.slice(html.indexOf('class="failures"')).includes(name) && html.includes("5 variants, by reason."));
});

test("takes a prediction with its band where nothing was measured, if it may", () => {
  const [measured, predicted] = [good.findIndex(({ p50_ms }) => p50_ms !== null), good.findIndex(({ p50_ms }) => p50_ms === null)];
  const own = good[measured]!.p50_ms!;
  assert.equal(readingOf(frame, "p50_ms", measured, true), { value: own, low: own, high: own, predicted: false });
  const { predicted_ms: value, predicted_low_ms: low, predicted_high_ms: high } = good[predicted]!;
  assert.equal(readingOf(frame, "p50_ms", predicted, true), { value, low, high, predicted: true });
  assert.is(readingOf(frame, "p50_ms", predicted, false), null);
  assert.is(pointsOf(frame, all, "params_m", "p50_ms", false).length, good.filter(({ p50_ms }) => p50_ms !== null).length);
});

test("filters by comparisons and words", () => {
  const rowsOf = (text: string): readonly number[] => {
    const filter = parseFilter(frame, text);
    assert.ok("test" in filter, "problem" in filter ? filter.problem : "");
    return all.filter(filter.test);
  };
  const those = (test: (row: Row) => boolean): readonly number[] => all.filter((row) => test(good[row]!));
  assert.equal(rowsOf(""), all);
  assert.equal(rowsOf("depth=12"), those((row) => row["depth"] === 12));
  assert.equal(rowsOf("p50_ms < 3 && patch >= 16"), those((row) => row.p50_ms !== null && row.p50_ms < 3 && (row["patch"] as number) >= 16));
  assert.equal(rowsOf("DEPTH9 image224 tokens>100"), those((row) => row.name.includes("depth9") && row.name.includes("image224") && row.tokens! > 100));
  assert.equal(rowsOf('dtype = "f32" dtype!=f16'), all);
  assert.equal(rowsOf("dtype < 5"), []);
  for (const [text, sentence] of [["dept < 3", "there is no column dept; there is depth"], ["p50_ms < && depth", "p50_ms is not a comparison"], ["depth=6 & dim=192", "write && between conditions"]] as const) {
    const filter = parseFilter(frame, text);
    assert.ok("problem" in filter && filter.problem.includes(sentence.split(" is not")[0]!), `${text}: ${"problem" in filter ? filter.problem : "passed"}`);
  }
});

test("sorts numbers by size and puts what is not known last", () => {
  const p50 = (down: boolean): readonly (number | null)[] => sortRows(frame, all, { name: "p50_ms", down }).map((row) => good[row]!.p50_ms);
  const known = good.flatMap(({ p50_ms }) => p50_ms ?? []).toSorted((a, b) => a - b);
  assert.equal(p50(false).slice(0, known.length), known);
  assert.equal(p50(true).slice(0, known.length), known.toReversed());
  assert.is(p50(true).at(-1), null);
  assert.equal(sortRows(frame, all, null), all);
});

test("keeps what passes through marked ranges", () => {
  const names = ["depth", "dim", "p50_ms"];
  const passed = (marked: readonly (readonly (readonly [number, number])[])[]): readonly number[] | null => {
    const set = passing(frame, all, names, marked);
    return set === null ? null : [...set];
  };
  assert.is(passed([[], [], []]), null);
  // Axes of few values are marked by the places of these: 6, 9, 12.
  assert.equal(passed([[[0.5, 2.2]], [], []]), all.filter((row) => good[row]!["depth"] !== 6));
  assert.equal(passed([[[-0.4, 0.4], [1.5, 2.5]], [], [[0, 3]]]), all.filter((row) => good[row]!["depth"] !== 9 && (good[row]!.p50_ms ?? good[row]!.predicted_ms)! <= 3));
  assert.equal(passed([[], [], [[-2, -1]]]), []);
});

test("writes numbers as a person reads them", () => {
  for (const [digits, cell, text] of [[2, 12345.678, "12,345.68"], [2, 0.0012, "0.0012"], [0, 50176, "50,176"], [undefined, 12288, "12288"], [undefined, 3.21e-7, "3.21e-7"], [undefined, 0.1, "0.1"], [2, 0, "0.00"], [1, null, ""], [undefined, true, "yes"], [2, "224x320", "224x320"]] as const) assert.is(cellText({ digits }, cell), text);
});

test("refuses columns that are not there, or have no numbers, with those that do", async () => {
  await refused(() => page(rows, { x: "parms" }), /^x: no row has a value in a column parms; did you mean params\?$/);
  await refused(() => page(rows, { y: "bound_by" }), /^y: bound_by cannot be drawn there; there is /);
  await refused(() => page(rows, { color: "name" }), /^color: name cannot be drawn there/);
  await refused(() => scatterSvg(rows, columns, { x: "metric", y: "p50_ms", pareto: false }), /^x: no row has a value in a column metric; there is depth, .*params_m/);
  await refused(() => scatterSvg(rows, columns, { x: "gmacs", y: "p50_ms", pareto: false, width: 1e9 }), /^width: 1000000000 is not a whole number of pixels from 200 to 8000$/);
});

test("opens on the metric where there is one, and on what --pareto named", async () => {
  const selected = (html: string, id: string): string => new RegExp(`<select id="${id}"[^>]*>.*?<option value="([^"]*)" selected`, "s").exec(html)![1]!;
  const { rows: judged, columns } = madeRows({ metric: true });
  const withMetric = await sweepPage(judged, columns, { title: "judged" });
  assert.equal(["x", "y", "want-x", "want-y"].map((id) => selected(withMetric, id)), ["p50_ms", "metric", "less", "more"]);
  const asked = await page(rows, { x: "gmacs", y: "activation_mb", color: "patch" });
  assert.equal(["x", "y", "want-x", "color"].map((id) => selected(asked, id)), ["gmacs", "activation_mb", "less", "patch"]);
  const still = madeRows({ measured: false });
  assert.equal(selected(await sweepPage(still.rows, still.columns, { title: "still" }), "y"), "predicted_ms");
});

test("a scatter plot is SVG with a mark a row, the same each time", () => {
  const draw = (pareto: boolean): string => scatterSvg(rows, columns, { x: "params_m", y: "gmacs", color: "depth", pareto });
  const svg = draw(true);
  assert.is(svg, draw(true));
  assert.match(svg, /^<svg width="900" height="560"/);
  for (const text of ["params (M)", "GMACs", "depth 6", "depth 9", "depth 12"]) assert.ok(svg.includes(`>${text}</text>`), text);
  assert.not.match(svg, /<script|href=/);
  assert.is(svg.split("stroke-dasharray").length - draw(false).split("stroke-dasharray").length, 1, "the front");
  assert.is(svg.match(/<path d="M1 0A1 1 /g)?.length, good.length);
});

test("the example's picture is what the example's sweep gives", async () => {
  const swept: Row[] = [];
  for await (const row of sweep(resolution)) swept.push(row);
  const inOrder = swept.toSorted((a, b) => a.tokens! - b.tokens!);
  const committed = readFileSync(new URL("../../examples/resolution.svg", import.meta.url), "utf8");
  assert.is(tokensSvg(inOrder, columnsOf(Object.keys((resolution as AxesSweep).axes)), { y: "gmacs", color: "image" }), committed, "npx tsx examples/resolution.ts writes it anew");
});

test("a plot of predictions alone says so, and has their bands", () => {
  const still = madeRows({ measured: false });
  const svg = scatterSvg(still.rows, still.columns, { x: "tokens", y: "p50_ms", pareto: true });
  assert.ok(svg.includes(">predicted (ms)</text>"));
  assert.ok(!scatterSvg(rows, columns, { x: "tokens", y: "gmacs", pareto: true }).includes("predicted"));
  assert.ok(scatterSvg(rows, columns, { x: "tokens", y: "p50_ms", pareto: true }).includes(">p50, or predicted (ms)</text>"));
  assert.ok(tokensSvg(still.rows, still.columns, { y: "gmacs", color: "depth" }).includes(">attention&#39;s share</text>") || tokensSvg(still.rows, still.columns, { y: "gmacs" }).includes(">attention's share</text>"));
});

test("a PNG has text, whatever fonts the machine has", async () => {
  const svg = scatterSvg(rows, columns, { x: "params_m", y: "gmacs", pareto: false });
  const ink = async (of: string): Promise<number> => {
    const png = await svgToPng(of);
    const { data, info } = await sharp(png).extractChannel(0).raw().toBuffer({ resolveWithObject: true });
    assert.equal([info.width, info.height], [1800, 1120]);
    return data.reduce((sum, value) => sum + (value < 128 ? 1 : 0), 0);
  };
  const [words, boxes, none] = [await ink(svg), await ink(svg.replaceAll(/>[^<>]+<\/text>/g, (text) => `${text.slice(0, -7).replaceAll(/[^>]/g, "\uE000")}</text>`)), await ink(svg.replaceAll(/<text[^>]*>[^<]*<\/text>/g, ""))];
  assert.ok(words > none + 500, `${words - none} dark pixels of text`);
  // A font that lacks every letter draws the same box for each.
  assert.ok(Math.abs(words - boxes) > 300, `${words} and ${boxes}`);
  assert.equal(knownColumns([], columns), []);
});

test.run();
