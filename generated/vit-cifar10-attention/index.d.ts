import { type CanRun, type Estimate, type EstimateInput, type LoadOptions as RuntimeLoadOptions, type Model, type Tensor } from "vitc/runtime/codegen";
export { AdapterError, DeviceLostError, InputError, OutOfMemoryError, SelfTestError, VitcError, WeightsError } from "vitc/runtime/codegen";
export type { AdapterInfo, BufferInput, CanRun, DeviceImage, DeviceOutputs, DeviceTensor, EncodedImage, Estimate, EstimateInput, EstimateOptions, ImagePixels, Model, ModelInput, Photograph, Prediction, Progress, RunManyOptions, RunOptions, SelfTestReport, Tensor, TensorInput, WeightsInput, WeightsSource } from "vitc/runtime/codegen";
/** What a run returns: f32 values with their shape, one row an image. */
export interface Outputs {
    /** Attention of block 0: how much each query takes of each key, by heads, [images, 4, 65, 65]. */
    readonly "blocks.0.attn": Tensor<readonly [4, 65, 65]>;
    /** Attention of block 1: how much each query takes of each key, by heads, [images, 4, 65, 65]. */
    readonly "blocks.1.attn": Tensor<readonly [4, 65, 65]>;
    /** Attention of block 2: how much each query takes of each key, by heads, [images, 4, 65, 65]. */
    readonly "blocks.2.attn": Tensor<readonly [4, 65, 65]>;
    /** Attention of block 3: how much each query takes of each key, by heads, [images, 4, 65, 65]. */
    readonly "blocks.3.attn": Tensor<readonly [4, 65, 65]>;
    /** Attention of block 4: how much each query takes of each key, by heads, [images, 4, 65, 65]. */
    readonly "blocks.4.attn": Tensor<readonly [4, 65, 65]>;
    /** Attention of block 5: how much each query takes of each key, by heads, [images, 4, 65, 65]. */
    readonly "blocks.5.attn": Tensor<readonly [4, 65, 65]>;
    /** Scores of the classes, before softmax, [images, 10]. */
    readonly logits: Tensor<readonly [10]>;
    /** What stands for the image, of length 1: their dot products are cosine similarities, [images, 128]. */
    readonly embedding: Tensor<readonly [128]>;
}
/** What a run takes: images of 3 x 32 x 32 (channels, height, width) once preprocessed. */
export declare const input: {
    readonly channels: 3;
    readonly height: 32;
    readonly width: 32;
};
/** Class names in the order of the logits. */
export declare const labels: readonly ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/** A class name. */
export type Label = (typeof labels)[number];
/** How matrices may be stored, by what the package was compiled for. */
export type DType = "f32";
/** What `load` takes; `auto` (default) is the first of the dtypes that the device can run. */
export type LoadOptions = Omit<RuntimeLoadOptions, "dtype"> & {
    readonly dtype?: "auto" | DType;
};
/** What the model needs of a device beyond WebGPU's defaults, its GPU memory and its download in bytes, by dtype in the order of preference. */
export declare const needs: {
    readonly f32: {
        readonly features: readonly [];
        readonly limits: {};
        readonly gpuBytes: 4226248;
        readonly downloadBytes: {
            readonly packed: 3234368;
            readonly safetensors: 3244584;
        };
    };
};
/** Whether `load` would find what the model needs, on a device or adapter of yours, or on what it would ask for itself, and in which dtype; or all that is in the way. Nothing is downloaded or compiled. */
export declare function canRun(on?: GPUDevice | GPUAdapter): Promise<CanRun<DType>>;
/**
 * Loads vit-cifar10-attention (811,146 parameters) onto a GPU, ready to `run`.
 * @throws WeightsError listing everything that is wrong with the weight file; AdapterError when there is no usable GPU; OutOfMemoryError.
 */
export declare function load(options: LoadOptions): Promise<Model<Outputs, Label>>;
/**
 * Tells, before any weights are fetched, what a run will take here in milliseconds, what there is to download and to hold in megabytes, and whether that is fast, ok or slow. Times the heaviest kernels, in under a second on most adapters; give it a device or an adapter of yours, options, or nothing.
 * @throws AdapterError when there is no usable GPU; OutOfMemoryError; DeviceLostError.
 */
export declare function estimate(on?: EstimateInput): Promise<Estimate>;
