import type { ChoiceReport } from "./report.js";

/** What an adapter must have for a choice, in words; empty when nothing. */
export function needs({ features, subgroupSize, matrix }: ChoiceReport): string {
  return [...features, ...(subgroupSize === null ? [] : [`subgroups of ${subgroupSize}`]), ...(matrix === null ? [] : [`matrices of ${matrix.join(" x ")}`])].join(", ");
}
