import { abi, type LoadOptions, type ModelDefinition, type Platform, type Variant } from "./definition.js";
import { adapterName, requestBrowserDevice, type DeviceOptions, type OpenedDevice } from "./device.js";
import { AbiError, AdapterError, KernelError, SelfTestError, VitcError, WeightsError } from "./errors.js";
import type { Plan } from "./plan.js";

export type Variants = readonly [Variant, ...Variant[]];

/**
 * Before anything else of a definition is looked at: what was generated for another ABI may have another shape.
 * @throws AbiError
 */
export function checkAbi(definition: ModelDefinition): void {
  if (definition.abi !== abi) throw new AbiError(`This package was generated for runtime ABI ${definition.abi}, this runtime has ${abi}; generate it again: ${definition.command}`);
}

/**
 * The variants that a choice of dtype allows.
 * @throws VitcError (input) for a dtype that the package was not compiled for
 */
export function variantsFor({ variants, command }: ModelDefinition, dtype: string): Variants {
  if (dtype === "auto") return variants;
  const [first, ...rest] = variants.filter(({ plan }) => plan.dtype === dtype);
  if (first) return [first, ...rest];
  const has = variants.map(({ plan }) => plan.dtype);
  const fix = dtype === "f16" || dtype === "f32" ? `; compile it for both: ${compiledFor(command, [...has, dtype])}` : "";
  throw new VitcError("input", `dtype is ${JSON.stringify(dtype)}; ${variants[0].plan.name} was compiled for ${has.join(" and ")} (or "auto")${fix}`);
}

/**
 * The variants that the device can run.
 * @throws AdapterError if there is none, naming the features that the device lacks, or the limit that it was not made with
 */
export function runnableVariants({ variants, command }: ModelDefinition, wanted: Variants, { device, adapter }: OpenedDevice): Variants {
  const capable = wanted.filter(({ plan }) => missingFeatures(plan, device).length === 0);
  const [first, ...rest] = capable.filter(({ plan }) => missingLimits(plan, device).length === 0);
  if (first) return [first, ...rest];
  if (capable[0]) throw beyondLimits(capable[0].plan, device);
  const { plan } = wanted[0];
  throw new AdapterError(`${plan.name} in ${plan.dtype} needs ${missingFeatures(plan, device).join(", ")}, which ${adapterName(adapter)} ${device.features.size > 0 ? `lacks (it has ${[...device.features].toSorted().join(", ")})` : "lacks"}; ${variants.some(({ plan: { dtype } }) => dtype === "f32") ? 'load it with dtype "f32"' : `compile it for f32 as well: ${compiledFor(command, [...variants.map(({ plan: { dtype } }) => dtype), "f32"])}`}`);
}

/** The command that made a package, for other dtypes than it was made for. */
const compiledFor = (command: string, dtypes: readonly string[]): string => `${command.replace(/ --dtype \S+/, "")} --dtype ${dtypes.join(",")}`;

/** Features without which some routine of the plan cannot be done at all. */
export function missingFeatures(plan: Plan, device: Pick<GPUDevice, "features">): readonly string[] {
  return featuresOf(plan, "every").filter((feature) => !device.features.has(feature));
}

/** Features that every choice of some routine needs, or any choice of any. */
function featuresOf({ kernels, routines }: Plan, need: "every" | "any"): readonly string[] {
  const features = new Map(kernels.map(({ id, features: own = [] }) => [id, own]));
  const choiceFeatures = routines.map(({ choices }) => choices.map(({ launches }) => launches.flatMap(({ kernel }) => features.get(kernel) ?? [])));
  const wanted = choiceFeatures.flatMap((choices) => (need === "any" ? choices.flat() : (choices[0] ?? []).filter((feature) => choices.every((own) => own.includes(feature)))));
  return [...new Set(wanted)];
}

/** Limits of the plan that a device or adapter is below. */
export function missingLimits({ limits }: Plan, { limits: granted }: Pick<GPUDevice, "limits">): readonly { readonly limit: string; readonly needed: number; readonly granted: number }[] {
  return Object.entries(limits).flatMap(([limit, needed]) => {
    const has: unknown = Reflect.get(granted, limit);
    return typeof has === "number" && has < needed ? [{ limit, needed, granted: has }] : [];
  });
}

/** What a device for these variants is asked for with: the needs of those that the adapter can run. */
export function deviceNeeds(variants: Variants): Required<Pick<DeviceOptions, "alternatives" | "optionalFeatures">> {
  return { alternatives: variants.map(({ plan }) => ({ limits: plan.limits, features: featuresOf(plan, "every") })), optionalFeatures: [...new Set(variants.flatMap(({ plan }) => featuresOf(plan, "any")))] };
}

/** Features that only make some choices possible are asked for, and done without where they are missing. */
export function openFor(variants: Variants, { adapter = "auto", robust = false }: Pick<LoadOptions, "adapter" | "robust">, platform: Platform | undefined): Promise<OpenedDevice> {
  const options = { ...deviceNeeds(variants), adapter, robust };
  return platform ? platform.requestDevice(options) : requestBrowserDevice({ ...options, robust: true });
}

/** A device as `load` asks for one when it is told nothing else; the caller destroys it. */
export async function openDefault(variants: Variants, platform: ModelDefinition["platform"]): Promise<OpenedDevice> {
  return openFor(variants, {}, isNode() ? await platform() : undefined);
}

/** Whether this is Node without a WebGPU of its own. Deno and browsers have `navigator.gpu`. */
export function isNode(): boolean {
  const { process, navigator } = globalThis as { process?: { versions?: { node?: string } }; navigator?: { gpu?: unknown } };
  return process?.versions?.node !== undefined && navigator?.gpu === undefined;
}

/** A device of the user's may have less than the plan needs, and must be asked for with more. */
function beyondLimits(plan: Plan, device: GPUDevice): AdapterError {
  const { limit, needed, granted } = missingLimits(plan, device)[0]!;
  return new AdapterError(`${plan.name} needs ${limit} of ${needed}, your device was made with ${granted}: adapter.requestDevice({ requiredLimits: { ${limit}: ${needed} } })`);
}

/** Whether the same model may load in another dtype after this error: the device refused kernels or computes wrongly, or a weight is beyond what f16 can hold. */
export function dtypeIsToBlame(error: unknown): boolean {
  return error instanceof KernelError || error instanceof SelfTestError || (error instanceof WeightsError && error.problems.every(({ kind }) => kind === "range"));
}
