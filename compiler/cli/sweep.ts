import { Command, Option } from "commander";
import { stat } from "node:fs/promises";
import { dirname, basename, extname, join, relative, resolve } from "node:path";
import { targets } from "../target/targets.js";
import { defineSweep, isSweep, type Sweep } from "../sweep/define.js";
import { markPareto, parsePareto, parseSort, sortRows } from "../sweep/order.js";
import { costPredictor } from "../sweep/predictor.js";
import { columnsOf, steady, type Column, type Row } from "../sweep/row.js";
import { sweep, type SweepOptions, type SweepProgress } from "../sweep/sweep.js";
import { axisCells, variantsOf, type Shard } from "../sweep/variants.js";
import { cellKinds, parseWhere, type CellKind } from "../sweep/where.js";
import { csv, markdown, textRows } from "../sweep/write.js";
import { nearest } from "../spec/errors.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { plural, table } from "./format.js";
import { sweepShape } from "./json-sweep.js";
import { loadSpec } from "./load-spec.js";
import { adapterOption, digits, runsOption, secondsOption } from "./measure-options.js";
import { jsonOption, robustOption } from "./options.js";
import { sweepMergeCommand } from "./sweep-merge.js";
import { duration, parseBudget, parseShard } from "./sweep-options.js";
import { expectWritable, writeWhole } from "./write-whole.js";

const formats = ["table", "md", "csv", "json", "html", "svg", "png"] as const;

interface Options {
  readonly measure?: boolean;
  readonly budget?: number;
  readonly runs?: number;
  readonly seconds: number;
  readonly adapter: "auto" | "gpu" | "software";
  readonly robust?: boolean;
  readonly rows?: string;
  readonly shard?: Shard;
  readonly retryFailed?: boolean;
  readonly target?: string;
  readonly where?: string;
  readonly sort?: string;
  readonly pareto?: string;
  readonly front?: boolean;
  readonly columns?: string;
  readonly plot?: string;
  readonly format?: (typeof formats)[number];
  readonly out?: string;
  readonly json?: boolean;
}

