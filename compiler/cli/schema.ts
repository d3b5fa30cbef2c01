import { Command } from "commander";
import { nearest } from "../spec/errors.js";
import { UserError, type Cli } from "./context.js";
import { jsonOption } from "./options.js";

/** `vitc schema [NAME]`: JSON Schemas, of a spec and of what commands print with `--json`. */
export function schemaCommand(cli: Cli): Command {
  return new Command("schema")
    .summary("print the JSON Schema of a spec, or of a command's --json")
    .description("Prints the JSON Schema of a spec (for editors that check JSON files), or of what a command prints with --json. Without a name it lists the names.")
    .argument("[name]", "spec, or a command")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc schema spec > spec.schema.json\n  $ vitc schema compile")
    .action(async (name: string | undefined, options: { readonly json?: boolean }) => {
      const { jsonSchemaOf, jsonShapes } = await import("./json.js");
      const names = ["spec", ...(Object.keys(jsonShapes) as (keyof typeof jsonShapes)[])] as const;
      if (name === undefined) return options.json === true ? cli.json(jsonShapes.schema, { names: [...names] }) : cli.print(names.join("\n"));
      const known = names.find((candidate) => candidate === name);
      if (known === undefined) {
        const near = nearest(name, names);
        throw new UserError(`there is no schema "${name}"; ${near ? `did you mean ${near}?` : `there are ${names.join(", ")}`}`);
      }
      cli.print(JSON.stringify(jsonSchemaOf(known), null, 2));
    });
}
