import { Command } from "commander";
import { printData } from "../emit/print.js";
import type { Cli } from "./context.js";
import { loadSpec, specArgument } from "./load-spec.js";
import { imageOption, jsonOption, patchOption, withOverrides } from "./options.js";

interface Options {
  readonly image?: readonly [number, number];
  readonly patch?: readonly [number, number];
  readonly json?: boolean;
}

/** `vitc import REFERENCE`: a model of another library as a typed spec to start from. */
export function importCommand(cli: Cli): Command {
  return new Command("import")
    .summary("print a model of timm or transformers as a spec")
    .description("Prints a model that is known by name, or that a config.json describes, as a typed spec to start from.")
    .argument("<spec>", specArgument)
    .addOption(imageOption())
    .addOption(patchOption())
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc import timm:deit3_base_patch16_224 > specs/deit3-base.ts\n  $ vitc import ./dinov2-small/config.json --json > dinov2.json")
    .action(async (reference: string, options: Options) => {
      const { spec, notes } = await loadSpec(reference, cli.cwd);
      const { resolve } = await import("../spec/resolve.js");
      const imported = withOverrides(spec, options) as object;
      // What cannot be compiled is no start.
      resolve(imported);
      for (const note of notes) cli.say(note);
      if (options.json === true) return cli.print(JSON.stringify(imported, null, 2));
      const fields = Object.entries(imported).filter(([, value]) => value !== undefined).map(([key, value]) => `  ${key}: ${printData(value, "  ")},`);
      cli.print(`import { defineViT } from "vitc";\n\n/** From ${reference}. */\nexport default defineViT({\n${fields.join("\n")}\n});`);
    });
}