/** `vitc sweep SWEEP`: the variants of a spec, their costs, and how fast they are. */
export function sweepCommand(cli: Cli): Command {
  return new Command("sweep")
    .summary("compare variants of a spec: cost, and measured time")
    .description("Lists the variants of a sweep with what each costs, without a GPU; with --measure also how fast each is here. What is measured is kept line by line, and the same command goes on where it was stopped.")
    .argument("<sweep>", "file.ts[#export] with defineSweep({ base, axes })")
    .option("--measure", "measure on this machine's adapter, the most informative variants first")
    .addOption(new Option("--budget <time>", "with --measure: stop after 90s, 10m, 1.5h (default: when all is measured)").argParser(parseBudget))
    .addOption(runsOption("with --measure: runs of each variant"))
    .addOption(secondsOption("or: how long to run each, at least 5 times", 1))
    .addOption(adapterOption())
    .addOption(robustOption())
    .option("--rows <file.jsonl>", "where measured rows are kept (default: beside the sweep)")
    .addOption(new Option("--shard <i/n>", "only this part of the variants, the same on every machine, as 1/4").argParser(parseShard))
    .option("--retry-failed", "measure again what has failed before")
    .addOption(new Option("--target <kind>", "without --measure: predict times for this kind of adapter").choices(targets.map(({ name }) => name)))
    .option("--where <condition>", "only rows for which this is true, as 'p50_ms < 16 && weights_mb < 25'")
    .option("--sort <columns>", "as p50_ms,-params_m (a minus for descending)")
    .option("--pareto <columns>", "mark rows that none beats in all of these, as params_m,p50_ms")
    .option("--front", "with --pareto: only rows with the mark")
    .option("--columns <names>", "columns to show, or all (csv and json have all anyhow)")
    .addOption(new Option("--format <which>", "how rows are printed; html is a page with plots, svg and png are its plot").choices(formats))
    .option("--plot <columns>", "with html, svg, png: what the plot shows, as params_m,p50_ms,depth: across, up, colour (default: --pareto's)")
    .option("-o, --out <file>", "write the rows there instead of stdout")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc sweep specs/sweeps/edge.ts
  $ vitc sweep specs/sweeps/edge.ts --measure --budget 10m
  $ vitc sweep specs/sweeps/edge.ts --where 'p50_ms < 16 && weights_mb < 25' \\
      --sort p50_ms --pareto params_m,p50_ms --format md
  $ vitc sweep specs/sweeps/edge.ts --format html --out edge.html
  $ vitc sweep specs/sweeps/edge.ts --plot params_m,gmacs,depth --format png --out edge.png
  $ vitc sweep specs/sweeps/edge.ts --measure --shard 2/8 --rows shard-2.jsonl
  $ vitc sweep merge shard-*.jsonl --out all.jsonl`,
    )
    .addCommand(sweepMergeCommand(cli))
    .action((reference: string, options: Options, command: Command) => run(cli, reference, options, command));
}

async function run(cli: Cli, reference: string, options: Options, command: Command): Promise<void> {
  const measure = options.measure === true;
  if (!measure) for (const name of ["budget", "runs", "robust", "retryFailed"] as const) if (options[name] !== undefined) throw new UserError(`--${name === "retryFailed" ? "retry-failed" : name} says how to measure: add --measure`);
  if (!measure) for (const name of ["seconds", "adapter"]) if (command.getOptionValueSource(name) === "cli") throw new UserError(`--${name} says how to measure: add --measure`);
  if (measure && options.target !== undefined) throw new UserError("--target predicts for a kind of adapter, and --measure for the one that is here: leave one of both out");
  if (options.front === true && options.pareto === undefined) throw new UserError("--front shows the rows that --pareto marks: add --pareto params_m,p50_ms for example");
  if (options.json === true && options.format !== undefined && options.format !== "json") throw new UserError(`--json prints JSON, and --format ${options.format} does not: leave one of both out`);
  const format = options.format ?? (options.json === true ? "json" : "table");
  if (options.plot !== undefined && !["html", "svg", "png"].includes(format)) throw new UserError("--plot is of a page or a picture: add --format html, svg or png");
  if (format === "png" && options.out === undefined) throw new UserError("--format png makes bytes, which are no text for a terminal: add --out plot.png");

  const { spec: value, file } = await loadSpec(reference, cli.cwd);
  if (!isSweep(value)) throw new UserError(`${reference} is no sweep: export default defineSweep({ base, axes: { depth: [6, 12] } })`);
  const definition: Sweep = defineSweep(value);
  const axes = variantsOf(definition).axes;
  const columns = columnsOf(axes);
  // What can be wrong is looked at before anything is worked out.
  const shaped = shapeOf(columns, cellKinds(columns, axisCells(definition)), options);
  const rowsFile = options.rows === undefined ? besides(file!) : resolve(cli.cwd, options.rows);
  const out = options.out === undefined ? undefined : await expectWritable("--out", options.out, undefined, cli.cwd);
  const isThere = await expectRows(options.rows ?? relative(cli.cwd, rowsFile), rowsFile, measure);
  if (!measure && options.rows !== undefined && !isThere) throw new UserError(`there is no file ${options.rows}; it is made by --measure`);

  const notices: string[] = [];
  const rows: Row[] = [];
  const line = cli.progress(measure ? "Measuring" : "Sweeping");
  const sweepOptions: SweepOptions = {
    ...(measure && { adapter: options.adapter, budget: options.budget, runs: options.runs, seconds: options.seconds, robust: options.robust === true, retryFailed: options.retryFailed === true }),
    ...((measure || isThere) && { rows: rowsFile }),
    ...(options.target !== undefined && { predictor: costPredictor(options.target) }),
    shard: options.shard,
    onNotice: (notice) => void (notices.includes(notice) || notices.push(notice)),
    onProgress: (progress) => line.update(progress.total === 0 ? 1 : progress.done / progress.total, progressText(progress)),
    signal: cli.signal,
  };
  try {
    for await (const row of sweep(definition, sweepOptions)) rows.push(row);
  } catch (error) {
    line.done();
    const count = rows.filter(isMeasured).length;
    if (measure && count > 0) cli.say(`${plural(count, "variant")} measured so far, kept in ${relative(cli.cwd, rowsFile)}; the same command goes on from there.`);
    throw error;
  } finally {
    line.done();
  }

  for (const notice of notices) cli.say(notice);
  const shown = shaped(rows);
  const text = await render(format, shown, { columns, axes, options, reference, rows, notices, width: out === undefined ? cli.width : undefined });
  if (out === undefined) cli.print(String(text).trimEnd());
  else await writeWhole(out, typeof text === "string" && !text.endsWith("\n") ? `${text}\n` : text, cli);
  if (format !== "csv" && format !== "json") cli.say(summary(rows, shown, measure ? relative(cli.cwd, rowsFile) : undefined, out === undefined ? undefined : options.out));
}

const isMeasured = ({ p50_ms }: Row): boolean => p50_ms !== null;

/** `edge.ts` -> `edge.jsonl`. */
const besides = (file: string): string => join(dirname(file), `${basename(file, extname(file))}.jsonl`);

/**
 * Whether there is a file of rows.
 * @throws UserError where something else is, and where one is to be made in no folder
 */
async function expectRows(shown: string, file: string, measure: boolean): Promise<boolean> {
  const [there, folder] = await Promise.all([file, dirname(file)].map((path) => stat(path).catch(() => undefined)));
  if (there !== undefined && !there.isFile()) throw new UserError(`rows cannot be kept in ${shown}: it is ${there.isDirectory() ? "a folder" : "not a regular file"}; name a file: --rows ${join(there.isDirectory() ? shown : dirname(shown), "rows.jsonl")}`);
  if (measure && folder?.isDirectory() !== true) throw new UserError(`rows cannot be kept in ${shown}: ${folder === undefined ? `there is no folder ${dirname(shown)}; make it first` : `${dirname(shown)} is a file and no folder; name another`}`);
  return there !== undefined;
}

/** Filters, marks and sorts as the options say. `kinds` tells which columns hold numbers. */
function shapeOf(columns: readonly Column[], kinds: ReadonlyMap<string, CellKind>, options: Options): (rows: readonly Row[]) => readonly Row[] {
  const { where, sort, pareto, front, columns: chosen } = options;
  const names = columns.map(({ name }) => name);
  const condition = where === undefined ? () => true : parseWhere(where, names.filter((name) => name !== "pareto"), kinds);
  const marked = pareto === undefined ? undefined : parsePareto(pareto, columns);
  const keys = sort === undefined ? [] : parseSort(sort, columns);
  chosenColumns(columns, chosen);
  plotOf({ columns, options });
  return (rows) => {
    // What failed comes after what did not, however else rows are sorted.
    const kept = rows.filter(condition).toSorted((a, b) => Number(a.failed !== null) - Number(b.failed !== null));
    const withMarks = marked === undefined ? kept : markPareto(kept, marked);
    return sortRows(front === true ? withMarks.filter((row) => row.pareto === true) : withMarks, keys);
  };
}

function chosenColumns(columns: readonly Column[], text: string | undefined): readonly Column[] | undefined {
  if (text === undefined || text === "all") return text === undefined ? undefined : columns;
  return text.split(",").map((part) => {
    const name = part.trim();
    const found = columns.find((column) => column.name === name);
    if (found) return found;
    const names = columns.map((column) => column.name);
    const near = nearest(name, names);
    throw new UserError(`--columns: ${name === "" ? "an empty name" : name} is no column${near === undefined ? `; columns are ${names.join(", ")}` : `; did you mean ${near}?`}`);
  });
}

interface Shown {
  readonly columns: readonly Column[];
  readonly axes: readonly string[];
  readonly options: Options;
  readonly reference: string;
  /** All, before --where. */
  readonly rows: readonly Row[];
  readonly notices: readonly string[];
  /** Columns of the terminal that a table is printed on. */
  readonly width: number | undefined;
}

async function render(format: (typeof formats)[number], shown: readonly Row[], about: Shown): Promise<string | Uint8Array> {
  const { columns, options, reference, rows, notices, width } = about;
  switch (format) {
    case "table":
      return shown.length === 0 ? "no rows" : table(textRows(shown, tableColumns(shown, about)), width);
    case "md":
      return markdown(shown, tableColumns(shown, about));
    case "csv":
      return csv(shown, chosenColumns(columns, options.columns) ?? columns);
    case "json": {
      const report = {
        ...{ vitc: version, sweep: reference, variants: rows.length, failed: rows.filter(({ failed }) => failed !== null).length, measured: rows.filter(isMeasured).length, notices: [...notices] },
        columns: columns.map(({ name, title, unit, kind, better, about: text }) => ({ name, title, unit, kind, better: better ?? null, about: text })),
        rows: shown.map((row) => ({ ...row })),
      };
      return JSON.stringify(sweepShape.parse(report), null, 2);
    }
    case "html": {
      const { sweepPage } = await import("../sweep/page/index.js");
      return sweepPage(shown, columns, { title: basename(reference.replace(/#.*/s, "")).replace(/\.\w+$/, ""), notices, ...plotOf(about) });
    }
    case "svg":
    case "png": {
      const { defaultPlot, scatterSvg, svgToPng } = await import("../sweep/page/scatter.js");
      const svg = scatterSvg(shown, columns, { ...defaultPlot(shown, columns, plotOf(about)), pareto: true });
      return format === "svg" ? svg : svgToPng(svg);
    }
    default:
      return format satisfies never;
  }
}

/** What `--plot` names, or else `--pareto`: columns across and up, and of the colours. */
function plotOf({ columns, options: { plot, pareto } }: Pick<Shown, "columns" | "options">): { readonly x?: string; readonly y?: string; readonly color?: string } {
  const names = (plot ?? pareto ?? "").split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (plot !== undefined && (names.length < 2 || names.length > 3)) throw new UserError("--plot takes two columns or three, as params_m,p50_ms,depth: across, up, colour");
  for (const name of plot === undefined ? [] : names) {
    const near = nearest(name, columns.map((column) => column.name));
    if (!columns.some((column) => column.name === name)) throw new UserError(`--plot: ${name} is no column${near === undefined ? `; columns are ${columns.map((column) => column.name).join(", ")}` : `; did you mean ${near}?`}`);
  }
  const [x, y, color] = names;
  return { ...(x !== undefined && y !== undefined && { x, y }), ...(plot !== undefined && color !== undefined && { color }) };
}

/** What a table shows unless it is told: what one chooses by, as far as it is known. A name says no more than the axes do. */
const usual = ["tokens", "params_m", "weights_mb", "gmacs", "attention_share", "activation_mb", "dispatches", "predicted_ms", "p50_ms", "p95_ms", "images_per_s", "gflops_per_s", "roofline_share", "bound_by", "metric", "max_abs_error", "pareto", "failed"];

function tableColumns(rows: readonly Row[], { columns, axes, options }: Shown): readonly Column[] {
  const chosen = chosenColumns(columns, options.columns);
  if (chosen !== undefined) return chosen;
  const several = new Set(rows.map(({ adapter }) => adapter).filter((adapter) => adapter !== null)).size > 1;
  const asked = [options.sort ?? "", options.pareto ?? ""].flatMap((text) => text.split(",").map((name) => name.trim().replace(/^-/, "")));
  const known = ({ name }: Column): boolean => rows.some((row) => row[name] !== null);
  // A machine that was another for some of the rows is told beside their times.
  const drifted = rows.some(({ drift }) => drift !== null && Math.abs(drift - 1) > steady);
  return columns.filter((column) => (axes.length === 0 && column.kind === "name") || axes.includes(column.name) || asked.includes(column.name) || (column.name === "adapter" && several) || (column.name === "drift" && drifted) || (usual.includes(column.name) && known(column)));
}

function summary(rows: readonly Row[], shown: readonly Row[], rowsFile: string | undefined, out: string | undefined): string {
  const failed = rows.filter((row) => row.failed !== null);
  const parts = [
    shown.length < rows.length ? `${shown.length.toLocaleString("en-US")} of ${plural(rows.length, "variant")}` : plural(rows.length, "variant"),
    ...(rows.some(isMeasured) ? [`${rows.filter(isMeasured).length.toLocaleString("en-US")} measured`] : []),
    ...(failed.length > 0 ? [`${failed.length.toLocaleString("en-US")} failed (--where 'failed != null' shows them)`] : []),
  ];
  return `${parts.join(", ")}${rowsFile === undefined ? "" : `; measured rows are kept in ${rowsFile}`}${out === undefined ? "" : `; written to ${out}`}`;
}

const barLength = 16;

/** `[######..........] 12/60, 1 failed, 4 min left, best 10.8 ms`: the line is cut at the end, where the name of what runs stands. */
function progressText({ stage, done, total, failed, detail, best, left }: SweepProgress): string {
  const full = total === 0 ? barLength : Math.round((barLength * done) / total);
  const parts = [
    `${done}/${total}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(left === undefined || stage === "variants" ? [] : [`${duration(left)} left`]),
    ...(best === undefined ? [] : [`best ${digits(best.p50_ms!)} ms`]),
    ...(detail === "" ? [] : [detail]),
  ];
  return `[${"#".repeat(full)}${".".repeat(barLength - full)}] ${parts.join(", ")}`;
}
