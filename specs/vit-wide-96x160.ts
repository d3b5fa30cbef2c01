import { defineViT } from "vitc";

/** Every part away from its default: a wide gray image, rectangular patches that leave a remainder, fixed positions, max pooling, outputs in between. */
export default defineViT({
  name: "vit-wide-96x160",
  image: [96, 160],
  channels: 1,
  patch: [8, 12],
  patchRemainder: "crop",
  patchNorm: true,
  dim: 120,
  depth: 3,
  heads: 4,
  headDim: 26,
  mlp: { ratio: 2.7, activation: "gelu_tanh" },
  attention: { qkvBias: false, scale: 0.15 },
  position: { kind: "sincos2d" },
  norm: { eps: 1e-5 },
  finalNorm: "pooled",
  pool: "max",
  representation: 50,
  classes: 7,
  outputs: ["embed", "blocks.*", "features"],
  batch: [1, 4],
});
