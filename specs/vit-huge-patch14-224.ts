import { defineViT } from "vitc";

/** ViT-H/14 of the paper, timm's vit_huge_patch14_224: 632 M parameters. */
export default defineViT({
  name: "vit-huge-patch14-224",
  image: 224,
  patch: 14,
  dim: 1280,
  depth: 32,
  heads: 16,
});
