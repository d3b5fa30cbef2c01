import type { WeightRecipe } from "vitc/runtime/codegen";
/** How a weight file becomes weight buffers: a row a packed tensor. */
export declare const recipe: WeightRecipe;
