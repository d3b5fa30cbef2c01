import { Command } from "commander";
import { stat, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { makeFolders } from "../emit/write.js";
import { version } from "../version.js";
import { UserError, type Cli } from "./context.js";
import { jsonOption } from "./options.js";

const specFile = "my.ts";

/** A spec that compiles, with what one is most likely to change next. */
const starter = `import { defineViT } from "vitc";

/** ViT-Ti/16 at 224 x 224, 5.7 M parameters: timm's vit_tiny_patch16_224. */
export default defineViT({
  name: "my-vit",

  // Pixels. A pair is [height, width].
  image: 224,
  patch: 16,

  // Width of a token, number of blocks, attention heads (which must divide dim).
  dim: 192,
  depth: 12,
  heads: 3,

  // Scores a run returns; 0 returns the features instead. \`labels\` names the classes.
  classes: 1000,

  // How a photograph becomes the input. These are the defaults.
  preprocess: { crop: "center", cropPct: 0.9, interpolation: "bicubic", mean: 0.5, std: 0.5 },

  // Some of what else there is; the editor completes the rest.
  // mlp: { ratio: 4, activation: "gelu" },
  // tokens: { class: true, distillation: false },
  // pool: "avg",
  // outputs: ["features"],
  // batch: [1, 8],
});
`;

/** `vitc init [DIR]`: a first spec and a package.json. */
export function initCommand(cli: Cli): Command {
  return new Command("init")
    .summary("write a first spec, and a package.json if there is none")
    .description(`Writes a commented spec, ${specFile}, and a package.json if there is none. Files that are there stay as they are.`)
    .argument("[dir]", "the folder, which is made if need be, with those above it", ".")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc init\n  $ vitc init my-models")
    .action(async (dir: string, options: { readonly json?: boolean }) => {
      const folder = resolve(cli.cwd, dir);
      await makeFolder(folder, dir);
      const manifest = { name: packageName(folder), private: true, type: "module", scripts: { compile: `vitc compile ${specFile}` }, devDependencies: { vitc: `^${version}` }, dependencies: { webgpu: "^0.6.2" } };
      const written: string[] = [];
      const kept: string[] = [];
      for (const [name, text] of [[specFile, starter], ["package.json", `${JSON.stringify(manifest, null, 2)}\n`]] as const) {
        ((await writeNew(join(folder, name), text)) ? written : kept).push(name);
      }
      if (options.json === true) return cli.json((await import("./json.js")).jsonShapes.init, { folder, written, kept });
      for (const name of written) cli.print(`wrote ${join(dir, name)}`);
      for (const name of kept) cli.print(`kept ${join(dir, name)}, which was there already`);
      const within = relative(cli.cwd, folder);
      cli.say(`\nNext:\n${within === "" ? "" : `  cd ${within}\n`}${written.includes("package.json") ? "  npm install\n" : ""}  npx vitc compile ${specFile}\n  npx vitc init-weights ${specFile} --out my.safetensors\n  npx vitc run generated/my-vit --weights my.safetensors --input photo.jpg`);
    });
}

async function makeFolder(folder: string, dir: string): Promise<void> {
  const entry = await stat(folder).catch(() => undefined);
  if (entry?.isDirectory() === true) return;
  if (entry !== undefined) throw new UserError(`${dir} is a file; name a folder`);
  await makeFolders(folder).catch((cause: unknown) => {
    const reason = codeOf(cause) === "ENOTDIR" ? "a part of its path is a file" : cause instanceof Error ? cause.message : String(cause);
    throw new UserError(`cannot make the folder ${dir}: ${reason}`, { cause });
  });
}

/** Writes a file unless something has its name. */
async function writeNew(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: "wx" });
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    throw new UserError(`cannot write ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

/** The folder's name as npm takes it. */
const packageName = (folder: string): string => basename(folder).toLowerCase().replaceAll(/[^a-z0-9._-]+/g, "-").replace(/^[._-]+/, "") || "my-models";
