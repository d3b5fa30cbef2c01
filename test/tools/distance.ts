import type { Graph } from "../../compiler/ir/graph.js";
import { interpret } from "../../compiler/ir/interpret.js";
import { worstError } from "./fixtures.js";
import { randomValues } from "./tensors.js";

/** Declared outputs may move by this much times 1 + |value|. */
export const passTolerance = 1e-9;

/** How far the outputs of two graphs with the same inputs and parameters are apart; Infinity if they have others. */
export function distance(before: Graph, after: Graph, seed = 1): number {
  const values = randomValues(before, seed);
  const [expected, actual] = [interpret(before, values), interpret(after, values)];
  if ([...expected.keys()].join() !== [...actual.keys()].join()) return Infinity;
  return Math.max(...[...expected].map(([name, { data }]) => worstError(actual.get(name)!.data, data)));
}
