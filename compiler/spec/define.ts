import { resolve } from "./resolve.js";
import type { ViTSpec } from "./types.js";

/**
 * Declares a Vision Transformer. Returns the spec as written, checked.
 * @throws SpecError if a field or a combination of fields is not one that can be compiled.
 */
export function defineViT(spec: ViTSpec): ViTSpec {
  resolve(spec);
  return spec;
}
