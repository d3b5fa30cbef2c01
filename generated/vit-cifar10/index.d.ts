import { type LoadOptions, type Model, type Tensor } from "vitc/runtime/codegen";
export { AdapterError, DeviceLostError, InputError, OutOfMemoryError, VitcError, WeightsError } from "vitc/runtime/codegen";
export type { AdapterInfo, BufferInput, DeviceImage, DeviceOutputs, DeviceTensor, EncodedImage, ImagePixels, LoadOptions, Model, ModelInput, Photograph, Prediction, Progress, RunManyOptions, RunOptions, SelfTestReport, Tensor, TensorInput, WeightsInput, WeightsSource } from "vitc/runtime/codegen";
/** What a run returns: f32 values with their shape, one row an image. */
export interface Outputs {
    /** Scores of the classes, before softmax, [images, 10]. */
    readonly logits: Tensor<readonly [10]>;
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
/**
 * Loads vit-cifar10 (811,146 parameters) onto a GPU, ready to `run`.
 * @throws WeightsError listing everything that is wrong with the weight file; AdapterError when there is no usable GPU; OutOfMemoryError.
 */
export declare function load(options: LoadOptions): Promise<Model<Outputs, Label>>;
