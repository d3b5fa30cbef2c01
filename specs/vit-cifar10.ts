import { defineViT } from "vitc";

/** The demo's model: a small ViT trained from scratch on CIFAR-10 (32 x 32 photographs of ten classes), with timm's tensor names. */
const spec = defineViT({
  name: "vit-cifar10",
  labels: ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
  image: 32,
  patch: 4,
  dim: 128,
  depth: 6,
  heads: 4,
  mlp: { ratio: 2 },
  classes: 10,
  preprocess: { crop: "squash", cropPct: 1, mean: 0.5, std: 0.5 },
  batch: [1, 10],
});

export default spec;

/** The same weights, looked into: beside the logits the attention maps of all blocks, and what stands for the photograph (of length 1). */
export const attention = defineViT({ ...spec, name: "vit-cifar10-attention", batch: [1], outputs: ["blocks.*.attn", "embedding"] });
