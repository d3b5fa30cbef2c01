import type { Model } from "../../runtime/model.js";
import type { Tensor } from "../../runtime/tensor.js";

/** A loaded variant, as a package's `load` gives it. */
export type SweepModel = Model<Readonly<Record<string, Tensor>>>;
