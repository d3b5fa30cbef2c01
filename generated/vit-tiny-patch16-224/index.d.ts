import { type LoadOptions, type Model, type Tensor } from "vitc/runtime/codegen";
export { AdapterError, DeviceLostError, InputError, OutOfMemoryError, VitcError, WeightsError } from "vitc/runtime/codegen";
export type { AdapterInfo, BufferInput, DeviceImage, DeviceOutputs, DeviceTensor, EncodedImage, ImagePixels, LoadOptions, Model, ModelInput, Photograph, Prediction, Progress, RunManyOptions, RunOptions, SelfTestReport, Tensor, TensorInput, WeightsInput, WeightsSource } from "vitc/runtime/codegen";
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
