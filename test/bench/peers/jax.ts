/** jax-js with its ONNX importer, on npm `webgpu`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { importPeer, navigatorAdapterName, packageVersion, provideNavigatorGpu, webgpuVersion } from "./installed.js";
import { inputName, outputName, readInput, timed, type Job, type Opened } from "./runtime.js";

/** The parts of @jax-js/jax and @jax-js/onnx that are used. */
interface JaxArray {
  data(): Promise<Float32Array>;
  reshape(shape: readonly number[]): JaxArray;
}
type Run = (inputs: Readonly<Record<string, JaxArray>>) => Readonly<Record<string, JaxArray>>;
interface Jax {
  init(...devices: string[]): Promise<readonly string[]>;
  defaultDevice(device: string): void;
  jit(run: Run): Run;
  readonly numpy: { array(values: Float32Array, options?: { readonly shape: readonly number[] }): JaxArray };
}
interface JaxOnnx {
  readonly ONNXModel: new (bytes: Uint8Array) => { readonly run: Run; dispose(): void };
}

export async function open(job: Job): Promise<Opened> {
  await provideNavigatorGpu();
  const { init, defaultDevice, jit, numpy } = await importPeer<Jax>("@jax-js/jax");
  const { ONNXModel } = await importPeer<JaxOnnx>("@jax-js/onnx");
  const adapter = await navigatorAdapterName();
  const input = readInput(job);
  const { result: model, milliseconds: loadMilliseconds } = await timed(async () => {
    const devices = await init("webgpu");
    if (!devices.includes("webgpu")) throw new Error("jax-js made no WebGPU device");
    defaultDevice("webgpu");
    return new ONNXModel(readFileSync(join(job.root, job.onnx)));
  });
  const compiled = jit(model.run);
  return {
    version: `${packageVersion("@jax-js/jax")} (webgpu ${webgpuVersion()})`,
    adapter,
    loadMilliseconds,
    async run() {
      const { result, milliseconds } = await timed(() => {
        const outputs = compiled({ [inputName]: numpy.array(input, { shape: job.shape }) });
        const output = outputs[outputName];
        if (output === undefined) throw new Error(`the model has no output ${outputName}, only ${Object.keys(outputs).join(", ")}`);
        return output.data();
      });
      return { milliseconds, output: result };
    },
    close: () => model.dispose(),
  };
}
