/** onnxruntime-node: its WebGPU provider, which brings a Dawn of its own, and its CPU provider. */
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { loadedDriver } from "./drivers.js";
import { importPeer, packageVersion } from "./installed.js";
import { inputName, outputName, readInput, timed, type Job, type Opened } from "./runtime.js";

/** The part of ONNX Runtime's JavaScript API that is used. */
export interface Ort<Model> {
  readonly Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Model, options: object): Promise<OrtSession> };
}
interface OrtTensor {
  readonly data: Float32Array;
}
interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

export async function open(job: Job): Promise<Opened> {
  const ort = await importPeer<Ort<string>>("onnxruntime-node");
  const provider = job.variant.provider ?? "cpu";
  const options = { executionProviders: [provider], graphOptimizationLevel: "all", logSeverityLevel: 3, intraOpNumThreads: availableParallelism() };
  const { result: session, milliseconds: loadMilliseconds } = await timed(() => ort.InferenceSession.create(join(job.root, job.onnx), options));
  return {
    version: packageVersion("onnxruntime-node"),
    adapter: provider === "cpu" ? cpuName(availableParallelism()) : loadedDriver(),
    loadMilliseconds,
    run: runner(ort, session, job),
    close: () => session.release(),
  };
}

/** Runs a session on the images of a job. */
export function runner({ Tensor }: Pick<Ort<unknown>, "Tensor">, session: OrtSession, job: Job): Opened["run"] {
  const input = readInput(job);
  return async () => {
    const { result, milliseconds } = await timed(async () => {
      const outputs = await session.run({ [inputName]: new Tensor("float32", input, job.shape) });
      return outputs[outputName]?.data ?? new Float32Array();
    });
    return { milliseconds, output: result.slice() };
  };
}

export const cpuName = (threads: number): string => `CPU, ${threads} thread${threads === 1 ? "" : "s"} (${cpus()[0]?.model.trim() ?? process.arch})`;
