import { Command, Option } from "commander";
import { relative } from "node:path";
import type { DType } from "../../runtime/plan.js";
import { printData } from "../emit/print.js";
import { explain } from "../explain/explain.js";
import { plural } from "../explain/format.js";
import { graphData } from "../explain/graph-data.js";
import type { Report } from "../explain/report.js";
import { graphAt, graphStages } from "../explain/stages.js";
import { passesText, routinesText, summary } from "../explain/text.js";
import { print } from "../ir/print.js";
import { makePlan } from "../plan/plan.js";
import { nearest } from "../spec/errors.js";
import { resolve as resolveSpec } from "../spec/resolve.js";
import { toSpec } from "../spec/written.js";
import { UserError, type Cli } from "./context.js";
import { explainGraphShape, explainKernelsShape, explainPassesShape, explainPlanShape, explainRoutinesShape, explainShape, explainSpecShape } from "./json-explain.js";
import { loadSpec, specArgument } from "./load-spec.js";
import { batchOption, dtypeOption, imageOption, jsonOption, patchOption, withOverrides } from "./options.js";
import { expectOwnPage, expectWritable, writeWhole } from "./write-whole.js";

const emitted = ["spec", "graph", "passes", "routines", "plan", "wgsl"] as const;

interface Options {
  readonly emit?: (typeof emitted)[number];
  readonly pass?: string;
  readonly kernel?: string;
  readonly html?: string | true;
  readonly force?: boolean;
  readonly batch?: readonly number[];
  readonly image?: readonly [number, number];
  readonly patch?: readonly [number, number];
  readonly dtype?: DType;
  readonly json?: boolean;
}

/** `vitc explain SPEC`: what the compiler makes of a spec, and why. */
export function explainCommand(cli: Cli): Command {
  return new Command("explain")
    .summary("show what the compiler makes of a spec, and why")
    .description("Shows what the compiler makes of a spec: sizes, passes, dispatches and their costs, the ways to do them and which kind of adapter takes which, memory. Nothing is compiled to disk.")
    .argument("<spec>", specArgument)
    .addOption(new Option("--emit <stage>", "print a stage of the compiler instead").choices(emitted))
    .addOption(new Option("--pass <name>", "with --emit graph: after which pass (build: as built)").choices(graphStages).default("lowered"))
    .option("--kernel <id>", "with --emit wgsl: this kernel alone")
    .option("--html [file]", "write a page that shows it all (default: <name of the spec>.html)")
    .option("--force", "with --html: replace a file that vitc did not write")
    .addOption(batchOption())
    .addOption(imageOption())
    .addOption(patchOption())
    .addOption(dtypeOption("how to store matrices (default: as the spec prefers)"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Examples:
  $ vitc explain my.ts
  $ vitc explain my.ts --html
  $ vitc explain my.ts --emit graph --pass fuse-attention
  $ vitc explain my.ts --emit plan --json`,
    )
    .action(async (reference: string, options: Options, command: Command) => {
      const graphOnly = command.getOptionValueSource("pass") === "cli" && options.emit !== "graph";
      if (graphOnly) throw new UserError(`--pass says which graph to print: add --emit graph`);
      if (options.kernel !== undefined && options.emit !== "wgsl") throw new UserError(`--kernel says which WGSL to print: add --emit wgsl`);
      const { spec } = await loadSpec(reference, cli.cwd);
      const input = withOverrides(spec, options);
      if (options.html !== undefined) await writePage(cli, explain(input), options);
      if (options.html === undefined || options.emit !== undefined || options.json === true) emit(cli, input, options);
    });
}

function emit(cli: Cli, input: unknown, { emit: stage, pass = "lowered", kernel, json = false }: Options): void {
  switch (stage) {
    case undefined: {
      const report = explain(input);
      return json ? cli.json(explainShape, { ...report, spec: toSpec(report.spec), geometry: report.spec.geometry }) : cli.print(summary(report));
    }
    case "spec":
      // A spec is written as JSON in any case: `vitc explain my.ts --emit spec > my.json` is a spec again.
      return cli.json(explainSpecShape, toSpec(resolveSpec(input)));
    case "graph": {
      const graph = graphAt(resolveSpec(input), pass);
      return json ? cli.json(explainGraphShape, graphData(graph, pass)) : cli.print(print(graph).trimEnd());
    }
    case "passes": {
      const { passes } = explain(input);
      return json ? cli.json(explainPassesShape, { passes }) : cli.print(passesText(passes));
    }
    case "routines": {
      const report = explain(input);
      return json ? cli.json(explainRoutinesShape, { targets: report.targets, routines: report.routines }) : cli.print(routinesText(report));
    }
    case "plan": {
      const { plan } = makePlan(resolveSpec(input));
      if (!json) return cli.print(printData(plan));
      const { programs, input: image, outputs, ...shared } = plan;
      const [first, ...moreBatches] = programs.infer;
      return cli.json(explainPlanShape, { ...shared, ...first!, moreBatches, tensors: { input: image, outputs } });
    }
    case "wgsl": {
      const kernels = kernelsNamed(explain(input), kernel);
      if (json) return cli.json(explainKernelsShape, { kernels });
      return cli.print(kernels.map(({ id, dispatches, takenOn, code }) => `// ${id}: for ${plural(dispatches, "dispatch")}, ${takenOn.length > 0 ? `taken on ${takenOn.join(", ")}` : "taken by nobody untuned"}\n${code}`).join("\n"));
    }
    default:
      return stage satisfies never;
  }
}

function kernelsNamed({ kernels }: Report, id: string | undefined): Report["kernels"] {
  if (id === undefined) return kernels;
  const found = kernels.filter((kernel) => kernel.id === id);
  if (found.length > 0) return found;
  const ids = kernels.map((kernel) => kernel.id);
  const near = nearest(id, ids);
  throw new UserError(`there is no kernel "${id}"; ${near === undefined ? `there are\n${ids.map((known) => `  ${known}`).join("\n")}` : `did you mean ${near}?`}`);
}

async function writePage(cli: Cli, report: Report, { html: wanted, emit: stage, force, json }: Options): Promise<void> {
  const file = await expectWritable("--html", typeof wanted === "string" ? wanted : `${report.name}.html`, [".html", ".htm"], cli.cwd);
  if (force !== true) await expectOwnPage("--html", file, cli.cwd);
  const { html } = await import("../explain/html.js");
  await writeWhole(file, html(report), cli);
  const shown = relative(cli.cwd, file);
  // The path is the result, unless something else is asked for as well.
  if (stage === undefined && json !== true) cli.print(shown);
  else cli.say(`wrote ${shown}`);
}
