import { defineViT } from "vitc";

/** ViT-S/16, timm's vit_small_patch16_224: 22 M parameters. */
export default defineViT({
  name: "vit-small-patch16-224",
  image: 224,
  patch: 16,
  dim: 384,
  depth: 12,
  heads: 6,
});
