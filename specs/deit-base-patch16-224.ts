import { defineViT } from "vitc";

/** DeiT-B (arXiv 2012.12877), timm's deit_base_patch16_224. */
export default defineViT({
  name: "deit-base-patch16-224",
  image: 224,
  patch: 16,
  dim: 768,
  depth: 12,
  heads: 12,
  preprocess: { cropPct: 0.9, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
});
