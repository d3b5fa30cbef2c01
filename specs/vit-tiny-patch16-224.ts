import { defineViT } from "vitc";

/** ViT-Ti/16, timm's vit_tiny_patch16_224: 5.7 M parameters. */
export default defineViT({
  name: "vit-tiny-patch16-224",
  image: 224,
  patch: 16,
  dim: 192,
  depth: 12,
  heads: 3,
  tokens: { class: true },
  classes: 1000,
});
