/** The device that dispatches are timed on. */
import type { AdapterInfo } from "../../runtime/device.js";
import { requestDevice } from "../../runtime/node.js";
import type { Plan } from "../../runtime/plan.js";
import type { Clock } from "./replay.js";
import { featuresOf } from "./subject.js";

export interface TimedDevice {
  readonly device: GPUDevice;
  readonly adapter: AdapterInfo;
  readonly clock: Clock;
}

export interface TimedDeviceOptions {
  readonly plan: Plan;
  readonly adapter: "auto" | "gpu" | "software";
  /** Whether the driver checks every index of a kernel. */
  readonly robust: boolean;
  /** `auto`: timestamps where the adapter has them. */
  readonly clock: Clock | "auto";
}

/** Dawn rounds timestamps to 65.5 microseconds unless it is told not to. */
const exactTimestamps = ["disable-dawn-features=timestamp_quantization"];
const timestamps = "timestamp-query";

/**
 * A device with all that any choice of a plan can use and the adapter has.
 * @throws AdapterError if there is no adapter, or if timestamps are asked for and it has none.
 */
export async function openTimedDevice({ plan, adapter, robust, clock }: TimedDeviceOptions): Promise<TimedDevice> {
  const optionalFeatures = [...new Set([...featuresOf(plan), ...(clock === "auto" ? [timestamps] : [])])];
  const opened = await requestDevice({ adapter, robust, requiredLimits: plan.limits, requiredFeatures: clock === "timestamps" ? [timestamps] : [], optionalFeatures, flags: exactTimestamps });
  return { ...opened, clock: clock !== "wall" && opened.device.features.has(timestamps) ? "timestamps" : "wall" };
}
