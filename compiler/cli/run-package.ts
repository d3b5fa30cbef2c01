import { access, readdir, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Estimate, EstimateInput, LoadOptions, Model, Tensor } from "../../runtime/codegen.js";
import type { DType, Plan } from "../../runtime/plan.js";
import { adapterName } from "../../runtime/device.js";
import { requestDevice } from "../../runtime/node.js";
import type { Provenance } from "../emit/package-files.js";
import { readProvenance } from "../emit/write.js";
import { featuresOf, neededFeatures } from "../measure/subject.js";
import { UserError } from "./context.js";
import { some } from "./format.js";
import { isModelName } from "./load-spec.js";

/** The outputs of any model, by name. */
export type AnyOutputs = Readonly<Record<string, Tensor>>;

/** A generated package, imported. */
export interface ImportedPackage {
  /** Absolute. */
  readonly folder: string;
  /** The first of `plans`. */
  readonly plan: Plan;
  /** One a dtype, in the package's order of preference. */
  readonly plans: readonly [Plan, ...Plan[]];
  load(options: LoadOptions): Promise<Model<AnyOutputs>>;
  /** Absent in packages of earlier versions. */
  readonly estimate: ((on?: EstimateInput) => Promise<Estimate>) | undefined;
}

/**
 * Imports a package that `vitc compile` wrote.
 * @throws UserError when the folder is none, lacks files, or does not load, with the command that makes it.
 */
export async function importPackage(reference: string, cwd: string): Promise<ImportedPackage> {
  const folder = resolve(cwd, reference);
  const shown = relative(cwd, folder) || ".";
  await expectFolder(folder, shown);
  const provenance = await provenanceOf(folder, shown);
  const again = `compile it again: npx vitc compile ${provenance.spec === "" ? "SPEC" : isModelName(provenance.spec) ? provenance.spec : relative(cwd, resolve(folder, provenance.spec)) || "SPEC"} --out ${shown}`;
  await expectFiles(folder, shown, provenance, again);
  const [door, ...plans] = await Promise.all(["index.js", ...planFiles(provenance)].map((file) => importFile(folder, file, shown, again)));
  const [plan, ...others] = plans.map((module) => module["plan"]);
  if (typeof door!["load"] !== "function" || !isPlan(plan) || !others.every(isPlan)) throw new UserError(`${shown} is not a package of this version of vitc (index.js exports no load, or plan.js no plan that it reads); ${again}`);
  // What generated code exports is stated by its declarations, which are not at hand for a folder chosen at run time.
  return { folder, plan, plans: [plan, ...others], load: door!["load"] as ImportedPackage["load"], estimate: door!["estimate"] as ImportedPackage["estimate"] };
}

/** The files that hold a package's plans: plan.js, and plan-f16.js or the like for every other dtype. */
export function planFiles({ files }: Pick<Provenance, "files">): readonly string[] {
  return ["plan.js", ...files.filter((file) => /^plan-\w+\.js$/.test(file))];
}

/**
 * A package's plan for a dtype; default: its first.
 * @throws UserError when it was not compiled for the dtype.
 */
export function planOf({ plan, plans }: ImportedPackage, name: string, dtype: DType | undefined): Plan {
  if (dtype === undefined) return plan;
  const found = plans.find((each) => each.dtype === dtype);
  if (found !== undefined) return found;
  const has = plans.map((each) => each.dtype);
  throw new UserError(`--dtype ${dtype}: ${name} was compiled for ${has.join(" and ")}; compile it for this one too with: npx vitc compile SPEC --dtype ${[...has, dtype].join(",")} --out ${name}`);
}

/**
 * The plan that loading a package would take: that of the dtype if one is asked for, else the first that the adapter can run, with a notice
 * where that is not the package's first.
 * @throws UserError when it was not compiled for the dtype; AdapterError when there is no adapter, or it can run none.
 */
