import { adapterName } from "../../runtime/device.js";
import { findSoftwareAdapter, requestDevice } from "../../runtime/node.js";

/** The values of `VITC_TEST_ADAPTER`, and what the name of each adapter holds. */
const names: ReadonlyMap<string, RegExp> = new Map([
  ["swiftshader", /swiftshader/i],
  ["lavapipe", /llvmpipe|lavapipe/i],
]);

/**
 * Why suites that compute cannot run here, or undefined. They use the software adapter everywhere, so that results do not depend on the machine:
 * SwiftShader, or the adapter that `VITC_TEST_ADAPTER` names, which must be there.
 * @throws Error when the software adapter is another one, so that no suite passes on an adapter that nobody asked for.
 */
export async function softwareReason(): Promise<string | undefined> {
  const variable = process.env["VITC_TEST_ADAPTER"] ?? "";
  const wanted = variable === "" ? "swiftshader" : variable;
  const name = names.get(wanted);
  if (name === undefined) throw new Error(`VITC_TEST_ADAPTER is "${wanted}"; allowed are ${[...names.keys()].join(" and ")}`);
  const found = await findSoftwareAdapter();
  if ("reason" in found && variable === "") return found.reason;

  const { device, adapter } = await requestDevice({ adapter: "software" });
  device.destroy();
  if (name.test(adapterName(adapter))) return undefined;
  const fix = wanted === "lavapipe" ? "run the tests by npm run test:lavapipe" : "unset VITC_SWIFTSHADER, VK_DRIVER_FILES and VK_ICD_FILENAMES";
  throw new Error(`These tests are to run on ${wanted}, and the software adapter here is ${adapterName(adapter)}: ${fix}, or name that adapter in VITC_TEST_ADAPTER`);
}
