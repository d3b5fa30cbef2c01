/** What an adapter can do beyond WebGPU's core, and what that means for a model. */
import { adapterKey, targetOf } from "../../runtime/choose.js";
import type { AdapterInfo, RawAdapterInfo } from "../../runtime/device.js";
import type { DoctorReport } from "./json.js";

type Abilities = NonNullable<DoctorReport["auto"]>["abilities"];
type Feature = Abilities["features"][number];

interface KnownFeature {
  readonly name: string;
  readonly with: string;
  readonly without: string;
}

const matrixFeature = "chromium-experimental-subgroup-matrix";

const known: readonly KnownFeature[] = [
  { name: "shader-f16", with: "models compiled for f16 run, with half the weights to move", without: "models compiled for f16 alone do not run; those for f32 do" },
  { name: "subgroups", with: "kernels whose invocations hand each other values can be taken", without: "kernels that need subgroups are left out" },
  { name: matrixFeature, with: "products in f16 can use matrix units", without: "products use multiply-adds" },
  { name: "timestamp-query", with: "profile and tune read the GPU's own clock", without: "profile and tune go by the wall clock, which is coarser" },
];

/** To be asked for, where the adapter has them. */
export const askedFeatures: readonly string[] = known.map(({ name }) => name);

/** What a device that was asked for all of `askedFeatures` got. */
export function abilitiesOf(device: GPUDevice, adapter: AdapterInfo): Abilities {
  const features = known.map(({ name, ...means }): Feature => {
    const there = device.features.has(name);
    return { name, there, means: there ? means.with : means.without };
  });
  const info: RawAdapterInfo | undefined = device.adapterInfo;
  const matrices = device.features.has(matrixFeature) ? [...(info?.subgroupMatrixConfigs ?? [])].map(({ M, N, K, componentType, resultComponentType }) => ({ m: M, n: N, k: K, component: componentType, result: resultComponentType })) : [];
  return { key: adapterKey(adapter), target: targetOf(adapter), subgroupSize: adapter.subgroupSize ?? null, features, matrices };
}

/** The same as lines of a name and what is to be said of it. */
export function abilityRows({ key, target, subgroupSize, features, matrices }: Abilities): readonly (readonly [name: string, text: string])[] {
  const used = matrices.filter(({ component, result }) => component === "f16" && result === "f32");
  const shapes = (list: Abilities["matrices"]): string => list.map(({ m, n, k }) => `${m} x ${n} x ${k}`).join(", ");
  const details = (name: string): string => {
    if (name === "subgroups" && subgroupSize !== null) return `, of ${subgroupSize}`;
    if (name === matrixFeature) return used.length > 0 ? `, of ${shapes(used)}` : ", but none of f16 that is added up in f32";
    return "";
  };
  return [
    ["kind", `${target}: where nothing was measured, kernels are chosen by the costs of this kind`],
    ["key", `${key}: tuning tables name the adapter so`],
    ...features.map(({ name, there, means }) => [name.replace(/^chromium-experimental-/, ""), `${there ? `yes${details(name)}` : "no"}: ${there && name === matrixFeature && used.length === 0 ? "products use multiply-adds" : means}`] as const),
  ];
}
