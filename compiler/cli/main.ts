#!/usr/bin/env node
/** The command line `vitc`. Exit codes: 0 done, 1 the user's mistake (or a stale package), 2 a bug of ours, 130 Ctrl-C. */
import { Command, CommanderError } from "commander";
import { styleText } from "node:util";
import { version } from "../version.js";
import type { Cli } from "./context.js";
import { errorLabel, reportError } from "./errors.js";
import { processCli, takesColor } from "./output.js";

type MakeCommand = (cli: Cli) => Command;

/** Each command is loaded when it is named, so that `vitc --version` does not wait for a compiler. */
const commands: Readonly<Record<string, () => Promise<MakeCommand>>> = {
  init: async () => (await import("./init.js")).initCommand,
  list: async () => (await import("./list.js")).listCommand,
  import: async () => (await import("./import.js")).importCommand,
  compile: async () => (await import("./compile.js")).compileCommand,
  run: async () => (await import("./run.js")).runCommand,
  eval: async () => (await import("./eval.js")).evalCommand,
  explain: async () => (await import("./explain.js")).explainCommand,
  estimate: async () => (await import("./estimate.js")).estimateCommand,
  bench: async () => (await import("./bench.js")).benchCommand,
  profile: async () => (await import("./profile.js")).profileCommand,
  sweep: async () => (await import("./sweep.js")).sweepCommand,
  tune: async () => (await import("./tune.js")).tuneCommand,
  diff: async () => (await import("./diff.js")).diffCommand,
  check: async () => (await import("./check.js")).checkCommand,
  "init-weights": async () => (await import("./init-weights.js")).initWeightsCommand,
  pack: async () => (await import("./pack.js")).packCommand,
  export: async () => (await import("./export.js")).exportCommand,
  doctor: async () => (await import("./doctor.js")).doctorCommand,
  schema: async () => (await import("./schema.js")).schemaCommand,
};

const helpWidth = 80;

async function main(args: readonly string[]): Promise<void> {
  const cli = processCli();
  const program = new Command("vitc")
    .description("Compiles a Vision Transformer, declared in a typed spec, to a TypeScript package\nthat runs it on WebGPU, in Node and in browsers.")
    .version(version, "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .showHelpAfterError("(--help tells more)")
    .exitOverride()
    .configureOutput({
      getOutHelpWidth: () => helpWidth,
      getErrHelpWidth: () => helpWidth,
      getOutHasColors: () => cli.color,
      getErrHasColors: () => takesColor(process.stderr),
      outputError: (text, write) => write(text.replace(/^error:/, errorLabel())),
    })
    .configureHelp({ subcommandTerm: (command) => command.name(), styleTitle: (text) => styleText("bold", text, { validateStream: false }) })
    .addHelpText("after", examples);
  try {
    for (const make of await Promise.all(needed(args).map((name) => commands[name]!()))) {
      const command = make(cli).copyInheritedSettings(program);
      // What stands behind the name of a part is the part's.
      if (command.commands.length > 0) for (const parent of [program, command]) parent.enablePositionalOptions();
      for (const part of command.commands) part.copyInheritedSettings(command);
      program.addCommand(command);
    }
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: "user" });
  } catch (error) {
    // Commander has printed its own.
    process.exitCode = error instanceof CommanderError ? (error.exitCode === 0 ? 0 : 1) : reportError(error, cli);
  }
}

/** The commands to load: the one that is named, none for the version, all for help and for suggestions. */
function needed(args: readonly string[]): string[] {
  const first = args[0] ?? "";
  if (first === "-v" || first === "--version") return [];
  return Object.hasOwn(commands, first) ? [first] : Object.keys(commands);
}

const examples = `
Examples:
  $ vitc init                                 write a first spec, my.ts
  $ vitc compile my.ts                        compile it to generated/my-vit
  $ vitc list --filter dino                   models that are known by name
  $ vitc init-weights my.ts --out my.safetensors
  $ vitc run generated/my-vit --weights my.safetensors --input photo.jpg
  $ vitc eval generated/my-vit --weights my.safetensors --data labels.csv
  $ vitc explain my.ts --html                 what the compiler made of it, and why
  $ vitc sweep sweeps/edge.ts --measure       which size to train, by numbers
  $ vitc tune generated/my-vit                the fastest kernels of this adapter
  $ vitc check                                is generated/ up to date?
  $ vitc doctor                               can this machine run a model?

A SPEC is file.ts (#export names one of several), file.js or file.json; a model
of timm, as timm:vit_base_patch16_224; or a config.json (timm, transformers).
Results go to stdout, talk to stderr; --json works everywhere.
Exit codes: 0 done, 1 a mistake or a stale package, 2 a bug in vitc.`;

// A reader of results that has had enough (as in \`vitc schema spec | head\`) is no mistake, and there is nobody left to work for.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});
// Talk that nobody hears costs no work, and there is no place to complain of it.
process.stderr.on("error", () => undefined);
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    process.exit(reportError(error, { say: (text) => void process.stderr.write(`${text}\n`) }));
  });
}

await main(process.argv.slice(2));
