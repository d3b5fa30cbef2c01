/** Who races: a runtime is a line here, and a module beside this file. */
import type { Variant } from "./runtime.js";

export interface Runtime {
  /** For `--only`. */
  readonly name: string;
  /** For the table. */
  readonly title: string;
  /** Where it runs: each is compared with vitc in the same place. */
  readonly host: "node" | "chromium";
  readonly module: string;
  /** It looks for an adapter by itself and is led to vitc's (drivers.ts). vitc and browsers know where theirs is. */
  readonly ownDawn?: true;
  readonly variant?: Variant;
  /** It is vitc, and takes `--dtype`. */
  readonly ours?: true;
  /** vitc as users run it: what the others of its host are compared with. */
  readonly baseline?: true;
}

export const runtimes: readonly Runtime[] = [
  { name: "vitc", title: "vitc", host: "node", module: "vitc.ts", ours: true, baseline: true },
  { name: "vitc-robust", title: "vitc, robust", host: "node", module: "vitc.ts", ours: true, variant: { load: { robust: true } } },
  { name: "ort", title: "onnxruntime-node, WebGPU", host: "node", module: "onnxruntime-node.ts", ownDawn: true, variant: { provider: "webgpu" } },
  { name: "jax", title: "jax-js", host: "node", module: "jax.ts", ownDawn: true },
  { name: "tfjs", title: "tfjs", host: "node", module: "tfjs.ts", ownDawn: true },
  { name: "ort-cpu", title: "onnxruntime-node, CPU", host: "node", module: "onnxruntime-node.ts", variant: { provider: "cpu" } },
  { name: "ort-wasm", title: "onnxruntime-web, wasm", host: "node", module: "onnxruntime-web.ts" },
  { name: "vitc-web", title: "vitc, Chromium", host: "chromium", module: "browser.ts", variant: { page: "vitc" }, ours: true, baseline: true },
  { name: "ort-web", title: "onnxruntime-web, Chromium", host: "chromium", module: "browser.ts", variant: { page: "onnxruntime" } },
  { name: "transformers", title: "transformers.js, Chromium", host: "chromium", module: "browser.ts", variant: { page: "transformers" } },
];
