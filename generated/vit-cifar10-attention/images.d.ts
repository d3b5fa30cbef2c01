import type { ImageKernels } from "vitc/runtime/codegen";
/** WGSL that prepares photographs on the device. */
export declare const imageKernels: ImageKernels;
