/** Whether a model can run on a device, an adapter or this machine: asked before anything of it is fetched. */
import type { ModelDefinition } from "./definition.js";
import { adapterName, describeAdapter, messageOf, type RawAdapterInfo } from "./device.js";
import { VitcError } from "./errors.js";
import type { DType, Plan } from "./plan.js";
import { missingFeatures, missingLimits, openDefault } from "./variants.js";

/** The dtype that `load` would take, or everything that is in the way. `notice`: what `load` would say, of a software adapter for example. */
export type CanRun<D extends DType = DType> = { readonly ok: true; readonly dtype: D; readonly notice?: string } | { readonly ok: false; readonly reasons: readonly string[] };

/**
 * Asks whether `load` would find what the model needs. Nothing is downloaded, compiled or put on a device, and `on` stays as it is. Whether its
 * memory is enough no adapter says: see `needs.gpuBytes`.
 *
 * @param on the app's own device or adapter; without it an adapter is asked for as `load` does, and let go
 * @throws VitcError (input) when `on` is neither
 */
export async function canRunModel<D extends DType>({ variants, platform }: ModelDefinition, on?: GPUDevice | GPUAdapter): Promise<CanRun<D>> {
  if (on !== undefined) return answer(variants, on);
  try {
    const { device } = await openDefault(variants, platform);
    try {
      return answer(variants, device);
    } finally {
      device.destroy();
    }
  } catch (error) {
    return { ok: false, reasons: [messageOf(error)] };
  }
}

type Found = Pick<GPUDevice, "features" | "limits"> & { readonly info?: RawAdapterInfo; readonly adapterInfo?: RawAdapterInfo };

function answer<D extends DType>(variants: ModelDefinition["variants"], on: unknown): CanRun<D> {
  if (!isFound(on)) throw new VitcError("input", `canRun takes a GPUAdapter or a GPUDevice, or nothing, not ${on === null ? "null" : typeof on}`);
  const adapter = describeAdapter(on.adapterInfo ?? on.info);
  const name = adapterName(adapter);
  if (adapter.null) return { ok: false, reasons: [`${name} executes nothing (Dawn's null backend)`] };
  const lacks = ({ plan }: { readonly plan: Plan }): readonly string[] => [
    ...missingFeatures(plan, on).map((feature) => `${plan.dtype} needs ${feature}, which ${name} lacks`),
    ...missingLimits(plan, on).map(({ limit, needed, granted }) => `${plan.dtype} needs ${limit} of ${needed}, and ${name} has ${granted}`),
  ];
  const first = variants.find((variant) => lacks(variant).length === 0);
  if (first === undefined) return { ok: false, reasons: variants.flatMap(lacks) };
  return { ok: true, dtype: first.plan.dtype as D, ...(adapter.notice !== undefined && { notice: adapter.notice }) };
}

const isFound = (on: unknown): on is Found => typeof on === "object" && on !== null && "features" in on && "limits" in on;
