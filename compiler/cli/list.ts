import { Command, Argument } from "commander";
import { UserError, type Cli } from "./context.js";
import { plural, table } from "./format.js";
import { listShape } from "./json-list.js";
import { jsonOption } from "./options.js";

interface Options {
  readonly filter?: string;
  readonly tags?: boolean;
  readonly json?: boolean;
}

/** `vitc list [timm|hf]`: the models that a SPEC may name, or whose config.json it may be. */
export function listCommand(cli: Cli): Command {
  return new Command("list")
    .summary("list the models that are known by name")
    .description("Lists the models of timm that are known by name (timm:NAME), with parameters and multiply-adds at their native image size, and the kinds of model\nof transformers whose config.json can be compiled.")
    .addArgument(new Argument("[library]", "one library alone").choices(["timm", "hf"]))
    .option("--filter <text>", "only names that contain this; with --tags, names with tags")
    .option("--tags", "a line for each of a model's weights, which timm:NAME.TAG names")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc list --filter dino\n  $ vitc list --filter vit_base_patch16_224. --tags\n  $ vitc list timm --json\n  $ vitc compile timm:vit_small_patch14_reg4_dinov2")
    .action((library: string | undefined, options: Options) => list(cli, library, options));
}

async function list(cli: Cli, library: string | undefined, { filter = "", tags: ofTags, json }: Options): Promise<void> {
  const { listTimm, transformersTypes } = await import("../families/index.js");
  const wanted = (name: string): boolean => name.toLowerCase().includes(filter.toLowerCase());
  const timm = library === "hf" ? [] : listTimm().filter(({ name, tags }) => wanted(name) || (ofTags === true && tags.some(({ tag }) => wanted(`${name}.${tag}`))));
  const hf = library === "timm" ? [] : transformersTypes.filter(wanted);
  if (json === true) return cli.json(listShape, { timm: timm.map(({ name, params, gmacs, image, tags }) => ({ name, params, gmacs, image, tags: tags.map(({ tag, num_classes }) => ({ tag, classes: num_classes })) })), transformers: [...hf] });
  if (timm.length + hf.length === 0) throw new UserError(`no name of ${library ?? "timm or transformers"} contains "${filter}"`);
  if (timm.length > 0 && ofTags === true) {
    const rows = timm.flatMap(({ name, image, tags }) => tags.map(({ tag, ...weights }) => [`${name}.${tag}`, String(weights.num_classes || "-"), sizeText(image), `${weights.crop_mode} ${weights.crop_pct}`]));
    cli.print(table([["timm", "classes", "image", "crop"], ...rows.filter(([name]) => wanted(name!))]));
  } else if (timm.length > 0) cli.print(table([["timm", "params", "GMACs", "image"], ...timm.map(({ name, params, gmacs, image }) => [name, `${(params / 1e6).toFixed(1)} M`, gmacs.toFixed(2), sizeText(image)])]));
  if (hf.length > 0) cli.print(`${timm.length > 0 ? "\n" : ""}transformers, by model_type of config.json:\n${hf.map((name) => `  ${name}`).join("\n")}`);
  cli.say(`${plural(timm.length, "model")} of timm${hf.length > 0 ? `, ${plural(hf.length, "kind")} of transformers` : ""}`);
}

const sizeText = (image: number | readonly [number, number]): string => (typeof image === "number" ? String(image) : image.join("x"));
