import { defineViT } from "vitc";

/**
 * DeiT-B distilled (arXiv 2012.12877), timm's deit_base_distilled_patch16_224: a distillation token with a head of its own. A run returns the
 * mean of both heads, and each of them.
 */
export default defineViT({
  name: "deit-base-distilled-patch16-224",
  image: 224,
  patch: 16,
  dim: 768,
  depth: 12,
  heads: 12,
  tokens: { class: true, distillation: true },
  outputs: ["logits_cls", "logits_dist"],
  preprocess: { cropPct: 0.9, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
});
