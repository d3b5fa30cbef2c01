/** vitc's own package in Node, as a user loads it. */
import { join } from "node:path";
import { version } from "../../../compiler/version.js";
import { adapterName } from "../../../runtime/device.js";
import { importPackage } from "../../tools/packages.js";
import { webgpuVersion } from "./installed.js";
import { outputName, readInput, timed, type Job, type Opened } from "./runtime.js";

export async function open({ adapter, dtype, variant, ...job }: Job): Promise<Opened> {
  const { load } = await importPackage(join(job.root, job.package));
  const input = readInput(job);
  const { result: model, milliseconds: loadMilliseconds } = await timed(() => load({ weights: join(job.root, job.weights), adapter, dtype, ...variant.load, onNotice: () => {} }));
  return {
    version: `${version} (webgpu ${webgpuVersion()})`,
    adapter: adapterName(model.adapter),
    loadMilliseconds,
    async run() {
      const { result, milliseconds } = await timed(() => model.run(input));
      return { milliseconds, output: Float32Array.from(result[outputName] ?? []) };
    },
    close: () => model.dispose(),
  };
}
