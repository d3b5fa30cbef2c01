import { describeAdapter } from "../../runtime/device.js";
import { wait } from "../../runtime/node.js";

/** Waits as a model's run does: a software adapter gets the cores meanwhile, a GPU is heard as soon as it is done. */
export const waitFor = <T>(device: GPUDevice, work: Promise<T>): Promise<T> => (describeAdapter(device.adapterInfo).software ? wait(work) : work);
