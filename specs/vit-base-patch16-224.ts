import { defineViT } from "vitc";

/** ViT-B/16 of "An Image is Worth 16x16 Words" (arXiv 2010.11929), timm's vit_base_patch16_224: 86 M parameters. */
export default defineViT({
  name: "vit-base-patch16-224",
  image: 224,
  patch: 16,
  dim: 768,
  depth: 12,
  heads: 12,
});
