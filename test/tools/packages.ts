import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compile, type CompileOptions, type Package } from "../../compiler/compile.js";
import type { Model, ModelInput, Tensor } from "../../runtime/codegen.js";
import type { LoadOptions } from "../../runtime/model.js";

/** Outputs of a model whose type is not known when the test is written. */
export type AnyOutputs = Readonly<Record<string, Tensor>>;

export interface PackageModule {
  load(options: LoadOptions): Promise<Model<AnyOutputs>>;
}

/** A folder inside the repository (so that packages in it find `webgpu`) that is removed when the process ends. */
export function temporaryFolder(name: string): string {
  const cache = fileURLToPath(new URL("../../.cache/", import.meta.url));
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, `${name}-`));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Compiles a spec and writes its package to `folder`. The type check has a test of its own and is left out. */
export async function writeCompiled(folder: string, spec: unknown, options: CompileOptions = {}): Promise<Package> {
  const compiled = await compile(spec, { typecheck: false, ...options });
  for (const [path, text] of compiled.files) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return compiled;
}

/** Imports a written package as a user does. */
export const importPackage = (folder: string): Promise<PackageModule> => import(pathToFileURL(join(folder, "index.js")).href) as Promise<PackageModule>;

export const f32 = (values: ArrayLike<number>): Float32Array<ArrayBuffer> => Float32Array.from(values);

export type { ModelInput };
