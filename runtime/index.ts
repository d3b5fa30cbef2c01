/** The runtime for users: what a generated package takes and returns, its errors, and sources of weights. */
export * from "./codegen.js";
export { softmax } from "./classify.js";
export { describeAdapter, requestBrowserDevice } from "./device.js";
export { preprocess, resize } from "./image.js";
export { fromUrl } from "./url.js";
export { readHeader, toSource, fromBlob, fromBytes } from "./weights.js";
