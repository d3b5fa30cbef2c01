/** onnxruntime-web's wasm in Node, for context: what a page without WebGPU would get. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { importPeer, packageVersion } from "./installed.js";
import { cpuName, runner, type Ort } from "./onnxruntime-node.js";
import { timed, type Job, type Opened } from "./runtime.js";

interface OrtWeb extends Ort<Uint8Array> {
  readonly env: { readonly wasm: { numThreads?: number } };
}

export async function open(job: Job): Promise<Opened> {
  const ort = await importPeer<OrtWeb>("onnxruntime-web");
  // As in a page that is not cross-origin isolated, which most are not.
  ort.env.wasm.numThreads = 1;
  const { result: session, milliseconds: loadMilliseconds } = await timed(() => ort.InferenceSession.create(readFileSync(join(job.root, job.onnx)), { executionProviders: ["wasm"], graphOptimizationLevel: "all" }));
  return { version: packageVersion("onnxruntime-web"), adapter: cpuName(1), loadMilliseconds, run: runner(ort, session, job), close: () => session.release() };
}
