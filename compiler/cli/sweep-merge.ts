import { Command } from "commander";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { mergeRows } from "../sweep/merge.js";
import { parseRows } from "../sweep/store.js";
import { UserError, type Cli } from "./context.js";
import { plural } from "./format.js";
import { sweepMergeShape } from "./json-sweep.js";
import { jsonOption } from "./options.js";
import { expectReplaceable, expectWritable, writeWhole } from "./write-whole.js";

interface Options {
  readonly out?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `vitc sweep merge FILES`: rows that were measured apart, in one file. */
export function sweepMergeCommand(cli: Cli): Command {
  return new Command("merge")
    .summary("join the rows of shards, machines or days")
    .description("Joins files of rows: of what was measured twice the latest row stays, rows of different adapters stay apart, and rows of different versions of vitc, or of different plans of one variant, are refused.")
    .argument("<file...>", "files of rows (.jsonl), as vitc sweep --measure keeps them")
    .option("-o, --out <file.jsonl>", "write the rows there (default: to stdout)")
    .option("--force", "replace the file if it is there")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc sweep merge shard-*.jsonl --out edge.jsonl\n  $ vitc sweep specs/sweeps/edge.ts --rows edge.jsonl --sort p50_ms")
    .action(async (names: readonly string[], { out, force, json }: Options) => {
      if (json === true && out === undefined) throw new UserError("--json tells what was merged; the rows need a place of their own: add --out FILE.jsonl");
      const target = out === undefined ? undefined : await expectWritable("--out", out, [".jsonl"], cli.cwd);
      if (target !== undefined) await expectReplaceable("--out", target, names.map((name) => ({ file: resolve(cli.cwd, name), what: "a file to merge" })), force, cli.cwd);
      const files = await Promise.all(names.map(async (name) => ({ name, ...parseRows(await textOf(name, cli.cwd)) })));
      for (const { name, rows, torn } of files) {
        if (rows.length === 0 && torn.length > 0) throw new UserError(`${name} has no rows of vitc sweep; is it the right file?`);
        if (torn.length > 0) cli.say(`${name}: ${plural(torn.length, "line")} (${torn.slice(0, 5).join(", ")}${torn.length > 5 ? ", ..." : ""}) ${torn.length === 1 ? "is no row and was" : "are no rows and were"} skipped`);
      }
      const { rows, adapters, duplicates } = mergeRows(files);
      const text = rows.map(({ pareto: _shown, ...row }) => `${JSON.stringify(row)}\n`).join("");
      if (target === undefined) cli.print(text.trimEnd());
      else await writeWhole(target, text, cli);
      if (json === true) {
        return cli.json(sweepMergeShape, { files: [...names], out: out ?? null, rows: rows.length, duplicates, torn: files.reduce((sum, { torn }) => sum + torn.length, 0), adapters: [...adapters].map(([adapter, count]) => ({ adapter, rows: count })) });
      }
      cli.say(`${plural(rows.length, "row")} of ${plural(names.length, "file")}, ${plural(duplicates, "duplicate")} left out${[...adapters].map(([adapter, count]) => `\n  ${plural(count, "row")} of ${adapter}`).join("")}`);
    });
}

async function textOf(name: string, cwd: string): Promise<string> {
  try {
    return await readFile(resolve(cwd, name), "utf8");
  } catch (cause) {
    throw new UserError(`${name} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
