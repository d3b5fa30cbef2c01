import type { Candidate } from "../kernels/candidate.js";
import { cost } from "./cost.js";
import { targets, type Target } from "./targets.js";

/** A candidate that is expected to take this many times as long as the best is not worth a place. */
const hopeless = 1.5;

/**
 * The candidates that a package carries: for each target its few best, and always the first, which is legal on every adapter. Few, for each
 * is text to download; a pipeline is built only of those that a run uses. Adapters of one kind differ in what matrix units
 * they have, so the best for each unit is there, and the best without.
 */
export function shortlist(candidates: readonly Candidate[]): readonly Candidate[] {
  const kept = new Set([candidates[0]!]);
  for (const target of targets) {
    const usable = candidates.filter(({ needs: { subgroupSize } }) => subgroupSize === undefined || target.subgroupSize === undefined || subgroupSize === target.subgroupSize);
    const [first, ...rest] = usable;
    const units = new Set(rest.map(({ needs }) => needs.matrices));
    const groups = [...units].map((unit) => rest.filter(({ needs }) => needs.matrices === unit));
    for (const group of groups) for (const candidate of best(group, first!, target)) kept.add(candidate);
  }
  return candidates.filter((candidate) => kept.has(candidate));
}

/** The best of each family, the best families first. What is measured differs most between families. */
function best(candidates: readonly Candidate[], first: Candidate, target: Target): readonly Candidate[] {
  const ranked = candidates.map((candidate) => ({ candidate, expected: cost(candidate, target) })).sort((a, b) => a.expected - b.expected);
  const least = Math.min(cost(first, target), ranked[0]?.expected ?? Infinity);
  const families = new Set<string>();
  return ranked
    .filter(({ candidate, expected }) => expected <= hopeless * least && !families.has(familyOf(candidate)) && families.add(familyOf(candidate)).size <= target.carried)
    .map(({ candidate }) => candidate);
}

/** `quad` of `quad_8x4_w8`, and `scales_then_quad` of what computes the scales of rows first. */
const familyOf = ({ name }: Candidate): string => name.replace(/_?\d.*/, "");
