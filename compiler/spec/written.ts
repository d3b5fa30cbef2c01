import type { ResolvedSpec } from "./resolve.js";
import type { ViTSpec } from "./types.js";

/** A resolved spec as one could have written it, with every default spelled out: resolving it gives the same spec again. */
export function toSpec(spec: ResolvedSpec): ViTSpec {
  const { geometry: _, labels, outputs, stem, mlp, position, tokens, ...rest } = spec;
  const { kind, prefix, temperature } = position;
  return {
    ...rest,
    ...(labels.length > 0 && { labels }),
    ...(outputs.length > 0 && { outputs }),
    ...(stem.length > 0 && { stem }),
    // A spec cut to fit says so; one that fits is the same either way.
    patchRemainder: "crop",
    mlp: { hidden: mlp.hidden, activation: mlp.activation, bias: mlp.bias },
    tokens,
    position: kind === "learned" ? { kind, prefix } : kind === "none" ? { kind } : { kind, temperature },
  };
}
