import { defineSweep } from "vitc";

/**
 * What a higher resolution costs: ViT-Ti at three image sizes, cut into patches of 1 to 32 pixels. Linear layers grow with the tokens,
 * attention's two products with their square: at 197 tokens (224 pixels, patch 16) they are 14 % of the multiply-adds, at 50,177 (every pixel
 * a token) 98 %.
 */
export default defineSweep({
  base: { name: "resolution", image: 224, patch: 16, dim: 192, depth: 12, heads: 3, classes: 1000 },
  axes: { image: [224, 416, 800], patch: [1, 2, 4, 8, 16, 32] },
});
