/** Packages as modules: those that were built with the page, and those of a folder that the user chose. */
import type { LoadOptions, Model, Tensor, WeightsInput, WeightsSource } from "vitc/runtime";
import { fromBlob } from "vitc/runtime";
import type { ResolvedSpec } from "../../../compiler/spec/resolve.js";
import weightsAddress from "../../../test/fixtures/vit-cifar10/model.safetensors?url";
import type { PackageSource } from "../messages.js";

/** A model whose outputs are known when it runs. */
export type AnyModel = Model<Readonly<Record<string, Tensor>>, string | undefined>;

/** What any generated package exports, as far as the page needs it. */
export interface PackageModule {
  load(options: Omit<LoadOptions, "dtype"> & { readonly dtype?: "auto" | "f32" | "f16" }): Promise<AnyModel>;
  readonly needs: Readonly<Record<string, { readonly features: readonly string[]; readonly limits: Readonly<Record<string, number>> }>>;
  readonly labels?: readonly string[];
}

/** The part of a package's spec.json that says how photographs and patches lie. */
export type PackageSpec = Pick<ResolvedSpec, "name" | "image" | "channels" | "tokens" | "preprocess" | "classes">;

export interface OpenedPackage {
  readonly module: PackageModule;
  readonly spec: PackageSpec;
  readonly weights: WeightsInput;
  /** Of a URL: kept by the browser, so that the next visit downloads nothing. Not while the page is developed. */
  readonly cache: boolean;
}

const builtIn: Readonly<Record<string, () => Promise<Pick<OpenedPackage, "module" | "spec">>>> = {
  "vit-cifar10-attention": async () => opened(await import("../../../generated/vit-cifar10-attention/index.js"), await import("../../../generated/vit-cifar10-attention/spec.json")),
  "vit-cifar10": async () => opened(await import("../../../generated/vit-cifar10/index.js"), await import("../../../generated/vit-cifar10/spec.json")),
};

// A package's own types say more (its labels, its shapes); the page shows any package, and takes what all have in common.
const opened = (module: unknown, { default: spec }: { readonly default: unknown }): Pick<OpenedPackage, "module" | "spec"> => ({ module: module as PackageModule, spec: spec as PackageSpec });

/** @throws Error saying what is wrong with a chosen folder */
export async function openPackage(source: PackageSource): Promise<OpenedPackage> {
  if (source.kind === "built-in") {
    const open = builtIn[source.name];
    if (open === undefined) throw new Error(`the page has no package ${source.name}`);
    return { ...(await open()), weights: new URL(weightsAddress, self.location.href), cache: import.meta.env.PROD };
  }
  const specAddress = `${source.address}spec.json`;
  const module = await importChosen(`${source.address}index.js`);
  const response = await fetch(specAddress);
  if (!response.ok) throw new Error(`${source.name} has no spec.json: compile it again`);
  return { ...opened(module, { default: await response.json() }), weights: besides(source.weights), cache: false };
}

async function importChosen(address: string): Promise<PackageModule> {
  let module: unknown;
  try {
    module = await import(/* @vite-ignore */ address);
  } catch (error) {
    throw new Error(`the package's index.js cannot be imported: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  if (typeof module === "object" && module !== null && "load" in module && "needs" in module) return module as PackageModule;
  throw new Error("index.js exports no load and needs: choose a folder that vitc compile wrote, or compile it again");
}

/** Chosen files as weights: the first is read, and a list of shards finds the others beside it. */
function besides(files: readonly File[]): WeightsSource {
  const [first] = files;
  if (first === undefined) throw new Error("no weight file was chosen: a .safetensors, its .index.json, or the weights.json of vitc pack");
  const beside = (name: string): Promise<WeightsSource> => {
    const file = files.find((each) => each.name === name);
    return file ? Promise.resolve({ ...fromBlob(file), beside }) : Promise.reject(new Error(`${first.name} names ${name}, which is not among the chosen files`));
  };
  return { ...fromBlob(first), beside };
}
