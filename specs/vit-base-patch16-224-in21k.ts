import { defineViT } from "vitc";

/** ViT-B/16 as pre-trained on ImageNet-21k, with the representation layer (linear and tanh) between class token and head that fine-tuning drops. */
export default defineViT({
  name: "vit-base-patch16-224-in21k",
  image: 224,
  patch: 16,
  dim: 768,
  depth: 12,
  heads: 12,
  representation: 768,
  classes: 21843,
});
