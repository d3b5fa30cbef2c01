/**
 * The one door for generated code: a generated package imports nothing else from the runtime. Its meaning is versioned by `abi`.
 */
import { Model, type LoadOptions, type ModelDefinition } from "./model.js";

export { canRunModel, type CanRun } from "./can-run.js";
export { abi, Model } from "./model.js";
export { estimateModel } from "./estimate.js";
export type { Estimate, EstimateInput, EstimateOptions, Thresholds } from "./estimate.js";
export type { ClassifyOptions, LoadOptions, ModelDefinition, Platform, Progress, RunOptions } from "./model.js";
export type { Prediction } from "./classify.js";
export type { ImageKernels } from "./definition.js";
export type { BufferAt, DeviceOutputs, DeviceTensor, EncodeIO } from "./device-outputs.js";
export type { ProfiledDispatch, ProfileOptions, RunProfile } from "./profile.js";
export type { RunManyOptions } from "./run-many.js";
export type { AdapterInfo } from "./device.js";
export type { DType, Needs, Plan, SelfTest, WeightRecipe } from "./plan.js";
export type { SelfTestDifference, SelfTestFailure, SelfTestReport } from "./self-test.js";
export type { BufferInput, DeviceImage, EncodedImage, ModelInput, Photograph, Tensor, TensorInput } from "./tensor.js";
export type { ImagePixels } from "./image.js";
export type { WeightsInput, WeightsSource } from "./weights.js";
export { AbiError, AdapterError, DeviceLostError, InputError, OutOfMemoryError, SelfTestError, VitcError, WeightsError } from "./errors.js";

/** Loads a generated model: finds a device, builds the kernels, reads and packs the weights. See `LoadOptions`. */
export function loadModel<Outputs extends object, Label extends string | undefined = never>(definition: ModelDefinition, options: LoadOptions): Promise<Model<Outputs, Label>> {
  return Model.load<Outputs, Label>(definition, options);
}
