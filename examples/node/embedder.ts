/** From image files to embeddings, as a stream: while one is computed the next is decoded and uploaded, and no more are in memory. */
import { readdir, stat } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ImagePixels, LoadOptions, Model, Tensor } from "../../runtime/index.js";
import { decodeImage } from "../../runtime/node.js";

/** A mistake of the user's, said in a sentence. */
export class UserError extends Error {}

export interface EmbedderOptions {
  /** A folder that vitc compile wrote. */
  readonly package: string;
  readonly weights: string;
  /** The output that stands for a photograph. */
  readonly output: string;
}

export interface Embedder extends Disposable {
  readonly model: Model<Readonly<Record<string, Tensor>>>;
  readonly output: string;
}

const endings: ReadonlySet<string> = new Set([".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif"]);

/**
 * The image files of a folder and of those in it, by name.
 * @throws UserError when there is no such folder, or no image in it
 */
export async function imagesIn(folder: string): Promise<readonly string[]> {
  const info = await stat(folder).catch(() => undefined);
  if (info?.isDirectory() !== true) throw new UserError(`${folder} is ${info === undefined ? "not there" : "no folder"}: name a folder with photographs`);
  const names = await readdir(folder, { recursive: true });
  const files = names.filter((name) => endings.has(extname(name).toLowerCase())).toSorted().map((name) => join(resolve(folder), name));
  if (files.length === 0) throw new UserError(`${folder} has no image files (${[...endings].join(", ")})`);
  return files;
}

/**
 * Loads a package by its folder.
 * @throws UserError for a folder that is no package, and for an output that it does not have; what `load` throws
 */
export async function openEmbedder({ package: folder, weights, output }: EmbedderOptions): Promise<Embedder> {
  const index = join(resolve(folder), "index.js");
  if ((await stat(index).catch(() => undefined)) === undefined) throw new UserError(`${folder} has no index.js: name a folder that vitc compile wrote`);
  const { load } = (await import(pathToFileURL(index).href)) as { load(options: LoadOptions): Promise<Embedder["model"]> };
  const model = await load({ weights, onNotice: (notice) => console.error(notice) });
  // Names are known when it has run, and the first run takes longer in any case.
  const { names, vectors } = await outputsOf(model);
  if (!vectors.includes(output)) {
    model.dispose();
    throw new UserError(`${folder} has no output ${output} with a vector for each image; it has ${names.join(", ")}. Compile it with outputs: ["embedding"], or name another by --output`);
  }
  return { model, output, [Symbol.dispose]: () => model.dispose() };
}

async function outputsOf(model: Embedder["model"]): Promise<{ readonly names: readonly string[]; readonly vectors: readonly string[] }> {
  const gray = { data: new Uint8Array(64 * 64 * 3).fill(128), width: 64, height: 64, channels: 3 } as const;
  const outputs = await model.run(gray);
  const names = Object.keys(outputs);
  return { names, vectors: names.filter((name) => outputs[name]!.shape.length === 2) };
}

/** The embedding of each file that can be decoded, in order; `onProblem` hears of the others. */
export async function* embed({ model, output }: Embedder, files: readonly string[], onProblem: (problem: string) => void): AsyncGenerator<{ readonly file: string; readonly values: ArrayLike<number> }> {
  const taken: string[] = [];
  const photographs = async function* (): AsyncGenerator<ImagePixels> {
    for (const file of files) {
      let pixels: ImagePixels;
      try {
        pixels = await decodeImage(file);
      } catch (error) {
        onProblem(error instanceof Error ? error.message : String(error));
        continue;
      }
      taken.push(file);
      yield pixels;
    }
  };
  for await (const outputs of model.runMany(photographs())) yield { file: taken.shift()!, values: outputs[output]! };
}

/** The cosine of the angle between two vectors of one length: 1 for the same direction, 0 for vectors of which one is zero. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, ofA, ofB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    ofA += a[i]! ** 2;
    ofB += b[i]! ** 2;
  }
  return ofA === 0 || ofB === 0 ? 0 : dot / Math.sqrt(ofA * ofB);
}
