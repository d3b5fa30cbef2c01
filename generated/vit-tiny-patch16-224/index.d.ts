import { type Estimate, type EstimateInput, type LoadOptions, type Model, type Tensor } from "vitc/runtime/codegen";
export { AdapterError, DeviceLostError, InputError, OutOfMemoryError, VitcError, WeightsError } from "vitc/runtime/codegen";
export type { AdapterInfo, BufferInput, DeviceImage, DeviceOutputs, DeviceTensor, EncodedImage, Estimate, EstimateInput, EstimateOptions, ImagePixels, LoadOptions, Model, ModelInput, Photograph, Prediction, Progress, RunManyOptions, RunOptions, Tensor, TensorInput, WeightsInput, WeightsSource } from "vitc/runtime/codegen";
/** What a run returns: f32 values with their shape, one row an image. */
export interface Outputs {
    /** Scores of the classes, before softmax, [images, 1000]. */
    readonly logits: Tensor<readonly [1000]>;
}
/** What a run takes: images of 3 x 224 x 224 (channels, height, width) once preprocessed. */
export declare const input: {
    readonly channels: 3;
    readonly height: 224;
    readonly width: 224;
};
/**
 * Loads vit-tiny-patch16-224 (5,717,416 parameters) onto a GPU, ready to `run`.
 * @throws WeightsError listing everything that is wrong with the weight file; AdapterError when there is no usable GPU; OutOfMemoryError.
 */
export declare function load(options: LoadOptions): Promise<Model<Outputs, undefined>>;
/**
 * Tells, before any weights are fetched, what a run will take here in milliseconds, what there is to download and to hold in megabytes, and whether that is fast, ok or slow. Times the heaviest kernels, in under a second on most adapters; give it a device or an adapter of yours, options, or nothing.
 * @throws AdapterError when there is no usable GPU; OutOfMemoryError; DeviceLostError.
 */
export declare function estimate(on?: EstimateInput): Promise<Estimate>;
