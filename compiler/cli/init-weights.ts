import { Command, Option } from "commander";
import { stat } from "node:fs/promises";
import { relative, resolve } from "node:path";
import type { InitScheme } from "../checkpoint/init.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { mebibytes, plural } from "./format.js";
import { loadSpec, specArgument } from "./load-spec.js";
import { imageOption, jsonOption, parseWhole, patchOption, withOverrides } from "./options.js";

interface Options {
  readonly out: string;
  readonly seed: number;
  readonly scheme: InitScheme;
  readonly image?: readonly [number, number];
  readonly patch?: readonly [number, number];
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `vitc init-weights SPEC --out FILE`: initial weights, for training or for a first run. */
export function initWeightsCommand(cli: Cli): Command {
  return new Command("init-weights")
    .summary("write initial weights for a spec")
    .description("Writes initial (untrained) weights for a spec, as safetensors with timm's names. The same seed and scheme give the same bytes everywhere.")
    .argument("<spec>", specArgument)
    .requiredOption("-o, --out <file>", "the safetensors file to write")
    .addOption(new Option("--seed <number>", "a whole number").argParser(parseWhole).default(0))
    .addOption(new Option("--scheme <name>", "whose rules: notes (timm 0.5.4), timm (1.0), jax (the paper's code)").choices(["notes", "timm", "jax"]).default("timm"))
    .addOption(imageOption())
    .addOption(patchOption())
    .option("--force", "replace the file if it is there")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc init-weights my.ts --out my.safetensors\n  $ vitc init-weights my.ts --out start.safetensors --seed 7 --scheme jax")
    .action(async (reference: string, options: Options) => {
      const { spec } = await loadSpec(reference, cli.cwd);
      const file = resolve(cli.cwd, options.out);
      const entry = await stat(file).catch(() => undefined);
      if (entry?.isFile() === false) throw new UserError(`${options.out} is ${entry.isDirectory() ? "a folder" : "not a regular file"}; name a file, for example ${options.out.replace(/\/+$/, "")}/model.safetensors`);
      if (entry !== undefined && options.force !== true) throw new UserError(`${options.out} is there already, and may hold trained weights: name another file, or replace it with --force`);
      const { seed, scheme } = options;

      const [{ resolve: resolveSpec }, { buildGraph }, { initialize }, { writeSafetensorsFile }] = await Promise.all([import("../spec/resolve.js"), import("../ir/build.js"), import("../checkpoint/init.js"), import("../checkpoint/safetensors.js")]);
      const resolved = resolveSpec(withOverrides(spec, { image: options.image, patch: options.patch }));
      const tensors = buildGraph(resolved, { batch: 1 }).parameters.map(({ name, value }) => ({ name, shape: value.shape }));
      const valuesOf = initialize(tensors, { seed, scheme, layerScale: resolved.layerScale, temperature: resolved.rope?.temperature });
      const sizes = tensors.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
      const parameters = sizes.reduce((sum, size) => sum + size, 0);
      const progress = cli.progress(`Writing ${relative(cli.cwd, file)}`);
      let done = 0;
      try {
        await writeSafetensorsFile(
          file,
          tensors,
          (name) => {
            progress.update(done / parameters, name);
            const values = valuesOf(name);
            done += values.length;
            return values;
          },
          // Libraries that read safetensors ask for a format, and "pt" is what they all know.
          { metadata: { format: "pt", generator: `vitc ${version} init-weights --seed ${seed} --scheme ${scheme}` }, signal: cli.signal },
        );
      } finally {
        progress.done();
      }
      const { size } = await stat(file);
      if (options.json === true) return cli.json((await import("./json.js")).jsonShapes["init-weights"], { file, bytes: size, tensors: tensors.length, parameters, seed, scheme });
      cli.print(`${options.out}: ${plural(tensors.length, "tensor")}, ${plural(parameters, "parameter")}, ${mebibytes(size)} (scheme ${scheme}, seed ${seed})`);
    });
}
