import type { ResolvedResample, ResolvedSpec } from "./resolve.js";
import type { ResampleSpec, ViTSpec } from "./types.js";

/** A resolved spec as one could have written it, with every default spelled out: resolving it gives the same spec again. */
export function toSpec(spec: ResolvedSpec): ViTSpec {
  const { geometry: _, labels, outputs, stem, patchResample, position, rope, pool, poolPrefix, mapPool, ...rest } = spec;
  const { relativeResample, ...attention } = rest.attention;
  const { kind, prefix, temperature, resample } = position;
  return {
    ...rest,
    ...(labels.length > 0 && { labels }),
    ...(outputs.length > 0 && { outputs }),
    ...(stem.length > 0 && { stem }),
    ...(patchResample && { patchResample: { patch: patchResample.from, filter: patchResample.filter, antialias: patchResample.antialias } }),
    attention: { ...attention, ...(relativeResample && { relativeResample: { grid: relativeResample.from, filter: relativeResample.filter } }) },
    // A spec cut to fit says so; one that fits is the same either way.
    patchRemainder: "crop",
    position: kind === "learned" ? { kind, prefix, ...(resample && { resample: writtenResample(resample) }) } : kind === "none" ? { kind } : { kind, temperature },
    ...(rope && { rope: rope.kind === "axial" ? rope : { kind: rope.kind, temperature: rope.temperature } }),
    pool,
    // Fields of some poolings are refused beside the others.
    ...((pool === "avg" || pool === "max" || pool === "avgmax" || pool === "map") && { poolPrefix }),
    ...(pool === "map" && { mapPool }),
  };
}

const writtenResample = ({ from, ...rule }: ResolvedResample): ResampleSpec => ({ grid: from, ...rule });
