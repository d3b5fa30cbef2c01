import { defineViT } from "vitc";

/** DeiT-S (arXiv 2012.12877), timm's deit_small_patch16_224. */
export default defineViT({
  name: "deit-small-patch16-224",
  image: 224,
  patch: 16,
  dim: 384,
  depth: 12,
  heads: 6,
  preprocess: { cropPct: 0.9, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
});
