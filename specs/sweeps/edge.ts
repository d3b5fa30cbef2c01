import { defineSweep } from "vitc";
import vitTiny from "../vit-tiny-patch16-224.js";

/** Models of at most 25 million parameters for a laptop or a phone: which depth, width, patch and image size is worth its milliseconds? */
export default defineSweep({
  base: { ...vitTiny, name: "edge" },
  axes: { depth: [6, 9, 12], dim: [192, 256, 384], patch: [14, 16, 32], image: [192, 224, 256], "mlp.ratio": [2, 4] },
  derive: { heads: (spec) => spec.dim / 64 },
  // Patches of 14 divide 224 alone.
  where: (spec, { params }) => params < 25e6,
});
