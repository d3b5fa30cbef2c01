import { findSoftwareAdapter } from "../../runtime/node.js";

/** Why suites that compute cannot run here, or undefined. They use the software adapter everywhere, so that results do not depend on the machine. */
export async function softwareReason(): Promise<string | undefined> {
  const found = await findSoftwareAdapter();
  return "reason" in found ? found.reason : undefined;
}
