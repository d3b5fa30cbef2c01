import { defineViT } from "vitc";

/** DeiT-Ti (arXiv 2012.12877), timm's deit_tiny_patch16_224: ViT-Ti with ImageNet's mean and std. */
export default defineViT({
  name: "deit-tiny-patch16-224",
  image: 224,
  patch: 16,
  dim: 192,
  depth: 12,
  heads: 3,
  preprocess: { cropPct: 0.9, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
});
