/** What a device is asked for. */
import type { requestBrowserDevice } from "vitc/runtime";
import type { PackageModule } from "./packages.js";

type DeviceOptions = NonNullable<Parameters<typeof requestBrowserDevice>[0]>;

/** What a package asks of a device in any of its dtypes, what makes it faster, and the GPU's clock. */
export function needsOf({ needs }: Pick<PackageModule, "needs">): Required<Pick<DeviceOptions, "alternatives" | "optionalFeatures">> {
  // An adapter that cannot meet the limits of one dtype may meet those of another.
  return { alternatives: Object.values(needs), optionalFeatures: ["shader-f16", "subgroups", "timestamp-query", ...Object.values(needs).flatMap(({ features }) => features)] };
}
