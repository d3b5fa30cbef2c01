import { defineViT } from "vitc";

/**
 * CNN features first, attention over them after: three convolutions bring a 64 x 64 image down to 16 x 16 positions of 96 channels, and
 * each 2 x 2 of them is a patch. Pooling is the mean over patches, so there is no class token.
 */
export default defineViT({
  name: "vit-hybrid-stem-64",
  image: 64,
  stem: [
    { channels: 32, kernel: 3, stride: 2 },
    { channels: 64, kernel: 3, stride: 2 },
    { channels: 96, kernel: 3, stride: 1 },
  ],
  patch: 2,
  dim: 192,
  depth: 4,
  heads: 3,
  tokens: { class: false },
  pool: "avg",
  classes: 10,
});
