/** The runtime for users: what a generated package takes and returns, its errors, and sources of weights. */
export * from "./codegen.js";
export { softmax, topClasses } from "./classify.js";
export { adapterName, describeAdapter, requestBrowserDevice } from "./device.js";
export { frameOf, type Frame } from "./framing.js";
export { preprocess, resize } from "./image.js";
export { attentionRollout } from "./rollout.js";
export { fromUrl } from "./url.js";
export { readHeader, toSource, fromBlob, fromBytes } from "./weights.js";
