import { defineViT } from "vitc";

/** ViT-B/32 of the paper, timm's vit_base_patch32_224: a quarter of the tokens of ViT-B/16. */
export default defineViT({
  name: "vit-base-patch32-224",
  image: 224,
  patch: 32,
  dim: 768,
  depth: 12,
  heads: 12,
});