export async function planFor(found: ImportedPackage, name: string, { dtype, adapter: choice }: { readonly dtype?: DType; readonly adapter: "auto" | "gpu" | "software" }, onNotice: (notice: string) => void): Promise<Plan> {
  const { plan: first, plans } = found;
  if (dtype !== undefined || plans.length === 1) return planOf(found, name, dtype);
  const { device, adapter } = await requestDevice({ adapter: choice, optionalFeatures: plans.flatMap(featuresOf) });
  const { features } = device;
  device.destroy();
  const plan = plans.find((each) => neededFeatures(each).every((feature) => features.has(feature)));
  // Loading refuses it with the reason.
  if (plan === undefined || plan === first) return first;
  onNotice(`${adapterName(adapter)} has no ${neededFeatures(first).filter((feature) => !features.has(feature)).join(", ")}, which ${first.dtype} needs; ${plan.dtype} is measured`);
  return plan;
}

/**
 * The weights in a package's folder: model.safetensors, or the only file of that kind.
 * @throws UserError when there is none or more than one.
 */
export async function findWeights({ folder }: ImportedPackage, cwd: string): Promise<string> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".safetensors")).sort();
  const chosen = files.includes("model.safetensors") ? "model.safetensors" : files.length === 1 ? files[0] : undefined;
  if (chosen !== undefined) return join(folder, chosen);
  const shown = relative(cwd, folder) || ".";
  if (files.length > 1) throw new UserError(`${shown} holds several weight files (${some(files)}): name one with --weights`);
  throw new UserError(`${shown} holds no weights: name a file or URL with --weights, or put model.safetensors there (\`vitc init-weights SPEC\` makes random ones)`);
}

async function expectFolder(folder: string, shown: string): Promise<void> {
  const info = await stat(folder).catch(() => undefined);
  if (!info) throw new UserError(`there is no folder ${shown}; a package is made by: npx vitc compile SPEC --out ${shown}`);
  if (info.isDirectory()) return;
  const isSpec = /\.([cm]?[jt]s|json)$/.test(shown) && !/(^|[/\\])(index\.[jt]s|package\.json)$/.test(shown);
  throw new UserError(isSpec ? `${shown} is a file, and run takes the package that was compiled from it: npx vitc compile ${shown}, then npx vitc run generated/NAME` : `${shown} is a file: name the package's folder`);
}

async function provenanceOf(folder: string, shown: string): Promise<Provenance> {
  const provenance = await readProvenance(folder);
  if (provenance !== undefined) return provenance;
  const isThere = await access(join(folder, "package.json")).then(() => true, () => false);
  throw new UserError(`${shown} is not a package of vitc (${isThere ? "its package.json does not name vitc" : "it has no package.json"}); a package is made by: npx vitc compile SPEC --out FOLDER`);
}

async function expectFiles(folder: string, shown: string, { files }: Provenance, again: string): Promise<void> {
  // A package.json that names none was not written by vitc as it is; these every package has.
  const needed = (files.length > 0 ? files : ["index.js", "plan.js"]).filter((file) => file.endsWith(".js"));
  const there = await Promise.all(needed.map((file) => access(join(folder, file)).then(() => true, () => false)));
  const missing = needed.filter((_, i) => !there[i]);
  if (missing.length > 0) throw new UserError(`${shown} is incomplete: ${some(missing)} ${missing.length === 1 ? "is" : "are"} missing; ${again}`);
}

async function importFile(folder: string, file: string, shown: string, again: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(join(folder, file)).href)) as Record<string, unknown>;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (/Cannot find package 'vitc'/.test(message)) throw new UserError(`${shown} was compiled with --shared-runtime and finds no vitc to import: npm install vitc where it lies, or compile it without that option`, { cause });
    throw new UserError(`${shown}/${file} does not load (${message}); ${again}`, { cause });
  }
}

/** Whether a value is a plan, as far as telling it from another version's goes. */
export function isPlan(value: unknown): value is Plan {
  if (typeof value !== "object" || value === null || !("programs" in value) || !("input" in value) || !("routines" in value)) return false;
  const { programs } = value;
  return typeof programs === "object" && programs !== null && "infer" in programs && Array.isArray(programs.infer);
}
