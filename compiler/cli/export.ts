import { Command, InvalidArgumentError, Option } from "commander";
import { stat } from "node:fs/promises";
import { dirname, extname, relative, resolve } from "node:path";
import type { ResolvedSpec } from "../spec/resolve.js";
import { UserError, type Cli } from "./context.js";
import { mebibytes, plural, some } from "./format.js";
import { loadSpec, specArgument } from "./load-spec.js";
import { imageOption, jsonOption, parseWhole, patchOption, withOverrides } from "./options.js";

interface Options {
  readonly weights: string;
  readonly onnx: string;
  readonly batch?: number;
  readonly image?: readonly [number, number];
  readonly patch?: readonly [number, number];
  readonly externalData?: boolean;
  readonly allowExtra?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `vitc export SPEC --weights FILE --onnx FILE`: the model and its weights in the format of other runtimes. */
export function exportCommand(cli: Cli): Command {
  return new Command("export")
    .summary("write a model and its weights as ONNX")
    .description("Writes a spec and its weights as a standard ONNX file (opset 20, f32): the graph as the spec declares it, before any fusion. Weights go to OUT.onnx.data when one file would pass 2 GiB, ONNX's limit.")
    .argument("<spec>", specArgument)
    .requiredOption("-w, --weights <file|url>", "weight file, as vitc run takes it")
    .requiredOption("--onnx <file>", "the ONNX file to write")
    .addOption(imageOption())
    .addOption(patchOption())
    .addOption(new Option("--batch <n>", "images in a run, as a fixed size (default: any number)").argParser(parseBatch))
    .option("--external-data", "put the weights beside the model, whatever their size")
    .option("--allow-extra", "ignore tensors of the weight file that the model does not use")
    .option("--force", "replace files that are there")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  $ vitc export my.ts --weights my.safetensors --onnx my.onnx\n  $ vitc export my.ts --weights my.safetensors --onnx one.onnx --batch 1 --force")
    .action((reference: string, options: Options) => exportSpec(cli, reference, options));
}

function parseBatch(text: string): number {
  const batch = parseWhole(text);
  if (batch < 1) throw new InvalidArgumentError("It must be at least 1.");
  return batch;
}

async function exportSpec(cli: Cli, reference: string, options: Options): Promise<void> {
  const loaded = await loadSpec(reference, cli.cwd);
  const [{ resolve: resolveSpec }, { buildGraph }, { inference }, { toOnnx }, { externalPath, writeOnnx }, { irVersion, opsetVersion }] = await Promise.all([
    import("../spec/resolve.js"), import("../ir/build.js"), import("../passes/inference.js"), import("../export/onnx.js"), import("../export/write.js"), import("../export/model.js"),
  ]); // prettier-ignore
  const spec = resolveSpec(withOverrides(loaded.spec, { image: options.image, patch: options.patch }));
  const file = await expectFree(options, externalPath, cli.cwd);

  const graph = inference.run(buildGraph(spec, { batch: 1 }), () => {});
  const model = toOnnx(graph, { batch: options.batch, metadata: metadataOf(spec) });
  const [{ loadWeights, toSource }, { fromPath }, { plainRecipe }] = await Promise.all([import("../../runtime/weights.js"), import("../../runtime/node.js"), import("./reference.js")]);
  const { signal } = cli;
  // Two letters at least: C:\weights is a path.
  const source = /^[a-z][a-z0-9+.-]+:/i.test(options.weights) ? await toSource(options.weights, { signal }) : await fromPath(resolve(cli.cwd, options.weights));
  const line = cli.progress(`Writing ${relative(cli.cwd, file)}`);
  let ignored: readonly string[] = [];
  let written;
  try {
    written = await writeOnnx(
      file,
      model,
      async (put) => {
        const report = await loadWeights(plainRecipe(spec, graph), source, {
          allowExtra: options.allowExtra,
          signal,
          whole: true,
          onProgress: ({ loaded, total }) => line.update(loaded / Math.max(1, total)),
          upload: (index, _offset, values) => {
            const { name } = graph.parameters[index]!;
            // The recipe below asks for f32 alone.
            if (!(values instanceof Float32Array)) throw new TypeError(`${name} was packed as something else than f32`);
            return put(name, values);
          },
        });
        ignored = report.ignored;
      },
      { weights: options.externalData === true ? "external" : "auto", signal },
    );
  } catch (error) {
    throw isDiskError(error) ? new UserError(`cannot write ${options.onnx}: ${error.message}`, { cause: error }) : error;
  } finally {
    line.done();
  }

  const parameters = graph.parameters.reduce((sum, { value }) => sum + value.shape.reduce((product, size) => product * size, 1), 0);
  if (options.json === true) {
    return cli.json((await import("./json.js")).jsonShapes.export, {
      file,
      bytes: written.bytes,
      external: written.external ? { file: written.external.path, bytes: written.external.bytes } : null,
      opset: opsetVersion,
      irVersion,
      batch: options.batch ?? null,
      nodes: model.nodes.length,
      tensors: graph.parameters.length,
      parameters,
      outputs: model.outputs.map(({ name }) => name),
      ignored: [...ignored],
    });
  }
  if (ignored.length > 0) cli.say(`${plural(ignored.length, "tensor")} of the weight file ${ignored.length === 1 ? "is" : "are"} not used: ${some(ignored)}`);
  cli.print(`${options.onnx}: ${plural(model.nodes.length, "node")}, ${plural(parameters, "parameter")}, ${mebibytes(written.bytes)} (ONNX, opset ${opsetVersion}, ${options.batch === undefined ? "any batch" : `batch ${options.batch}`})`);
  if (written.external) cli.print(`${relative(cli.cwd, written.external.path)}: its weights, ${mebibytes(written.external.bytes)}; keep both files together`);
}

/** What the graph does not say, and whoever runs the file has to know. */
const metadataOf = ({ preprocess, labels }: ResolvedSpec): Record<string, string> => ({
  preprocess: JSON.stringify(preprocess),
  ...(labels.length > 0 && { labels: JSON.stringify(labels) }),
});

/**
 * The file to write, absolute.
 * @throws UserError when its name is not one of an ONNX file, its folder is missing, or something is there that may not be replaced.
 */
async function expectFree({ onnx, force }: Options, externalPath: (path: string) => string, cwd: string): Promise<string> {
  const file = resolve(cwd, onnx);
  // A name for nothing else, so that --force cannot replace the weights or the spec.
  if (extname(file) !== ".onnx") throw new UserError(`--onnx ${onnx}: the name of an ONNX file ends in .onnx, for example ${onnx.replace(/[/\\]+$/, "").replace(/\.[^./\\]*$/, "") || "model"}.onnx`);
  if ((await kindOf(dirname(file))) !== "folder") throw new UserError(`--onnx ${onnx}: there is no folder ${relative(cwd, dirname(file))}; make it first`);
  // The second is written for some models alone, and beside any other it would be taken for the model's.
  for (const [path, shown] of [[file, onnx], [externalPath(file), externalPath(onnx)]] as const) {
    const kind = await kindOf(path);
    if (kind === "folder" || kind === "special") throw new UserError(`--onnx ${onnx}: ${shown} is ${kind === "folder" ? "a folder" : "not a regular file"}; name another file`);
    if (kind === "file" && force !== true) throw new UserError(`${shown} is there already: name another file, or replace it with --force`);
  }
  return file;
}

async function kindOf(path: string): Promise<"file" | "folder" | "special" | undefined> {
  const entry = await stat(path).catch(() => undefined);
  if (entry === undefined) return undefined;
  return entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "special";
}

/** Node's error when an operation on a file fails. */
const isDiskError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && "syscall" in error && "code" in error;
