/**
 * Photographs that look alike: a folder becomes a CSV file with an embedding for each photograph, and of one photograph the nearest are found.
 *
 *   npx tsx examples/node/main.ts embed test/fixtures/vit-cifar10/photos --out embeddings.csv
 *   npx tsx examples/node/main.ts nearest test/fixtures/vit-cifar10/photos/cat-03.png --among embeddings.csv
 */
import { Command, InvalidArgumentError } from "commander";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { VitcError } from "../../runtime/index.js";
import { cosine, embed, imagesIn, openEmbedder, UserError, type EmbedderOptions } from "./embedder.js";
import { readTable, writeTable } from "./table.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const command = (name: string, argument: string, what: string): Command =>
  new Command(name)
    .argument(argument, what)
    .option("--package <folder>", "package that vitc compile wrote, with an embedding among its outputs", at("generated/vit-cifar10-attention"))
    .option("--weights <file>", "its weights", at("test/fixtures/vit-cifar10/model.safetensors"))
    .option("--output <name>", "the output that stands for a photograph", "embedding");

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("It must be a whole number, at least 1.");
  return value;
}

/** Ctrl-C ends what is under way, and leaves no half of a table. */
const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());

const program = new Command("photographs").description("Finds photographs that look alike.");

program.addCommand(
  command("embed", "<folder>", "photographs, in folders of it too")
    .description("Writes a row for each photograph of a folder: its path, and its embedding.")
    .option("--out <file.csv>", "the table to write", "embeddings.csv")
    .action(async (folder: string, options: EmbedderOptions & { readonly out: string }) => {
      const files = await imagesIn(folder);
      using embedder = await openEmbedder(options);
      let done = 0;
      const out = resolve(options.out);
      const rows = async function* (): AsyncGenerator<{ readonly path: string; readonly values: ArrayLike<number> }> {
        for await (const { file, values } of embed(embedder, files, (problem) => console.error(problem))) {
          done++;
          yield { path: relative(dirname(out), file), values };
        }
        if (done === 0) throw new UserError(`none of the ${files.length} files in ${folder} could be read as a photograph`);
      };
      const began = performance.now();
      await writeTable(out, rows(), interrupt.signal);
      const seconds = (performance.now() - began) / 1000;
      console.log(`${options.out}: ${done} photographs, ${(done / seconds).toFixed(1)} a second${done < files.length ? `; ${files.length - done} left out` : ""}`);
    }),
);

program.addCommand(
  command("nearest", "<photograph>", "an image file")
    .description("Lists the photographs of a table that are nearest to one, by the cosine of their embeddings.")
    .option("--among <file.csv>", "a table that `embed` wrote with the same package", "embeddings.csv")
    .option("--top <n>", "how many to list", count, 5)
    .action(async (photograph: string, options: EmbedderOptions & { readonly among: string; readonly top: number }) => {
      const rows = await readTable(options.among);
      using embedder = await openEmbedder(options);
      let values: ArrayLike<number> | undefined;
      for await (const found of embed(embedder, [photograph], (problem) => {
        throw new UserError(problem);
      })) ({ values } = found);
      const width = values!.length;
      const other = rows.find((row) => row.values.length !== width);
      if (other) throw new UserError(`${options.among} has ${other.values.length} values a photograph, and this package gives ${width}: write the table with the same package`);
      const here = resolve(photograph);
      const folder = dirname(resolve(options.among));
      const ranked = rows
        .filter(({ path }) => resolve(folder, path) !== here)
        .map(({ path, values: theirs }) => ({ path, similarity: cosine(values!, theirs) }))
        .sort((a, b) => b.similarity - a.similarity || (a.path < b.path ? -1 : 1));
      for (const { path, similarity } of ranked.slice(0, options.top)) console.log(`${similarity.toFixed(4)}  ${path}`);
    }),
);

try {
  await program.parseAsync();
} catch (error) {
  if (interrupt.signal.aborted) process.exit(130);
  // Mistakes are said in a line; what is no mistake of the user's keeps its stack.
  if (!(error instanceof UserError || error instanceof VitcError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
