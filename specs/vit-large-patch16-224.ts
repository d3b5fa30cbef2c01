import { defineViT } from "vitc";

/** ViT-L/16 of the paper, timm's vit_large_patch16_224: 304 M parameters. */
export default defineViT({
  name: "vit-large-patch16-224",
  image: 224,
  patch: 16,
  dim: 1024,
  depth: 24,
  heads: 16,
});
