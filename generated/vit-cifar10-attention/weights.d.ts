import type { WeightRecipe } from "vitc/runtime/codegen";
/** How a weight file becomes weight buffers in f32: a row a packed tensor. */
export declare const recipe: WeightRecipe;
