import { defineViT } from "vitc";

/**
 * ViT-Ti/16 that shows where it looks: beside the logits the attention maps of its last three blocks, [heads, queries, keys], and the features
 * divided by their length, for comparing photographs.
 */
export default defineViT({
  name: "vit-tiny-attention-maps",
  image: 224,
  patch: 16,
  dim: 192,
  depth: 12,
  heads: 3,
  classes: 1000,
  outputs: ["blocks.9.attn", "blocks.10.attn", "blocks.11.attn", "embedding"],
});
